package wsauth_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

var upgradeKey = mint.New("HS256", "")

// newUpgradeAuth has one HMAC issuer and no leeway, so that a token's end is its exp.
func newUpgradeAuth(t *testing.T, change ...func(*wsauth.Options)) *wsauth.Authenticator {
	t.Helper()
	opts := wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(upgradeKey.Private.([]byte))}},
		Leeway:  -1,
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromQuery("access_token"),
			wsauth.FromCookie("access_token"), wsauth.FromSubprotocol("bearer.")},
	}
	for _, c := range change {
		c(&opts)
	}
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

func tokenFor(ttl time.Duration) string {
	return upgradeKey.Token(map[string]any{"sub": "alice", "exp": time.Now().Add(ttl).Unix()})
}

// echo sends every message back.
func echo(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return
		}
	}
}

// A memoryServer serves a handler over net.Pipe, so that its connections live in the time of a synctest bubble. A pipe
// has no buffer: a peer that does not read is stuck at once.
type memoryServer struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	log    *lockedBuffer

	closesIn time.Duration // that each of its connections takes to close
}

func newMemoryServer(t *testing.T, h http.Handler) *memoryServer {
	s := &memoryServer{conns: make(chan net.Conn), closed: make(chan struct{}), log: new(lockedBuffer)}
	srv := &http.Server{Handler: h, ErrorLog: log.New(s.log, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(s) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return s
}

func (s *memoryServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *memoryServer) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *memoryServer) Addr() net.Addr { return &net.TCPAddr{} }

func (s *memoryServer) dialRaw() net.Conn {
	client, server := net.Pipe()
	s.conns <- slowCloser{server, s.closesIn}
	return client
}

// A slowCloser takes its time to close, as a TLS connection does whose peer does not read.
type slowCloser struct {
	net.Conn
	takes time.Duration
}

func (c slowCloser) Close() error {
	time.Sleep(c.takes)
	return c.Conn.Close()
}

// dial connects as a real client does.
func (s *memoryServer) dial(t *testing.T, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	if opts.HTTPClient == nil {
		opts.HTTPClient = s.client()
	}
	conn, _, err := websocket.Dial(t.Context(), "ws://server/ws", opts)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (s *memoryServer) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return s.dialRaw(), nil },
	}}
}

// handshake connects without a WebSocket implementation: a peer that does what it likes.
func (s *memoryServer) handshake(t *testing.T, token string) (net.Conn, *bufio.Reader) {
	t.Helper()
	return s.handshakeWith(t, "Authorization: Bearer "+token+"\r\n")
}

// handshakeWith makes one with these header lines.
func (s *memoryServer) handshakeWith(t *testing.T, header string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn := s.dialRaw()
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+header+"\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return conn, r
}

