package wsauth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestShutdownClosesEveryConnectionAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		var ended atomic.Int32
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			conn.Read(ctx)
			<-ctx.Done()
			if context.Cause(ctx) != http.ErrServerClosed {
				t.Errorf("got the cause %v, want http.ErrServerClosed", context.Cause(ctx))
			}
			time.Sleep(time.Second) // cleans up
			ended.Add(1)
		}, nil))
		const n = 20
		var all sync.WaitGroup
		for range n {
			conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
			all.Go(func() {
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
					t.Errorf("got %v at the client, want 1001", err)
				}
			})
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := auth.Shutdown(short)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "20 connections") {
			t.Errorf("got %v from Shutdown with too little time, want the deadline and 20 connections", err)
		}
		if err := auth.Shutdown(t.Context()); err != nil || ended.Load() != n {
			t.Errorf("got %v from Shutdown with %d ended, want no error and %d", err, ended.Load(), n)
		}
		all.Wait()
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v from Shutdown again, want no error", err)
		}
		_, resp, err := srv.tryDial(t, bearerHeader(testToken(lasting(time.Hour))))
		if err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %v after Shutdown, want 503 with Retry-After", resp)
		}
	})
}

// The client has a connection as soon as it reads the answer: before main may return, it must be told.
func TestShutdownWaitsForAConnectionThatIsBeingMade(t *testing.T) {
	for name, row := range map[string]struct {
		header http.Header
		status int
	}{
		"and comes to be":         {http.Header{"Sec-Websocket-Version": {"13"}}, 101},
		"and does not, after all": {http.Header{"Sec-Websocket-Version": {"12"}}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, untilExp)
				h := auth.Upgrade(neverServed(t), nil)
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.Header["Sec-Websocket-Version"] = row.header["Sec-Websocket-Version"]
					h.ServeHTTP(slowWriter{slowHijacker{w, time.Minute}}, r)
				}))
				told := make(chan error, 1)
				go func() {
					conn, resp, err := websocket.Dial(context.Background(), "ws://server/",
						&websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: bearerHeader(testToken(lasting(time.Hour)))})
					if resp == nil || resp.StatusCode != row.status {
						t.Errorf("got the answer %v, %v, want %d", resp, err, row.status)
					}
					if err == nil {
						_, _, err = conn.Read(context.Background())
					}
					told <- err
				}()
				time.Sleep(30 * time.Second)
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := auth.Shutdown(short); err == nil || !strings.Contains(err.Error(), "1 connections") {
					t.Errorf("got %v from Shutdown with too little time, want 1 connection", err)
				}
				if err := auth.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				select {
				case err := <-told:
					if code := websocket.CloseStatus(err); row.status == 101 && code != websocket.StatusGoingAway {
						t.Errorf("got %v at the client, want 1001", err)
					}
				default:
					t.Error("got Shutdown back before the client was told, want it to wait")
				}
			})
		})
	}
}

// A slowWriter takes its time for a refusal, too.
type slowWriter struct{ slowHijacker }

func (w slowWriter) WriteHeader(status int) {
	time.Sleep(w.takes)
	w.ResponseWriter.WriteHeader(status)
}

func TestShutdownWithoutConnectionsReturnsAtOnce(t *testing.T) {
	if err := newAuth(t, untilExp).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := new(wsauth.Authenticator).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A CloseRead that has met a message waits for itself, for 15 s, once it has closed the connection.
func TestACloseReadThatClosesDoesNotHoldUpShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, returned := newAuth(t, untilExp), make(chan time.Time, 1)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			conn.CloseRead(ctx)
			time.AfterFunc(time.Second, func() { conn.Close(websocket.StatusNoStatusRcvd, "") })
			conn.Ping(ctx) // until coder/websocket closes, which takes a while
			returned <- time.Now()
		}, nil))
		srv.closesIn = 100 * time.Millisecond
		conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
		io.ReadFull(r, make([]byte, 3+2)) // the ping, and the close frame
		conn.Write(clientFrame(1, []byte("data")))
		conn.Close()
		since := <-returned
		auth.Shutdown(t.Context())
		if took := time.Since(since); took > 2*time.Second {
			t.Errorf("got Shutdown back %v after serve, want within 2s", took)
		}
		time.Sleep(time.Minute)
	})
}

func TestNothingIsLeftOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine of the bubble is left
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{MaxPerSubject: 1000}))
		var all sync.WaitGroup
		for i := range 200 {
			conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
			all.Go(func() {
				if i%2 == 0 {
					conn.Close(websocket.StatusNormalClosure, "")
				} else {
					conn.Read(t.Context())
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
