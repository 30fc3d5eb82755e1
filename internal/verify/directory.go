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

// Find looks up an issuer by the iss of a token that is not verified yet. before is the issuer that it found the last
// time, or nil. The error is refusal.ErrInvalidToken if there is no such issuer; any other error is an outage.
type Find func(ctx context.Context, iss string, before *Issuer) (*Issuer, error)

// These bound what anybody who sends tokens can cause: how much is kept, and how often Find is called.
const (
	maxFound   = 1024
	maxUnknown = 1024
	maxLookups = 64   // in progress at one time
	maxName    = 2048 // bytes of an iss that is looked up

	lookupBurst    = 100 // of unknown issuers
	lookupInterval = 50 * time.Millisecond

	lookupTimeout = 5 * time.Second
	askAgain      = 5 * time.Minute // how long after an issuer was found
	keepFound     = time.Hour       // an issuer for which Find fails
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
	unknown map[string]*listing // also issuers whose lookup failed
	lookups map[string]*lookup  // in progress
	budget  time.Time           // see mayAsk
}

// A listing is what is known about one iss.
type listing struct {
	issuer *Issuer // nil: there is no such issuer, or the lookup failed
	err    error
	askAt  time.Time
	until  time.Time
	used   time.Time
}

// A lookup is one call of Find, shared by everybody who waits for it.
type lookup struct {
	done   chan struct{}
	issuer *Issuer // issuer and err are set before done is closed
	err    error
}

func newDirectory(find Find) *directory {
	return &directory{
		find: find, found: map[string]*listing{}, unknown: map[string]*listing{}, lookups: map[string]*lookup{},
	}
}

// issuer returns the issuer that iss names, or a refusal. It waits only for a lookup of that iss.
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

// ask returns a lookup, which is already done if the answer is known.
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

// mayAsk counts a lookup of an unknown issuer, unless there were too many.
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

// start begins a lookup, unless one is in progress. The lookup belongs to no single request: a request that is
// cancelled must not fail the others.
func (d *directory) start(ctx context.Context, iss string, before *Issuer) *lookup {
	if under := d.lookups[iss]; under != nil {
		return under
	}
	iss = strings.Clone(iss) // iss is part of a token, which must not stay in memory
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

// call calls Find and recovers if Find panics: anybody's token could otherwise end the process, since net/http recovers
// only in a request's own goroutine.
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

// learn keeps the answer. While Find fails, an issuer that was found before is kept.
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

// makeRoom drops entries that are out of date, and then the least recently used ones.
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
