// Command picture draws the way of a request, and the ends of the connection that it opens, for the README:
//
//	go -C internal/bench run ./picture ../../docs
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A theme has the colours of a page.
type theme struct{ text, quiet, line, fill, good, bad string }

var themes = map[string]theme{
	"life.svg":      {"#1f2328", "#59636e", "#d1d9e0", "#f6f8fa", "#1a7f37", "#cf222e"},
	"life-dark.svg": {"#f0f6fc", "#9198a1", "#3d444d", "#151b23", "#3fb950", "#f85149"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture <directory>")
		os.Exit(2)
	}
	for name, th := range themes {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), []byte(draw(th)), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "picture:", err)
			os.Exit(1)
		}
	}
}

const (
	width, height = 880, 236
	boxWidth      = 190
	boxHeight     = 92
	gap           = 28
	top           = 44
)

// stages are the boxes from left to right, each with what wsauth does there.
var stages = []struct{ title, first, second string }{
	{"request", "header, query, cookie,", "subprotocol, first message"},
	{"credential", "one token, in a place", "with a rule of its own"},
	{"claims", "signature, iss, aud, exp,", "revoked?, your checks"},
	{"connection", "of any library, until its", "token ends; Renew"},
}

// ends are how a connection is closed.
var ends = []struct{ code, why string }{
	{"3000", "token expired"}, {"3000", "token revoked"}, {"4001", "replaced"}, {"1001", "server shutting down"},
}

func draw(th theme) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" `+
		`font-family="system-ui, sans-serif" font-size="13">`+"\n", width, height, label())
	text := func(x, y int, colour, extra, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" %s>%s</text>`+"\n", x, y, colour, extra, s)
	}
	arrow := func(x1, y1, x2, y2 int, colour string) {
		fmt.Fprintf(&b, `<path d="M%d %dL%d %d" stroke="%s" stroke-width="1.5" fill="none"/>`+"\n", x1, y1, x2, y2, colour)
	}
	for i, s := range stages {
		x := 16 + i*(boxWidth+gap)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" rx="8" fill="%s" stroke="%s"/>`+"\n",
			x, top, boxWidth, boxHeight, th.fill, th.line)
		text(x+14, top+28, th.text, `font-weight="600" font-size="15"`, s.title)
		text(x+14, top+54, th.quiet, "", s.first)
		text(x+14, top+74, th.quiet, "", s.second)
		if i < len(stages)-1 {
			from := x + boxWidth
			middle := top + boxHeight/2
			arrow(from+6, middle, from+gap-8, middle, th.good)
			fmt.Fprintf(&b, `<path d="M%d %dl-7 -4v8z" fill="%s"/>`+"\n", from+gap-5, middle, th.good)
		}
	}
	text(16, 26, th.quiet, "", "What is refused on the way gets 400, 401, 403, 429 or 503, or a close code that a page can read.")
	from := 16 + 3*(boxWidth+gap) + boxWidth/2
	bottom := top + boxHeight
	arrow(from, bottom+4, from, bottom+26, th.bad)
	arrow(16+boxWidth/2, bottom+26, from, bottom+26, th.line)
	for i, e := range ends {
		x := 16 + i*(boxWidth+gap)
		text(x+14, bottom+58, th.bad, `font-weight="600"`, e.code)
		text(x+56, bottom+58, th.text, "", e.why)
		arrow(x+boxWidth/2, bottom+26, x+boxWidth/2, bottom+38, th.line)
	}
	text(30, bottom+86, th.quiet, "", "The peer is told by a close frame and has a grace to answer. Then the connection is cut, whatever it does.")
	b.WriteString("</svg>\n")
	return b.String()
}

// label is the picture in words.
func label() string {
	var names, closes []string
	for _, s := range stages {
		names = append(names, s.title)
	}
	for _, e := range ends {
		closes = append(closes, e.code+" "+e.why)
	}
	return "The way of a request: " + strings.Join(names, ", ") + ". A connection is closed with " + strings.Join(closes, ", ") + "."
}
