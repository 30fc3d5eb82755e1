package wsauth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestAConnectionThatItsPeerOrServeHasClosedIsNotRenewed(t *testing.T) {
	for name, row := range map[string]struct {
		serve func(ctx context.Context, conn *websocket.Conn)
		peer  func(conn *websocket.Conn)
	}{
		"by the peer's close frame": {
			func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) },
			func(conn *websocket.Conn) { conn.Close(websocket.StatusNormalClosure, "") },
		},
		"by serve's Close": {
			func(_ context.Context, conn *websocket.Conn) { conn.Close(websocket.StatusNormalClosure, "") },
			func(conn *websocket.Conn) { conn.Read(context.Background()) },
		},
		"by serve's CloseNow": {
			func(_ context.Context, conn *websocket.Conn) { conn.CloseNow() },
			func(conn *websocket.Conn) { conn.Read(context.Background()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				renewed := make(chan error, 1)
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					before, _ := wsauth.ClaimsFromContext(ctx)
					row.serve(ctx, conn)
					_, err := wsauth.Renew(ctx, tokenFor(2*time.Hour))
					if after, _ := wsauth.ClaimsFromContext(ctx); after != before {
						t.Error("the claims have changed")
					}
					renewed <- err
				}, nil))
				row.peer(srv.dial(t, withToken(tokenFor(time.Hour))))
				wantKind(t, <-renewed, wsauth.ErrExpired)
			})
		})
	}
}

func TestMaxLifetimeCountsWhileAFirstMessageIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(context.Context, *websocket.Conn) { t.Error("served") },
			&wsauth.UpgradeOptions{MaxLifetime: 5 * time.Second, FirstMessage: 20 * time.Second}))
		start := time.Now()
		conn := srv.dial(t, &websocket.DialOptions{})
		_, _, err := conn.Read(t.Context())
		wantClosed(t, err, wsauth.StatusTimeout, "token_required")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("closed after %v, want 5s", took)
		}
	})
}

func TestAGraceWithoutEndOverflowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{Grace: math.MaxInt64}))
		conn := srv.dial(t, withToken(tokenFor(time.Minute)))
		_, _, err := conn.Read(t.Context())
		wantClosed(t, err, wsauth.StatusUnauthorized, "token expired")
	})
}

func TestShutdownWithoutConnectionsIsDoneWhateverItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newUpgradeAuth(t).Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestShutdownSpreadsTheEndsOverTheTimeThatThereIs(t *testing.T) {
	for name, row := range map[string]struct {
		connections int
		has         time.Duration // 0: no deadline
		first, last time.Duration
	}{
		"few, much time":      {5, time.Hour, 0, 40 * time.Millisecond},
		"many, little time":   {100, time.Second, 0, 500 * time.Millisecond},
		"many, without bound": {100, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newUpgradeAuth(t)
				var mu sync.Mutex
				var ends []time.Time
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					conn.Read(ctx)
					mu.Lock()
					defer mu.Unlock()
					ends = append(ends, time.Now())
				}, nil))
				for range row.connections {
					go srv.dial(t, withToken(tokenFor(time.Hour))).Read(t.Context())
				}
				synctest.Wait()
				ctx := t.Context()
				if row.has > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.has)
					defer cancel()
				}
				start := time.Now()
				if err := auth.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				first, last := ends[0].Sub(start), ends[len(ends)-1].Sub(start)
				if len(ends) != row.connections || first != row.first || last > row.last || last < row.last*9/10 {
					t.Errorf("got %d ends from %v to %v, want %d from %v to %v", len(ends), first, last, row.connections, row.first, row.last)
				}
			})
		})
	}
}

