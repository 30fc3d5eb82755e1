package life

import (
	"container/heap"
	"sync"
	"time"
)

// A schedule knows when each connection of a Registry must be looked at next, and has one timer, for the first of them.
// A timer for each connection was rejected: if many are due at one instant, the runtime makes a goroutine for each of
// them before it runs anything else.
//
// There is a timer only while a connection waits. So one bubble of testing/synctest after another can use the same
// Registry, though a timer can only be used in the bubble in which it was made.
type schedule[C any] struct {
	mu         sync.Mutex // may be locked while a Conn.mu is held; no Conn.mu is locked while this is held
	waiting    byDue[C]
	timer      *time.Timer   // nil: no connection waits
	start      deadline      // when the timer was made, on both clocks
	fires      time.Duration // after start, on the monotonic clock as in Conn.due: no later than the first Conn.due
	leastAhead time.Duration // the least that wallAhead has been; see checkClocks

	queue  []*Conn[C] // connections that were due, in order, before their ticks begin
	pacing bool       // a goroutine begins them
}

const (
	// The timer runs on the monotonic clock, which stands still while a machine sleeps. So the clocks are compared this
	// often.
	clockCheck = time.Minute

	// A wall clock that has gained less than this is not worth a look at every connection. A busy machine may take some
	// milliseconds between reading one clock and reading the other.
	tolerated = 100 * time.Millisecond

	longestWait = 24 * time.Hour // so that no sum overflows
)

// set makes the connection due when d has passed since now, and no longer at the time that was set before.
func (s *schedule[C]) set(c *Conn[C], now time.Time, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		s.start, s.leastAhead = deadlineIn(0, now), 0
	}
	s.leastAhead = min(s.leastAhead, s.wallAhead(now))
	c.due = s.elapsed(now) + min(d, longestWait)
	if c.slot == 0 {
		heap.Push(&s.waiting, c)
	} else {
		heap.Fix(&s.waiting, c.slot-1)
	}
	if s.timer == nil || s.waiting[0].due < s.fires {
		s.arm(now)
	}
}

// has reports whether the connection will be looked at again.
func (s *schedule[C]) has(c *Conn[C]) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.slot > 0
}

// drop makes the schedule forget the connection.
func (s *schedule[C]) drop(c *Conn[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.slot > 0 {
		heap.Remove(&s.waiting, c.slot-1)
	}
	if len(s.waiting) == 0 {
		s.stop()
	}
}

// stop drops the timer when no connection waits.
func (s *schedule[C]) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer, s.waiting = nil, nil
	}
}

// arm sets the timer for the first connection that waits.
func (s *schedule[C]) arm(now time.Time) {
	elapsed := s.elapsed(now)
	s.fires = min(s.waiting[0].due, elapsed+clockCheck)
	if s.timer == nil {
		s.timer = time.AfterFunc(s.fires-elapsed, s.fire)
	} else {
		s.timer.Reset(s.fires - elapsed)
	}
}

// fire is called by the timer. A connection that is due is shut at once, since nobody calls Check for a response that
// goes on. What may wait for its peer has a pace, which one goroutine keeps, also for the connections that become due
// meanwhile.
func (s *schedule[C]) fire() {
	s.checkClocks(time.Now())
	for c := s.next(time.Now()); c != nil; c = s.next(time.Now()) {
		c.shutInTime()
	}
	if !s.keepPace() {
		return
	}
	var ends pace
	for c := s.nextInQueue(); c != nil; c = s.nextInQueue() {
		ends.begin(c.tick)
	}
}

// next puts a connection that is due into the queue, and returns it. If none is due, it sets the timer and returns nil.
func (s *schedule[C]) next(now time.Time) *Conn[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.waiting) == 0:
		s.stop()
		return nil
	case s.waiting[0].due > s.elapsed(now):
		s.arm(now)
		return nil
	}
	c := heap.Pop(&s.waiting).(*Conn[C])
	s.queue = append(s.queue, c)
	return c
}

// keepPace reports whether the caller is the goroutine that must call nextInQueue until that returns nil.
func (s *schedule[C]) keepPace() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pacing {
		return false
	}
	s.pacing = true
	return true
}

func (s *schedule[C]) nextInQueue() *Conn[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.queue, s.pacing = nil, false
		return nil
	}
	c := s.queue[0]
	s.queue[0], s.queue = nil, s.queue[1:]
	return c
}

// checkClocks looks at all connections if the wall clock has gone forward by more than the monotonic clock: after the
// machine has slept, or when the clock was set. Each Conn.due was computed when the wall clock was ahead by as much as
// it was at that moment. Only one figure is kept for all of them: the least.
//
// If the wall clock was set back, there is nothing to do: the monotonic clock counts.
func (s *schedule[C]) checkClocks(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := s.wallAhead(now)
	if ahead < s.leastAhead+tolerated {
		return
	}
	s.leastAhead = ahead
	for _, c := range s.waiting {
		c.due = min(c.due, s.elapsed(now)+min(c.expiry.Load().left(now), longestWait))
	}
	heap.Init(&s.waiting)
}

// wallAhead returns by how much more than the monotonic clock the wall clock has gone forward since the start.
func (s *schedule[C]) wallAhead(now time.Time) time.Duration {
	return now.Round(0).Sub(s.start.wall) - s.elapsed(now)
}

func (s *schedule[C]) elapsed(now time.Time) time.Duration { return now.Sub(s.start.monotonic) }

// byDue is a heap of the connections that wait. The first is due first.
type byDue[C any] []*Conn[C]

func (h byDue[C]) Len() int           { return len(h) }
func (h byDue[C]) Less(i, j int) bool { return h[i].due < h[j].due }

func (h byDue[C]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

func (h *byDue[C]) Push(c any) {
	*h = append(*h, c.(*Conn[C]))
	(*h)[len(*h)-1].slot = len(*h)
}

func (h *byDue[C]) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.slot = 0
	return c
}
