package gate

import "net"

// A held has the beginning of a frame that the library writes in several pieces, until the frame is whole or does not
// fit. Otherwise a library with a write buffer of 1024 bytes would need two system calls for a message of 1 KiB, and
// its peer two reads.
type held struct {
	n      int
	pieces [2][]byte
	vector net.Buffers
	buf    [heldSize]byte
}

func (h *held) bytes() []byte { return h.buf[:h.n] }

// takes reports whether there was room for p.
func (h *held) takes(p []byte) bool {
	if len(p) > len(h.buf)-h.n {
		return false
	}
	h.n += copy(h.buf[h.n:], p)
	return true
}

// writeWith writes what is held, followed by p.
func (h *held) writeWith(conn net.Conn, p []byte) (int, error) {
	if before := h.n; h.takes(p) {
		defer func() { h.n = before }()
		return conn.Write(h.bytes())
	}
	h.pieces = [2][]byte{h.bytes(), p}
	h.vector = h.pieces[:]
	n, err := h.vector.WriteTo(conn) // one system call on TCP
	h.pieces, h.vector = [2][]byte{}, nil
	return int(n), err
}
