package wsauth

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/refusal"
)

// An Event is what [Options.Observe] is told of. It has no token, and of its claims nothing but the issuer.
type Event struct {
	Kind EventKind

	// Issuer is the name of the issuer in Options; empty: it is not known, or has none.
	Issuer string

	// Source is where the token was: header, query, cookie, subprotocol, func or proxy; empty: nowhere, or given to Verify
	// or Renew, or in a first message.
	Source string

	// Err is why a request or token was refused, or a fetch failed: one of this package's Err values to errors.Is, but
	// for fetches. Its text may have in it what a check of [Require] has put there. Where a connection was closed it is
	// what its context was cancelled with; nil: serve has returned, or panicked (then Code is 1011).
	Err error

	// Reason is a word for Err, of those that [UpgradeOptions].CloseOnRefusal sends. Only EventRefused has one.
	Reason string

	// Code is that of the close frame which was sent to the peer, be it by serve, and 1006 if there was none: the peer
	// had gone without a word, or could not be told. A client that closes first has chosen it: it is no good label for a
	// metric. Only EventClosed has one.
	Code websocket.StatusCode

	// Duration is how long a connection was open, or how long a fetch took.
	Duration time.Duration

	// Keys is how many usable keys were fetched.
	Keys int
}

// An EventKind says what happened.
type EventKind string

// What [Options.Observe] is told of.
const (
	EventAuthenticated EventKind = "authenticated" // a token was verified: of a request, by Verify, or of a first message
	EventRefused       EventKind = "refused"       // a request, a token or a renewal
	EventOpened        EventKind = "opened"        // serve begins
	EventRenewed       EventKind = "renewed"
	EventClosed        EventKind = "closed"       // after EventOpened, when serve has returned and the connection is closed
	EventKeysFetched   EventKind = "keys_fetched" // of an issuer with JWKS
	EventKeysFailed    EventKind = "keys_failed"
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
	c.opened = time.Now()
	if c.auth.observe != nil {
		c.auth.observe(c.ctx, Event{Kind: EventOpened, Issuer: c.trail().Issuer})
	}
}

// reportClosed tells of the end of a connection whose beginning was told.
func (c *connection) reportClosed() {
	if c.opened.IsZero() {
		return
	}
	e := Event{
		Kind: EventClosed, Issuer: c.trail().Issuer, Code: websocket.StatusCode(cmp.Or(c.gate.Code(), int(websocket.StatusAbnormalClosure))),
		Duration: time.Since(c.opened),
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
