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
	atOnce     = 32 // so many ends take some milliseconds of a processor
	mostAtOnce = 1024
	patience   = 100 * time.Millisecond // with ends that wait for their peers
)

// begin runs an end in a goroutine of its own, as soon as there is room for it. If there is none for as long as
// patience, the ends under way are probably waiting for their peers: they no longer count, and twice as many may begin.
func (p *pace) begin(end func()) {
	if p.tryBegin(end) {
		return
	}
	impatient := time.NewTimer(patience)
	defer impatient.Stop()
	select {
	case p.underWay <- struct{}{}:
		runtime.Gosched() // the end that made room woke us ahead of all goroutines that are ready
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

// A finisher finishes wires that were shut, in order, and only some at a time.
type finisher struct {
	pace pace
	rest []Wire // there was no room for these yet
}

// finish does not wait for the wire.
func (f *finisher) finish(w Wire) {
	if len(f.rest) > 0 || !f.pace.tryBegin(w.Finish) {
		f.rest = append(f.rest, w)
	}
}

// finishRest must be called after the last call of finish. It does not wait, either.
func (f *finisher) finishRest() {
	if len(f.rest) == 0 {
		return
	}
	go func() {
		for _, w := range f.rest {
			f.pace.begin(w.Finish)
		}
	}()
}
