// Package life ties the life of a connection to the life of a token: one explicit end, at a time or before it, and
// renewals. If the end and a renewal coincide, exactly one takes effect. The package knows the live connections of an
// Authenticator, in order to end them. It is generic in the claims, and knows the gate but no WebSocket library.
package life

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// A Rule is what the connections of one handler have in common. The durations must not be negative; zero means none.
type Rule[C any] struct {
	Registry *Registry[C]
	Seats    *Seats[C]

	MaxLifetime  time.Duration
	Grace        time.Duration
	FirstMessage time.Duration
	Ping         time.Duration

	Expiry  func(*C) time.Time // when a token with these claims expires
	Expired gate.Ending        // when the token has expired
	NoToken gate.Ending        // when no token has come in time
	Silent  gate.Ending        // when the peer does not answer a ping
}

// A Wire is what a connection ends: the gate of a WebSocket, or a [Stream].
type Wire interface {
	Shut(gate.Ending) bool // never blocks
	Finish()               // returns when all is closed
}

// A Conn is a connection, or a response that goes on, whose life is tied to the life of a token.
type Conn[C any] struct {
	rule    *Rule[C]
	claims  atomic.Pointer[C] // nil until the first token has come
	expiry  atomic.Pointer[deadline]
	entered time.Time
	expires atomic.Int64 // expiry as nanoseconds after entered, on the monotonic clock
	lookAt  atomic.Int64 // when Check next looks at the wall clock, in the same unit
	seat    seat

	mu        sync.Mutex   // guards what follows up to forgotten, and decides between the end and a renewal
	end       *gate.Ending // nil while the connection lives
	wire      Wire         // nil before the handshake is answered
	shut      bool         // the wire was told
	lifetime  deadline     // zero: no bound
	renewals  map[*renewal[C]]struct{}
	budget    time.Time // see mayRenew
	pinged    time.Time // zero: no ping waits for its answer
	admitted  bool
	forgotten bool

	due  time.Duration // after schedule.start; schedule.mu guards it and slot
	slot int           // in schedule.waiting, counted from 1; 0: not there

	place int // in Registry.live, and guarded by Registry.mu
	// The names in the current token, and the neighbours in the lists of the index. Registry.mu guards them, too.
	marks revocation.Marks
	links [len(named)]link[C]
}

// Enter counts a connection before its client can consider it open: from here on Shutdown waits for it. The claims are
// nil if they come with a first message. Only a connection that is seated counts for the limits of the handler. An
// error is a refusal.
func (r *Rule[C]) Enter(claims *C, seated bool) (*Conn[C], error) {
	now := time.Now()
	c := &Conn[C]{rule: r, entered: now}
	c.claims.Store(claims)
	if seated {
		if err := r.Seats.take(c, claims); err != nil {
			return nil, err
		}
	}
	if r.MaxLifetime > 0 {
		c.lifetime = deadlineIn(r.MaxLifetime, now)
	}
	if err := c.enter(claims, now); err != nil {
		return nil, err
	}
	if err := r.Registry.CheckRevoked(claims); err != nil {
		c.Forget()
		return nil, err
	}
	return c, nil
}

func (c *Conn[C]) enter(claims *C, now time.Time) error {
	marks, err := c.rule.Registry.marksOf(claims)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !c.rule.Registry.add(c) {
		err = refusal.New(refusal.ErrUnavailable, ErrShutDown)
	}
	if err != nil {
		c.rule.Seats.leave(c)
		return err
	}
	c.rule.Registry.mark(c, marks)
	c.rule.Registry.schedule.set(c, now, c.prolongLocked(claims, now))
	return nil
}

// Attach gives the connection the wire to end it with. If the connection has ended in the meantime, the wire is shut at
// once.
func (c *Conn[C]) Attach(wire Wire) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire, c.shut = wire, c.end != nil
	if c.shut {
		wire.Shut(*c.end)
		go wire.Finish()
	}
}

// Open is Attach for a WebSocket whose handshake is answered.
func (c *Conn[C]) Open(wire Wire) {
	c.Attach(wire)
	if _, ended := c.Ended(); !ended {
		c.rule.Seats.open(c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil && (c.claims.Load() == nil || c.rule.Ping > 0) {
		now := time.Now() // the time for the first message begins
		c.rule.Registry.schedule.set(c, now, c.prolongLocked(c.claims.Load(), now))
	}
}

// Admit lets Disconnect find the connection from here on. It returns false if the connection has already ended and must
// not be served.
func (c *Conn[C]) Admit() bool {
	c.ExpireIfDue()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admitted = c.end == nil
	return c.admitted
}

// Forget stops counting a connection that is closed or was never opened.
func (c *Conn[C]) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten {
		return
	}
	c.forgotten = true
	c.rule.Registry.schedule.drop(c)
	c.endLocked(gate.Ending{})
	c.rule.Seats.leave(c)
	c.rule.Registry.remove(c)
}

// Claims returns the claims of the newest token, or nil before the first one.
func (c *Conn[C]) Claims() *C { return c.claims.Load() }

// Ended returns why the connection has ended; false means that it has not.
func (c *Conn[C]) Ended() (gate.Ending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		return gate.Ending{}, false
	}
	return *c.end, true
}

// End ends the connection, unless it has already ended: the first reason stays. It does not wait.
func (c *Conn[C]) End(e gate.Ending) bool {
	first, wire := c.decide(e)
	if first && wire != nil {
		go wire.Finish()
	}
	return first
}

