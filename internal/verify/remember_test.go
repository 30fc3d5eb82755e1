package verify

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestARememberedTokenIsJudgedLikeANewOne(t *testing.T) {
	for name, row := range map[string]struct {
		claims map[string]any
		change func(*Issuer)
		after  time.Duration
		want   error
	}{
		"good":                            {nil, nil, time.Minute, nil},
		"about to end":                    {nil, nil, time.Hour + 29*time.Second, nil},
		"ended":                           {nil, nil, time.Hour + 30*time.Second, expired},
		"of an audience in a longer list": {map[string]any{"aud": []string{"mail", "chat"}}, nil, time.Minute, nil},
		"within MaxTTL":                   {nil, func(i *Issuer) { i.MaxTTL = time.Hour }, time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(remembering, func(c *Config) {
					if row.change != nil {
						row.change(&c.Issuers[0])
					}
				})
				claims := testClaims(row.claims)
				claims["exp"] = time.Now().Add(time.Hour).Unix()
				token := testKey.Token(claims)
				check(t, v, token, nil)
				time.Sleep(row.after)
				for range 2 {
					check(t, v, token, row.want)
				}
				if got, want := v.Remembers(token), row.want == nil; got != want {
					t.Errorf("got remembered: %t, want %t", got, want)
				}
			})
		})
	}
}

func TestOnlyTheWholeTokenIsRemembered(t *testing.T) {
	for _, k := range []*mint.Key{testKey, es256, rs256, ed} {
		v := newVerifier(remembering, func(c *Config) { c.Issuers[0].Keys = keysOf(k) })
		token := k.Token(testClaims(nil))
		check(t, v, token, nil)
		for i := range len(token) { // each other character in its place
			for _, c := range []byte{'A', 'b', '7', '-', '.'} {
				if token[i] != c {
					if err := v.Token(t.Context(), token[:i]+string(c)+token[i+1:], Holder{}, new(Verified)); err == nil {
						t.Fatalf("%s: got a token accepted with %q at %d, want a refusal", k.Alg, c, i)
					}
				}
			}
		}
		check(t, v, token, nil)
	}
}

// What is worked out once for a remembered token must not be more than what is checked each time.
func TestARememberedTokenIsAcceptedWhenItsClaimsAre(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	after := func(d time.Duration) time.Time { return now.Add(d) }
	for name, row := range map[string]struct {
		claims jose.Claims
		maxTTL time.Duration
		leeway time.Duration
	}{
		"exp alone":            {jose.Claims{Expiry: after(time.Hour)}, 0, 0},
		"exp and a leeway":     {jose.Claims{Expiry: after(time.Hour)}, 0, 30 * time.Second},
		"exp in the year 9999": {jose.Claims{Expiry: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, 0, 30 * time.Second},
		"nbf":                  {jose.Claims{Expiry: after(time.Hour), NotBefore: now}, 0, 0},
		"nbf and a leeway": {jose.Claims{Expiry: after(time.Hour), NotBefore: after(29 * time.Second)}, 0,
			30 * time.Second},
		"iat": {jose.Claims{Expiry: after(time.Hour), IssuedAt: after(-time.Millisecond)}, 0, 0},
		"iat after nbf": {jose.Claims{Expiry: after(time.Hour), NotBefore: after(-time.Minute), IssuedAt: now}, 0,
			1500 * time.Millisecond},
		"MaxTTL":            {jose.Claims{Expiry: after(time.Hour)}, time.Hour, 0},
		"MaxTTL, and times": {jose.Claims{Expiry: after(time.Hour), IssuedAt: now}, time.Hour + 7*time.Second, time.Second},
		"a life too short":  {jose.Claims{Expiry: after(time.Second), NotBefore: now}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			iss := &Issuer{AnyAudience: true, MaxTTL: row.maxTTL}
			known := remembered{issuer: iss, claims: row.claims}
			known.from, known.until = iss.accepts(&row.claims, row.leeway)
			accepted := func(at time.Time) bool { return iss.checkClaims(&row.claims, at, row.leeway) == nil }
			for _, border := range []time.Time{
				now, row.claims.Expiry, row.claims.NotBefore, row.claims.IssuedAt, row.claims.Expiry.Add(-row.maxTTL),
			} {
				for _, leeway := range []time.Duration{-row.leeway, 0, row.leeway} {
					for d := -3 * time.Second; d <= 3*time.Second; d += 100 * time.Millisecond {
						for _, least := range []time.Duration{-1, 0, 1} {
							at := border.Add(leeway + d + least)
							within := known.isWithin(at)
							if within && !accepted(at) {
								t.Fatalf("got %s within, want it refused", at)
							}
							if surely := accepted(at.Add(-time.Second)) && accepted(at.Add(time.Second)); surely && !within {
								t.Fatalf("got %s not within, want it accepted without another look", at)
							}
						}
					}
				}
			}
		})
	}
}

// A switching source counts how often its keys are looked up, and has another set when it is told to.
type switching struct {
	set     jose.Source
	lookups int
}

func (s *switching) Current(time.Time) *jose.Set { return s.set.(*jose.Set) }

func (s *switching) Keys(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	s.lookups++
	return s.set.Keys(ctx, h)
}

func TestTheKeyOfARememberedTokenIsLookedUpWhenItsSetHasChanged(t *testing.T) {
	keys := &switching{set: keysOf(es256)}
	v := newVerifier(remembering, trusting(Issuer{Name: testIssuer, Audience: []string{"chat"}, Keys: keys}))
	token := es256.Token(testClaims(nil))
	var lookups []int
	verify := func(want error) {
		check(t, v, token, want)
		lookups = append(lookups, keys.lookups)
		keys.lookups = 0
	}
	verify(nil)
	verify(nil)
	keys.set = keysOf(es256) // fetched again
	verify(nil)
	verify(nil)
	keys.set = keysOf(rs256)
	verify(invalid)
	verify(invalid)
	// With another set the key is looked up, and then the token is verified again.
	if want := []int{1, 0, 2, 0, 1, 1}; !slices.Equal(lookups, want) {
		t.Errorf("got %v lookups, want %v", lookups, want)
	}
	if v.Remembers(token) {
		t.Error("got a token remembered whose key was withdrawn, want it forgotten")
	}
}
