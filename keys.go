package wsauth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/jwks"
)

// Keys is where an issuer's keys come from: the result of [HMAC] or [AnyOf], or
// a [JWKS], [KeySet], [PublicKeys], [PublicKeysPEM] or [KeyFunc]. Other
// packages cannot implement it.
type Keys interface {
	// source checks the keys. It returns a lookup for them and the algorithms
	// they could serve, or an error that says what is wrong.
	source(setting) (jose.Source, jose.Algs, error)
}

// A setting is what keys need to know about the options around them.
type setting struct {
	issuer  string
	narrow  jose.Algs
	log     *slog.Logger
	observe func(context.Context, Event)
}

// observeFetch returns a function that reports an issuer's fetches to observe.
func (s setting) observeFetch() func(context.Context, int, time.Duration, error) {
	if s.observe == nil {
		return nil
	}
	return func(ctx context.Context, keys int, took time.Duration, err error) {
		e := Event{Kind: EventKeysFetched, Issuer: s.issuer, Keys: keys, Duration: took, Err: err}
		if err != nil {
			e.Kind = EventKeysFailed
		}
		s.observe(ctx, e)
	}
}

// HMAC returns keys for HS256, HS384 and HS512. A secret serves each algorithm
// whose hash is not longer than the secret ([RFC 7518 section 3.2]): at least
// 32 bytes for HS256, 48 for HS384, 64 for HS512. Several secrets, at most
// four, are for rotation, with the newest first: all are tried, so the time
// does not tell which one fits. A token's kid is ignored.
//
// [RFC 7518 section 3.2]: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
func HMAC(secrets ...[]byte) Keys { return hmacKeys(secrets) }

type hmacKeys [][]byte

