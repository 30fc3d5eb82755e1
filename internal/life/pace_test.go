package life

import (
	"context"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/revocation"
)

const soon = 20 * time.Millisecond

// allEnd are the ways in which all connections of a rule can end at one instant.
var allEnd = map[string]struct {
	after time.Duration // after which their tokens end
	end   func(*Rule[holder], *revocation.Set)
}{
	"their tokens end": {soon, func(*Rule[holder], *revocation.Set) {}},
	"Disconnect of everybody": {time.Hour, func(r *Rule[holder], _ *revocation.Set) {
		r.Registry.Disconnect(func(*holder) bool { return true }, gate.Ending{Err: errOther})
	}},
	"Revoke of an issuer": {time.Hour, func(r *Rule[holder], set *revocation.Set) {
		revoke(r, set, revocation.Issuer, "")
	}},
	"Shutdown without a deadline": {time.Hour, func(r *Rule[holder], _ *revocation.Set) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.Registry.Shutdown(ctx, shutDown)
	}},
}

// A counted is a wire that counts its end in its crowd. Finish takes some time, and only the first call counts.
type counted struct {
	crowd *counts
	takes time.Duration
	begun atomic.Bool
}

type counts struct {
	first  func(*counts) // called when the first end begins
	all    int           // how many will begin
	allDid chan struct{} // closed when all have begun

	mu             sync.Mutex
	begun          int
	underWay, most int
}

func (w *counted) Shut(gate.Ending) bool { return true }

func (w *counted) Finish() {
	if w.begun.Swap(true) {
		return
	}
	w.crowd.begin()
	time.Sleep(w.takes)
	w.crowd.mu.Lock()
	defer w.crowd.mu.Unlock()
	w.crowd.underWay--
}

func (c *counts) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	c.underWay++
	c.most = max(c.most, c.underWay)
	switch c.begun {
	case 1:
		c.first(c)
	case c.all:
		close(c.allDid)
	}
}

func (c *counts) soFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

// crowdOf opens connections whose tokens end after some time, and whose Finish takes some time.
func crowdOf(
	t *testing.T, n int, after, takes time.Duration, first func(*counts),
) (*counts, *Rule[holder], *revocation.Set) {
	rule, set := newNamedRule()
	crowd := &counts{first: first, all: n, allDid: make(chan struct{})}
	token := namedOf("alice", "", "")
	token.expiry = time.Now().Add(after)
	for range n {
		conn, err := rule.Enter(token, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Forget)
		conn.Open(&counted{crowd: crowd, takes: takes})
		conn.Admit()
	}
	return crowd, rule, set
}

// One processor runs goroutines in the order in which they become ready.
func TestAGoroutineThatBecomesReadyInACrowdOfEndsDoesNotWaitForAllOfThem(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const n = 200 // fits into the processor's queue
	for name, all := range allEnd {
		t.Run(name, func(t *testing.T) {
			least := n
			for range 5 { // the system may take the processor away for so long that the ends lose their patience
				before := make(chan int, 1)
				crowd, rule, set := crowdOf(t, n, all.after, 0, func(crowd *counts) {
					go func() { before <- crowd.soFar() }()
					go func() {}() // the youngest goroutine runs first
				})
				all.end(rule, set)
				<-crowd.allDid
				least = min(least, <-before)
			}
			if least > n/2 {
				t.Errorf("got %d of %d ends before it, want at most half", least, n)
			}
		})
	}
}

func TestOnlySomeEndsOfACrowdAreUnderWayAtATime(t *testing.T) {
	for name, all := range allEnd {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				crowd, rule, set := crowdOf(t, 10*atOnce, all.after, 10*time.Millisecond, func(*counts) {})
				all.end(rule, set)
				<-crowd.allDid
				if crowd.most > atOnce {
					t.Errorf("got %d at a time, want at most %d", crowd.most, atOnce)
				}
				if took := time.Since(start); took > soon+90*time.Millisecond {
					t.Errorf("got the last to begin after %v, want it to begin when there is room", took)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

func TestTwiceAsManyEndsBeginAfterEachWaitForThePeersOfOthers(t *testing.T) {
	const n = 3100
	for name, all := range allEnd {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crowd, rule, set := crowdOf(t, n, all.after, time.Minute, func(*counts) {})
				all.end(rule, set)
				time.Sleep(soon) // for those that end by themselves
				for i, want := range []int{32, 96, 224, 480, 992, 2016, 3040, n} {
					synctest.Wait()
					if got := crowd.soFar(); got != want {
						t.Errorf("got %d of %d that have begun after %v, want %d", got, n, time.Duration(i)*patience, want)
					}
					time.Sleep(patience)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// A response that goes on, such as server-sent events, has nobody else who looks at the clock: what ends it is Shut.
func TestAConnectionThatIsDueIsShutAtOnceBehindACrowdThatWaitsForItsPeers(t *testing.T) {
	for name, row := range map[string]struct{ after, ping time.Duration }{
		"due just behind it":              {soon + 1, 0},
		"due some time later":             {soon + 3*patience/2, 0},
		"due later, and for a ping first": {soon + 3*patience/2, soon + 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				crowd, rule, _ := crowdOf(t, 3100, soon, time.Minute, func(*counts) {})
				token := namedOf("bob", "", "")
				token.expiry = start.Add(row.after)
				rule.Ping = row.ping
				conn, err := rule.Enter(token, true)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(conn.Forget)
				shut := make(chan struct{})
				conn.Attach(Stream{
					Cancel: func(error) { close(shut) },
					Writer: httptest.NewRecorder(),
				})
				<-shut
				if got := time.Since(start); got != row.after {
					t.Errorf("got it shut after %v, want %v", got, row.after)
				}
				<-crowd.allDid
				time.Sleep(time.Hour)
			})
		})
	}
}

func TestAPeerThatClosesWhileItsConnectionWaitsBehindACrowdHasTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crowd, rule, _ := crowdOf(t, 3100, soon, time.Minute, func(*counts) {})
		conn, err := rule.Enter(namedOf("bob", "", ""), true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Forget)
		shut := make(chan struct{})
		conn.Attach(Stream{Cancel: func(error) { close(shut) }, Writer: httptest.NewRecorder()})
		conn.DelayTimer(soon + 1)
		time.Sleep(soon + patience/2)
		left := time.Now()
		conn.Left(gate.ErrPeerClosed)
		<-shut
		if got := time.Since(left); got != rule.Grace {
			t.Errorf("got it shut after %v, want %v", got, rule.Grace)
		}
		<-crowd.allDid
		time.Sleep(time.Hour)
	})
}
