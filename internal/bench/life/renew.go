package main

import (
	"context"
	"fmt"
	"time"
)

const (
	renewWindows = 10          // in which all tokens end; one of them is watched
	renewLead    = time.Second // before the end of a token its renewal is sent
	renewDemand  = 1.25        // for each connection, from the fewest to the most
	fewest       = 1000
)

// renew measures the CPU time of tokens that end evenly over ten minutes, and of the renewals of every other of them,
// among few and many connections. It watches one minute of the ten, in which the clocks are compared once.
func (b *bench) renew(ctx context.Context) error {
	var first float64
	for _, n := range sizes(b.n) {
		used, err := b.renewOn(ctx, n)
		if err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
		perThousand := used * 1e3 / float64(n)
		b.ends = append(b.ends, bar{thousands(n) + " connections", perThousand * 1e3, true})
		what := fmt.Sprintf("tokens end evenly over %.0f s, half are renewed: CPU of 1,000 among %s",
			(renewWindows * b.window).Seconds(), thousands(n))
		got := fmt.Sprintf("%.2f ms/s", perThousand*1e3)
		if first == 0 {
			first = perThousand
			b.measured(what, got)
			continue
		}
		b.compare(what, fmt.Sprintf("%s, %.2f× of the fewest", got, perThousand/first), fmt.Sprintf("%.2f×", renewDemand),
			perThousand/first <= renewDemand)
	}
	return nil
}

// sizes are 1,000, 10,000 and so on up to n, and n.
func sizes(n int) []int {
	var all []int
	for s := fewest; s < n; s *= 10 {
		all = append(all, s)
	}
	return append(all, n)
}

// renewOn returns the CPU time in seconds of one second.
func (b *bench) renewOn(ctx context.Context, n int) (float64, error) {
	f, err := b.startFleet(ctx, "wsauth", n, settings{})
	if err != nil {
		return 0, err
	}
	defer f.stop()
	if _, err := f.warmUp(ctx); err != nil {
		return 0, err
	}
	step := renewWindows * b.window / time.Duration(n)
	first, err := f.connectBefore(ctx, n, opening{Step: step, Renew: renewLead})
	if err != nil {
		return 0, err
	}
	sleepUntil(ctx, first)
	before, err := f.stats(ctx, false)
	if err != nil {
		return 0, err
	}
	sleepUntil(ctx, first.Add(b.window))
	after, err := f.stats(ctx, false)
	if err != nil {
		return 0, err
	}
	seen, err := f.order(order{Watch: time.Now()})
	if err != nil {
		return 0, err
	}
	want := n / renewWindows / 2
	if got := seen.Codes[expired]; got < want*9/10 || got > want*11/10+10 || seen.Renewed < want || len(seen.Codes) > 1 {
		b.isLate("renew: about %d tokens should have ended, and more be renewed: %d, %v", want, seen.Renewed, seen.Codes)
	}
	return (after.CPU - before.CPU).Seconds() / b.window.Seconds(), nil
}
