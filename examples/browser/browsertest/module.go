package browsertest

import (
	"os"
	"path/filepath"
	"testing"
)

// Module returns where a file of a package is that npm ci has installed in the directory of the test.
//
// Without it the test is skipped; with the environment variable WSAUTH_NODE=required it fails. Tests do not install
// anything: that needs a network, and takes its time.
func Module(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("node_modules", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("WSAUTH_NODE") == "required" {
			t.Fatalf("%v; run npm ci in the directory of the test", err)
		}
		t.Skipf("%v; run npm ci in the directory of the test; with WSAUTH_NODE=required this is a failure", err)
	}
	return path
}
