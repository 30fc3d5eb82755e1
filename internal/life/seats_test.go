package life

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

func TestTheNewestConnectionsOfASubjectReplaceTheOldest(t *testing.T) {
	for _, row := range []struct {
		name  string
		max   int
		steps string // "+a" a handshake begins, "a" it is answered, "-a" its connection is over
		want  string // those that live and were answered
	}{
		{"one after the other", 1, "+a a +b b", "b"},
		{"the first is answered when the second has begun", 1, "+a +b a b", "b"},
		{"the first is answered when the second is open", 1, "+a +b b a", "b"},
		{"a handshake that comes to nothing replaces none", 1, "+a a +b -b", "a"},
		{"a handshake under way replaces none", 1, "+a a +b", "a"},
		{"nor those that begin before the first is answered", 1, "+a +b +c a", "a"},
		{"the last of three that are answered in reverse", 1, "+a +b +c c b a", "c"},
		{"two of three", 2, "+a a +b b +c c", "bc"},
		{"two of three, the first answered last", 2, "+a +b b +c c a", "bc"},
		{"one that has left makes room", 2, "+a a +b b -a +c c", "bc"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule(func(r *Rule[claims]) { r.Seats.MaxPerSubject, r.Seats.ReplaceOldest = row.max, true })
				conns, wires := map[string]*Conn[claims]{}, map[string]*wire{}
				for step := range strings.FieldsSeq(row.steps) {
					name := strings.TrimLeft(step, "+-")
					switch step[0] {
					case '+':
						c, err := rule.Enter(of("alice", time.Hour), true)
						if err != nil {
							t.Fatal(err)
						}
						defer c.Forget()
						conns[name] = c
					case '-':
						conns[name].Forget()
						delete(wires, name)
					default:
						wires[name] = &wire{conn: conns[name]}
						conns[name].Open(wires[name])
						synctest.Wait()
					}
				}
				got := ""
				for _, name := range []string{"a", "b", "c"} {
					if w := wires[name]; w != nil && w.reason() == nil {
						got += name
					}
				}
				if got != row.want {
					t.Errorf("got %q alive, want %q", got, row.want)
				}
			})
		})
	}
}

func TestSeatsAreBounded(t *testing.T) {
	for name, row := range map[string]struct {
		change  func(*Rule[claims])
		of      func(i int) *claims // the i-th of ten
		entered int
		want    error
	}{
		"not by default": {func(*Rule[claims]) {}, func(int) *claims { return of("alice", time.Hour) }, 10, nil},
		"in all": {
			func(r *Rule[claims]) { r.Seats.Max = 3 },
			func(i int) *claims { return of(fmt.Sprint(i), time.Hour) }, 3, refusal.ErrUnavailable,
		},
		"in all, those that wait as well": {
			func(r *Rule[claims]) { r.Seats.Max, r.FirstMessage = 3, time.Hour },
			func(int) *claims { return nil }, 3, refusal.ErrUnavailable,
		},
		"for a subject": {
			func(r *Rule[claims]) { r.Seats.MaxPerSubject = 2 },
			func(int) *claims { return of("alice", time.Hour) }, 2, refusal.ErrTooMany,
		},
		"for each of two": {
			func(r *Rule[claims]) { r.Seats.MaxPerSubject = 2 },
			func(i int) *claims { return of(fmt.Sprint(i%2), time.Hour) }, 4, refusal.ErrTooMany,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule(row.change)
				for range 3 { // what is given back can be taken again
					var entered []*Conn[claims]
					for i := range 10 {
						conn, err := rule.Enter(row.of(i), true)
						if err != nil {
							wantKind(t, err, row.want)
							continue
						}
						entered = append(entered, conn)
					}
					if len(entered) != row.entered {
						t.Errorf("got %d connections, want %d", len(entered), row.entered)
					}
					for _, conn := range entered {
						conn.Forget()
						conn.Forget() // counts once
					}
				}
				if s := rule.Seats; s.taken != 0 || s.waiting != 0 || len(s.bySubject) != 0 {
					t.Errorf("got %d seats taken, %d waiting and %v left, want none", s.taken, s.waiting, s.bySubject)
				}
			})
		})
	}
}

func TestThoseThatWaitForTheirFirstTokenAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := newRule(func(r *Rule[claims]) { r.FirstMessage = time.Hour })
		first, _ := open(t, rule, nil)
		for range maxWaiting - 1 {
			open(t, rule, nil)
		}
		_, err := rule.Enter(nil, true)
		wantKind(t, err, refusal.ErrUnavailable)
		open(t, rule, of("alice", time.Hour)) // who has a token does not wait
		wantKind(t, renew(first, of("bob", time.Hour)), nil)
		open(t, rule, nil) // in the place of the first
		first.Forget()     // which has given it back already
		_, err = rule.Enter(nil, true)
		wantKind(t, err, refusal.ErrUnavailable)
	})
}

func TestWhatIsNotSeatedTakesNoSeat(t *testing.T) {
	rule := newRule(func(r *Rule[claims]) { r.Seats.Max, r.Seats.MaxPerSubject = 1, 1 })
	for range 3 {
		conn, err := rule.Enter(of("alice", time.Hour), false)
		wantKind(t, err, nil)
		defer conn.Forget()
		other, _ := rule.Enter(of("bob", time.Hour), false)
		other.Forget() // and gives none back
	}
	open(t, rule, of("alice", time.Hour))
	_, err := rule.Enter(of("bob", time.Hour), true)
	wantKind(t, err, refusal.ErrUnavailable)
}
