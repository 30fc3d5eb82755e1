package gate

import (
	"runtime"
	"sync"
	"time"
)

// A turnstile keeps a crowd of connections that end at one instant from holding up everything else in the process. Go
// runs goroutines in the order in which they become ready, so a request would wait for the whole crowd. Each end passes
// the turnstile before it begins to write, and every few ends let everything run that is ready.
//
// Whoever has passed holds nothing, so a peer that does not read holds up nobody. A semaphore would be held for as long
// as the write is stuck. A pause of a fixed length would be too short on a busy machine and too long on an idle one.
type turnstile struct {
	mu     sync.Mutex // held while everything else runs, so that no other end passes
	passed int        // since everything else has run
}

const (
	atOnce   = 16                     // take about a millisecond of a processor
	patience = 100 * time.Millisecond // with each of it that an end has waited, 16 more pass at once
)

// ends is the turnstile of the process: all connections share its processors.
var ends turnstile

// pass lets an end begin that was decided at the time given.
func (t *turnstile) pass(decided time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed++
	if t.passed >= passing(time.Since(decided)) {
		runtime.Gosched()
		t.passed = 0
	}
}

// passing returns how many ends pass at once when one of them has waited for so long.
func passing(waited time.Duration) int { return atOnce * (1 + int(max(waited, 0)/patience)) }
