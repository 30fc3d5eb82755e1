package redistest

import (
	"os/exec"
	"strings"
	"testing"
)

func TestAServerThatDoesNotStartIsAnError(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip(err) // New fails where it is required
	}
	_, err := Run(t.TempDir(), "--no-such-option", "1")
	if err == nil || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("got %v, want an error that says so", err)
	}
}