// clientFrame is a masked frame, the mask being zero.
func clientFrame(opcode byte, payload []byte) []byte {
	f := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	default:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func bearerHeader(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestAClientConnectsWithATokenFromEachSource(t *testing.T) {
	auth := newUpgradeAuth(t)
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		claims, ok := wsauth.ClaimsFromContext(ctx)
		if !ok {
			t.Error("no claims in the context")
			return
		}
		conn.Write(ctx, websocket.MessageText, []byte(claims.Subject))
		echo(ctx, conn)
	}, nil))
	defer srv.Close()
	token := tokenFor(time.Hour)
	for name, set := range map[string]func(*url.URL, *websocket.DialOptions){
		"header": func(_ *url.URL, o *websocket.DialOptions) { o.HTTPHeader = bearerHeader(token) },
		"query":  func(u *url.URL, _ *websocket.DialOptions) { u.RawQuery = "access_token=" + token },
		"cookie": func(_ *url.URL, o *websocket.DialOptions) {
			o.HTTPHeader = http.Header{"Cookie": {"access_token=" + token}, "Origin": {srv.URL}}
		},
		"subprotocol": func(_ *url.URL, o *websocket.DialOptions) { o.Subprotocols = []string{"wsauth", "bearer." + token} },
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := url.Parse(srv.URL)
			opts := &websocket.DialOptions{}
			set(u, opts)
			conn, _, err := websocket.Dial(t.Context(), u.String(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if _, message, err := conn.Read(t.Context()); err != nil || string(message) != "alice" {
				t.Errorf("Read = %q, %v", message, err)
			}
			if len(opts.Subprotocols) > 0 && conn.Subprotocol() != "wsauth" {
				t.Errorf("Subprotocol = %q", conn.Subprotocol())
			}
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAConnectionEndsWith3000WhenItsTokenDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readErr, cause error
		served := make(chan struct{})
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			defer close(served)
			for readErr == nil {
				_, _, readErr = conn.Read(ctx)
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
		}, nil))
		start := time.Now()
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
		_, _, err := conn.Read(t.Context())
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != wsauth.StatusUnauthorized || closed.Reason != "token expired" {
			t.Errorf("the client sees %v", err)
		}
		if lived := time.Since(start); lived != time.Hour {
			t.Errorf("the connection lived %v", lived)
		}
		<-served
		if !errors.Is(readErr, wsauth.ErrExpired) || websocket.CloseStatus(readErr) != wsauth.StatusUnauthorized {
			t.Errorf("serve's Read returned %v", readErr)
		}
		if cause != wsauth.ErrExpired {
			t.Errorf("the context's cause is %v", cause)
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
				auth := newUpgradeAuth(t, func(o *wsauth.Options) { o.Leeway = row.leeway })
				srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{MaxLifetime: row.maxLifetime}))
				conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(row.ttl))})
				start := time.Now()
				_, _, err := conn.Read(t.Context())
				if got := time.Since(start); got != row.want || websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("ended after %v (want %v) with %v", got, row.want, err)
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
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					context.AfterFunc(ctx, func() { ended <- time.Since(start) })
					row.serve(ctx, conn)
				}, &wsauth.UpgradeOptions{Grace: grace}))
				conn, r := srv.handshake(t, tokenFor(ttl))
				gone := make(chan struct{})
				go func() { defer close(gone); row.peer(conn, r) }()
				if lived := <-ended; lived > ttl+grace {
					t.Errorf("the connection lived %v", lived)
				}
				synctest.Wait()
				conn.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the connection is still open: %v", err)
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
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
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
		conn, r := srv.handshake(t, tokenFor(ttl))
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
			t.Errorf("closed after %v", got)
		}
		if afterClose > 0 || lastRead.After(start.Add(ttl)) {
			t.Errorf("%d frames after the close frame, last message read at %v", afterClose, lastRead.Sub(start))
		}
	})
}

func TestTheContextOutlivesTheTimeoutsOfOuterMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("the context has a deadline")
			}
			echo(ctx, conn)
		}, nil)
		srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			inner.ServeHTTP(w, r.WithContext(ctx))
		}))
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
		time.Sleep(time.Minute)
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
			t.Error(err)
		}
		if _, _, err := conn.Read(t.Context()); err != nil {
			t.Error(err)
		}
		conn.Close(websocket.StatusNormalClosure, "")
	})
}

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
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					go conn.Read(ctx)
					<-ctx.Done()
					cause <- context.Cause(ctx)
				}, nil))
				conn, _ := srv.handshake(t, tokenFor(time.Hour))
				leave(conn)
				conn.Close()
				if err := <-cause; err != context.Canceled || time.Since(start) > 10*time.Millisecond {
					t.Errorf("cause %v, after %v", err, time.Since(start))
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

type countedConn struct {
	net.Conn
	n *atomic.Int32
}

func (w writeCounter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return countedConn{conn, w.n}, rw, err
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
				h := newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }, nil)
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(writeCounter{w, &writes}, r)
				}))
				conn, _ := srv.handshake(t, tokenFor(time.Hour))
				if before := writes.Load(); gone {
					conn.Close()
					synctest.Wait()
					if n := writes.Load() - before; n != 0 {
						t.Errorf("%d writes", n)
					}
					return
				}
				conn.Write(clientFrame(1, []byte("bye")))
				io.Copy(io.Discard, conn) // the close frame, and the end
				if writes.Load() == 0 {
					t.Error("no close frame")
				}
			})
		})
	}
}

