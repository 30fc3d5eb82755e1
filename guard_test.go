package wsauth_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// plain is what a library of somebody else's does: it takes the connection over and writes the response itself.
func plain(t *testing.T, serve func(ctx context.Context, conn net.Conn, r *bufio.Reader)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		serve(r.Context(), conn, rw.Reader)
	}
}

// withCoder is a handler on coder/websocket that knows nothing of this package.
func withCoder(serve func(ctx context.Context, conn *websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		serve(r.Context(), conn)
	}
}

// serverFrame is a frame that is not masked.
func serverFrame(opcode byte, payload string) []byte {
	return append([]byte{0x80 | opcode, byte(len(payload))}, payload...)
}

func wantClosed(t *testing.T, err error, code websocket.StatusCode, reason string) {
	t.Helper()
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Reason != reason {
		t.Errorf("the client sees %v, want %d %q", err, code, reason)
	}
}

func withToken(token string) *websocket.DialOptions {
	return &websocket.DialOptions{HTTPHeader: bearerHeader(token)}
}

// What a library makes of its connection is its own business: it ends all the same.
func TestAWebSocketBehindGuardEndsWithItsToken(t *testing.T) {
	for name, serve := range map[string]func(t *testing.T, ended chan<- error) http.Handler{
		"that writes its response by itself": func(t *testing.T, ended chan<- error) http.Handler {
			return plain(t, func(ctx context.Context, conn net.Conn, r *bufio.Reader) {
				conn.Write(serverFrame(1, "hello"))
				_, err := r.ReadByte()
				conn.Close()
				<-ctx.Done()
				ended <- errors.Join(err, context.Cause(ctx))
			})
		},
		"whose handler has returned": func(t *testing.T, ended chan<- error) http.Handler {
			return plain(t, func(ctx context.Context, conn net.Conn, r *bufio.Reader) {
				go func() {
					conn.Write(serverFrame(1, "hello"))
					_, err := r.ReadByte()
					conn.Close()
					<-ctx.Done()
					ended <- errors.Join(err, context.Cause(ctx))
				}()
			})
		},
		"on coder/websocket": func(t *testing.T, ended chan<- error) http.Handler {
			return withCoder(func(ctx context.Context, conn *websocket.Conn) {
				conn.Write(ctx, websocket.MessageText, []byte("hello"))
				_, _, err := conn.Read(ctx)
				<-ctx.Done()
				ended <- errors.Join(err, context.Cause(ctx))
			})
		},
		"that nobody reads from": func(t *testing.T, ended chan<- error) http.Handler {
			return plain(t, func(ctx context.Context, conn net.Conn, _ *bufio.Reader) {
				conn.Write(serverFrame(1, "hello"))
				<-ctx.Done()
				ended <- context.Cause(ctx)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				srv := newMemoryServer(t, newAuth(t, untilExp).Guard(serve(t, ended), nil))
				start := time.Now()
				conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
				if _, message, err := conn.Read(t.Context()); err != nil || string(message) != "hello" {
					t.Fatalf("got %q, %v, want hello", message, err)
				}
				_, _, err := conn.Read(t.Context())
				wantClosed(t, err, wsauth.StatusUnauthorized, "token expired")
				wantKind(t, <-ended, wsauth.ErrExpired)
				if took := time.Since(start); took != time.Minute {
					t.Errorf("ended after %v, want 1m", took)
				}
			})
		})
	}
}

// A router's timeout is for requests.
func TestAWebSocketBehindGuardOutlivesATimeoutAroundIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		h := newAuth(t, untilExp).Guard(plain(t, func(ctx context.Context, conn net.Conn, r *bufio.Reader) {
			_, err := r.ReadByte()
			ended <- errors.Join(err, context.Cause(ctx))
		}), nil)
		srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			h.ServeHTTP(w, r.WithContext(ctx))
		}))
		start := time.Now()
		_, _, err := srv.dial(t, withToken(testToken(lasting(time.Minute)))).Read(t.Context())
		wantClosed(t, err, wsauth.StatusUnauthorized, "token expired")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("ended after %v, want 1m", took)
		}
		wantKind(t, <-ended, wsauth.ErrExpired)
	})
}

// Before it is taken over, a request ends as any other.
func TestAHandshakeBehindGuardEndsWithATimeoutAroundIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAuth(t, untilExp).Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if cause := context.Cause(r.Context()); cause != context.DeadlineExceeded {
				t.Errorf("got the cause %v", cause)
			}
		}), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		serve(h, readRequest(t, "GET /ws\nHANDSHAKE\nAuthorization: Bearer "+testToken(lasting(time.Minute))).WithContext(ctx))
		if took := time.Since(start); took != time.Second {
			t.Errorf("ended after %v, want 1s", took)
		}
	})
}

