package gate

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A willing connection takes what is written at once, and its peer has gone.
type willing struct {
	net.Conn
	written *atomic.Int32
}

func (w willing) Read([]byte) (int, error)         { return 0, io.EOF }
func (w willing) Write(p []byte) (int, error)      { w.written.Add(1); return len(p), nil }
func (w willing) Close() error                     { return nil }
func (w willing) SetDeadline(time.Time) error      { return nil }
func (w willing) SetReadDeadline(time.Time) error  { return nil }
func (w willing) SetWriteDeadline(time.Time) error { return nil }

// One processor runs goroutines in the order in which they become ready.
func TestWhoBecomesReadyAfterACrowdOfEndsDoesNotWaitForAllOfIt(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const crowd = 200 // fits into the processor's queue
	var written atomic.Int32
	gates := make([]*Conn, crowd)
	for i := range gates {
		gates[i], _ = over(t, willing{written: &written}, "", Options{})
		gates[i].Shut(ending)
		gates[i].end.Load().decided = time.Now().Add(time.Hour) // however long this machine takes
	}
	var all sync.WaitGroup
	var before int32
	for _, c := range gates {
		all.Go(c.Finish)
	}
	all.Go(func() { before = written.Load() })
	all.Go(func() {}) // the youngest goroutine runs first
	all.Wait()
	if before > crowd/2 {
		t.Errorf("got %d of %d ends before it, want at most half", before, crowd)
	}
	if got := written.Load(); got != crowd {
		t.Errorf("got %d close frames, want %d", got, crowd)
	}
}

func TestTheLongerEndsHaveWaitedTheMoreOfThemPassAtOnce(t *testing.T) {
	for waited, want := range map[time.Duration]int{
		-time.Hour: 16, 0: 16, 99 * time.Millisecond: 16, 250 * time.Millisecond: 48, time.Second: 176, time.Hour: 576016,
	} {
		if got := passing(waited); got != want {
			t.Errorf("got %d after %v, want %d", got, waited, want)
		}
	}
}

func TestEndsThatHaveWaitedForAnHourLetNobodyElseRunFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const crowd = 1000
	most := int32(0)
	for range 20 { // the system may take the processor away in between, but hardly each time
		var ends turnstile
		var passed, before atomic.Int32
		var other sync.WaitGroup
		other.Go(func() { before.Store(passed.Load()) })
		for range crowd {
			ends.pass(time.Now().Add(-time.Hour))
			passed.Add(1)
		}
		other.Wait()
		most = max(most, before.Load())
	}
	if most != crowd {
		t.Errorf("got %d of %d that pass first, want all", most, crowd)
	}
}

func TestPeersThatDoNotReadHoldNobodyUp(t *testing.T) {
	for name, stall := range map[string]func(c *Conn){
		"from the start": func(*Conn) {},
		"within a frame": func(c *Conn) { go c.Write(frameOf(2, false, make([]byte, 100))); synctest.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				for range 10 * atOnce {
					c, _, _ := pipe(t)
					stall(c)
					c.Shut(ending)
					go c.Finish()
				}
				synctest.Wait()
				c, peer, _ := pipe(t)
				c.Shut(ending)
				go c.Finish()
				got := make([]byte, len(goodbye))
				if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, goodbye) {
					t.Errorf("got %x, %v, want %x", got, err, goodbye)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("got the close frame after %v, want it at once", took)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}
