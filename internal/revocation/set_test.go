package revocation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

func newSet(change ...func(*Config)) *Set {
	cfg := Config{Keep: time.Hour, Strict: true, Leeway: 30 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	return New(cfg)
}

func before(name string, at time.Time) Revocation {
	return Revocation{Kind: Subject, Issuer: testIssuer, Name: name, At: at.Unix()}
}

func all(name string, at time.Time) Revocation {
	r := before(name, at)
	r.All = true
	return r
}

// of is a token of a user that was issued then.
func of(subject string, issued time.Time) *Token {
	return &Token{Issuer: testIssuer, Subject: subject, IssuedAt: issued}
}

func TestASetAgreesWithThePlainestOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet()
		var plain []Revocation
		random := rand.New(rand.NewPCG(1, 2))
		name := func() string { return fmt.Sprint(random.IntN(300)) }
		issuers := []string{"a", "b", ""}
		for step := range 20_000 {
			now := time.Now()
			r := Revocation{
				Kind: Kind(random.IntN(kinds)), Issuer: issuers[random.IntN(3)], Name: name(), At: now.Unix() - random.Int64N(600),
			}
			if r.Kind == Issuer {
				r.Name = ""
				r.At -= 4000 // seldom any token
			} else {
				r.All = random.IntN(2) == 0
			}
			if step%5 == 0 {
				s.Add(r)
				plain = append(plain, r)
			}
			tok := Token{issuers[random.IntN(3)], name(), name(), name(), now.Add(-time.Duration(random.Int64N(4000)) * time.Second)}
			if step%7 == 0 {
				tok.IssuedAt = time.Time{}
			}
			want := false
			for _, r := range plain {
				named := [kinds]string{"", tok.Subject, tok.Session, tok.ID}[r.Kind] == r.Name
				counts := r.At >= now.Unix()-s.span()
				want = want || r.Issuer == tok.Issuer && named && counts && (r.All || tok.IssuedAt.IsZero() || tok.IssuedAt.Unix() <= r.At)
			}
			if got := s.IsRevoked(&tok, now); got != want {
				t.Fatalf("step %d: got %v for %+v, want %v", step, got, tok, want)
			}
			time.Sleep(time.Second)
		}
		if s.index.len() == 0 || s.index.len() > 1100 {
			t.Errorf("got %d names at the end, want those of the last hour", s.index.len())
		}
		time.Sleep(3 * time.Hour)
		if s.index.len() != 0 {
			t.Errorf("got %d names when all is over, want none", s.index.len())
		}
	})
}

func TestTheLaterRevocationOfANameCounts(t *testing.T) {
	now := time.Now()
	early, late := now.Add(-10*time.Minute), now.Add(-5*time.Minute)
	for name, list := range map[string][]Revocation{
		"in order":       {before("alice", early), before("alice", late)},
		"in reverse":     {before("alice", late), before("alice", early)},
		"repeated":       {before("alice", late), before("alice", late), before("alice", early)},
		"a mass of them": {before("alice", early), before("alice", late), all("bob", now), before("alice", early)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet()
			for _, r := range list {
				s.Add(r)
			}
			for issued, want := range map[time.Time]bool{early: true, late: true, late.Add(time.Second): false} {
				if got := s.IsRevoked(of("alice", issued), now); got != want {
					t.Errorf("issued %v ago: got %v, want %v", now.Sub(issued), got, want)
				}
			}
		})
	}
}

func TestAddSaysWhetherItWasNew(t *testing.T) {
	now, s := time.Now(), newSet()
	for i, row := range []struct {
		r    Revocation
		want bool
	}{
		{before("alice", now), true}, {before("alice", now), false}, {before("alice", now.Add(-time.Minute)), false},
		{before("alice", now.Add(time.Minute)), true}, {all("alice", now), true}, {all("alice", now), false},
		{before("bob", now.Add(-2*time.Hour)), false}, // over
	} {
		if got := s.Add(row.r); got != row.want {
			t.Errorf("%d: got %v, want %v", i, got, row.want)
		}
	}
}

// A token that was accepted when it was revoked, by clocks that differ by the leeway, is refused until it has expired.
func TestNoTokenOutlivesTheRevocation(t *testing.T) {
	for _, leeway := range []time.Duration{0, time.Second, 30 * time.Second, time.Hour} {
		for _, keep := range []time.Duration{time.Second, 90 * time.Second, time.Hour, 30 * 24 * time.Hour} {
			t.Run(fmt.Sprint(leeway, keep), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSet(func(c *Config) { c.Keep, c.Leeway = keep, leeway })
					ahead := time.Now().Add(leeway) // the issuer's clock
					s.Add(all("alice", time.Now()))
					s.Add(before("bob", time.Now().Add(-leeway))) // by a server whose clock is behind
					end := ahead.Add(keep).Add(leeway)
					for i := range 50 {
						time.Sleep(time.Until(end) / time.Duration(50-i))
						if !s.IsRevoked(of("alice", ahead), time.Now()) {
							t.Fatalf("got alice accepted %v before the end of the token", time.Until(end))
						}
						if !s.IsRevoked(of("bob", time.Now().Add(-24*365*20*time.Hour)), time.Now()) {
							t.Fatalf("got bob accepted %v before the end of the token", time.Until(end))
						}
					}
				})
			})
		}
	}
}

