package wsauth

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/refusal"
)

// An Event is what [Options.Observe] is called with. It contains no token, and
// none of its claims except the issuer.
type Event struct {
	Kind EventKind

	// Issuer is the name of the issuer in Options, or the Name of a Transmitter.
	// It is empty if the issuer is not known or has no name.
	Issuer string

	// Source is where the token was: header, query, cookie, subprotocol, func
	// or proxy; ticket, if a ticket stood for it; dpop, if it was in the header
	// with the scheme DPoP; or logout or event, if it was a token for
	// BackChannelLogout or SecurityEvents. It is empty if there was no token,
	// or if the token was given to Verify or Renew or came in a first message.
	Source string

	// Err is why a request or a token was refused (it is then one of this
	// package's Err values to [errors.Is]), or why a fetch failed. Its text may
	// contain what a check of [Require] put into it. For EventClosed, it is the
	// cause with which wsauth cancelled the connection's context; nil means
	// that serve returned or panicked (after a panic, Code is 1011), or that
	// the peer closed or vanished.
	Err error

	// Reason is the word for Err that the function Reason returns. Set only for
	// EventRefused.
	Reason string

	// Code is the code of the close frame sent to the peer, whether serve or
	// wsauth sent it; 1006 if none was sent because the peer was gone or
	// unreachable. If the client closed first, the client chose the code, so do
	// not use it as a metric label. Set only for EventClosed.
	Code websocket.StatusCode

	// Duration is how long the connection was open, or how long the fetch took.
	Duration time.Duration

	// Keys is how many usable keys the fetch returned.
	Keys int

	// Connections is how many connections of this process a revocation has
	// ended. Set only for EventRevoked.
	Connections int
}

// An EventKind says what happened.
type EventKind string

// The events that [Options.Observe] is called for.
const (
	EventAuthenticated EventKind = "authenticated" // a token was verified: a request's, a first message's, or Verify's
	EventRefused       EventKind = "refused"       // a request, a token or a renewal
	EventOpened        EventKind = "opened"        // a connection was opened: serve begins, or Guard's handshake is answered
	EventRenewed       EventKind = "renewed"       // by Renew
	EventClosed        EventKind = "closed"        // after EventOpened: the connection is closed, and serve has returned
	EventKeysFetched   EventKind = "keys_fetched"  // by JWKS
	EventKeysFailed    EventKind = "keys_failed"   // the fetch failed
	EventRevoked       EventKind = "revoked"       // tokens were revoked here, or connections ended that were revoked elsewhere
	EventLogFailed     EventKind = "log_failed"    // the revocation log can no longer be read or written
)

func (a *Authenticator) observeVerified(ctx context.Context, kind EventKind, t refusal.Trail) {
	if a.observe != nil {
		a.observe(ctx, Event{Kind: kind, Issuer: t.Issuer, Source: t.Source})
	}
}

func (a *Authenticator) observeRefusal(ctx context.Context, r *refusal.Error) {
	if a.observe != nil {
		a.observe(ctx, Event{Kind: EventRefused, Issuer: r.Issuer, Source: r.Source, Err: r, Reason: refusal.ResponseTo(r).Reason})
	}
}

func (c *connection) trail() refusal.Trail {
	t := refusal.Trail{Source: c.source.String()}
	if claims := c.Claims(); claims != nil {
		t.Issuer = c.auth.policy.verifier.NameOf(claims.Issuer)
	}
	return t
}

func (c *connection) reportOpened() {
	now := time.Now()
	c.opened.Store(&now)
	if c.auth.observe != nil {
		c.auth.observe(c.ctx, Event{Kind: EventOpened, Issuer: c.trail().Issuer})
	}
}

// reportClosed reports the end of a connection whose beginning was reported.
func (c *connection) reportClosed() {
	opened := c.opened.Load()
	if opened == nil {
		return
	}
	e := Event{
		Kind: EventClosed, Issuer: c.trail().Issuer, Code: websocket.StatusCode(cmp.Or(c.gate.Code(), int(websocket.StatusAbnormalClosure))),
		Duration: time.Since(*opened),
	}
	if cause := context.Cause(c.ctx); cause != context.Canceled {
		e.Err = cause
	}
	if c.auth.observe != nil {
		c.auth.observe(c.ctx, e)
	}
	cause := "none"
	if e.Err != nil {
		cause = e.Err.Error()
	}
	c.auth.log.LogAttrs(c.ctx, slog.LevelInfo, "wsauth: closed", slog.String("issuer", e.Issuer), slog.Int("code", int(e.Code)),
		slog.String("cause", cause), slog.Duration("duration", e.Duration))
}
