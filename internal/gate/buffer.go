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

// A buffer has what was read from the connection and not yet handed on. Most connections wait in a Read most of the
// time: on TCP, such a Read has no buffer (see readable), and on other connections a small one. A large buffer is in
// use only while there is something in it.
type buffer struct {
	buf   []byte // the large one, the small one, or what came with the handshake
	r, w  int    // buf[r:w] is unread
	large *[largeSize]byte
	small *[smallSize]byte // made when it is first needed
}

func (b *buffer) unread() []byte { return b.buf[b.r:b.w] }

// skip records that n bytes were handed on.
func (b *buffer) skip(n int) {
	b.r += n
	if b.r == b.w {
		b.release()
	}
}

// release gives the buffer back, and drops what is in it.
func (b *buffer) release() {
	if b.large != nil {
		largePool.Put(b.large)
		b.large = nil
	}
	b.buf, b.r, b.w = nil, 0, 0
}

// takeLarge gives an empty buffer the large array.
func (b *buffer) takeLarge() {
	b.large = largePool.Get().(*[largeSize]byte)
	b.buf = b.large[:]
}

// takeSmall gives an empty buffer the small array.
func (b *buffer) takeSmall() {
	if b.small == nil {
		b.small = new([smallSize]byte)
	}
	b.buf = b.small[:]
}

// room returns the room in the small buffer for reading ahead, after what is unread; nil: there is none.
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
