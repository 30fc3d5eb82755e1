// Command ratios measures how long each way of verifying takes as a multiple of the least that is possible, and prints
// a Markdown table.
//
//	go -C internal/bench run ./ratios -svg ratios.svg
//
// With -base, it is a multiple of another variant.
//
// The variants are those of package verify. They take turns of half a millisecond, several in each round, in an order
// that changes from turn to turn. What counts is the CPU time of the process in the shortest turn of a round, and its
// ratio to that of the base in the same round: what else the machine does meets all of them alike, or nobody. Allocating
// counts; a collection, which meets whoever runs, does not.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
	"github.com/wsauth/wsauth/internal/bench/verify"
)

func main() {
	rounds := flag.Int("rounds", 200, "`rounds`, of about 0.2 seconds each")
	slice := flag.Duration("slice", 500*time.Microsecond, "how `long` a variant runs in each round")
	base := flag.String("base", verify.Limit, "the `variant` that the others are compared to")
	svg := flag.String("svg", "", "a `file` for a chart, which needs the default base")
	flag.Parse()
	if err := run(os.Stdout, *rounds, *slice, *base, *svg); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, rounds int, slice time.Duration, base, svg string) error {
	if rounds < 1 || slice < time.Microsecond {
		return fmt.Errorf("-rounds must be at least 1, and -slice at least 1µs")
	}
	if svg != "" && base != verify.Limit {
		return fmt.Errorf("-svg needs -base %s", verify.Limit)
	}
	groups, err := measure(rounds, slice, base)
	if err != nil {
		return err
	}
	printTable(out, groups, base)
	fmt.Fprintf(out, "\n%d rounds on %s.\n", rounds, stats.Machine())
	fmt.Fprintf(out, "%s.\n", strings.Join(modules(groups), ", "))
	if svg == "" {
		return nil
	}
	return os.WriteFile(svg, chart(groups), 0o644)
}

// printTable has a row for each variant and a column for each algorithm.
func printTable(out io.Writer, groups []group, base string) {
	fmt.Fprint(out, stats.Header(append([]string{""}, verify.Algorithms...)...))
	for _, name := range names(groups) {
		cells := []string{name}
		for _, g := range groups {
			cells = append(cells, g.cell(name, base))
		}
		fmt.Fprint(out, stats.Row(cells...))
	}
}

func (g group) cell(name, base string) string {
	i := slices.IndexFunc(g.results, func(r result) bool { return r.name == name })
	if i < 0 {
		return "–"
	}
	if name == base {
		return fmt.Sprintf("1 (%.1f µs)", stats.Sum(g.results[i].nanos).Median/1e3)
	}
	return g.results[i].ratio.Spread()
}

// names are those of all variants, in their order.
func names(groups []group) []string {
	var all []string
	for _, g := range groups {
		for i, r := range g.results {
			if slices.Contains(all, r.name) {
				continue
			}
			// One that only some algorithms have stands behind the one that is before it there.
			at := 0
			if i > 0 {
				at = slices.Index(all, g.results[i-1].name) + 1
			}
			all = slices.Insert(all, at, r.name)
		}
	}
	return all
}

// modules are those of the variants, with their versions.
func modules(groups []group) []string {
	versions := stats.Modules()
	var all []string
	for _, g := range groups {
		for _, r := range g.results {
			if line := r.module + " " + versions[r.module]; r.module != "" && !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	return all
}
