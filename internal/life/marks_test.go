package life

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// A holder is what these tests know of a token that can be revoked.
type holder struct {
	revocation.Token
	expiry time.Time
}

func namedOf(subject, session, id string) *holder {
	now := time.Now()
	return &holder{revocation.Token{Subject: subject, Session: session, ID: id, IssuedAt: now}, now.Add(time.Hour)}
}

var revokedEnding = gate.Ending{Err: refusal.ErrRevoked}

// newNamedRule has connections that can be revoked.
func newNamedRule() (*Rule[holder], *revocation.Set) {
	set := revocation.New(revocation.Config{Keep: 2 * time.Hour, Strict: true})
	return &Rule[holder]{
		Registry: NewRegistry(set, func(c *holder) (revocation.Token, bool) { return c.Token, c.Token != (revocation.Token{}) }),
		Seats:    &Seats[holder]{},
		Grace:    time.Second,
		Expiry:   func(c *holder) time.Time { return c.expiry },
		Expired:  gate.Ending{Err: errExpired},
	}, set
}

// enter opens a connection without a wire.
func enter(t testing.TB, rule *Rule[holder], c *holder) *Conn[holder] {
	t.Helper()
	conn, err := rule.Enter(c, true)
	if err != nil {
		t.Fatal(err)
	}
	conn.Admit()
	return conn
}

// revoke does what the package wsauth does, in its order.
func revoke(rule *Rule[holder], set *revocation.Set, kind revocation.Kind, name string) int {
	r := revocation.Revocation{Kind: kind, Name: name, All: kind != revocation.Issuer, At: time.Now().Unix()}
	set.Add(r)
	return rule.Registry.Revoke(r, revokedEnding)
}

func whyEnded[C any](c *Conn[C]) error {
	e, _ := c.Ended()
	return e.Err
}

func TestRevokeEndsTheConnectionsThatItNames(t *testing.T) {
	for name, row := range map[string]struct {
		kind revocation.Kind
		name string
		want []bool // of alice, alice's other session, bob
	}{
		"a subject":      {revocation.Subject, "alice", []bool{true, true, false}},
		"a session":      {revocation.Session, "s1", []bool{true, false, false}},
		"a token":        {revocation.ID, "t2", []bool{false, true, false}},
		"all":            {revocation.Issuer, "", []bool{true, true, true}},
		"somebody else":  {revocation.Subject, "carol", []bool{false, false, false}},
		"another's name": {revocation.Session, "alice", []bool{false, false, false}},
		"a missing name": {revocation.Session, "", []bool{false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			rule, set := newNamedRule()
			conns := []*Conn[holder]{
				enter(t, rule, namedOf("alice", "s1", "t1")), enter(t, rule, namedOf("alice", "s2", "t2")), enter(t, rule, namedOf("bob", "", "")),
			}
			want := 0
			for _, ends := range row.want {
				if ends {
					want++
				}
			}
			if got := revoke(rule, set, row.kind, row.name); got != want {
				t.Errorf("got %d ended, want %d", got, want)
			}
			for i, conn := range conns {
				if got := errors.Is(whyEnded(conn), refusal.ErrRevoked); got != row.want[i] {
					t.Errorf("connection %d: got ended %v, want %v", i, got, row.want[i])
				}
				conn.Forget()
			}
			if len(rule.Registry.index) > 0 {
				t.Errorf("got %d names left behind, want none", len(rule.Registry.index))
			}
		})
	}
}

func TestARevokedTokenEntersNoMore(t *testing.T) {
	rule, set := newNamedRule()
	rule.Seats.Max = 1
	revoke(rule, set, revocation.Subject, "alice")
	if _, err := rule.Enter(namedOf("alice", "", ""), true); !errors.Is(err, refusal.ErrRevoked) {
		t.Errorf("got %v, want ErrRevoked", err)
	}
	enter(t, rule, namedOf("bob", "", "")) // the seat was given back
}

func TestAConnectionIsFoundByItsNewestTokenOnly(t *testing.T) {
	rule, set := newNamedRule()
	conn := enter(t, rule, namedOf("alice", "s", "t1"))
	renewTo(t, conn, namedOf("alice", "s", "t2"), nil)
	if n := revoke(rule, set, revocation.ID, "t1"); n != 0 || whyEnded(conn) != nil {
		t.Errorf("got %d ended for the token before, want none", n)
	}
	if n := revoke(rule, set, revocation.ID, "t2"); n != 1 {
		t.Errorf("got %d ended, want 1", n)
	}
}

// renewTo renews, and calls meanwhile between the verification and the admission of the new token.
func renewTo(t testing.TB, conn *Conn[holder], next *holder, meanwhile func()) error {
	t.Helper()
	_, err := conn.Renew(func() (*holder, error) { return next, nil }, func(*holder, *holder) error {
		if meanwhile != nil {
			meanwhile()
		}
		return nil
	})
	return err
}

