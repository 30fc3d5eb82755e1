package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	cristalhq "github.com/cristalhq/jwt/v5"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/wsauth/wsauth/internal/mint"
)

// These libraries read tokens; the way from the request and into its context is ours. All are asked for no more than
// the registered claims, which is the least that they can do.

// verificationKey is a secret or a public key.
func verificationKey(k *mint.Key) any {
	if secret, ok := k.Private.([]byte); ok {
		return secret
	}
	return k.Public()
}

// withCristalhq takes the shorter of two ways in the library's README. It has one key and no kid, and checks of the
// claims that one has to ask for.
func withCristalhq(k *mint.Key) (Check, error) {
	verifier, err := cristalhqVerifier(k)
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) (*http.Request, error) {
		token, err := bearer(r)
		if err != nil {
			return nil, err
		}
		c := new(cristalhq.RegisteredClaims)
		if err := cristalhq.ParseClaims([]byte(token), verifier, c); err != nil {
			return nil, err
		}
		if !c.IsIssuer(issuer) || !c.IsForAudience(audience) || !c.IsValidAt(time.Now()) {
			return nil, errRejected
		}
		return pass(r, c), nil
	}, nil
}

func cristalhqVerifier(k *mint.Key) (cristalhq.Verifier, error) {
	alg := cristalhq.Algorithm(k.Alg)
	switch key := verificationKey(k).(type) {
	case []byte:
		return cristalhq.NewVerifierHS(alg, key)
	case *rsa.PublicKey:
		return cristalhq.NewVerifierRS(alg, key)
	case *ecdsa.PublicKey:
		return cristalhq.NewVerifierES(alg, key)
	case ed25519.PublicKey:
		return cristalhq.NewVerifierEdDSA(key)
	}
	return nil, fmt.Errorf("a key of type %T", k.Private)
}

// withGolangJWT has a parser with all the options that narrow what it accepts, and a key function that looks for the
// kid.
func withGolangJWT(k *mint.Key) (Check, error) {
	keys := map[string]any{k.ID: verificationKey(k)}
	find := func(t *golangjwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		key, ok := keys[kid]
		if !ok {
			return nil, errRejected
		}
		return key, nil
	}
	parser := golangjwt.NewParser(golangjwt.WithValidMethods([]string{k.Alg}), golangjwt.WithIssuer(issuer),
		golangjwt.WithAudience(audience), golangjwt.WithExpirationRequired())
	return func(r *http.Request) (*http.Request, error) {
		token, err := bearer(r)
		if err != nil {
			return nil, err
		}
		c := new(golangjwt.RegisteredClaims)
		if _, err := parser.ParseWithClaims(token, c, find); err != nil {
			return nil, err
		}
		return pass(r, c), nil
	}, nil
}

// withGoOIDC verifies what the library calls an ID token. Its static key set knows no kid, and no secrets.
func withGoOIDC(k *mint.Key) (Check, error) {
	if _, secret := k.Private.([]byte); secret {
		return nil, nil
	}
	keys := &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{k.Public()}}
	config := &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{k.Alg}}
	verifier := oidc.NewVerifier(issuer, keys, config)
	return func(r *http.Request) (*http.Request, error) {
		token, err := bearer(r)
		if err != nil {
			return nil, err
		}
		t, err := verifier.Verify(r.Context(), token)
		if err != nil {
			return nil, err
		}
		return pass(r, t), nil
	}, nil
}

// withJWX finds the token by itself, and the key in a set by its kid.
func withJWX(k *mint.Key) (Check, error) {
	keys, err := jwk.Parse(mint.SetOf(k))
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) (*http.Request, error) {
		t, err := jwt.ParseRequest(r, jwt.WithKeySet(keys), jwt.WithIssuer(issuer), jwt.WithAudience(audience))
		if err != nil {
			return nil, err
		}
		return pass(r, t), nil
	}, nil
}