func TestBehindGuardRenewDisconnectAndShutdownFindTheConnection(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(ctx context.Context, auth *wsauth.Authenticator)
		code   websocket.StatusCode
		reason string
		cause  func(error) bool
	}{
		"Disconnect": {
			func(_ context.Context, auth *wsauth.Authenticator) {
				if n := auth.Disconnect(isOf("alice"), 4001, "replaced"); n != 1 {
					panic(n)
				}
			}, 4001, "replaced",
			func(err error) bool { return websocket.CloseStatus(err) == 4001 && !errors.Is(err, wsauth.ErrRevoked) },
		},
		"Shutdown": {
			func(_ context.Context, auth *wsauth.Authenticator) { go auth.Shutdown(context.Background()) },
			websocket.StatusGoingAway, "server shutting down",
			func(err error) bool { return err == http.ErrServerClosed },
		},
		"Renew": {
			func(ctx context.Context, _ *wsauth.Authenticator) {
				if _, err := wsauth.Renew(ctx, testToken(lasting(time.Hour))); err != nil {
					panic(err)
				}
			}, wsauth.StatusUnauthorized, "token expired",
			func(err error) bool { return err == wsauth.ErrExpired },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth, causes := newAuth(t, untilExp), make(chan error, 1)
				srv := newMemoryServer(t, auth.Guard(plain(t, func(ctx context.Context, conn net.Conn, r *bufio.Reader) {
					go func() {
						r.ReadByte()
						<-ctx.Done()
						causes <- context.Cause(ctx)
					}()
					row.end(ctx, auth)
				}), nil))
				start := time.Now()
				conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
				_, _, err := conn.Read(t.Context())
				wantClosed(t, err, row.code, row.reason)
				if cause := <-causes; !row.cause(cause) {
					t.Errorf("got the cause %v", cause)
				}
				if took, renewed := time.Since(start), name == "Renew"; renewed != (took == time.Hour) {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

func TestAStreamBehindGuardEndsByItsContext(t *testing.T) {
	for name, row := range map[string]struct {
		end   func(*wsauth.Authenticator)
		cause error // nil: of another kind
		after time.Duration
	}{
		"at the token's end": {func(*wsauth.Authenticator) {}, wsauth.ErrExpired, time.Minute},
		"by Shutdown": {func(a *wsauth.Authenticator) {
			time.AfterFunc(time.Second, func() { a.Shutdown(context.Background()) })
		}, http.ErrServerClosed, time.Second},
		"by Disconnect": {func(a *wsauth.Authenticator) {
			time.AfterFunc(time.Second, func() { a.Disconnect(isOf("alice"), 4000, "bye") })
		}, nil, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, untilExp)
				var cause error
				var lived time.Duration
				h := auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					start := time.Now()
					<-r.Context().Done()
					cause, lived = context.Cause(r.Context()), time.Since(start)
				}), nil)
				row.end(auth)
				serve(h, readRequest(t, "GET /events\nAccept: text/event-stream\nAuthorization: Bearer "+testToken(lasting(time.Minute))))
				if row.cause != nil && cause != row.cause || row.cause == nil && websocket.CloseStatus(cause) != 4000 {
					t.Errorf("got the cause %v, want %v", cause, row.cause)
				}
				if lived != row.after {
					t.Errorf("lived %v, want %v", lived, row.after)
				}
				if err := auth.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAHandlerThatTakesNoNoticeLosesItsConnectionAfterTheGrace(t *testing.T) {
	for name, header := range map[string]string{
		"a stream":                             "",
		"a stream that looks like a handshake": "Connection: Upgrade\r\nUpgrade: websocket\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopped := make(chan time.Duration, 1)
				srv := newMemoryServer(t, newAuth(t, untilExp).Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					start := time.Now()
					for {
						if _, err := io.WriteString(w, "data: x\n\n"); err != nil {
							break
						}
						if err := http.NewResponseController(w).Flush(); err != nil {
							break
						}
						time.Sleep(100 * time.Millisecond)
					}
					stopped <- time.Since(start)
				}), &wsauth.UpgradeOptions{Grace: 2 * time.Second}))
				conn := srv.dialRaw()
				defer conn.Close()
				go io.Copy(io.Discard, conn)
				io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer "+testToken(lasting(time.Minute))+"\r\n"+header+"\r\n")
				if got := <-stopped; got < time.Minute+2*time.Second || got > time.Minute+2500*time.Millisecond {
					t.Errorf("stopped after %v, want 1m2s", got)
				}
			})
		})
	}
}

func TestAShortRequestBehindGuardLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		h := auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if claims, ok := wsauth.ClaimsFromContext(r.Context()); !ok || claims.Subject != "alice" {
				t.Errorf("got %v, %t", claims, ok)
			}
			w.WriteHeader(http.StatusNoContent)
		}), &wsauth.UpgradeOptions{MaxConnections: 1, MaxPerSubject: 1})
		for range 10 {
			if w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(lasting(time.Hour)))); w.Code != http.StatusNoContent {
				t.Errorf("status %d", w.Code)
			}
		}
		if n := auth.Disconnect(isOf("alice"), 4000, ""); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The handler behind Guard brings the token in words of its own, or is closed.
func TestBehindGuardTheFirstTokenComesByRenew(t *testing.T) {
	firstLine := func(ctx context.Context, conn net.Conn, r *bufio.Reader) {
		frame := make([]byte, 6)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		size := int(frame[1] & 0x7f)
		if size == 126 {
			size = int(frame[2])<<8 | int(frame[3])
			io.ReadFull(r, make([]byte, 2))
		}
		message := make([]byte, size)
		io.ReadFull(r, message)
		_, before := wsauth.ClaimsFromContext(ctx)
		claims, err := wsauth.Renew(ctx, string(message))
		if before || err != nil || claims.Subject != "alice" {
			return
		}
		if now, ok := wsauth.ClaimsFromContext(ctx); !ok || now != claims {
			return
		}
		conn.Write(serverFrame(1, "hello alice"))
		r.ReadByte()
	}
	opts := &wsauth.UpgradeOptions{FirstMessage: 5 * time.Second, MaxPerSubject: 1}
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newMemoryServer(t, newAuth(t, untilExp).Guard(plain(t, firstLine), opts))
			conn, r := srv.handshakeWith(t, "")
			defer conn.Close()
			conn.Write(clientFrame(1, []byte(testToken(lasting(time.Hour)))))
			got := make([]byte, 13)
			if _, err := io.ReadFull(r, got); err != nil || string(got[2:]) != "hello alice" {
				t.Errorf("got %q, %v", got, err)
			}
			start := time.Now()
			if code := readCloseCode(t, r); code != 3000 || time.Since(start) != time.Hour {
				t.Errorf("closed with %d after %v, want 3000 after 1h", code, time.Since(start))
			}
		})
	})
	t.Run("too late", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newMemoryServer(t, newAuth(t, untilExp).Guard(plain(t, firstLine), opts))
			start := time.Now()
			conn, r := srv.handshakeWith(t, "")
			defer conn.Close()
			if code := readCloseCode(t, r); code != 3008 || time.Since(start) != 5*time.Second {
				t.Errorf("closed with %d after %v, want 3008 after 5s", code, time.Since(start))
			}
		})
	})
}

// readCloseCode reads frames up to a close frame, and returns its code.
func readCloseCode(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatalf("no close frame: %v", err)
		}
		payload := make([]byte, head[1])
		if _, err := io.ReadFull(r, payload); err != nil {
			t.Fatal(err)
		}
		if head[0]&0xf == 8 {
			return int(payload[0])<<8 | int(payload[1])
		}
	}
}

func TestGuardRefusesAForeignOriginWhateverCarriesTheToken(t *testing.T) {
	h := newAuth(t, untilExp).Guard(new(recorder), nil)
	for name, row := range map[string]struct {
		request string
		want    int
	}{
		"a handshake, own origin":       {"GET /ws\nHANDSHAKE\nOrigin: https://server.example.com", 204},
		"a handshake, no origin":        {"GET /ws\nHANDSHAKE", 204},
		"a handshake, a foreign origin": {"GET /ws\nHANDSHAKE\nOrigin: https://evil.example", 403},
		"an upgrade that no handshake is, a foreign origin": {
			"GET /ws\nUpgrade: websocket\nOrigin: https://evil.example", 403},
		"a request of another page with a header": {"GET /\nOrigin: https://evil.example", 204},
	} {
		t.Run(name, func(t *testing.T) {
			r := readRequest(t, row.request+"\nAuthorization: Bearer "+testToken(lasting(time.Hour)))
			if w := serve(h, r); w.Code != row.want {
				t.Errorf("status %d, want %d", w.Code, row.want)
			}
		})
	}
}

func TestWhatIsTakenOverForAnythingElseIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			time.Sleep(2 * time.Minute)
			io.WriteString(conn, "as it was")
		}), nil))
		conn := srv.dialRaw()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: tunnel\r\nAuthorization: Bearer "+testToken(lasting(time.Minute))+"\r\n\r\n")
		text, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(text), "as it was") {
			t.Errorf("got %q, %v", text, err)
		}
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestMistakesInTheOptionsOfGuardPanic(t *testing.T) {
	next := new(recorder)
	for name, mistake := range map[string]func(*wsauth.Authenticator){
		"a nil handler": func(a *wsauth.Authenticator) { a.Guard(nil, nil) },
		"Accept": func(a *wsauth.Authenticator) {
			a.Guard(next, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{}})
		},
		"Detach": func(a *wsauth.Authenticator) { a.Guard(next, &wsauth.UpgradeOptions{Detach: true}) },
		"FirstToken": func(a *wsauth.Authenticator) {
			a.Guard(next, &wsauth.UpgradeOptions{FirstToken: func([]byte) (string, error) { return "", nil }})
		},
		"a negative Ping": func(a *wsauth.Authenticator) { a.Guard(next, &wsauth.UpgradeOptions{Ping: -1}) },
		"a nil check": func(a *wsauth.Authenticator) {
			a.Guard(next, &wsauth.UpgradeOptions{Require: []func(context.Context, *wsauth.Claims) error{nil}})
		},
		"ReplaceOldest without a number": func(a *wsauth.Authenticator) { a.Guard(next, &wsauth.UpgradeOptions{ReplaceOldest: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			mistake(newAuth(t, untilExp))
		})
	}
}

func oops(value any) { panic(value) }

// net/http logs the stack on which a panic arrives, and a token is verified on another one.
func TestAPanicOfACheckArrivesAndSaysWhereItBegan(t *testing.T) {
	handlers := map[string]func(*wsauth.Authenticator, *wsauth.UpgradeOptions) http.Handler{
		"Guard": func(a *wsauth.Authenticator, opts *wsauth.UpgradeOptions) http.Handler {
			return a.Guard(new(recorder), opts)
		},
		"Upgrade": func(a *wsauth.Authenticator, opts *wsauth.UpgradeOptions) http.Handler {
			return a.Upgrade(neverServed(t), opts)
		},
		"Renew": func(a *wsauth.Authenticator, opts *wsauth.UpgradeOptions) http.Handler {
			check := opts.Require[0]
			opts.Require[0] = func(ctx context.Context, c *wsauth.Claims) error {
				if c.ID == "second" {
					return check(ctx, c)
				}
				return nil
			}
			return a.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				wsauth.Renew(r.Context(), testToken(lasting(2*time.Hour), map[string]any{"jti": "second"}))
			}), opts)
		},
	}
	for name, row := range map[string]struct {
		value  any
		logged bool
	}{
		"a mistake":            {"oh dear", true},
		"http.ErrAbortHandler": {http.ErrAbortHandler, false},
	} {
		for where, handler := range handlers {
			t.Run(where+"/"+name, func(t *testing.T) {
				var log bytes.Buffer
				h := handler(newAuth(t, untilExp), &wsauth.UpgradeOptions{
					Require: []func(context.Context, *wsauth.Claims) error{
						func(context.Context, *wsauth.Claims) error { oops(row.value); return nil },
					},
				})
				r := readRequest(t, "GET /ws\nHANDSHAKE\nAuthorization: Bearer "+testToken(lasting(time.Hour)))
				srv := &http.Server{ErrorLog: stdlog.New(&log, "", 0)}
				r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, srv))
				defer func() {
					if got := recover(); got != row.value {
						t.Errorf("got the panic %v, want %v", got, row.value)
					}
					if got := strings.Contains(log.String(), "wsauth_test.oops"); got != row.logged {
						t.Errorf("got the log %q, want with the place: %v", &log, row.logged)
					}
				}()
				h.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
	}
}

// The outermost Middleware has taken the token out of sight of its own Upgrade.
func TestUpgradeTakesTheWordOfItsOwnMiddlewareAlsoBehindAnother(t *testing.T) {
	for name, request := range map[string]string{
		"header": "GET /ws\nHANDSHAKE\nAuthorization: Bearer TOKEN",
		"query":  "GET /ws?access_token=TOKEN\nHANDSHAKE",

		"subprotocol": "GET /ws\nHANDSHAKE\nSec-WebSocket-Protocol: chat, bearer.TOKEN",
	} {
		t.Run(name, func(t *testing.T) {
			auth, served := newAuth(t, untilExp, bySubprotocol), false
			other := newAuth(t, func(o *wsauth.Options) {
				o.Extractors = []wsauth.Extractor{wsauth.FromFunc(func(*http.Request) (string, error) {
					return testToken(map[string]any{"sub": "bob"}), nil
				})}
			})
			inner := auth.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				claims, _ := wsauth.ClaimsFromContext(r.Context())
				served = claims != nil && claims.Subject == "alice"
			}), nil)
			r := readRequest(t, strings.Replace(request, "TOKEN", testToken(lasting(time.Hour)), 1))
			if w := serve(auth.Middleware(other.Middleware(inner)), r); !served {
				t.Errorf("refused with %d, or served with the claims of another", w.Code)
			}
		})
	}
}