func TestCheckRefusesATokenThatCouldOutliveItsRevocation(t *testing.T) {
	now := time.Now()
	lax := func(c *Config) { c.Strict = false }
	for name, row := range map[string]struct {
		change  func(*Config)
		revoked time.Time
		issued  time.Time
		expiry  time.Time
		want    error
	}{
		"exactly as long":                {nil, time.Time{}, now, now.Add(time.Hour), nil},
		"longer":                         {nil, time.Time{}, now, now.Add(time.Hour + 1), errOutlives},
		"no iat":                         {nil, time.Time{}, time.Time{}, now, errNoIssuedAt},
		"lax: longer":                    {lax, time.Time{}, now, now.Add(2 * time.Hour), nil},
		"lax: no iat":                    {lax, now, time.Time{}, now.Add(2 * time.Hour), nil},
		"lax: longer, and something new": {lax, now, now.Add(-time.Minute), now.Add(2 * time.Hour), errOutlives},
		"lax: longer, and later":         {lax, now.Add(-32 * time.Second), now, now.Add(2 * time.Hour), nil},
		"lax: longer, of a fast clock":   {lax, now, now.Add(30 * time.Second), now.Add(2 * time.Hour), errOutlives},
		"the year 9999":                  {nil, time.Time{}, now, time.Unix(253402300799, 0), errOutlives},
	} {
		t.Run(name, func(t *testing.T) {
			change := row.change
			if change == nil {
				change = func(*Config) {}
			}
			s := newSet(change)
			if !row.revoked.IsZero() {
				s.Add(before("somebody", row.revoked))
			}
			if got := s.Check(row.issued, row.expiry); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestANilSetRevokesNothing(t *testing.T) {
	var s *Set
	if !s.IsEmpty() || s.IsRevoked(of("alice", time.Now()), time.Now()) || s.Check(time.Time{}, time.Now()) != nil || s.IsFresh() != nil {
		t.Error("got something refused, want nothing")
	}
}

func TestASetIsSafeForConcurrentUse(t *testing.T) {
	s := newSet(func(c *Config) { c.Keep, c.Leeway = time.Minute, 0 })
	now := time.Now()
	var everybody sync.WaitGroup
	for i := range 8 {
		everybody.Go(func() {
			for j := range 2000 {
				name := fmt.Sprint(i, " ", j)
				s.Add(all(name, now))
				if !s.IsRevoked(of(name, now), now) {
					t.Errorf("got %s accepted right after it was revoked", name)
				}
				if j%500 == 0 {
					s.drop(s.since(now))
				}
			}
		})
	}
	everybody.Wait()
	for i := range 8 {
		for j := range 2000 {
			if name := fmt.Sprint(i, " ", j); !s.IsRevoked(of(name, now), now) {
				t.Fatalf("got %s accepted, want it remembered", name)
			}
		}
	}
	s.drop(now.Add(time.Hour).Unix())
	if s.index.len() != 0 || s.IsRevoked(of("0 0", now), now) {
		t.Errorf("got %d names after all was dropped, want none", s.index.len())
	}
	for i := range s.parts {
		if s.parts[i].filter.Load() != nil {
			t.Fatal("got a filter where there is nothing, want none")
		}
	}
}

func TestTheFilterAnswersForNearlyAllTokensThatAreNotRevoked(t *testing.T) {
	const n = 100_000
	now, s := time.Now(), newSet()
	for i := range n {
		s.Add(all(fmt.Sprint("revoked ", i), now))
	}
	passed := 0
	for i := range n {
		r := all(fmt.Sprint("not revoked ", i), now)
		mark := s.MarkOf(&r)
		if s.part(mark).filter.Load().has(mark) {
			passed++
		}
	}
	if passed > n/20 {
		t.Errorf("got %d of %d past the filter, want one in twenty at most", passed, n)
	}
}

func TestLookingUpAllocatesNothing(t *testing.T) {
	now, s := time.Now(), newSet()
	s.Add(all("alice", now))
	s.Add(Revocation{Kind: Session, Issuer: testIssuer, Name: "s", At: now.Unix(), All: true})
	for name, token := range map[string]*Token{"revoked": of("alice", now), "not revoked": of("bob", now)} {
		if n := testing.AllocsPerRun(100, func() { s.IsRevoked(token, now) }); n != 0 {
			t.Errorf("%s: got %v allocations, want none", name, n)
		}
	}
}

func TestIsFreshIsARefusalThatIsAnOutage(t *testing.T) {
	s := newSet(func(c *Config) { c.Log, c.MaxStale = new(memoryLog), time.Minute })
	if err := s.IsFresh(); !errors.Is(err, refusal.ErrUnavailable) || errors.Is(err, refusal.ErrInvalidToken) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
