package life

import (
	"errors"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// A renewal costs a signature check. So a connection has a burst of renewals, and one more in each interval.
const (
	renewalBurst    = 5
	renewalInterval = time.Second
)

// A renewal is in progress. Disconnect finds its claims before they become the connection's; if they are not known yet,
// they are matched as soon as they are.
type renewal[C any] struct {
	claims  *C // nil: not verified yet
	marks   revocation.Marks
	matches []func(*C) bool
	refused bool
}

// Renew gives the connection the claims that verify returns, unless the connection has ended: exactly one of the two
// takes effect. admit is called with the current claims (nil before the first token) and the new ones, and again if
// another renewal came first. An error is a refusal, or what verify or admit returned.
func (c *Conn[C]) Renew(verify func() (*C, error), admit func(current, next *C) error) (*C, error) {
	r, err := c.beginRenewal(time.Now())
	if err != nil {
		return nil, err
	}
	defer c.endRenewal(r)
	next, err := verify()
	if err != nil {
		return nil, err
	}
	marks, err := c.rule.Registry.marksOf(next)
	if err != nil {
		return nil, err
	}
	for _, match := range c.propose(r, next, marks) {
		if match(next) {
			return nil, errDisconnected()
		}
	}
	if err := c.rule.Registry.CheckRevoked(next); err != nil {
		return nil, err
	}
	for {
		current := c.claims.Load()
		if err := admit(current, next); err != nil {
			return nil, err
		}
		if current == nil {
			if err := c.rule.Seats.sit(c, next); err != nil {
				return nil, err
			}
		}
		if done, err := c.adopt(r, current, time.Now()); done || err != nil {
			return next, err
		}
		// Another renewal came first, perhaps with a later token.
	}
}

func errEnded() error {
	return refusal.New(refusal.ErrExpired, errors.New("the connection has ended"))
}

func errDisconnected() error {
	return refusal.New(refusal.ErrRevoked, errors.New("the new claims were disconnected or revoked"))
}

func (c *Conn[C]) beginRenewal(now time.Time) (*renewal[C], error) {
	c.ExpireIfDue()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		return nil, errEnded()
	}
	if !c.mayRenew(now) {
		return nil, refusal.New(refusal.ErrTooMany, errors.New("too many renewals"))
	}
	r := new(renewal[C])
	if c.renewals == nil {
		c.renewals = map[*renewal[C]]struct{}{}
	}
	c.renewals[r] = struct{}{}
	return r, nil
}

// mayRenew counts an attempt, unless there were too many.
func (c *Conn[C]) mayRenew(now time.Time) bool {
	if c.budget.Sub(now) > (renewalBurst-1)*renewalInterval {
		return false
	}
	if c.budget.Before(now) {
		c.budget = now
	}
	c.budget = c.budget.Add(renewalInterval)
	return true
}

// propose shows the claims to Disconnect and Revoke, and returns the matches that Disconnect was called with before the
// claims were known.
func (c *Conn[C]) propose(r *renewal[C], claims *C, marks revocation.Marks) []func(*C) bool {
	g := c.rule.Registry
	c.mu.Lock()
	defer c.mu.Unlock()
	r.claims, r.marks = claims, marks
	if g.revoked != nil {
		g.mu.Lock()
		g.renewing[r] = c
		g.mu.Unlock()
	}
	return r.matches
}

func (c *Conn[C]) endRenewal(r *renewal[C]) {
	g := c.rule.Registry
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.renewals, r)
	if g.revoked != nil {
		g.mu.Lock()
		delete(g.renewing, r)
		g.mu.Unlock()
	}
}

// adopt makes the claims of a renewal the connection's. It returns false without an error if the current claims have
// changed.
func (c *Conn[C]) adopt(r *renewal[C], current *C, now time.Time) (bool, error) {
	c.ExpireIfDue()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.end != nil:
		return false, errEnded()
	case r.refused:
		return false, errDisconnected()
	case c.claims.Load() != current:
		return false, nil
	}
	c.rule.Registry.schedule.set(c, now, c.prolongLocked(r.claims, now))
	c.claims.Store(r.claims)
	c.rule.Registry.mark(c, r.marks)
	return true, nil
}

// disconnect ends the connection, and returns true, if its claims match. It refuses renewals in progress whose claims
// match. It does not touch a connection that is being opened: the goroutine that opens it sees that the epoch has
// changed.
func (c *Conn[C]) disconnect(match func(*C) bool, e gate.Ending, wires *finisher) bool {
	c.mu.Lock()
	if !c.admitted {
		c.mu.Unlock()
		return false
	}
	var proposed []*renewal[C]
	for r := range c.renewals {
		if r.claims == nil {
			r.matches = append(r.matches, match)
		} else {
			proposed = append(proposed, r)
		}
	}
	c.mu.Unlock()
	for _, r := range proposed {
		if match(r.claims) {
			c.refuse(r)
		}
	}
	for {
		current := c.claims.Load()
		if current == nil || !match(current) {
			return false
		}
		if same, first := c.endIf(e, wires, func() bool { return c.claims.Load() == current }); same {
			return first
		}
	}
}

// refuse keeps the claims of a renewal from becoming the connection's. It returns false if they already are.
func (c *Conn[C]) refuse(r *renewal[C]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.refused = true
	return c.claims.Load() != r.claims
}