// The other way round the claims of another count for nothing.
func TestTheClaimsOfAnotherAuthenticatorCountForNothing(t *testing.T) {
	auth, other := newAuth(t, untilExp), newAuth(t)
	h := other.Middleware(auth.Guard(new(recorder), nil))
	if w := serve(h, readRequest(t, "GET /ws?access_token="+testToken(nil)+"\nHANDSHAKE")); w.Code != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", w.Code)
	}
}

func TestTheEndOfAConnectionIsToldAsItWas(t *testing.T) {
	for name, row := range map[string]struct {
		peer func(conn net.Conn)
		want websocket.StatusCode
	}{
		"the peer closes without a code": {func(conn net.Conn) { conn.Write(clientFrame(8, nil)) }, websocket.StatusNoStatusRcvd},
		"the peer closes with a code":    {func(conn net.Conn) { conn.Write(clientFrame(8, []byte{3, 233})) }, websocket.StatusGoingAway},
		"the peer goes without a word":   {func(conn net.Conn) { conn.Close() }, websocket.StatusAbnormalClosure},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := make(chan wsauth.Event, 1)
				auth := newAuth(t, untilExp, func(o *wsauth.Options) {
					o.Observe = func(_ context.Context, e wsauth.Event) {
						if e.Kind == wsauth.EventClosed {
							closed <- e
						}
					}
				})
				srv := newMemoryServer(t, auth.Upgrade(echo, nil))
				conn, r := srv.handshake(t, testToken(lasting(time.Hour)))
				go io.Copy(io.Discard, r)
				row.peer(conn)
				if e := <-closed; e.Code != row.want || e.Err != nil {
					t.Errorf("got %d, %v, want %d", e.Code, e.Err, row.want)
				}
				conn.Close()
			})
		})
	}
}

func TestARefusalBetweenMiddlewareAndUpgradeSaysWhoseTokenItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused wsauth.Event
		auth := newAuth(t, func(o *wsauth.Options) {
			o.Leeway = -1
			o.Observe = func(_ context.Context, e wsauth.Event) {
				if e.Kind == wsauth.EventRefused {
					refused = e
				}
			}
		})
		upgrade := auth.Guard(new(recorder), nil)
		h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			upgrade.ServeHTTP(w, r)
		}))
		token := testToken(map[string]any{"exp": time.Now().Add(time.Minute).Unix()})
		serve(h, readRequest(t, "GET /ws\nHANDSHAKE\nAuthorization: Bearer "+token))
		if refused.Issuer != testIssuer || refused.Source != "header" || !errors.Is(refused.Err, wsauth.ErrExpired) {
			t.Errorf("got %+v", refused)
		}
	})
}

func TestARequestWhoseCheckEndsItsGoroutineNoLongerCounts(t *testing.T) {
	for name, end := range map[string]func(){
		"a panic": func() { panic("oh dear") },
		"Goexit":  runtime.Goexit,
	} {
		for kind, lines := range map[string]string{"a response": "", "a WebSocket": handshakeLines} {
			t.Run(name+" on the way to "+kind, func(t *testing.T) {
				auth := newAuth(t)
				asked := 0
				check := func(context.Context, *wsauth.Claims) error {
					if asked++; asked > 1 {
						end()
					}
					disconnect(auth, isOf("nobody")) // so the check is asked again
					return nil
				}
				guard := auth.Guard(&recorder{}, &wsauth.UpgradeOptions{
					Require: []func(context.Context, *wsauth.Claims) error{check},
				})
				r := readRequest(t, "GET /\nAuthorization: Bearer "+testToken(lasting(time.Hour))+"\n"+lines)
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { recover() }()
					serve(guard, r)
				}()
				<-done
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := auth.Shutdown(ctx); err != nil || asked != 2 {
					t.Errorf("got %v from Shutdown after %d checks, want nil after 2", err, asked)
				}
			})
		}
	}
}
