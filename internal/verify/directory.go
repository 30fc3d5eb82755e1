package verify

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

// Find looks an issuer up by the iss of a token that is not verified yet. before is what it has found the last time, or
// nil. No such issuer is refusal.ErrInvalidToken; another error is an outage.
type Find func(ctx context.Context, iss string, before *Issuer) (*Issuer, error)

// What anybody who sends tokens can cause is bounded: what is kept, and how often Find is called for what is not.
const (
	maxFound   = 1024
	maxUnknown = 1024
	maxLookups = 64   // under way at one time
	maxName    = 2048 // bytes of an iss that is looked up

	lookupBurst    = 100 // of issuers that are not known
	lookupInterval = 50 * time.Millisecond

	lookupTimeout = 5 * time.Second
	askAgain      = 5 * time.Minute // about an issuer that was found
	keepFound     = time.Hour       // an issuer that cannot be asked about
	keepUnknown   = 30 * time.Second
	keepFailed    = time.Second
)

var (
	errIssuer  = errors.New("iss: not an issuer that is trusted")
	errLookups = errors.New("iss: too many issuers are being looked up")
)

// A directory keeps the issuers that Find has found.
type directory struct {
	find Find

	mu      sync.Mutex
	found   map[string]*listing
	unknown map[string]*listing // and those whose lookup has failed
	lookups map[string]*lookup  // under way
	budget  time.Time           // see mayAsk
}

// A listing is what is known of one iss.
type listing struct {
	issuer *Issuer // nil: there is none, or it could not be looked up
	err    error
	askAt  time.Time
	until  time.Time
	used   time.Time
}

// A lookup is one call of Find, shared by all who wait for it.
type lookup struct {
	done   chan struct{}
	issuer *Issuer // both set before done is closed
	err    error
}

func newDirectory(find Find) *directory {
	return &directory{
		find: find, found: map[string]*listing{}, unknown: map[string]*listing{}, lookups: map[string]*lookup{},
	}
}

// issuer returns the issuer that iss names, or a refusal. It waits for a lookup of that iss, and of no other.
func (d *directory) issuer(ctx context.Context, iss string) (*Issuer, error) {
	l, err := d.ask(ctx, iss, time.Now())
	if err != nil {
		return nil, err
	}
	select {
	case <-l.done:
		return l.issuer, l.err
	case <-ctx.Done():
		return nil, refusal.New(refusal.ErrUnavailable, context.Cause(ctx))
	}
}

// ask returns a lookup, which is done already where the answer is known.
func (d *directory) ask(ctx context.Context, iss string, now time.Time) (*lookup, error) {
	if iss == "" || len(iss) > maxName {
		return nil, refusal.New(refusal.ErrInvalidToken, errIssuer)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.found[iss]; known != nil && now.Before(known.until) {
		known.used = now
		if !now.Before(known.askAt) && len(d.lookups) < maxLookups {
			d.start(ctx, iss, known.issuer)
		}
		return answered(known), nil
	}
	if known := d.unknown[iss]; known != nil && now.Before(known.until) {
		return answered(known), nil
	}
	if under := d.lookups[iss]; under != nil {
		return under, nil
	}
	if len(d.lookups) >= maxLookups || !d.mayAsk(now) {
		return nil, refusal.New(refusal.ErrUnavailable, errLookups)
	}
	return d.start(ctx, iss, nil), nil
}

var isDone = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func answered(known *listing) *lookup {
	return &lookup{done: isDone, issuer: known.issuer, err: known.err}
}

// mayAsk counts a lookup of an issuer that is not known, unless there were too many.
func (d *directory) mayAsk(now time.Time) bool {
	if d.budget.Sub(now) > (lookupBurst-1)*lookupInterval {
		return false
	}
	if d.budget.Before(now) {
		d.budget = now
	}
	d.budget = d.budget.Add(lookupInterval)
	return true
}

// start begins a lookup, unless one is under way. It belongs to nobody's request: one that goes away must not fail the
// others.
func (d *directory) start(ctx context.Context, iss string, before *Issuer) *lookup {
	if under := d.lookups[iss]; under != nil {
		return under
	}
	iss = strings.Clone(iss) // it is part of a token, which is not to stay in memory
	l := &lookup{done: make(chan struct{})}
	d.lookups[iss] = l
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		l.issuer, l.err = d.call(ctx, iss, before)
		d.learn(iss, l)
	}()
	return l
}

// call calls Find. Where that panics, the token of anybody could otherwise end the process: net/http recovers only from
// what runs in a request's own goroutine.
func (d *directory) call(ctx context.Context, iss string, before *Issuer) (_ *Issuer, err error) {
	defer func() {
		if recover() != nil {
			err = refusal.New(refusal.ErrUnavailable, errors.New("FindIssuer has panicked"))
		}
	}()
	found, err := d.find(ctx, iss, before)
	switch {
	case err == nil:
		found.found = true
		return found, nil
	case errors.Is(err, refusal.ErrInvalidToken):
		return nil, refusal.New(refusal.ErrInvalidToken, errIssuer)
	default:
		return nil, refusal.New(refusal.ErrUnavailable, err)
	}
}

// learn keeps the answer. One who was found before stays so while Find fails.
func (d *directory) learn(iss string, l *lookup) {
	defer close(l.done)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.lookups, iss)
	now := time.Now()
	failed := errors.Is(l.err, refusal.ErrUnavailable)
	if known := d.found[iss]; known != nil && failed {
		known.askAt = now.Add(keepFailed)
		if now.Before(known.until) {
			return
		}
	}
	delete(d.found, iss)
	delete(d.unknown, iss)
	switch {
	case l.err == nil:
		makeRoom(d.found, maxFound, now)
		d.found[iss] = &listing{issuer: l.issuer, askAt: now.Add(askAgain), until: now.Add(keepFound), used: now}
	case failed:
		makeRoom(d.unknown, maxUnknown, now)
		d.unknown[iss] = &listing{err: l.err, until: now.Add(keepFailed), used: now}
	default:
		makeRoom(d.unknown, maxUnknown, now)
		d.unknown[iss] = &listing{err: l.err, until: now.Add(keepUnknown), used: now}
	}
}

// makeRoom drops what is over, and else what was not used for the longest time.
func makeRoom(list map[string]*listing, most int, now time.Time) {
	if len(list) < most {
		return
	}
	maps.DeleteFunc(list, func(_ string, l *listing) bool { return !now.Before(l.until) })
	for len(list) >= most {
		oldest := ""
		for iss, l := range list {
			if oldest == "" || l.used.Before(list[oldest].used) {
				oldest = iss
			}
		}
		delete(list, oldest)
	}
}
