package jwks

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
)

func parse(t *testing.T, token string) *jose.Token {
	t.Helper()
	parsed, err := jose.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	return &parsed
}

// nameless is a key whose tokens do not say which key they are for.
func nameless(k *mint.Key) *mint.Key { return &mint.Key{Alg: k.Alg, Private: k.Private} }

func TestARotationIsPickedUpByTheFirstTokenThatNamesNoKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		keys := []*mint.Key{newKey("0"), newKey("1")}
		r, e := serving(Config{}, keys...)
		for i := range 20 {
			for _, k := range keys {
				if _, err := jose.VerifyFrom(t.Context(), r, parse(t, nameless(k).Token(nil))); err != nil {
					t.Errorf("rotation %d: %v", i, err)
				}
			}
			time.Sleep(10 * time.Second)
			keys = []*mint.Key{keys[1], newKey(fmt.Sprint(i + 2))}
			e.serve(setOf(keys...))
			start := time.Now()
			if _, err := jose.VerifyFrom(t.Context(), r, parse(t, nameless(keys[1]).Token(nil))); err != nil {
				t.Errorf("rotation %d: %v", i, err)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("rotation %d: got %v, want it at once", i, d)
			}
		}
		e.wantFetches(t, 21)
	})
}

func TestAKeyWithoutAKidThatRotatesIsPickedUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old, now := newKey(""), newKey("")
		r, e := serving(Config{}, old)
		wantVerified := func(kid string, k *mint.Key) {
			t.Helper()
			signed := &mint.Key{Alg: k.Alg, ID: kid, Private: k.Private}
			if _, err := jose.VerifyFrom(t.Context(), r, parse(t, signed.Token(nil))); err != nil {
				t.Error(err)
			}
		}
		wantVerified("a", old)
		time.Sleep(10 * time.Second)
		e.serve(setOf(now))
		wantVerified("b", now)
		e.wantFetches(t, 2)
	})
}

func TestForgedTokensThatNameNoKeyStartAtMostOneFetchIn5Seconds(t *testing.T) {
	for name, row := range map[string]struct {
		then answer
		want error
	}{
		"with a quick endpoint":   {nil, jose.ErrSignature},
		"with a failing endpoint": {text(500, ""), nil}, // an outage: it may be the token of a new key
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				k := newKey("a")
				r, e := serving(Config{}, k)
				wantAccepted(t, r, k)
				if row.then != nil {
					e.serve(row.then)
				}
				forged, good := nameless(other).Token(nil), nameless(k).Token(nil)
				var wg sync.WaitGroup
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					wg.Go(func() {
						_, err := jose.VerifyFrom(t.Context(), r, parse(t, forged))
						if err == nil || row.want != nil && !errors.Is(err, row.want) ||
							row.want == nil && (errors.Is(err, jose.ErrSignature) || errors.Is(err, ErrUnknownKey)) {
							t.Errorf("got %v, want %v", err, row.want)
						}
					})
					if _, err := jose.VerifyFrom(t.Context(), r, parse(t, good)); err != nil {
						t.Error(err)
					}
				}
				wg.Wait()
				if n := e.fetches(); n > 13 {
					t.Errorf("got %d fetches, want 13 at most", n)
				}
			})
		})
	}
}

func TestAForgedTokenThatNamesItsKeyStartsNoFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{}, k)
		wantAccepted(t, r, k)
		forged := &mint.Key{Alg: other.Alg, ID: "a", Private: other.Private}
		for range 10 {
			time.Sleep(missInterval)
			_, err := jose.VerifyFrom(t.Context(), r, parse(t, forged.Token(nil)))
			if !errors.Is(err, jose.ErrSignature) {
				t.Errorf("got %v, want ErrSignature", err)
			}
		}
		e.wantFetches(t, 1)
	})
}
