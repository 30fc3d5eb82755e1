package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
)

// connectSlices are how many parts the connections of a fleet are opened in, so that all kinds take turns.
const connectSlices = 20

const connectDemand = 1.08

// connect opens the connections of three fleets side by side. In the fleet that remembers tokens every token comes
// again in each slice; the first slice of all fleets does not count.
func (b *bench) connect(ctx context.Context) error {
	kinds := []struct {
		name, kind string
		cache      int
	}{
		{"plain", "plain", 0},
		{"HS256", "wsauth", 0},
		{"HS256, the token remembered", "wsauth", b.n}, // with so much room none is driven out
	}
	var fleets []*fleet
	defer func() {
		for _, f := range fleets {
			f.stop()
		}
	}()
	for _, k := range kinds {
		f, err := b.startFleet(ctx, k.kind, b.n, settings{Cache: k.cache})
		if err != nil {
			return err
		}
		fleets = append(fleets, f)
	}
	end := time.Now().Add(time.Hour)
	costs := make([][]float64, len(kinds))
	for slice := range connectSlices + 1 {
		for _, k := range rand.Perm(len(kinds)) {
			cost, err := fleets[k].costOf(ctx, b.n/connectSlices, opening{End: end})
			if err != nil {
				return fmt.Errorf("%s: %w", kinds[k].name, err)
			}
			if slice > 0 {
				costs[k] = append(costs[k], cost)
			}
		}
		if slice == 0 {
			for _, f := range fleets {
				if err := f.drop(ctx); err != nil {
					return err
				}
			}
		}
	}
	b.measured("CPU time of a handshake, plain", fmt.Sprintf("%.0f µs", stats.Sum(costs[0]).Median*1e6))
	for k := 1; k < len(kinds); k++ {
		ratio := stats.Sum(stats.Ratios(costs[k], costs[0]))
		b.compare("CPU time of a handshake, "+kinds[k].name, ratio.Spread()+" of plain",
			fmt.Sprintf("%.2f×", connectDemand), ratio.Median <= connectDemand)
	}
	return nil
}

// costOf opens connections and returns the servers' CPU time for each, in seconds.
func (f *fleet) costOf(ctx context.Context, n int, o opening) (float64, error) {
	before, err := f.stats(ctx, false)
	if err != nil {
		return 0, err
	}
	if err := f.connect(n, o); err != nil {
		return 0, err
	}
	after, err := f.stats(ctx, false)
	return (after.CPU - before.CPU).Seconds() / float64(n), err
}
