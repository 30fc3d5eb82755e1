package wsauth_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// What a peer leaves half done at the end of its token must not hide why the connection ended.
func TestAConnectionEndsWithItsTokenAlsoWithinAFrame(t *testing.T) {
	for name, leaves := range map[string]bool{"the peer stalls": false, "the peer leaves": true} {
		t.Run(name, func(t *testing.T) {
			for range 50 { // it was a matter of chance
				synctest.Test(t, func(t *testing.T) {
					failed, cause := make(chan error, 1), make(chan error, 1)
					srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
						_, _, err := conn.Read(ctx)
						failed <- err
						<-ctx.Done()
						cause <- context.Cause(ctx)
					}, nil))
					conn, r := srv.handshake(t, tokenFor(time.Minute))
					conn.Write(clientFrame(2, make([]byte, 10_000))[:100])
					if leaves {
						io.ReadFull(r, make([]byte, 4)) // the close frame
						conn.Close()
					} else {
						go io.Copy(io.Discard, r)
					}
					if err := <-failed; !errors.Is(err, wsauth.ErrExpired) {
						t.Errorf("Read returns %v", err)
					}
					if err := <-cause; err != wsauth.ErrExpired {
						t.Errorf("cause %v", err)
					}
					conn.Close()
				})
			}
		})
	}
}

func TestReadSaysThatThePeerHasGoneAndNotThatTheContextHasEnded(t *testing.T) {
	for range 200 { // it was a matter of chance
		synctest.Test(t, func(t *testing.T) {
			failed, over := make(chan error, 1), make(chan struct{})
			srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
				_, _, err := conn.Read(ctx)
				failed <- err
				<-ctx.Done()
				close(over)
			}, nil))
			conn, _ := srv.handshake(t, tokenFor(time.Hour))
			conn.Close()
			if err := <-failed; !errors.Is(err, io.EOF) {
				t.Errorf("Read returns %v", err)
			}
			<-over
		})
	}
}

// Ping waits for its pong, or for coder/websocket's own end.
func TestNothingWaitsForAPeerThatHasGone(t *testing.T) {
	for name, row := range map[string]struct {
		serve func(ctx context.Context, conn *websocket.Conn, ping func())
		after time.Duration // at most
	}{
		"serve returns": {func(ctx context.Context, conn *websocket.Conn, ping func()) {
			go ping()
			conn.Read(ctx)
		}, 0},
		"a goroutine reads": {func(ctx context.Context, conn *websocket.Conn, ping func()) {
			go conn.Read(ctx)
			ping()
		}, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waited := make(chan error, 1)
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					row.serve(ctx, conn, func() { waited <- conn.Ping(context.Background()) })
				}, nil))
				start := time.Now()
				conn, r := srv.handshake(t, tokenFor(time.Hour))
				io.ReadFull(r, make([]byte, 3)) // the ping
				conn.Close()
				if err := <-waited; err == nil || time.Since(start) > row.after {
					t.Errorf("%v, after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestTheContextEndsWhileTheConnectionIsStillClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			conn.CloseRead(context.Background())
			<-ctx.Done()
			ended <- time.Now()
		}, nil))
		srv.closesIn = 5 * time.Second
		conn, _ := srv.handshake(t, tokenFor(time.Hour))
		start := time.Now()
		conn.Close()
		if took := (<-ended).Sub(start); took >= time.Second {
			t.Errorf("after %v", took)
		}
		time.Sleep(time.Minute)
	})
}

// A CloseRead that has met a message waits for itself, for 15 s, once it has closed the connection.
func TestACloseReadThatClosesDoesNotHoldUpShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, returned := newUpgradeAuth(t), make(chan time.Time, 1)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			conn.CloseRead(ctx)
			time.AfterFunc(time.Second, func() { conn.Close(websocket.StatusNoStatusRcvd, "") })
			conn.Ping(ctx) // until coder/websocket closes, which takes a while
			returned <- time.Now()
		}, nil))
		srv.closesIn = 100 * time.Millisecond
		conn, r := srv.handshake(t, tokenFor(time.Hour))
		io.ReadFull(r, make([]byte, 3+2)) // the ping, and the close frame
		conn.Write(clientFrame(1, []byte("data")))
		conn.Close()
		since := <-returned
		auth.Shutdown(t.Context())
		if took := time.Since(since); took > 2*time.Second {
			t.Errorf("%v after serve has returned", took)
		}
		time.Sleep(time.Minute)
	})
}

func TestAConnectionThatHasBrokenIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := make(chan error, 1)
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			go conn.Read(ctx)
			<-ctx.Done()
			_, err := wsauth.Renew(ctx, tokenFor(2*time.Hour))
			renewed <- err
		}, nil))
		conn, _ := srv.handshake(t, tokenFor(time.Hour))
		conn.Close()
		wantKind(t, <-renewed, wsauth.ErrExpired)
	})
}

