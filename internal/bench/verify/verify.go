// Package verify has what the benchmarks compare: several ways from a request with a bearer token to a request whose
// context says who sent it. Each does what its own documentation shows, with the checks that it has.
package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// Algorithms are those that are compared: one of each kind.
var Algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

const issuer, audience = "https://id.example.com/", "https://chat.example.com/"

// A Check verifies the token of a request, and returns the request that the application's handler gets.
type Check func(*http.Request) (*http.Request, error)

// A Variant is one way to do that.
type Variant struct {
	Name   string // has neither spaces nor slashes, for the names of benchmarks
	Module string // the path of the Go module that does the work; empty: the standard library
	Blind  bool   // it does not look at the claims, so that it takes an expired token for a good one
	Check  Check
}

// Limit is the variant that all others are compared to.
const Limit = "limit"

// variants are all there are, in the order in which they are shown. A check that is nil has no place in the comparison
// of the key's algorithm.
var variants = []struct {
	Variant
	check func(*mint.Key) (Check, error)
}{
	{Variant{Name: Limit, Blind: true}, limit},
	{Variant{Name: "by-hand", Blind: true}, byHand},
	{Variant{Name: "limit+json"}, limitWithJSON},
	{Variant{Name: "wsauth", Module: "github.com/wsauth/wsauth"}, withWsauth},
	{Variant{Name: "wsauth-remembered", Module: "github.com/wsauth/wsauth"}, withWsauthRemembered},
	{Variant{Name: "cristalhq", Module: "github.com/cristalhq/jwt/v5"}, withCristalhq},
	{Variant{Name: "golang-jwt", Module: "github.com/golang-jwt/jwt/v5"}, withGolangJWT},
	{Variant{Name: "go-oidc", Module: "github.com/coreos/go-oidc/v3"}, withGoOIDC},
	{Variant{Name: "jwx", Module: "github.com/lestrrat-go/jwx/v2"}, withJWX},
	{Variant{Name: "jwtauth", Module: "github.com/go-chi/jwtauth/v5"}, withJWTAuth},
	{Variant{Name: "auth0", Module: "github.com/auth0/go-jwt-middleware/v3"}, withAuth0},
}

// A Suite has the variants for one algorithm, and tokens for them.
type Suite struct {
	Alg      string
	Variants []Variant
	key      *mint.Key
}

// New makes the Suite of an algorithm, with a key of its own.
func New(alg string) (*Suite, error) {
	s := &Suite{Alg: alg, key: mint.New(alg, "2026-01")}
	for _, v := range variants {
		check, err := v.check(s.key)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", alg, v.Name, err)
		}
		if v.Check = check; check != nil {
			s.Variants = append(s.Variants, v.Variant)
		}
	}
	return s, nil
}

// Variant returns the variant with this name.
func (s *Suite) Variant(name string) Variant {
	for _, v := range s.Variants {
		if v.Name == name {
			return v
		}
	}
	panic("verify: no variant " + name)
}

// Claims are those of a good token with changes, where nil leaves a claim out.
func Claims(changes map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss":    issuer,
		"sub":    "auth0|5f7c8ec7c33c6c004bbafe82",
		"aud":    []string{audience, issuer + "userinfo"},
		"exp":    now.Add(time.Hour).Unix(),
		"nbf":    now.Add(-time.Minute).Unix(),
		"iat":    now.Add(-time.Minute).Unix(),
		"jti":    "0192f7a4-7e3b-7c1d-9a5e-3f1b2c4d5e6f",
		"scope":  "openid profile chat:read chat:write",
		"name":   "Alice Example",
		"roles":  []string{"member", "moderator"},
		"tenant": "example",
	}
	maps.Copy(claims, changes)
	return claims
}

// Token signs a token with these claims.
func (s *Suite) Token(claims map[string]any) string { return s.key.Token(claims) }

// Sign signs any header and payload.
func (s *Suite) Sign(header, payload string) string { return s.key.Sign(header, payload) }

// Request is one with a token where all variants look for it.
func Request(token string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, audience+"me", nil)
	if err != nil {
		panic(err) // the URL is a constant
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

var (
	errNoToken  = errors.New("no bearer token")
	errRejected = errors.New("rejected")
)

// bearer is how the variants find the token that have no way of their own.
func bearer(r *http.Request) (string, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", errNoToken
	}
	return token, nil
}

// pass hands on a request with what the token says, in the least memory that is possible.
func pass[T any](r *http.Request, who T) *http.Request {
	return r.WithContext(&identity[T]{r.Context(), who})
}

type identity[T any] struct {
	context.Context
	who T
}

type identityKey struct{}

func (id *identity[T]) Value(key any) any {
	if key == (identityKey{}) {
		return id.who
	}
	return id.Context.Value(key)
}
