package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestDisconnectEndsTheConnectionsThatMatch(t *testing.T) {
	for name, opts := range map[string]*wsauth.UpgradeOptions{"in the handler": nil, "detached": {Detach: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				causes := make(chan error, 3)
				auth := newAuth(t, untilExp)
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					echo(ctx, conn)
					<-ctx.Done()
					causes <- context.Cause(ctx)
				}, opts))
				dial := func(subject string) *websocket.Conn {
					token := testToken(lasting(time.Hour), map[string]any{"sub": subject})
					return srv.dial(t, withToken(token))
				}
				alice, again, bob := dial("alice"), dial("alice"), dial("bob")
				synctest.Wait()
				if n := disconnect(auth, isOf("alice")); n != 2 {
					t.Errorf("got %d connections, want 2", n)
				}
				for _, conn := range []*websocket.Conn{alice, again} {
					_, _, err := conn.Read(t.Context())
					wantDisconnected(t, err)
					cause := <-causes
					if websocket.CloseStatus(cause) != wsauth.StatusUnauthorized || errors.Is(cause, wsauth.ErrRevoked) {
						t.Errorf("got the cause %v, want 3000, and not ErrRevoked", cause)
					}
				}
				if got := exchange(t, bob, "still here"); got != "still here" {
					t.Errorf("got %q from the other one, want its echo", got)
				}
				synctest.Wait()
				if n := disconnect(auth, isOf("alice")); n != 0 {
					t.Errorf("got %d connections the second time, want none", n)
				}
				bob.Close(websocket.StatusNormalClosure, "")
				<-causes
			})
		})
	}
}

func TestDisconnectLetsNoMoreMessagesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var revoked atomic.Bool
		var messages atomic.Int32
		ended := make(chan error, 1)
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return
				}
				if revoked.Load() {
					messages.Add(1)
				}
			}
		}, nil))
		start := time.Now()
		conn, r := srv.handshake(t, testToken(lasting(time.Hour))) // a peer that goes on sending, and answers nothing
		go func() {
			for range 10_000 {
				if _, err := conn.Write(clientFrame(1, []byte("hello"))); err != nil {
					return
				}
			}
		}()
		go io.Copy(io.Discard, r)
		for disconnect(auth, func(*wsauth.Claims) bool { return true }) == 0 {
			runtime.Gosched() // the handshake's answer is out before serve runs
		}
		revoked.Store(true)
		if cause := <-ended; websocket.CloseStatus(cause) != wsauth.StatusUnauthorized || time.Since(start) > time.Second {
			t.Errorf("got the cause %v after %v, want 3000 within a second", cause, time.Since(start))
		}
		if n := messages.Load(); n > 1 { // one may have been on its way from the gate
			t.Errorf("got %d messages, want at most 1", n)
		}
	})
}

// Disconnect and serve meet again and again: whichever closes first, the peer is told why.
func TestServeThatReturnsAsItIsDisconnectedClosesWith3000(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		returns := make(chan struct{})
		srv := newMemoryServer(t, auth.Upgrade(func(context.Context, *websocket.Conn) { <-returns }, nil))
		for range 50 {
			conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
			synctest.Wait()
			if n := disconnect(auth, func(*wsauth.Claims) bool { return true }); n != 1 {
				t.Errorf("got %d connections, want 1", n)
			}
			returns <- struct{}{}
			_, _, err := conn.Read(t.Context())
			wantDisconnected(t, err)
		}
	})
}

func TestAConnectionThatIsDisconnectedIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		renewed := make(chan error, 1)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			disconnect(auth, func(*wsauth.Claims) bool { return true })
			_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour)))
			renewed <- err
		}, nil))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		_, _, err := conn.Read(t.Context())
		wantDisconnected(t, err)
		wantKind(t, <-renewed, wsauth.ErrExpired)
	})
}

// The token of a renewal is put on the list after it was looked up there and before the renewal is through.
func TestARenewalThatMeetsDisconnectIsCheckedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		var listed atomic.Bool
		asked := make(chan struct{}, 10)
		require := wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
			isListed := listed.Load() && c.ID == "next"
			asked <- struct{}{}
			time.Sleep(time.Second) // the list's answer is on its way
			if isListed {
				return wsauth.ErrRevoked
			}
			return nil
		})
		renewed := make(chan error, 1)
		srv := newMemoryServer(t, auth.Middleware(require(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour), map[string]any{"jti": "next"}))
			renewed <- err
		}, nil))))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		<-asked // at the handshake
		<-asked
		listed.Store(true)
		if n := disconnect(auth, func(c *wsauth.Claims) bool { return c.ID == "next" }); n != 0 {
			t.Errorf("got %d connections, want none", n)
		}
		conn.Read(t.Context())
		wantKind(t, <-renewed, wsauth.ErrRevoked)
	})
}

