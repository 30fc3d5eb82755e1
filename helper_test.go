package wsauth_test

import (
	"bufio"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

const testIssuer = "https://id.example.com/"

var testKey = mint.New("HS256", "")

func secretOf(k *mint.Key) []byte { return k.Private.([]byte) }

// newAuth has one issuer, testIssuer with testKey and the audience "chat", and what change makes of that.
func newAuth(t testing.TB, change ...func(*wsauth.Options)) *wsauth.Authenticator {
	t.Helper()
	opts := wsauth.Options{Issuers: []wsauth.Issuer{{
		Name: testIssuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey)),
	}}}
	for _, c := range change {
		c(&opts)
	}
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// newAuthOf has one issuer.
func newAuthOf(t testing.TB, issuer wsauth.Issuer) *wsauth.Authenticator {
	t.Helper()
	return newAuth(t, func(o *wsauth.Options) { o.Issuers = []wsauth.Issuer{issuer} })
}

// testClaims are what newAuth accepts, overlaid with what changes; nil leaves a claim out.
func testClaims(changes map[string]any) map[string]any {
	claims := map[string]any{"iss": testIssuer, "aud": "chat", "sub": "alice"}
	maps.Copy(claims, changes)
	return claims
}

func testToken(changes map[string]any) string { return testKey.Token(testClaims(changes)) }

// readRequest reads a request as a server does, from a request line and header lines. HANDSHAKE stands for the lines
// that open a WebSocket.
func readRequest(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(requestText(text))))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r.WithContext(t.Context())
}

const handshakeLines = "Connection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="

func requestText(text string) string {
	line, header, _ := strings.Cut(strings.ReplaceAll(text, "HANDSHAKE", handshakeLines), "\n")
	if !strings.HasPrefix(header, "Host:") && !strings.Contains(header, "\nHost:") {
		header = "Host: server.example.com\n" + header
	}
	return strings.ReplaceAll(line+" HTTP/1.1\n"+strings.TrimSpace(header)+"\n\n", "\n", "\r\n")
}

// A recorder is a handler that remembers what it was handed.
type recorder struct{ requests []*http.Request }

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec.requests = append(rec.requests, r)
	w.WriteHeader(http.StatusNoContent)
}

// only returns the one request that the recorder was handed; nil: none.
func (rec *recorder) only(t testing.TB) *http.Request {
	t.Helper()
	switch len(rec.requests) {
	case 0:
		return nil
	case 1:
		return rec.requests[0]
	}
	t.Fatalf("the handler was called %d times", len(rec.requests))
	return nil
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// kinds are the errors of the package, the more special ones first.
var kinds = []struct {
	name   string
	err    error
	status int
}{
	{"ErrExpired", wsauth.ErrExpired, 401},
	{"ErrRevoked", wsauth.ErrRevoked, 401},
	{"ErrInvalidToken", wsauth.ErrInvalidToken, 401},
	{"ErrNoToken", wsauth.ErrNoToken, 401},
	{"ErrMalformedRequest", wsauth.ErrMalformedRequest, 400},
	{"ErrForbidden", wsauth.ErrForbidden, 403},
	{"ErrOrigin", wsauth.ErrOrigin, 403},
	{"ErrTooMany", wsauth.ErrTooMany, 429},
	{"ErrUnavailable", wsauth.ErrUnavailable, 503},
}

// kindName names the kind of an error, the most special one.
func kindName(err error) string {
	if err == nil {
		return "no error"
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "an error of no kind"
}

// wantKind checks that err is of a kind; nil: that there is none.
func wantKind(t testing.TB, err, want error) {
	t.Helper()
	if kindName(err) != kindName(want) {
		t.Errorf("%s (%v), want %s", kindName(err), err, kindName(want))
	}
}

// statusOf is the status of a refusal of this kind, and that of a recorder for none.
func statusOf(kind error) int {
	for _, k := range kinds {
		if kind == k.err {
			return k.status
		}
	}
	return http.StatusNoContent
}
