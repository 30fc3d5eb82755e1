// Package jwks keeps the key set of a remote issuer. It fetches the set when it is first needed, refreshes it before it
// expires, and goes on using it while the issuer is unavailable.
//
// Nothing runs between fetches and nothing has to be closed: a fetch is a goroutine that a lookup starts and that ends
// within 5 seconds. Lookups do not wait for a fetch as long as a recent set has the key that they need.
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
	missInterval = 5 * time.Second // between fetches for unknown kids
	defaultAge   = 15 * time.Minute
	minAge       = time.Minute
	maxAge       = time.Hour
	defaultStale = 24 * time.Hour

	// Between retries after failures. urgentRetry is for when there is no set meanwhile, so users are waiting.
	firstRetry   = time.Second
	longestRetry = time.Minute
	urgentRetry  = time.Second

	// If a set is overdue by more than overdueMargin, nobody asked for a key: the server was idle, and keys may have
	// been withdrawn hours ago. Then lookups wait for the refresh, but no longer than patience.
	overdueMargin = time.Minute
	patience      = time.Second
	// After a failure, a lookup tries again after one and a half times longestRetry at the latest. If the failure is
	// longer ago than this, nobody has asked.
	idleAfter = 2 * time.Minute
)

// ErrUnknownKey says that the issuer's current set has no key for a token: the token is at fault.
var ErrUnknownKey = jose.ErrUnknownKey

// Config says where a set comes from. The zero durations mean the defaults.
type Config struct {
	Issuer string // for discovery, and for the log
	URL    string // empty: found by discovery

	// DiscoveryURL is where the discovery document is, if it is not where Issuer says. The issuer in the document must
	// still be Issuer, unless AnyDocumentIssuer allows another issuer, or none.
	DiscoveryURL      string
	AnyDocumentIssuer bool

	// PlainHTTP allows http for all of these URLs and for jwks_uri, not only on loopback: whoever can change a response
	// on its way then chooses the keys.
	PlainHTTP bool

	Client   *http.Client  // nil: http.DefaultTransport
	Refresh  time.Duration // in place of the response's max-age
	MaxStale time.Duration // how long a set is served after the last good fetch; default 24 h
	Logger   *slog.Logger  // nil: nothing is logged

	// Observe, unless nil, is called for each fetch.
	Observe func(ctx context.Context, keys int, took time.Duration, err error)
}

// Check returns everything that is wrong with c.
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
	flight    *flight   // the fetch in progress, if any
	retryAt   time.Time // after a failure, no fetch before this
	missAt    time.Time // no fetch for an unknown kid before this
	failures  int       // in a row
	failingBy error     // the last failure; nil: the newest fetch succeeded
	failedAt  time.Time // when failingBy happened
	// What was logged already.
	leftOut       []jose.LeftOut
	undiscovered  error
	warnPlainHTTP sync.Once
}

// A snapshot is a set as it was fetched. It never changes.
type snapshot struct {
	set       *jose.Set
	refreshAt time.Time
	overdueAt time.Time
	staleAt   time.Time
}

// A flight is one fetch, shared by everybody who waits for it.
type flight struct {
	began     time.Time
	discovers bool      // it finds a set that has moved
	until     time.Time // until when lookups wait for it although the current set has the key
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

// Keys returns the keys that may have signed a token with header h. The error is ErrUnknownKey if the token is at
// fault, and any other error if the keys are unavailable (or ctx ended before they came).
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
	// The issuer may have rotated. However many unknown kids there are, they cause one fetch in 5 seconds: otherwise
	// anyone could make us flood the issuer.
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

// Current returns the set from which Keys takes keys; nil: there is none, or it is time for a refresh, which Keys
// starts.
func (r *Remote) Current(now time.Time) *jose.Set {
	snap := r.current.Load()
	if snap == nil || !now.Before(snap.refreshAt) {
		return nil
	}
	return snap.set
}

// Newer is Keys for a token that names no key, if none of the keys that Keys returned made its signature. The issuer
// may have rotated, so Newer looks for a key that the set does not have.
func (r *Remote) Newer(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	return r.wait(ctx, h, true)
}

// Ready fetches the set if there is none. The error says why there is still none.
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

// wait looks a key up after a fetch: the current set does not have the key, or there is no set.
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
		// A fetch that was already in progress may have returned a set that is older than the key, or from where the
		// set was before it moved. Then fetch once more.
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

// start joins the fetch in progress, or starts one if it is time for one. If it returns no flight, err says how the
// last fetch failed; nil: it did not fail.
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
		return nil, nil // the caller saw an older set: a fetch has ended since
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

// linger waits for a fetch, if there is one, for as long as a lookup may wait although there is a set. While fetches
// fail or hang, only the first lookups wait; all others use the set at once.
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

// run fetches. It belongs to no single request: a request that is cancelled must not fail the others.
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
		// Before the set expires, and not on all servers of a fleet at once.
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
	r.report(ctx, done) // after close: nobody waits for a slow logger
}

// backoff returns how long to leave an issuer alone that has just failed: longer after each failure, but not beyond the
// end of the set that is used meanwhile.
func (r *Remote) backoff(now time.Time) time.Duration {
	var left time.Duration
	if snap := r.current.Load(); snap != nil {
		left = snap.staleAt.Sub(now)
	}
	d := min(firstRetry<<min(r.failures-1, 10), longestRetry)
	return max(urgentRetry/2+rand.N(urgentRetry), min(d/2+rand.N(d), left))
}

// newlyLeftOut returns the keys, each once, that are left out of a set and were not left out of the previous set for
// the same reason.
func newlyLeftOut(now, before []jose.LeftOut) (news []jose.LeftOut) {
	for _, out := range now {
		if !slices.Contains(before, out) && !slices.Contains(news, out) {
			news = append(news, out)
		}
	}
	return news
}

// An outcome is the outcome of a fetch.
type outcome struct {
	set          *jose.Set
	err, before  error // before: of the previous fetch
	status       int
	took         time.Duration
	leftOut      []jose.LeftOut // newlyLeftOut
	plainHTTP    bool
	undiscovered error // discovery has begun to fail, and the set comes from its last known URL
}

// report logs each fetch at debug, and changes at warn: fetches begin to fail, they work again, or keys of the set
// cannot be used.
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
