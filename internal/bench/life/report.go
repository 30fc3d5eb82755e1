package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
)

// A figure is what was measured, beside what is demanded of it.
type figure struct {
	what, got, demand string
	missed            bool
}

// measured adds a figure that a demand has no bound for.
func (b *bench) measured(what, got string) { b.compare(what, got, "", true) }

// compare adds a figure and whether it is within its demand. Whoever misses one is late: a busy machine can be the
// reason.
func (b *bench) compare(what, got, demand string, ok bool) {
	fmt.Fprintf(os.Stderr, "%s %s: %s\n", time.Now().Format(time.TimeOnly), what, got)
	b.figures = append(b.figures, figure{what, got, demand, !ok})
	if !ok {
		b.isLate("%s: %s, demanded %s", what, got, demand)
	}
}

// counted adds a count that is right or wrong on any machine.
func (b *bench) counted(what string, got, want int) {
	b.measuredOf(what, got, want)
	if got != want {
		b.breaks("%s: %d of %d", what, got, want)
	}
}

func (b *bench) measuredOf(what string, got, want int) {
	text := fmt.Sprintf("%d of %d", got, want)
	fmt.Fprintf(os.Stderr, "%s %s: %s\n", time.Now().Format(time.TimeOnly), what, text)
	b.figures = append(b.figures, figure{what, text, "all", got != want})
}

// report is a Markdown table of all figures.
func (b *bench) report() string {
	var t strings.Builder
	t.WriteString(stats.Header("", "measured", "demanded"))
	for _, f := range b.figures {
		demand := f.demand
		if f.missed {
			demand += " **missed**"
		}
		t.WriteString(stats.Row(f.what, f.got, demand))
	}
	fmt.Fprintf(&t, "\n%s connections of each kind; processes at each end: %d, since one may open %s files here. What is "+
		"said of a server is said of all of them together, and the clients use the same cores. %s. %s\n",
		thousands(b.n), shards(b.n), thousands(maxFiles()), stats.Machine(), b.load)
	return t.String()
}

// load says how busy the machine is, where the system knows.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	lately, _, ok := strings.Cut(string(text), " ")
	if !ok {
		return ""
	}
	return "Before it began, the load average was " + lately + "."
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

func kilobytes(perConnection float64) string { return fmt.Sprintf("%.1f KB", perConnection/1e3) }

func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
}

// ofPlain says how many times as much as plain something is.
func ofPlain(got, plain float64) string { return stats.Times(got/plain) + " of plain" }

func microseconds(d time.Duration) string { return fmt.Sprintf("%.0f µs", d.Seconds()*1e6) }
