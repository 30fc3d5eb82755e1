package wsauthtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/mint"
)

// Serve runs the handler on loopback until the test ends, and returns its URL: http, a host and a
// port.
func Serve(t testing.TB, handler http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv.URL
}

// A DialOption adds something to a handshake, for example a token. A nil DialOption adds nothing,
// for tables of tests.
type DialOption func(*handshake)

type handshake struct {
	url       *url.URL
	header    http.Header
	protocols []string
	first     string // message; empty: none
}

// Header sends the token as "Authorization: Bearer", for [wsauth.FromHeader].
func Header(token string) DialOption {
	return func(h *handshake) { h.header.Add("Authorization", "Bearer "+token) }
}

// Query sends the token as the query parameter access_token, for [wsauth.FromQuery]. For another
// name, write the parameter into the URL.
func Query(token string) DialOption {
	return func(h *handshake) {
		h.url.RawQuery = strings.TrimPrefix(h.url.RawQuery+"&access_token="+url.QueryEscape(token), "&")
	}
}

// Cookie sends the token as the cookie access_token, for [wsauth.FromCookie], and the server's own
// Origin unless another Origin is set. For another name, use [SetHeader], and set Origin to the
// server's URL.
func Cookie(token string) DialOption {
	return func(h *handshake) {
		h.header.Add("Cookie", "access_token="+token)
		if len(h.header["Origin"]) == 0 {
			h.header.Set("Origin", originOf(h.url))
		}
	}
}

func originOf(u *url.URL) string {
	return strings.Replace(u.Scheme, "ws", "http", 1) + "://" + u.Host
}

// Subprotocol offers the subprotocol "bearer." + token, for [wsauth.FromSubprotocol], and the given
// subprotocols, too. Default: "wsauth".
func Subprotocol(token string, others ...string) DialOption {
	if len(others) == 0 {
		others = []string{"wsauth"}
	}
	return func(h *handshake) { h.protocols = append(append(h.protocols, others...), "bearer."+token) }
}

// FirstMessage sends the token in a message after the handshake, for [wsauth.UpgradeOptions.FirstMessage].
func FirstMessage(token string) DialOption {
	return func(h *handshake) { h.first = mint.JSON(map[string]string{"access_token": token}) }
}

// SetHeader sets a header, for example a foreign Origin. An empty value removes the header, for
// example the Origin that came with a [Cookie].
func SetHeader(name, value string) DialOption {
	return func(h *handshake) {
		h.header.Del(name)
		if value != "" {
			h.header.Set(name, value)
		}
	}
}

// Dial opens a WebSocket to an http or ws URL, and fails the test if the server refuses it. Without
// options there is no token; several options apply in their order. The connection ends with the
// test.
func Dial(t testing.TB, url string, opts ...DialOption) *websocket.Conn {
	t.Helper()
	conn, resp, err := dial(t, url, opts)
	if err != nil {
		if resp != nil && resp.Body != nil {
			body, _ := io.ReadAll(resp.Body)
			t.Fatalf("wsauthtest: refused with %s: %s", resp.Status, strings.TrimSpace(string(body)))
		}
		t.Fatalf("wsauthtest: %v", err)
	}
	return conn
}

// ExpectRefused makes a handshake as [Dial] does, and fails the test if the server does not refuse
// it with this status. It returns the response, with the first 1024 bytes of its body.
//
// With UpgradeOptions.CloseOnRefusal, or after a wrong [FirstMessage], the server refuses after the
// handshake: use [Dial] and [ExpectClose].
func ExpectRefused(t testing.TB, url string, status int, opts ...DialOption) *http.Response {
	t.Helper()
	conn, resp, err := dial(t, url, opts)
	switch {
	case err == nil:
		conn.CloseNow()
		t.Fatalf("wsauthtest: connected, want status %d (with CloseOnRefusal: Dial, then ExpectClose)", status)
	case resp == nil:
		t.Fatalf("wsauthtest: %v, want status %d", err, status)
	case resp.StatusCode != status:
		t.Fatalf("wsauthtest: refused with %s, want status %d", resp.Status, status)
	}
	return resp
}

// ExpectClose reads from the connection until it ends, ignoring messages before the end, and fails
// the test if the connection does not end with a close frame of this code and reason. It waits for
// 10 seconds, or for two days of the time of a synctest bubble.
func ExpectClose(t testing.TB, conn *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := bounded(t)
	defer cancel()
	var err error
	for err == nil {
		_, _, err = conn.Read(ctx)
	}
	var got websocket.CloseError
	want := websocket.CloseError{Code: code, Reason: reason}
	switch {
	case errors.As(err, &got) && got != want:
		t.Errorf("wsauthtest: closed with %v, want %v", got, want)
	case got != want && ctx.Err() != nil:
		t.Errorf("wsauthtest: still open, want a close with %v", want)
	case got != want:
		t.Errorf("wsauthtest: %v, want a close with %v", err, want)
	}
}

func dial(t testing.TB, address string, opts []DialOption) (*websocket.Conn, *http.Response, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	h := &handshake{url: u, header: http.Header{}}
	for _, o := range opts {
		if o != nil {
			o(h)
		}
	}
	// Not http.DefaultClient, which would keep connections, and goroutines with them.
	transport := &http.Transport{DisableKeepAlives: true}
	if m, ok := memories.Load(u.Host); ok {
		transport.DialContext = m.(*memory).dial
	}
	ctx, cancel := bounded(t)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, h.url.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: h.header, Subprotocols: h.protocols,
	})
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { conn.CloseNow() })
	if h.first != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(h.first)); err != nil {
			return nil, nil, err
		}
	}
	return conn, resp, nil
}

// bounded returns a context that ends before the test binary would be killed, so that a wait in
// vain reports where it waited.
func bounded(t testing.TB) (context.Context, context.CancelFunc) {
	patience := 10 * time.Second
	if time.Now().Year() < 2020 { // the clock of a synctest bubble begins in 2000
		patience = 48 * time.Hour
	}
	return context.WithTimeout(t.Context(), patience)
}
