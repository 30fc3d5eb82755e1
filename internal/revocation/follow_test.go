package revocation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A memoryLog is a log in memory whose faults can be chosen.
type memoryLog struct {
	mu      sync.Mutex
	lives   int // a log that began anew is another one
	entries []string
	page    int           // how many entries Read returns; 0: all
	lag     int           // how many of the newest entries Read does not show
	down    bool          // Read and Append fail
	full    bool          // Append fails
	silent  bool          // nothing comes back
	waits   time.Duration // how long Read waits for entries at the end
	reads   int           // from the beginning
	appends int           // how many entries were appended
	changed chan struct{} // nil: nobody waits
}

var (
	errDown = errors.New("the log is down")
	errNew  = errors.New("the log is another one")
)

func (l *memoryLog) set(change func(*memoryLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	l.tell()
}

// tell wakes those who wait in Read.
func (l *memoryLog) tell() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *memoryLog) nextChange() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// empty is a server that comes back without what it had.
func (l *memoryLog) empty() {
	l.set(func(l *memoryLog) { l.entries, l.lives = nil, l.lives+1 })
}

func (l *memoryLog) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

func (l *memoryLog) has(text string) bool {
	return slices.ContainsFunc(l.get(), func(entry string) bool { return strings.HasSuffix(entry, " "+text) })
}

func (l *memoryLog) answers(ctx context.Context) error {
	l.mu.Lock()
	silent, down := l.silent, l.down
	l.mu.Unlock()
	switch {
	case silent:
		<-ctx.Done()
		return ctx.Err()
	case down:
		return errDown
	}
	return ctx.Err()
}

func (l *memoryLog) Append(ctx context.Context, entries ...string) error {
	if err := l.answers(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return errDown
	}
	l.entries = append(l.entries, entries...)
	l.appends += len(entries)
	l.tell()
	return nil
}

func (l *memoryLog) Read(ctx context.Context, after string) ([]string, string, error) {
	for began := time.Now(); ; {
		changed := l.nextChange()
		if err := l.answers(ctx); err != nil {
			return nil, "", err
		}
		entries, next, err := l.read(after)
		if err != nil || len(entries) > 0 || time.Since(began) >= l.waits || after == "" {
			return entries, next, err
		}
		select {
		case <-changed:
		case <-time.After(l.waits - time.Since(began)):
		case <-ctx.Done():
		}
	}
}

func (l *memoryLog) read(after string) ([]string, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := 0
	if after == "" {
		l.reads++
	} else {
		life, position, _ := strings.Cut(after, " ")
		if life != strconv.Itoa(l.lives) {
			return nil, "", errNew
		}
		at, _ = strconv.Atoi(position)
	}
	at = min(at, len(l.entries))
	end := max(len(l.entries)-l.lag, at)
	if l.page > 0 {
		end = min(end, at+l.page)
	}
	return slices.Clone(l.entries[at:end]), fmt.Sprint(l.lives, " ", end), nil
}

// A node is one server that follows the log.
type node struct {
	*Set
	mu      sync.Mutex
	learned []string
	changes []error
	garbled int
	stop    func()
	ended   chan error
}

func (n *node) Learned(all []Revocation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range all {
		n.learned = append(n.learned, r.Name)
	}
}

func (n *node) LogChanged(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changes = append(n.changes, err)
}

func (n *node) Garbled(error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.garbled++
}

// told returns how often the node has said that the log fails, and that it is there again.
func (n *node) told() (fails, again int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, err := range n.changes {
		if err != nil {
			fails++
		} else {
			again++
		}
	}
	return fails, again
}

// newNode follows the log until the test is over.
func newNode(t *testing.T, log Log, change ...func(*Config)) *node {
	n := newIdleNode(log, change...)
	n.start(t)
	return n
}

func newIdleNode(log Log, change ...func(*Config)) *node {
	n := &node{Set: newSet(append([]func(*Config){func(c *Config) { c.Log, c.MaxStale = log, time.Minute }}, change...)...)}
	n.Tell(n)
	return n
}

