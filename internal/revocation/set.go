package revocation

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

// A Set is what is revoked. It is safe for concurrent use. A nil Set revokes nothing.
type Set struct {
	marker
	index
	keep   time.Duration // the longest life of a token
	strict bool          // a token must show that its life is no longer than keep
	leeway time.Duration
	newest atomic.Int64 // At of the newest revocation that was ever added

	sweeper sync.Mutex
	timer   *time.Timer // nil: nothing to drop

	following
}

// A Config has the options of a Set. Without a Log, the Set remembers what is revoked in this process only.
type Config struct {
	Keep     time.Duration // the longest life of a token
	Strict   bool          // tokens that live longer, or that do not show how long they live, are refused
	Leeway   time.Duration // the clock skew that is allowed
	Log      Log           // nil: none
	MaxStale time.Duration // how long after the last complete read of the log tokens are accepted; negative: always
}

// New returns an empty Set.
func New(cfg Config) *Set {
	return &Set{
		marker: marker{maphash.MakeSeed()}, keep: cfg.Keep, strict: cfg.Strict, leeway: cfg.Leeway,
		following: following{log: cfg.Log, maxStale: cfg.MaxStale, unsaid: make(chan struct{}, 1)},
	}
}

// A Listener is told what comes from the log. It must be safe for concurrent use.
type Listener interface {
	// Learned is called with revocations that the log has and this Set did not have.
	Learned([]Revocation)
	// LogChanged is called with an error when the log can no longer be read or written, and with nil when it can be
	// again.
	LogChanged(error)
	// Garbled is called once, if the log has entries that are not revocations.
	Garbled(error)
}

// Tell sets the listener, before Follow is called.
func (s *Set) Tell(l Listener) { s.listener = l }

// span is how long a revocation counts after its time. The clock of whoever revoked, and the clock of the issuer, may be
// ahead of this clock by the leeway; the token itself expires a leeway after its exp.
func (s *Set) span() int64 {
	return int64(s.keep/time.Second) + 3*int64(s.leeway/time.Second) + 5 // the sum of the durations could overflow
}

// since returns the time of the oldest revocations that still count.
func (s *Set) since(now time.Time) int64 { return now.Unix() - s.span() }

// Add revokes, and reports whether that is new.
func (s *Set) Add(r Revocation) (isNew bool) { return s.add(r, 0, time.Now()) }

func (s *Set) add(r Revocation, read uint32, now time.Time) bool {
	if r.At < s.since(now) {
		return false
	}
	for {
		newest := s.newest.Load()
		if r.At <= newest || s.newest.CompareAndSwap(newest, r.At) {
			break
		}
	}
	isNew := s.index.add(s.MarkOf(&r), &r, read)
	if isNew {
		s.dropLater()
	}
	return isNew
}

// MarkOf returns the mark of what the revocation names.
func (s *Set) MarkOf(r *Revocation) uint64 {
	return s.mark(s.marker.issuer(r.Issuer), r.Kind, r.Name)
}

// Marks returns the marks of a token.
func (s *Set) Marks(t *Token) Marks { return s.marks(t) }

// IsEmpty reports whether nothing was ever revoked.
func (s *Set) IsEmpty() bool { return s == nil || s.newest.Load() == 0 }

// IsRevoked reports whether a token is revoked.
func (s *Set) IsRevoked(t *Token, now time.Time) bool {
	if s.IsEmpty() {
		return false
	}
	issuer, issued, since := s.marker.issuer(t.Issuer), issuedAt(t.IssuedAt), s.since(now)
	for kind, name := range [kinds]string{"", t.Subject, t.Session, t.ID} {
		kind := Kind(kind)
		if s.counts[kind].Load() == 0 {
			continue
		}
		mark := s.mark(issuer, kind, name)
		if mark == 0 {
			continue
		}
		e, found := s.find(mark)
		if !found || e.name != name || e.kind != kind { // the issuer is in the mark
			continue
		}
		if e.all > 0 && e.all >= since || e.before > 0 && e.before >= since && issued <= e.before {
			return true
		}
	}
	return false
}

var (
	errNoIssuedAt = errors.New("iat: missing, and Revocations.Keep needs it")
	errOutlives   = errors.New("exp: later than iat and Revocations.Keep allow")
)

// IsStrict reports whether every token must show that its life is no longer than Keep.
func (s *Set) IsStrict() bool { return s != nil && s.strict }

// Check refuses a token that could outlive the memory of its revocation. Unless the Set is strict, it refuses only
// tokens that were issued before something was revoked.
func (s *Set) Check(issuedAt, expiry time.Time) error {
	switch {
	case s == nil:
		return nil
	case issuedAt.IsZero() && s.strict:
		return errNoIssuedAt
	case issuedAt.IsZero() || !expiry.After(issuedAt.Add(s.keep)):
		return nil
	case s.strict || issuedAt.Unix() <= s.newest.Load()+int64(s.leeway/time.Second)+1: // the issuer's clock may be ahead
		return errOutlives
	}
	return nil
}

// dropLater makes sure that revocations are dropped when they no longer count. The timer runs only while there are any.
func (s *Set) dropLater() {
	s.sweeper.Lock()
	defer s.sweeper.Unlock()
	if s.timer == nil {
		s.timer = time.AfterFunc(s.pause(), s.sweep)
	}
}

func (s *Set) pause() time.Duration {
	return min(max(time.Duration(s.span()/16)*time.Second, time.Second), time.Hour)
}

func (s *Set) sweep() {
	s.drop(s.since(time.Now()))
	s.sweeper.Lock()
	defer s.sweeper.Unlock()
	if s.index.len() == 0 {
		s.timer = nil
		return
	}
	s.timer.Reset(s.pause())
}

// IsFresh returns nil if what this Set knows is new enough to accept a token, and otherwise a refusal.
func (s *Set) IsFresh() error {
	if s == nil || s.log == nil {
		return nil
	}
	if reason := s.stale(time.Now()); reason != nil {
		return refusal.New(refusal.ErrUnavailable, reason)
	}
	return nil
}
