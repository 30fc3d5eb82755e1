package wsauth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// A slowHijacker takes its time to hand the connection over.
type slowHijacker struct {
	http.ResponseWriter
	takes time.Duration
}

func (w slowHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	time.Sleep(w.takes)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func TestAConnectionWhoseTokenEndsDuringTheHandshakeIsNotServed(t *testing.T) {
	for name, detach := range map[string]bool{"in the handler": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newUpgradeAuth(t).Upgrade(func(context.Context, *websocket.Conn) { t.Error("served") },
					&wsauth.UpgradeOptions{Detach: detach})
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(slowHijacker{w, time.Minute}, r)
				}))
				conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Minute))})
				_, _, err := conn.Read(t.Context())
				if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("the client sees %v", err)
				}
			})
		})
	}
}

// The timer and serve meet again and again: whichever comes first, the peer is told that the token has ended.
func TestServeThatReturnsAsTheTokenEndsClosesWith3000(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			claims, _ := wsauth.ClaimsFromContext(ctx)
			time.Sleep(time.Until(claims.Expiry))
		}, nil))
		for range 50 {
			conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Minute))})
			if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
				t.Fatalf("the client sees %v", err)
			}
		}
	})
}

func TestACloseByServeIsNotHeldUpBeyondTheGrace(t *testing.T) {
	for name, peer := range map[string][]byte{
		"by silence":                     nil,
		"by a frame that is not sent":    clientFrame(2, make([]byte, 10_000))[:20],
		"by a header that is not whole":  clientFrame(2, nil)[:1],
		"by an endless stream of frames": slices.Repeat(clientFrame(2, make([]byte, 100)), 1000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took := make(chan time.Duration, 1)
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					start := time.Now()
					conn.Close(websocket.StatusPolicyViolation, "enough")
					took <- time.Since(start)
				}, &wsauth.UpgradeOptions{Grace: 2 * time.Second}))
				conn, r := srv.handshake(t, tokenFor(time.Hour))
				defer conn.Close()
				head := make([]byte, 2)
				if _, err := r.Read(head); err != nil || head[0]&0xf != 8 {
					t.Fatalf("no close frame, but %x, %v", head, err)
				}
				for len(peer) > 0 {
					n, err := conn.Write(peer[:min(len(peer), 20)])
					if err != nil {
						break
					}
					peer = peer[n:]
				}
				if took := <-took; took > 2*time.Second {
					t.Errorf("Close took %v", took)
				}
			})
		})
	}
}

func TestCallbacksForPingsRunOnlyOnceThereIsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []string
		saw := func(payload []byte) { mu.Lock(); seen = append(seen, string(payload)); mu.Unlock() }
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{
			FirstMessage: time.Minute,
			Accept: &websocket.AcceptOptions{
				OnPingReceived: func(_ context.Context, payload []byte) bool { saw(payload); return true },
				OnPongReceived: func(_ context.Context, payload []byte) { saw(payload) },
			},
		}))
		conn, r := srv.handshakeWith(t, "")
		defer conn.Close()
		go func() {
			for { // what the server answers
				if _, err := r.ReadByte(); err != nil {
					return
				}
			}
		}()
		for _, frame := range [][]byte{
			clientFrame(9, []byte("ping before")), clientFrame(10, []byte("pong before")),
			clientFrame(1, []byte(tokenFor(time.Hour))),
			clientFrame(9, []byte("ping after")), clientFrame(10, []byte("pong after")),
		} {
			if _, err := conn.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(seen, []string{"ping after", "pong after"}) {
			t.Errorf("the callbacks saw %q", seen)
		}
	})
}

func TestOfTwoRenewalsTheLaterTokenStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		slow := wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
			if c.ID == "slow" {
				time.Sleep(time.Second)
			}
			return nil
		})
		srv := newMemoryServer(t, auth.Middleware(slow(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			first := tokenWith(map[string]any{"jti": "slow"}, 2*time.Hour)
			later := tokenWith(nil, 3*time.Hour)
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := wsauth.Renew(ctx, first); !errors.Is(err, wsauth.ErrInvalidToken) {
					t.Errorf("the first, which was overtaken: %v", err)
				}
			})
			time.Sleep(time.Millisecond)
			if _, err := wsauth.Renew(ctx, later); err != nil {
				t.Errorf("the later: %v", err)
			}
			all.Wait()
			if _, err := wsauth.Renew(ctx, first); !errors.Is(err, wsauth.ErrInvalidToken) {
				t.Errorf("the first again: %v", err)
			}
			if claims, _ := wsauth.ClaimsFromContext(ctx); time.Until(claims.Expiry) < 2*time.Hour+time.Minute {
				t.Errorf("the connection ends in %v", time.Until(claims.Expiry))
			}
		}, nil))))
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(nil, time.Hour))})
		conn.Read(t.Context())
	})
}

// A timer may come late. What passes asks the clock itself.
func TestNothingPassesAfterTheEndThoughTheTimerIsLate(t *testing.T) {
	for name, late := range map[string]func(ctx context.Context, conn *websocket.Conn) error{
		"a message to serve": func(ctx context.Context, conn *websocket.Conn) error {
			_, message, err := conn.Read(ctx)
			if err == nil {
				err = fmt.Errorf("read %q", message)
			}
			return err
		},
		"a message of serve": func(ctx context.Context, conn *websocket.Conn) error {
			conn.Write(ctx, websocket.MessageText, []byte("late"))
			return wsauth.ErrExpired // the client sees that there was none
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					wsauth.DelayTimer(ctx, time.Minute+time.Second/2)
					time.Sleep(time.Minute)
					if err := late(ctx, conn); !errors.Is(err, wsauth.ErrExpired) {
						t.Error(err)
					}
				}, nil))
				conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Minute))})
				go conn.Write(t.Context(), websocket.MessageText, []byte("late"))
				_, message, err := conn.Read(t.Context())
				if code := websocket.CloseStatus(err); code != wsauth.StatusUnauthorized {
					t.Errorf("the client reads %q and sees %v", message, err)
				}
			})
		})
	}
}
