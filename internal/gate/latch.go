package gate

import "sync/atomic"

// A latch is opened once, and has a channel that is closed from then on. The channel is made when it is first asked
// for, since most connections never need it.
type latch struct{ ch atomic.Pointer[chan struct{}] }

var closedChannel = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

func (l *latch) open() {
	if !l.ch.CompareAndSwap(nil, &closedChannel) {
		close(*l.ch.Load())
	}
}

func (l *latch) opened() <-chan struct{} {
	if ch := l.ch.Load(); ch != nil {
		return *ch
	}
	ch := make(chan struct{})
	l.ch.CompareAndSwap(nil, &ch)
	return *l.ch.Load()
}
