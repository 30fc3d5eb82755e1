package life

import (
	"net/http"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
)

// A Stream is a response that goes on, such as server-sent events or a long poll. It ends by the context of its
// request. A handler that ignores its context cannot read or write after the grace.
type Stream struct {
	Cancel func(cause error)
	Writer http.ResponseWriter
	Grace  time.Duration
}

// Shut cancels the context, and sets deadlines if the ResponseWriter has any.
func (s Stream) Shut(e gate.Ending) bool {
	s.Cancel(e.Err)
	until := time.Now().Add(s.Grace)
	c := http.NewResponseController(s.Writer)
	c.SetReadDeadline(until)
	c.SetWriteDeadline(until)
	return true
}

// Finish does nothing: the handler returns in its own time.
func (s Stream) Finish() {}
