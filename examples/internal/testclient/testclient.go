// Package testclient is what the tests of the examples have in common: a server, tokens for it, and a client.
package testclient

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Secret is an HMAC secret of 32 bytes, the shortest that serves HS256.
var Secret = []byte("a secret for tests with 32 bytes")

// Token mints a token that the examples accept, for alice and for a minute; claims overwrite that.
func Token(secret []byte, claims map[string]any) string {
	all := map[string]any{
		"iss": "https://id.example.com/",
		"aud": "chat",
		"sub": "alice",
		"exp": time.Now().Add(time.Minute).Unix(),
	}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// Context ends before the test binary would be killed, so that a client that waits for nothing says where.
func Context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Serve runs the handler on a real socket and returns its URL, which is its origin, too.
func Serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv.URL
}

// Dial makes a handshake and returns the status of the answer. The connection is nil unless that is 101.
func Dial(t *testing.T, url string, header http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	conn, resp, err := websocket.Dial(Context(t), url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil && (resp == nil || resp.StatusCode == http.StatusSwitchingProtocols) {
		t.Fatal(err)
	}
	if conn != nil {
		t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, resp
}

// Get makes a GET request, and decodes the answer into v if that is not nil.
func Get(t *testing.T, url string, header http.Header, v any) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(Context(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if v != nil {
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	return resp
}

// Bearer is the header that carries the token.
func Bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}
