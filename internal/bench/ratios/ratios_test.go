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

	"github.com/wsauth/wsauth/internal/bench/verify"
)

// TestRun measures for as short a time as possible, and looks for all variants in the table and in the chart.
func TestRun(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "chart.svg")
	var out strings.Builder
	if err := run(&out, 2, time.Microsecond, verify.Limit, svg); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(string(text)))
	for err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the chart is no XML: %v", err)
	}
	if strings.Contains(out.String()+string(text), "%!") {
		t.Errorf("a verb without its argument:\n%s\n%s", &out, text)
	}
	for _, alg := range verify.Algorithms {
		s, err := verify.New(alg)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range s.Variants {
			if !strings.Contains(out.String(), "\n| "+v.Name+" | ") {
				t.Errorf("%s is not in the table:\n%s", v.Name, &out)
			}
			if !strings.Contains(string(text), ">"+v.Name+"<") {
				t.Errorf("%s is not in the chart", v.Name)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for name, err := range map[string]error{
		"no rounds":               run(io.Discard, 0, time.Second, verify.Limit, ""),
		"no time":                 run(io.Discard, 1, 0, verify.Limit, ""),
		"no variant":              run(io.Discard, 1, time.Microsecond, "fastest", ""),
		"one of some algorithms":  run(io.Discard, 1, time.Microsecond, "go-oidc", ""),
		"a chart of another base": run(io.Discard, 1, time.Microsecond, "by-hand", filepath.Join(t.TempDir(), "chart.svg")),
	} {
		if err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}
