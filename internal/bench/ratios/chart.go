package main

import (
	"bytes"
	"fmt"
	"html"
	"math"

	"github.com/wsauth/wsauth/internal/bench/stats"
	"github.com/wsauth/wsauth/internal/bench/verify"
)

// The chart has a panel for each algorithm, two in a row, with a bar for each variant. Everything is in pixels.
const (
	margin      = 16
	panelWidth  = 420
	labelWidth  = 150
	barsWidth   = 210 // what is left of a panel is for the figure behind the longest bar
	barHeight   = 14
	rowHeight   = 22
	titleHeight = 76
	panelHead   = 30
	lineHeight  = 16
)

// The chart follows the reader's choice of light or dark: a file that a page shows as an image has no other way to
// know.
const style = `
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.alg { font-size: 13px; font-weight: 600 }
.label { text-anchor: end }
.tick { text-anchor: middle; font-size: 10px }
.tick, .note { fill: #59636e }
.note { font-size: 11px }
.ours { font-weight: 600 }
.axis { stroke: #59636e }
.bar { fill: #9fb1c4 }
.bar.base { fill: #59636e }
.bar.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .tick, .note { fill: #9198a1 }
  .axis { stroke: #9198a1 }
  .bar { fill: #566472 }
  .bar.base { fill: #9198a1 }
  .bar.ours { fill: #4493f8 }
}
`

// A scale is logarithmic: equal ratios are equally long.
type scale struct{ low, high float64 }

func scaleOf(groups []group) scale {
	s := scale{1, 2}
	for _, g := range groups {
		for _, r := range g.results {
			s.low, s.high = min(s.low, r.ratio.Median), max(s.high, r.ratio.Median)
		}
	}
	return s
}

func (s scale) x(ratio float64) float64 {
	return labelWidth + 8 + barsWidth*math.Log(ratio/s.low)/math.Log(s.high/s.low)
}

func (s scale) ticks() []float64 {
	var ticks []float64
	for _, t := range []float64{0.001, 0.01, 0.1, 1, 10, 100, 1000} {
		if s.low <= t && t <= s.high {
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// chart draws an SVG.
func chart(groups []group) []byte {
	notes := append([]string{stats.Machine()}, pairs(modules(groups))...)
	rows := 0
	for _, g := range groups {
		rows = max(rows, len(g.results))
	}
	panelHeight := panelHead + rows*rowHeight + 28
	below := titleHeight + (len(groups)+1)/2*panelHeight
	width, height := 2*margin+2*panelWidth, below+len(notes)*lineHeight+margin

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">`+
		"\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", heading, style)
	fmt.Fprintf(&b, "<text class=\"title\" x=\"%d\" y=\"28\">%s</text>\n", margin, heading)
	text(&b, "note", margin, 48, explanation)
	s := scaleOf(groups)
	for i, g := range groups {
		x, y := margin+i%2*panelWidth, titleHeight+i/2*panelHeight
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n", x, y)
		panel(&b, g, s)
		b.WriteString("</g>\n")
	}
	for i, note := range notes {
		text(&b, "note", margin, below+lineHeight*(i+1), note)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

const (
	heading     = "From a request with a token to its claims: CPU time per request"
	explanation = "as a multiple of “limit”: header, base64url and the standard library’s signature check alone. " +
		"Shorter is better; the scale is logarithmic."
)

// panel draws one algorithm.
func panel(b *bytes.Buffer, g group, s scale) {
	bottom := panelHead + len(g.results)*rowHeight
	text(b, "alg", 0, 16, g.alg)
	for _, t := range s.ticks() {
		top := bottom
		if t == 1 {
			top = panelHead - 4
		}
		fmt.Fprintf(b, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1[1]f\" y1=\"%d\" y2=\"%d\"/>\n", s.x(t), top, bottom+4)
		fmt.Fprintf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">%g×</text>\n", s.x(t), bottom+15, t)
	}
	for i, r := range g.results {
		y := panelHead + i*rowHeight
		class, figure := "bar", stats.Times(r.ratio.Median)
		switch {
		case r.name == verify.Limit:
			class, figure = "bar base", fmt.Sprintf("%.1f µs", stats.Sum(r.nanos).Median/1e3)
		case r.module == "github.com/wsauth/wsauth":
			class = "bar ours"
		}
		from, to := min(s.x(1), s.x(r.ratio.Median)), max(s.x(1), s.x(r.ratio.Median))
		label := "label"
		if class == "bar ours" {
			label = "label ours"
		}
		text(b, label, labelWidth, y+11, r.name)
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n",
			class, from, y, max(to-from, 2), barHeight)
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", to+6, y+11, figure)
	}
}

func text(b *bytes.Buffer, class string, x, y int, s string) {
	fmt.Fprintf(b, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, x, y, html.EscapeString(s))
}

// pairs puts two of the notes into a line.
func pairs(notes []string) []string {
	var lines []string
	for i := 0; i < len(notes); i += 2 {
		line := notes[i]
		if i+1 < len(notes) {
			line += " · " + notes[i+1]
		}
		lines = append(lines, line)
	}
	return lines
}
