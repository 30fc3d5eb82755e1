package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// A peer is one end of a connection to the server.
type peer interface{ CloseNow() error }

// dial connects a polite client.
func (c *child) dial(ctx context.Context, to *url.URL, token string) (*websocket.Conn, error) {
	conn, _, err := websocket.Dial(ctx, to.String(), &websocket.DialOptions{
		HTTPClient: c.http,
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	return conn, err
}

// A rawPeer has done the handshake and is a peer of TCP from then on.
type rawPeer struct{ *net.TCPConn }

func (p rawPeer) CloseNow() error { return p.Close() }

func (c *child) dialRaw(ctx context.Context, to *url.URL, token string) (rawPeer, error) {
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", to.Host)
	if err != nil {
		return rawPeer{}, err
	}
	// So small that a server which writes is stuck soon. What it sends first may go into the reader below and be lost.
	conn.(*net.TCPConn).SetReadBuffer(4096)
	conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		to.RequestURI(), to.Host, token)
	if err == nil {
		err = readSwitch(conn)
	}
	if err != nil {
		conn.Close()
		return rawPeer{}, err
	}
	conn.SetDeadline(time.Time{})
	return rawPeer{conn.(*net.TCPConn)}, nil
}

func readSwitch(conn net.Conn) error {
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(resp.Status)
	}
	return err
}

// connect connects n peers before the first of their tokens ends, which dial makes end at `end` or later. A machine
// that is too slow for that gets more time.
func connect[P peer](ctx context.Context, n int, dial func(i int, end time.Time) (P, error)) ([]P, time.Time, error) {
	lead := time.Second + time.Duration(n)*time.Millisecond
	for {
		end := time.Now().Add(lead).Truncate(time.Millisecond) // as exact as in the token
		peers, err := connectAll(n, func(i int) (P, error) { return dial(i, end) })
		if err == nil && time.Until(end) > 300*time.Millisecond {
			return peers, end, nil
		}
		closeAll(peers)
		if early := time.Until(end) > 300*time.Millisecond; early || ctx.Err() != nil || lead > 2*time.Minute {
			return nil, end, fmt.Errorf("cannot connect %d peers within %v: %w", n, lead, err)
		}
		lead *= 2
	}
}

// connectAll connects peers, some at a time. On an error the others are returned, too.
func connectAll[P peer](n int, dial func(i int) (P, error)) ([]P, error) {
	var mu sync.Mutex
	var peers []P
	var faults []error
	each(n, 64, func(i int) {
		p, err := dial(i)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			faults = append(faults, err)
			return
		}
		peers = append(peers, p)
	})
	if len(faults) > 0 {
		return peers, fmt.Errorf("%d handshakes failed, the first with: %w", len(faults), faults[0])
	}
	return peers, nil
}

func closeAll[P peer](peers []P) {
	each(len(peers), 64, func(i int) { peers[i].CloseNow() })
}

// each calls f for 0 to n-1, some at a time, and waits.
func each(n, atOnce int, f func(i int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	all.Wait()
}

// isExpired tells whether the server has ended a connection as promised.
func isExpired(err error) bool {
	var closed websocket.CloseError
	return errors.As(err, &closed) && closed.Code == 3000 && closed.Reason == "token expired"
}

// few is how many clients this process can be: each needs a file, and each of a race a goroutine that is in time.
func (b *bench) few() int { return min(b.n, 10_000, maxFiles()-filesLeft) }
