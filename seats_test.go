package wsauth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestConnectionsAreBounded(t *testing.T) {
	each := func(i int) string { return fmt.Sprint(i) }
	two := func(i int) string { return fmt.Sprint(i % 2) }
	alice := func(int) string { return "alice" }
	for name, row := range map[string]struct {
		opts   wsauth.UpgradeOptions
		of     func(i int) string // the subject of the i-th of ten
		opened int
		status int
	}{
		"in all":                  {wsauth.UpgradeOptions{MaxConnections: 3}, each, 3, 503},
		"for a subject":           {wsauth.UpgradeOptions{MaxPerSubject: 2}, alice, 2, 429},
		"for each of two":         {wsauth.UpgradeOptions{MaxPerSubject: 2}, two, 4, 429},
		"not by default":          {wsauth.UpgradeOptions{}, alice, 10, 0},
		"detached":                {wsauth.UpgradeOptions{MaxConnections: 3, Detach: true}, each, 3, 503},
		"detached, for a subject": {wsauth.UpgradeOptions{MaxPerSubject: 2, Detach: true}, alice, 2, 429},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					_, message, _ := conn.Read(ctx)
					if string(message) == "panic" {
						panic(http.ErrAbortHandler)
					}
				}, &row.opts))
				for round := range 3 { // what is given back can be taken again
					var conns []*websocket.Conn
					var mu sync.Mutex
					var all sync.WaitGroup
					for i := range 10 {
						token := testToken(lasting(time.Hour), map[string]any{"sub": row.of(i)})
						all.Go(func() {
							conn, resp, err := srv.tryDial(t, bearerHeader(token))
							if err != nil {
								if resp.StatusCode != row.status || resp.Header.Get("Retry-After") == "" {
									t.Errorf("got %v, want %d with Retry-After", resp, row.status)
								}
								return
							}
							mu.Lock()
							defer mu.Unlock()
							conns = append(conns, conn)
						})
					}
					all.Wait()
					if len(conns) != row.opened {
						t.Errorf("got %d connections, want %d", len(conns), row.opened)
					}
					for i, conn := range conns { // three ways out
						switch (i + round) % 3 {
						case 0:
							conn.CloseNow()
						case 1:
							conn.Close(websocket.StatusNormalClosure, "")
						default:
							conn.Write(t.Context(), websocket.MessageText, []byte("panic"))
							conn.Read(t.Context())
						}
					}
					synctest.Wait()
				}
			})
		})
	}
}

func TestASubjectIsThatOfItsIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp, anyIssuer).Upgrade(echo, &wsauth.UpgradeOptions{MaxPerSubject: 1}))
		for _, issuer := range []string{"https://a.example.com/", "https://b.example.com/"} {
			conn := srv.dial(t, withToken(testToken(lasting(time.Hour), map[string]any{"iss": issuer})))
			defer conn.CloseNow()
		}
	})
}

func TestASeatIsGivenBackHoweverTheUpgradeFails(t *testing.T) {
	upgrade := newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{MaxConnections: 1, MaxPerSubject: 1})
	request := func(change func(http.Header)) *http.Request {
		r, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
		r.Header = bearerHeader(testToken(lasting(time.Hour)))
		for name, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-Websocket-Version": "13", "Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, v)
		}
		change(r.Header)
		return r
	}
	for name, row := range map[string]struct {
		w http.ResponseWriter
		r *http.Request
	}{
		"no handshake":      {&failing{}, request(func(h http.Header) { h.Del("Upgrade") })},
		"a bad key":         {&failing{}, request(func(h http.Header) { h.Set("Sec-WebSocket-Key", "x") })},
		"no Hijack":         {&failing{}, request(func(http.Header) {})},
		"Hijack fails":      {&hijackFails{}, request(func(http.Header) {})},
		"the writer panics": {&hijackFails{panics: true}, request(func(http.Header) {})},
	} {
		for range 3 {
			func() {
				defer func() { recover() }()
				upgrade.ServeHTTP(row.w, row.r)
			}()
			if status := row.w.(interface{ code() int }).code(); status == 503 || status == 429 {
				t.Errorf("%s: got status %d, want the seat to be free", name, status)
			}
		}
	}
}

