package verify

import (
	"context"
	"net/http"
	"sync"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v3"
	"github.com/auth0/go-jwt-middleware/v3/validator"
	"github.com/go-chi/jwtauth/v5"
	jwkv3 "github.com/lestrrat-go/jwx/v3/jwk"
	jwtv3 "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/wsauth/wsauth/internal/mint"
)

// These libraries are middlewares, from the request to its context.

// withJWTAuth has the Verifier and the Authenticator of the library's README. It has one key and no kid; iss and aud
// are checked by options of jwx that it passes on.
func withJWTAuth(k *mint.Key) (Check, error) {
	var signKey, verifyKey any = k.Private, nil
	if _, secret := signKey.([]byte); !secret {
		signKey, verifyKey = nil, k.Public()
	}
	auth := jwtauth.New(k.Alg, signKey, verifyKey, jwtv3.WithIssuer(issuer), jwtv3.WithAudience(audience))
	return through(func(next http.Handler) http.Handler {
		return jwtauth.Verifier(auth)(jwtauth.Authenticator(auth)(next))
	}), nil
}

// withAuth0 has the validator of the library's README, with the secret for HS256, else with a key set as its provider
// for remote ones returns it.
func withAuth0(k *mint.Key) (Check, error) {
	key := verificationKey(k)
	if _, secret := key.([]byte); !secret {
		set, err := jwkv3.Parse(mint.SetOf(k))
		if err != nil {
			return nil, err
		}
		key = set
	}
	tokens, err := validator.New(
		validator.WithKeyFunc(func(context.Context) (any, error) { return key, nil }),
		validator.WithAlgorithm(validator.SignatureAlgorithm(k.Alg)),
		validator.WithIssuer(issuer),
		validator.WithAudience(audience),
	)
	if err != nil {
		return nil, err
	}
	m, err := jwtmiddleware.New(jwtmiddleware.WithValidator(tokens))
	if err != nil {
		return nil, err
	}
	return through(m.CheckJWT), nil
}

// through makes a Check of a middleware: what it lets through, it accepts.
func through(middleware func(http.Handler) http.Handler) Check {
	h := middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.(*outcome).passed = r }))
	return func(r *http.Request) (*http.Request, error) {
		o := outcomes.Get().(*outcome) // from a pool, so that the middleware does not pay for it
		defer outcomes.Put(o)
		*o = outcome{}
		h.ServeHTTP(o, r)
		if o.passed == nil {
			return nil, errRejected
		}
		return o.passed, nil
	}
}

// An outcome is a ResponseWriter that knows whether the request got through. It forgets what is written to it.
type outcome struct {
	passed *http.Request
	header http.Header
}

var outcomes = sync.Pool{New: func() any { return new(outcome) }}

func (o *outcome) Header() http.Header {
	if o.header == nil {
		o.header = http.Header{}
	}
	return o.header
}

func (o *outcome) Write(p []byte) (int, error) { return len(p), nil }
func (o *outcome) WriteHeader(int)             {}
