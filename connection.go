package wsauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/jose"
)

// A connection is a WebSocket whose life is tied to that of a token.
type connection struct {
	auth   *Authenticator
	ws     *websocket.Conn
	gate   *gate.Conn
	grace  time.Duration
	checks []func(context.Context, *Claims) error // of every Require that admitted it
	seen   uint32                                 // how often Revoke was called before they did
	seat   seat
	cancel context.CancelCauseFunc
	claims atomic.Pointer[Claims] // nil until the first message has brought them

	ended  bool      // serve has returned, or never ran; otherwise it panics
	opened time.Time // zero: serve does not run, or nobody observes

	mu       sync.Mutex // of all that follows: it decides between the end and a renewal
	timer    *time.Timer
	end      deadline
	lifetime deadline    // zero: no bound
	over     bool        // the end has come; no renewal comes after it
	late     bool        // it is that of the time; it stays so, whatever a clock says later
	shutFor  *closeError // by shutOut: whoever closes, this is why
	closing  bool        // whoever comes first closes, and the others wait for it
	why      closeError
	renewals time.Time
}

// A timer runs on the monotonic clock, which stands still while a machine sleeps. So the wall clock is looked at
// again this often.
const clockCheck = time.Minute

// A deadline is an instant on both clocks: the monotonic one stands still in a suspend, and the wall clock can be set
// back. Whichever comes first counts.
type deadline struct{ monotonic, wall time.Time }

func deadlineIn(d time.Duration, now time.Time) deadline {
	end := now.Add(d)
	return deadline{monotonic: end, wall: end.Round(0)}
}

func (d deadline) left(now time.Time) time.Duration {
	return min(d.monotonic.Sub(now), d.wall.Sub(now.Round(0)))
}

// run serves the connection to its end.
func (c *connection) run(ctx context.Context, u *upgrader) {
	defer c.seat.leave()
	defer c.auth.live.remove(c)
	defer c.finish(ctx)
	switch {
	case !c.start(u.opts):
		c.close(shutDown)
	case c.ranOut(): // already: the handshake took longer than the token had to live
		c.close(c.ending())
	case !c.isStillAdmitted(ctx):
	case c.claims.Load() != nil || c.awaitToken(ctx):
		c.observeOpened(ctx)
		u.serve(ctx, c.ws)
	}
	c.ended = true
}

// start sets the timer; false: the Authenticator is being shut down.
func (c *connection) start(opts UpgradeOptions) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if opts.MaxLifetime > 0 {
		c.lifetime = deadlineIn(opts.MaxLifetime, now)
	}
	life := opts.FirstMessage
	if claims := c.claims.Load(); claims != nil {
		life = c.lifeOf(claims, now)
	}
	c.end = deadlineIn(life, now)
	c.timer = time.AfterFunc(min(life, clockCheck), c.tick)
	c.gate.Guard(c.guard, c.gone, c.grace)
	return c.auth.live.add(c)
}

// lifeOf is how long a token lets the connection live from now on.
func (c *connection) lifeOf(claims *Claims, now time.Time) time.Duration {
	life := c.auth.end(claims).Sub(now)
	if c.lifetime != (deadline{}) {
		life = min(life, c.lifetime.left(now))
	}
	return life
}

// ranOut reports whether the connection's time is over. No renewal comes after that.
func (c *connection) ranOut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = c.late || c.end.left(time.Now()) <= 0
	c.over = c.over || c.late
	return c.late
}

// ending is how a connection ends whose time is over.
func (c *connection) ending() closeError {
	if c.claims.Load() == nil {
		return closeFor(StatusTimeout, "token_required", ErrNoToken)
	}
	return closeFor(StatusUnauthorized, "token expired", ErrExpired)
}

// tick ends the connection if it is time, or waits on.
func (c *connection) tick() {
	if c.ranOut() {
		c.close(c.ending())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.timer.Reset(min(c.end.left(time.Now()), clockCheck)) // at once, where it is past by now
	}
}

// guard shuts the gate if it is time, where the timer may come late.
func (c *connection) guard() {
	if c.ranOut() {
		c.gate.Shut(c.ending(), time.Now().Add(c.grace))
	}
}

// gone cancels the context of a connection that has broken, for whoever waits for its end without reading. First the
// Read that found out must be back with its error, which would otherwise be the context's: coder/websocket has the
// next one wait for it. Once serve has returned, it releases what coder/websocket holds.
func (c *connection) gone() {
	c.ws.Reader(context.Background())
	c.cancel(nil)
	<-c.gate.Closed()
	c.ws.CloseNow()
}

type outcome int

const (
	prolonged outcome = iota
	tooLate           // the end has come
	overtaken         // the claims are no longer what they were
)