func (n *node) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n.ended = make(chan error, 1)
	go func() { n.ended <- n.Follow(ctx) }()
	n.stop = sync.OnceFunc(func() { cancel(); <-n.ended })
	t.Cleanup(n.stop)
}

// revoke revokes all tokens of a user, as Revoke does.
func (n *node) revoke(name string) error {
	r := all(name, time.Now())
	n.Add(r)
	return n.Append(context.Background(), []Revocation{r})
}

func (n *node) knows(name string) bool { return n.IsRevoked(of(name, time.Now()), time.Now()) }

func TestEveryNodeLearnsWhatOneRevokes(t *testing.T) {
	for name, log := range map[string]*memoryLog{
		"a log that waits": {waits: time.Second}, "one that does not": {}, "in pages": {page: 3}, "in pages, and waits": {page: 1, waits: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newNode(t, log), newNode(t, log)
				synctest.Wait()
				time.Sleep(time.Second)
				for i := range 10 {
					if err := a.revoke(fmt.Sprint("user ", i)); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(50 * time.Millisecond)
				late := newNode(t, log)
				time.Sleep(50 * time.Millisecond)
				for i := range 10 {
					if name := fmt.Sprint("user ", i); !b.knows(name) || !late.knows(name) {
						t.Errorf("%s: got %v live and %v late, want both to know", name, b.knows(name), late.knows(name))
					}
				}
				if len(b.learned) != 10 || len(a.learned) != 0 {
					t.Errorf("got told %d and %d times, want 10 times and never", len(b.learned), len(a.learned))
				}
			})
		})
	}
}

// Whatever happens to the log, no revocation is lost, neither by who was there nor by who starts afterwards.
func TestNoFaultOfTheLogLosesARevocation(t *testing.T) {
	for name, fault := range map[string]func(l *memoryLog, step int){
		"it is down for a while":           func(l *memoryLog, step int) { l.set(func(l *memoryLog) { l.down = step%4 == 1 }) },
		"it swallows everything":           func(l *memoryLog, step int) { l.set(func(l *memoryLog) { l.silent = step%5 == 1 }) },
		"it comes back empty":              func(l *memoryLog, step int) { l.empty() },
		"it comes back empty, after a cut": func(l *memoryLog, step int) { l.set(func(l *memoryLog) { l.down = step%2 == 0 }); l.empty() },
		"it comes back with half": func(l *memoryLog, step int) {
			l.set(func(l *memoryLog) { l.lives++; l.entries = l.entries[:len(l.entries)/2] })
		},
		"half of it is lost without a word": func(l *memoryLog, step int) {
			l.set(func(l *memoryLog) { l.entries = append(make([]string, 0), l.entries[len(l.entries)/2:]...) })
		},
		"it cannot be written": func(l *memoryLog, step int) { l.set(func(l *memoryLog) { l.full = step%3 != 0 }) },
		"a replica lags":       func(l *memoryLog, step int) { l.set(func(l *memoryLog) { l.lag = step % 7 }) },
		"a replica that lags takes over": func(l *memoryLog, step int) {
			l.set(func(l *memoryLog) { l.lives++; l.entries = l.entries[:max(0, len(l.entries)-3)] })
		},
		"another program writes to it": func(l *memoryLog, step int) {
			l.set(func(l *memoryLog) { l.entries = append(l.entries, "rubbish", "", "subject all x y z") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &memoryLog{waits: 200 * time.Millisecond, page: 4}
				nodes := []*node{newNode(t, log), newNode(t, log), newNode(t, log)}
				time.Sleep(time.Second)
				var names []string
				for step := range 20 {
					fault(log, step)
					for i, n := range nodes {
						name := fmt.Sprint("user ", step, " ", i)
						n.revoke(name) // whatever it returns
						names = append(names, name)
						time.Sleep(time.Duration(step) * 37 * time.Millisecond)
					}
				}
				log.set(func(l *memoryLog) { l.down, l.silent, l.full, l.lag = false, false, false, 0 })
				time.Sleep(2 * readEvery) // a loss that nobody was told of shows at the next whole read
				late := newNode(t, log)
				time.Sleep(time.Second)
				for _, name := range names {
					for i, n := range append(nodes, late) {
						if !n.knows(name) {
							t.Errorf("node %d does not know %s", i, name)
						}
					}
				}
			})
		})
	}
}

