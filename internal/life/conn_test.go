package life

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

func TestAConnectionEndsAtTheFirstOfItsBounds(t *testing.T) {
	living := func(d time.Duration) func(*Rule[claims]) { return func(r *Rule[claims]) { r.MaxLifetime = d } }
	for name, row := range map[string]struct {
		change func(*Rule[claims])
		expiry time.Duration // 0: no token yet
		want   time.Duration
		reason error
	}{
		"its token's end":           {func(*Rule[claims]) {}, 90 * time.Second, 90 * time.Second, errExpired},
		"an end in days":            {func(*Rule[claims]) {}, 72 * time.Hour, 72 * time.Hour, errExpired},
		"an end that is over":       {func(*Rule[claims]) {}, -time.Second, 0, errExpired},
		"MaxLifetime":               {living(time.Minute), time.Hour, time.Minute, errExpired},
		"an end before MaxLifetime": {living(time.Hour), time.Minute, time.Minute, errExpired},
		"FirstMessage":              {func(r *Rule[claims]) { r.FirstMessage = time.Minute }, 0, time.Minute, errNoToken},
		"FirstMessage does not count for one with a token": {
			func(r *Rule[claims]) { r.FirstMessage = time.Minute }, time.Hour, time.Hour, errExpired,
		},
		"MaxLifetime before FirstMessage": {
			func(r *Rule[claims]) { r.FirstMessage, r.MaxLifetime = time.Minute, time.Second }, 0, time.Second, errNoToken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule, start := newRule(row.change), time.Now()
				token := of("alice", row.expiry)
				if row.expiry == 0 {
					token = nil
				}
				conn, w := open(t, rule, token)
				time.Sleep(row.want - 1)
				synctest.Wait()
				if got := w.reason(); row.want > 0 && got != nil {
					t.Errorf("got ended early: %v, want it alive", got)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if got := w.reason(); got != row.reason || w.shutAfter(start) != row.want {
					t.Errorf("got %v after %v, want %v after %v", got, w.shutAfter(start), row.reason, row.want)
				}
				if e, ended := conn.Ended(); !ended || e.Err != row.reason {
					t.Errorf("got ended: %t, %v, want %v", ended, e.Err, row.reason)
				}
			})
		})
	}
}

// The time for the first message begins when the client can send one, however long the handshake took.
func TestTheTimeForTheFirstMessageBeginsWhenTheHandshakeIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, rule := time.Now(), newRule(func(r *Rule[claims]) { r.FirstMessage = 10 * time.Second })
		conn, err := rule.Enter(nil, true)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		w := &wire{conn: conn}
		conn.Open(w)
		time.Sleep(time.Minute)
		if got, want := w.shutAfter(start), 19*time.Second; got != want || w.reason() != errNoToken {
			t.Errorf("got %v after %v, want %v after %v", w.reason(), got, errNoToken, want)
		}
	})
}

func TestTheFirstReasonStays(t *testing.T) {
	for name, end := range map[string]func(*Conn[claims]) bool{
		"End":     func(c *Conn[claims]) bool { return c.End(gate.Ending{Err: errOther}) },
		"expiry":  func(c *Conn[claims]) bool { time.Sleep(time.Hour); return true },
		"by Left": func(c *Conn[claims]) bool { c.Left(errOther); return true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, w := open(t, newRule(), of("alice", time.Minute))
				w.finishIn(3 * time.Hour)
				if !end(conn) {
					t.Error("got false of the first end, want true")
				}
				first, _ := conn.Ended()
				if conn.End(gate.Ending{Err: errReplaced}) {
					t.Error("got true of the second end, want false")
				}
				conn.Left(errReplaced)
				time.Sleep(time.Minute)
				if e, _ := conn.Ended(); e != first {
					t.Errorf("got %v, want the first reason %v", e.Err, first.Err)
				}
				if w.times() != 1 || w.reason() != first.Err {
					t.Errorf("got shut %d times, with %v, want once, with %v", w.times(), w.reason(), first.Err)
				}
				time.Sleep(3 * time.Hour)
			})
		})
	}
}

func TestWhatEndsBeforeItsHandshakeIsAnsweredIsShutWhenItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := newRule().Enter(of("alice", time.Minute), true)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w := &wire{conn: conn}
		conn.Open(w)
		synctest.Wait()
		if got := w.reason(); got != errExpired {
			t.Errorf("got %v, want %v", got, errExpired)
		}
	})
}

func TestWhatIsForgottenIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, w := open(t, newRule(), of("alice", time.Minute))
		conn.Forget()
		conn.Forget()
		conn.End(gate.Ending{Err: errOther})
		time.Sleep(time.Hour)
		if w.times() != 0 {
			t.Errorf("got shut with %v, want net/http's next request on it to be left alone", w.reason())
		}
	})
}

func TestWhoClosesHasTheGraceToDoSo(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want time.Duration
	}{
		"a peer that closes":          {gate.ErrClosed, time.Second},
		"a connection that is broken": {gate.ErrBroken, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, w := open(t, newRule(), of("alice", time.Hour))
				start := time.Now()
				conn.Left(row.err)
				wantKind(t, renew(conn, of("alice", 2*time.Hour)), refusal.ErrExpired)
				time.Sleep(time.Minute)
				if got := w.shutAfter(start); w.times() != 1 || got != row.want {
					t.Errorf("got shut %d times, after %v, want once, after %v", w.times(), got, row.want)
				}
			})
		})
	}
}

// What passes asks the clock itself.
func TestCheckEndsWhatATimerEndsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, w := open(t, newRule(), of("alice", time.Minute))
		conn.DelayTimer(time.Hour)
		time.Sleep(time.Minute - 1)
		conn.Check()
		if _, ended := conn.Ended(); ended {
			t.Error("got ended before its time, want it alive")
		}
		time.Sleep(time.Nanosecond)
		conn.Check()
		synctest.Wait()
		if got := w.reason(); got != errExpired {
			t.Errorf("got %v, want %v", got, errExpired)
		}
	})
}

func TestAStreamEndsByItsContextAndLosesItsConnectionAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := newRule().Enter(of("alice", time.Minute), false)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Forget()
		var cause error
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		start := time.Now()
		conn.Attach(Stream{Cancel: func(err error) { cause = err }, Writer: w, Grace: 2 * time.Second})
		time.Sleep(time.Minute)
		synctest.Wait()
		if cause != errExpired {
			t.Errorf("got the cause %v, want %v", cause, errExpired)
		}
		if got, want := w.read.Sub(start), time.Minute+2*time.Second; got != want || w.write != w.read {
			t.Errorf("got deadlines after %v and %v, want %v for both", got, w.write.Sub(start), want)
		}
	})
}

// deadlines is a ResponseWriter that has some.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }
