package jose

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

// A counter makes keys whose use it counts.
type counter struct{ secrets, curves int }

// checks returns how often a signature was checked since the last call.
func (c *counter) checks() int {
	n := c.secrets + c.curves/paramsPerCheck
	*c = counter{}
	return n
}

// paramsPerCheck is how often a curve is asked for its parameters while a signature is checked.
var paramsPerCheck = func() int {
	var c counter
	pair := mint.New("ES256", "")
	token := must(Parse(pair.Token(nil)))
	token.VerifiedBy(c.key(pair, ""))
	return c.curves
}()

type countedHash struct {
	hash.Hash
	counter *counter
}

func (h countedHash) Reset() { h.counter.secrets++; h.Hash.Reset() }

type countedCurve struct {
	elliptic.Curve
	counter *counter
}

func (c countedCurve) Params() *elliptic.CurveParams { c.counter.curves++; return c.Curve.Params() }

// key returns the key that verifies the tokens of one of HS256 or ES256.
func (c *counter) key(of *mint.Key, kid string) *Key {
	if secret, ok := of.Private.([]byte); ok {
		k := must(NewSecret(secret))
		newMAC := k.macs[HS256].New
		k.macs[HS256] = &sync.Pool{New: func() any { return &mac{Hash: countedHash{newMAC().(*mac).Hash, c}} }}
		k.ID = kid
		return k
	}
	k := must(NewPublicKey(of.Public()))
	k.ID = kid
	k.public.(*ecdsa.PublicKey).Curve = countedCurve{elliptic.P256(), c}
	return k
}

// keys are as many of HS256 or ES256, with the kids first0, first1 and so on; "": with none.
func (c *counter) keys(alg, first string, n int) (keys []*Key, pairs []*mint.Key) {
	for i := range n {
		kid := ""
		if first != "" {
			kid = first + fmt.Sprint(i)
		}
		pair := mint.New(alg, kid)
		keys, pairs = append(keys, c.key(pair, kid)), append(pairs, pair)
	}
	return keys, pairs
}

// A published set is fetched, and another one is at the next fetch.
type published struct{ now, next *Set }

func (p *published) Known(h Header) []*Key { keys, _ := p.now.Find(h); return keys }

func (p *published) Keys(ctx context.Context, h Header) ([]*Key, error) {
	if keys := p.Known(h); keys != nil {
		return keys, nil
	}
	return p.Newer(ctx, h)
}

func (p *published) Newer(_ context.Context, h Header) ([]*Key, error) {
	p.now = p.next
	return p.now.Find(h)
}

// A called source has one key for every token, as a function may.
type called struct{ key *Key }

func (c called) Keys(context.Context, Header) ([]*Key, error) { return []*Key{c.key}, nil }

// A maker makes a source, and returns the pairs of its keys and of those that follow them.
type maker func(c *counter, alg string) (source Source, now, next []*mint.Key)

func nameless(n int) maker { return static("", n) }

func static(first string, n int) maker {
	return func(c *counter, alg string) (Source, []*mint.Key, []*mint.Key) {
		keys, pairs := c.keys(alg, first, n)
		return newSet(keys), pairs, nil
	}
}

// remote is a set with n keys, all of which follow others that are to be published at the next fetch; "": with none.
func remote(first, next string, n int) maker {
	return func(c *counter, alg string) (Source, []*mint.Key, []*mint.Key) {
		keys, now := c.keys(alg, first, n)
		newer, following := c.keys(alg, next, n)
		return &published{newSet(keys), newSet(newer)}, now, following
	}
}

// same is a set that does not change. Its public keys are read once more at each fetch.
func same(first string, n int) maker {
	return func(c *counter, alg string) (Source, []*mint.Key, []*mint.Key) {
		keys, pairs := c.keys(alg, first, n)
		again := slices.Clone(keys)
		for i, pair := range pairs {
			if !keys[i].IsSecret() {
				again[i] = c.key(pair, pair.ID)
			}
		}
		return &published{newSet(keys), newSet(again)}, pairs, nil
	}
}

func function(c *counter, alg string) (Source, []*mint.Key, []*mint.Key) {
	keys, pairs := c.keys(alg, "", 1)
	return called{keys[0]}, pairs, nil
}

func TestTheSignatureOfATokenIsCheckedWithFourKeysAtMost(t *testing.T) {
	for name, makers := range map[string][]maker{
		"a hundred keys":                                   {static("a", 100)},
		"a hundred keys that are fetched":                  {same("a", 100)},
		"four keys without a kid that are fetched":         {same("", 4)},
		"four keys that rotate":                            {remote("a", "b", 4)},
		"four keys without a kid that rotate":              {remote("", "", 4)},
		"two keys without a kid that rotate":               {remote("", "", 2)},
		"two keys without a kid, and two":                  {nameless(2), nameless(2)},
		"four keys, and four":                              {static("a", 4), static("b", 4)},
		"four keys, and four without a kid":                {static("a", 4), nameless(4)},
		"three keys without a kid beside a set":            {nameless(3), same("a", 4)},
		"three keys without a kid beside one that rotates": {nameless(3), remote("a", "b", 4)},
		"three sets":                 {same("a", 4), same("b", 4), same("", 4)},
		"four functions":             {function, function, function, function},
		"two functions beside a set": {function, function, same("", 4)},
	} {
		for _, alg := range []string{"HS256", "ES256"} {
			t.Run(name+", "+alg, func(t *testing.T) {
				for _, kid := range []string{"", "a0", "a3", "b0", "x"} {
					var c counter
					var parts []Part
					for _, maker := range makers {
						source, _, _ := maker(&c, alg)
						parts = append(parts, Part{source, AllAlgs})
					}
					any := must(NewAnyOf(parts...))
					for _, source := range []Source{parts[0].Source, any, any} { // alone, and before and after a fetch
						forged := must(Parse(mint.New(alg, kid).Token(nil)))
						c.checks()
						k, err := VerifyFrom(t.Context(), source, &forged)
						if n := c.checks(); k != nil || err == nil || n > 4 {
							t.Errorf("a forged token with kid %q: got %v, %v after %d checks, want an error after 4 at most", kid, k, err, n)
						}
					}
				}
			})
		}
	}
}

