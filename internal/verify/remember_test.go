package verify

import (
	"testing"
	"testing/synctest"
	"time"

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