func TestARenewalUnderWayIsRefusedAndTheConnectionStays(t *testing.T) {
	rule, set := newNamedRule()
	conn := enter(t, rule, namedOf("alice", "s", "t1"))
	err := renewTo(t, conn, namedOf("alice", "s", "t2"), func() { revoke(rule, set, revocation.ID, "t2") })
	if !errors.Is(err, refusal.ErrRevoked) || whyEnded(conn) != nil || conn.Claims().ID != "t1" {
		t.Errorf("got %v and ended %v, want ErrRevoked and the connection as it was", err, whyEnded(conn))
	}
	if len(rule.Registry.renewing) != 0 {
		t.Errorf("got %d renewals left behind, want none", len(rule.Registry.renewing))
	}
}

func TestARevocationDuringARenewalOfTheOldTokenEndsTheConnection(t *testing.T) {
	rule, set := newNamedRule()
	conn := enter(t, rule, namedOf("alice", "s", "t1"))
	err := renewTo(t, conn, namedOf("alice", "s", "t2"), func() { revoke(rule, set, revocation.Session, "s") })
	if err == nil || !errors.Is(whyEnded(conn), refusal.ErrRevoked) {
		t.Errorf("got %v and ended %v, want an error and the connection ended", err, whyEnded(conn))
	}
}

// The index agrees with the plainest one, whatever happens in which order.
func TestTheIndexAgreesWithAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		rule, set := newNamedRule()
		name := func() string { return fmt.Sprint(random.IntN(60)) }
		alive := map[*Conn[holder]]*holder{}
		n := 0
		for range 30_000 {
			switch random.IntN(10) {
			case 0, 1, 2, 3:
				c := namedOf(name(), name(), fmt.Sprint("t", n))
				n++
				if conn, err := rule.Enter(c, true); err == nil {
					conn.Admit()
					alive[conn] = c
				} else if !errors.Is(err, refusal.ErrRevoked) {
					t.Fatal(err)
				}
			case 4, 5, 6:
				for conn := range alive {
					conn.Forget()
					delete(alive, conn)
					break
				}
			case 7, 8:
				for conn, old := range alive {
					next := namedOf(old.Subject, name(), fmt.Sprint("t", n))
					n++
					if renewTo(t, conn, next, nil) == nil {
						alive[conn] = next
					}
					break
				}
			default:
				kind, of := revocation.Kind(1+random.IntN(3)), name()
				want := 0
				for _, c := range alive {
					if [...]string{"", c.Subject, c.Session, c.ID}[kind] == of {
						want++
					}
				}
				if got := revoke(rule, set, kind, of); got != want {
					t.Fatalf("got %d ended by %v, want %d", got, kind, want)
				}
				for conn := range alive {
					if whyEnded(conn) != nil {
						conn.Forget()
						delete(alive, conn)
					}
				}
				time.Sleep(10 * time.Minute) // revocations are forgotten
				for conn := range alive {
					conn.Forget()
				}
				clear(alive)
			}
		}
		for conn := range alive {
			conn.Forget()
		}
		if len(rule.Registry.index) != 0 || len(rule.Registry.live) != 0 {
			t.Errorf("got %d names and %d connections left behind, want none", len(rule.Registry.index), len(rule.Registry.live))
		}
	})
}

// Whichever order an entrance, renewals and a revocation come in, nothing revoked lives on.
func TestNoOrderLetsARevokedTokenLive(t *testing.T) {
	for round := range 2000 {
		rule, set := newNamedRule()
		first := namedOf("alice", "s", "t1")
		conn := enter(t, rule, first)
		var entered *Conn[holder]
		var all sync.WaitGroup
		start := make(chan struct{})
		run := func(f func()) { all.Go(func() { <-start; f() }) }
		run(func() {
			if c, err := rule.Enter(namedOf("alice", "s", "t2"), true); err == nil {
				c.Admit()
				entered = c
			}
		})
		run(func() { renewTo(t, conn, namedOf("alice", "s", "t2"), nil) })
		run(func() { revoke(rule, set, revocation.ID, "t2") })
		close(start)
		all.Wait()
		for _, c := range []*Conn[holder]{conn, entered} {
			if c != nil && whyEnded(c) == nil && c.Claims().ID == "t2" {
				t.Fatalf("round %d: got a connection alive whose token is revoked", round)
			}
		}
		if whyEnded(conn) != nil && conn.Claims().ID == "t1" {
			t.Fatalf("round %d: got the connection ended whose token is not revoked", round)
		}
	}
}

func BenchmarkRevokeOneAmongMany(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rule, set := newNamedRule()
			for i := range n {
				enter(b, rule, namedOf(fmt.Sprint("user ", i), fmt.Sprint("session ", i), fmt.Sprint("token ", i)))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				b.StopTimer()
				conn := enter(b, rule, namedOf(fmt.Sprint("alice ", i), "", ""))
				r := revocation.Revocation{Kind: revocation.Subject, Name: fmt.Sprint("alice ", i), All: true, At: time.Now().Unix()}
				set.Add(r)
				i++
				b.StartTimer()
				if rule.Registry.Revoke(r, revokedEnding) != 1 {
					b.Fatal("got nobody ended, want one")
				}
				b.StopTimer()
				conn.Forget()
				b.StartTimer()
			}
		})
	}
}