func (secrets hmacKeys) source(set setting) (jose.Source, jose.Algs, error) {
	var keys []*jose.Key
	var faults []error
	for i, secret := range secrets {
		k, err := jose.NewSecret(secret)
		if hs := set.narrow & jose.HMACAlgs; err == nil && hs != 0 && k.Algs&hs == 0 {
			err = errors.New("shorter than the hash of each of the Algorithms")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("secret %d: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	switch n := len(secrets); {
	case n == 0:
		faults = append(faults, errors.New("no secret"))
	case n > 4: // each of them is tried, for whatever token anybody sends
		faults = append(faults, errors.New("more than 4 secrets"))
	}
	return staticSet(keys, faults)
}

// PublicKeys are public keys without a kid: *rsa.PublicKey (2048 to 8192 bits),
// *ecdsa.PublicKey (P-256, P-384 or P-521) or ed25519.PublicKey. A token's kid
// is ignored, and each key that fits the token's algorithm is tried. At most
// four may fit the same algorithm.
type PublicKeys []crypto.PublicKey

func (p PublicKeys) source(setting) (jose.Source, jose.Algs, error) { return publicKeys(p) }

// PublicKeysPEM are [PublicKeys] as PEM text, one block for each key: PUBLIC
// KEY, RSA PUBLIC KEY or CERTIFICATE. Only the key of a certificate counts; its
// dates and its signature are not checked.
type PublicKeysPEM []byte

func (p PublicKeysPEM) source(setting) (jose.Source, jose.Algs, error) {
	keys, err := jose.ParsePEM(p)
	if err != nil {
		return nil, 0, err
	}
	return publicKeys(keys)
}

func publicKeys(all []crypto.PublicKey) (jose.Source, jose.Algs, error) {
	var keys []*jose.Key
	var faults []error
	for i, public := range all {
		k, err := jose.NewPublicKey(public)
		if err != nil {
			faults = append(faults, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(all) == 0 {
		faults = append(faults, errors.New("no key"))
	}
	return staticSet(keys, faults)
}

// KeySet is a JWK Set in JSON ([RFC 7517 section 5]). It may contain secrets
// (kty oct) and public keys, but no private keys. [New] reports a key that
// cannot be used.
//
// [RFC 7517 section 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
type KeySet []byte

func (s KeySet) source(setting) (jose.Source, jose.Algs, error) {
	set, err := jose.ParseStatic(s)
	if err != nil {
		return nil, 0, err
	}
	return set, set.Algs(), nil
}

func staticSet(keys []*jose.Key, faults []error) (jose.Source, jose.Algs, error) {
	if len(faults) > 0 {
		return nil, 0, errors.Join(faults...)
	}
	set, err := jose.NewSet(keys)
	if err != nil {
		return nil, 0, err
	}
	return set, set.Algs(), nil
}

// JWKS is the key set that an issuer publishes. It is fetched when first
// needed, kept, and refreshed in the background. A token whose key is not in
// the set causes a fetch, at most one every 5 seconds. While the issuer is
// unavailable, the last good set is used, for up to MaxStale. Until the first
// successful fetch, requests get 503 ([ErrUnavailable]). Nothing runs between
// fetches, and nothing has to be closed.
type JWKS struct {
	// URL is where the set is: https; http on loopback or with PlainHTTP. If it
	// is empty, the set is found by OpenID Connect Discovery (or RFC 8414) from
	// Issuer.Name.
	URL string

	// DiscoveryURL is where the discovery document is, if it is not where
	// Issuer.Name says, for example at a name inside a cluster, or at the URL
	// of a policy. The document's issuer must still be Issuer.Name. With
	// AnyDocumentIssuer it may be any other name or missing; then whoever
	// writes the document decides which keys are trusted.
	DiscoveryURL      string
	AnyDocumentIssuer bool

	// PlainHTTP allows http, for example inside a cluster, for these URLs, for
	// Issuer.Name if discovery needs it, and for the document's jwks_uri:
	// whoever can change a response on its way then chooses the keys. It is
	// logged once, at Warn.
	PlainHTTP bool

	// Client sends the requests. Its redirects stay within an origin, and each
	// fetch ends after 5 seconds. Default: a client with http.DefaultTransport.
	Client *http.Client

	// Refresh is the age at which the set is fetched again. Default: what the
	// response's Cache-Control says, but at least a minute and at most an hour.
	Refresh time.Duration

	// MaxStale is how long a set is used after the last successful fetch.
	// Default: 24 h.
	MaxStale time.Duration
}

func (j JWKS) source(set setting) (jose.Source, jose.Algs, error) {
	cfg := jwks.Config{
		Issuer: set.issuer, URL: j.URL, DiscoveryURL: j.DiscoveryURL, AnyDocumentIssuer: j.AnyDocumentIssuer,
		PlainHTTP: j.PlainHTTP, Client: j.Client, Refresh: j.Refresh, MaxStale: j.MaxStale, Logger: set.log,
		Observe: set.observeFetch(),
	}
	if err := cfg.Check(); err != nil {
		return nil, 0, err
	}
	return jwks.New(cfg), jose.AllAlgs &^ jose.HMACAlgs, nil
}

// AnyOf returns keys for an issuer that has several kinds of keys, such as one
// that is changing from a secret to a key set:
//
//	wsauth.AnyOf(wsauth.HMAC(secret), wsauth.JWKS{})
//
// Each key keeps the algorithms that fit it: HS* work with secrets only. Keys
// that are already available are tried before any are fetched. An outage of one
// source does not delay the tokens of another.
//
// The signature of a token is checked with at most four keys. So at most four
// keys without a kid may fit one algorithm, and each JWKS and each KeyFunc
// counts as one of the four.
func AnyOf(keys ...Keys) Keys { return anyOf(keys) }

type anyOf []Keys

func (several anyOf) source(set setting) (jose.Source, jose.Algs, error) {
	var parts []jose.Part
	var algs jose.Algs
	var faults []error
	for i, k := range several {
		if isNilKeys(k) {
			faults = append(faults, fmt.Errorf("AnyOf, keys %d: missing", i))
			continue
		}
		source, serves, err := k.source(set)
		for _, fault := range unjoin(err) {
			if fault != nil {
				faults = append(faults, fmt.Errorf("AnyOf, keys %d: %w", i, fault))
			}
		}
		parts = append(parts, jose.Part{Source: source, Algs: serves & set.narrow})
		algs |= serves
	}
	if len(several) == 0 {
		faults = append(faults, errors.New("AnyOf without keys"))
	}
	if len(faults) > 0 {
		return nil, 0, errors.Join(faults...)
	}
	combined, err := jose.NewAnyOf(parts...)
	if err != nil {
		return nil, 0, err
	}
	return combined, algs, nil
}

// isNilKeys reports whether k is nil, or a nil pointer such as (*JWKS)(nil).
func isNilKeys(k Keys) bool {
	v := reflect.ValueOf(k)
	return k == nil || v.Kind() == reflect.Pointer && v.IsNil()
}

// asks reports whether each lookup of a key may return a different key.
func asks(k Keys) bool {
	if several, ok := k.(anyOf); ok {
		return slices.ContainsFunc(several, asks)
	}
	_, ok := k.(KeyFunc)
	return ok
}

// KeyFunc finds a key by the kid and alg of a token that is not verified yet,
// for example in a vault or a database. It is called for each token, with the
// request's context. It must not use kid as a path or URL. It returns
//
//   - a []byte for HS*, an *rsa.PublicKey, an *ecdsa.PublicKey or an
//     ed25519.PublicKey;
//   - nil if there is no such key: the token is refused with 401;
//   - an error if the keys are unavailable: 503, unless the error is
//     [ErrInvalidToken] or [ErrRevoked].
type KeyFunc func(ctx context.Context, kid, alg string) (key any, err error)

func (f KeyFunc) source(setting) (jose.Source, jose.Algs, error) {
	if f == nil {
		return nil, 0, errors.New("a nil KeyFunc")
	}
	return called{f}, jose.AllAlgs, nil
}

type called struct{ f KeyFunc }

func (c called) Keys(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	raw, err := c.f(ctx, h.KeyID, h.Alg.String())
	if err != nil || isNil(raw) {
		return nil, err
	}
	var k *jose.Key
	if secret, ok := raw.([]byte); ok {
		k, err = jose.NewSecret(secret)
	} else {
		k, err = jose.NewPublicKey(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("KeyFunc: %w", err)
	}
	return []*jose.Key{k}, nil
}

// isNil reports whether key is nil, or a nil pointer or slice in an interface,
// which a lookup that found nothing easily returns.
func isNil(key any) bool {
	v := reflect.ValueOf(key)
	return !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice) && v.IsNil()
}
