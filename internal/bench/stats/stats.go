// Package stats sums up what was measured in rounds, and names what it was measured on.
package stats

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// A Summary is the middle of some figures: half of them lie between Low and High.
type Summary struct{ Low, Median, High float64 }

// Sum sums up figures, at least one.
func Sum(figures []float64) Summary {
	sorted := slices.Sorted(slices.Values(figures))
	// The figure at a part of the way, between two of them if need be.
	at := func(part float64) float64 {
		where := part * float64(len(sorted)-1)
		i := int(where)
		next := min(i+1, len(sorted)-1)
		return sorted[i] + (where-float64(i))*(sorted[next]-sorted[i])
	}
	return Summary{at(0.25), at(0.5), at(0.75)}
}

// Ratios divides figures by those of the same round.
func Ratios(figures, by []float64) []float64 {
	ratios := make([]float64, len(figures))
	for i, f := range figures {
		ratios[i] = f / by[i]
	}
	return ratios
}

// Times says how many times as much as something else: "1.23×".
func Times(ratio float64) string {
	switch {
	case ratio >= 100:
		return fmt.Sprintf("%.0f×", ratio)
	case ratio >= 10:
		return fmt.Sprintf("%.1f×", ratio)
	case ratio < 0.01:
		return fmt.Sprintf("%.3f×", ratio)
	}
	return fmt.Sprintf("%.2f×", ratio)
}

// Spread has the middle half, too.
func (s Summary) Spread() string {
	return fmt.Sprintf("%s (%s–%s)", Times(s.Median), strings.TrimSuffix(Times(s.Low), "×"),
		strings.TrimSuffix(Times(s.High), "×"))
}

// Row writes a row of a Markdown table.
func Row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// Header writes the head of a Markdown table.
func Header(cells ...string) string {
	return Row(cells...) + strings.Repeat("|---", len(cells)) + "|\n"
}

// Machine names the processor, the system and the version of Go.
func Machine() string {
	return fmt.Sprintf("%s, %d of its cores, %s/%s, %s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH,
		runtime.Version())
}

// processor is its name where /proc has it, else its architecture.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// Modules returns the versions of modules that are part of the program, by their paths.
func Modules() map[string]string {
	versions := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if versions[m.Path] = m.Version; m.Replace != nil {
				versions[m.Path] = "of this tree"
			}
		}
	}
	return versions
}