// prolong gives the connection new claims in place of the current ones, and a new end, unless its end has come: of the
// two, exactly one happens.
func (c *connection) prolong(current, claims *Claims, now time.Time) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = c.late || c.end.left(now) <= 0
	c.over = c.over || c.late
	switch {
	case c.over:
		return tooLate
	case c.claims.Load() != current:
		return overtaken
	}
	life := c.lifeOf(claims, now)
	c.end = deadlineIn(life, now)
	c.claims.Store(claims)
	c.timer.Reset(min(life, clockCheck))
	return prolonged
}

// maxFirstMessage is a token with the JSON around it.
const maxFirstMessage = jose.MaxLength + 256

// awaitToken reads the first message and takes the token from it; false: the connection is closed.
func (c *connection) awaitToken(ctx context.Context) bool {
	c.ws.SetReadLimit(-1) // or the library would close with a code of its own
	message, err := c.readFirst(ctx)
	if err != nil {
		c.refuse(ctx, err)
		return false
	}
	c.ws.SetReadLimit(32 << 10) // as coder/websocket begins
	var trail trail
	claims, err := c.auth.verify(ctx, message, &trail)
	if err == nil {
		err = c.seat.sit(claims)
	}
	if err != nil {
		c.refuse(ctx, trail.on(err))
		return false
	}
	if c.prolong(nil, claims, time.Now()) != prolonged {
		c.auth.logRefusal(ctx, trail.on(refuse(ErrNoToken, errors.New("the first message came too late"))))
		c.close(c.ending())
		return false
	}
	c.auth.logSuccess(ctx, EventAuthenticated, trail)
	return true
}

func (c *connection) readFirst(ctx context.Context) (string, error) {
	kind, r, err := c.ws.Reader(ctx)
	if err != nil {
		return "", refuse(ErrNoToken, err)
	}
	message, err := io.ReadAll(io.LimitReader(r, maxFirstMessage+1))
	if err != nil {
		return "", refuse(ErrNoToken, err)
	}
	if kind != websocket.MessageText || len(message) > maxFirstMessage {
		return "", refuse(ErrMalformedRequest, errors.New("the first message is not text, or too long"))
	}
	if !bytes.HasPrefix(bytes.TrimLeft(message, " \t\r\n"), []byte("{")) {
		return string(message), nil
	}
	token, err := jose.StringMember(message, "access_token")
	if err != nil {
		return "", refuse(ErrMalformedRequest, fmt.Errorf("the first message: %w", err))
	}
	return token, nil
}

// refuse closes a connection for the reason that an HTTP response would have given.
func (c *connection) refuse(ctx context.Context, err error) {
	c.auth.logRefusal(ctx, err)
	answer := answerTo(err)
	c.close(closeFor(answer.close, answer.reason, err))
}

// finish ends the connection when serve has returned or panics.
func (c *connection) finish(ctx context.Context) {
	defer c.observeClosed(ctx)
	c.timer.Stop()
	why := closeFor(websocket.StatusNormalClosure, "", context.Canceled)
	switch {
	case !c.ended:
		why.Code = websocket.StatusInternalError
	case c.ranOut(): // which is perhaps why serve has returned, before the timer came
		why = c.ending()
	}
	switch begun := c.beginClose(why); {
	case begun && c.gate.Gone():
		c.sayWhy()
	case begun:
		go c.sayWhy()
	}
	// Not all that coder/websocket's Close waits for: up to 5 s for a callback for pings, and 15 s for a CloseRead that is
	// closing by itself.
	<-c.gate.Closed()
}

// close shuts the gate, says why to the peer and waits at most for the grace. The gate's deadline bounds all of it:
// Close alone waits 5 s for a silent peer and without end for one that announces a frame and stalls. The context is
// cancelled when the connection is closed, not before: that would drop it without a close frame.
func (c *connection) close(why closeError) {
	if c.beginClose(why) {
		c.sayWhy()
	}
}

// beginClose reports whether nobody has begun before.
func (c *connection) beginClose(why closeError) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	if c.shutFor != nil { // which is perhaps why serve has returned, and closes
		why = *c.shutFor
	}
	c.closing, c.over, c.why = true, true, why
	return true
}

func (c *connection) sayWhy() {
	c.gate.Shut(c.why, time.Now().Add(c.grace))
	if c.gate.Gone() { // nobody is there; to find that out once more costs as much as the answer to the handshake
		c.gate.Close()
		return
	}
	cut := time.AfterFunc(c.grace+graceForCallbacks, func() { c.gate.Close() })
	defer cut.Stop()
	c.ws.Close(c.why.Code, c.why.Reason)
}

// graceForCallbacks is when the connection is cut where its deadline, at the grace, does not: nobody reads from it.
const graceForCallbacks = 200 * time.Millisecond

