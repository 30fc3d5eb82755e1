package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/bench/cpu"
)

func TestMain(m *testing.M) {
	if isServer() {
		os.Exit(serve())
	}
	os.Exit(m.Run())
}

// TestRun has one round of as few handshakes as possible.
func TestRun(t *testing.T) {
	if _, err := cpu.Time(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("the CPU time of a process is not known here")
	}
	var out strings.Builder
	if err := run(t.Context(), &out, 1, time.Nanosecond, 2); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if !strings.Contains(out.String(), "\n| "+k.name+" | ") {
			t.Errorf("%s is not in the table:\n%s", k.name, &out)
		}
	}
}

// TestRefusal makes sure that what is compared does authenticate.
func TestRefusal(t *testing.T) {
	s, err := startServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	bad := credential{Header: http.Header{"Authorization": {"Bearer x.y.z"}}}
	for _, k := range kinds {
		if err := s.dial(t.Context(), k.path, bad); (err == nil) != (k.path == "/plain") {
			t.Errorf("%s, with a bad token: %v", k.path, err)
		}
		once, err := s.credentials(t.Context(), k.path, 1)
		if err != nil {
			t.Fatal(err)
		}
		good := s.next(k.path, once)
		if err := s.dial(t.Context(), k.path, good); err != nil {
			t.Errorf("%s: %v", k.path, err)
		}
		again := s.dial(t.Context(), k.path, good)
		if single := k.path == "/ticket" || k.path == "/dpop"; (again != nil) != single {
			t.Errorf("%s, again: %v, want it refused: %t", k.path, again, single)
		}
	}
}

func TestOptions(t *testing.T) {
	if run(t.Context(), io.Discard, 0, 1, 1) == nil || run(t.Context(), io.Discard, 1, 0, 1) == nil ||
		run(t.Context(), io.Discard, 1, 1, 0) == nil {
		t.Error("nothing to measure is no error")
	}
}