// coder/websocket holds a lock while a callback runs, and its Close waits for that lock.
func TestACallbackForPingsDoesNotHoldUpTheEnd(t *testing.T) {
	for name, callback := range map[string]func(context.Context, *wsauth.Authenticator){
		"it waits for the context": func(ctx context.Context, _ *wsauth.Authenticator) { <-ctx.Done() },
		"it sleeps":                func(context.Context, *wsauth.Authenticator) { time.Sleep(20 * time.Second) },
		"it renews too late": func(ctx context.Context, _ *wsauth.Authenticator) {
			time.Sleep(2 * time.Second)
			if _, err := wsauth.Renew(ctx, tokenFor(time.Hour)); !errors.Is(err, wsauth.ErrExpired) {
				panic(err)
			}
		},
		"it revokes": func(_ context.Context, a *wsauth.Authenticator) { disconnect(a, isOf("alice")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, ended := time.Now(), make(chan time.Duration, 1)
				auth := newUpgradeAuth(t)
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					context.AfterFunc(ctx, func() { ended <- time.Since(start) })
					conn.Read(ctx)
				}, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{
					OnPingReceived: func(ctx context.Context, _ []byte) bool { callback(ctx, auth); return true },
				}}))
				conn, r := srv.handshake(t, tokenFor(time.Minute))
				time.Sleep(59 * time.Second)
				conn.Write(clientFrame(9, []byte("ping")))
				io.Copy(io.Discard, r)
				if took := max(<-ended, time.Since(start)); took > time.Minute+1500*time.Millisecond {
					t.Errorf("the end came after %v", took)
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

// CloseRead closes by itself when a message comes, and coder/websocket's Close then waits for CloseRead.
func TestCloseReadDoesNotHoldTheSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			<-conn.CloseRead(ctx).Done()
		}, &wsauth.UpgradeOptions{MaxPerSubject: 1}))
		start := time.Now()
		for range 3 {
			conn, r := srv.handshake(t, tokenFor(time.Hour))
			conn.Write(clientFrame(1, []byte("unexpected")))
			io.ReadFull(r, make([]byte, 4))
			conn.Close()
			synctest.Wait()
		}
		if err := auth.Shutdown(t.Context()); err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("Shutdown: %v, after %v", err, time.Since(start))
		}
		time.Sleep(time.Minute) // for what coder/websocket does in its own time
	})
}

// With a close frame between the frames of a compressed message, coder/websocket would use a decompressor that it has
// given back to its pool, or panic.
func TestACloseFrameWithinACompressedMessageIsTheEnd(t *testing.T) {
	for name, mode := range map[string]websocket.CompressionMode{
		"context takeover":    websocket.CompressionContextTakeover,
		"no context takeover": websocket.CompressionNoContextTakeover,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{
					FirstMessage: time.Minute, Accept: &websocket.AcceptOptions{CompressionMode: mode},
				}))
				var deflated bytes.Buffer
				w, _ := flate.NewWriter(&deflated, flate.BestSpeed)
				w.Write(bytes.Repeat([]byte("hello "), 100))
				w.Flush()
				start := time.Now()
				conn, r := srv.handshakeWith(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
				begin := clientFrame(1, deflated.Bytes()[:10])
				begin[0] = 0x41 // compressed, and more to come
				go conn.Write(append(begin, clientFrame(8, []byte{3, 232})...))
				io.Copy(io.Discard, r)
				conn.Close()
				synctest.Wait()
				if text := srv.log.String(); text != "" || time.Since(start) > 2*time.Second {
					t.Errorf("after %v, the log: %s", time.Since(start), text)
				}
			})
		})
	}
}

// A deadline that the application, or its listener, has set on the connection is not the end.
func TestATimeoutOfAReadIsNotTheEnd(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		h := newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			raw := ctx.Value(key{}).(net.Conn)
			raw.SetReadDeadline(time.Now().Add(time.Second))
			if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("Read returns %v; the context: %v", err, ctx.Err())
			}
			synctest.Wait()
			raw.SetReadDeadline(time.Time{})
			echo(ctx, conn)
		}, nil)
		conns := make(chan net.Conn, 1)
		srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, <-conns)))
		}))
		client, server := net.Pipe()
		go func() { srv.conns <- server; conns <- server }()
		conn, _, err := websocket.Dial(t.Context(), "ws://server/ws", &websocket.DialOptions{
			HTTPHeader: bearerHeader(tokenFor(time.Hour)),
			HTTPClient: &http.Client{Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil },
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := exchange(t, conn, "still here"); got != "still here" {
			t.Errorf("%q", got)
		}
		conn.Close(websocket.StatusNormalClosure, "")
	})
}
