package wsauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wsauth/wsauth/internal/refusal"
)

// A registry knows the live connections of an Authenticator, to end them: http.Server does not know connections that
// were taken over.
type registry struct {
	mu     sync.Mutex
	live   map[*connection]struct{}
	making int // handshakes that are being answered, each of which may become one
	down   bool
	none   chan struct{} // closed when down and no connection lives or is being made

	revocations atomic.Uint32 // how often Revoke was called
}

func newRegistry() *registry {
	return &registry{live: map[*connection]struct{}{}, none: make(chan struct{})}
}

func (g *registry) isDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// begin counts a handshake in that is about to be answered; false: there are to be no more connections.
func (g *registry) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return false
	}
	g.making++
	return true
}

// add makes a connection of a handshake; false: it has to be closed at once.
func (g *registry) add(c *connection) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.making--
	g.live[c] = struct{}{}
	return !g.down
}

// fail counts a handshake out that has become no connection.
func (g *registry) fail() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.making--
	g.tellIfNone()
}

func (g *registry) remove(c *connection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.live, c)
	g.tellIfNone()
}

func (g *registry) tellIfNone() {
	if g.down && len(g.live) == 0 && g.making == 0 {
		close(g.none)
	}
}

// shutDown lets no more connections in and returns those that live.
func (g *registry) shutDown() []*connection {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.down {
		g.down = true
		g.tellIfNone()
	}
	return slices.Collect(maps.Keys(g.live))
}

func (g *registry) all() []*connection {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.live))
}

// Shutdown ends the Authenticator's WebSocket connections, which http.Server.Shutdown does not know: it refuses new
// ones with 503, closes all others with 1001, and waits until their serve functions have returned or ctx ends. Their
// contexts are cancelled with the cause [http.ErrServerClosed]. The error says how many have not returned. Requests
// without an upgrade are authenticated as before.
//
// Call it beside http.Server.Shutdown, and wait for both. It works from a function given to
// http.Server.RegisterOnShutdown, too, but nobody waits for that: main may return before the connections are closed.
func (a *Authenticator) Shutdown(ctx context.Context) error {
	if a.isZero() {
		return nil
	}
	for _, c := range a.live.shutDown() {
		go c.close(shutDown)
	}
	select {
	case <-a.live.none:
		return nil
	case <-ctx.Done():
		a.live.mu.Lock()
		defer a.live.mu.Unlock()
		return fmt.Errorf("wsauth: %d connections have not ended: %w", len(a.live.live)+a.live.making, context.Cause(ctx))
	}
}

// Revoke ends the Authenticator's live WebSocket connections with claims that match, and returns how many: from then on
// no message reaches serve, but one that a Read is about to return, and none leaves; they are closed with
// [StatusUnauthorized] and the reason "token revoked", and then their contexts are cancelled with the cause [ErrRevoked].
// Revoke does not wait for that. match is called for one connection after the other, and must not change the claims.
//
// Revoke remembers nothing: a token that is still good opens the next connection. So first put what is revoked where a
// [Require] asks for it, or the issuer does, then call Revoke. A [Renew] that is under way with claims that match fails,
// and does not count. A connection that is being made at that moment is asked again by each Require that has admitted
// it, but by no [KeyFunc]; one that waits for its first message has no claims yet, and had no Require: its serve must
// ask when it begins.
func (a *Authenticator) Revoke(match func(*Claims) bool) int {
	if a.isZero() {
		return 0
	}
	a.live.revocations.Add(1)
	n := 0
	for _, c := range a.live.all() {
		if c.revoke(match) {
			n++
		}
	}
	return n
}

// seats counts the connections of one handler.
type seats struct {
	max, maxPerSubject int // 0: no bound
	mu                 sync.Mutex
	taken              int
	waiting            int // for the first message
	bySubject          map[subject]int
}

type subject struct{ issuer, name string }

// maxWaiting bounds the connections of a handler that have not shown a token yet.
const maxWaiting = 1024

// A seat is one counted connection.
type seat struct {
	in      *seats
	subject *subject // nil: not known yet, or not counted
	waiting bool
}

// take counts a connection in, whose claims are nil if it has to show its token yet.
func (s *seats) take(claims *Claims) (seat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.max > 0 && s.taken >= s.max {
		return seat{}, refusal.New(ErrUnavailable, errors.New("MaxConnections"))
	}
	taken := seat{in: s}
	if claims == nil {
		if s.waiting >= maxWaiting {
			return seat{}, refusal.New(ErrUnavailable, errors.New("too many connections wait for their first message"))
		}
		s.waiting++
		taken.waiting = true
	} else if err := taken.count(claims); err != nil {
		return seat{}, err
	}
	s.taken++
	return taken, nil
}

// sit gives a connection that waited its subject.
func (t *seat) sit(claims *Claims) error {
	t.in.mu.Lock()
	defer t.in.mu.Unlock()
	t.in.waiting--
	t.waiting = false
	return t.count(claims)
}

func (t *seat) count(claims *Claims) error {
	if t.in.maxPerSubject == 0 {
		return nil
	}
	who := subject{claims.Issuer, claims.Subject}
	if t.in.bySubject[who] >= t.in.maxPerSubject {
		return refusal.New(ErrTooMany, errors.New("MaxPerSubject"))
	}
	if t.in.bySubject == nil {
		t.in.bySubject = map[subject]int{}
	}
	t.in.bySubject[who]++
	t.subject = &who
	return nil
}

// leave counts a connection out.
func (t *seat) leave() {
	t.in.mu.Lock()
	defer t.in.mu.Unlock()
	t.in.taken--
	if t.waiting {
		t.in.waiting--
	}
	if t.subject == nil {
		return
	}
	if t.in.bySubject[*t.subject]--; t.in.bySubject[*t.subject] == 0 {
		delete(t.in.bySubject, *t.subject)
	}
}