func TestWhenServeEndsTheConnectionEnds(t *testing.T) {
	for name, row := range map[string]struct {
		serve func(context.Context, *websocket.Conn)
		code  websocket.StatusCode
		log   string
	}{
		"it returns":                {func(context.Context, *websocket.Conn) {}, websocket.StatusNormalClosure, ""},
		"it panics":                 {func(context.Context, *websocket.Conn) { panic("oh dear") }, websocket.StatusInternalError, "oh dear"},
		"it has closed by itself":   {func(_ context.Context, c *websocket.Conn) { c.Close(4001, "mine") }, 4001, ""},
		"it panics to abort":        {func(context.Context, *websocket.Conn) { panic(http.ErrAbortHandler) }, websocket.StatusInternalError, ""},
		"it dropped the connection": {func(_ context.Context, c *websocket.Conn) { c.CloseNow() }, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(row.serve, nil))
				conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != row.code {
					t.Errorf("the client sees %v", err)
				}
				synctest.Wait()
				if text := srv.log.String(); !strings.Contains(text, row.log) || row.log == "" && text != "" {
					t.Errorf("the server's log: %s", text)
				}
			})
		})
	}
}

func TestUpgradeSelectsASubprotocol(t *testing.T) {
	token := tokenFor(time.Hour)
	for name, row := range map[string]struct {
		server, client []string
		want           string
	}{
		"none offered":                    {[]string{"chat.v1"}, nil, ""},
		"the server's first":              {[]string{"chat.v2", "chat.v1"}, []string{"chat.v1", "chat.v2"}, "chat.v2"},
		"the application's over wsauth":   {[]string{"chat.v1"}, []string{"wsauth", "chat.v1"}, "chat.v1"},
		"wsauth where nothing else fits":  {[]string{"chat.v1"}, []string{"other", "wsauth"}, "wsauth"},
		"wsauth without any of its own":   {nil, []string{"wsauth"}, "wsauth"},
		"the token's entry never":         {nil, []string{"bearer." + token}, ""},
		"the token's entry beside others": {[]string{"chat.v1"}, []string{"bearer." + token, "chat.v1"}, "chat.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			accept := &websocket.AcceptOptions{Subprotocols: row.server}
			srv := httptest.NewServer(newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{Accept: accept}))
			defer srv.Close()
			opts := &websocket.DialOptions{Subprotocols: row.client}
			if !strings.Contains(strings.Join(row.client, ","), "bearer.") {
				opts.HTTPHeader = bearerHeader(token)
			}
			conn, resp, err := websocket.Dial(t.Context(), srv.URL, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if conn.Subprotocol() != row.want {
				t.Errorf("selected %q", conn.Subprotocol())
			}
			for name, values := range resp.Header {
				if strings.Contains(strings.Join(values, ","), token) {
					t.Errorf("the token is in the response's %s", name)
				}
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	}
}

func TestUpgradeChecksTheOriginWhateverCarriesTheToken(t *testing.T) {
	auth := newUpgradeAuth(t, func(o *wsauth.Options) { o.Origins = []string{"https://app.example.com", "https://*.example.org"} })
	srv := httptest.NewServer(auth.Upgrade(echo, nil))
	defer srv.Close()
	for origin, want := range map[string]int{
		"":                        101,
		srv.URL:                   101,
		"https://app.example.com": 101,
		"https://a.b.example.org": 101,
		"http://app.example.com":  403,
		"https://example.org":     403,
		"https://evil.example":    403,
		"null":                    403,
	} {
		for _, source := range []string{"header", "query", "subprotocol"} {
			t.Run(source+" from "+origin, func(t *testing.T) {
				token := tokenFor(time.Hour)
				u, opts := srv.URL, &websocket.DialOptions{HTTPHeader: http.Header{}}
				switch source {
				case "header":
					opts.HTTPHeader = bearerHeader(token)
				case "query":
					u += "?access_token=" + token
				default:
					opts.Subprotocols = []string{"wsauth", "bearer." + token}
				}
				if origin != "" {
					opts.HTTPHeader.Set("Origin", origin)
				}
				conn, resp, err := websocket.Dial(t.Context(), u, opts)
				if resp == nil || resp.StatusCode != want {
					t.Errorf("got %v, %v", resp, err)
				}
				if err == nil {
					conn.Close(websocket.StatusNormalClosure, "")
				}
			})
		}
	}
}

func TestUpgradeAuthenticatesByItselfUnlessItsOwnMiddlewareHas(t *testing.T) {
	auth, other := newUpgradeAuth(t), newUpgradeAuth(t)
	upgrade := auth.Upgrade(echo, nil)
	forge := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(wsauth.ContextWithClaims(r.Context(), &wsauth.Claims{Subject: "root"})))
		})
	}
	pass := wsauth.Require(func(context.Context, *wsauth.Claims) error { return nil })
	token := tokenFor(time.Hour)
	for name, row := range map[string]struct {
		handler http.Handler
		query   string
		want    int
	}{
		"alone":                           {upgrade, "?access_token=" + token, 101},
		"alone, without a token":          {upgrade, "", 401},
		"behind its Middleware":           {auth.Middleware(upgrade), "?access_token=" + token, 101},
		"behind its Middleware, Require":  {auth.Middleware(pass(upgrade)), "?access_token=" + token, 101},
		"behind its Optional":             {auth.Optional(upgrade), "?access_token=" + token, 101},
		"behind its Optional, no token":   {auth.Optional(upgrade), "", 401},
		"behind another's Middleware":     {other.Middleware(upgrade), "?access_token=" + token, 401},
		"behind claims nobody verified":   {forge(upgrade), "", 401},
		"claims nobody verified, Require": {forge(pass(upgrade)), "", 401},
		"the zero Authenticator":          {new(wsauth.Authenticator).Upgrade(echo, nil), "?access_token=" + token, 503},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(row.handler)
			defer srv.Close()
			conn, resp, err := websocket.Dial(t.Context(), srv.URL+row.query, nil)
			if resp == nil || resp.StatusCode != row.want {
				t.Errorf("got %v, %v", resp, err)
			}
			if err == nil {
				conn.Close(websocket.StatusNormalClosure, "")
			}
		})
	}
}