func TestTheNewestConnectionReplacesTheOldest(t *testing.T) {
	for name, row := range map[string]struct {
		opts  wsauth.UpgradeOptions
		first func(conn *websocket.Conn) // what makes a connection alice's
		dial  *websocket.DialOptions
	}{
		"by its handshake": {dial: withToken(tokenFor(time.Hour))},
		"by its first message": {
			opts: wsauth.UpgradeOptions{FirstMessage: time.Minute}, dial: &websocket.DialOptions{},
			first: func(conn *websocket.Conn) {
				conn.Write(context.Background(), websocket.MessageText, []byte(tokenFor(time.Hour)))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				causes := make(chan error, 3)
				row.opts.MaxPerSubject, row.opts.ReplaceOldest = 2, true
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					echo(ctx, conn)
					<-ctx.Done()
					causes <- context.Cause(ctx)
				}, &row.opts))
				if row.dial.HTTPHeader != nil {
					row.dial = withToken(tokenFor(time.Hour)) // of this bubble's time
				}
				var conns []*websocket.Conn
				for range 3 {
					conn := srv.dial(t, row.dial)
					if row.first != nil {
						row.first(conn)
					}
					if got := exchange(t, conn, "hello"); got != "hello" {
						t.Errorf("got %q", got)
					}
					conns = append(conns, conn)
				}
				_, _, err := conns[0].Read(t.Context())
				wantClosed(t, err, wsauth.StatusReplaced, "replaced")
				if cause := <-causes; websocket.CloseStatus(cause) != wsauth.StatusReplaced || errors.Is(cause, wsauth.ErrRevoked) {
					t.Errorf("got the cause %v", cause)
				}
				for _, conn := range conns[1:] {
					if got := exchange(t, conn, "still here"); got != "still here" {
						t.Errorf("got %q", got)
					}
					conn.Close(websocket.StatusNormalClosure, "")
				}
			})
		})
	}
}

func TestAHandshakeThatComesToNothingReplacesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{MaxPerSubject: 1, ReplaceOldest: true})
		srv := newMemoryServer(t, h)
		conn := srv.dial(t, withToken(tokenFor(time.Hour)))
		bad := "GET /ws\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 12\nAuthorization: Bearer "
		if w := serve(h, readRequest(t, bad+tokenFor(time.Hour))); w.Code == http.StatusSwitchingProtocols {
			t.Errorf("status %d", w.Code)
		}
		if got := exchange(t, conn, "still here"); got != "still here" {
			t.Errorf("got %q", got)
		}
		conn.Close(websocket.StatusNormalClosure, "")
	})
}

// The checks of a handler are asked wherever one of its connections gets claims.
func TestRequireOfAHandlerIsAskedAboutEachToken(t *testing.T) {
	onlyAdmins := func(ctx context.Context, c *wsauth.Claims) error {
		if seen, ok := wsauth.ClaimsFromContext(ctx); !ok || seen != c {
			return fmt.Errorf("the context has other claims")
		}
		if c.HasScope("admin") {
			return nil
		}
		return errors.New("no")
	}
	opts := wsauth.UpgradeOptions{Require: []func(context.Context, *wsauth.Claims) error{onlyAdmins}, CloseOnRefusal: true}
	admin := func(ttl time.Duration) string { return tokenWith(map[string]any{"scope": "admin"}, ttl) }
	t.Run("at the handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &opts))
			_, _, err := srv.dial(t, withToken(tokenFor(time.Hour))).Read(t.Context())
			wantClosed(t, err, wsauth.StatusForbidden, "insufficient_scope")
			conn := srv.dial(t, withToken(admin(time.Hour)))
			if got := exchange(t, conn, "hello"); got != "hello" {
				t.Errorf("got %q", got)
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	})
	t.Run("about a first message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			waits := opts
			waits.FirstMessage = time.Minute
			srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &waits))
			conn := srv.dial(t, &websocket.DialOptions{})
			conn.Write(t.Context(), websocket.MessageText, []byte(tokenFor(time.Hour)))
			_, _, err := conn.Read(t.Context())
			wantClosed(t, err, wsauth.StatusForbidden, "insufficient_scope")
		})
	})
	t.Run("about a renewal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(renewing, &opts))
			conn := srv.dial(t, withToken(admin(time.Hour)))
			if got := exchange(t, conn, tokenWith(nil, 2*time.Hour)); !strings.Contains(got, "forbidden") {
				t.Errorf("got %q, want a refusal", got)
			}
			if got := exchange(t, conn, admin(2*time.Hour)); strings.Contains(got, "forbidden") {
				t.Errorf("got %q", got)
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	})
}

func TestAPeerThatDoesNotAnswerAPingHasGone(t *testing.T) {
	for name, row := range map[string]struct {
		reads, answers bool
		lives          time.Duration // from the handshake on
	}{
		"silent, serve reads":            {true, false, 20 * time.Second},
		"silent, serve does not read":    {false, false, 20 * time.Second},
		"answering, serve reads":         {true, true, time.Hour},
		"answering, serve does not read": {false, true, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth, lived := newUpgradeAuth(t), make(chan time.Duration, 1)
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					start := time.Now()
					if row.reads {
						conn.Read(ctx)
					}
					<-ctx.Done()
					lived <- time.Since(start)
				}, &wsauth.UpgradeOptions{Ping: 10 * time.Second, MaxPerSubject: 1}))
				conn, r := srv.handshake(t, tokenFor(time.Hour))
				go func() { // a peer that reads, and answers pings or not
					for {
						head := make([]byte, 2)
						if _, err := io.ReadFull(r, head); err != nil {
							return
						}
						io.ReadFull(r, make([]byte, head[1]))
						if row.answers && head[0]&0xf == 9 {
							conn.Write(clientFrame(10, nil))
						}
					}
				}()
				if got := <-lived; got < row.lives || got > row.lives+2*time.Second {
					t.Errorf("lived %v, want %v", got, row.lives)
				}
				conn.Close()
				synctest.Wait()
				srv.dial(t, withToken(tokenFor(time.Hour))).CloseNow() // the seat is free
				time.Sleep(time.Minute)
			})
		})
	}
}

// With Ping, a serve that only writes learns that its peer has left.
func TestPingTellsAServeThatNeverReadsThatItsPeerHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lived := make(chan time.Duration, 1)
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			start := time.Now()
			<-ctx.Done()
			lived <- time.Since(start)
		}, &wsauth.UpgradeOptions{Ping: 10 * time.Second}))
		conn, _ := srv.handshake(t, tokenFor(time.Hour))
		conn.Close()
		if got := <-lived; got > 11*time.Second {
			t.Errorf("lived %v, want at most 11s", got)
		}
	})
}

func TestAFirstMessageMayHaveAFormOfTheApplicationsOwn(t *testing.T) {
	firstToken := func(message []byte) (string, error) {
		token, ok := strings.CutPrefix(string(message), "CONNECT\nAuthorization:Bearer ")
		if !ok {
			return "", errors.New("secret text")
		}
		return strings.TrimSuffix(token, "\n\n\x00"), nil
	}
	for name, row := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode // 0: it is served
	}{
		"good":        {websocket.MessageText, "CONNECT\nAuthorization:Bearer TOKEN\n\n\x00", 0},
		"good, bytes": {websocket.MessageBinary, "CONNECT\nAuthorization:Bearer TOKEN\n\n\x00", 0},
		"another":     {websocket.MessageText, "TOKEN", wsauth.StatusUnauthorized},
		"no token":    {websocket.MessageText, "CONNECT\nAuthorization:Bearer \n\n\x00", wsauth.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo,
					&wsauth.UpgradeOptions{FirstMessage: time.Minute, FirstToken: firstToken}))
				conn := srv.dial(t, &websocket.DialOptions{})
				conn.Write(t.Context(), row.kind, []byte(strings.Replace(row.message, "TOKEN", tokenFor(time.Hour), 1)))
				if row.code == 0 {
					if got := exchange(t, conn, "hello"); got != "hello" {
						t.Errorf("got %q", got)
					}
					conn.Close(websocket.StatusNormalClosure, "")
					return
				}
				_, _, err := conn.Read(t.Context())
				wantClosed(t, err, row.code, "invalid_request")
			})
		})
	}
}

// What an observer does must not end the process, nor wait for itself.
func TestAnObserverMayRenewAndShutDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var auth *wsauth.Authenticator
		down := make(chan error, 1)
		auth = newUpgradeAuth(t, func(o *wsauth.Options) {
			o.Observe = func(ctx context.Context, e wsauth.Event) {
				if e.Kind != wsauth.EventRefused { // which this would be again
					wsauth.Renew(ctx, "no token")
				}
				if e.Kind == wsauth.EventClosed {
					down <- auth.Shutdown(context.Background())
				}
			}
		})
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
		conn := srv.dial(t, &websocket.DialOptions{})
		conn.Write(t.Context(), websocket.MessageText, []byte(tokenFor(time.Hour)))
		if got := exchange(t, conn, "hello"); got != "hello" {
			t.Errorf("got %q", got)
		}
		conn.Close(websocket.StatusNormalClosure, "")
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

