package life

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A peer is a wire at whose other end somebody answers pings, or not.
type peer struct {
	wire
	answers, sees bool
	pings         []time.Duration // when, from the start
	start, heard  time.Time
}

func (p *peer) Ping() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pings = append(p.pings, time.Since(p.start))
	if p.answers {
		p.heard = time.Now()
	}
}

func (p *peer) Heard() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}

func (p *peer) Poke() bool { return p.sees }

// says has something come from the peer, now or at a time to come.
func (p *peer) says(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = at
}

func (p *peer) pinged() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.pings)
}

func TestAPeerIsAskedAfterASilenceAndHasGoneAfterAnother(t *testing.T) {
	const every = 10 * time.Second
	for name, row := range map[string]struct {
		answers, sees bool
		says          time.Duration // something every so often; 0: nothing
		pings         int           // in the first minute
		lives         time.Duration
		reason        error
	}{
		"one that answers":                      {true, true, 0, 6, 2 * time.Minute, errExpired},
		"one that does not":                     {false, true, 0, 1, 2 * every, errSilent},
		"one whose answers nobody can look for": {false, false, 0, 1, 2 * time.Minute, errExpired},
		"one that talks all the time":           {false, true, 3 * time.Second, 0, 2 * time.Minute, errExpired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := newRule(func(r *Rule[claims]) { r.Ping = every }).Enter(of("alice", 2*time.Minute), true)
				if err != nil {
					t.Fatal(err)
				}
				p := &peer{wire: wire{conn: conn}, answers: row.answers, sees: row.sees, start: time.Now(), heard: time.Now()}
				conn.Open(p)
				for row.says > 0 && time.Since(p.start) < time.Minute {
					time.Sleep(row.says)
					p.says(time.Now())
				}
				time.Sleep(time.Until(p.start.Add(time.Minute + time.Second)))
				synctest.Wait()
				if got := p.pinged(); len(got) != row.pings {
					t.Errorf("got pings after %v, want %d in the first minute", got, row.pings)
				}
				if row.says > 0 {
					p.says(time.Now().Add(time.Hour))
				}
				time.Sleep(time.Hour)
				if got := p.shutAfter(p.start); got != row.lives || p.reason() != row.reason {
					t.Errorf("got %v after %v, want %v after %v", p.reason(), got, row.reason, row.lives)
				}
			})
		})
	}
}
