package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wsauth/wsauth/internal/bench/theme"
)

// What stands between these lines of scale.md is written by this program.
const (
	tableBegins = "<!-- figures: internal/bench/life -->\n"
	tableEnds   = "<!-- end of figures -->\n"
)

// document puts the report into scale.md, and a chart beside it.
func (b *bench) document(dir string) error {
	if b.memory == nil || b.ends == nil {
		return fmt.Errorf("-docs needs the scenarios idle and renew")
	}
	page := filepath.Join(dir, "scale.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(text, []byte(tableBegins))
	_, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !begins || !ends {
		return fmt.Errorf("%s has no place for figures", page)
	}
	all := string(before) + tableBegins + "\n" + b.report() + "\n" + tableEnds + string(after)
	if err := os.WriteFile(page, []byte(all), 0o644); err != nil {
		return err
	}
	for suffix, th := range theme.Themes {
		if err := os.WriteFile(filepath.Join(dir, "scale"+suffix+".svg"), []byte(b.draw(th)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A bar is one figure of the chart.
type bar struct {
	name  string
	value float64
	ours  bool
}

const (
	chartWidth = 560 // so that a phone, which shows 360 of them, leaves the text legible
	labelWidth = 190
	barsWidth  = 270 // what is left is for the figure behind the longest bar
	barStep    = 28
	panelHead  = 34
)

// draw draws both panels as an SVG.
func (b *bench) draw(th theme.Theme) string {
	panels := []struct {
		title, unit, format string
		bars                []bar
	}{
		{fmt.Sprintf("Resident memory of one of %s connections", thousands(b.n)), "KB", "%.1f", b.memory},
		{"CPU of ends and renewals, for 1,000 connections among", "ms/s", "%.2f", b.ends},
	}
	height := 16
	for _, p := range panels {
		height += panelHead + len(p.bars)*barStep + 12
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" `+
		`aria-label="%s" font-family="system-ui, sans-serif" font-size="15">`+"\n", chartWidth, height, b.label())
	y := 16
	for _, p := range panels {
		fmt.Fprintf(&s, `<text x="16" y="%d" fill="%s" font-weight="600">%s</text>`+"\n", y+12, th.Text, p.title)
		y += panelHead
		longest := 0.0
		for _, bar := range p.bars {
			longest = max(longest, bar.value)
		}
		for _, bar := range p.bars {
			colour := th.Quiet
			if bar.ours {
				colour = th.Good
			}
			width := barsWidth * bar.value / longest
			fmt.Fprintf(&s, `<text x="%d" y="%d" fill="%s" text-anchor="end">%s</text>`+"\n",
				labelWidth, y+13, th.Text, bar.name)
			fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="16" rx="2" fill="%s"/>`+"\n",
				labelWidth+10, y, width, colour)
			fmt.Fprintf(&s, `<text x="%.1f" y="%d" fill="%s">%s %s</text>`+"\n", labelWidth+18+width, y+13, th.Quiet,
				fmt.Sprintf(p.format, bar.value), p.unit)
			y += barStep
		}
		y += 12
	}
	s.WriteString("</svg>\n")
	return s.String()
}

// label is the chart in words.
func (b *bench) label() string {
	words := []string{"Memory of a connection:"}
	for _, bar := range b.memory {
		words = append(words, fmt.Sprintf("%s %.1f KB.", bar.name, bar.value))
	}
	words = append(words, "CPU of ends and renewals, for 1,000 connections among:")
	for _, bar := range b.ends {
		words = append(words, fmt.Sprintf("%s %.2f ms in a second.", bar.name, bar.value))
	}
	return strings.Join(words, " ")
}
