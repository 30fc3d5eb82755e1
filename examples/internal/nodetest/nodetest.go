// Package nodetest runs scripts of the examples in Node.js, for tests.
package nodetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A Script is a script that runs in Node.js.
type Script struct {
	t     *testing.T
	in    io.Writer
	lines chan string
}

// Start runs a script of the test's directory. It ends with the test, and 30 s after its first line.
//
// Without Node.js, or where nobody has installed what the script imports, the test is skipped; with the environment
// variable WSAUTH_NODE=required it fails. Tests do not install anything: that needs a network, and takes its time.
func Start(t *testing.T, script string, args ...string) *Script {
	t.Helper()
	binary, err := exec.LookPath("node")
	if err != nil {
		missing(t, "no node in PATH: install Node.js 20 or later")
	}
	if _, err := os.Stat("node_modules"); err != nil {
		missing(t, "no node_modules: run npm ci in the directory of the test")
	}
	ctx, cancel := context.WithCancel(t.Context())
	node := exec.CommandContext(ctx, binary, append([]string{script}, args...)...)
	var failed bytes.Buffer
	node.Stderr = &failed
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Script{t: t, in: in, lines: make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(out)
		if !scanner.Scan() {
			return
		}
		// The script runs. Its time counts from here, since Node.js may take long to start.
		defer time.AfterFunc(30*time.Second, cancel).Stop()
		for ok := true; ok; ok = scanner.Scan() {
			s.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range s.lines { // Wait must not be called before all is read
		}
		if node.Wait(); failed.Len() > 0 {
			t.Errorf("%s wrote to stderr:\n%s", script, &failed)
		}
	})
	return s
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("WSAUTH_NODE") == "required" {
		t.Fatalf("%s; WSAUTH_NODE says that it is required", what)
	}
	t.Skipf("%s; with WSAUTH_NODE=required this is a failure", what)
}

// Line waits for the next line that the script writes; false: it has ended.
func (s *Script) Line() (string, bool) {
	line, ok := <-s.lines
	return line, ok
}

// Expect waits for the next line, and fails the test if it is another one.
func (s *Script) Expect(want string) {
	s.t.Helper()
	if got, ok := s.Line(); !ok || got != want {
		s.t.Fatalf("got line %q (%t), want %q", got, ok, want)
	}
}

// Write writes a line to the script.
func (s *Script) Write(line string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatal(err)
	}
}
