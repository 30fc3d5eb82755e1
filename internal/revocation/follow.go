package revocation

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Log is what the servers of a cluster have in common.
type Log interface {
	Append(ctx context.Context, entries ...string) error
	Read(ctx context.Context, after string) (entries []string, next string, err error)
}

// How a log is followed.
const (
	readEvery   = time.Minute            // the whole log
	readShare   = 100                    // reading it takes at most one hundredth of the time
	retryAfter  = 50 * time.Millisecond  // an error; twice as long after each further one
	retryAtMost = 500 * time.Millisecond // so that a log that is back is read within a second
	pollEvery   = 20 * time.Millisecond  // if Read of the log does not wait
	mendAtMost  = 5 * time.Second
	callTimeout = 10 * time.Second // of Read and Append, which may have shorter timeouts of their own
	batch       = 1000             // entries for one Append
)

var (
	errNotFollowed = errors.New("the revocation log has not been read: Follow does not run, or has not come to its end yet")
	errStale       = errors.New("the revocation log has not been read to its end for longer than Revocations.MaxStale")
	errFollowed    = errors.New("wsauth: Follow is already running")
	errNoLog       = errors.New("wsauth: Follow without Options.Revocations.Log")
)

// following is what a Set knows about the log that it is kept equal to. It trusts only a read from the beginning: a
// lost connection, or a server that came back without its data, may have lost anything. So it reads the whole log after
// every error and from time to time, and then appends what the Set has and the log lacks.
type following struct {
	log      Log // nil: none
	maxStale time.Duration
	listener Listener

	running  atomic.Bool
	complete atomic.Pointer[time.Time] // when the last Read began that reached the end; nil: none has
	reads    atomic.Uint32             // the number of the whole read that was begun last
	unsaid   chan struct{}             // an Append has failed

	failing sync.Mutex
	failed  bool
	garbled bool
}

// stale returns why no token may be accepted, or nil. It looks at both clocks, since the monotonic one stands still while
// the machine sleeps.
func (s *Set) stale(now time.Time) error {
	at := s.complete.Load()
	switch {
	case at == nil:
		return errNotFollowed
	case s.maxStale >= 0 && max(now.Sub(*at), now.Round(0).Sub(at.Round(0))) > s.maxStale:
		return errStale
	}
	return nil
}

// Append adds revocations to the log, if there is one. After an error, Follow goes on trying.
func (s *Set) Append(ctx context.Context, all []Revocation) error {
	if s.log == nil {
		return nil
	}
	var entries []string
	for i := range all {
		if s.isUnsaid(&all[i]) {
			entries = append(entries, all[i].String())
		}
	}
	err := s.append(ctx, entries)
	if err != nil {
		select {
		case s.unsaid <- struct{}{}:
		default:
		}
	}
	return err
}

// isUnsaid reports whether a revocation still counts and is not known to be in the log. A provider may send the same
// revocation again and again.
func (s *Set) isUnsaid(r *Revocation) bool {
	e, known := s.find(s.MarkOf(r))
	if !known {
		return false // it no longer counts
	}
	at, inLog := e.newest(r.All)
	return *at > r.At || *inLog == 0 || *inLog < s.reads.Load()
}