func TestACallbackForPingsHasTheClaimsAlsoDuringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subjects := make(chan string, 1)
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(_ context.Context, conn *websocket.Conn) {
			conn.Close(websocket.StatusNormalClosure, "") // it reads until the peer answers
		}, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{
			OnPingReceived: func(ctx context.Context, _ []byte) bool {
				claims, _ := wsauth.ClaimsFromContext(ctx)
				subjects <- claims.Subject
				return true
			},
		}}))
		conn, r := srv.handshake(t, tokenFor(time.Hour))
		go io.Copy(io.Discard, r)
		conn.Write(clientFrame(9, []byte("ping")))
		if got := <-subjects; got != "alice" {
			t.Errorf("got %q, want alice", got)
		}
		conn.Close()
	})
}

func TestDisconnectSaysWhatAnEndpointMaySay(t *testing.T) {
	auth := newUpgradeAuth(t)
	for _, code := range []websocket.StatusCode{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d: no panic", code)
				}
			}()
			auth.Disconnect(isOf("alice"), code, "")
		}()
	}
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		srv := newMemoryServer(t, auth.Upgrade(echo, nil))
		conn := srv.dial(t, withToken(tokenFor(time.Hour)))
		synctest.Wait()
		auth.Disconnect(isOf("alice"), 4000, strings.Repeat("ä", 100))
		_, _, err := conn.Read(t.Context())
		wantClosed(t, err, 4000, strings.Repeat("ä", 61))
	})
}

// A handshake that cannot be completed is answered and recorded.
func TestAHandshakeThatCannotBeCompletedIsAnswered(t *testing.T) {
	failing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(failingHijacker{w}, r)
		})
	}
	for name, row := range map[string]struct {
		handler func(http.Handler) http.Handler
		request string
		status  int
		level   string
	}{
		"the ResponseWriter fails": {failing, "GET /ws\nHANDSHAKE", http.StatusInternalServerError, "WARN"},
		"it is no Hijacker": {func(h http.Handler) http.Handler { return h }, "GET /ws\nHANDSHAKE",
			http.StatusNotImplemented, "WARN"},
		"it is no handshake": {func(h http.Handler) http.Handler { return h }, "GET /ws", http.StatusUpgradeRequired, "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(lockedBuffer)
			auth := newUpgradeAuth(t, func(o *wsauth.Options) { o.Logger = slog.New(slog.NewJSONHandler(log, nil)) })
			h := row.handler(auth.Upgrade(func(context.Context, *websocket.Conn) { t.Error("served") }, nil))
			w := serve(h, readRequest(t, row.request+"\nAuthorization: Bearer "+tokenFor(time.Hour)))
			if w.Code != row.status || w.Header().Get("Sec-WebSocket-Accept") != "" {
				t.Errorf("got status %d and the header %v, want %d", w.Code, w.Header(), row.status)
			}
			if got := log.String(); strings.Count(got, "wsauth: refused") != 1 || !strings.Contains(got, row.level) {
				t.Errorf("logged %s, want one refusal at %s", got, row.level)
			}
		})
	}
}

type failingHijacker struct{ http.ResponseWriter }

func (failingHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("not today")
}

// RFC 9113 section 8.2.2 forbids Connection and Upgrade, and clients drop an answer that has them.
func TestOverHTTP2TheAnswerToWhatIsNoHandshakeArrives(t *testing.T) {
	srv := httptest.NewUnstartedServer(newUpgradeAuth(t).Upgrade(echo, nil))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	req, _ := http.NewRequest(http.MethodGet, srv.URL+"/ws", nil)
	req.Header = bearerHeader(tokenFor(time.Hour))
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Connection")+resp.Header.Get("Upgrade") != "" {
		t.Errorf("got %s over %s with the header %v", resp.Status, resp.Proto, resp.Header)
	}
}
