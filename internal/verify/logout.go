package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// Logout verifies a logout token that is for one of these clients (OpenID Connect Back-Channel Logout 1.0 section 2.6),
// and returns what it revokes. An error is a refusal. The token's iat is the time of the revocation: whoever sends the
// token again revokes nothing that was issued later, so nobody has to remember its jti.
func (v *Verifier) Logout(ctx context.Context, token string, clients []string) (revocation.Revocation, error) {
	var trail refusal.Trail
	r, err := v.logout(ctx, token, clients, &trail)
	return r, trail.On(err)
}

func (v *Verifier) logout(ctx context.Context, token string, clients []string, trail *refusal.Trail) (r revocation.Revocation, err error) {
	t, c, err := v.parseEvents(token, trail)
	if err != nil {
		return r, err
	}
	iss, err := v.issuerOf(ctx, &c.Claims)
	if err != nil {
		return r, err
	}
	trail.Issuer = iss.Name
	if t.Header.Type != "" && t.Header.Type != "jwt" && t.Header.Type != "logout+jwt" {
		return r, refusal.New(refusal.ErrInvalidToken, errors.New("typ: not that of a logout token"))
	}
	if err := iss.verifyEvents(ctx, &t); err != nil {
		return r, err
	}
	if err := v.checkLogout(&c, clients, time.Now()); err != nil {
		return r, err
	}
	r = revocation.Revocation{Issuer: iss.Name, Kind: revocation.Subject, Name: c.Subject, At: c.IssuedAt.Unix()}
	if c.HasSession() {
		r.Kind, r.Name = revocation.Session, c.Text("sid")
	}
	return r, nil
}

// parseEvents takes a security event token apart. Nothing in it is verified.
func (v *Verifier) parseEvents(token string, trail *refusal.Trail) (t jose.Token, c jose.EventClaims, err error) {
	if t, err = v.parser.Parse(token); err != nil {
		return t, c, refusal.New(refusal.ErrInvalidToken, err)
	}
	trail.KeyID = t.Header.KeyID
	if c, err = jose.ParseEvents(t.Payload); err != nil {
		return t, c, refusal.New(refusal.ErrInvalidToken, err)
	}
	return t, c, nil
}

// verifyEvents checks the signature of a security event token.
func (iss *Issuer) verifyEvents(ctx context.Context, t *jose.Token) error {
	if err := iss.checkAlg(t.Header); err != nil {
		return refusal.New(refusal.ErrInvalidToken, err)
	}
	_, err := iss.verifySignature(ctx, t)
	return err
}

func isLogout(e jose.Event) bool { return e.Type == jose.LogoutEvent && e.IsObject() }

func (v *Verifier) checkLogout(c *jose.EventClaims, clients []string, now time.Time) error {
	reason := ""
	switch latest := now.Add(v.leeway); {
	case !slices.ContainsFunc(c.Events, isLogout):
		reason = "events: not those of a logout token"
	case c.HasNonce: // an ID token has one
		reason = "nonce: a logout token has none"
	case !c.IsFor(clients):
		reason = "aud: not one of the clients"
	case c.Subject == "" && !c.HasSession():
		reason = "sub, sid: both are missing"
	case c.Expiry.IsZero():
		reason = "exp: missing"
	case c.IssuedAt.After(c.Expiry):
		reason = "iat: after exp"
	case c.IssuedAt.After(latest):
		reason = "iat: token not valid yet"
	case c.NotBefore.After(latest):
		reason = "nbf: token not valid yet"
	case !now.Before(v.End(c.Expiry)):
		return refusal.New(refusal.ErrExpired, nil)
	default:
		return nil
	}
	return refusal.New(refusal.ErrInvalidToken, errors.New(reason))
}
