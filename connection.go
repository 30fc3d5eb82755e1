package wsauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
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
	lifetime deadline // zero: no bound
	over     bool     // the end has come; no renewal comes after it
	late     bool     // it is that of the time; it stays so, whatever a clock says later
	revoked  bool     // it is that of Revoke
	closing  bool     // whoever comes first closes, and the others wait for it
	why      closeError
	renewals time.Time
	proposed map[*Claims]bool // by renewals under way; true: Revoke has found them
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
	defer c.release()
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
	return c.ranOutLocked(time.Now())
}

func (c *connection) ranOutLocked(now time.Time) bool {
	c.late = c.late || c.end.left(now) <= 0
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
// next one wait for it.
func (c *connection) gone() {
	c.ws.Reader(context.Background())
	c.cancel(nil)
}

type outcome int

const (
	prolonged outcome = iota
	tooLate           // the end has come
	withdrawn         // Revoke has found the new claims
	overtaken         // the claims are no longer what they were
)

// prolong gives the connection new claims in place of the current ones, and a new end, unless its end has come: of the
// two, exactly one happens.
func (c *connection) prolong(current, claims *Claims, now time.Time) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ranOutLocked(now) || c.over:
		return tooLate
	case c.proposed[claims]:
		return withdrawn
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
		c.closeRefused(ctx, err)
		return false
	}
	c.ws.SetReadLimit(32 << 10) // as coder/websocket begins
	verified, err := c.auth.verifyToken(ctx, credential.Credential{Token: message})
	if err != nil {
		c.closeRefused(ctx, err)
		return false
	}
	claims := claimsOf(&verified.Claims)
	if err := c.seat.sit(claims); err != nil {
		c.closeRefused(ctx, verified.On(err))
		return false
	}
	if c.prolong(nil, claims, time.Now()) != prolonged {
		late := refusal.New(ErrNoToken, errors.New("the first message came too late"))
		c.auth.reportRefusal(ctx, verified.On(late))
		c.close(c.ending())
		return false
	}
	c.auth.reportVerified(ctx, EventAuthenticated, verified.Trail)
	return true
}

func (c *connection) readFirst(ctx context.Context) (string, error) {
	kind, r, err := c.ws.Reader(ctx)
	if err != nil {
		return "", refusal.New(ErrNoToken, err)
	}
	message, err := io.ReadAll(io.LimitReader(r, maxFirstMessage+1))
	if err != nil {
		return "", refusal.New(ErrNoToken, err)
	}
	if kind != websocket.MessageText || len(message) > maxFirstMessage {
		return "", refusal.New(ErrMalformedRequest, errors.New("the first message is not text, or too long"))
	}
	if !bytes.HasPrefix(bytes.TrimLeft(message, " \t\r\n"), []byte("{")) {
		return string(message), nil
	}
	token, err := jose.StringMember(message, "access_token")
	if err != nil {
		return "", refusal.New(ErrMalformedRequest, fmt.Errorf("the first message: %w", err))
	}
	return token, nil
}

// closeRefused closes a connection for the reason that an HTTP response would have given.
func (c *connection) closeRefused(ctx context.Context, err error) {
	c.auth.reportRefusal(ctx, err)
	response := refusal.ResponseTo(err)
	c.close(closeFor(websocket.StatusCode(response.CloseCode), response.Reason, err))
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
	case c.gate.IsClosed(): // nobody is there to be told
	case begun && c.gate.Gone():
		c.drop()
	case begun:
		go c.sayWhy()
	}
	// Not for all that coder/websocket's Close waits for: up to 5 s for a callback for pings, and 15 s for a CloseRead that
	// is closing by itself.
	<-c.gate.Closed()
}

// close shuts the gate, says why to the peer and has the connection closed within the grace. The gate's deadline bounds
// that: Close alone waits 5 s for a silent peer and without end for one that announces a frame and stalls. The context is
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
	if c.revoked { // which is perhaps why serve has returned, and closes
		why = revoked
	}
	c.closing, c.over, c.why = true, true, why
	return true
}

func (c *connection) sayWhy() {
	if c.gate.Gone() {
		c.drop()
		c.release()
		return
	}
	c.gate.Shut(c.why, time.Now().Add(c.grace))
	cut := time.AfterFunc(c.grace+graceForCallbacks, func() { c.gate.Close() })
	defer cut.Stop()
	c.ws.Close(c.why.Code, c.why.Reason)
}

// drop closes a connection whose peer has gone: to find that out once more costs as much as the answer to the handshake.
func (c *connection) drop() {
	c.gate.Shut(c.why, time.Now().Add(c.grace))
	c.gate.Close()
}

// release has coder/websocket give back what it holds of a connection that was dropped below it. It may wait for 15 s,
// for a CloseRead that is closing by itself, so nothing else may wait for it.
func (c *connection) release() {
	if c.gate.Gone() {
		c.ws.CloseNow()
	}
}

// graceForCallbacks is when the connection is cut where its deadline, at the grace, does not: nobody reads from it.
const graceForCallbacks = 200 * time.Millisecond

// revoke ends the connection, and reports so, if its claims match, and the renewals under way whose claims do.
func (c *connection) revoke(match func(*Claims) bool) bool {
	c.mu.Lock()
	current, proposed := c.claims.Load(), slices.Collect(maps.Keys(c.proposed))
	c.mu.Unlock()
	found := current != nil && match(current)
	for _, claims := range proposed {
		if match(claims) && !c.withdraw(claims) {
			found = true
		}
	}
	if found {
		c.shutOut()
	}
	return found
}

// withdraw keeps claims from becoming the connection's; false: they are.
func (c *connection) withdraw(claims *Claims) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.proposed[claims]; ok {
		c.proposed[claims] = true
	}
	return c.claims.Load() != claims
}

// shutOut shuts the gate at once and closes in its own time.
func (c *connection) shutOut() {
	c.mu.Lock()
	c.over, c.revoked = true, true
	c.mu.Unlock()
	c.gate.Shut(revoked, time.Now().Add(c.grace))
	go c.close(revoked)
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

// check asks every Require that admitted the connection. Their context has the claims that are in question, as at the
// handshake.
func (c *connection) check(ctx context.Context, claims *Claims) error {
	ctx = &identity{Context: ctx, auth: c.auth, claims: claims}
	for _, check := range c.checks {
		if err := check(ctx, claims); err != nil {
			return refusal.Checked(err)
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
		c.closeRefused(ctx, err)
	}
	return err == nil
}
