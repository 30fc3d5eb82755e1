package wsauth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestAConnectionEndsWith3000WhenItsTokenDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readErr, cause error
		served := make(chan struct{})
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			defer close(served)
			for readErr == nil {
				_, _, readErr = conn.Read(ctx)
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
		}, nil))
		start := time.Now()
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		_, _, err := conn.Read(t.Context())
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != wsauth.StatusUnauthorized || closed.Reason != "token expired" {
			t.Errorf("got %v at the client, want 3000 and token expired", err)
		}
		if lived := time.Since(start); lived != time.Hour {
			t.Errorf("got a life of %v, want 1h0m0s", lived)
		}
		<-served
		if !errors.Is(readErr, wsauth.ErrExpired) || websocket.CloseStatus(readErr) != wsauth.StatusUnauthorized {
			t.Errorf("got %v from serve's Read, want ErrExpired with 3000", readErr)
		}
		if cause != wsauth.ErrExpired {
			t.Errorf("got the cause %v, want ErrExpired", cause)
		}
	})
}

func TestTheEndOfAConnection(t *testing.T) {
	for name, row := range map[string]struct {
		leeway, ttl, maxLifetime time.Duration
		want                     time.Duration
	}{
		"is exp plus the default leeway":      {0, time.Hour, 0, time.Hour + 30*time.Second},
		"is exp plus the leeway given":        {time.Minute, time.Hour, 0, time.Hour + time.Minute},
		"is exp without leeway":               {-1, time.Hour, 0, time.Hour},
		"comes after a second":                {-1, time.Second, 0, time.Second},
		"comes after days":                    {-1, 72 * time.Hour, 0, 72 * time.Hour},
		"is not later than MaxLifetime":       {-1, time.Hour, time.Minute, time.Minute},
		"is exp where MaxLifetime is later":   {-1, time.Hour, 2 * time.Hour, time.Hour},
		"may be in the leeway from the start": {0, -10 * time.Second, 0, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, func(o *wsauth.Options) { o.Leeway = row.leeway })
				srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{MaxLifetime: row.maxLifetime}))
				conn := srv.dial(t, withToken(testToken(lasting(row.ttl))))
				start := time.Now()
				_, _, err := conn.Read(t.Context())
				if got := time.Since(start); got != row.want || websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("got ended after %v, with %v, want after %v, with 3000", got, err, row.want)
				}
			})
		})
	}
}

// A hostile peer does with the connection what it likes; what it must not do is outlive its token.
func TestNoPeerOutlivesItsTokenByMoreThanTheGrace(t *testing.T) {
	const ttl, grace = time.Minute, 3 * time.Second
	read := func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }
	for name, row := range map[string]struct {
		serve func(context.Context, *websocket.Conn)
		peer  func(conn net.Conn, r *bufio.Reader) // after the handshake; its connection ends it
	}{
		"silent": {read, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }},
		"never reading": {
			read, func(net.Conn, *bufio.Reader) {},
		},
		"never reading, and a Write is stuck": {
			func(ctx context.Context, conn *websocket.Conn) {
				conn.Write(ctx, websocket.MessageText, make([]byte, 1<<20))
			},
			func(net.Conn, *bufio.Reader) {},
		},
		"never reading, with a stuck Write and a Read": {
			func(ctx context.Context, conn *websocket.Conn) {
				go conn.Write(ctx, websocket.MessageText, make([]byte, 1<<20))
				conn.Read(ctx)
			},
			func(net.Conn, *bufio.Reader) {},
		},
		"stalled in a frame's header": {
			read, func(conn net.Conn, r *bufio.Reader) { conn.Write([]byte{0x82}); io.Copy(io.Discard, r) },
		},
		"stalled in a frame": {
			read, func(conn net.Conn, r *bufio.Reader) {
				conn.Write([]byte{0x82, 0xfe, 0x27, 0x10, 0, 0, 0, 0, 1})
				io.Copy(io.Discard, r)
			},
		},
		"stalled in a frame, and nobody reads": {
			func(ctx context.Context, _ *websocket.Conn) { <-ctx.Done() },
			func(conn net.Conn, r *bufio.Reader) {
				go conn.Write([]byte{0x82, 0xfe, 0x27, 0x10, 0, 0, 0, 0, 1})
				io.Copy(io.Discard, r)
			},
		},
		"announcing a frame after the close frame": {
			read, func(conn net.Conn, r *bufio.Reader) {
				io.ReadFull(r, make([]byte, 4))
				conn.Write([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1})
				io.Copy(io.Discard, r)
			},
		},
		"flooding": {
			echo, func(conn net.Conn, r *bufio.Reader) {
				go io.Copy(io.Discard, r)
				for {
					if _, err := conn.Write(clientFrame(2, make([]byte, 100))); err != nil {
						return
					}
					time.Sleep(time.Millisecond) // in the bubble's time
				}
			},
		},
		"while the application holds a Reader": {
			func(ctx context.Context, conn *websocket.Conn) {
				_, r, err := conn.Reader(ctx)
				if err != nil {
					return
				}
				<-ctx.Done()
				if n, err := io.Copy(io.Discard, r); err == nil || n > 0 {
					panic("a message reached the application")
				}
			},
			func(conn net.Conn, r *bufio.Reader) {
				go conn.Write(clientFrame(2, make([]byte, 300)))
				io.Copy(io.Discard, r)
			},
		},
		"half closed": {
			func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx); <-ctx.Done() },
			func(conn net.Conn, r *bufio.Reader) { conn.Close() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				ended := make(chan time.Duration, 1)
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					context.AfterFunc(ctx, func() { ended <- time.Since(start) })
					row.serve(ctx, conn)
				}, &wsauth.UpgradeOptions{Grace: grace}))
				conn, r := srv.handshake(t, testToken(lasting(ttl)))
				gone := make(chan struct{})
				go func() { defer close(gone); row.peer(conn, r) }()
				if lived := <-ended; lived > ttl+grace {
					t.Errorf("got a life of %v, want at most %v", lived, ttl+grace)
				}
				synctest.Wait()
				conn.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("got %v, want the connection to be closed", err)
				}
				conn.Close()
				<-gone
				if text := srv.log.String(); text != "" {
					t.Error(text)
				}
			})
		})
	}
}

func TestNoMessagePassesAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = time.Minute
		var lastRead time.Time
		start := time.Now()
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			go func() { // writes on, as fast as the peer takes it
				for ctx.Err() == nil && conn.Write(ctx, websocket.MessageText, []byte("from the server")) == nil {
					time.Sleep(time.Millisecond)
				}
			}()
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
				lastRead = time.Now()
			}
		}, nil))
		conn, r := srv.handshake(t, testToken(lasting(ttl)))
		written := make(chan struct{})
		go func() {
			defer close(written)
			for {
				if _, err := conn.Write(clientFrame(1, []byte("from the client"))); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		afterClose := 0
		var closedAt time.Time
		for {
			h := make([]byte, 2)
			if _, err := io.ReadFull(r, h); err != nil {
				break
			}
			io.ReadFull(r, make([]byte, h[1]))
			if !closedAt.IsZero() {
				afterClose++
			}
			if h[0]&0xf == 8 {
				closedAt = time.Now()
			}
		}
		conn.Close()
		<-written
		synctest.Wait()
		if got := closedAt.Sub(start); got != ttl {
			t.Errorf("got the close frame after %v, want after %v", got, ttl)
		}
		if afterClose > 0 || lastRead.After(start.Add(ttl)) {
			t.Errorf("got %d frames after the close frame, and the last message after %v, want none after %v",
				afterClose, lastRead.Sub(start), ttl)
		}
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
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					wsauth.DelayTimer(ctx, time.Minute+time.Second/2)
					time.Sleep(time.Minute)
					if err := late(ctx, conn); !errors.Is(err, wsauth.ErrExpired) {
						t.Error(err)
					}
				}, nil))
				conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
				go conn.Write(t.Context(), websocket.MessageText, []byte("late"))
				_, message, err := conn.Read(t.Context())
				if code := websocket.CloseStatus(err); code != wsauth.StatusUnauthorized {
					t.Errorf("got %q and %v at the client, want no message, and 3000", message, err)
				}
			})
		})
	}
}

// What a peer leaves half done at the end of its token must not hide why the connection ended.
func TestAConnectionEndsWithItsTokenAlsoWithinAFrame(t *testing.T) {
	for name, leaves := range map[string]bool{"the peer stalls": false, "the peer leaves": true} {
		t.Run(name, func(t *testing.T) {
			for range 50 { // it was a matter of chance
				synctest.Test(t, func(t *testing.T) {
					failed, cause := make(chan error, 1), make(chan error, 1)
					srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
						_, _, err := conn.Read(ctx)
						failed <- err
						<-ctx.Done()
						cause <- context.Cause(ctx)
					}, nil))
					conn, r := srv.handshake(t, testToken(lasting(time.Minute)))
					conn.Write(clientFrame(2, make([]byte, 10_000))[:100])
					if leaves {
						io.ReadFull(r, make([]byte, 4)) // the close frame
						conn.Close()
					} else {
						go io.Copy(io.Discard, r)
					}
					if err := <-failed; !errors.Is(err, wsauth.ErrExpired) {
						t.Errorf("got %v from Read, want ErrExpired", err)
					}
					if err := <-cause; err != wsauth.ErrExpired {
						t.Errorf("got the cause %v, want ErrExpired", err)
					}
					conn.Close()
				})
			}
		})
	}
}

func TestAConnectionWhoseTokenEndsDuringTheHandshakeIsNotServed(t *testing.T) {
	for name, detach := range map[string]bool{"in the handler": false, "detached": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newAuth(t, untilExp).Upgrade(neverServed(t),
					&wsauth.UpgradeOptions{Detach: detach})
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(slowHijacker{w, time.Minute}, r)
				}))
				conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
				_, _, err := conn.Read(t.Context())
				if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("got %v at the client, want 3000", err)
				}
			})
		})
	}
}

// The timer and serve meet again and again: whichever comes first, the peer is told that the token has ended.
func TestServeThatReturnsAsTheTokenEndsClosesWith3000(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			claims, _ := wsauth.ClaimsFromContext(ctx)
			time.Sleep(time.Until(claims.Expiry))
		}, nil))
		for range 50 {
			conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
			if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
				t.Fatalf("got %v at the client, want 3000", err)
			}
		}
	})
}

func TestAGraceWithoutEndOverflowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{Grace: math.MaxInt64}))
		conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
		_, _, err := conn.Read(t.Context())
		wantClosed(t, err, wsauth.StatusUnauthorized, "token expired")
	})
}

// A timer belongs to the bubble in which it was made.
func TestOneAuthenticatorServesOneBubbleAfterAnother(t *testing.T) {
	auth := newAuth(t, untilExp)
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			srv, start := newMemoryServer(t, auth.Upgrade(echo, nil)), time.Now()
			conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
			_, _, err := conn.Read(t.Context())
			if got := time.Since(start); websocket.CloseStatus(err) != wsauth.StatusUnauthorized || got != time.Minute {
				t.Errorf("got %v after %v, want 3000 after 1m0s", err, got)
			}
		})
	}
}