// Between the checks of Require and the moment when Disconnect knows the connection, the list changes.
func TestAConnectionThatIsMadeWhileItIsDisconnectedIsCheckedAgain(t *testing.T) {
	for name, row := range map[string]struct {
		list, detach bool
		want         string
	}{
		"revoked":           {list: true, want: "invalid_token"},
		"revoked, detached": {list: true, detach: true, want: "invalid_token"},
		"another one":       {want: "served"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var listed atomic.Bool
				auth := newAuth(t, untilExp)
				require := wsauth.Require(func(context.Context, *wsauth.Claims) error {
					if listed.Load() {
						return wsauth.ErrRevoked
					}
					return nil
				})
				h := auth.Middleware(require(auth.Upgrade(func(_ context.Context, conn *websocket.Conn) {
					conn.Close(4000, "served")
				}, &wsauth.UpgradeOptions{Detach: row.detach})))
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(slowHijacker{w, time.Minute}, r)
				}))
				time.AfterFunc(30*time.Second, func() {
					listed.Store(row.list)
					if n := disconnect(auth, isOf("alice")); n != 0 {
						t.Errorf("got %d connections, want none", n)
					}
				})
				conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
				_, _, err := conn.Read(t.Context())
				var closed websocket.CloseError
				if !errors.As(err, &closed) || closed.Reason != row.want {
					t.Errorf("got %v at the client, want %s", err, row.want)
				}
			})
		})
	}
}

func TestDisconnectWithoutConnectionsFindsNone(t *testing.T) {
	for _, auth := range []*wsauth.Authenticator{newAuth(t, untilExp), new(wsauth.Authenticator), nil} {
		if n := disconnect(auth, func(*wsauth.Claims) bool { t.Error("got asked, want no question"); return true }); n != 0 {
			t.Errorf("got %d connections, want none", n)
		}
	}
}

func TestAConnectionThatWaitsForItsFirstMessageIsNotAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
		conn := srv.dial(t, &websocket.DialOptions{})
		synctest.Wait()
		if n := disconnect(auth, func(*wsauth.Claims) bool { return true }); n != 0 {
			t.Errorf("got %d connections, want none", n)
		}
		conn.Write(t.Context(), websocket.MessageText, []byte(testToken(lasting(time.Hour))))
		if got := exchange(t, conn, "hello"); got != "hello" {
			t.Errorf("got %q, want the echo", got)
		}
		if n := disconnect(auth, isOf("alice")); n != 1 {
			t.Errorf("then got %d connections, want 1", n)
		}
		_, _, err := conn.Read(t.Context())
		wantDisconnected(t, err)
	})
}

// Others log out all the time, and the check takes longer than from one to the next.
func TestRevokingOthersDoesNotHoldUpARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		var asked atomic.Int32
		slow := wsauth.Require(func(context.Context, *wsauth.Claims) error {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		renewed := make(chan error)
		srv := newMemoryServer(t, auth.Middleware(slow(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			asked.Store(0)
			_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour)))
			renewed <- err
		}, nil))))
		conn, r := srv.handshake(t, testToken(lasting(time.Minute)))
		defer conn.Close()
		go io.Copy(io.Discard, r)
		others := time.NewTicker(20 * time.Millisecond)
		for {
			select {
			case <-others.C:
				disconnect(auth, isOf("mallory"))
				continue
			case err := <-renewed:
				if n := asked.Load(); err != nil || n != 1 {
					t.Errorf("got %v, and the check asked %d times, want no error, and once", err, n)
				}
			}
			break
		}
	})
}

