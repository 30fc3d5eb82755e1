package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
)

const (
	evenDemand = 1.25 // of the mean, in the busiest tenth
	coreDemand = 0.5  // of a core, in the busiest second
)

// deploy shuts the servers down. They have twice b.spread: Shutdown spreads the ends over half of it.
func (b *bench) deploy(ctx context.Context) error {
	f, err := b.startFleet(ctx, "wsauth", b.n, settings{})
	if err != nil {
		return err
	}
	defer f.stop()
	if err := f.connect(b.n, opening{End: time.Now().Add(time.Hour)}); err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	samples := make(chan []float64, 1)
	go func() { samples <- f.sample(sampling) }()
	before, err := f.stats(ctx, false)
	if err != nil {
		return err
	}
	begun := time.Now()
	down := make(chan error, 1)
	go func() { down <- f.shutdown(ctx, 2*b.spread) }()
	seen, err := f.order(order{Watch: begun.Add(3*b.spread + time.Minute)})
	if err != nil {
		return err
	}
	stop()
	if err := <-down; err != nil {
		return err
	}
	cores := <-samples
	after, err := f.stats(ctx, false)
	if err != nil {
		return err
	}
	b.counted("a deploy: peers that saw 1001", seen.Codes["1001 server shutting down"], b.n)
	took := time.Unix(0, slices.Max(seen.At)).Sub(begun)
	busiest, mean := busiestTenth(seen.At)
	b.compare(fmt.Sprintf("a deploy: the busiest tenth of the %.1f s that it takes", took.Seconds()),
		fmt.Sprintf("%d ends, %s of the mean", busiest, stats.Times(float64(busiest)/mean)),
		stats.Times(evenDemand), float64(busiest) <= evenDemand*mean)
	b.measured("a deploy: CPU of the servers for each end", microseconds((after.CPU-before.CPU)/time.Duration(b.n)))
	peak := 0.0
	if len(cores) > 0 {
		peak = slices.Max(cores)
	}
	b.compare("a deploy: CPU in the busiest second", fmt.Sprintf("%.2f of a core", peak),
		fmt.Sprintf("%.1f", coreDemand), peak <= coreDemand)
	return nil
}

// busiestTenth returns how many ends the busiest tenth of the time between the first and the last had, and the mean.
func busiestTenth(at []int64) (busiest int, mean float64) {
	first, last := slices.Min(at), slices.Max(at)
	var tenths [10]int
	for _, t := range at {
		tenths[min(9, (t-first)*10/max(1, last-first))]++
	}
	return slices.Max(tenths[:]), float64(len(at)) / 10
}

// sample returns the CPU time of the servers in each second, in cores, until ctx ends.
func (f *fleet) sample(ctx context.Context) (cores []float64) {
	at := time.Now()
	before, err := f.stats(ctx, false)
	for err == nil {
		sleepUntil(ctx, at.Add(time.Second))
		if ctx.Err() != nil {
			break
		}
		var now serverStats
		took := time.Since(at)
		at = time.Now()
		now, err = f.stats(ctx, false)
		cores = append(cores, (now.CPU-before.CPU).Seconds()/took.Seconds())
		before = now
	}
	return cores
}

// shutdown shuts all servers down.
func (f *fleet) shutdown(ctx context.Context, within time.Duration) error {
	faults := make([]error, len(f.servers))
	var all sync.WaitGroup
	for i, s := range f.servers {
		all.Go(func() {
			faults[i] = s.control(ctx, "/shutdown?within="+within.String(), func(io.Reader) error { return nil })
		})
	}
	all.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}
