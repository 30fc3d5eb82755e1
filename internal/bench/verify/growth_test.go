package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/bench/stats"
	"github.com/wsauth/wsauth/internal/mint"
)

// A comparison is of the same work at two sizes, or of two kinds of work.
type comparison struct {
	name        string
	base, other func()
	calls       int // in a turn
}

// BenchmarkGrowth prints how many times as long as its base each of these takes:
//
//	go -C internal/bench test -bench Growth ./verify
//
// Only the number of keys that fit a token, four at most, may make its check longer. The two take turns, and what
// counts is the median of the ratios of neighbouring turns: whatever else the machine does meets both alike.
func BenchmarkGrowth(b *testing.B) {
	for _, c := range comparisons(b) {
		b.Run(c.name, func(b *testing.B) {
			var ratios []float64
			for b.Loop() {
				ratios = append(ratios, float64(timed(c.other, c.calls))/float64(timed(c.base, c.calls)))
			}
			b.ReportMetric(0, "ns/op") // of two turns, which says nothing
			b.ReportMetric(stats.Sum(ratios).Median, "x-base")
		})
	}
}

func timed(f func(), calls int) time.Duration {
	start := time.Now()
	for range calls {
		f()
	}
	return time.Since(start)
}

// TestGrowth makes sure that what is compared does the work.
func TestGrowth(t *testing.T) {
	for _, c := range comparisons(t) {
		c.base()
		c.other()
	}
}

// A config is one of wsauth, and a token for it.
type config struct {
	keys    wsauth.Keys
	signer  *mint.Key
	issuers int // 0: 1
	cache   int
	forged  bool
}

func comparisons(t testing.TB) []comparison {
	one := func(alg string) *mint.Key { return mint.New(alg, "k0") }
	hs, es := one("HS256"), one("ES256")
	esMany := manyKeys("ES256", 100)
	check := func(c config) func() { return checked(t, c) }
	return []comparison{
		{"secrets-4", check(config{keys: secretsOf(hs), signer: hs}),
			check(config{keys: secretsOf(append(manyKeys("HS256", 3), hs)...), signer: hs}), 64},
		{"secrets-4-forged", check(config{keys: secretsOf(hs), signer: hs, forged: true}),
			check(config{keys: secretsOf(append(manyKeys("HS256", 3), hs)...), signer: hs, forged: true}), 64},
		{"public-keys-4-forged", check(config{keys: publicOf(es), signer: es, forged: true}),
			check(config{keys: publicOf(esMany[:4]...), signer: es, forged: true}), 4},
		{"three-sets-of-4-forged", check(config{keys: publicOf(es), signer: es, forged: true}), check(config{
			keys:   wsauth.AnyOf(fetched(esMany[:4]), fetched(esMany[4:8]), fetched(esMany[8:12])),
			signer: mint.New("ES256", ""), forged: true,
		}), 4},
		{"kids-100", check(config{keys: setOf(es), signer: es}),
			check(config{keys: setOf(esMany...), signer: esMany[99]}), 4},
		{"kids-100-forged", check(config{keys: setOf(es), signer: es, forged: true}),
			check(config{keys: setOf(esMany...), signer: esMany[99], forged: true}), 4},
		{"kids-100-fetched", check(config{keys: fetched(esMany[:1]), signer: esMany[0]}),
			check(config{keys: fetched(esMany), signer: esMany[99]}), 4},
		{"kids-100-remembered", check(config{keys: fetched(esMany[:1]), signer: esMany[0], cache: 64}),
			check(config{keys: fetched(esMany), signer: esMany[99], cache: 64}), 64},
		{"issuers-1000", check(config{keys: secretsOf(hs), signer: hs}),
			check(config{keys: secretsOf(hs), signer: hs, issuers: 1000}), 64},
		{"issuers-1000-forged", check(config{keys: secretsOf(hs), signer: hs, forged: true}),
			check(config{keys: secretsOf(hs), signer: hs, issuers: 1000, forged: true}), 64},
		{"remembered-fetched", check(config{keys: setOf(es), signer: es, cache: 64}),
			check(config{keys: fetched(esMany[:1]), signer: esMany[0], cache: 64}), 64},
		{"remembered-to-WithContext", withContext(), check(config{keys: secretsOf(hs), signer: hs, cache: 64}), 64},
		{"remembered-HS256-100-tokens", many(t, hs, 100, 0), many(t, hs, 100, 200), 64},
		{"remembered-HS256-10000-tokens", many(t, hs, 10_000, 0), many(t, hs, 10_000, 20_000), 64},
		{"new-1000-issuers-to-ten-times-100", made(t, 10, 100), made(t, 1, 1000), 1},
	}
}

