package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// An Issuer says whose tokens are accepted, and with which keys: a key of one issuer never verifies a token of another.
type Issuer struct {
	Name        string
	Audience    []string
	ClientIDs   []string
	AnyAudience bool
	Keys        jose.Source // its errors may be refusal.ErrInvalidToken, too
	Algs        jose.Algs
	Lasting     bool   // every lookup of a key returns the same key
	Type        string // as jose.MediaType has it
	MaxTTL      time.Duration
	Session     string // the claim that names the session

	Source any // what Keys was made from, for a directory that makes it again

	found bool // by a directory, which may later find another issuer
}

// verifySignature returns the key that made the signature of t, or a refusal.
func (iss *Issuer) verifySignature(ctx context.Context, t *jose.Token) (*jose.Key, error) {
	key, err := jose.VerifyFrom(ctx, iss.Keys, t)
	if err != nil {
		return nil, refuseKeys(err)
	}
	return key, nil
}

// find returns the keys that may have signed a token with this header, or a refusal.
func (iss *Issuer) find(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	keys, err := iss.Keys.Keys(ctx, h)
	switch {
	case len(keys) > 0: // even if another source failed
		return keys, nil
	case err != nil:
		return nil, refuseKeys(err)
	}
	return nil, refuseKeys(jose.ErrUnknownKey)
}

// currentSet returns the set that has all keys of the issuer at this time; nil: keys have to be looked up.
func (iss *Issuer) currentSet(now time.Time) *jose.Set {
	switch source := iss.Keys.(type) {
	case *jose.Set:
		return source
	case interface{ Current(time.Time) *jose.Set }:
		return source.Current(now)
	}
	return nil
}

// currentSetWith returns the current set if this key of it may sign a token with this header.
func (iss *Issuer) currentSetWith(h jose.Header, key *jose.Key) *jose.Set {
	set := iss.currentSet(time.Now())
	if set == nil {
		return nil
	}
	if keys, err := set.Find(h); err != nil || !slices.Contains(keys, key) { // a fetch has changed the set in between
		return nil
	}
	return set
}

// refuseKeys makes a refusal from the error of a key source. The error is an outage unless it says that the token is at
// fault.
func refuseKeys(err error) error {
	if errors.Is(err, jose.ErrUnknownKey) || errors.Is(err, jose.ErrSignature) || errors.Is(err, refusal.ErrInvalidToken) {
		return refusal.New(refusal.KindOf(err, refusal.ErrInvalidToken), err)
	}
	return refusal.New(refusal.ErrUnavailable, err)
}

// checkHeader applies RFC 8725 sections 3.1 and 3.12: the algorithm is one that is allowed, and the token is of the
// right kind. An ID token or a logout token has the same issuer and the same keys.
func (iss *Issuer) checkHeader(h jose.Header) error {
	if err := iss.checkAlg(h); err != nil {
		return err
	}
	if iss.Type != "" && h.Type != iss.Type {
		return errors.New("typ: not the Type of the issuer")
	}
	if iss.Type == "" && h.Type != "" && h.Type != "jwt" && h.Type != "at+jwt" {
		return errors.New("typ: not that of an access token")
	}
	return nil
}

func (iss *Issuer) checkAlg(h jose.Header) error {
	if !iss.Algs.Has(h.Alg) {
		return ErrAlg
	}
	return nil
}

// ErrAlg says that a token was signed with an algorithm that is not allowed.
var ErrAlg = errors.New("alg: not one that the issuer's keys and Algorithms allow")

// checkClaims checks the claims of a token whose signature is verified. It checks the expiry last, so that
// refusal.ErrExpired means that a newer token would be accepted.
func (iss *Issuer) checkClaims(c *jose.Claims, now time.Time, leeway time.Duration) error {
	reason := iss.checkAudience(c)
	switch latest := now.Add(leeway); {
	case reason != "":
	case c.NotBefore.After(latest):
		reason = "nbf: token not valid yet"
	case c.IssuedAt.After(latest):
		reason = "iat: token not valid yet"
	case iss.MaxTTL > 0 && c.Expiry.After(now.Add(iss.MaxTTL)):
		reason = "exp: later than MaxTTL allows"
	case !now.Before(c.Expiry.Add(leeway)):
		return refusal.New(refusal.ErrExpired, nil)
	default:
		return nil
	}
	return refusal.New(refusal.ErrInvalidToken, errors.New(reason))
}

// accepts returns the seconds of Unix time between which checkClaims will accept claims that it has already accepted.
// Both are rounded inward, so checkClaims may accept the claims for part of a second before and after, too.
func (iss *Issuer) accepts(c *jose.Claims, leeway time.Duration) (from, until int64) {
	from = max(c.NotBefore.Add(-leeway).Unix(), c.IssuedAt.Add(-leeway).Unix())
	if iss.MaxTTL > 0 {
		from = max(from, c.Expiry.Add(-iss.MaxTTL).Unix())
	}
	return from + 1, c.Expiry.Add(leeway).Unix()
}

// checkAudience returns why the token is not for this server, or "".
func (iss *Issuer) checkAudience(c *jose.Claims) string {
	switch {
	case iss.AnyAudience:
	case !c.HasAudience() && len(iss.ClientIDs) > 0:
		if !slices.Contains(iss.ClientIDs, c.Client()) {
			return "client_id: not one of ClientIDs"
		}
	case c.HasAudience() && len(iss.Audience) == 0:
		return "aud: the token names an audience, and none is configured"
	case len(iss.Audience) > 0 && !c.IsFor(iss.Audience):
		return "aud: not the audience"
	}
	return ""
}