func TestWithinFourChecksEachKeyIsFound(t *testing.T) {
	for name, row := range map[string]struct {
		makers []maker
		kid    string // of the token; its own: that of its key
		from   int    // which of the sources has the key
		next   bool   // it is one that is to be published at the next fetch
		want   error
	}{
		"a set behind three keys without a kid": {[]maker{nameless(3), same("a", 4)}, "own", 1, false, nil},
		"the newest key behind three keys without a kid": {[]maker{nameless(3), remote("a", "b", 4)}, "own", 1, true,
			nil},
		"a key without a kid before a set":                    {[]maker{nameless(3), same("a", 4)}, "x", 0, false, nil},
		"a key without a kid whose token has that of another": {[]maker{nameless(3), same("a", 4)}, "a1", 0, false, nil},
		"a key without a kid beside a set that is too large":  {[]maker{static("a", 9), nameless(4)}, "", 1, false, nil},
		"a key without a kid beside four":                     {[]maker{static("a", 4), nameless(4)}, "", 1, false, nil},
		"the key that is named beside four without a kid":     {[]maker{nameless(4), static("a", 4)}, "own", 1, false, nil},
		"a key of the last set":                               {[]maker{same("a", 4), same("b", 4)}, "own", 1, false, nil},
		"a key that a function has behind three":              {[]maker{nameless(3), function}, "x", 1, false, nil},
		"one of two new keys whose token has no kid":          {[]maker{remote("a", "b", 2)}, "", 0, true, nil},
		"one of four new keys whose token has no kid":         {[]maker{remote("a", "b", 4)}, "", 0, true, errChanged},
		"one of four keys behind a set, and no kid": {[]maker{same("a", 4), same("b", 4)}, "", 1, false,
			errTooMany},
	} {
		for _, alg := range []string{"HS256", "ES256"} {
			t.Run(name+", "+alg, func(t *testing.T) {
				var c counter
				var parts []Part
				var signers []*mint.Key
				for i, maker := range row.makers {
					source, now, next := maker(&c, alg)
					parts = append(parts, Part{source, AllAlgs})
					if i == row.from {
						signers = now
						if row.next {
							signers = next
						}
					}
				}
				signer := *signers[len(signers)-1]
				if row.kid != "own" {
					signer.ID = row.kid
				}
				token := must(Parse(signer.Token(nil)))
				any := must(NewAnyOf(parts...))
				c.checks()
				k, err := VerifyFrom(t.Context(), any, &token)
				if n := c.checks(); !errors.Is(err, row.want) || (k == nil) != (err != nil) || n > 4 {
					t.Fatalf("got %v, %v after %d checks, want %v after 4 at most", k, err, n, row.want)
				}
				if row.want != errChanged {
					return
				}
				if k, err = VerifyFrom(t.Context(), any, &token); k == nil || err != nil {
					t.Errorf("the next time: got %v, %v, want the key", k, err)
				}
			})
		}
	}
}

func TestSourcesThatNeedMoreThanFourChecksAreAFault(t *testing.T) {
	for name, row := range map[string]struct {
		makers []maker
		inner  int // how many of them are in an AnyOf of their own
		want   string
	}{
		"two and two keys":           {[]maker{nameless(2), nameless(2)}, 0, ""},
		"two and three keys":         {[]maker{nameless(2), nameless(3)}, 0, "5 keys without a kid that serve ES256: "},
		"two and three keys, within": {[]maker{nameless(2), nameless(3)}, 1, "5 keys without a kid that serve ES256: "},
		"keys with a kid":            {[]maker{static("a", 9), static("b", 9)}, 0, ""},
		"three keys and a set":       {[]maker{nameless(3), same("a", 4)}, 0, ""},
		"four keys and a set":        {[]maker{nameless(4), same("a", 4)}, 0, "ES256: 4, and one of each other source (1)"},
		"four keys within, and a set": {[]maker{nameless(4), same("a", 4)}, 1,
			"ES256: 4, and one of each other source (1)"},
		"four functions": {[]maker{function, function, function, function}, 0, ""},
		"four functions and a key": {[]maker{function, function, function, function, nameless(1)}, 0,
			"ES256: 1, and one of each other source (4)"},
		"five functions, two of them within": {[]maker{function, function, function, function, function}, 2,
			"HS256: 0, and one of each other source (5)"},
	} {
		t.Run(name, func(t *testing.T) {
			var parts []Part
			for _, maker := range row.makers {
				source, _, _ := maker(new(counter), "ES256")
				parts = append(parts, Part{source, AllAlgs})
			}
			if row.inner > 0 {
				within := must(NewAnyOf(parts[:row.inner]...))
				parts = append(parts[row.inner:], Part{within, AllAlgs})
			}
			_, err := NewAnyOf(parts...)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
	var c counter
	first, _, _ := nameless(4)(&c, "HS256")
	second, _, _ := nameless(4)(&c, "ES256")
	if _, err := NewAnyOf(Part{first, HMACAlgs}, Part{second, publicAlgs}, Part{first, publicAlgs}); err != nil {
		t.Errorf("four of each of two algorithms: got %v", err)
	}
}
