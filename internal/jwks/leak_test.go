package jwks

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// settles waits until there is nothing more of what is counted than there was, 10 seconds at most.
func settles(t *testing.T, what string, base int, count func() int) {
	t.Helper()
	enough := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for count() > base {
		select {
		case <-tick.C:
		case <-enough:
			stacks := make([]byte, 32<<10)
			t.Fatalf("%d %s, want %d as before\n%s", count(), what, base, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// A server is a real one, on loopback, with all the faults that a network has.
type server struct {
	*httptest.Server
	open  atomic.Int64 // connections
	wrote atomic.Int64 // of endless bodies, in bytes
}

// bomb is small, and large when it is unpacked.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.CopyN(z, spaces{}, 8<<20)
	z.Close()
	return b.Bytes()
})

func newServer(t *testing.T, k *mint.Key, start func(*httptest.Server)) *server {
	s := &server{}
	good := mint.SetOf(k)
	mux := http.NewServeMux()
	handle := func(path string, f http.HandlerFunc) { mux.HandleFunc(path, f) }
	handle("/good", func(w http.ResponseWriter, _ *http.Request) { w.Write(good) })
	handle("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/hop", http.StatusFound) })
	handle("/hop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/good", http.StatusTemporaryRedirect)
	})
	handle("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		z.Write(good)
	})

	handle("/500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, string(good), 500) })
	handle("/500-long", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		w.Write(make([]byte, maxBody))
	})
	handle("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://evil.example/", http.StatusFound)
	})
	handle("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	handle("/html", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html>") })
	handle("/empty", func(http.ResponseWriter, *http.Request) {})
	handle("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	handle("/hang-in-body", func(w http.ResponseWriter, r *http.Request) {
		w.Write(good[:10])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	handle("/drip", func(w http.ResponseWriter, r *http.Request) {
		for i := range good {
			w.Write(good[i : i+1])
			http.NewResponseController(w).Flush()
			if pause(r.Context(), 10*time.Millisecond) != nil {
				return
			}
		}
	})
	handle("/reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	handle("/reset-in-body", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(good[:10])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	handle("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(good)+1))
		w.Write(good)
	})
	handle("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 4<<10); ; {
			n, err := w.Write(block)
			s.wrote.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	handle("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb())
	})
	// Responses that are not HTTP at all are only for a connection of HTTP/1.
	raw := func(path string, f func(net.Conn)) {
		handle(path, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer conn.Close()
			f(conn)
		})
	}
	raw("/garbage", func(conn net.Conn) { io.WriteString(conn, "SSH-2.0-OpenSSH_9.6\r\n") })
	raw("/nothing", func(net.Conn) {})
	raw("/tcp-reset", func(conn net.Conn) {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	})
	raw("/endless-header", func(conn net.Conn) {
		w := bufio.NewWriter(conn)
		w.WriteString("HTTP/1.1 200 OK\r\nX: ")
		for {
			if _, err := w.WriteString("xxxxxxxxxxxxxxxx"); err != nil {
				return
			}
		}
	})

	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}
	s.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetWriteBuffer(64 << 10)
		}
		return ctx
	}
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

var goodPaths = []string{"/good", "/redirect", "/gzip"}

var badPaths = []string{"/500", "/500-long", "/elsewhere", "/loop", "/html", "/empty", "/hang", "/hang-in-body",
	"/drip", "/reset", "/reset-in-body", "/short", "/endless", "/bomb", "/garbage", "/nothing", "/tcp-reset", "/missing"}

func hangs(path string) bool {
	return slices.Contains([]string{"/hang", "/hang-in-body", "/drip"}, path)
}

func TestFetchesLeaveNothingBehind(t *testing.T) {
	http1, https := (*httptest.Server).Start, (*httptest.Server).StartTLS
	http2 := func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }
	for name, row := range map[string]struct {
		start  func(*httptest.Server)
		client func(*server) *http.Client

		another bool // RoundTripper
	}{
		"with the default client":                  {start: http1, client: func(*server) *http.Client { return nil }},
		"with a client that keeps its connections": {start: http1, client: keeping},
		"with another RoundTripper":                {start: http1, client: wrapped, another: true},
		"over TLS":                                 {start: https, client: keeping},
		"over HTTP/2":                              {start: http2, client: keeping},
		"over HTTP/2, with another RoundTripper":   {start: http2, client: wrapped, another: true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKey("a")
			s := newServer(t, k, row.start)
			bad := badPaths
			if row.another { // what it does with a connection that comes late is its own business
				bad = slices.DeleteFunc(slices.Clone(bad), hangs)
			}
			base := runtime.NumGoroutine()
			fetch := func(path string) error {
				limit := time.Minute // a busy machine makes a connection late, too
				if hangs(path) {
					limit = 100 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_, _, err := newFetcher(Config{URL: s.URL + path, Client: row.client(s)}).keys(ctx, false)
				return err
			}
			var wg sync.WaitGroup
			todo := make(chan string)
			for range 8 {
				wg.Go(func() {
					for path := range todo {
						if err := fetch(path); (err == nil) != slices.Contains(goodPaths, path) {
							t.Errorf("%s: error %v", path, err)
						}
					}
				})
			}
			for i := range 200 {
				todo <- bad[i%len(bad)]
				if i%10 == 0 {
					todo <- goodPaths[i/10%len(goodPaths)]
				}
			}
			close(todo)
			wg.Wait()
			settles(t, "open connections", 0, func() int { return int(s.open.Load()) })
			settles(t, "goroutines", base, runtime.NumGoroutine)
		})
	}
}