// A wrapper is a ResponseWriter of a logging middleware.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A deferring writer keeps the status back as gin's does.
type deferring struct {
	http.ResponseWriter
	status int
}

func (w *deferring) WriteHeader(status int)      { w.status = status }
func (w *deferring) WriteHeaderNow()             { w.ResponseWriter.WriteHeader(w.status) }
func (w *deferring) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeWorksBehindWrappedResponseWriters(t *testing.T) {
	for name, row := range map[string]struct {
		wrap func(http.ResponseWriter) http.ResponseWriter
		want int
	}{
		"one with Unwrap":            {func(w http.ResponseWriter) http.ResponseWriter { return wrapper{w} }, 101},
		"two with Unwrap":            {func(w http.ResponseWriter) http.ResponseWriter { return wrapper{wrapper{w}} }, 101},
		"one that defers the header": {func(w http.ResponseWriter) http.ResponseWriter { return &deferring{ResponseWriter: w} }, 101},
		"a wrapped one that defers": {
			func(w http.ResponseWriter) http.ResponseWriter { return wrapper{&deferring{ResponseWriter: w}} }, 101,
		},
		"one that cannot be hijacked": {
			func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }, 501,
		},
	} {
		t.Run(name, func(t *testing.T) {
			upgrade := newUpgradeAuth(t).Upgrade(echo, nil)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				upgrade.ServeHTTP(row.wrap(w), r)
			}))
			defer srv.Close()
			conn, resp, err := websocket.Dial(t.Context(), srv.URL,
				&websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
			if resp == nil || resp.StatusCode != row.want {
				t.Fatalf("got %v, %v", resp, err)
			}
			if err == nil {
				conn.Write(t.Context(), websocket.MessageText, []byte("hi"))
				if _, b, err := conn.Read(t.Context()); string(b) != "hi" {
					t.Errorf("Read = %q, %v", b, err)
				}
				conn.Close(websocket.StatusNormalClosure, "")
			}
		})
	}
}

