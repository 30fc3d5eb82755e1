package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
	"github.com/wsauth/wsauth/internal/refusal"
)

const testIssuer = "https://id.example.com/"

var (
	testKey = mint.New("HS256", "")
	es256   = mint.New("ES256", "es")
	rs256   = mint.New("RS256", "rs")
	ed      = mint.New("EdDSA", "ed")

	invalid = refusal.ErrInvalidToken
	expired = refusal.ErrExpired
)

// newVerifier has 30 s of leeway and one issuer, testIssuer with testKey and the audience "chat", and what change makes
// of that.
func newVerifier(change ...func(*Config)) *Verifier {
	cfg := Config{
		Leeway:  30 * time.Second,
		Issuers: []Issuer{{Name: testIssuer, Audience: []string{"chat"}, Keys: keysOf(testKey)}},
	}
	for _, c := range change {
		c(&cfg)
	}
	for i := range cfg.Issuers {
		cfg.Issuers[i].Algs, cfg.Issuers[i].Lasting = jose.AllAlgs, true
	}
	return New(cfg)
}

// trusting puts these issuers in the place of testIssuer.
func trusting(issuers ...Issuer) func(*Config) {
	return func(cfg *Config) { cfg.Issuers = issuers }
}

func remembering(cfg *Config) { cfg.CacheSize = 100 }

func keysOf(keys ...*mint.Key) jose.Source {
	set, err := jose.ParseStatic(mint.SetOf(keys...))
	if err != nil {
		panic(err)
	}
	return set
}

// testClaims are what newVerifier accepts, overlaid with what changes; nil leaves a claim out.
func testClaims(changes map[string]any) map[string]any {
	claims := map[string]any{"iss": testIssuer, "aud": "chat", "sub": "alice"}
	maps.Copy(claims, changes)
	return claims
}

func testToken(changes map[string]any) string { return testKey.Token(testClaims(changes)) }

// at is an instant, in seconds from now, as a NumericDate.
func at(seconds float64) json.Number {
	then := time.Now().Add(time.Duration(seconds * 1e9))
	return json.Number(fmt.Sprintf("%d.%09d", then.Unix(), then.Nanosecond()))
}

// check checks what becomes of a token: it is accepted, or refused as exactly this kind.
func check(t testing.TB, v *Verifier, token string, want error) jose.Claims {
	t.Helper()
	var verified Verified
	err := v.Token(t.Context(), token, Holder{}, &verified)
	var got error
	if r := (*refusal.Error)(nil); errors.As(err, &r) {
		got = r.Kind
	}
	if got != want || (err == nil) != (want == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err != nil && verified.Claims.Subject != "" {
		t.Errorf("got the claims of %q beside the error %v, want none", verified.Claims.Subject, err)
	}
	return verified.Claims
}