type failing struct {
	header http.Header
	status int
}

func (f *failing) Header() http.Header {
	if f.header == nil {
		f.header = http.Header{}
	}
	return f.header
}
func (f *failing) Write(p []byte) (int, error) { return len(p), nil }
func (f *failing) WriteHeader(status int)      { f.status = status }
func (f *failing) code() int                   { return f.status }

type hijackFails struct {
	failing
	panics bool
}

func (h *hijackFails) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.panics {
		panic("no")
	}
	return nil, nil, errors.New("no")
}

// CloseRead closes by itself when a message comes, and coder/websocket's Close then waits for CloseRead.
func TestCloseReadDoesNotHoldTheSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			<-conn.CloseRead(ctx).Done()
		}, &wsauth.UpgradeOptions{MaxPerSubject: 1}))
		start := time.Now()
		for range 3 {
			conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
			conn.Write(clientFrame(1, []byte("unexpected")))
			io.ReadFull(r, make([]byte, 4))
			conn.Close()
			synctest.Wait()
		}
		if err := auth.Shutdown(t.Context()); err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("got %v from Shutdown after %v, want no error within 2s", err, time.Since(start))
		}
		time.Sleep(time.Minute) // for what coder/websocket does in its own time
	})
}

func TestTheNewestConnectionReplacesTheOldest(t *testing.T) {
	for name, row := range map[string]struct {
		opts  wsauth.UpgradeOptions
		first func(conn *websocket.Conn) // what makes a connection alice's
		dial  *websocket.DialOptions
	}{
		"by its handshake": {dial: withToken(testToken(lasting(time.Hour)))},
		"by its first message": {
			opts: wsauth.UpgradeOptions{FirstMessage: time.Minute}, dial: &websocket.DialOptions{},
			first: func(conn *websocket.Conn) {
				conn.Write(context.Background(), websocket.MessageText, []byte(testToken(lasting(time.Hour))))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				causes := make(chan error, 3)
				row.opts.MaxPerSubject, row.opts.ReplaceOldest = 2, true
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					echo(ctx, conn)
					<-ctx.Done()
					causes <- context.Cause(ctx)
				}, &row.opts))
				if row.dial.HTTPHeader != nil {
					row.dial = withToken(testToken(lasting(time.Hour))) // of this bubble's time
				}
				var conns []*websocket.Conn
				for range 3 {
					conn := srv.dial(t, row.dial)
					if row.first != nil {
						row.first(conn)
					}
					if got := exchange(t, conn, "hello"); got != "hello" {
						t.Errorf("got %q, want the echo", got)
					}
					conns = append(conns, conn)
				}
				_, _, err := conns[0].Read(t.Context())
				wantClosed(t, err, wsauth.StatusReplaced, "replaced")
				if cause := <-causes; websocket.CloseStatus(cause) != wsauth.StatusReplaced || errors.Is(cause, wsauth.ErrRevoked) {
					t.Errorf("got the cause %v, want %d alone", cause, wsauth.StatusReplaced)
				}
				for _, conn := range conns[1:] {
					if got := exchange(t, conn, "still here"); got != "still here" {
						t.Errorf("got %q, want the echo", got)
					}
					conn.Close(websocket.StatusNormalClosure, "")
				}
			})
		})
	}
}

func TestAHandshakeThatComesToNothingReplacesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{MaxPerSubject: 1, ReplaceOldest: true})
		srv := newMemoryServer(t, h)
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		bad := "GET /ws\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 12\nAuthorization: Bearer "
		if w := serve(h, readRequest(t, bad+testToken(lasting(time.Hour)))); w.Code == http.StatusSwitchingProtocols {
			t.Errorf("got status %d, want another", w.Code)
		}
		if got := exchange(t, conn, "still here"); got != "still here" {
			t.Errorf("got %q, want the echo", got)
		}
		conn.Close(websocket.StatusNormalClosure, "")
	})
}
