package wsauth

import (
	"context"
	"errors"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// renewal costs a signature, so that a connection has so many at once, and one more in each interval.
const (
	renewalBurst    = 5
	renewalInterval = time.Second
)

// Renew gives the live connection that ctx belongs to a new token: ctx is the one given to the serve function of
// [Authenticator.Upgrade], or made from it. The token is judged as at the handshake; issuer and subject must be the
// same as now (and sid, client_id and azp, where the token before had them), every [Require] that admitted the
// connection must admit it again, and it must expire later than the one before: a token that the client had already is
// no new one. Then the connection lives on to the new token's end, but not past MaxLifetime, and [ClaimsFromContext]
// returns the new claims, which Renew returns, too.
//
// An error leaves the connection as it was. It is [ErrExpired] if the connection has ended; of an end and a renewal
// that meet, exactly one happens. It is [ErrTooMany] if there were too many attempts, good or bad: a connection has
// five, and regains one in a second. It is [ErrRevoked] if [Authenticator.Revoke] has met the new claims, and
// [ErrForbidden] if ctx belongs to no connection.
func Renew(ctx context.Context, token string) (*Claims, error) {
	id := identityOf(ctx)
	if id == nil || id.conn == nil {
		return nil, refusal.New(ErrForbidden, errors.New("Renew without a connection in the context"))
	}
	claims, trail, err := id.conn.renew(ctx, token)
	if err != nil {
		err = trail.On(err)
		id.auth.reportRefusal(ctx, err)
		return nil, err
	}
	id.auth.reportVerified(ctx, EventRenewed, trail)
	return claims, nil
}

func (c *connection) renew(ctx context.Context, token string) (*Claims, refusal.Trail, error) {
	if c.hasEnded() {
		return nil, refusal.Trail{}, c.tooLate()
	}
	if !c.mayRenew(time.Now()) {
		return nil, refusal.Trail{}, refusal.New(ErrTooMany, errors.New("too many renewals"))
	}
	revocations := c.auth.live.revocations.Load()
	verified, err := c.auth.verifyToken(ctx, credential.Credential{Token: token})
	if err != nil {
		return nil, verified.Trail, err
	}
	claims := claimsOf(&verified.Claims)
	// From here on Revoke finds the new claims, and what was revoked before, the checks find: but for a KeyFunc, which may
	// have been asked too early.
	defer c.propose(claims)()
	if c.auth.live.revocations.Load() != revocations {
		if _, err := c.auth.verifyToken(ctx, credential.Credential{Token: token}); err != nil {
			return nil, verified.Trail, err
		}
	}
	return claims, verified.Trail, c.replace(ctx, claims)
}

// replace gives the connection new claims, if they are the same person's and every check admits them.
func (c *connection) replace(ctx context.Context, claims *Claims) error {
	for {
		current := c.claims.Load()
		if err := current.samePerson(claims); err != nil {
			return refusal.New(ErrInvalidToken, err)
		}
		if err := c.check(ctx, claims); err != nil {
			return err
		}
		switch c.prolong(current, claims, time.Now()) {
		case prolonged:
			return nil
		case tooLate:
			return c.tooLate()
		case withdrawn:
			return refusal.New(ErrRevoked, nil)
		}
		// Another renewal came first, perhaps with a later token.
	}
}

// propose shows claims to Revoke that are not the connection's yet, until done is called.
func (c *connection) propose(claims *Claims) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proposed == nil {
		c.proposed = map[*Claims]bool{}
	}
	c.proposed[claims] = false
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.proposed, claims)
	}
}

// hasEnded reports whether it is too late for a renewal.
func (c *connection) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ranOutLocked(time.Now()) || c.over || c.gate.Gone()
}

// tooLate is the refusal of a renewal that comes after the end.
func (c *connection) tooLate() error {
	if c.ranOut() {
		go c.close(c.ending()) // the timer may be late; a callback for pings must not wait for the peer
	}
	return refusal.New(ErrExpired, errors.New("the connection has ended"))
}

// mayRenew counts an attempt, unless there were too many.
func (c *connection) mayRenew(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renewals.Sub(now) > (renewalBurst-1)*renewalInterval {
		return false
	}
	if c.renewals.Before(now) {
		c.renewals = now
	}
	c.renewals = c.renewals.Add(renewalInterval)
	return true
}

// samePerson checks that a connection does not change hands with its token.
func (c *Claims) samePerson(next *Claims) error {
	first, err := jose.ParseClaims(c.raw)
	if err != nil {
		return err
	}
	second, err := jose.ParseClaims(next.raw)
	if err != nil {
		return err
	}
	differs := func(first, next string) bool { return first != "" && first != next }
	switch {
	case next.Issuer != c.Issuer:
		return errors.New("iss: another issuer than the connection's")
	case next.Subject != c.Subject:
		return errors.New("sub: another subject than the connection's")
	case differs(first.SessionID, second.SessionID):
		return errors.New("sid: another session than the connection's")
	case differs(first.ClientID, second.ClientID), differs(first.AuthorizedParty, second.AuthorizedParty):
		return errors.New("client_id or azp: another client than the connection's")
	case !next.Expiry.After(c.Expiry):
		return errors.New("exp: not later than the connection's")
	}
	return nil
}
