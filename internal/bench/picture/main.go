// Command picture draws the way of a request, and the ends of the connection that it opens, for the README:
//
//	go -C internal/bench run ./picture ../../docs
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wsauth/wsauth/internal/bench/theme"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture <directory>")
		os.Exit(2)
	}
	for suffix, th := range theme.Themes {
		if err := os.WriteFile(filepath.Join(os.Args[1], "life"+suffix+".svg"), []byte(draw(th)), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "picture:", err)
			os.Exit(1)
		}
	}
}

const (
	width    = 560 // so that a phone, which shows 360 of them, leaves the text legible
	rowWidth = width - 32
	rowStep  = 62
	rowHigh  = 44
	endsTop  = 16 + 4*rowStep
	height   = endsTop + 146
)

// stages are the rows from top to bottom, each with what wsauth does there.
var stages = []struct{ title, what string }{
	{"request", "header, query, cookie, subprotocol, first message"},
	{"credential", "one token, in a place with a rule of its own"},
	{"claims", "signature, iss, aud, exp, revocations, your checks"},
	{"connection", "open until its token expires; Renew extends it"},
}

// ends are how a connection is closed.
var ends = []struct{ code, why string }{
	{"3000", "token expired"}, {"3000", "token revoked"}, {"4001", "replaced"},
	{"1001", "server shutting down"}, {"1000", "your handler returned"}, {"any", "Disconnect: your code"},
}

func draw(th theme.Theme) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" `+
		`aria-label="%s" font-family="system-ui, sans-serif" font-size="15">`+"\n", width, height, width, height, label())
	text := func(x, y int, colour, weight, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" font-weight="%s">%s</text>`+"\n", x, y, colour, weight, s)
	}
	for i, s := range stages {
		y := 16 + i*rowStep
		fmt.Fprintf(&b, `<rect x="16" y="%d" width="%d" height="%d" rx="8" fill="%s" stroke="%s"/>`+"\n",
			y, rowWidth, rowHigh, th.Fill, th.Line)
		text(30, y+28, th.Text, "600", s.title)
		text(134, y+28, th.Quiet, "400", s.what)
		colour := th.Good
		if i == len(stages)-1 {
			colour = th.Bad
		}
		fmt.Fprintf(&b, `<path d="M64 %dv9" stroke="%s" stroke-width="1.5"/><path d="M64 %dl-4 -7h8z" fill="%s"/>`+"\n",
			y+rowHigh+2, colour, y+rowHigh+16, colour)
	}
	for i, e := range ends {
		x, y := 30+i%2*270, endsTop+22+i/2*26
		text(x, y, th.Bad, "600", e.code)
		text(x+48, y, th.Text, "400", e.why)
	}
	text(30, endsTop+106, th.Quiet, "400", "Refused on the way: 400, 401, 403, 429 or 503,")
	text(30, endsTop+126, th.Quiet, "400", "or a close code that a page can read.")
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
