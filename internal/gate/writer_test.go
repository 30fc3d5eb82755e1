package gate

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A stuck is a ResponseWriter that cannot flush any more.
type stuck struct{ http.ResponseWriter }

var errStuck = errors.New("the connection is lost")

func (stuck) FlushError() error { return errStuck }

func TestAFlushThatFailsSaysSo(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w := NewWriter(stuck{httptest.NewRecorder()}, r, nobody{}, Options{})
	if err := http.NewResponseController(w).Flush(); !errors.Is(err, errStuck) {
		t.Errorf("got %v, want %v", err, errStuck)
	}
}
