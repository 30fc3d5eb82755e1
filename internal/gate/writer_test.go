package gate

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
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

func TestAnOwnHeaderIsPassedOnWithAResponseButNotWithA101(t *testing.T) {
	for name, c := range map[string]struct {
		respond  func(w *Writer)
		outer, X string // header fields of the outer ResponseWriter
	}{
		"a status":    {func(w *Writer) { w.WriteHeader(http.StatusBadRequest) }, "kept", "own"},
		"a body":      {func(w *Writer) { w.Write([]byte("hello")) }, "kept", "own"},
		"a flush":     {func(w *Writer) { w.Flush() }, "kept", "own"},
		"a deletion":  {func(w *Writer) { w.Header().Del("Outer"); w.WriteHeader(http.StatusBadRequest) }, "", "own"},
		"a 101, held": {func(w *Writer) { w.WriteHeader(http.StatusSwitchingProtocols) }, "kept", ""},
		"a 101, released": {func(w *Writer) {
			w.WriteHeader(http.StatusSwitchingProtocols)
			w.Release()
		}, "kept", "own"},
		"an error instead of a 101": {func(w *Writer) {
			w.WriteHeader(http.StatusSwitchingProtocols)
			http.Error(w, "no", http.StatusInternalServerError)
		}, "kept", "own"},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			recorder.Header().Set("Outer", "kept")
			w := NewWriter(recorder, httptest.NewRequest(http.MethodGet, "/", nil), nobody{}, Options{})
			w.OwnHeader()
			w.Header().Set("X", "own")
			c.respond(w)
			if got := recorder.Header(); got.Get("Outer") != c.outer || got.Get("X") != c.X {
				t.Errorf("got Outer: %q and X: %q, want %q and %q", got.Get("Outer"), got.Get("X"), c.outer, c.X)
			}
		})
	}
}

// A saver is a ResponseWriter of a middleware that saves a session when the connection is taken over.
type saver struct{ http.ResponseWriter }

func (s saver) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.Header().Add("Set-Cookie", "session=1")
	return http.NewResponseController(s.ResponseWriter).Hijack()
}

func TestA101HasTheOuterHeaderAndTheOwn(t *testing.T) {
	head := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Outer", "kept")
		rw.Header().Set("Set-Cookie", "before=1")
		w := NewWriter(saver{rw}, r, nobody{}, Options{})
		w.OwnHeader()
		w.Header().Set("X", "own")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := w.Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		head <- rw.Header().Clone()
		conn.Close()
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header; got.Get("Outer") != "kept" || got.Get("X") != "own" {
		t.Errorf("got Outer: %q and X: %q, want kept and own", got.Get("Outer"), got.Get("X"))
	}
	if got, want := resp.Header["Set-Cookie"], []string{"before=1", "session=1"}; !slices.Equal(got, want) {
		t.Errorf("got Set-Cookie: %q, want %q", got, want)
	}
	if got := (<-head).Get("X"); got != "" {
		t.Errorf("got X: %q in the outer header, want none", got)
	}
}
