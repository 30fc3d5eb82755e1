package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/wsauth/wsauth/internal/bench/cpu"
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
	nanos        []float64     // of CPU time for one call, in each round
	ratio        stats.Summary // to the base of the same round
}

// A runner runs one variant.
type runner struct {
	verify.Variant
	request *http.Request
	calls   int // in each slice
	nanos   []float64
}

func measure(rounds int, slice time.Duration, base string) ([]group, error) {
	all, err := newRunners(slice, base)
	if err != nil {
		return nil, err
	}
	for range rounds {
		for _, g := range rand.Perm(len(all)) {
			if err := compare(all[g]); err != nil {
				return nil, err
			}
		}
	}
	var groups []group
	for i, runners := range all {
		groups = append(groups, newGroup(verify.Algorithms[i], runners, named(base, runners)))
	}
	return groups, nil
}

// newRunners has a runner for each variant of each algorithm.
func newRunners(slice time.Duration, base string) ([][]*runner, error) {
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
			if err := r.calibrate(slice); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", alg, v.Name, err)
			}
			runners = append(runners, r)
		}
		if named(base, runners) == nil {
			return nil, fmt.Errorf("%s has no variant %q", alg, base)
		}
		all = append(all, runners)
	}
	return all, nil
}

// turns are how many each variant has in a round. The shortest counts: another process that takes the caches, or a
// collection of somebody else's garbage, makes a turn longer, never shorter. One long turn, measured after a forced
// collection, would be as long as it was disturbed, and pay for as much of the next collection as it has time for.
const turns = 8

// compare is a round of the variants of one algorithm.
func compare(runners []*runner) error {
	shortest := make([]time.Duration, len(runners))
	for range turns {
		for _, i := range rand.Perm(len(runners)) {
			took, err := runners[i].run()
			if err != nil {
				return err
			}
			if shortest[i] == 0 || took < shortest[i] {
				shortest[i] = took
			}
		}
	}
	for i, r := range runners {
		r.nanos = append(r.nanos, float64(shortest[i])/float64(r.calls))
	}
	return nil
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

// samples are how often calibrate measures: one alone may be as long as something else made it.
const samples = 10

// calibrate finds how many calls fit into a slice, and whether they succeed.
func (r *runner) calibrate(slice time.Duration) error {
	if _, err := r.Check(r.request); err != nil {
		return err
	}
	for r.calls = 1; ; r.calls *= 2 {
		shortest := time.Duration(math.MaxInt64)
		for range samples {
			took, err := r.run()
			if err != nil {
				return err
			}
			shortest = min(shortest, took)
		}
		if shortest >= slice/4 {
			r.calls = max(1, int(float64(r.calls)*float64(slice)/float64(shortest)))
			return nil
		}
	}
}

// run returns what the calls of a slice take of the process's CPU time.
func (r *runner) run() (time.Duration, error) {
	start, err := cpu.Time()
	if err != nil {
		return 0, err
	}
	for range r.calls {
		r.Check(r.request) // it has succeeded before
	}
	end, err := cpu.Time()
	return end - start, err
}
