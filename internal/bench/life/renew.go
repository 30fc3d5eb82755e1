package main

import (
	"context"
	"fmt"
	"time"
)

const (
	renewSpan   = 10 * time.Minute // in which the tokens of all connections end
	renewEnds   = 1000             // that are watched, among however many connections
	renewLead   = time.Second      // before the end of a token its renewal is sent
	renewDemand = 1.25             // from the fewest connections to the most
)

// renew measures the CPU time of tokens that end, and of the renewals of every other of them, at the rate at which those
// of b.n connections end that are spread over ten minutes, or faster if b.n is small. Fewer connections have the same
// rate, so that their tokens have all ended earlier, and only the first thousand ends are watched. If the timers of
// connections that do nothing cost anything, the rate costs more among many.
func (b *bench) renew(ctx context.Context) error {
	ends := min(renewEnds, b.n)
	step := min(renewSpan/time.Duration(b.n), b.window/time.Duration(ends))
	var fewest float64
	for _, n := range sizes(b.n) {
		used, err := b.renewOn(ctx, n, ends, step)
		if err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
		what := fmt.Sprintf("CPU of %.0f ends of tokens a second, half of them renewed, among %s connections",
			float64(time.Second)/float64(step), thousands(n))
		got := fmt.Sprintf("%.1f ms/s", used*1e3)
		b.timers = append(b.timers, bar{thousands(n) + " connections", used * 1e3, true})
		if fewest == 0 {
			fewest = used
			b.measured(what, got)
			continue
		}
		b.compare(what, fmt.Sprintf("%s, %.2f× of the fewest", got, used/fewest), fmt.Sprintf("%.2f×", renewDemand),
			used/fewest <= renewDemand)
	}
	return nil
}

// sizes are 1,000, 10,000 and so on up to n, and n.
func sizes(n int) []int {
	var all []int
	for s := renewEnds; s < n; s *= 10 {
		all = append(all, s)
	}
	return append(all, n)
}

// renewOn returns the CPU time in seconds of one second.
func (b *bench) renewOn(ctx context.Context, n, ends int, step time.Duration) (float64, error) {
	f, err := b.startFleet(ctx, "wsauth", n, settings{})
	if err != nil {
		return 0, err
	}
	defer f.stop()
	if _, err := f.warmUp(ctx); err != nil {
		return 0, err
	}
	first, err := f.connectBefore(ctx, n, opening{Step: step, Renew: renewLead})
	if err != nil {
		return 0, err
	}
	sleepUntil(ctx, first)
	before, err := f.stats(ctx, false)
	if err != nil {
		return 0, err
	}
	window := time.Duration(ends)*step - renewLead // from then on the fewest have no renewals left
	sleepUntil(ctx, first.Add(window))
	after, err := f.stats(ctx, false)
	if err != nil {
		return 0, err
	}
	seen, err := f.order(order{Watch: time.Now()})
	if err != nil {
		return 0, err
	}
	want := int(window / step / 2)
	if got := seen.Codes[expired]; got < want*9/10 || got > want*11/10+1 || seen.Renewed < want || len(seen.Codes) > 1 {
		b.isLate("renew: about %d tokens should have ended, and more be renewed: %d, %v", want, seen.Renewed, seen.Codes)
	}
	return (after.CPU - before.CPU).Seconds() / window.Seconds(), nil
}