// shutOut shuts the gate at once and closes in its own time.
func (c *connection) shutOut(why closeError) {
	c.mu.Lock()
	c.over = true
	if c.shutFor == nil {
		c.shutFor = &why
	}
	c.mu.Unlock()
	c.gate.Shut(why, time.Now().Add(c.grace))
	go c.close(why)
}

// A closeError is what Read returns once this side has closed: errors.Is finds the cause in it, and
// websocket.CloseStatus the code.
type closeError struct {
	websocket.CloseError
	cause error
}

func closeFor(code websocket.StatusCode, reason string, cause error) closeError {
	return closeError{websocket.CloseError{Code: code, Reason: reason}, cause}
}

var (
	revoked  = closeFor(StatusUnauthorized, "token revoked", ErrRevoked)
	shutDown = closeFor(websocket.StatusGoingAway, "server shutting down", http.ErrServerClosed)
)

func (e closeError) Error() string   { return e.cause.Error() }
func (e closeError) Unwrap() []error { return []error{e.CloseError, e.cause} }

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
// An error leaves the connection as it was, but where [Authenticator.Revoke] was called meanwhile: then the new token is
// judged once more, and if that fails, the connection is closed. The error is [ErrExpired] if the connection has ended;
// of an end and a renewal that meet, exactly one happens. It is [ErrTooMany] if there were too many attempts, good or
// bad: a connection has five, and regains one in a second. It is [ErrForbidden] if ctx belongs to no connection.
func Renew(ctx context.Context, token string) (*Claims, error) {
	id := identityOf(ctx)
	if id == nil || id.conn == nil {
		return nil, refuse(ErrForbidden, errors.New("Renew without a connection in the context"))
	}
	var trail trail
	claims, err := id.conn.renew(ctx, token, &trail)
	if err != nil {
		err = trail.on(err)
		id.auth.logRefusal(ctx, err)
		return nil, err
	}
	id.auth.logSuccess(ctx, EventRenewed, trail)
	return claims, nil
}

func (c *connection) renew(ctx context.Context, token string, trail *trail) (*Claims, error) {
	if c.hasEnded() {
		return nil, c.tooLate()
	}
	if !c.mayRenew(time.Now()) {
		return nil, refuse(ErrTooMany, errors.New("too many renewals"))
	}
	revocations := c.auth.live.revocations.Load()
	claims, err := c.auth.verify(ctx, token, trail)
	if err != nil {
		return nil, err
	}
	for done := overtaken; done == overtaken; { // by another renewal, perhaps with a later token
		current := c.claims.Load()
		if err := current.samePerson(claims); err != nil {
			return nil, refuse(ErrInvalidToken, err)
		}
		if err := c.check(ctx, claims); err != nil {
			return nil, err
		}
		if done = c.prolong(current, claims, time.Now()); done == tooLate {
			return nil, c.tooLate()
		}
	}
	if c.auth.live.revocations.Load() == revocations {
		return claims, nil
	}
	// Revoke was called meanwhile, and may have looked at the claims before these. From now on it looks at these, so that
	// it is enough to ask once more; to ask before they count would not end while others are revoked.
	if _, err = c.auth.verify(ctx, token, trail); err == nil {
		err = c.check(ctx, claims)
	}
	if err != nil {
		answer := answerTo(err)
		c.shutOut(closeFor(answer.close, answer.reason, err))
		return nil, err
	}
	return claims, nil
}

// hasEnded reports whether it is too late for a renewal.
func (c *connection) hasEnded() bool {
	late := c.ranOut()
	c.mu.Lock()
	defer c.mu.Unlock()
	return late || c.over || c.gate.Gone()
}

// tooLate is the refusal of a renewal that comes after the end.
func (c *connection) tooLate() error {
	if c.ranOut() {
		go c.close(c.ending()) // the timer may be late; a callback for pings must not wait for the peer
	}
	return refuse(ErrExpired, errors.New("the connection has ended"))
}

// check asks every Require that admitted the connection. Their context has the claims that are in question, as at the
// handshake.
func (c *connection) check(ctx context.Context, claims *Claims) error {
	ctx = &identity{Context: ctx, auth: c.auth, claims: claims}
	for _, check := range c.checks {
		if err := check(ctx, claims); err != nil {
			return refuseChecked(err)
		}
	}
	return nil
}

// isStillAdmitted asks them again where Revoke was called since, which did not know the connection yet; false: it is
// closed.
func (c *connection) isStillAdmitted(ctx context.Context) bool {
	if c.seen == c.auth.live.revocations.Load() {
		return true
	}
	err := c.check(ctx, c.claims.Load())
	if err != nil {
		c.refuse(ctx, err)
	}
	return err == nil
}

// current returns the claims. A renewal that is under way comes before it, or sees that Revoke was called.
func (c *connection) current() *Claims {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.claims.Load()
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