// checked authenticates a request of a client with c.
func checked(t testing.TB, c config) func() {
	t.Helper()
	opts := options(c.keys, max(c.issuers, 1))
	opts.CacheSize = c.cache
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	token := c.signer.Token(Claims(nil))
	if c.forged {
		other := mint.New(c.signer.Alg, c.signer.ID)
		token = other.Token(Claims(nil))
	}
	r := Request(token)
	return func() {
		if passed, err := auth.Authenticate(r); (err == nil) == c.forged {
			t.Fatalf("got %v, want forged: %t", err, c.forged)
		} else {
			sink = passed
		}
	}
}

// many authenticates one of several clients at a time, in an order that no cache foresees.
func many(t testing.TB, k *mint.Key, clients, cache int) func() {
	t.Helper()
	opts := options(secretsOf(k), 1)
	opts.CacheSize = cache
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	requests := make([]*http.Request, clients)
	for i := range requests {
		requests[i] = Request(k.Token(Claims(map[string]any{"sub": fmt.Sprint("user ", i)})))
		if _, err := auth.Authenticate(requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	return func() { sink, _ = auth.Authenticate(requests[rand.IntN(clients)]) } // it has succeeded before
}

// sink is where requests go, so that the compiler does not leave out the work.
var sink *http.Request

// options have so many issuers, of which the last one signs.
func options(keys wsauth.Keys, issuers int) wsauth.Options {
	var opts wsauth.Options
	for i := range issuers {
		iss := wsauth.Issuer{Name: fmt.Sprintf("%stenants/%04d/", issuer, i), Audience: []string{audience}, Keys: keys}
		if i == issuers-1 {
			iss.Name = issuer
		}
		opts.Issuers = append(opts.Issuers, iss)
	}
	return opts
}

// made makes Authenticators with so many issuers each.
func made(t testing.TB, times, issuers int) func() {
	opts := options(wsauth.JWKS{URL: issuer + "jwks"}, issuers)
	return func() {
		for range times {
			if _, err := wsauth.New(opts); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// withContext is what net/http takes to hand a value on: nobody can do with less.
func withContext() func() {
	r := Request("")
	return func() { sink = r.WithContext(context.WithValue(r.Context(), identityKey{}, r)) }
}

// manyKeys have the kids k0, k1 and so on.
func manyKeys(alg string, n int) []*mint.Key {
	var keys []*mint.Key
	for i := range n {
		keys = append(keys, mint.New(alg, fmt.Sprintf("k%d", i)))
	}
	return keys
}

func secretsOf(keys ...*mint.Key) wsauth.Keys {
	var secrets [][]byte
	for _, k := range keys {
		secrets = append(secrets, k.Private.([]byte))
	}
	return wsauth.HMAC(secrets...)
}

func publicOf(keys ...*mint.Key) wsauth.PublicKeys {
	var public wsauth.PublicKeys
	for _, k := range keys {
		public = append(public, k.Public())
	}
	return public
}

func setOf(keys ...*mint.Key) wsauth.Keys { return wsauth.KeySet(mint.SetOf(keys...)) }

// fetched is a set that comes over HTTP, without a network.
func fetched(keys []*mint.Key) wsauth.Keys {
	return wsauth.JWKS{URL: issuer + "jwks", Client: &http.Client{Transport: answering(mint.SetOf(keys...))}}
}

type answering []byte

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a)), Request: r,
	}, nil
}
