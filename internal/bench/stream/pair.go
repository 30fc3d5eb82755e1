package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/wsauth/wsauth/internal/gate"
)

// A socket is the server's end of a connection, as an application uses it.
type socket interface {
	read() (int, error)
	write(message []byte) error
}

// A library accepts a handshake.
type library struct {
	name        string
	writesHead  bool // it writes the 101 to the hijacked connection, not through the ResponseWriter
	smallReader bool // as Upgrade has it
	accept      func(w http.ResponseWriter, r *http.Request) (socket, error)
}

var libraries = []library{
	{"coder", false, true, func(w http.ResponseWriter, r *http.Request) (socket, error) {
		conn, err := coder.Accept(w, r, nil)
		if err != nil {
			return nil, err
		}
		conn.SetReadLimit(-1)
		return coderSocket{conn}, nil
	}},
	{"gorilla", true, false, func(w http.ResponseWriter, r *http.Request) (socket, error) {
		var upgrader gorilla.Upgrader
		conn, err := upgrader.Upgrade(w, r, nil)
		return gorillaSocket{conn}, err
	}},
}

type coderSocket struct{ conn *coder.Conn }

func (s coderSocket) read() (int, error) {
	_, message, err := s.conn.Read(context.Background())
	return len(message), err
}

func (s coderSocket) write(message []byte) error {
	return s.conn.Write(context.Background(), coder.MessageBinary, message)
}

type gorillaSocket struct{ conn *gorilla.Conn }

func (s gorillaSocket) read() (int, error) {
	_, message, err := s.conn.ReadMessage()
	return len(message), err
}

func (s gorillaSocket) write(message []byte) error {
	return s.conn.WriteMessage(gorilla.BinaryMessage, message)
}

// A life asks the clocks for its end as the real one does: the monotonic one each time, the other once in a second.
type life struct {
	entered, end    time.Time
	expires, lookAt atomic.Int64
}

func newLife(d time.Duration) *life {
	now := time.Now()
	l := &life{entered: now, end: now.Add(d)}
	l.expires.Store(int64(d))
	return l
}

func (l *life) Opened(bool) {}
func (l *life) Left(error)  {}
func (l *life) Closed()     {}
func (l *life) Check() {
	alive := int64(time.Since(l.entered))
	if alive >= l.expires.Load() || alive >= l.lookAt.Load() {
		if now := time.Now(); min(l.end.Sub(now), l.end.Round(0).Sub(now.Round(0))) <= 0 {
			panic("the end of an hour")
		}
		l.lookAt.Store(alive + int64(time.Second))
	}
}

// A gatedWriter puts a gate in front of the connection that is taken over through it.
type gatedWriter struct {
	http.ResponseWriter
	opts gate.Options
}

func (w gatedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c, err := gate.New(conn, rw, newLife(time.Hour), w.opts)
	if err != nil {
		return nil, nil, err
	}
	return c, c.ReadWriter(), nil
}

// A pair is a socket and its peer, which knows of frames no more than it must: its cost is a small part of the whole.
type pair struct {
	socket socket
	peer   net.Conn
	reader *bufio.Reader
	srv    *httptest.Server

	frames map[int][]byte // many messages of a size, for the peer to send
	buf    []byte
}

func (p *pair) close() {
	p.peer.Close()
	if p.srv != nil {
		p.srv.Close()
	}
}

// serve runs a server whose sockets are sent to the channel. They live on when the handler returns, as those of
// gorilla/websocket often do.
func serve(lib library, gated bool) (*httptest.Server, <-chan socket) {
	sockets := make(chan socket)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gated {
			w = gatedWriter{w, gate.Options{Grace: time.Second, Handshake: lib.writesHead, SmallReader: lib.smallReader}}
		}
		s, err := lib.accept(w, r)
		if err != nil {
			panic(err)
		}
		sockets <- s
	})), sockets
}

