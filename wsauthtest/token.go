package wsauthtest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// Claims are a token's. A nil takes a claim out, and a time.Time becomes a NumericDate, exact to the millisecond. A
// time.Duration fails the test: a claim is a time, and not how long it is until then.
type Claims map[string]any

// TokenOptions are what [Issuer.TokenWith] does otherwise than [Issuer.Token].
type TokenOptions struct {
	// Claims are as Token takes them.
	Claims Claims

	// Header has what to change in the token's header, whose members are alg, typ ("JWT") and kid. A nil takes one out.
	// How the token is signed does not change with it.
	Header map[string]any

	// Alg is how to sign. The issuer must have a key for it; an HMAC issuer's secret is for HS256, HS384 and HS512.
	Alg string

	// Key signs in place of the issuer's: a []byte, *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey. Without
	// an Alg, that is HS256, RS256, the one of the curve, or EdDSA. There is no kid but in Header.
	Key any
}

// Token returns a token that the issuer's Authenticator accepts, with these claims:
//
//	{"iss": Name, "aud": Audience, "sub": "alice", "iat": now, "exp": in an hour, "jti": unlike all others}
//
// Arguments add to them, change them, or take them out:
//
//	issuer.Token(wsauthtest.Claims{"sub": "bob", "scope": "chat:write", "exp": time.Now().Add(time.Minute)})
func (i *Issuer) Token(claims ...Claims) string {
	i.t.Helper()
	return i.sign(i.key(""), nil, claims...)
}

// TokenWith returns a token of another algorithm, key or header.
func (i *Issuer) TokenWith(opts TokenOptions) string {
	i.t.Helper()
	if opts.Key == nil {
		return i.sign(i.key(opts.Alg), opts.Header, opts.Claims)
	}
	for _, alg := range algorithmsOf(opts.Key) {
		if opts.Alg == "" || opts.Alg == alg {
			return i.sign(&mint.Key{Alg: alg, Private: opts.Key}, opts.Header, opts.Claims)
		}
	}
	i.t.Fatalf("wsauthtest: Alg %q and a Key of type %T do not fit", opts.Alg, opts.Key)
	return ""
}

// Expired returns a token like Token, whose end was an hour ago.
func (i *Issuer) Expired(claims ...Claims) string {
	i.t.Helper()
	past := Claims{"exp": time.Now().Add(-time.Hour)}
	return i.Token(append([]Claims{past}, claims...)...)
}

// Forged returns a token like Token, that names the issuer's key and is signed with another one.
func (i *Issuer) Forged(claims ...Claims) string {
	i.t.Helper()
	key := i.key("")
	return i.sign(mint.New(key.Alg, key.ID), nil, claims...)
}

// algorithmsOf returns those that a private key is good for, the default first.
func algorithmsOf(key any) []string {
	switch key := key.(type) {
	case []byte:
		return []string{"HS256", "HS384", "HS512"}
	case *rsa.PrivateKey:
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PrivateKey:
		return []string{"EdDSA"}
	}
	return nil
}

// key returns the issuer's key for an algorithm; empty: its first.
func (i *Issuer) key(alg string) *mint.Key {
	i.t.Helper()
	if i.URL == "" && (alg == "" || isHMAC(alg)) {
		return &mint.Key{Alg: cmp.Or(alg, "HS256"), Private: i.Secret}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.signing {
		if alg == "" || alg == k.Alg {
			return k
		}
	}
	i.t.Fatalf("wsauthtest: the issuer has no key for %q", alg)
	return nil
}

func (i *Issuer) sign(key *mint.Key, header map[string]any, claims ...Claims) string {
	i.t.Helper()
	h := key.Header()
	maps.Copy(h, header)
	return key.Sign(mint.JSON(withoutNil(h)), mint.JSON(i.claims(claims)))
}

// claims are those of a good token and, over them, the changes in their order.
func (i *Issuer) claims(changes []Claims) map[string]any {
	i.t.Helper()
	now := time.Now().Truncate(time.Second) // most issuers' dates are whole
	all := map[string]any{"sub": "alice", "exp": now.Add(time.Hour), "jti": rand.Text()}
	if i.Name != "" {
		all["iss"] = i.Name
	}
	if i.Audience != "" {
		all["aud"] = i.Audience
	}
	for _, c := range changes {
		maps.Copy(all, c)
	}
	for name, value := range all {
		switch value := value.(type) {
		case time.Time:
			all[name] = float64(value.UnixMilli()) / 1000
		case time.Duration: // as a number it would be nanoseconds
			i.t.Fatalf("wsauthtest: the claim %q is a time.Duration (%v), want a time.Time: time.Now().Add(…)", name, value)
		}
	}
	if _, ok := all["iat"]; !ok {
		// An iat after exp would make it malformed, not expired.
		iat := float64(now.Unix())
		exp := iat
		json.Unmarshal([]byte(mint.JSON(all["exp"])), &exp) // of whatever type; what is no number changes nothing
		all["iat"] = min(iat, exp)
	}
	return withoutNil(all)
}

func withoutNil(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}
