package life

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

var shutDown = gate.Ending{Err: ErrShutDown}

func TestShutdownWithoutConnectionsIsDoneWhateverItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	registry := NewRegistry[claims](nil, nil)
	for range 2 {
		if err := registry.Shutdown(ctx, shutDown); err != nil {
			t.Errorf("got %v, want no error", err)
		}
	}
}

func TestShutdownSpreadsTheEndsOverTheTimeThatThereIs(t *testing.T) {
	for name, row := range map[string]struct {
		connections int
		has         time.Duration // 0: no deadline
		last        time.Duration // the first is ended at once
	}{
		"few, much time":      {5, time.Hour, 40 * time.Millisecond},
		"many, little time":   {100, time.Second, 500 * time.Millisecond},
		"many, without bound": {100, 0, 0},
		"one":                 {1, time.Hour, 0},
		"no time":             {100, time.Nanosecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule()
				wires := openMany(t, rule, row.connections)
				ctx := t.Context()
				if row.has > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.has)
					defer cancel()
				}
				start := time.Now()
				if err := rule.Registry.Shutdown(ctx, shutDown); err != nil {
					t.Errorf("got %v, want no error", err)
				}
				first, last := time.Duration(1<<62), time.Duration(0)
				for _, w := range wires {
					if w.reason() != ErrShutDown {
						t.Errorf("got the reason %v, want %v", w.reason(), ErrShutDown)
					}
					first, last = min(first, w.shutAfter(start)), max(last, w.shutAfter(start))
				}
				if first != 0 || last > row.last || last < row.last*9/10 {
					t.Errorf("got ends from %v to %v, want from 0 to %v", first, last, row.last)
				}
			})
		})
	}
}

func openMany(t *testing.T, rule *Rule[claims], n int) (wires []*wire) {
	for range n {
		_, w := open(t, rule, of("alice", 2*time.Hour))
		wires = append(wires, w)
	}
	return wires
}

func TestShutdownEndsEquallyManyConnectionsAtEachMoment(t *testing.T) {
	for name, row := range map[string]struct {
		connections   int
		has           time.Duration
		moments, most int // the first connection has a moment of its own
		apart         time.Duration
	}{
		"few":                    {50, time.Hour, 50, 1, closeEvery},
		"many":                   {1000, 10 * time.Second, 101, 10, batchEvery},
		"many, little time":      {1000, 400 * time.Millisecond, 101, 10, 2 * time.Millisecond},
		"few, even less time":    {5, 10 * time.Millisecond, 5, 1, time.Millisecond},
		"a hundred, in no hurry": {100, 2 * time.Second, 100, 1, closeEvery},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule()
				wires := openMany(t, rule, row.connections)
				ctx, cancel := context.WithTimeout(t.Context(), row.has)
				defer cancel()
				start := time.Now()
				if err := rule.Registry.Shutdown(ctx, shutDown); err != nil {
					t.Errorf("got %v, want no error", err)
				}
				ends := map[time.Duration]int{}
				for _, w := range wires {
					ends[w.shutAfter(start)]++
				}
				if len(ends) != row.moments {
					t.Errorf("got ends at %d moments, want %d", len(ends), row.moments)
				}
				for at, n := range ends {
					if at%row.apart != 0 || n > row.most {
						t.Errorf("got %d ends after %v, want %d every %v", n, at, row.most, row.apart)
					}
				}
			})
		})
	}
}

func TestShutdownWaitsForWhatTakesItsTimeAndForWhatIsBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := newRule()
		_, slow := open(t, rule, of("alice", time.Hour))
		slow.finishIn(30 * time.Second)
		making, err := rule.Enter(of("bob", time.Hour), true)
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = rule.Registry.Shutdown(short, shutDown)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 connections") {
			t.Errorf("got %v, want 2 connections beyond the deadline", err)
		}
		time.AfterFunc(time.Minute, func() { making.Open(&wire{conn: making}) })
		start := time.Now()
		if err := rule.Registry.Shutdown(t.Context(), shutDown); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("got the end after %v, want 1m0s", got)
		}
	})
}

func TestNothingEntersAfterShutdown(t *testing.T) {
	rule := newRule(func(r *Rule[claims]) { r.Seats.Max = 1 })
	if rule.Registry.IsDown() {
		t.Error("got down from the start, want it up")
	}
	rule.Registry.Shutdown(t.Context(), shutDown)
	if !rule.Registry.IsDown() {
		t.Error("got up after Shutdown, want it down")
	}
	for range 2 { // the reason must not become that the seats are taken
		_, err := rule.Enter(of("alice", time.Hour), true)
		if wantKind(t, err, refusal.ErrUnavailable); !errors.Is(err, ErrShutDown) {
			t.Errorf("got %v, want %v", err, ErrShutDown)
		}
	}
}

func TestDisconnectEndsWhatMatchesAndIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := newRule(func(r *Rule[claims]) { r.FirstMessage = time.Hour })
		_, alice := open(t, rule, of("alice", time.Hour))
		_, bob := open(t, rule, of("bob", time.Hour))
		_, nobody := open(t, rule, nil)
		making, err := rule.Enter(of("alice", time.Hour), true)
		if err != nil {
			t.Fatal(err)
		}
		defer making.Forget()
		before := rule.Registry.Epoch()
		isAlice := func(c *claims) bool { return c.subject == "alice" }
		for _, want := range []int{1, 0} {
			if got := rule.Registry.Disconnect(isAlice, gate.Ending{Err: errOther}); got != want {
				t.Errorf("got %d connections, want %d", got, want)
			}
			synctest.Wait()
		}
		if alice.reason() != errOther || bob.reason() != nil || nobody.reason() != nil {
			t.Errorf("got the reasons %v, %v and %v, want the first alone", alice.reason(), bob.reason(), nobody.reason())
		}
		if _, ended := making.Ended(); ended || rule.Registry.Epoch() == before {
			t.Errorf("got ended: %t, want what is being made to be left to whoever sees that the epoch has changed", ended)
		}
	})
}