// One session for each user: a check may call Disconnect itself.
func TestACheckMayDisconnectOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		var asked atomic.Int32
		single := wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
			asked.Add(1)
			disconnect(auth, func(other *wsauth.Claims) bool { return other.Subject == c.Subject && other.ID != c.ID })
			return nil
		})
		session := func(id string, d time.Duration) string { return testToken(lasting(d), map[string]any{"jti": id}) }
		srv := newMemoryServer(t, auth.Middleware(single(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			for {
				_, token, err := conn.Read(ctx)
				if err != nil {
					return
				}
				asked.Store(0)
				_, err = wsauth.Renew(ctx, string(token))
				conn.Write(ctx, websocket.MessageText, fmt.Append(nil, err, " after ", asked.Load()))
			}
		}, nil))))
		first := srv.dial(t, withToken(session("1", time.Hour)))
		if got := exchange(t, first, session("1", 2*time.Hour)); got != "<nil> after 1" {
			t.Errorf("got %s of the renewal, want it to be asked about once", got)
		}
		second := srv.dial(t, withToken(session("2", time.Hour)))
		_, _, err := first.Read(t.Context())
		wantDisconnected(t, err)
		if got := exchange(t, second, session("2", 2*time.Hour)); got != "<nil> after 1" {
			t.Errorf("got %s of the renewal, want it to be asked about once", got)
		}
		second.CloseNow()
	})
}

// What is revoked may be what the connection is about to be renewed with, and match, a key or a check all that says so.
func TestARenewalWithWhatIsDisconnectedMeanwhileFails(t *testing.T) {
	for name, revokedBy := range map[string]string{"by match alone": "", "by a KeyFunc": "key", "by a Require": "check"} {
		// In the key's turn, and in the check's.
		for _, moment := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " after ", moment), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var listed, renewing atomic.Bool
					ask := func(by string) error {
						if listed.Load() && by == revokedBy {
							return wsauth.ErrRevoked
						}
						if renewing.Load() {
							time.Sleep(time.Second)
						}
						return nil
					}
					auth := newAuth(t, untilExp, askedBy(func() error { return ask("key") }))
					token := func(id string, d time.Duration) string {
						return testToken(lasting(d), map[string]any{"jti": id})
					}
					require := wsauth.Require(func(context.Context, *wsauth.Claims) error { return ask("check") })
					renewed := make(chan error, 1)
					srv := newMemoryServer(t, auth.Middleware(require(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
						renewing.Store(true)
						_, err := wsauth.Renew(ctx, token("next", 2*time.Hour))
						renewed <- err
						echo(ctx, conn)
					}, nil))))
					conn := srv.dial(t, withToken(token("first", time.Hour)))
					time.Sleep(moment)
					listed.Store(true)
					if n := disconnect(auth, func(c *wsauth.Claims) bool { return c.ID == "next" }); n != 0 {
						t.Errorf("got %d connections, want none that has it already", n)
					}
					err := <-renewed
					wantKind(t, err, wsauth.ErrRevoked)
					if got := exchange(t, conn, "as it was"); got != "as it was" {
						t.Errorf("got %q from the connection, want it as it was", got)
					}
					conn.CloseNow()
				})
			})
		}
	}
}

// Whatever becomes of the check, the connection keeps the end that it had.
func TestARenewalThatIsNotJudgedToItsEndLeavesTheConnectionAsItWas(t *testing.T) {
	for name, judge := range map[string]func(){
		"it panics": func() { panic("oh dear") },
		"it hangs":  func() { time.Sleep(2 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, untilExp)
				var renewing atomic.Bool
				require := wsauth.Require(func(context.Context, *wsauth.Claims) error {
					if renewing.Load() {
						disconnect(auth, isOf("mallory"))
						judge()
					}
					return nil
				})
				srv := newMemoryServer(t, auth.Middleware(require(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					renewing.Store(true)
					go func() {
						defer func() { recover() }()
						wsauth.Renew(ctx, testToken(lasting(3*time.Hour)))
					}()
					conn.Read(ctx)
				}, nil))))
				start := time.Now()
				conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
				_, _, err := conn.Read(t.Context())
				if websocket.CloseStatus(err) != wsauth.StatusUnauthorized || time.Since(start) != time.Hour {
					t.Errorf("got %v at the client after %v, want 3000 after an hour", err, time.Since(start))
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

func TestDisconnectSaysWhatAnEndpointMaySay(t *testing.T) {
	auth := newAuth(t, untilExp)
	for _, code := range []websocket.StatusCode{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d: got no panic, want one", code)
				}
			}()
			auth.Disconnect(isOf("alice"), code, "")
		}()
	}
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(echo, nil))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		synctest.Wait()
		auth.Disconnect(isOf("alice"), 4000, strings.Repeat("ä", 100))
		_, _, err := conn.Read(t.Context())
		wantClosed(t, err, 4000, strings.Repeat("ä", 61))
	})
}