func TestALogThatIsBackIsReadWithinASecond(t *testing.T) {
	for name, away := range map[string]func(*memoryLog, bool){
		"down": func(l *memoryLog, is bool) { l.down = is },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &memoryLog{waits: 200 * time.Millisecond}
				a, b := newNode(t, log), newNode(t, log)
				time.Sleep(time.Second)
				log.set(func(l *memoryLog) { away(l, true) })
				a.revoke("alice")
				time.Sleep(10 * time.Minute)
				log.set(func(l *memoryLog) { away(l, false) })
				time.Sleep(time.Second)
				if !b.knows("alice") {
					t.Error("got alice not revoked on the other node, want her revoked")
				}
			})
		})
	}
}

func TestTokensAreAcceptedOnlyWhileTheLogIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond, down: true}
		n := newIdleNode(log)
		if err := n.IsFresh(); err == nil || !strings.Contains(err.Error(), "Follow does not run") {
			t.Errorf("got %v before Follow, want it refused", err)
		}
		n.start(t)
		time.Sleep(time.Hour)
		if n.IsFresh() == nil {
			t.Error("got tokens accepted before the log was read, want none")
		}
		log.set(func(l *memoryLog) { l.down = false })
		time.Sleep(time.Second)
		if err := n.IsFresh(); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		log.set(func(l *memoryLog) { l.down = true })
		for range 59 {
			time.Sleep(time.Second)
			if err := n.IsFresh(); err != nil {
				t.Errorf("got %v before MaxStale, want no error", err)
			}
		}
		time.Sleep(2 * time.Second)
		if err := n.IsFresh(); err == nil || !strings.Contains(err.Error(), "MaxStale") {
			t.Errorf("got %v after MaxStale, want an error", err)
		}
		if fails, again := n.told(); fails != 2 || again != 1 {
			t.Errorf("got told %d times that it fails and %d times that it is there again, want 2 and 1", fails, again)
		}
		log.set(func(l *memoryLog) { l.down = false })
		time.Sleep(time.Second)
		if err := n.IsFresh(); err != nil {
			t.Errorf("got %v when it is back, want no error", err)
		}
		n.stop()
		if n.IsFresh() == nil {
			t.Error("got tokens accepted when Follow has returned, want none")
		}
	})
}

func TestALogThatSwallowsEverythingIsNotFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		n := newNode(t, log)
		time.Sleep(time.Second)
		log.set(func(l *memoryLog) { l.silent = true })
		time.Sleep(time.Minute + 2*time.Second)
		if n.IsFresh() == nil {
			t.Error("got tokens accepted, want none")
		}
	})
}

func TestANegativeMaxStaleAcceptsTokensHoweverLongTheLogIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		n := newNode(t, log, func(c *Config) { c.MaxStale = -1 })
		time.Sleep(time.Second)
		log.set(func(l *memoryLog) { l.down = true })
		time.Sleep(24 * time.Hour)
		if err := n.IsFresh(); err != nil {
			t.Errorf("got %v, want no error", err)
		}
	})
}

func TestALogThatIsWrittenToAllTheTimeIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond, page: 100}
		n := newNode(t, log, func(c *Config) { c.MaxStale = time.Second })
		time.Sleep(time.Second)
		for i := range 20_000 {
			r := all(fmt.Sprint(i), time.Now())
			log.Append(t.Context(), r.String())
			if i%10 == 0 {
				log.Append(t.Context(), r.String()) // two at one time
			}
			time.Sleep(time.Millisecond)
			if err := n.IsFresh(); err != nil {
				t.Fatalf("got %v after %d entries, want no error", err, i)
			}
		}
	})
}

func TestRevokeSaysThatTheLogHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		n := newNode(t, log)
		time.Sleep(time.Second)
		if err := n.revoke("alice"); err != nil || !log.has("alice") {
			t.Errorf("got %v, want no error and alice in the log", err)
		}
		log.set(func(l *memoryLog) { l.full = true })
		if err := n.revoke("bob"); err == nil || !n.knows("bob") {
			t.Errorf("got %v, want an error and bob revoked here", err)
		}
		time.Sleep(time.Hour)
		if fails, _ := n.told(); fails != 1 {
			t.Errorf("got told %d times that the log fails, want once", fails)
		}
		log.set(func(l *memoryLog) { l.full = false })
		time.Sleep(mendAtMost)
		if !log.has("bob") {
			t.Error("got bob not in the log, want him there")
		}
		if _, again := n.told(); again != 1 {
			t.Errorf("got told %d times that it is there again, want once", again)
		}
	})
}

func TestTheWholeLogIsReadInOneHundredthOfTheTimeAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		newNode(t, log)
		time.Sleep(time.Hour)
		if log.set(func(*memoryLog) {}); log.reads < 55 || log.reads > 61 {
			t.Errorf("got %d whole reads in an hour, want one a minute", log.reads)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{memoryLog{}, 10 * time.Second}
		newNode(t, log)
		time.Sleep(2 * time.Hour)
		if log.set(func(*memoryLog) {}); log.reads > 8 {
			t.Errorf("got %d whole reads of 10 seconds in two hours, want 8 at most", log.reads)
		}
	})
}

// A slowLog takes its time for the beginning.
type slowLog struct {
	memoryLog
	takes time.Duration
}

func (l *slowLog) Read(ctx context.Context, after string) ([]string, string, error) {
	if after == "" {
		time.Sleep(l.takes - time.Millisecond)
	}
	return l.memoryLog.Read(ctx, after)
}

func TestNodesDoNotAppendWhatTheLogHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		nodes := []*node{newNode(t, log), newNode(t, log), newNode(t, log)}
		time.Sleep(time.Second)
		for i := range 100 {
			nodes[i%3].revoke(fmt.Sprint(i))
		}
		time.Sleep(30 * time.Minute)
		if log.set(func(*memoryLog) {}); log.appends != 100 {
			t.Errorf("got %d entries appended, want the 100 once", log.appends)
		}
	})
}

func TestWhatIsOverIsNotAppendedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		n := newNode(t, log)
		time.Sleep(time.Second)
		n.revoke("alice")
		time.Sleep(2 * time.Hour)
		log.empty()
		time.Sleep(time.Hour)
		if got := log.get(); len(got) != 0 {
			t.Errorf("got %q, want nothing of what is over", got)
		}
	})
}

func TestAnEntryThatIsNoRevocationIsToldOfOnceAndSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{waits: 200 * time.Millisecond}
		r := all("alice", time.Now())
		log.Append(t.Context(), "rubbish", r.String(), "rubbish")
		n := newNode(t, log)
		time.Sleep(10 * time.Minute)
		if n.garbled != 1 || !n.knows("alice") {
			t.Errorf("got told %d times, and alice known: %v, want once, and known", n.garbled, n.knows("alice"))
		}
	})
}

func TestFollowRunsOnceAndOnlyWithALog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, &memoryLog{})
		synctest.Wait()
		if err := n.Follow(t.Context()); err != errFollowed {
			t.Errorf("got %v, want %v", err, errFollowed)
		}
		n.stop()
		n.start(t)
		time.Sleep(time.Second)
		if err := n.IsFresh(); err != nil {
			t.Errorf("got %v after a second start, want no error", err)
		}
	})
	if err := newSet().Follow(t.Context()); err != errNoLog {
		t.Errorf("got %v, want %v", err, errNoLog)
	}
	if err := (*Set)(nil).Follow(t.Context()); err != errNoLog {
		t.Errorf("got %v of no set, want %v", err, errNoLog)
	}
}

func TestFollowReturnsTheCauseOfItsEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("going down")
	cancel(cause)
	n := newIdleNode(&memoryLog{})
	if err := n.Follow(ctx); err != cause {
		t.Errorf("got %v, want %v", err, cause)
	}
}
