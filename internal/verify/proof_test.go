package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
	"github.com/wsauth/wsauth/internal/refusal"
)

const (
	proofToken = "header.payload.signature"
	proofURL   = "https://server.example.com/ws"
)

// replays remembers for the tests, without forgetting.
type replays struct {
	seen map[string]time.Duration
	err  error
}

func (r *replays) Put(_ context.Context, key string, _ []byte, ttl time.Duration) (bool, error) {
	if _, ok := r.seen[key]; ok || r.err != nil {
		return false, r.err
	}
	r.seen[key] = ttl
	return true, nil
}

func newProofs() *Proofs {
	return &Proofs{MaxAge: time.Minute, Reader: jose.NewProofReader(jose.ProofAlgs), Replays: &replays{seen: map[string]time.Duration{}}}
}

// proofClaims are the claims of a proof for a call with proofToken and proofURL, overlaid with what changes; nil leaves
// a claim out.
func proofClaims(changes map[string]any) map[string]any {
	claims := map[string]any{
		"jti": "j1", "htm": "GET", "htu": proofURL, "iat": time.Now().Unix(), "ath": mint.Hash(proofToken),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func wantProofKind(t testing.TB, err, want error) {
	t.Helper()
	var got error
	if r := (*refusal.Error)(nil); errors.As(err, &r) {
		got = r.Kind
	}
	if got != want || (err == nil) != (want == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestAProofIsForOneCall(t *testing.T) {
	bad := refusal.ErrInvalidProof
	for name, row := range map[string]struct {
		changes map[string]any
		want    error
		times   map[string]float64 // from now, in seconds
	}{
		"for the call":              {},
		"htm POST":                  {changes: map[string]any{"htm": "POST"}, want: bad},
		"htm in lower case":         {changes: map[string]any{"htm": "get"}, want: bad},
		"htu of another path":       {changes: map[string]any{"htu": "https://server.example.com/other"}, want: bad},
		"htu with a slash more":     {changes: map[string]any{"htu": proofURL + "/"}, want: bad},
		"htu of another host":       {changes: map[string]any{"htu": "https://evil.example/ws"}, want: bad},
		"htu with http":             {changes: map[string]any{"htu": "http://server.example.com/ws"}, want: bad},
		"htu with wss":              {changes: map[string]any{"htu": "wss://server.example.com/ws"}, want: nil},
		"htu with ws":               {changes: map[string]any{"htu": "ws://server.example.com/ws"}, want: bad},
		"htu in capitals":           {changes: map[string]any{"htu": "HTTPS://Server.Example.COM/ws"}, want: nil},
		"htu, path in capitals":     {changes: map[string]any{"htu": "https://server.example.com/WS"}, want: bad},
		"htu with the port":         {changes: map[string]any{"htu": "https://server.example.com:443/ws"}, want: nil},
		"htu with another port":     {changes: map[string]any{"htu": "https://server.example.com:8443/ws"}, want: bad},
		"htu with a query":          {changes: map[string]any{"htu": proofURL + "?a=b"}, want: nil},
		"htu with a fragment":       {changes: map[string]any{"htu": proofURL + "#a"}, want: nil},
		"htu with an escape":        {changes: map[string]any{"htu": "https://server.example.com/%77s"}, want: nil},
		"htu with an escaped slash": {changes: map[string]any{"htu": "https://server.example.com%2fws"}, want: bad},
		"htu with dots":             {changes: map[string]any{"htu": "https://server.example.com/a/../ws"}, want: bad},
		"htu with a user":           {changes: map[string]any{"htu": "https://server.example.com@evil.example/ws"}, want: bad},
		"htu with a user of it":     {changes: map[string]any{"htu": "https://u@server.example.com/ws"}, want: bad},
		"htu relative":              {changes: map[string]any{"htu": "/ws"}, want: bad},
		"htu without a scheme":      {changes: map[string]any{"htu": "//server.example.com/ws"}, want: bad},
		"htu opaque":                {changes: map[string]any{"htu": "https:server.example.com/ws"}, want: bad},
		"htu with a final dot":      {changes: map[string]any{"htu": "https://server.example.com./ws"}, want: bad},
		"ath missing":               {changes: map[string]any{"ath": nil}, want: bad},
		"ath of another token":      {changes: map[string]any{"ath": mint.Hash("x")}, want: bad},
		"ath with padding":          {changes: map[string]any{"ath": mint.Hash(proofToken) + "="}, want: bad},
		"iat 59 s ago":              {times: map[string]float64{"iat": -59}, want: nil},
		"iat 61 s ago":              {times: map[string]float64{"iat": -61}, want: bad},
		"iat in 59 s":               {times: map[string]float64{"iat": 59}, want: nil},
		"iat in 61 s":               {times: map[string]float64{"iat": 61}, want: bad},
		"nbf in 59 s":               {times: map[string]float64{"nbf": 59}, want: nil},
		"nbf in 61 s":               {times: map[string]float64{"nbf": 61}, want: bad},
		"exp in a second":           {times: map[string]float64{"exp": 1}, want: nil},
		"exp past":                  {times: map[string]float64{"exp": -1}, want: bad},
		"without a jti":             {changes: map[string]any{"jti": nil}, want: bad},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, claims := mint.New("ES256", ""), proofClaims(row.changes)
				for name, seconds := range row.times {
					claims[name] = at(seconds)
				}
				proof, err := newProofs().Verify(key.Proof(claims), Call{"GET", proofURL, proofToken})
				wantProofKind(t, err, row.want)
				if err == nil && proof.Key != key.Thumbprint() {
					t.Errorf("got the key %q, want %q", proof.Key, key.Thumbprint())
				}
				if err != nil && proof != (jose.Proof{}) {
					t.Errorf("got %+v beside an error, want nothing", proof)
				}
			})
		})
	}
}

