package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
)

// idleKinds are compared by what a connection costs that waits in Read.
var idleKinds = []struct {
	name, kind, plain string
	demand            float64 // of plain
}{
	{"coder/websocket", "plain", "", 0},
	{"wsauth", "wsauth", "plain", 0.70},
	{"wsauth with Detach", "detach", "plain", 0.45},
	{"gorilla/websocket", "gorilla", "", 0},
	{"gorilla behind Guard", "guard", "gorilla", 1},
}

// resting is what a connection costs.
type resting struct{ fresh, used, heap, stack, goroutines float64 }

func (b *bench) idle(ctx context.Context) error {
	costs := map[string]resting{}
	for _, k := range idleKinds {
		c, err := b.idleOn(ctx, k.kind)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		costs[k.kind] = c
		b.memory = append(b.memory, bar{k.name, c.used / 1e3, k.plain != ""})
		what := "resident memory of a connection, " + k.name
		if k.plain == "" {
			b.measured(what, kilobytes(c.used)+c.parts())
			continue
		}
		p := costs[k.plain]
		b.compare(what, fmt.Sprintf("%s, %s (%s and %s before the first message)", kilobytes(c.used),
			ofPlain(c.used, p.used), kilobytes(c.fresh), stats.Times(c.fresh/p.fresh))+c.parts(),
			fmt.Sprintf("%.2f×", k.demand), max(c.used/p.used, c.fresh/p.fresh) <= k.demand)
	}
	return nil
}

// parts are what the memory is of.
func (c resting) parts() string {
	return fmt.Sprintf("; live heap %s, stacks %s of %.2f goroutines", kilobytes(c.heap), kilobytes(c.stack), c.goroutines)
}

func (b *bench) idleOn(ctx context.Context, kind string) (c resting, err error) {
	f, err := b.startFleet(ctx, kind, b.n, settings{})
	if err != nil {
		return c, err
	}
	defer f.stop()
	base, err := f.warmUp(ctx)
	if err != nil {
		return c, err
	}
	if err := f.connect(b.n, opening{End: time.Now().Add(time.Hour)}); err != nil {
		return c, err
	}
	sleepUntil(ctx, time.Now().Add(time.Second)) // the last is not in Read yet
	fresh, err := f.stats(ctx, true)
	if err != nil {
		return c, err
	}
	if err := b.profile(ctx, f.servers[0], "idle-"+kind, "/debug/pprof/heap"); err != nil {
		return c, err
	}
	// Buffers that were never used are not resident, and who never used them is not real.
	if _, err := f.order(order{Echo: true}); err != nil {
		return c, err
	}
	sleepUntil(ctx, time.Now().Add(time.Second))
	used, err := f.stats(ctx, true)
	if err != nil {
		return c, err
	}
	if used.Open != int64(b.n) {
		b.breaks("idle, %s: %d of %d connections are open", kind, used.Open, b.n)
	}
	n := float64(b.n)
	return resting{
		fresh: float64(fresh.RSS-base.RSS) / n, used: float64(used.RSS-base.RSS) / n, heap: float64(used.Heap-base.Heap) / n,
		stack: float64(used.Stack-base.Stack) / n, goroutines: float64(used.Goroutines-base.Goroutines) / n,
	}, nil
}