// endIf is End for one of many connections, if holds returns true. holds is called with c.mu held, so nothing can
// change between its answer and the end.
func (c *Conn[C]) endIf(e gate.Ending, wires *finisher, holds func() bool) (held, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !holds() {
		return false, false
	}
	first, wire := c.decideLocked(e)
	if first && wire != nil {
		wires.finish(wire)
	}
	return true, first
}

// EndAndWait is End, but returns only when everything is closed.
func (c *Conn[C]) EndAndWait(e gate.Ending) {
	if _, wire := c.decide(e); wire != nil {
		wire.Finish()
	}
}

// decide is the one place where a connection ends.
func (c *Conn[C]) decide(e gate.Ending) (first bool, wire Wire) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.decideLocked(e)
}

func (c *Conn[C]) decideLocked(e gate.Ending) (first bool, wire Wire) {
	first = c.endLocked(e)
	if c.wire == nil || c.forgotten { // net/http may serve another request on it by now
		return first, nil
	}
	if !c.shut {
		c.shut = true
		c.wire.Shut(*c.end)
	}
	return first, c.wire
}

func (c *Conn[C]) endLocked(e gate.Ending) bool {
	if c.end != nil {
		return false
	}
	if e.Err == nil {
		e.Err = context.Canceled
	}
	c.end = &e
	return true
}

// Left is called by the gate when the peer or the library has begun to close, or when the connection is broken. No
// renewal succeeds after that. The peer or the library then has the grace to finish closing.
func (c *Conn[C]) Left(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endLocked(gate.Ending{Err: err}) || c.forgotten {
		return
	}
	wait := c.rule.Grace
	if errors.Is(err, gate.ErrBroken) {
		wait = 0
	}
	c.rule.Registry.schedule.set(c, time.Now(), wait)
}

// Check ends the connection if it is due, in case the timer is late. It is called whenever data passes, so it looks at
// the monotonic clock alone, which takes half the time of looking at both, and once a second at both.
func (c *Conn[C]) Check() {
	alive := time.Since(c.entered)
	if int64(alive) >= c.expires.Load() || int64(alive) >= c.lookAt.Load() {
		c.ExpireIfDue()
		c.lookAt.Store(int64(alive + time.Second))
	}
}

// ExpireIfDue ends the connection if it is due by either clock. It looks at the clocks before it calls expire, which
// needs more stack than a Read leaves.
func (c *Conn[C]) ExpireIfDue() {
	if c.expiry.Load().left(time.Now()) > 0 {
		return
	}
	if first, wire := c.expire(); first && wire != nil {
		go wire.Finish()
	}
}

// expire decides that the connection ends, if it is due. It looks at the clocks with the lock held, so that a renewal
// that came first counts.
func (c *Conn[C]) expire() (first bool, wire Wire) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry.Load().left(time.Now()) > 0 {
		return false, nil
	}
	return c.decideLocked(c.atExpiry())
}

// shutInTime shuts the connection if it is due. If not, it is scheduled for its expiry, which the tick that follows may
// be too late for: it may wait behind others.
func (c *Conn[C]) shutInTime() {
	c.expire()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		now := time.Now()
		c.rule.Registry.schedule.set(c, now, c.expiry.Load().left(now))
	}
}

// atExpiry returns how a connection ends when it is due.
func (c *Conn[C]) atExpiry() gate.Ending {
	if c.claims.Load() == nil {
		return c.rule.NoToken
	}
	return c.rule.Expired
}

// tick is called when the connection is due in the schedule. It ends the connection, or schedules it again.
func (c *Conn[C]) tick() {
	c.expire()
	if _, ended := c.Ended(); ended { // perhaps by the peer or the library
		if !c.rule.Registry.schedule.has(c) { // or they began to close while c was in the queue, and have the grace
			c.EndAndWait(gate.Ending{})
		}
		return
	}
	now := time.Now()
	next, silent := c.ping(now)
	if silent {
		c.EndAndWait(c.rule.Silent)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		now = time.Now()
		c.rule.Registry.schedule.set(c, now, min(c.expiry.Load().left(now), next))
	}
}

// prolongLocked sets when the connection expires, and returns when it must be looked at next.
func (c *Conn[C]) prolongLocked(claims *C, now time.Time) time.Duration {
	left := c.rule.FirstMessage
	if claims != nil {
		left = c.rule.Expiry(claims).Sub(now)
	}
	if c.lifetime != (deadline{}) {
		left = min(left, c.lifetime.left(now))
	}
	expiry := deadlineIn(left, now)
	c.expiry.Store(&expiry)
	c.expires.Store(int64(expiry.monotonic.Sub(c.entered)))
	if c.rule.Ping > 0 {
		left = min(left, c.rule.Ping)
	}
	return left
}

// A deadline is an instant on both clocks, since the monotonic clock stands still while the machine sleeps, and the
// wall clock can be set back. The earlier one counts.
type deadline struct{ monotonic, wall time.Time }

func deadlineIn(d time.Duration, now time.Time) deadline {
	end := now.Add(d)
	return deadline{monotonic: end, wall: end.Round(0)}
}

func (d *deadline) left(now time.Time) time.Duration {
	return min(d.monotonic.Sub(now), d.wall.Sub(now.Round(0)))
}

// DelayTimer schedules the connection anew, in d, as if the timer were late on a busy machine, for tests.
func (c *Conn[C]) DelayTimer(d time.Duration) { c.rule.Registry.schedule.set(c, time.Now(), d) }
