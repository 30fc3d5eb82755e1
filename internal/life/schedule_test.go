package life

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
)

// Both clocks of a bubble advance together. So wallClockGoesForward sets back the recorded wall times instead, as if
// the wall clock had gone forward since.
func wallClockGoesForward(d time.Duration, g *Registry[claims], conns ...*Conn[claims]) {
	g.schedule.mu.Lock()
	defer g.schedule.mu.Unlock()
	g.schedule.start.wall = g.schedule.start.wall.Add(-d)
	for _, c := range conns {
		expiry := *c.expiry.Load()
		expiry.wall = expiry.wall.Add(-d)
		c.expiry.Store(&expiry)
	}
}

func TestAConnectionEndsWithinAMinuteOfTheEndThatEitherClockShows(t *testing.T) {
	for name, row := range map[string]struct {
		forward time.Duration // by how much the wall clock is set, after half an hour
		want    time.Duration // since the start
	}{
		"the clocks agree":                                   {0, time.Hour},
		"the machine slept for a day":                        {24 * time.Hour, 31 * time.Minute},
		"the wall clock was set to just after the end":       {30 * time.Minute, 31 * time.Minute},
		"the wall clock was set to some time before the end": {10 * time.Minute, 50 * time.Minute},
		"the wall clock was set back":                        {-24 * time.Hour, time.Hour},
		"the wall clock was set forward by a little":         {50 * time.Millisecond, time.Hour},
		"the wall clock was set forward by a second":         {time.Second, time.Hour - time.Second},
		"the wall clock was set forward by half a century":   {50 * 365 * 24 * time.Hour, 31 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule, start := newRule(), time.Now()
				conn, w := open(t, rule, of("alice", time.Hour))
				time.Sleep(30*time.Minute + time.Second/2)
				wallClockGoesForward(row.forward, rule.Registry, conn)
				time.Sleep(2 * time.Hour)
				if got := w.shutAfter(start); w.reason() != errExpired || got > row.want || got < row.want-time.Minute {
					t.Errorf("got %v after %v, want %v after %v, or up to a minute before", w.reason(), got, errExpired, row.want)
				}
			})
		})
	}
}

// The wall clock is an hour late when the second connection enters, and then it is right again.
func TestAWallClockThatWasSetBackAndForwardLengthensNoLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := newRule()
		alice, _ := open(t, rule, of("alice", 24*time.Hour))
		time.Sleep(10 * time.Second)
		wallClockGoesForward(-time.Hour, rule.Registry, alice)
		start := time.Now()
		bob, w := open(t, rule, of("bob", 2*time.Hour))
		time.Sleep(10 * time.Second)
		wallClockGoesForward(time.Hour, rule.Registry, alice, bob)
		time.Sleep(3 * time.Hour)
		if got := w.shutAfter(start); w.reason() != errExpired || got > time.Hour {
			t.Errorf("got %v after %v, want %v within an hour", w.reason(), got, errExpired)
		}
	})
}

func TestOneRegistryServesOneBubbleAfterAnother(t *testing.T) {
	rule := newRule()
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, first := open(t, rule, of("alice", time.Hour))
			forgotten, _ := open(t, rule, of("bob", time.Minute))
			forgotten.Forget()
			time.Sleep(time.Second)
			_, second := open(t, rule, of("carol", time.Minute))
			time.Sleep(2 * time.Hour)
			if got, want := first.shutAfter(start), time.Hour; got != want {
				t.Errorf("got the end of the first after %v, want %v", got, want)
			}
			if got, want := second.shutAfter(start), time.Minute+time.Second; got != want {
				t.Errorf("got the end of the second after %v, want %v", got, want)
			}
		})
	}
}

func TestNoTimerIsLeftWhenNoConnectionWaits(t *testing.T) {
	for name, ends := range map[string]func(*Registry[claims], []*Conn[claims]){
		"they are forgotten": func(_ *Registry[claims], conns []*Conn[claims]) {
			for _, c := range conns {
				c.Forget()
			}
		},
		"their tokens end": func(*Registry[claims], []*Conn[claims]) { time.Sleep(time.Hour) },
		"they are disconnected": func(g *Registry[claims], _ []*Conn[claims]) {
			g.Disconnect(func(*claims) bool { return true }, gate.Ending{Err: errOther})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule()
				var conns []*Conn[claims]
				for i := range 40 {
					conn, _ := open(t, rule, of("alice", time.Duration(i)*time.Second))
					conns = append(conns, conn)
				}
				ends(rule.Registry, conns)
				synctest.Wait()
				if s := &rule.Registry.schedule; s.timer != nil || s.waiting != nil {
					t.Errorf("got a timer, and %d connections that wait, want none", len(s.waiting))
				}
			})
		})
	}
}

// Connections are added, renewed and forgotten in random order.
func TestEachOfManyConnectionsEndsInItsOwnTime(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			rule, start := newRule(), time.Now()
			type lives struct {
				conn *Conn[claims]
				wire *wire
				ends time.Duration
			}
			var all []lives
			in := func() time.Duration { return time.Duration(random.IntN(7200)) * time.Second }
			for range 300 {
				time.Sleep(time.Second)
				d := in()
				conn, w := open(t, rule, of("alice", d))
				all = append(all, lives{conn, w, time.Since(start) + d})
				one := &all[random.IntN(len(all))]
				if random.IntN(4) == 0 {
					one.conn.Forget()
				}
				d = in()
				if renew(one.conn, of("alice", d)) == nil {
					one.ends = time.Since(start) + d
				}
			}
			time.Sleep(3 * time.Hour)
			for i, one := range all {
				if got := one.wire.shutAfter(start); one.wire.times() > 0 && got != one.ends {
					t.Errorf("seed %d: got the end of connection %d after %v, want %v", seed, i, got, one.ends)
				}
			}
			if n := slices.IndexFunc(all, func(one lives) bool { return one.wire.times() == 0 && !one.conn.forgotten }); n >= 0 {
				t.Errorf("seed %d: got no end of connection %d, want one", seed, n)
			}
		})
	}
}

// BenchmarkSet measures what the schedule costs for a renewal, among few and many connections.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		var s schedule[string]
		now, conns := time.Now(), make([]*Conn[string], n)
		for i := range conns {
			conns[i] = new(Conn[string])
			s.set(conns[i], now, time.Hour+time.Duration(i)*time.Millisecond)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				s.set(conns[i%n], now, 2*time.Hour+time.Duration(i)*time.Millisecond)
			}
		})
	}
}