func TestTheURLOfAProofIsThePublicOne(t *testing.T) {
	for name, row := range map[string]struct {
		base, uri, host string
		tls             bool
		want            string
	}{
		"plain":                 {"", "/ws", "a.example", false, "http://a.example/ws"},
		"TLS":                   {"", "/ws?a=b", "a.example", true, "https://a.example/ws"},
		"behind a proxy":        {"https://public.example", "/ws", "10.0.0.1:8080", false, "https://public.example/ws"},
		"a prefix of the proxy": {"https://public.example/api", "/ws", "a.example", false, "https://public.example/api/ws"},
		"an escaped path":       {"", "/a%2Fb?x", "a.example", true, "https://a.example/a%2Fb"},
		"the absolute form":     {"", "http://other.example/a%2Fb?x", "a.example", true, "https://a.example/a%2Fb"},
		"absolute, stripped":    {"", "http://other.example/api/a%2Fb", "a.example", true, "https://a.example/api/a%2Fb"},
		"without an authority":  {"", "http:/api/a%2Fb", "a.example", true, "https://a.example/api/a%2Fb"},
		"absolute without path": {"https://public.example", "http://other.example?x", "a.example", true, "https://public.example"},
		"a number sign":         {"", "/a#b?x", "a.example", true, "https://a.example/a%23b"},
		"a request of a test":   {"", "", "a.example", true, "https://a.example/a%2Fb"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RequestURI: row.uri, Host: row.host, URL: &url.URL{Path: "/a/b", RawPath: "/a%2Fb"}}
			if row.tls {
				r.TLS = new(tls.ConnectionState)
			}
			if got := (&Proofs{BaseURL: row.base}).URLOf(r); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestAProofIsGoodOnce(t *testing.T) {
	p, now := newProofs(), time.Now()
	alice, bob := jose.Proof{Key: "alice", ID: "1", IssuedAt: now}, jose.Proof{Key: "bob", ID: "1", IssuedAt: now}
	for i, row := range []struct {
		proof jose.Proof
		want  error
	}{
		{alice, nil},
		{alice, refusal.ErrInvalidProof},
		{bob, nil},
		{jose.Proof{Key: "alice", ID: "2", IssuedAt: now}, nil},
		{bob, refusal.ErrInvalidProof},
		{jose.Proof{Key: "alice", ID: "3", IssuedAt: now.Add(-2 * time.Minute)}, refusal.ErrInvalidProof}, // too old by now
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { wantProofKind(t, p.Once(t.Context(), &row.proof), row.want) })
	}
	for key, ttl := range p.Replays.(*replays).seen {
		if !jose.IsSHA256(key) || ttl < 2*p.MaxAge+replayTimeout {
			t.Errorf("got %q for %v, want a hash for as long as a proof can be accepted, %v", key, ttl, 2*p.MaxAge+replayTimeout)
		}
	}
	p.Replays.(*replays).err = errors.New("connection refused")
	wantProofKind(t, p.Once(t.Context(), &jose.Proof{Key: "alice", ID: "4", IssuedAt: now}), refusal.ErrUnavailable)
}

func TestANonceIsGoodForATime(t *testing.T) {
	secret := []byte(strings.Repeat("s", 32))
	n, same, other := NewNonces(secret, time.Minute), NewNonces(secret, time.Minute), NewNonces(secret[1:], time.Minute)
	start := time.Now()
	nonce := n.Current(start)
	for name, row := range map[string]struct {
		nonces *Nonces
		nonce  string
		after  time.Duration
		want   bool
	}{
		"at once":               {n, nonce, 0, true},
		"of another server":     {same, nonce, 0, true},
		"of another secret":     {other, nonce, 0, false},
		"after a period":        {n, nonce, time.Minute, true},
		"after two":             {n, nonce, 2 * time.Minute, false},
		"from a clock ahead":    {n, nonce, -time.Minute, true},
		"from a clock far off":  {n, nonce, -2 * time.Minute, false},
		"empty":                 {n, "", 0, false},
		"cut":                   {n, nonce[1:], 0, false},
		"with more":             {n, nonce + "A", 0, false},
		"the nonce of 1970":     {n, n.Current(time.Unix(0, 0)), 0, false},
		"a nonce of the future": {n, n.Current(start.Add(time.Hour)), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := row.nonces.Has(row.nonce, start.Add(row.after)); got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}

func TestAProofWithoutTheServersNonceIsToldToUseIt(t *testing.T) {
	p := newProofs()
	p.Nonces = NewNonces([]byte(strings.Repeat("s", 32)), p.MaxAge)
	key := mint.New("ES256", "")
	call := Call{"GET", proofURL, proofToken}
	for name, row := range map[string]struct {
		changes map[string]any
		want    error
	}{
		"none":                    {nil, refusal.ErrNonce},
		"another":                 {map[string]any{"nonce": "x"}, refusal.ErrNonce},
		"the server's":            {changes: map[string]any{"nonce": p.Nonces.Current(time.Now())}, want: nil},
		"none, and otherwise bad": {map[string]any{"htm": "POST"}, refusal.ErrInvalidProof},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Verify(key.Proof(proofClaims(row.changes)), call)
			wantProofKind(t, err, row.want)
		})
	}
}

// What a token is bound to, and what its sender has proven to have.
func TestABoundTokenIsGoodOnlyForItsHolder(t *testing.T) {
	key, other, cert := mint.Hash("key"), mint.Hash("other"), mint.Hash("certificate")
	shows := func(s string, err error) func() (string, error) { return func() (string, error) { return s, err } }
	fails := shows(key, refusal.New(refusal.ErrInvalidProof, nil))
	toKey, toCert := map[string]any{"jkt": key}, map[string]any{"x5t#S256": cert}
	toBoth := map[string]any{"jkt": key, "x5t#S256": cert}
	for name, row := range map[string]struct {
		cnf    any
		holder Holder
		want   error
	}{
		"bearer":                              {nil, Holder{}, nil},
		"bearer, with a certificate":          {nil, Holder{Certificate: shows(cert, nil)}, nil},
		"bearer, with one that is not read":   {nil, Holder{Certificate: shows("", errors.New("x"))}, nil},
		"bearer, with a proof":                {nil, Holder{Key: Proven(key)}, invalid},
		"to a key, with its proof":            {toKey, Holder{Key: Proven(key)}, nil},
		"to a key, with a proof that fails":   {toKey, Holder{Key: fails}, refusal.ErrInvalidProof},
		"bearer, with a proof that fails":     {nil, Holder{Key: fails}, invalid},
		"to a key, bare":                      {toKey, Holder{}, invalid},
		"to a key, with another's proof":      {toKey, Holder{Key: Proven(other)}, invalid},
		"to a key, with a certificate":        {toKey, Holder{Certificate: shows(key, nil)}, invalid},
		"to a certificate, with it":           {toCert, Holder{Certificate: shows(cert, nil)}, nil},
		"to a certificate, bare":              {toCert, Holder{}, invalid},
		"to a certificate, with another":      {toCert, Holder{Certificate: shows(other, nil)}, invalid},
		"to a certificate, with none":         {toCert, Holder{Certificate: shows("", nil)}, invalid},
		"to a certificate, with an error":     {toCert, Holder{Certificate: shows(cert, errors.New("x"))}, invalid},
		"to a certificate, with a proof":      {toCert, Holder{Key: Proven(cert), Certificate: shows(cert, nil)}, invalid},
		"to both, with both":                  {toBoth, Holder{Key: Proven(key), Certificate: shows(cert, nil)}, nil},
		"to both, with the proof":             {toBoth, Holder{Key: Proven(key)}, invalid},
		"to both, with the certificate":       {toBoth, Holder{Certificate: shows(cert, nil)}, invalid},
		"to both, with another's proof":       {toBoth, Holder{Key: Proven(other), Certificate: shows(cert, nil)}, invalid},
		"to nothing, with a proof of nothing": {map[string]any{}, Holder{}, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			for what, v := range map[string]*Verifier{"": newVerifier(), "remembered": newVerifier(remembering)} {
				token := testToken(map[string]any{"cnf": row.cnf})
				if row.cnf == nil {
					token = testToken(nil)
				}
				for range 2 { // the second time it is remembered
					var verified Verified
					err := v.Token(t.Context(), token, row.holder, &verified)
					wantProofKind(t, err, row.want)
					if err != nil && verified.Claims.Subject != "" {
						t.Errorf("%s: got claims beside the error", what)
					}
				}
			}
		})
	}
}
