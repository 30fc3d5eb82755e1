package gate

import "sync/atomic"

// A turn is a mutex whose waiters wait on a channel: in a bubble of testing/synctest, a goroutine that waits for a
// sync.Mutex stops the clock, so a Write that is stuck would stop the whole test.
type turn struct {
	count atomic.Int32 // the holder and the waiters
	next  atomic.Pointer[chan struct{}]
}

func (t *turn) try() bool { return t.count.CompareAndSwap(0, 1) }

func (t *turn) take() {
	if t.count.Add(1) > 1 {
		<-t.passed()
	}
}

func (t *turn) give() {
	if t.count.Add(-1) > 0 {
		t.passed() <- struct{}{} // never blocks: only the holder passes a turn on
	}
}

// passed makes the channel when it is first needed: most connections never need it.
func (t *turn) passed() chan struct{} {
	if ch := t.next.Load(); ch != nil {
		return *ch
	}
	ch := make(chan struct{}, 1)
	t.next.CompareAndSwap(nil, &ch)
	return *t.next.Load()
}