func TestARequestThatIsNoHandshakeIsNotUpgraded(t *testing.T) {
	srv := httptest.NewServer(newUpgradeAuth(t).Upgrade(func(context.Context, *websocket.Conn) { t.Error("served") }, nil))
	defer srv.Close()
	req, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
	req.Header = bearerHeader(tokenFor(time.Hour))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestUpgradePanicsOnAMistakeAtSetUp(t *testing.T) {
	auth := newUpgradeAuth(t)
	for name, setUp := range map[string]func(){
		"a nil serve": func() { auth.Upgrade(nil, nil) },
		"origins of Accept": func() {
			auth.Upgrade(echo, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{OriginPatterns: []string{"*"}}})
		},
		"no check of origins": func() {
			auth.Upgrade(echo, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{InsecureSkipVerify: true}})
		},
		"a subprotocol that looks like a token": func() {
			auth.Upgrade(echo, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{Subprotocols: []string{"chat", "Bearer.x"}}})
		},
		"a negative lifetime":  func() { auth.Upgrade(echo, &wsauth.UpgradeOptions{MaxLifetime: -1}) },
		"a negative grace":     func() { auth.Upgrade(echo, &wsauth.UpgradeOptions{Grace: -1}) },
		"Middleware(nil)":      func() { auth.Middleware(nil) },
		"Require(nil)":         func() { wsauth.Require(nil) },
		"RequireScopes()":      func() { wsauth.RequireScopes() },
		"a scope with a space": func() { wsauth.RequireScopes("a b") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			setUp()
		})
	}
}

func TestTheEntryThatAnnouncesATokenIsSelectedWhereNothingElseIs(t *testing.T) {
	pair := func(o *wsauth.Options) { o.Extractors = []wsauth.Extractor{wsauth.FromSubprotocol("access_token")} }
	for name, row := range map[string]struct {
		own     []string
		offered []string
		token   bool
		want    string
	}{
		"the pair alone":              {nil, []string{"access_token", "TOKEN"}, true, "access_token"},
		"with a protocol of its own":  {[]string{"chat.v1"}, []string{"access_token", "TOKEN", "chat.v1"}, true, "chat.v1"},
		"with a protocol of nobody's": {[]string{"chat.v1"}, []string{"other", "access_token", "TOKEN"}, true, "access_token"},
		"refused":                     {nil, []string{"access_token", "BAD"}, false, "access_token"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newUpgradeAuth(t, pair).Upgrade(echo, &wsauth.UpgradeOptions{
					CloseOnRefusal: true, Accept: &websocket.AcceptOptions{Subprotocols: row.own},
				}))
				offer := strings.NewReplacer("TOKEN", tokenFor(time.Hour), "BAD", "eyJh.eyJi.c2ln").Replace(strings.Join(row.offered, ", "))
				conn := srv.dial(t, &websocket.DialOptions{Subprotocols: strings.Split(offer, ", ")})
				if got := conn.Subprotocol(); got != row.want {
					t.Errorf("selected %q, want %q", got, row.want)
				}
				if !row.token {
					_, _, err := conn.Read(t.Context())
					wantClosed(t, err, wsauth.StatusUnauthorized, "invalid_token")
					return
				}
				if got := exchange(t, conn, "hello"); got != "hello" {
					t.Errorf("got %q", got)
				}
				conn.Close(websocket.StatusNormalClosure, "")
			})
		})
	}
}
