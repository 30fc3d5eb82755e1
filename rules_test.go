package wsauth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// The details of each rule are tested next to the rule. Here is one token on either side of each option.
func TestEachOptionAboutTokensIsKept(t *testing.T) {
	token := func(claims map[string]any) func() string { return func() string { return testToken(claims) } }
	endingIn := func(seconds float64) func() string {
		return func() string { return testToken(map[string]any{"exp": at(seconds)}) }
	}
	typed := func(typ string) func() string {
		return func() string {
			claims := testClaims(map[string]any{"exp": at(60)})
			return testKey.Sign(mint.JSON(map[string]any{"alg": "HS256", "typ": typ}), mint.JSON(claims))
		}
	}
	issuer := func(change func(*wsauth.Issuer)) func(*wsauth.Options) {
		return func(o *wsauth.Options) { change(&o.Issuers[0]) }
	}
	for name, row := range map[string]struct {
		option     func(*wsauth.Options)
		good, bad  func() string
		badBecause error
	}{
		"Name":     {issuer(func(*wsauth.Issuer) {}), token(nil), token(map[string]any{"iss": testIssuer + "x"}), invalid},
		"Audience": {issuer(func(*wsauth.Issuer) {}), token(nil), token(map[string]any{"aud": "mail"}), invalid},
		"the second of Audience": {
			issuer(func(i *wsauth.Issuer) { i.Audience = []string{"talk", "chat"} }),
			token(nil), token(map[string]any{"aud": nil}), invalid,
		},
		"no Audience": {
			issuer(func(i *wsauth.Issuer) { i.Audience = nil }), token(map[string]any{"aud": nil}), token(nil), invalid,
		},
		"AnyAudience": {
			issuer(func(i *wsauth.Issuer) { i.Audience, i.AnyAudience = nil, true }),
			token(map[string]any{"aud": "mail"}), token(map[string]any{"aud": 1}), invalid,
		},
		"ClientIDs": {
			issuer(func(i *wsauth.Issuer) { i.Audience, i.ClientIDs = nil, []string{"cli", "app"} }),
			token(map[string]any{"aud": nil, "client_id": "app"}),
			token(map[string]any{"aud": nil, "client_id": "mail"}), invalid,
		},
		"no Type": {issuer(func(*wsauth.Issuer) {}), typed("application/at+jwt"), typed("dpop+jwt"), invalid},
		"Type": {
			issuer(func(i *wsauth.Issuer) { i.Type = "application/AT+JWT" }), typed("at+jwt"), typed("JWT"), invalid,
		},
		"MaxTTL": {issuer(func(i *wsauth.Issuer) { i.MaxTTL = time.Hour }), endingIn(3600), endingIn(3601), invalid},
		"Leeway by default": {
			func(*wsauth.Options) {}, endingIn(-29.999999999), endingIn(-30), wsauth.ErrExpired,
		},
		"Leeway": {
			func(o *wsauth.Options) { o.Leeway = 2 * time.Second }, endingIn(-1), endingIn(-2), wsauth.ErrExpired,
		},
		"a negative Leeway": {
			func(o *wsauth.Options) { o.Leeway = -1 }, endingIn(0.000000001), endingIn(0), wsauth.ErrExpired,
		},
		"MaxTokenLength by default": {
			func(*wsauth.Options) {}, token(map[string]any{"pad": strings.Repeat("a", 5000)}),
			token(map[string]any{"pad": strings.Repeat("a", 6500)}), invalid,
		},
		"MaxTokenLength": {
			func(o *wsauth.Options) { o.MaxTokenLength = 16384 },
			token(map[string]any{"pad": strings.Repeat("a", 12000)}),
			token(map[string]any{"pad": strings.Repeat("a", 12400)}), invalid,
		},
		"an issuer without a name": {
			issuer(func(i *wsauth.Issuer) { i.Name = "" }),
			token(map[string]any{"iss": "https://a.example.com"}), token(map[string]any{"iss": json.Number("1")}), invalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for how, cacheSize := range map[string]int{"each verified": 0, "remembered": 100} {
					auth := newAuth(t, row.option, func(o *wsauth.Options) { o.CacheSize = cacheSize })
					for range 2 {
						verify(t, auth, row.good(), nil)
						verify(t, auth, row.bad(), row.badBecause)
					}
					if got, want := wsauth.Remembers(auth, row.good()), cacheSize > 0; got != want {
						t.Errorf("%s: got remembered: %t, want %t", how, got, want)
					}
				}
			})
		})
	}
}
