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

func TestWhatOneCallerDoesToItsClaimsNoOtherSees(t *testing.T) {
	auth := newAuth(t, remembering)
	token := testToken(map[string]any{"aud": []string{"chat", "mail"}})
	for range 3 {
		claims, err := auth.Verify(t.Context(), token)
		if err != nil || claims.Subject != "alice" || strings.Join(claims.Audience, " ") != "chat mail" {
			t.Fatalf("got %+v, %v, want alice's claims as they were", claims, err)
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
			t.Error("got a token remembered whose key was withdrawn, want it forgotten")
		}
		synctest.Wait()
	})
}