func connect(lib library, gated bool) (*pair, error) {
	srv, sockets := serve(lib, gated)
	p, err := dial(srv, sockets)
	if err != nil {
		srv.Close()
		return nil, err
	}
	p.srv = srv
	p.frames, p.buf = map[int][]byte{}, make([]byte, 256<<10)
	return p, nil
}

func dial(srv *httptest.Server, sockets <-chan socket) (*pair, error) {
	peer, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(peer, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	reader := bufio.NewReaderSize(peer, 16)
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.New(res.Status)
	}
	return &pair{socket: <-sockets, peer: peer, reader: reader}, nil
}

// frame builds a frame with a mask of zeros, or without one.
func frame(size int, masked bool) []byte {
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	f := []byte{0x82}
	switch {
	case size < 126:
		f = append(f, bit|byte(size))
	case size <= 0xffff:
		f = binary.BigEndian.AppendUint16(append(f, bit|126), uint16(size))
	default:
		f = binary.BigEndian.AppendUint64(append(f, bit|127), uint64(size))
	}
	if masked {
		f = append(f, 1, 2, 3, 4)
	}
	return append(f, make([]byte, size)...)
}

// send sends n messages, many in one system call.
func (p *pair) send(size, n int) error {
	one := len(frame(size, true))
	if p.frames[size] == nil {
		p.frames[size] = bytes.Repeat(frame(size, true), max(1, len(p.buf)/one))
	}
	for left := n * one; left > 0; {
		m, err := p.peer.Write(p.frames[size][:min(left, len(p.frames[size]))])
		if err != nil {
			return err
		}
		left -= m
	}
	return nil
}

// receive throws n messages away.
func (p *pair) receive(size, n int) error {
	for left := n * len(frame(size, false)); left > 0; {
		m, err := p.reader.Read(p.buf[:min(left, len(p.buf))])
		if err != nil {
			return err
		}
		left -= m
	}
	return nil
}

type direction struct {
	name string
	run  func(p *pair, size, n int) error
}

var directions = []direction{
	{"in", func(p *pair, size, n int) error {
		sent := make(chan error, 1)
		go func() { sent <- p.send(size, n) }()
		for range n {
			if m, err := p.socket.read(); err != nil || m != size {
				return fmt.Errorf("read %d bytes, %w", m, err)
			}
		}
		return <-sent
	}},
	{"out", func(p *pair, size, n int) error {
		received := make(chan error, 1)
		go func() { received <- p.receive(size, n) }()
		message := make([]byte, size)
		for range n {
			if err := p.socket.write(message); err != nil {
				return err
			}
		}
		return <-received
	}},
	{"echo", func(p *pair, size, n int) error {
		peer := make(chan error, 1)
		go func() {
			for range n {
				if err := errors.Join(p.send(size, 1), p.receive(size, 1)); err != nil {
					peer <- err
					return
				}
			}
			peer <- nil
		}()
		message := make([]byte, size)
		for range n {
			if _, err := p.socket.read(); err != nil {
				return err
			}
			if err := p.socket.write(message); err != nil {
				return err
			}
		}
		return <-peer
	}},
}

// idleMemory is what a connection holds that waits in a read, behind a message each way.
func idleMemory(lib library, gated bool, n int) (int64, error) {
	srv, sockets := serve(lib, gated)
	defer srv.Close()
	pairs := make([]*pair, n)
	ended := make(chan struct{})
	before := inUse()
	for i := range pairs {
		p, err := dial(srv, sockets)
		if err != nil {
			return 0, err
		}
		defer p.close()
		pairs[i] = p
		go func() {
			for {
				m, err := p.socket.read()
				if err != nil {
					ended <- struct{}{}
					return
				}
				p.socket.write(make([]byte, m))
			}
		}()
		if _, err := p.peer.Write(frame(100, true)); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(p.reader, make([]byte, len(frame(100, false)))); err != nil {
			return 0, err
		}
	}
	time.Sleep(100 * time.Millisecond)
	used := (inUse() - before) / int64(n)
	for _, p := range pairs {
		p.peer.Close()
		<-ended
	}
	return used, nil
}

// inUse is the heap and the stacks that are in use.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
