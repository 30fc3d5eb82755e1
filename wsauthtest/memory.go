package wsauthtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// ServeInMemory is [Serve] without a network, for synctest bubbles. Only [Dial] and [ExpectRefused]
// know its URL.
func ServeInMemory(t testing.TB, handler http.Handler) string {
	t.Helper()
	m := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	host := fmt.Sprintf("memory-%d.invalid", memoryCount.Add(1))
	memories.Store(host, m)
	srv := &http.Server{Handler: handler}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(m)
	}()
	t.Cleanup(func() {
		memories.Delete(host)
		srv.Close()
		<-served
	})
	return "http://" + host
}

var (
	memories    sync.Map // of *memory, by the host that stands for it
	memoryCount atomic.Int64
)

// A memory is a network for one server.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.closed) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects two pipes. A single pipe has no buffer: two peers that write to each other before they read would wait
// forever, unlike on a socket.
func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, a := net.Pipe()
	b, server := net.Pipe()
	select {
	case m.conns <- server:
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	go pump(a, b)
	go pump(b, a)
	return client, nil
}

// pump writes what it reads to another pipe, later if necessary. It closes both when it cannot go on.
func pump(to, from net.Conn) {
	queue := make(chan []byte, 256)
	go func() {
		defer close(queue)
		for {
			b := make([]byte, 4096)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			queue <- b[:n]
		}
	}()
	for b := range queue {
		if _, err := to.Write(b); err != nil {
			from.Close() // nobody reads any more
		}
	}
	to.Close()
}
