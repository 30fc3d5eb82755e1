package life

import (
	"runtime"
	"time"
)

// A pace keeps a crowd of connections that end at one instant from holding up everything else in the process: only some
// of the ends are under way at a time. Go runs goroutines in the order in which they become ready, so a request would
// wait for the whole crowd.
//
// To begin them all, and only let everything run that is ready after every few of them, was rejected: as long as a
// goroutine is ready, the scheduler does not ask the network, except every 10 ms (runtime/proc.go, findRunnable and
// sysmon). So the request was not even known to be there.
type pace struct {
	underWay chan struct{} // holds those that are; nil: none has begun
}

const (
	atOnce     = 32 // take some milliseconds of a processor
	mostAtOnce = 1024
	patience   = 100 * time.Millisecond // with ends that wait for their peers
)

// begin runs an end in a goroutine of its own, as soon as there is room for it. Those that have been under way for so
// long that nobody else could begin probably wait for their peers. They no longer count, and twice as many may begin.
func (p *pace) begin(end func()) {
	if p.tryBegin(end) {
		return
	}
	impatient := time.NewTimer(patience)
	defer impatient.Stop()
	select {
	case p.underWay <- struct{}{}:
		runtime.Gosched() // an end that makes room hands its turn to us, past everybody who is ready
	case <-impatient.C:
		p.underWay = make(chan struct{}, min(2*cap(p.underWay), mostAtOnce))
		p.underWay <- struct{}{}
	}
	p.run(end)
}

// tryBegin is begin, except that it returns false if there is no room.
func (p *pace) tryBegin(end func()) bool {
	if p.underWay == nil {
		p.underWay = make(chan struct{}, atOnce)
	}
	select {
	case p.underWay <- struct{}{}:
		p.run(end)
		return true
	default:
		return false
	}
}

func (p *pace) run(end func()) {
	underWay := p.underWay
	go func() {
		defer func() { <-underWay }()
		end()
	}()
}

// A crowd is wires that were shut and are to be finished, in order.
type crowd struct {
	pace pace
	rest []Wire // for which there was no room
}

// finish does not wait for the wire.
func (c *crowd) finish(w Wire) {
	if len(c.rest) > 0 || !c.pace.tryBegin(w.Finish) {
		c.rest = append(c.rest, w)
	}
}

// finishRest must follow. It does not wait, either.
func (c *crowd) finishRest() {
	if len(c.rest) == 0 {
		return
	}
	go func() {
		for _, w := range c.rest {
			c.pace.begin(w.Finish)
		}
	}()
}
