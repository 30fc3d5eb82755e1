package wsauth

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/verify"
)

// Renew gives the live connection that ctx belongs to a new token: ctx is the one given to the serve function of
// [Authenticator.Upgrade], that of a request behind [Authenticator.Guard], or made from it. The token is judged as at the handshake; issuer and subject must be the
// same as now (and sid, client_id and azp, where the token before had them), every [Require] that admitted the
// connection must admit it again, and it must expire later than the one before: a token that the client had already is
// no new one. Then the connection lives on to the new token's end, but not past MaxLifetime, and [ClaimsFromContext]
// returns the new claims, which Renew returns, too.
//
// An error leaves the connection as it was. It is [ErrExpired] if the connection has ended; of an end and a renewal
// that meet, exactly one happens. It is [ErrTooMany] if there were too many attempts, good or bad: a connection has
// five, and regains one in a second. It is [ErrRevoked] if [Authenticator.Disconnect] has met the new claims, and
// [ErrForbidden] if ctx belongs to no connection.
func Renew(ctx context.Context, token string) (*Claims, error) {
	id := identityOf(ctx)
	if id == nil || id.conn == nil {
		return nil, refusal.New(ErrForbidden, errors.New("Renew without a connection in the context"))
	}
	claims, err := id.conn.renew(ctx, token)
	if err != nil {
		id.auth.reportRefusal(ctx, err)
		return nil, err
	}
	return claims, nil
}

// renew also takes the first token of a connection that was opened without one.
func (c *connection) renew(ctx context.Context, token string) (*Claims, error) {
	var verified verify.Verified
	first, epoch := c.Claims() == nil, c.auth.live.Epoch()
	claims, err := c.Renew(func() (*Claims, error) {
		if err := c.auth.verifyToken(ctx, credential.Credential{Token: token}, &verified); err != nil {
			return nil, err
		}
		if first {
			c.auth.reportVerified(ctx, EventAuthenticated, verified.Trail)
		}
		return claimsOf(&verified.Claims), nil
	}, func(current, next *Claims) error {
		if current != nil {
			if err := current.samePerson(next); err != nil {
				return refusal.New(ErrInvalidToken, err)
			}
		}
		if now := c.auth.live.Epoch(); now != epoch { // a KeyFunc was perhaps asked too early
			epoch = now
			if err := c.auth.verifyToken(ctx, credential.Credential{Token: token}, new(verify.Verified)); err != nil {
				return err
			}
		}
		return c.check(ctx, next)
	})
	switch {
	case err != nil:
		return nil, verified.On(err)
	case !first:
		c.auth.reportVerified(ctx, EventRenewed, verified.Trail)
	case c.guarded:
		c.reportOpened()
	}
	return claims, nil
}

// Disconnect ends the Authenticator's live connections with claims that match, and returns how many: WebSockets are
// closed with code and reason, and from then on no message begins in either direction; then their contexts are cancelled
// with a cause of which [websocket.CloseStatus] gives the code. A reason that is longer than the 123 bytes that a close
// frame has room for is cut. Disconnect does not wait for that. match is called for one connection after the other, and
// must not change the claims.
//
// Disconnect keeps no record: a token that has not expired can open a new connection. So first record what is revoked
// where a check of [Require], or the issuer, looks it up; then call Disconnect. A [Renew] that is under way with claims
// that match fails, and does not count. A connection that is being made at that moment is asked again by each check that
// has admitted it, but by no [KeyFunc].
//
// Disconnect panics if match is nil, or if code is not one that an endpoint may send (RFC 6455 section 7.4).
func (a *Authenticator) Disconnect(match func(*Claims) bool, code websocket.StatusCode, reason string) int {
	if match == nil {
		panic("wsauth: Disconnect with a nil match")
	}
	if !maySend(code) {
		panic("wsauth: Disconnect with a close code that no endpoint may send")
	}
	if a.isZero() {
		return 0
	}
	reason = cut(reason, maxReason)
	return a.live.Disconnect(match, endingFor(code, reason, websocket.CloseError{Code: code, Reason: reason}))
}

// maySend reports whether RFC 6455 section 7.4, or the IANA registry, lets an endpoint send code.
func maySend(code websocket.StatusCode) bool {
	switch code {
	case 1004, websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure:
		return false
	}
	return code >= websocket.StatusNormalClosure && code <= websocket.StatusBadGateway || code >= 3000 && code <= 4999
}

// maxReason is how many bytes of a control frame are left behind the code (RFC 6455 section 5.5).
const maxReason = 123

// cut shortens a text to at most n bytes and to whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Shutdown ends the Authenticator's live connections, which http.Server.Shutdown does not know: it refuses new ones with
// 503, closes all others with 1001, and waits until they are closed and their serve functions have returned, or ctx ends.
// Their contexts are cancelled with the cause [http.ErrServerClosed]. The error says how many have not ended. Requests
// that open no connection are authenticated as before.
//
// Where ctx has a deadline, the connections are closed 10 ms apart, or as far apart as half of the time until then
// allows: their clients do not all come back at once.
//
// Call it beside http.Server.Shutdown, and wait for both. It works from a function given to
// http.Server.RegisterOnShutdown, too, but nobody waits for that: main may return before the connections are closed.
// Called from a serve function or from [Options.Observe], it waits for the connection that it is called for.
func (a *Authenticator) Shutdown(ctx context.Context) error {
	if a.isZero() {
		return nil
	}
	return a.live.Shutdown(ctx, endingShutDown)
}
