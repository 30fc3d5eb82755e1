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
	mu      sync.Mutex // Conn.mu may be held when it is taken, but is never taken while it is held
	waiting byDue[C]
	timer   *time.Timer   // nil: nobody waits
	begun   deadline      // when the timer was made; the durations below count from then, on the monotonic clock
	fires   time.Duration // when the timer fires: not later than the first of those who wait is due
	ahead   time.Duration // see checkClocks
}

const (
	// The timer runs on the monotonic clock, which stands still while a machine sleeps. So the clocks are compared this
	// often.
	clockCheck = time.Minute

	// A wall clock that is ahead by less than this is not worth a look at all connections. Between reading one clock
	// and reading the other, a busy machine may take some milliseconds.
	tolerated = 100 * time.Millisecond

	longestWait = 24 * time.Hour // so that no sum overflows
)

// set has the connection looked at when d has passed since now, and not when it was set to before.
func (s *schedule[C]) set(c *Conn[C], now time.Time, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		s.begun, s.ahead = deadlineIn(0, now), 0
	}
	s.ahead = min(s.ahead, s.wallAhead(now))
	c.due = s.alive(now) + min(d, longestWait)
	if c.slot == 0 {
		heap.Push(&s.waiting, c)
	} else {
		heap.Fix(&s.waiting, c.slot-1)
	}
	if s.timer == nil || s.waiting[0].due < s.fires {
		s.arm(now)
	}
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

// stop is called when nobody waits.
func (s *schedule[C]) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer, s.waiting = nil, nil
	}
}

// arm sets the timer for the first of those who wait.
func (s *schedule[C]) arm(now time.Time) {
	alive := s.alive(now)
	s.fires = min(s.waiting[0].due, alive+clockCheck)
	if s.timer == nil {
		s.timer = time.AfterFunc(s.fires-alive, s.fire)
	} else {
		s.timer.Reset(s.fires - alive)
	}
}

// fire is called by the timer.
func (s *schedule[C]) fire() {
	s.checkClocks(time.Now())
	var pace pace
	for {
		c, late := s.next(time.Now())
		if c == nil {
			return
		}
		pace.step(late)
		go c.tick() // may wait for the peer
	}
}

// next takes out a connection that is due, and returns how late that is. If none is due, it sets the timer and returns
// nil.
func (s *schedule[C]) next(now time.Time) (c *Conn[C], late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.stop()
		return nil, 0
	}
	c = s.waiting[0]
	if late = s.alive(now) - c.due; late < 0 {
		s.arm(now)
		return nil, 0
	}
	heap.Pop(&s.waiting)
	return c, late
}

// checkClocks looks at all connections if the wall clock has gone forward by more than the monotonic clock: after the
// machine has slept, or when the clock was set. The time that is left to a connection was computed when both clocks
// agreed as they did at that moment, so what counts is the moment at which the wall clock was least ahead.
//
// If the wall clock was set back, there is nothing to do: the monotonic clock counts.
func (s *schedule[C]) checkClocks(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := s.wallAhead(now)
	if ahead < s.ahead+tolerated {
		return
	}
	s.ahead = ahead
	for _, c := range s.waiting {
		c.due = min(c.due, s.alive(now)+min(c.expiry.Load().left(now), longestWait))
	}
	heap.Init(&s.waiting)
}

// wallAhead returns by how much more the wall clock has gone forward since begun than the monotonic clock.
func (s *schedule[C]) wallAhead(now time.Time) time.Duration {
	return now.Round(0).Sub(s.begun.wall) - s.alive(now)
}

func (s *schedule[C]) alive(now time.Time) time.Duration { return now.Sub(s.begun.monotonic) }

// byDue is a heap of those who wait. The first of them is due first.
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
