package gate

import (
	"bytes"
	"strings"
)

// maxHead bounds the head of a response. A longer one is not followed.
const maxHead = 64 << 10

// A head collects the head of a response, up to its blank line.
type head struct {
	collected []byte
	line      int // where the last line begins
}

// take collects from p, and returns how much of p belongs to the head and whether that is complete.
func (h *head) take(p []byte) (n int, complete bool) {
	for n < len(p) {
		end := bytes.IndexByte(p[n:], '\n')
		if end < 0 {
			h.collected = append(h.collected, p[n:]...)
			return len(p), false
		}
		h.collected = append(h.collected, p[n:n+end+1]...)
		n += end + 1
		line := bytes.TrimRight(h.collected[h.line:], "\r\n")
		h.line = len(h.collected)
		if len(line) > 0 {
			continue
		}
		if h.isInformational() {
			h.collected, h.line = h.collected[:0], 0
			continue
		}
		return n, true
	}
	return n, false
}

func (h *head) status() string {
	line, _, _ := strings.Cut(string(h.collected[:min(len(h.collected), 64)]), "\n")
	_, rest, _ := strings.Cut(line, " ")
	status, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return status
}

// isInformational reports whether another head follows, as after 103 (RFC 8297).
func (h *head) isInformational() bool {
	status := h.status()
	return len(status) == 3 && status[0] == '1' && status != "101"
}

// isWebSocket reports whether frames follow (RFC 6455 section 4.2.2). It does without [net/textproto], which takes 4 KB
// for a buffer, and so much of the stack that the connection's goroutine would keep another 4 KB.
func (h *head) isWebSocket() bool {
	if h.status() != "101" {
		return false
	}
	_, fields, _ := bytes.Cut(h.collected, []byte("\n"))
	for _, fold := range []string{"\n ", "\n\t"} { // a value that goes on in the next line (RFC 9112 section 5.2)
		fields = bytes.ReplaceAll(fields, []byte(fold), []byte(" "))
	}
	for line := range bytes.Lines(fields) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Upgrade")) {
			return bytes.EqualFold(bytes.TrimSpace(value), []byte("websocket"))
		}
	}
	return false
}

// writeHead passes on the part of p that belongs to the head of the response, and returns its length. If the head is
// then complete, isWebSocket says what follows.
func (c *Conn) writeHead(p []byte) (n int, isWebSocket *bool, err error) {
	h := c.outgoing.head
	if h == nil {
		return 0, nil, nil
	}
	c.life.Check()
	if e := c.end.Load(); e != nil {
		return 0, nil, e.Err
	}
	n, complete := h.take(p)
	if n, err = c.conn.Write(p[:n]); err != nil {
		return n, nil, err
	}
	if !complete && len(h.collected) <= maxHead {
		return n, nil, nil
	}
	c.outgoing.head = nil
	follows := complete && len(h.collected) <= maxHead && h.isWebSocket()
	if follows {
		c.phase.Store(inFrames)
	} else {
		c.phase.Store(unwatched)
	}
	return n, &follows, nil
}
