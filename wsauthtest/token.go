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

// Claims are the claims of a token. A nil value removes a claim, and a time.Time becomes a
// NumericDate, exact to the millisecond. A time.Duration fails the test: a claim is a time, not how
// long it is until then.
type Claims map[string]any

// TokenOptions are what [Issuer.TokenWith] does differently from [Issuer.Token].
type TokenOptions struct {
	// Claims are as Token takes them.
	Claims Claims

	// Header has the changes to the token's header, whose members are alg, typ ("JWT") and kid. A
	// nil value removes a member. Header does not change how the token is signed.
	Header map[string]any

	// Alg is the algorithm to sign with. The issuer must have a key for it. An HMAC issuer's secret
	// is for HS256, HS384 and HS512.
	Alg string

	// Key signs in place of the issuer's key: a []byte, *rsa.PrivateKey, *ecdsa.PrivateKey or
	// ed25519.PrivateKey. Without Alg, the algorithm is HS256, RS256, the one for the curve, or
	// EdDSA. The token has no kid, unless Header has one.
	Key any
}

// Token returns a token that the issuer's Authenticator accepts, with these claims:
//
//	{"iss": Name, "aud": Audience, "sub": "alice", "iat": now, "exp": in an hour, "jti": different for each token}
//
// Arguments add claims, change them, or remove them:
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

// Expired returns a token like Token's that expired an hour ago.
func (i *Issuer) Expired(claims ...Claims) string {
	i.t.Helper()
	past := Claims{"exp": time.Now().Add(-time.Hour)}
	return i.Token(append([]Claims{past}, claims...)...)
}

// Forged returns a token like Token's that names the issuer's key and is signed with another key.
func (i *Issuer) Forged(claims ...Claims) string {
	i.t.Helper()
	key := i.key("")
	return i.sign(mint.New(key.Alg, key.ID), nil, claims...)
}

// algorithmsOf returns the algorithms that a private key fits, the default first.
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

// key returns the issuer's key for an algorithm, or its first key if alg is empty.
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

// claims returns the claims of a good token with the changes applied in their order.
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
		json.Unmarshal([]byte(mint.JSON(all["exp"])), &exp) // whatever its type; anything but a number changes nothing
		all["iat"] = min(iat, exp)
	}
	return withoutNil(all)
}

func withoutNil(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}
