package main

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if isServer() {
		os.Exit(serve())
	}
	os.Exit(m.Run())
}

// TestScenarios runs them all with few connections. A machine that is busy may be late, and has a longer grace.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{out: t.Output(), n: 50, rounds: 2, grace: 3 * time.Second}
			if err := b.runOne(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, broken := range b.broken {
				t.Error(broken)
			}
		})
	}
}
