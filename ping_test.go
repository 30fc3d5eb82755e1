package wsauth_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

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
				auth, lived := newAuth(t, untilExp), make(chan time.Duration, 1)
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					start := time.Now()
					if row.reads {
						conn.Read(ctx)
					}
					<-ctx.Done()
					lived <- time.Since(start)
				}, &wsauth.UpgradeOptions{Ping: 10 * time.Second, MaxPerSubject: 1}))
				conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
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
					t.Errorf("got a life of %v, want %v", got, row.lives)
				}
				conn.Close()
				synctest.Wait()
				srv.dial(t, withToken(testToken(lasting(time.Hour)))).CloseNow() // the seat is free
				time.Sleep(time.Minute)
			})
		})
	}
}

// With Ping, a serve that only writes learns that its peer has left.
func TestPingTellsAServeThatNeverReadsThatItsPeerHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lived := make(chan time.Duration, 1)
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			start := time.Now()
			<-ctx.Done()
			lived <- time.Since(start)
		}, &wsauth.UpgradeOptions{Ping: 10 * time.Second}))
		conn, _ := srv.handshake(t, testToken(lasting(time.Hour)))
		conn.Close()
		if got := <-lived; got > 11*time.Second {
			t.Errorf("got a life of %v, want at most 11s", got)
		}
	})
}

func TestCallbacksForPingsRunOnlyOnceThereIsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []string
		saw := func(payload []byte) { mu.Lock(); seen = append(seen, string(payload)); mu.Unlock() }
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{
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
			clientFrame(1, []byte(testToken(lasting(time.Hour)))),
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
			t.Errorf("got %q at the callbacks, want the two that came after the token", seen)
		}
	})
}

func TestACallbackForPingsHasTheClaimsAlsoDuringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subjects := make(chan string, 1)
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(_ context.Context, conn *websocket.Conn) {
			conn.Close(websocket.StatusNormalClosure, "") // it reads until the peer answers
		}, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{
			OnPingReceived: func(ctx context.Context, _ []byte) bool {
				claims, _ := wsauth.ClaimsFromContext(ctx)
				subjects <- claims.Subject
				return true
			},
		}}))
		conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
		go io.Copy(io.Discard, r)
		conn.Write(clientFrame(9, []byte("ping")))
		if got := <-subjects; got != "alice" {
			t.Errorf("got %q, want alice", got)
		}
		conn.Close()
	})
}

// coder/websocket holds a lock while a callback runs, and its Close waits for that lock.
func TestACallbackForPingsDoesNotHoldUpTheEnd(t *testing.T) {
	for name, callback := range map[string]func(context.Context, *wsauth.Authenticator){
		"it waits for the context": func(ctx context.Context, _ *wsauth.Authenticator) { <-ctx.Done() },
		"it sleeps":                func(context.Context, *wsauth.Authenticator) { time.Sleep(20 * time.Second) },
		"it renews too late": func(ctx context.Context, _ *wsauth.Authenticator) {
			time.Sleep(2 * time.Second)
			if _, err := wsauth.Renew(ctx, testToken(lasting(time.Hour))); !errors.Is(err, wsauth.ErrExpired) {
				panic(err)
			}
		},
		"it revokes": func(_ context.Context, a *wsauth.Authenticator) { disconnect(a, isOf("alice")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, ended := time.Now(), make(chan time.Duration, 1)
				auth := newAuth(t, untilExp)
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					context.AfterFunc(ctx, func() { ended <- time.Since(start) })
					conn.Read(ctx)
				}, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{
					OnPingReceived: func(ctx context.Context, _ []byte) bool { callback(ctx, auth); return true },
				}}))
				conn, r := srv.handshake(t, testToken(lasting(time.Minute)))
				time.Sleep(59 * time.Second)
				conn.Write(clientFrame(9, []byte("ping")))
				io.Copy(io.Discard, r)
				if took := max(<-ended, time.Since(start)); took > time.Minute+1500*time.Millisecond {
					t.Errorf("got the end after %v, want after 1m1.5s at most", took)
				}
				conn.Close()
				time.Sleep(time.Minute)
				if err := auth.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
