package life

import (
	"context"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/revocation"
)

// allEnd are the ways in which all connections of a rule can end at one instant.
var allEnd = map[string]func(*Rule[holder], *revocation.Set){
	"their tokens end": func(*Rule[holder], *revocation.Set) {}, // by themselves
	"Disconnect of everybody": func(r *Rule[holder], _ *revocation.Set) {
		r.Registry.Disconnect(func(*holder) bool { return true }, gate.Ending{Err: errOther})
	},
	"Revoke of an issuer": func(r *Rule[holder], set *revocation.Set) { revoke(r, set, revocation.Issuer, "") },
	"Shutdown without a deadline": func(r *Rule[holder], _ *revocation.Set) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.Registry.Shutdown(ctx, shutDown)
	},
}

// A counted is a wire that counts how many of its crowd begin to finish. Finish then takes some time.
type counted struct {
	crowd *counts
	takes time.Duration
	works time.Duration // before that, without letting anybody else run
}

type counts struct {
	begun  atomic.Int32
	first  func(*counts) // is called when one of them begins
	all    int32
	allDid chan struct{} // closed when all have begun
}

func (w counted) Shut(gate.Ending) bool { return true }

func (w counted) Finish() {
	switch w.crowd.begun.Add(1) {
	case 1:
		w.crowd.first(w.crowd)
	case w.crowd.all:
		close(w.crowd.allDid)
	}
	for begun := time.Now(); time.Since(begun) < w.works; {
	}
	time.Sleep(w.takes)
}

// inAMoment is long enough to open a crowd before it ends.
const inAMoment = 100 * time.Millisecond

// crowdOf opens connections whose tokens end in a moment.
func crowdOf(t *testing.T, n int, w counted, first func(*counts)) (*counts, *Rule[holder], *revocation.Set) {
	rule, set := newNamedRule()
	crowd := &counts{first: first, all: int32(n), allDid: make(chan struct{})}
	w.crowd = crowd
	token := namedOf("alice", "", "")
	token.expiry = time.Now().Add(inAMoment)
	for range n {
		conn, err := rule.Enter(token, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Forget)
		conn.Open(w)
		conn.Admit()
	}
	return crowd, rule, set
}

// One processor runs goroutines in the order in which they become ready.
func TestWhoBecomesReadyInACrowdOfEndsDoesNotWaitForAllOfIt(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const n = 200 // fits into the processor's queue
	for name, end := range allEnd {
		t.Run(name, func(t *testing.T) {
			least := int32(n)
			for range 5 { // the system may take the processor away for so long that the ends lose their patience
				before := make(chan int32, 1)
				crowd, rule, set := crowdOf(t, n, counted{}, func(crowd *counts) {
					go func() { before <- crowd.begun.Load() }()
					go func() {}() // the youngest goroutine runs first
				})
				end(rule, set)
				<-crowd.allDid
				least = min(least, <-before)
			}
			if least > n/2 {
				t.Errorf("got %d of %d ends before it, want at most half", least, n)
			}
		})
	}
}

// The runtime looks at the network when no goroutine is ready, or else every 10 ms.
func TestARequestThatComesInACrowdOfEndsDoesNotWaitForAllOfIt(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const n, works, rounds = 400, 20 * time.Microsecond, 5
	for name, end := range allEnd {
		t.Run(name, func(t *testing.T) {
			var before []int32
			for range rounds { // the system may take the processor away for so long that the ends lose their patience
				server, client := loopback(t)
				come := make(chan struct{})
				crowd, rule, set := crowdOf(t, n, counted{works: works}, func(*counts) { client.Write([]byte("request")) })
				var begun int32
				go func() {
					defer close(come)
					server.Read(make([]byte, 10))
					begun = crowd.begun.Load()
				}()
				end(rule, set)
				<-crowd.allDid
				<-come
				before = append(before, begun)
			}
			slices.Sort(before)
			if before[1] > n/2 {
				t.Errorf("got %v of %d ends before it, want at most half at least twice", before, n)
			}
		})
	}
}

// loopback returns both ends of a connection.
func loopback(t *testing.T) (server, client net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

func TestTheLongerEndsHaveWaitedTheMoreOfThemBeginAtOnce(t *testing.T) {
	for waited, want := range map[time.Duration]int{
		-time.Hour: 16, 0: 16, 99 * time.Millisecond: 16, 250 * time.Millisecond: 48, time.Second: 176, time.Hour: 576016,
	} {
		if got := beginning(waited); got != want {
			t.Errorf("got %d after %v, want %d", got, waited, want)
		}
	}
}

func TestEndsThatHaveWaitedForAnHourLetNobodyElseRunFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const crowd = 1000
	most := int32(0)
	for range 20 { // the system may take the processor away in between, but hardly each time
		var pace pace
		var begun atomic.Int32
		before := make(chan int32, 1)
		go func() { before <- begun.Load() }()
		for range crowd {
			pace.step(time.Hour)
			begun.Add(1)
		}
		most = max(most, <-before)
	}
	if most != crowd {
		t.Errorf("got %d of %d that begin first, want all", most, crowd)
	}
}

func TestEndsThatTakeTheirTimeHoldNobodyUp(t *testing.T) {
	for name, end := range allEnd {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				crowd, rule, set := crowdOf(t, 10*atOnce, counted{takes: time.Minute}, func(*counts) {})
				end(rule, set)
				<-crowd.allDid
				if took := time.Since(start); took > inAMoment {
					t.Errorf("got the last to begin after %v, want none to wait for another", took)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}
