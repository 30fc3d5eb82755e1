package wsauth_test

import (
	"testing"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestATokenOfEachAlgorithmIsAccepted(t *testing.T) {
	for _, alg := range mint.Algorithms {
		t.Run(alg, func(t *testing.T) {
			key := mint.New(alg, "k1")
			auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
				Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.KeySet(mint.SetOf(key)),
			}}})
			if err != nil {
				t.Fatal(err)
			}
			claims, err := auth.Verify(t.Context(), key.Token(map[string]any{
				"iss": "https://id.example.com/", "aud": "chat", "sub": "alice",
			}))
			if err != nil {
				t.Fatal(err)
			}
			if claims.Subject != "alice" {
				t.Errorf("Subject = %q", claims.Subject)
			}
		})
	}
}
