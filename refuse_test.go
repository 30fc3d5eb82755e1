package wsauth_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestARefusedHandshakeMayBeClosedReadably(t *testing.T) {
	auth := newAuth(t, untilExp)
	down := newAuth(t, askedBy(func() error { return errors.New("the vault is down") }))
	never := neverServed(t)
	opts := &wsauth.UpgradeOptions{CloseOnRefusal: true}
	upgrade := auth.Upgrade(never, opts)
	deny := wsauth.Require(func(context.Context, *wsauth.Claims) error { return errors.New("no") })
	bearing := func(token func() string) func() http.Header {
		return func() http.Header { return bearerHeader(token()) }
	}
	is := func(h http.Header) func() http.Header { return func() http.Header { return h } }
	good := bearing(func() string { return testToken(lasting(time.Hour)) })
	expired := bearing(func() string { return testToken(lasting(-time.Hour)) })
	two := http.Header{"Authorization": {"Bearer a", "Bearer b"}}
	foreign := http.Header{"Origin": {"https://evil.example"}}
	for name, row := range map[string]struct {
		handler http.Handler
		header  func() http.Header
		code    websocket.StatusCode
		reason  string
	}{
		"no token":         {upgrade, is(nil), 3000, "token_required"},
		"a bad one":        {upgrade, is(bearerHeader("bad")), 3000, "invalid_token"},
		"an expired one":   {upgrade, expired, 3000, "invalid_token"},
		"two":              {upgrade, is(two), 3000, "invalid_request"},
		"a foreign origin": {upgrade, is(foreign), 3003, "foreign_origin"},
		"Middleware":       {auth.Middleware(upgrade), is(bearerHeader("bad")), 3000, "invalid_token"},
		"Require":          {auth.Middleware(deny(upgrade)), good, 3003, "insufficient_scope"},
		"no keys":          {down.Upgrade(never, opts), good, 1013, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, row.handler)
				conn, _, err := srv.tryDial(t, row.header())
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = conn.Read(t.Context())
				var closed websocket.CloseError
				if errors.As(err, &closed); closed.Code != row.code || closed.Reason != row.reason {
					t.Errorf("got %v at the client, want %d and %s", err, row.code, row.reason)
				}
			})
		})
	}
}

func TestWithCloseOnRefusalOtherRequestsGetTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		upgrade := auth.Upgrade(echo, &wsauth.UpgradeOptions{CloseOnRefusal: true})
		mux := http.NewServeMux()
		mux.Handle("/", upgrade)
		for name, row := range map[string]struct {
			handler http.Handler
			plain   bool
		}{
			"no handshake":                          {upgrade, true},
			"Middleware with a mux between":         {auth.Middleware(mux), false},
			"Middleware before an ordinary handler": {auth.Middleware(http.NotFoundHandler()), false},
			"Middleware before Upgrade without it":  {auth.Middleware(auth.Upgrade(echo, nil)), false},
		} {
			srv := newMemoryServer(t, row.handler)
			req, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
			if !row.plain {
				req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
					"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
			}
			resp, err := srv.client().Do(req)
			if err != nil || resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
				t.Fatalf("%s: got %v, %v, want 401 with a challenge", name, resp, err)
			}
			resp.Body.Close()
		}
	})
}

func TestHandshakesBeingRefusedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo,
			&wsauth.UpgradeOptions{CloseOnRefusal: true, Grace: time.Minute}))
		start := time.Now()
		statuses := map[int]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 400 {
			all.Go(func() { // a client that does not answer the close frame
				conn := srv.dialRaw()
				defer conn.Close()
				io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
					"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				statuses[resp.StatusCode]++
				mu.Unlock()
				if resp.StatusCode == 101 {
					io.Copy(io.Discard, r)
				}
			})
		}
		all.Wait()
		if statuses[101] != 256 || statuses[401] != 144 {
			t.Errorf("got the statuses %v, want 256 of 101 and 144 of 401", statuses)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("got rid of them after %v, want after 1s", took)
		}
	})
}

// A handshake that cannot be completed is answered and recorded.
func TestAHandshakeThatCannotBeCompletedIsAnswered(t *testing.T) {
	failing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(failingHijacker{w}, r)
		})
	}
	for name, row := range map[string]struct {
		handler func(http.Handler) http.Handler
		request string
		status  int
		level   string
	}{
		"the ResponseWriter fails": {failing, "GET /ws\nHANDSHAKE", http.StatusInternalServerError, "WARN"},
		"it is no Hijacker": {func(h http.Handler) http.Handler { return h }, "GET /ws\nHANDSHAKE",
			http.StatusNotImplemented, "WARN"},
		"it is no handshake": {func(h http.Handler) http.Handler { return h }, "GET /ws", http.StatusUpgradeRequired, "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(lockedBuffer)
			auth := newAuth(t, untilExp, func(o *wsauth.Options) { o.Logger = slog.New(slog.NewJSONHandler(log, nil)) })
			h := row.handler(auth.Upgrade(neverServed(t), nil))
			w := serve(h, readRequest(t, row.request+"\nAuthorization: Bearer "+testToken(lasting(time.Hour))))
			if w.Code != row.status || w.Header().Get("Sec-WebSocket-Accept") != "" {
				t.Errorf("got status %d and the header %v, want %d", w.Code, w.Header(), row.status)
			}
			if got := log.String(); strings.Count(got, "wsauth: refused") != 1 || !strings.Contains(got, row.level) {
				t.Errorf("got logged %s, want one refusal at %s", got, row.level)
			}
		})
	}
}

type failingHijacker struct{ http.ResponseWriter }

func (failingHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("not today")
}

// RFC 9113 section 8.2.2 forbids Connection and Upgrade, and clients drop an answer that has them.
func TestOverHTTP2TheAnswerToWhatIsNoHandshakeArrives(t *testing.T) {
	srv := httptest.NewUnstartedServer(newAuth(t, untilExp).Upgrade(echo, nil))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	req, _ := http.NewRequest(http.MethodGet, srv.URL+"/ws", nil)
	req.Header = bearerHeader(testToken(lasting(time.Hour)))
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	forbidden := resp.Header.Get("Connection") + resp.Header.Get("Upgrade")
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusUpgradeRequired || forbidden != "" {
		t.Errorf("got %s over %s with the header %v, want 426 over HTTP/2 without Connection and Upgrade",
			resp.Status, resp.Proto, resp.Header)
	}
}

func TestARequestThatIsNoHandshakeIsNotUpgraded(t *testing.T) {
	srv := httptest.NewServer(newAuth(t, untilExp).Upgrade(neverServed(t), nil))
	defer srv.Close()
	req, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
	req.Header = bearerHeader(testToken(lasting(time.Hour)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got status %d, want 426", resp.StatusCode)
	}
}
