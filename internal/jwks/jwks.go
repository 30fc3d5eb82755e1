// Package jwks keeps the key set of a remote issuer: fetched when first needed, kept, refreshed ahead of its end,
// and used on while the issuer is unavailable.
//
// Nothing runs at rest and nothing has to be closed: a fetch is a goroutine of at most 5 seconds, started by a
// lookup. Lookups never wait for one as long as the set they need is there.
package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
)

const (
	fetchTimeout = 5 * time.Second
	missInterval = 5 * time.Second // between fetches that unknown kids start
	defaultAge   = 15 * time.Minute
	minAge       = time.Minute
	maxAge       = time.Hour
	defaultStale = 24 * time.Hour

	// After failures, with and without a set that can be served meanwhile. Without one, users are waiting.
	firstRetry   = time.Second
	longestRetry = time.Minute
	urgentRetry  = time.Second

	// A set that is older than its age and overdueMargin was not refreshed because nobody asked: a server was idle, and
	// keys may have been withdrawn for hours. Then lookups wait for the refresh, but no longer than patience.
	overdueMargin = time.Minute
	patience      = time.Second
	// A lookup tries again after a failure at the latest after one and a half times longestRetry. If it is longer ago,
	// nobody has asked.
	idleAfter = 2 * time.Minute
)

// ErrUnknownKey says that the issuer's current set has no key for a token: the token is at fault.
var ErrUnknownKey = jose.ErrUnknownKey

// Config says where a set comes from. The zero durations mean the defaults.
type Config struct {
	Issuer string // for discovery, and for the log
	URL    string // empty: found by discovery

	// DiscoveryURL is where the discovery document is, if that is not where Issuer has it. Its issuer must be Issuer all
	// the same, unless AnyDocumentIssuer says that it may name another one, or none.
	DiscoveryURL      string
	AnyDocumentIssuer bool

	// PlainHTTP allows http for all of these URLs and for jwks_uri, not only on loopback: whoever can change an answer
	// on its way then chooses the keys.
	PlainHTTP bool

	Client   *http.Client  // nil: http.DefaultTransport
	Refresh  time.Duration // in place of the answer's max-age
	MaxStale time.Duration // how long a set is served after the last good fetch; default 24 h
	Logger   *slog.Logger  // nil: nothing is logged

	// Observe, unless nil, is told of each fetch.
	Observe func(ctx context.Context, keys int, took time.Duration, err error)
}

// Check returns what is wrong with c, all of it.
func (c *Config) Check() error {
	var faults []error
	check := func(what, raw string) {
		if err := CheckURL(raw, c.PlainHTTP); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", what, err))
		}
	}
	switch {
	case c.URL != "" && c.DiscoveryURL != "":
		faults = append(faults, errors.New("both URL and DiscoveryURL"))
	case c.URL != "":
		check("URL", c.URL)
	case c.DiscoveryURL != "":
		check("DiscoveryURL", c.DiscoveryURL)
	default:
		check("no URL, and no discovery from Name", c.Issuer)
	}
	if c.AnyDocumentIssuer && c.DiscoveryURL == "" {
		faults = append(faults, errors.New("AnyDocumentIssuer without DiscoveryURL"))
	}
	if c.Refresh < 0 {
		faults = append(faults, errors.New("a negative Refresh"))
	}
	if c.MaxStale < 0 {
		faults = append(faults, errors.New("a negative MaxStale"))
	}
	return errors.Join(faults...)
}

// A Remote is the key set of one issuer. It is safe for concurrent use.
type Remote struct {
	cfg     Config
	fetch   *fetcher
	current atomic.Pointer[snapshot]

	mu        sync.Mutex
	flight    *flight   // the fetch under way, if there is one
	retryAt   time.Time // no fetch before, after a failure
	missAt    time.Time // no fetch for an unknown kid before
	failures  int       // in a row
	failingBy error     // the last failure; nil: the newest fetch succeeded
	failedAt  time.Time // when that was
	// What was said in the log already.
	leftOut       []jose.LeftOut
	undiscovered  error
	warnPlainHTTP sync.Once
}

// A snapshot is a set as it was fetched, never changed.
type snapshot struct {
	set       *jose.Set
	refreshAt time.Time
	overdueAt time.Time
	staleAt   time.Time
}

// A flight is one fetch, shared by all who wait for it.
type flight struct {
	began     time.Time
	discovers bool      // it finds a set that has moved
	until     time.Time // how long lookups wait that the current set could serve
	done      chan struct{}
	err       error // set before done is closed
}

