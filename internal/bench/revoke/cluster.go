package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// A node is one server of three.
type node struct {
	auth *wsauth.Authenticator
	srv  *httptest.Server
	stop func()
}

// newNode follows a log, and is ready when it is returned. took is how long that has taken.
func newNode(ctx context.Context, key *mint.Key, l *logServer, addr string) (n *node, took time.Duration, err error) {
	log, closeLog, err := l.open(addr)
	if err != nil {
		return nil, 0, err
	}
	auth, err := newAuth(key, wsauth.Revocations{Log: log, Keep: keep, MaxStale: time.Minute})
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	begun := time.Now()
	go func() { defer close(ended); auth.Follow(ctx) }()
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		conn.Write(ctx, websocket.MessageText, []byte("hello"))
		conn.Read(ctx)
	}, nil))
	n = &node{auth, srv, func() { srv.Close(); cancel(); <-ended; closeLog() }}
	for auth.Ready(ctx) != nil {
		if time.Since(begun) > time.Minute {
			return nil, 0, auth.Ready(ctx)
		}
		time.Sleep(time.Millisecond)
	}
	return n, time.Since(begun), nil
}

func userToken(key *mint.Key, user int) string {
	now := time.Now().Unix()
	return key.Token(map[string]any{"iss": issuer, "aud": "chat", "sub": fmt.Sprint("user ", user), "iat": now, "exp": now + 600})
}

// tell revokes on one server after the other, and waits until the clients of all have read the close frame.
func tell(ctx context.Context, t *table, l *logServer, users int) error {
	key := mint.New("HS256", "")
	var nodes []*node
	for range 3 {
		n, _, err := newNode(ctx, key, l, l.addr)
		if err != nil {
			return err
		}
		defer n.stop()
		nodes = append(nodes, n)
	}
	var took []time.Duration
	for user := range users {
		token := userToken(key, user)
		var conns []*websocket.Conn
		for _, n := range nodes {
			conn, _, err := websocket.Dial(ctx, n.srv.URL, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
			if err != nil {
				return err
			}
			if _, _, err := conn.Read(ctx); err != nil {
				return err
			}
			conns = append(conns, conn)
		}
		var all sync.WaitGroup
		var times [3]time.Duration
		var errs [3]error
		begun := time.Now()
		for i, conn := range conns {
			all.Go(func() {
				_, _, err := conn.Read(ctx)
				times[i] = time.Since(begun)
				if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					errs[i] = err
				}
			})
		}
		if err := nodes[user%3].auth.Revoke(ctx, wsauth.Revocation{Subject: fmt.Sprint("user ", user)}); err != nil {
			return err
		}
		all.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		for i, d := range times {
			if i != user%3 { // there it needs no log
				took = append(took, d)
			}
		}
	}
	slices.Sort(took)
	t.add(l.name+": Revoke to 3000 on another server", fmt.Sprintf("p50 %s, p99 %s, longest %s", milliseconds(took[len(took)/2]),
		milliseconds(took[len(took)*99/100]), milliseconds(took[len(took)-1])), l.demands["tell"])
	return nil
}

// start measures a server that reads a long log before it accepts tokens.
func start(ctx context.Context, t *table, l *logServer, n int) error {
	key := mint.New("HS256", "")
	filled := 0
	for _, size := range []int{n / 10, n} {
		if l.name != "Redis" && size > 100_000 {
			break
		}
		if _, err := l.fill(ctx, size-filled); err != nil { // the names are repeated, which makes the log no shorter
			return err
		}
		filled = size
		node, took, err := newNode(ctx, key, l, l.addr)
		if err != nil {
			return err
		}
		node.stop()
		t.add(fmt.Sprintf("%s: a server starts with %d entries", l.name, size), fmt.Sprintf("%.2f s", took.Seconds()), l.demands[fmt.Sprint(size)])
	}
	return nil
}

// recovery cuts the link of one server, revokes on another, and measures from when the link is back.
func recovery(ctx context.Context, t *table, l *logServer) error {
	key := mint.New("HS256", "")
	link, err := newLink(l.addr)
	if err != nil {
		return err
	}
	defer link.close()
	first, _, err := newNode(ctx, key, l, l.addr)
	if err != nil {
		return err
	}
	defer first.stop()
	second, _, err := newNode(ctx, key, l, link.listener.Addr().String())
	if err != nil {
		return err
	}
	defer second.stop()
	var took []time.Duration
	for user := range 10 {
		link.set(true)
		if err := first.auth.Revoke(ctx, wsauth.Revocation{Subject: fmt.Sprint("user ", user)}); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
		link.set(false)
		begun, token := time.Now(), userToken(key, user)
		for {
			if _, err := second.auth.Verify(ctx, token); errors.Is(err, wsauth.ErrRevoked) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.add(l.name+": known after a cut of 500 ms", fmt.Sprintf("median %s, longest %s", milliseconds(took[len(took)/2]),
		milliseconds(took[len(took)-1])), l.demands["recover"])
	return nil
}

// A link is a connection to a log that can be cut.
type link struct {
	listener net.Listener

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newLink(target string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener}
	go func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", target)
			l.mu.Lock()
			if err != nil || l.cut {
				down.Close()
			} else {
				l.conns = append(l.conns, down, up)
				go io.Copy(up, down)
				go io.Copy(down, up)
			}
			l.mu.Unlock()
		}
	}()
	return l, nil
}

func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for _, c := range l.conns {
			c.Close()
		}
		l.conns = nil
	}
}

func (l *link) close() {
	l.listener.Close()
	l.set(true)
}
