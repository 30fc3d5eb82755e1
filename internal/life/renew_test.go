package life

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Each of many renewals meets the timer of its connection at the same instant. Whoever was renewed lives to the new
// end, and whoever was ended was not renewed.
func TestOfARenewalAndTheTimerExactlyOneWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const races = 1000
		start, rule := time.Now(), newRule()
		renewed, wires := make([]bool, races), make([]*wire, races)
		var all sync.WaitGroup
		for i := range races {
			conn, w := open(t, rule, of("alice", time.Minute))
			wires[i] = w
			all.Go(func() {
				time.Sleep(time.Minute - time.Duration(i%3)) // also a little before it
				err := renew(conn, &claims{"alice", start.Add(time.Hour)})
				if renewed[i] = err == nil; err != nil {
					wantKind(t, err, refusal.ErrExpired)
				}
			})
		}
		all.Wait()
		time.Sleep(2 * time.Hour)
		for i, w := range wires {
			want := time.Minute
			if renewed[i] {
				want = time.Hour
			}
			if got := w.shutAfter(start); w.times() != 1 || got != want {
				t.Errorf("renewed: %t: got shut %d times, after %v, want once, after %v", renewed[i], w.times(), got, want)
			}
			if i%3 > 0 && !renewed[i] {
				t.Errorf("got a renewal refused %d ns before the end, want it accepted", i%3)
			}
		}
	})
}

// The same, on a real clock: whoever has found that the connection is due may be overtaken by a renewal.
func TestARenewalThatSucceedsIsNotOvertakenByTheEndBeforeIt(t *testing.T) {
	rule := newRule()
	for range 3000 {
		conn, err := rule.Enter(of("alice", 100*time.Microsecond), true)
		if err != nil {
			t.Fatal(err)
		}
		conn.Admit()
		end := time.Now().Add(90 * time.Microsecond)
		var all sync.WaitGroup
		var renewed error
		for range 3 {
			all.Go(func() {
				for time.Since(end) < 30*time.Microsecond {
					conn.Check()
				}
			})
		}
		all.Go(func() {
			for time.Now().Before(end) {
			}
			renewed = renew(conn, of("alice", time.Hour))
		})
		all.Wait()
		if why := whyEnded(conn); renewed == nil && why != nil {
			t.Fatalf("got the connection ended with %v after it was renewed", why)
		}
		conn.Forget()
	}
}

func TestARenewalIsNotBeyondMaxLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, rule := time.Now(), newRule(func(r *Rule[claims]) { r.MaxLifetime = 90 * time.Minute })
		conn, w := open(t, rule, of("alice", time.Hour))
		wantKind(t, renew(conn, of("alice", 5*time.Hour)), nil)
		time.Sleep(6 * time.Hour)
		if got := w.shutAfter(start); got != 90*time.Minute {
			t.Errorf("got ended after %v, want 1h30m0s", got)
		}
	})
}

func TestRenewalsAreRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := open(t, newRule(), of("alice", time.Hour))
		verified := 0
		try := func() error {
			_, err := conn.Renew(func() (*claims, error) { verified++; return nil, errOther }, nil)
			return err
		}
		for range renewalBurst {
			if err := try(); err != errOther {
				t.Errorf("got %v, want what verify returns", err)
			}
		}
		wantKind(t, try(), refusal.ErrTooMany)
		time.Sleep(renewalInterval)
		if err := try(); err != errOther {
			t.Errorf("got %v an interval later, want what verify returns", err)
		}
		wantKind(t, try(), refusal.ErrTooMany)
		if verified != renewalBurst+1 {
			t.Errorf("got %d tokens verified, want %d", verified, renewalBurst+1)
		}
		time.Sleep(time.Minute) // what was not used is not saved up
		for range renewalBurst {
			try()
		}
		wantKind(t, try(), refusal.ErrTooMany)
	})
}

func TestARenewalThatAnotherOvertakesIsAskedAboutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, slow, quick := of("alice", time.Hour), of("alice", 2*time.Hour), of("alice", 3*time.Hour)
		conn, _ := open(t, newRule(), first)
		var asked []*claims
		done := make(chan error)
		go func() {
			_, err := conn.Renew(func() (*claims, error) { return slow, nil }, func(current, _ *claims) error {
				asked = append(asked, current)
				time.Sleep(time.Second)
				if current == quick {
					return errOther
				}
				return nil
			})
			done <- err
		}()
		time.Sleep(time.Millisecond)
		wantKind(t, renew(conn, quick), nil)
		if err := <-done; err != errOther {
			t.Errorf("got %v, want what admit says of the newer claims", err)
		}
		if !slices.Equal(asked, []*claims{first, quick}) || conn.Claims() != quick {
			t.Errorf("got asked about %v, with %v in the end, want both in their order, and the newer", asked, conn.Claims())
		}
	})
}