// New returns a Remote that has fetched nothing yet.
func New(cfg Config) *Remote {
	if cfg.MaxStale == 0 {
		cfg.MaxStale = defaultStale
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Remote{cfg: cfg, fetch: newFetcher(cfg)}
}

// Keys returns the keys that may have signed a token with header h. The error is ErrUnknownKey where the token is
// at fault, and any other where the keys are unavailable (or ctx ended before they came).
func (r *Remote) Keys(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	now := time.Now()
	snap := r.current.Load()
	if snap == nil || !now.Before(snap.staleAt) {
		return r.wait(ctx, h, false)
	}
	if !now.Before(snap.refreshAt) {
		f, _ := r.start(now, false)
		if !now.Before(snap.overdueAt) {
			if err := f.linger(ctx, now); err != nil {
				return nil, err
			}
			snap = r.current.Load()
		}
	}
	if keys, err := snap.set.Find(h); err == nil {
		return keys, nil
	}
	// The issuer may have rotated. However many unknown kids there are, they start one fetch in 5 seconds, or anyone
	// could have us flood the issuer.
	return r.wait(ctx, h, true)
}

// Known returns the keys that the current set has for h, so that Keys need not fetch any.
func (r *Remote) Known(h jose.Header) []*jose.Key {
	snap := r.current.Load()
	if snap == nil || !time.Now().Before(snap.staleAt) {
		return nil
	}
	keys, err := snap.set.Find(h)
	if err != nil {
		return nil
	}
	return keys
}

// Current returns the set that Keys takes keys from, as long as it starts no refresh; nil: it is time for one, or there
// is no set.
func (r *Remote) Current(now time.Time) *jose.Set {
	snap := r.current.Load()
	if snap == nil || !now.Before(snap.refreshAt) {
		return nil
	}
	return snap.set
}

// Newer is Keys for a token that names no key, and whose signature none of the keys made that Keys returned: the issuer
// may have rotated, so it is a lookup of a key that the set does not have.
func (r *Remote) Newer(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	return r.wait(ctx, h, true)
}

// Ready fetches the set if there is none, and says why there is none.
func (r *Remote) Ready(ctx context.Context) error {
	snap := r.current.Load()
	if snap != nil && time.Now().Before(snap.staleAt) {
		return nil
	}
	_, err := r.wait(ctx, jose.Header{}, false)
	if errors.Is(err, ErrUnknownKey) {
		return nil
	}
	return err
}

// wait is the lookup that needs a fetch: for a key that the current set does not have, or for a set at all.
func (r *Remote) wait(ctx context.Context, h jose.Header, forMiss bool) ([]*jose.Key, error) {
	asked := time.Now()
	for {
		f, err := r.start(time.Now(), forMiss)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return r.found(h)
		}
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
		// The answer to a fetch that was under way before may be older than the key, or come from where the set was
		// before it moved: then once more.
		keys, err := r.found(h)
		if err == nil || !f.began.Before(asked) && (f.discovers || !forMiss) {
			return keys, err
		}
	}
}

func (r *Remote) found(h jose.Header) ([]*jose.Key, error) {
	if snap := r.current.Load(); snap != nil {
		return snap.set.Find(h)
	}
	return nil, ErrUnknownKey
}

// start joins the fetch under way or starts one, if it is time for one. Without a flight, err says how the last
// fetch failed; nil: it did not.
func (r *Remote) start(now time.Time, forMiss bool) (*flight, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		return r.flight, nil
	}
	if forMiss && now.Before(r.missAt) || !forMiss && now.Before(r.retryAt) {
		return nil, r.failingBy
	}
	if snap := r.current.Load(); !forMiss && snap != nil && now.Before(snap.refreshAt) {
		return nil, nil // the caller saw an older one, and the fetch that it would have joined has ended
	}
	if forMiss {
		r.missAt = now.Add(missInterval)
	}
	f := &flight{began: now, discovers: forMiss || r.cfg.URL != "", done: make(chan struct{})}
	if r.failingBy == nil || now.Sub(r.failedAt) > idleAfter {
		f.until = now.Add(patience)
	}
	r.flight = f
	go r.run(f)
	return f, nil
}

