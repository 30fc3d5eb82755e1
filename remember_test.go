package wsauth_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func remembering(o *wsauth.Options) { o.CacheSize = 100 }

func TestARememberedTokenIsJudgedLikeANewOne(t *testing.T) {
	for name, row := range map[string]struct {
		claims map[string]any
		change func(*wsauth.Issuer)
		after  time.Duration
		want   error
	}{
		"good":                            {nil, nil, time.Minute, nil},
		"about to end":                    {nil, nil, time.Hour + 29*time.Second, nil},
		"ended":                           {nil, nil, time.Hour + 30*time.Second, wsauth.ErrExpired},
		"of an audience in a longer list": {map[string]any{"aud": []string{"mail", "chat"}}, nil, time.Minute, nil},
		"within MaxTTL":                   {nil, func(i *wsauth.Issuer) { i.MaxTTL = time.Hour }, time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, remembering, func(o *wsauth.Options) {
					if row.change != nil {
						row.change(&o.Issuers[0])
					}
				})
				claims := testClaims(row.claims)
				claims["exp"] = time.Now().Add(time.Hour).Unix()
				token := testKey.Token(claims)
				verify(t, auth, token, nil)
				time.Sleep(row.after)
				for range 2 {
					verify(t, auth, token, row.want)
				}
				if wsauth.Remembers(auth, token) != (row.want == nil) {
					t.Errorf("remembered: %v", row.want != nil)
				}
			})
		})
	}
}

func TestOnlyTheWholeTokenIsRemembered(t *testing.T) {
	for _, k := range []*mint.Key{testKey, es256, rs256, ed} {
		auth := newAuth(t, remembering, func(o *wsauth.Options) { o.Issuers[0].Keys = wsauth.KeySet(mint.SetOf(k)) })
		token := k.Token(testClaims(nil))
		verify(t, auth, token, nil)
		for i := range len(token) { // each other character in its place
			for _, c := range []byte{'A', 'b', '7', '-', '.'} {
				if token[i] != c {
					if _, err := auth.Verify(t.Context(), token[:i]+string(c)+token[i+1:]); err == nil {
						t.Fatalf("%s: accepted with %q at %d", k.Alg, c, i)
					}
				}
			}
		}
		verify(t, auth, token, nil)
	}
}

func TestWhatOneCallerDoesToItsClaimsNoOtherSees(t *testing.T) {
	auth := newAuth(t, remembering)
	token := testToken(map[string]any{"aud": []string{"chat", "mail"}})
	for range 3 {
		claims, err := auth.Verify(t.Context(), token)
		if err != nil || claims.Subject != "alice" || strings.Join(claims.Audience, " ") != "chat mail" {
			t.Fatalf("%+v, %v", claims, err)
		}
		claims.Subject, claims.Audience[0], claims.Audience = "mallory", "bank", append(claims.Audience, "bank")
	}
}

func TestATokenIsForgottenWithItsKey(t *testing.T) {
	for name, kid := range map[string]string{"for one with another kid": "next", "for one with its kid": "old"} {
		t.Run(name, func(t *testing.T) { testForgottenWithItsKey(t, mint.New("ES256", "old"), mint.New("ES256", kid)) })
	}
}

func testForgottenWithItsKey(t *testing.T, old, next *mint.Key) {
	synctest.Test(t, func(t *testing.T) {
		var published atomic.Pointer[mint.Key]
		published.Store(old)
		auth := newAuth(t, remembering, func(o *wsauth.Options) {
			o.Issuers = []wsauth.Issuer{{
				Name: testIssuer, Audience: []string{"chat"},
				Keys: wsauth.JWKS{URL: "https://id.example.com/jwks", Refresh: time.Minute, Client: &http.Client{
					Transport: roundTripper(func(*http.Request) (*http.Response, error) {
						return answerOf(mint.SetOf(published.Load())), nil
					}),
				}},
			}}
		})
		token := old.Token(testClaims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}))
		verify(t, auth, token, nil)
		verify(t, auth, token, nil)
		published.Store(next)
		time.Sleep(time.Minute)
		verify(t, auth, token, nil) // the last one that the old set serves, and the one that starts a fetch
		synctest.Wait()
		time.Sleep(5 * time.Second) // a miss may fetch again
		verify(t, auth, token, wsauth.ErrInvalidToken)
		if wsauth.Remembers(auth, token) {
			t.Error("a token is remembered whose key was withdrawn")
		}
		synctest.Wait()
	})
}