// keeping is a client whose idle connections stay forever, unless they are closed on purpose.
func keeping(s *server) *http.Client {
	transport := &http.Transport{}
	if s.TLS != nil {
		roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		transport.ForceAttemptHTTP2 = s.EnableHTTP2
	}
	return &http.Client{Transport: transport}
}

// wrapped is a keeping client whose transport is not net/http's to see, as tracing makes it.
func wrapped(s *server) *http.Client {
	return &http.Client{Transport: struct{ http.RoundTripper }{keeping(s).Transport}}
}

func TestARemoteLeavesNothingBehind(t *testing.T) {
	k := newKey("a")
	s := newServer(t, k, (*httptest.Server).Start)
	base := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			r := New(Config{Issuer: s.URL, URL: s.URL + "/good", Client: keeping(s), Refresh: 1})
			if i%5 == 0 {
				r = New(Config{Issuer: s.URL, URL: s.URL + "/500"})
			}
			for range 5 {
				if accepted(t, r, k) != (i%5 != 0) {
					t.Error("not as expected")
				}
			}
		})
	}
	wg.Wait()
	settles(t, "open connections", 0, func() int { return int(s.open.Load()) })
	settles(t, "goroutines", base, runtime.NumGoroutine)
}

func TestAHandshakeThatEndsTooLateLeavesNoConnectionBehind(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, newKey("a"), func(s *httptest.Server) { s.EnableHTTP2 = http2; s.StartTLS() })
			base := runtime.NumGoroutine()
			for i := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%3)*time.Millisecond)
				newFetcher(Config{URL: s.URL + "/hang", Client: keeping(s)}).keys(ctx, false)
				cancel()
			}
			settles(t, "open connections", 0, func() int { return int(s.open.Load()) })
			settles(t, "goroutines", base, runtime.NumGoroutine)
		})
	}
}

// Both hang where net/http no longer listens to the request's context.
func TestAConnectionThatHangsIsNotLeftBehind(t *testing.T) {
	for name, row := range map[string]struct {
		url  string
		dial time.Duration
	}{
		"in its TLS handshake":               {"https://id.example/keys", 0},
		"in its dial, until nobody wants it": {"http://localhost/keys", 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var closed atomic.Int64
				transport := &http.Transport{
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						time.Sleep(row.dial)
						client, peer := net.Pipe()
						go func() {
							io.Copy(io.Discard, peer) // until the other side closes
							closed.Add(1)
						}()
						return client, nil
					},
				}
				r := New(Config{URL: row.url, Client: &http.Client{Transport: transport}})
				start := time.Now()
				wantUnavailable(t, r, other)
				if d := time.Since(start); d > fetchTimeout {
					t.Errorf("took %v", d)
				}
				time.Sleep(row.dial + time.Second) // which a connection that came too late has, to be used
				synctest.Wait()
				if closed.Load() != 1 {
					t.Error("the connection is open still")
				}
			})
		})
	}
}

// A counter is a connection that counts what is read from it.
type counter struct {
	net.Conn
	read *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestAnEndlessBodyIsReadTo512KiB(t *testing.T) {
	const buffers = 64 << 10 // of net/http
	s := newServer(t, newKey("a"), (*httptest.Server).Start)
	var read atomic.Int64
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			return counter{conn, &read}, nil
		},
	}}
	fetch := func(path string) string {
		_, _, err := newFetcher(Config{URL: s.URL + path, Client: client}).keys(t.Context(), false)
		if err == nil {
			t.Fatal("no error")
		}
		return err.Error()
	}
	if err := fetch("/endless"); !strings.Contains(err, "longer than 512 KiB") {
		t.Errorf("error %q", err)
	}
	settles(t, "open connections", 0, func() int { return int(s.open.Load()) })
	if n := read.Load(); n < maxBody || n > maxBody+buffers {
		t.Errorf("%d bytes were read, want 512 KiB and a buffer", n)
	}
	// What the kernel holds for both sides comes on top. It doubles the 64 KiB that it is told, and may add some.
	if n := s.wrote.Load(); n > maxBody+(1<<20) {
		t.Errorf("the server could write %d bytes", n)
	}
	t.Logf("read %d, written %d", read.Load(), s.wrote.Load())

	// A compressed body counts as what it becomes.
	read.Store(0)
	if err := fetch("/bomb"); !strings.Contains(err, "longer than 512 KiB") {
		t.Errorf("error %q", err)
	}
	if n := read.Load(); n > buffers {
		t.Errorf("%d bytes of a compressed body were read", n)
	}
}

func TestAnEndlessHeaderIsAFault(t *testing.T) {
	s := newServer(t, newKey("a"), (*httptest.Server).Start)
	ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout)
	defer cancel()
	if _, _, err := newFetcher(Config{URL: s.URL + "/endless-header"}).keys(ctx, false); err == nil || ctx.Err() != nil {
		t.Errorf("error %v, want one before the timeout", err)
	}
	settles(t, "open connections", 0, func() int { return int(s.open.Load()) })
}

func TestAFaultOfANetworkIsAnOutage(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	tlsServer := httptest.NewUnstartedServer(nil)
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	defer tlsServer.Close()
	for name, url := range map[string]string{
		"a port where nobody listens":      closed.URL,
		"a certificate that nobody trusts": tlsServer.URL,
		"plain HTTP where TLS belongs":     strings.Replace(tlsServer.URL, "https:", "http:", 1),
		"TLS where plain HTTP belongs":     strings.Replace(httpOnly(t), "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			wantUnavailable(t, New(Config{Issuer: url, URL: url}), other)
		})
	}
}

func httpOnly(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL
}
