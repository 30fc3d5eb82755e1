package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
	"github.com/wsauth/wsauth/internal/bench/verify"
)

// A group is what was measured of one algorithm.
type group struct {
	alg     string
	results []result
}

// A result is what was measured of one variant.
type result struct {
	name, module string
	nanos        []float64     // for one call, in each round
	ratio        stats.Summary // to the base of the same round
}

// A runner runs one variant.
type runner struct {
	verify.Variant
	request *http.Request
	calls   int // in each turn
	nanos   []float64
}

func measure(rounds int, turn time.Duration, base string) ([]group, error) {
	var all [][]*runner
	for _, alg := range verify.Algorithms {
		s, err := verify.New(alg)
		if err != nil {
			return nil, err
		}
		request := verify.Request(s.Token(verify.Claims(nil)))
		var runners []*runner
		for _, v := range s.Variants {
			r := &runner{Variant: v, request: request}
			if err := r.calibrate(turn); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", alg, v.Name, err)
			}
			runners = append(runners, r)
		}
		if named(base, runners) == nil {
			return nil, fmt.Errorf("%s has no variant %q", alg, base)
		}
		all = append(all, runners)
	}
	for range rounds {
		for _, g := range rand.Perm(len(all)) {
			for _, i := range rand.Perm(len(all[g])) {
				all[g][i].takeTurn()
			}
		}
	}
	var groups []group
	for i, runners := range all {
		groups = append(groups, newGroup(verify.Algorithms[i], runners, named(base, runners)))
	}
	return groups, nil
}

func named(name string, runners []*runner) *runner {
	for _, r := range runners {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func newGroup(alg string, runners []*runner, base *runner) group {
	g := group{alg: alg}
	for _, r := range runners {
		g.results = append(g.results, result{
			name: r.Name, module: r.Module, nanos: r.nanos, ratio: stats.Sum(stats.Ratios(r.nanos, base.nanos)),
		})
	}
	return g
}

// calibrate finds how many calls fit into a turn, and whether they succeed.
func (r *runner) calibrate(turn time.Duration) error {
	if _, err := r.Check(r.request); err != nil {
		return err
	}
	for r.calls = 1; ; r.calls *= 2 {
		if took := r.run(r.calls); took >= turn/4 {
			r.calls = max(1, int(float64(r.calls)*float64(turn)/float64(took)))
			return nil
		}
	}
}

// takeTurn measures after a collection, so that a variant pays for its own garbage and not for that of the one before,
// and after some calls that fill the pools which the collection has emptied.
func (r *runner) takeTurn() {
	runtime.GC()
	r.run(1 + r.calls/16)
	r.nanos = append(r.nanos, float64(r.run(r.calls))/float64(r.calls))
}

func (r *runner) run(calls int) time.Duration {
	start := time.Now()
	for range calls {
		r.Check(r.request) // it has succeeded before
	}
	return time.Since(start)
}