func TestDisconnectMatchesNoClaimsOfARenewalThatHasFailed(t *testing.T) {
	for name, row := range map[string]struct {
		verify func() (*claims, error)
		admit  func(_, _ *claims) error
	}{
		"in verify": {func() (*claims, error) { return nil, errOther }, nil},
		"in admit": {
			func() (*claims, error) { return of("bob", 2*time.Hour), nil }, func(_, _ *claims) error { return errOther },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule()
				conn, _ := open(t, rule, of("alice", time.Hour))
				if _, err := conn.Renew(row.verify, row.admit); err != errOther {
					t.Errorf("got %v, want %v", err, errOther)
				}
				var asked []string
				rule.Registry.Disconnect(func(c *claims) bool { asked = append(asked, c.subject); return false }, gate.Ending{})
				if !slices.Equal(asked, []string{"alice"}) {
					t.Errorf("got asked of %q, want alice alone", asked)
				}
			})
		})
	}
}

// The renewal is through while match still looks at its claims.
func TestDisconnectEndsAConnectionThatIsRenewedBeforeItsEyes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := newRule()
		conn, w := open(t, rule, of("alice", time.Hour))
		next := of("alice, renewed", 2*time.Hour)
		renewed := make(chan error, 1)
		go func() {
			_, err := conn.Renew(func() (*claims, error) { return next, nil }, func(_, _ *claims) error {
				time.Sleep(time.Second)
				return nil
			})
			renewed <- err
		}()
		time.Sleep(time.Second / 2)
		n := rule.Registry.Disconnect(func(c *claims) bool {
			if c != next {
				return false
			}
			time.Sleep(time.Second)
			return true
		}, gate.Ending{Err: errOther})
		wantKind(t, <-renewed, nil)
		synctest.Wait()
		if n != 1 || w.reason() != errOther {
			t.Errorf("got %d connections and the reason %v, want 1 and %v", n, w.reason(), errOther)
		}
	})
}

// Disconnect meets a renewal before its claims are known, or after.
func TestClaimsThatDisconnectHasMetAreNotAdopted(t *testing.T) {
	pause := func() { time.Sleep(time.Second) }
	for name, moment := range map[string]time.Duration{
		"while it is verified": 500 * time.Millisecond,
		"while it is admitted": 1500 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := newRule()
				first, next := of("alice", time.Hour), of("alice", 2*time.Hour)
				conn, w := open(t, rule, first)
				time.AfterFunc(moment, func() {
					isNext := func(c *claims) bool { return c == next }
					if got := rule.Registry.Disconnect(isNext, gate.Ending{}); got != 0 {
						t.Errorf("got %d connections, want none", got)
					}
				})
				_, err := conn.Renew(func() (*claims, error) { pause(); return next, nil },
					func(_, _ *claims) error { pause(); return nil })
				wantKind(t, err, refusal.ErrRevoked)
				if conn.Claims() != first || w.reason() != nil {
					t.Errorf("got %v, ended by %v, want the connection as it was", conn.Claims(), w.reason())
				}
			})
		})
	}
}

func TestARenewalDoesNotOutliveTheEnd(t *testing.T) {
	for name, end := range map[string]func(*Conn[claims]){
		"End":      func(c *Conn[claims]) { c.End(gate.Ending{Err: errOther}) },
		"Shutdown": func(c *Conn[claims]) { c.rule.Registry.Shutdown(context.Background(), shutDown) },
		"Left":     func(c *Conn[claims]) { c.Left(gate.ErrClosed) },
		"Forget":   func(c *Conn[claims]) { c.Forget() },
		"a timer that is late": func(c *Conn[claims]) {
			c.DelayTimer(time.Hour)
			time.Sleep(time.Minute)
		},
	} {
		for _, during := range []string{"before it", "during it"} {
			t.Run(name+" "+during, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn, _ := open(t, newRule(), of("alice", time.Minute))
					before := conn.Claims()
					if during == "before it" {
						end(conn)
					}
					_, err := conn.Renew(
						func() (*claims, error) { return of("alice", 2*time.Hour), nil },
						func(_, _ *claims) error {
							if during == "during it" {
								end(conn)
							}
							return nil
						})
					wantKind(t, err, refusal.ErrExpired)
					if conn.Claims() != before {
						t.Error("got other claims, want those from before")
					}
				})
			})
		}
	}
}

func TestAFirstTokenTakesASeatOfItsSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := newRule(func(r *Rule[claims]) { r.FirstMessage, r.Seats.MaxPerSubject = time.Hour, 1 })
		alice, _ := open(t, rule, of("alice", time.Minute))
		waiting, w := open(t, rule, nil)
		wantKind(t, renew(waiting, of("alice", time.Hour)), refusal.ErrTooMany)
		if waiting.Claims() != nil {
			t.Error("got claims of a token that was refused, want none")
		}
		alice.Forget()
		wantKind(t, renew(waiting, of("alice", 2*time.Hour)), nil)
		_, err := rule.Enter(of("alice", time.Hour), true)
		wantKind(t, err, refusal.ErrTooMany)
		if w.reason() != nil {
			t.Errorf("got ended by %v, want it alive", w.reason())
		}
	})
}
