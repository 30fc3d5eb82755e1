package jwks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
)

const keysURL = "https://id.example/keys"

// inBubble runs a test on a clock of its own. A fetch that is under way at its end may end, and then no goroutine is
// left, or the bubble panics.
func inBubble(t *testing.T, test func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(fetchTimeout + 1)
		test(t)
	})
}

// An answer is what an endpoint does with a request.
type answer func(*http.Request) (*http.Response, error)

// An endpoint stands in the place of the network, and counts.
type endpoint struct {
	mu     sync.Mutex
	answer answer
	asked  []ask
}

type ask struct {
	at  time.Time
	url string
}

func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.asked = append(e.asked, ask{time.Now(), req.URL.String()})
	answer := e.answer
	e.mu.Unlock()
	return answer(req)
}

func (e *endpoint) serve(a answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = a
}

func (e *endpoint) asks() []ask {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[:len(e.asked):len(e.asked)]
}

func (e *endpoint) fetches() int { return len(e.asks()) }

func (e *endpoint) wantFetches(t *testing.T, want int) {
	t.Helper()
	if n := e.fetches(); n != want {
		t.Errorf("%d fetches, want %d", n, want)
	}
}

// remote is a Remote of this endpoint; what cfg leaves out is filled in.
func (e *endpoint) remote(cfg Config) *Remote {
	if cfg.Issuer == "" {
		cfg.Issuer = "https://id.example"
		cfg.URL = keysURL
	}
	cfg.Client = &http.Client{Transport: e}
	return New(cfg)
}

// serving makes a Remote whose endpoint publishes these keys.
func serving(cfg Config, keys ...*mint.Key) (*Remote, *endpoint) {
	e := &endpoint{answer: setOf(keys...)}
	return e.remote(cfg), e
}

// text answers with a status, a body and headers, given as name and value.
func text(status int, body string, headers ...string) answer {
	return func(req *http.Request) (*http.Response, error) {
		return respond(req, status, io.NopCloser(strings.NewReader(body)), headers...), nil
	}
}

func respond(req *http.Request, status int, body io.ReadCloser, headers ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: body, ContentLength: -1,
		Request: req,
	}
	for i := 0; i < len(headers); i += 2 {
		resp.Header.Add(headers[i], headers[i+1])
	}
	return resp
}

func setOf(keys ...*mint.Key) answer { return text(200, string(mint.SetOf(keys...))) }

// agedSetOf says for how many seconds the set is fresh.
func agedSetOf(seconds int, keys ...*mint.Key) answer {
	return text(200, string(mint.SetOf(keys...)), "Cache-Control", fmt.Sprintf("max-age=%d", seconds))
}