func (s *Set) append(ctx context.Context, entries []string) error {
	for len(entries) > 0 {
		n := min(batch, len(entries))
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err := s.log.Append(ctx, entries[:n]...)
		cancel()
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// Follow reads the log until ctx ends, and returns the cause.
func (s *Set) Follow(ctx context.Context) error {
	if s == nil || s.log == nil {
		return errNoLog
	}
	if !s.running.CompareAndSwap(false, true) {
		return errFollowed
	}
	defer s.running.Store(false)
	defer s.complete.Store(nil)
	for pause := retryAfter; ctx.Err() == nil; pause = min(2*pause, retryAtMost) {
		began := time.Now()
		err := s.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		s.report(err)
		if time.Since(began) > retryAtMost {
			pause = retryAfter
		}
		sleep(ctx, pause/2+rand.N(pause/2)) // not at the same moment as all the other servers
	}
	return context.Cause(ctx)
}

// follow reads the whole log and then what is added to it, until there is an error. Meanwhile it reads the whole log
// again and again.
func (s *Set) follow(ctx context.Context) error {
	cursor, took, err := s.readWhole(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var again sync.WaitGroup
	again.Go(func() { cancel(s.keepEqual(ctx, took)) })
	err = s.tail(ctx, cursor)
	cancel(err)
	again.Wait()
	return context.Cause(ctx)
}

// readWhole reads the log from its beginning to its end.
func (s *Set) readWhole(ctx context.Context) (cursor string, took time.Duration, err error) {
	start := time.Now()
	number := s.reads.Add(1)
	var learning sync.WaitGroup // during the next Read: a server that starts may have a million entries to read
	defer learning.Wait()
	for {
		began := time.Now()
		entries, next, err := s.read(ctx, cursor)
		if err != nil {
			return "", 0, err
		}
		cursor = next
		learning.Wait()
		if len(entries) == 0 {
			s.reachedEnd(began)
			return cursor, time.Since(start), nil
		}
		learning.Go(func() { s.learn(entries, number) })
	}
}

// tail reads what is added to the log after the cursor.
func (s *Set) tail(ctx context.Context, cursor string) error {
	waited, most := true, 0
	for {
		began := time.Now()
		entries, next, err := s.read(ctx, cursor)
		if err != nil {
			return err
		}
		cursor = next
		if len(entries) > 0 {
			s.learn(entries, s.reads.Load())
			if len(entries) < most { // a busy log may never return none, but it had no more at this point
				s.reachedEnd(began)
			}
			most = max(most, len(entries))
			waited = true
			continue
		}
		s.reachedEnd(began)
		quick := time.Since(began) < pollEvery/4
		if quick && !waited { // a log may answer at once to say where its end is, but not twice
			sleep(ctx, pollEvery)
		}
		waited = !quick
	}
}

func (s *Set) read(ctx context.Context, after string) ([]string, string, error) {
	if ctx.Err() != nil { // a log in memory may not look at it
		return nil, "", context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.log.Read(ctx, after)
}

// reachedEnd records that everything is known that the log had at this time. Two goroutines read the log.
func (s *Set) reachedEnd(at time.Time) {
	for {
		last := s.complete.Load()
		if last != nil && !at.After(*last) || s.complete.CompareAndSwap(last, &at) {
			return
		}
	}
}

// learn adds entries of the log to the Set. It skips entries that are not revocations.
func (s *Set) learn(entries []string, read uint32) {
	now := time.Now()
	var news []Revocation
	for _, entry := range entries {
		r, err := Parse(entry)
		if err != nil {
			s.reportGarbled(err)
			continue
		}
		if s.add(r, read, now) {
			news = append(news, r)
		}
	}
	if len(news) > 0 {
		s.listener.Learned(news)
	}
}

// keepEqual appends what the log lacks, after each whole read and after an Append that has failed. It returns when the
// log cannot be read.
func (s *Set) keepEqual(ctx context.Context, took time.Duration) error {
	again := time.NewTimer(max(readEvery, readShare*took))
	defer again.Stop()
	pause := retryAfter
	for {
		err := s.mend(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.report(err)
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(pause)
			pause = min(2*pause, mendAtMost)
		} else {
			pause = retryAfter
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-retry:
		case <-s.unsaid:
		case <-again.C:
			_, took, err := s.readWhole(ctx)
			if err != nil {
				return err
			}
			again.Reset(max(readEvery, readShare*took))
		}
	}
}

// mend appends what the last whole read has not found, whether a server came back empty, a replica lags behind, or an
// Append failed.
func (s *Set) mend(ctx context.Context) (err error) {
	var entries []string
	flush := func() {
		if err == nil {
			err = s.append(ctx, entries)
		}
		entries = entries[:0]
	}
	// Each server begins at another place, and finds that others have appended the rest.
	s.lacking(s.reads.Load(), s.since(time.Now()), rand.IntN(parts), func(r *Revocation) {
		if err == nil {
			entries = append(entries, r.String())
		}
		if len(entries) == batch {
			flush()
		}
	})
	flush()
	return err
}

// report tells of a change.
func (s *Set) report(err error) {
	s.failing.Lock()
	defer s.failing.Unlock()
	if s.failed != (err != nil) {
		s.failed = err != nil
		s.listener.LogChanged(err)
	}
}

// reportGarbled tells of the first entry that is not a revocation.
func (s *Set) reportGarbled(err error) {
	s.failing.Lock()
	defer s.failing.Unlock()
	if !s.garbled {
		s.garbled = true
		s.listener.Garbled(err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
