package life

import (
	"errors"
	"slices"
	"sync"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

// maxWaiting bounds the connections of a handler that have not shown a token yet.
const maxWaiting = 1024

// A Subject says who a connection belongs to.
type Subject struct{ Issuer, Name string }

// Seats counts the connections of one handler. The zero value has no limits.
type Seats[C any] struct {
	Max, MaxPerSubject int  // 0: no bound
	ReplaceOldest      bool // if a subject has too many
	Replaced           gate.Ending
	SubjectOf          func(*C) Subject

	mu        sync.Mutex
	taken     int
	waiting   int // for the first message
	bySubject map[Subject][]*Conn[C]
}

// A seat is what one connection counts for.
type seat struct {
	taken   bool
	waiting bool
	open    bool
	subject *Subject // nil: not known yet, or not counted
}

// take counts a connection. Its claims are nil if its token is still to come.
func (s *Seats[C]) take(c *Conn[C], claims *C) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Max > 0 && s.taken >= s.Max {
		return refusal.New(refusal.ErrUnavailable, errors.New("MaxConnections"))
	}
	if claims == nil {
		if s.waiting >= maxWaiting {
			return refusal.New(refusal.ErrUnavailable, errors.New("too many connections wait for their first message"))
		}
		s.waiting++
		c.seat.waiting = true
	} else if err := s.count(c, claims); err != nil {
		return err
	}
	s.taken++
	c.seat.taken = true
	return nil
}

// sit records the subject of a connection that waited for its first message.
func (s *Seats[C]) sit(c *Conn[C], claims *C) error {
	s.mu.Lock()
	if !c.seat.waiting {
		s.mu.Unlock()
		return nil
	}
	if err := s.count(c, claims); err != nil {
		s.mu.Unlock()
		return err
	}
	c.seat.waiting = false
	s.waiting--
	s.mu.Unlock()
	s.open(c)
	return nil
}

func (s *Seats[C]) count(c *Conn[C], claims *C) error {
	if s.MaxPerSubject == 0 {
		return nil
	}
	who := s.SubjectOf(claims)
	if len(s.bySubject[who]) >= s.MaxPerSubject && !s.ReplaceOldest {
		return refusal.New(refusal.ErrTooMany, errors.New("MaxPerSubject"))
	}
	if s.bySubject == nil {
		s.bySubject = map[Subject][]*Conn[C]{}
	}
	s.bySubject[who] = append(s.bySubject[who], c)
	c.seat.subject = &who
	return nil
}

// open makes room for a connection that is now open, if the newest replaces the oldest. A handshake that fails replaces
// none.
func (s *Seats[C]) open(c *Conn[C]) {
	for _, oldest := range s.surplus(c) {
		go oldest.End(s.Replaced)
	}
}

// surplus removes from the list those open connections of c's subject that are too many. Their age counts from the
// handshake, or from the first message: a client knows that it is connected, and may connect again, before open is
// called. So c itself may be one of them.
func (s *Seats[C]) surplus(c *Conn[C]) (all []*Conn[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.seat.open = true
	if !s.ReplaceOldest || c.seat.subject == nil {
		return nil
	}
	who := *c.seat.subject
	list := s.bySubject[who]
	excess := -s.MaxPerSubject
	for _, other := range list {
		if other.seat.open {
			excess++
		}
	}
	s.bySubject[who] = slices.DeleteFunc(list, func(other *Conn[C]) bool {
		if excess <= 0 || !other.seat.open {
			return false
		}
		excess--
		other.seat.subject = nil
		all = append(all, other)
		return true
	})
	return all
}

// leave stops counting a connection.
func (s *Seats[C]) leave(c *Conn[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.seat.taken {
		return
	}
	s.taken--
	if c.seat.waiting {
		s.waiting--
	}
	if c.seat.subject == nil {
		return
	}
	who := *c.seat.subject
	if list := s.bySubject[who]; len(list) > 1 {
		s.bySubject[who] = slices.DeleteFunc(list, func(other *Conn[C]) bool { return other == c })
	} else {
		delete(s.bySubject, who)
	}
}