// late answers after a while, unless the request ends before.
func late(d time.Duration, a answer) answer {
	return func(req *http.Request) (*http.Response, error) {
		if err := pause(req.Context(), d); err != nil {
			return nil, err
		}
		return a(req)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// paths answers each URL with its own answer, and others with 404.
func paths(answers map[string]answer) answer {
	return func(req *http.Request) (*http.Response, error) {
		if a := answers[req.URL.String()]; a != nil {
			return a(req)
		}
		return text(404, "")(req)
	}
}

// A drip is a body that comes in bytes, with a pause before each.
type drip struct {
	ctx  context.Context
	rest []byte
}

func (d *drip) Read(p []byte) (int, error) {
	if err := pause(d.ctx, 50*time.Millisecond); err != nil {
		return 0, err
	}
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type spaces struct{}

var blanks = bytes.Repeat([]byte{' '}, 8<<10)

func (spaces) Read(p []byte) (int, error) {
	return copy(p, blanks), nil
}

// A fault is one way of not answering with a key set. What it offers instead has a key, so that a Remote that took
// it would be found out.
type fault struct {
	answer answer
	hangs  bool // a fetch lasts until its timeout
}

// other is the key of what must never become the set.
var other = mint.New("EdDSA", "other")

func faults() map[string]fault {
	good := string(mint.SetOf(other))
	many := make([]*mint.Key, 101)
	for i := range many {
		many[i] = &mint.Key{Alg: "EdDSA", ID: fmt.Sprint("many", i), Private: other.Private}
	}
	sealing, private := other.JWK(), other.JWK()
	sealing["use"], private["d"] = "enc", private["x"]
	body := func(f func(*http.Request) io.Reader) answer {
		return func(req *http.Request) (*http.Response, error) {
			return respond(req, 200, io.NopCloser(f(req))), nil
		}
	}
	return map[string]fault{
		"status 500":                    {answer: text(500, good)},
		"status 404":                    {answer: text(404, good)},
		"status 204":                    {answer: text(204, "")},
		"status 304, that nobody asked": {answer: text(304, "")},
		"a redirect to another origin": {answer: func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "evil.example" {
				return text(200, good)(req)
			}
			return text(301, good, "Location", "https://evil.example/keys")(req)
		}},
		"a redirect to itself": {answer: text(302, good, "Location", keysURL)},
		"HTML":                 {answer: text(200, "<!doctype html><p>Sign in", "Content-Type", "text/html")},
		"an empty set":         {answer: text(200, `{"keys":[]}`)},
		"no keys":              {answer: text(200, `{}`)},
		"null":                 {answer: text(200, `null`)},
		"an array":             {answer: text(200, `[`+good+`]`)},
		"malformed JSON":       {answer: text(200, good[:len(good)-1])},
		"two sets":             {answer: text(200, good+good)},
		"an empty body":        {answer: text(200, "")},
		"a hang":               {answer: hang, hangs: true},
		"a connection reset": {answer: func(*http.Request) (*http.Response, error) {
			return nil, syscall.ECONNRESET
		}},
		"duplicate members":               {answer: text(200, `{"keys":[],`+good[1:])},
		"only keys that cannot be used":   {answer: text(200, string(mint.Set(mint.New("HS256", "s").JWK(), sealing)))},
		"only a private key":              {answer: text(200, string(mint.Set(private)))},
		"more than 100 keys":              {answer: text(200, string(mint.SetOf(many...)))},
		"more than 512 KiB":               {answer: text(200, strings.Repeat(" ", maxBody)+good)},
		"a body that hangs":               {answer: body(hangingBody), hangs: true},
		"a reset in the middle of a body": {answer: body(resetBody(good))},
		"a slow drip": {hangs: true, answer: body(func(req *http.Request) io.Reader {
			return &drip{req.Context(), []byte(good)}
		})},
		"an endless body": {answer: body(func(*http.Request) io.Reader { return spaces{} })},
	}
}

func hangingBody(req *http.Request) io.Reader {
	return io.MultiReader(strings.NewReader(`{"keys":[`), &drip{req.Context(), bytes.Repeat([]byte{' '}, 1000)})
}

func resetBody(good string) func(*http.Request) io.Reader {
	return func(*http.Request) io.Reader {
		return io.MultiReader(strings.NewReader(good[:len(good)/2]), failing{syscall.ECONNRESET})
	}
}

func headerOf(k *mint.Key) jose.Header { return jose.Header{Alg: jose.EdDSA, KeyID: k.ID} }

func newKey(kid string) *mint.Key { return mint.New("EdDSA", kid) }

// accepted looks k up, and reports whether it was found.
func accepted(t *testing.T, r *Remote, k *mint.Key) bool {
	t.Helper()
	keys, err := r.Keys(t.Context(), headerOf(k))
	if err != nil {
		if keys != nil {
			t.Error("keys beside an error")
		}
		return false
	}
	if len(keys) != 1 {
		t.Errorf("%d keys, want one", len(keys))
		return false
	}
	token, err := jose.Parse(k.Token(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !token.VerifiedBy(keys[0]) {
		t.Errorf("the key found for %s is another one", k.ID)
	}
	return true
}

// wantAtOnce fails the test unless k is found without any waiting.
func wantAtOnce(t *testing.T, r *Remote, k *mint.Key) {
	t.Helper()
	wantWithin(t, r, k, 0)
}

// wantWithin fails the test unless k is found in that time.
func wantWithin(t *testing.T, r *Remote, k *mint.Key, limit time.Duration) {
	t.Helper()
	start := time.Now()
	keys, err := r.Keys(t.Context(), headerOf(k))
	if err != nil || len(keys) != 1 || keys[0].ID != k.ID {
		t.Fatalf("at %v: keys %v, error %v", start, keys, err)
	}
	if d := time.Since(start); d > limit {
		t.Fatalf("at %v: the lookup of a known key took %v, want %v at most", start, d, limit)
	}
}

func wantAccepted(t *testing.T, r *Remote, k *mint.Key) {
	t.Helper()
	if !accepted(t, r, k) {
		t.Errorf("key %s refused", k.ID)
	}
}

func wantUnknown(t *testing.T, r *Remote, k *mint.Key) {
	t.Helper()
	if _, err := r.Keys(t.Context(), headerOf(k)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("error %v, want ErrUnknownKey", err)
	}
}

func wantUnavailable(t *testing.T, r *Remote, k *mint.Key) {
	t.Helper()
	if _, err := r.Keys(t.Context(), headerOf(k)); err == nil || errors.Is(err, ErrUnknownKey) {
		t.Errorf("error %v, want one that is not ErrUnknownKey", err)
	}
}

// until waits in steps, an hour at most, and returns how long it took.
func until(t *testing.T, done func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !done() {
		if time.Since(start) > time.Hour {
			t.Fatal("not within an hour")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}
