package life

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
)

// A lamp is a Wire that remembers whether it was shut.
type lamp struct{ shut bool }

func (l *lamp) Shut(gate.Ending) bool { l.shut = true; return true }
func (l *lamp) Finish()               {}

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
				rule := &Rule[string]{
					Registry: NewRegistry[string](),
					Seats: &Seats[string]{
						MaxPerSubject: row.max, ReplaceOldest: true,
						SubjectOf: func(name *string) Subject { return Subject{Name: *name} },
					},
					Expiry: func(*string) time.Time { return time.Now().Add(time.Hour) },
				}
				alice := "alice"
				conns, lamps := map[string]*Conn[string]{}, map[string]*lamp{}
				for step := range strings.FieldsSeq(row.steps) {
					name := strings.TrimLeft(step, "+-")
					switch step[0] {
					case '+':
						c, err := rule.Enter(&alice, true)
						if err != nil {
							t.Fatal(err)
						}
						defer c.Forget()
						conns[name] = c
					case '-':
						conns[name].Forget()
						delete(lamps, name)
					default:
						lamps[name] = new(lamp)
						conns[name].Open(lamps[name])
						synctest.Wait()
					}
				}
				got := ""
				for _, name := range []string{"a", "b", "c"} {
					if l := lamps[name]; l != nil && !l.shut {
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