// linger waits for a fetch, if there is one, as long as a lookup may that has a set to be served from. While fetches
// fail or hang, the first lookups wait once, and all others are served at once.
func (f *flight) linger(ctx context.Context, now time.Time) error {
	if f == nil || !now.Before(f.until) {
		return nil
	}
	enough := time.NewTimer(f.until.Sub(now))
	defer enough.Stop()
	select {
	case <-f.done:
	case <-enough.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run fetches. It belongs to nobody's request: one that goes away must not fail the others.
func (r *Remote) run(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	start := time.Now()
	set, age, err := r.fetch.keys(ctx, f.discovers)
	now := time.Now()
	if err == nil {
		if r.cfg.Refresh > 0 {
			age = r.cfg.Refresh
		}
		age = min(age, r.cfg.MaxStale)
		// Ahead of its end, and not all servers of a fleet at once.
		early := age - time.Duration(rand.Int64N(int64(age)/10+1)) - age/10
		r.current.Store(&snapshot{
			set: set, refreshAt: now.Add(early), overdueAt: now.Add(age + overdueMargin), staleAt: now.Add(r.cfg.MaxStale),
		})
	}
	done := outcome{
		set: set, err: err, status: r.fetch.status, took: now.Sub(start), plainHTTP: r.fetch.plainHTTP,
	}

	r.mu.Lock()
	done.before = r.failingBy
	if err == nil && r.undiscovered == nil {
		done.undiscovered = r.fetch.undiscovered
	}
	r.undiscovered = r.fetch.undiscovered
	if err == nil {
		r.failures, r.failingBy, r.retryAt = 0, nil, time.Time{}
		done.leftOut = newlyLeftOut(set.LeftOut(), r.leftOut)
		r.leftOut = set.LeftOut()
	} else {
		r.failures++
		r.failingBy, r.failedAt = err, now
		r.retryAt = now.Add(r.backoff(now))
	}
	f.err = err
	r.flight = nil
	close(f.done)
	r.mu.Unlock()
	r.report(ctx, done) // nobody waits for what a logger does
}

// backoff is how long to leave an issuer alone that has just failed: longer and longer, but not beyond the end of
// the set that is served meanwhile.
func (r *Remote) backoff(now time.Time) time.Duration {
	var left time.Duration
	if snap := r.current.Load(); snap != nil {
		left = snap.staleAt.Sub(now)
	}
	d := min(firstRetry<<min(r.failures-1, 10), longestRetry)
	return max(urgentRetry/2+rand.N(urgentRetry), min(d/2+rand.N(d), left))
}

// newlyLeftOut returns each key once that is left out of a set, and was not out of the one before for the same reason.
func newlyLeftOut(now, before []jose.LeftOut) (news []jose.LeftOut) {
	for _, out := range now {
		if !slices.Contains(before, out) && !slices.Contains(news, out) {
			news = append(news, out)
		}
	}
	return news
}

// An outcome is that of a fetch.
type outcome struct {
	set          *jose.Set
	err, before  error // before: of the fetch before
	status       int
	took         time.Duration
	leftOut      []jose.LeftOut // those that were not before
	plainHTTP    bool
	undiscovered error // discovery has begun to fail, and the set is fetched from where it was
}

// report logs each fetch at debug, and at warn what changes: that fetches fail, that they work again, and that keys of
// the set cannot be used.
func (r *Remote) report(ctx context.Context, o outcome) {
	keys := 0
	if o.err == nil {
		keys = o.set.Len()
	}
	if r.cfg.Observe != nil {
		r.cfg.Observe(ctx, keys, o.took, o.err)
	}
	log := r.cfg.Logger.With("issuer", r.cfg.Issuer)
	if o.plainHTTP {
		r.warnPlainHTTP.Do(func() {
			log.WarnContext(ctx, "wsauth: keys are fetched over plain http: who can change the answer chooses the keys")
		})
	}
	for _, out := range o.leftOut {
		log.WarnContext(ctx, "wsauth: a key of the issuer cannot be used", "kid", out.KeyID, "reason", out.Reason)
	}
	if o.undiscovered != nil {
		log.WarnContext(ctx, "wsauth: discovery fails, and the keys are fetched from where they were",
			"error", o.undiscovered)
	}
	log = log.With("status", o.status, "duration", o.took)
	switch {
	case o.err != nil && o.before == nil:
		log.WarnContext(ctx, "wsauth: keys cannot be fetched", "error", o.err)
	case o.err != nil:
		log.DebugContext(ctx, "wsauth: keys still cannot be fetched", "error", o.err)
	case o.before != nil:
		log.WarnContext(ctx, "wsauth: keys can be fetched again", "keys", keys)
	default:
		log.DebugContext(ctx, "wsauth: keys fetched", "keys", keys)
	}
}
