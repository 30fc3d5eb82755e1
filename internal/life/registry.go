package life

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/revocation"
)

// ErrShutDown is why a connection ends with its server.
var ErrShutDown = http.ErrServerClosed

// A Registry knows the live connections of an Authenticator, in order to end them: http.Server does not know
// connections that were hijacked.
type Registry[C any] struct {
	mu   sync.Mutex
	live []*Conn[C] // each of them knows its place; a slice is copied faster than a map is iterated over
	down bool
	none chan struct{} // closed when down and no connection lives

	revoked  *revocation.Set // nil: nothing can be revoked
	tokenOf  func(*C) (t revocation.Token, ok bool)
	index    index[C]
	renewing map[*renewal[C]]*Conn[C] // renewals whose new claims are known, and not yet those of the connection

	epoch atomic.Uint32 // how often Disconnect was called

	schedule schedule[C]
}

// NewRegistry returns an empty Registry. tokenOf returns the names by which a token with these claims can be revoked;
// false: they are not the claims of a token. revoked is nil if nothing can be revoked.
func NewRegistry[C any](revoked *revocation.Set, tokenOf func(*C) (revocation.Token, bool)) *Registry[C] {
	return &Registry[C]{
		none:    make(chan struct{}),
		revoked: revoked, tokenOf: tokenOf, index: index[C]{}, renewing: map[*renewal[C]]*Conn[C]{},
	}
}

// IsDown reports whether Shutdown was called.
func (g *Registry[C]) IsDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// Epoch returns how often Disconnect was called. The checks of a connection that was admitted in an earlier epoch are
// asked again.
func (g *Registry[C]) Epoch() uint32 { return g.epoch.Load() }

// add counts a connection. It returns false after Shutdown.
func (g *Registry[C]) add(c *Conn[C]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return false
	}
	c.place = len(g.live)
	g.live = append(g.live, c)
	return true
}

func (g *Registry[C]) remove(c *Conn[C]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.live) - 1
	g.live[c.place] = g.live[last]
	g.live[c.place].place = c.place
	g.live[last] = nil
	g.live = g.live[:last]
	g.index.remove(c)
	c.marks = revocation.Marks{}
	g.tellIfNone()
}

func (g *Registry[C]) tellIfNone() {
	if g.down && len(g.live) == 0 {
		close(g.none)
	}
}

func (g *Registry[C]) all() []*Conn[C] {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.live)
}

// Disconnect ends the live connections whose claims match, and returns how many.
func (g *Registry[C]) Disconnect(match func(*C) bool, e gate.Ending) int {
	g.epoch.Add(1)
	n := 0
	var wires finisher
	defer wires.finishRest() // even if match panics
	for _, c := range g.all() {
		if c.disconnect(match, e, &wires) {
			n++
		}
	}
	return n
}

// Shutdown spreads the ends, so that not all clients come back at once. It closes one connection after another, or, if
// there are so many that they would have to follow each other more closely, some at a time: a server that is not busy
// spends more on waking up than on an end.
const (
	closeEvery = 10 * time.Millisecond // one connection
	batchEvery = 50 * time.Millisecond // some
	batches    = 100                   // at least
)

// Shutdown admits no more connections, ends the live ones, and waits until there are none or ctx is done. If ctx has a
// deadline, the ends are spread over at most half of the time until then.
func (g *Registry[C]) Shutdown(ctx context.Context, e gate.Ending) error {
	g.mu.Lock()
	if !g.down {
		g.down = true
		g.tellIfNone()
	}
	g.mu.Unlock()
	g.endAll(ctx, e)
	select {
	case <-g.none:
		return nil
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.live) == 0 {
			return nil
		}
		return fmt.Errorf("wsauth: %d connections have not ended: %w", len(g.live), context.Cause(ctx))
	}
}

func (g *Registry[C]) endAll(ctx context.Context, e gate.Ending) {
	all, start := g.all(), time.Now()
	apart, often := spread(ctx, len(all))
	for ended := 0; ended < len(all); {
		due := len(all)
		if apart > 0 {
			due = min(due, 1+int(time.Since(start)/apart))
		}
		endEach(all[ended:due], e)
		if ended = due; ended == len(all) {
			return
		}
		select {
		case <-time.After(often):
		case <-ctx.Done():
			apart = 0
		}
	}
}

// spread returns how far apart n connections end, and how often those end that are due by then.
func spread(ctx context.Context, n int) (apart, often time.Duration) {
	until, ok := ctx.Deadline()
	if !ok || n == 0 {
		return 0, 0
	}
	window := time.Until(until) / 2
	apart = max(0, window/time.Duration(n))
	if apart >= closeEvery {
		return closeEvery, closeEvery
	}
	return apart, max(apart, min(batchEvery, window/batches))
}

func endEach[C any](conns []*Conn[C], e gate.Ending) {
	var wires finisher
	for _, c := range conns {
		if first, wire := c.decide(e); first && wire != nil {
			wires.finish(wire)
		}
	}
	wires.finishRest()
}
