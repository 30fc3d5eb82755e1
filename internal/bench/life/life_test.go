package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	beChild()
	os.Exit(m.Run())
}

// newBench has few connections. A machine that is busy may be late, and has a longer grace.
func newBench(t *testing.T) *bench {
	return &bench{out: t.Output(), n: 50, rounds: 2, grace: 3 * time.Second, window: 2 * time.Second, spread: time.Second}
}

// TestScenarios runs them all, and demands nothing of the time that they take.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if err := b.runOne(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, broken := range b.broken {
				t.Error(broken)
			}
		})
	}
}

// TestDocument measures what the page needs, and looks for it there.
func TestDocument(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "scale.md")
	if err := os.WriteFile(page, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.memory, b.ends = []bar{{"wsauth", 1.5, true}}, []bar{{"50 connections", 2.5, true}}
	b.measured("something", "much")
	if err := b.document(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") || strings.Contains(got, "old") {
		t.Errorf("got %q, want the text around the figures, and other figures", got)
	}
	if !strings.Contains(got, "| something | much |") || strings.Contains(got, "%!") {
		t.Errorf("got %q, want the figures", got)
	}
	for _, name := range []string{"scale.svg", "scale-dark.svg"} {
		chart, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(string(chart)))
		for err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) || !strings.Contains(string(chart), "1.5 KB") {
			t.Errorf("got %s, %v, want XML with 1.5 KB", chart, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, run := range map[string]func(*bench) error{
		"too few connections":  func(b *bench) error { b.n = 39; return b.run(t.Context(), "all", "") },
		"no such scenario":     func(b *bench) error { return b.run(t.Context(), "idle,walk", "") },
		"a page of no figures": func(b *bench) error { return b.document(t.TempDir()) },
	} {
		if err := run(newBench(t)); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestPercentile(t *testing.T) {
	all := []time.Duration{4, 1, 3, 2}
	for p, want := range map[int]time.Duration{1: 1, 25: 1, 26: 2, 50: 2, 75: 3, 99: 4, 100: 4} {
		if got := percentile(all, p); got != want {
			t.Errorf("p%d: got %d, want %d", p, got, want)
		}
	}
}
