package wsauth_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestTheContextEndsWhenThePeerGoes(t *testing.T) {
	for name, leave := range map[string]func(net.Conn){
		"with a close frame":      func(c net.Conn) { c.Write(clientFrame(8, []byte{3, 232})); io.Copy(io.Discard, c) },
		"without one":             func(net.Conn) {},
		"within a frame":          func(c net.Conn) { c.Write(clientFrame(1, []byte("hello"))[:8]) },
		"within a frame's header": func(c net.Conn) { c.Write(clientFrame(1, make([]byte, 300))[:3]) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, cause := time.Now(), make(chan error, 1)
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					go conn.Read(ctx)
					<-ctx.Done()
					cause <- context.Cause(ctx)
				}, nil))
				conn, _ := srv.handshake(t, testToken(lasting(time.Hour)))
				leave(conn)
				conn.Close()
				if err := <-cause; err != context.Canceled || time.Since(start) > 10*time.Millisecond {
					t.Errorf("got the cause %v after %v, want context.Canceled at once", err, time.Since(start))
				}
			})
		})
	}
}

func TestTheContextEndsWhileTheConnectionIsStillClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			conn.CloseRead(context.Background())
			<-ctx.Done()
			ended <- time.Now()
		}, nil))
		srv.closesIn = 5 * time.Second
		conn, _ := srv.handshake(t, testToken(lasting(time.Hour)))
		start := time.Now()
		conn.Close()
		if took := (<-ended).Sub(start); took >= time.Second {
			t.Errorf("got the end of the context after %v, want within a second", took)
		}
		time.Sleep(time.Minute)
	})
}

func TestReadSaysThatThePeerHasGoneAndNotThatTheContextHasEnded(t *testing.T) {
	for range 200 { // it was a matter of chance
		synctest.Test(t, func(t *testing.T) {
			failed, over := make(chan error, 1), make(chan struct{})
			srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
				_, _, err := conn.Read(ctx)
				failed <- err
				<-ctx.Done()
				close(over)
			}, nil))
			conn, _ := srv.handshake(t, testToken(lasting(time.Hour)))
			conn.Close()
			if err := <-failed; !errors.Is(err, io.EOF) {
				t.Errorf("got %v from Read, want io.EOF", err)
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
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					row.serve(ctx, conn, func() { waited <- conn.Ping(context.Background()) })
				}, nil))
				start := time.Now()
				conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
				io.ReadFull(r, make([]byte, 3)) // the ping
				conn.Close()
				if err := <-waited; err == nil || time.Since(start) > row.after {
					t.Errorf("got %v after %v, want an error after %v at most", err, time.Since(start), row.after)
				}
			})
		})
	}
}

// A writeCounter counts the writes to a connection once it was handed over.
type writeCounter struct {
	http.ResponseWriter
	n *atomic.Int32
}

func (w writeCounter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return countedConn{conn, w.n}, rw, err
}

type countedConn struct {
	net.Conn
	n *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(p)
}

func TestNothingIsWrittenToAPeerThatHasGone(t *testing.T) {
	for name, gone := range map[string]bool{"gone": true, "there": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var writes atomic.Int32
				h := newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }, nil)
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(writeCounter{w, &writes}, r)
				}))
				conn, _ := srv.handshake(t, testToken(lasting(time.Hour)))
				if before := writes.Load(); gone {
					conn.Close()
					synctest.Wait()
					if n := writes.Load() - before; n != 0 {
						t.Errorf("got %d writes, want none", n)
					}
					return
				}
				conn.Write(clientFrame(1, []byte("bye")))
				io.Copy(io.Discard, conn) // the close frame, and the end
				if writes.Load() == 0 {
					t.Error("got no close frame, want one")
				}
			})
		})
	}
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
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{
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
					t.Errorf("got closed after %v, with the log %q, want within 2s, with none", time.Since(start), text)
				}
			})
		})
	}
}

// A deadline that the application, or its listener, has set on the connection is not the end.
func TestATimeoutOfAReadIsNotTheEnd(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		h := newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			raw := ctx.Value(key{}).(net.Conn)
			raw.SetReadDeadline(time.Now().Add(time.Second))
			if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("got %v from Read and %v from the context, want an error of Read alone", err, ctx.Err())
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
			HTTPHeader: bearerHeader(testToken(lasting(time.Hour))),
			HTTPClient: &http.Client{Transport: &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil },
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := exchange(t, conn, "still here"); got != "still here" {
			t.Errorf("got %q, want the echo", got)
		}
		conn.Close(websocket.StatusNormalClosure, "")
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
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					start := time.Now()
					conn.Close(websocket.StatusPolicyViolation, "enough")
					took <- time.Since(start)
				}, &wsauth.UpgradeOptions{Grace: 2 * time.Second}))
				conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
				defer conn.Close()
				head := make([]byte, 2)
				if _, err := r.Read(head); err != nil || head[0]&0xf != 8 {
					t.Fatalf("got %x, %v, want a close frame", head, err)
				}
				for len(peer) > 0 {
					n, err := conn.Write(peer[:min(len(peer), 20)])
					if err != nil {
						break
					}
					peer = peer[n:]
				}
				if took := <-took; took > 2*time.Second {
					t.Errorf("got Close to take %v, want at most 2s", took)
				}
			})
		})
	}
}
