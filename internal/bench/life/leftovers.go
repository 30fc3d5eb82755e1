package main

import (
	"context"
	"fmt"
	"time"
)

// leftoverDemand is by how many bytes the heap may be larger for each connection of the second time. The runtime keeps
// what a goroutine was made of, some 500 bytes, for the next one, and how many there are at once is not the same each
// time. A connection that stays would add thousands.
const leftoverDemand = 500

// leftovers opens and ends all connections twice, half of them by the end of the token. A connection that still waits
// for its end stays on the heap, so none does if the heap is as before.
func (b *bench) leftovers(ctx context.Context) error {
	for _, kind := range []string{"plain", "wsauth", "detach"} {
		if err := b.leftoversOf(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) leftoversOf(ctx context.Context, kind string) error {
	f, err := b.startFleet(ctx, kind, b.n, settings{})
	if err != nil {
		return err
	}
	defer f.stop()
	base, err := f.warmUp(ctx)
	if err != nil {
		return err
	}
	var after [2]serverStats
	for i := range after {
		if after[i], err = b.comeAndGo(ctx, f, kind, base); err != nil {
			return err
		}
	}
	what := "after all is over, " + names[kind] + ": "
	more := float64(after[1].Heap-after[0].Heap) / float64(b.n)
	heaps := fmt.Sprintf("%s before, %s after, %s after as many again: %+.0f B for each", megabytes(base.Heap),
		megabytes(after[0].Heap), megabytes(after[1].Heap), more)
	if kind == "plain" {
		b.measured(what+"goroutines", fmt.Sprintf("%d, %d before", after[1].Goroutines, base.Goroutines))
		b.measured(what+"live heap", heaps)
		return nil
	}
	b.counted(what+"goroutines", after[1].Goroutines, base.Goroutines)
	b.compare(what+"live heap", heaps, fmt.Sprintf("%+d B for each", leftoverDemand),
		more <= leftoverDemand)
	return b.profile(ctx, f.servers[0], "leftovers-"+kind, "/debug/pprof/heap")
}

// comeAndGo returns what the servers are like after all connections have come and gone.
func (b *bench) comeAndGo(ctx context.Context, f *fleet, kind string, base serverStats) (serverStats, error) {
	// Half of the tokens end an hour later than the others, and by then their clients have gone.
	end, err := f.connectBefore(ctx, b.n/2, opening{Tell: kind == "plain"})
	if err != nil {
		return base, err
	}
	if err := f.connect(b.n/2, opening{End: time.Now().Add(time.Hour), Tell: kind == "plain"}); err != nil {
		return base, err
	}
	sleepUntil(ctx, end.Add(time.Second))
	if err := f.drop(ctx); err != nil {
		return base, err
	}
	left, gone, err := until(ctx, 30*time.Second, f.stats, func(s serverStats) bool {
		return s.Open == 0 && s.Goroutines <= base.Goroutines
	})
	if err != nil {
		return base, err
	}
	if !gone && kind != "plain" {
		b.breaks("leftovers, %s: %d connections, %d goroutines", kind, left.Open, left.Goroutines-base.Goroutines)
	}
	return f.stats(ctx, true)
}
