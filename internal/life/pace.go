package life

import (
	"runtime"
	"time"
)

// A pace keeps a crowd of connections that end at one instant from holding up everything else in the process. Go runs
// goroutines in the order in which they become ready, and looks at the network only when none is ready. So a request
// would wait for the whole crowd. Whoever starts the goroutines of a crowd therefore lets everything run that is ready,
// after every few of them, and then sleeps for an eighth of the time that took. To yield without sleeping was rejected:
// there is always a goroutine that is ready then, and the runtime looks at the network only every 10 ms. To sleep for as
// long as that took was rejected, too: the last end came half as late again.
//
// The ends that have begun hold nothing, so a peer that does not read holds up nobody. A semaphore would be held for as
// long as the write is stuck. A pause of a fixed length would be too short on a busy machine and too long on an idle
// one.
type pace struct {
	begun int       // since everything else has run
	since time.Time // when the first of them began
}

const (
	atOnce   = 16                     // take about a millisecond of a processor
	patience = 100 * time.Millisecond // with each of it that an end has waited, 16 more begin at once
)

// step is called when one is about to begin that has waited for so long.
func (p *pace) step(waited time.Duration) {
	if p.begun >= beginning(waited) {
		runtime.Gosched()
		time.Sleep(time.Since(p.since) / 8)
		p.begun = 0
	}
	if p.begun++; p.begun == 1 {
		p.since = time.Now()
	}
}

// beginning returns how many begin at once when one of them has waited for so long.
func beginning(waited time.Duration) int { return atOnce * (1 + int(max(waited, 0)/patience)) }

// A crowd is wires that were shut and are to be finished, in order.
type crowd struct {
	begun int
	rest  []Wire
}

// finish does not wait for the wire. The first few of a crowd begin at once.
func (c *crowd) finish(w Wire) {
	if c.begun == atOnce {
		c.rest = append(c.rest, w)
		return
	}
	c.begun++
	go w.Finish()
}

// finishRest must follow. It does not wait, either.
func (c *crowd) finishRest() {
	if len(c.rest) > 0 {
		go finishInTurn(c.rest, time.Now())
	}
}

func finishInTurn(wires []Wire, shut time.Time) {
	var pace pace
	for _, w := range wires {
		pace.step(time.Since(shut))
		go w.Finish()
	}
}
