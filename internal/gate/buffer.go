package gate

import (
	"net"
	"sync"
)

const (
	smallSize = 240
	largeSize = 16 << 10
	heldSize  = 4 << 10
)

var (
	largePool = sync.Pool{New: func() any { return new([largeSize]byte) }}
	heldPool  = sync.Pool{New: func() any { return new(held) }}
)

// A buffer has what was read from the connection and not yet handed on. It is small, since most connections wait most
// of the time; a large one takes its place while there is more to read than fits.
type buffer struct {
	buf   []byte // small, the large one, or what came with the handshake
	r, w  int    // buf[r:w] is unread
	more  bool   // the last read filled its space: there is probably more
	large *[largeSize]byte
	small [smallSize]byte
}

func (b *buffer) begin(early []byte) {
	b.buf, b.w = early, len(early)
	if b.w == 0 {
		b.buf = b.small[:]
	}
}

func (b *buffer) unread() []byte { return b.buf[b.r:b.w] }

// skip takes note that n bytes were handed on. An empty buffer is a small one.
func (b *buffer) skip(n int) {
	b.r += n
	if b.r == b.w {
		b.r, b.w = 0, 0
		b.shrink()
	}
}

func (b *buffer) shrink() {
	if b.large != nil {
		largePool.Put(b.large)
		b.large = nil
	}
	b.buf = b.small[:]
}

func (b *buffer) grow() {
	b.large = largePool.Get().(*[largeSize]byte)
	b.buf = b.large[:]
}

// room returns where to read ahead, behind what is unread, within the small buffer; nil: there is none.
func (b *buffer) room() []byte {
	if &b.buf[0] != &b.small[0] {
		return nil
	}
	b.w = copy(b.small[:], b.small[b.r:b.w])
	b.r = 0
	return b.small[b.w:]
}

// A held has the beginning of a frame that the library writes in several pieces, until it is whole or does not fit.
// A library with a writer of 1024 bytes would otherwise need two system calls, and its peer two reads, for a message of
// 1 KiB.
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

// writeWith writes what is held, and p behind it.
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
