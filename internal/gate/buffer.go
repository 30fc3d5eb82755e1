package gate

import "sync"

const (
	smallSize = 240
	largeSize = 16 << 10
	heldSize  = 4 << 10
)

var (
	largePool = sync.Pool{New: func() any { return new([largeSize]byte) }}
	heldPool  = sync.Pool{New: func() any { return new(held) }}
)

// A buffer has what was read from the connection and not yet handed on. It is large while there is something in it, and
// nothing while a Read waits, as most connections do most of the time: on TCP a Read waits without a buffer (see
// readable), on other connections with a small one.
type buffer struct {
	buf   []byte // the large one, the small one, or what came with the handshake
	r, w  int    // buf[r:w] is unread
	more  bool   // the last read filled the small buffer: there is probably more
	large *[largeSize]byte
	small []byte // made when it is first needed
}

func (b *buffer) unread() []byte { return b.buf[b.r:b.w] }

// skip takes note that n bytes were handed on.
func (b *buffer) skip(n int) {
	b.r += n
	if b.r == b.w {
		b.release()
	}
}

// release gives the buffer back, with all that is in it.
func (b *buffer) release() {
	if b.large != nil {
		largePool.Put(b.large)
		b.large = nil
	}
	b.buf, b.r, b.w = nil, 0, 0
}

// takeLarge makes an empty buffer a large one.
func (b *buffer) takeLarge() {
	b.large = largePool.Get().(*[largeSize]byte)
	b.buf = b.large[:]
}

// takeSmall makes an empty buffer the small one.
func (b *buffer) takeSmall() {
	if b.small == nil {
		b.small = make([]byte, smallSize)
	}
	b.buf = b.small
}

// room returns where to read ahead, behind what is unread, within the small buffer; nil: there is none.
func (b *buffer) room() []byte {
	if len(b.unread()) == 0 {
		b.release()
		b.takeSmall()
	}
	if b.small == nil || &b.buf[0] != &b.small[0] {
		return nil
	}
	b.w = copy(b.buf, b.unread())
	b.r = 0
	return b.buf[b.w:]
}
