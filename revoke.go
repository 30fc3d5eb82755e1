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

// Renew gives a live connection a new token. ctx is the context given to the
// serve function of [Authenticator.Upgrade], the context of a request behind
// [Authenticator.Guard], or a context made from one of these.
//
// The new token must pass the same checks as the token of the handshake, and
// every [Require] that admitted the connection must admit it again. Issuer and
// subject must be those of the current token, and so must sid, client_id and
// azp if the current token has them. The new token must expire later than the
// current one, so the same token cannot be used again. The connection then
// lives until the new token expires, but not past [UpgradeOptions.MaxLifetime].
// Renew returns the new claims, and [ClaimsFromContext] returns them from then
// on.
//
// If Renew returns an error, the connection is as it was. The error says why the
// token was refused, as [Authenticator.Verify] does, or is
//
//   - [ErrExpired] if the connection has ended. If its end and a renewal
//     coincide, exactly one of them takes effect.
//   - [ErrTooMany] after too many attempts, whether they succeeded or not: a
//     connection has five attempts, and gets one back every second.
//   - [ErrRevoked] if [Authenticator.Disconnect] matched the new claims.
//   - [ErrForbidden] if ctx belongs to no connection, or if a check of Require
//     refuses the new token.
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

// Disconnect ends the Authenticator's live connections whose claims match, and
// returns how many there were. It closes WebSockets with code and reason, and
// from then on no message begins in either direction. Then the context of the
// connection is cancelled; [websocket.CloseStatus] finds the code in its cause.
// Disconnect does not wait for any of this. It calls match for one connection
// after the other; match must not modify the claims. A reason longer than 123
// bytes, which is what fits into a close frame, is cut.
//
// Disconnect keeps no record: a token that has not expired can open a new
// connection. So first record the revocation where a check of [Require], or the
// issuer, looks it up; then call Disconnect.
//
// A [Renew] in progress whose new claims match fails. Its connection counts as
// ended only if the current claims match, too. A connection that is being
// opened at that moment is not matched. Instead, every check that admitted it
// is asked again, but no [KeyFunc] is.
//
// Disconnect panics if match is nil, or if code is not one that an endpoint may
// send ([RFC 6455 section 7.4]).
//
// [RFC 6455 section 7.4]: https://www.rfc-editor.org/rfc/rfc6455#section-7.4
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

// maySend reports whether RFC 6455 section 7.4 or the IANA registry allows an
// endpoint to send code.
func maySend(code websocket.StatusCode) bool {
	switch code {
	case 1004, websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure:
		return false
	}
	return code >= websocket.StatusNormalClosure && code <= websocket.StatusBadGateway || code >= 3000 && code <= 4999
}

// maxReason is how many bytes a control frame has left after the code (RFC 6455
// section 5.5).
const maxReason = 123

// cut shortens a text to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Shutdown ends the Authenticator's live connections, which
// [http.Server.Shutdown] does not know about. It refuses new connections with
// 503, closes the live ones with 1001, and waits until all are closed and their
// serve functions have returned, or until ctx is done. The contexts of the
// connections are cancelled with the cause [http.ErrServerClosed]. The error
// says how many connections have not ended. Requests that open no connection
// are authenticated as before.
//
// If ctx has a deadline, the connections are closed one after the other, 10 ms
// apart, or less if that would take more than half of the time until the
// deadline. So the clients do not all reconnect at the same moment.
//
// Call Shutdown at the same time as http.Server.Shutdown, and wait for both. A
// function given to [http.Server.RegisterOnShutdown] can call it, too, but
// nobody waits for that function: main may return before the connections are
// closed. If a serve function or [Options.Observe] calls Shutdown, it waits for
// the very connection that the call comes from.
func (a *Authenticator) Shutdown(ctx context.Context) error {
	if a.isZero() {
		return nil
	}
	return a.live.Shutdown(ctx, endingShutDown)
}
