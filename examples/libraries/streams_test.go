package libraries_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// stream sends an event each second. If it listens, it ends with its context, otherwise with its connection.
func stream(listens bool, ended chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		flusher := http.NewResponseController(w)
		var done <-chan struct{}
		if listens {
			done = r.Context().Done()
		}
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil {
				ended <- err
				return
			}
			if err := flusher.Flush(); err != nil {
				ended <- err
				return
			}
			select {
			case <-done:
				ended <- context.Cause(r.Context())
				return
			case <-time.After(time.Second):
			}
		}
	})
}

// readStream sends a request on a connection of its own, and reads its response to the end.
func (w *world) readStream(t *testing.T, header http.Header) (status, lines int, err error) {
	t.Helper()
	conn, err := w.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := http.NewRequest(http.MethodGet, "http://"+w.host+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return 0, 0, err
	}
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "data: ") {
			lines++
		}
	}
	return resp.StatusCode, lines, in.Err()
}

func TestAStreamBehindGuardEndsWithItsToken(t *testing.T) {
	handshake := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	for _, row := range []struct {
		name    string
		listens bool
		header  http.Header
		opts    wsauth.UpgradeOptions
		whole   bool // the client sees the end of the response
		after   time.Duration
	}{
		{"one that listens, at once", true, nil, wsauth.UpgradeOptions{}, true, 5 * time.Second},
		{"one that takes no notice, by its connection", false, nil, wsauth.UpgradeOptions{}, false, 6 * time.Second},
		{"one that listens, with a handshake's header", true, handshake, wsauth.UpgradeOptions{}, true, 5 * time.Second},
		{"one that takes none, with that header", false, handshake, wsauth.UpgradeOptions{}, false, 6 * time.Second},
		{"by MaxLifetime", true, nil, wsauth.UpgradeOptions{MaxLifetime: 2 * time.Second}, true, 2 * time.Second},
		{"whoever is pinged in vain", true, nil, wsauth.UpgradeOptions{Ping: time.Second}, true, 5 * time.Second},
		{"whoever has no seat", true, nil, wsauth.UpgradeOptions{MaxConnections: 1, MaxPerSubject: 1}, true, 5 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{bubble: true}
				w.prepare(t)
				ended := make(chan error, 1)
				opts := row.opts
				opts.Grace = grace
				w.serve(t, w.auth.Guard(stream(row.listens, ended), &opts))
				header := row.header.Clone()
				if header == nil {
					header = http.Header{}
				}
				header.Set("Authorization", "Bearer "+w.token(5*time.Second))
				start := time.Now()
				status, lines, err := w.readStream(t, header)
				if status != 200 || lines < int(row.after/time.Second) {
					t.Errorf("got %d and %d events, want 200 and %v of them", status, lines, row.after)
				}
				if (err == nil) != row.whole {
					t.Errorf("the client's error is %v, want an end in order: %v", err, row.whole)
				}
				cause := <-ended
				if row.listens && !errors.Is(cause, wsauth.ErrExpired) || cause == nil {
					t.Errorf("the handler ended with %v", cause)
				}
				if took := time.Since(start); took != row.after {
					t.Errorf("ended after %v, want %v", took, row.after)
				}
			})
		})
	}
}

func TestAStreamThatDoesNotReadLosesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{bubble: true}
		w.prepare(t)
		ended := make(chan error, 1)
		w.serve(t, w.auth.Guard(stream(false, ended), &wsauth.UpgradeOptions{Grace: grace}))
		conn, err := w.connect()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", w.token(5*time.Second))
		if err := <-ended; err == nil {
			t.Error("the handler ended without an error")
		}
		if took, most := time.Since(start), 5*time.Second+grace; took > most {
			t.Errorf("ended after %v, want %v at most", took, most)
		}
	})
}

// A request that is served on the connection afterwards has nothing to do with the token of the one before.
func TestTheNextRequestOnAConnectionIsNotEndedByTheTokenOfTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{bubble: true}
		w.prepare(t)
		guarded := w.auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "short")
		}), &wsauth.UpgradeOptions{Grace: grace})
		mux := http.NewServeMux()
		mux.Handle("/short", guarded)
		mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Second)
			io.WriteString(w, "slow")
		})
		w.serve(t, mux)
		conn, err := w.connect()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		for _, path := range []string{"short", "slow", "slow"} {
			go fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, w.token(5*time.Second))
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if body, err := io.ReadAll(resp.Body); string(body) != path || err != nil {
				t.Errorf("%s: got %q, %v", path, body, err)
			}
		}
	})
}

func TestAStreamOfHTTP2EndsWithItsToken(t *testing.T) {
	for _, row := range []struct {
		name    string
		listens bool
	}{{"one that listens", true}, {"one that takes no notice", false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := new(world)
			w.prepare(t)
			ended := make(chan error, 1)
			mux := http.NewServeMux()
			mux.Handle("/events", w.auth.Guard(stream(row.listens, ended), &wsauth.UpgradeOptions{Grace: grace}))
			mux.HandleFunc("/open", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "open") })
			srv := httptest.NewUnstartedServer(mux)
			srv.EnableHTTP2 = true
			srv.StartTLS()
			t.Cleanup(srv.Close)
			get := func(path, token string) *http.Response {
				r, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+token)
				resp, err := srv.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { resp.Body.Close() })
				return resp
			}
			resp := get("/events", w.token(time.Second))
			if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
				t.Fatalf("got %s %s, want HTTP/2 200", resp.Proto, resp.Status)
			}
			if _, err := io.Copy(io.Discard, resp.Body); (err == nil) != row.listens {
				t.Errorf("the client's error is %v, want an end in order: %v", err, row.listens)
			}
			if err := <-ended; row.listens && !errors.Is(err, wsauth.ErrExpired) || err == nil {
				t.Errorf("the handler ended with %v", err)
			}
			if body, _ := io.ReadAll(get("/open", "").Body); string(body) != "open" {
				t.Errorf("another stream of the same connection got %q, want open", body)
			}
		})
	}
}

// What Guard adds to Middleware, for a request that is over at once.
func BenchmarkAShortRequest(b *testing.B) {
	issuer := wsauthtest.NewHMACIssuer(b)
	opts := issuer.Options()
	opts.CacheSize = 16
	auth, err := wsauth.New(opts)
	if err != nil {
		b.Fatal(err)
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	header := http.Header{"Authorization": {"Bearer " + issuer.Token()}}
	for name, h := range map[string]http.Handler{"Middleware": auth.Middleware(next), "Guard": auth.Guard(next, nil)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header = header
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
