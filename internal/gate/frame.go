package gate

import (
	"encoding/binary"
	"math"
)

// A header is the header of a frame (RFC 6455 section 5.2), or the beginning of one.
type header []byte

const (
	minHeader = 2
	maxHeader = 14

	opContinuation = 0
	opClose        = 8 // opcodes from here on are control frames
	opPing         = 9
	opPong         = 10

	finalBit = 0x80
	maskBit  = 0x80

	noCode = 1005 // stands for the code of a close frame that has none (RFC 6455 section 7.4.1)
)

func (h header) opcode() byte     { return h[0] & 0xf }
func (h header) final() bool      { return h[0]&finalBit != 0 }
func (h header) compressed() bool { return h[0]&0x40 != 0 } // RFC 7692 section 6
func (h header) masked() bool     { return h[1]&maskBit != 0 }

// len returns the length of the header, as far as its first bytes tell.
func (h header) len() int {
	if len(h) < minHeader {
		return minHeader
	}
	n := minHeader
	switch h[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if h.masked() {
		n += 4
	}
	return n
}

func (h header) payload() int64 {
	switch n := h[1] & 0x7f; n {
	case 126:
		return int64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		// A library refuses a length with the highest bit set when it reads the header.
		return int64(min(binary.BigEndian.Uint64(h[2:]), math.MaxInt64))
	default:
		return int64(n)
	}
}

// A stream follows frames that come in pieces of any size.
type stream struct {
	left   int64 // of the payload of the frame in progress
	head   [maxHeader]byte
	have   int8 // bytes in head, while the header is incomplete
	opcode byte // of the frame in progress, or of the last one

	open       bool // the message continues after this frame
	compressed bool // the message that continues, or that this frame ends

	closed   bool // a close frame has passed
	mask     [4]byte
	code     [2]byte // of the close frame
	codeLen  int8
	codeMask bool
}

// within reports whether a frame has begun and not ended.
func (s *stream) within() bool { return s.left > 0 || s.have > 0 }

// withinMessage reports whether a message, or a control frame, has begun and not ended.
func (s *stream) withinMessage() bool { return s.within() || s.open }

// withinCompressed reports whether a compressed message has begun and not ended.
func (s *stream) withinCompressed() bool {
	return s.compressed && (s.open || s.left > 0 && s.opcode < opClose)
}

// advance takes bytes of one frame from the beginning of p, either of its header or of its payload, and returns how
// many.
func (s *stream) advance(p []byte) int {
	if s.left > 0 {
		n := int(min(int64(len(p)), s.left))
		s.left -= int64(n)
		if s.opcode == opClose {
			s.passClose(p[:n])
		}
		return n
	}
	if h := header(p); s.have == 0 && h.len() <= len(p) {
		s.begin(h)
		return h.len()
	}
	n := 0
	for n < len(p) && int(s.have) < header(s.head[:s.have]).len() {
		s.head[s.have] = p[n]
		s.have++
		n++
	}
	if h := header(s.head[:s.have]); len(h) == h.len() {
		s.have = 0
		s.begin(h)
	}
	return n
}

// begin records a frame whose header is complete.
func (s *stream) begin(h header) {
	s.opcode, s.left = h.opcode(), h.payload()
	if s.opcode < opClose {
		s.compressed = s.open && s.compressed || h.compressed()
		s.open = !h.final()
	}
	if s.opcode != opClose || s.closed {
		return
	}
	s.codeLen, s.codeMask = 0, h.masked()
	if s.codeMask {
		copy(s.mask[:], h[h.len()-4:])
	}
	s.passClose(nil)
}

func (s *stream) passClose(payload []byte) {
	if s.closed {
		return // the first one counts
	}
	for _, b := range payload[:min(len(payload), len(s.code)-int(s.codeLen))] {
		if s.codeMask {
			b ^= s.mask[s.codeLen]
		}
		s.code[s.codeLen] = b
		s.codeLen++
	}
	s.closed = s.closed || s.left == 0
}

// closeCode returns the code of a close frame that has passed: noCode if the frame has none, and 0 if no close frame
// has passed.
func (s *stream) closeCode() int32 {
	switch {
	case !s.closed:
		return 0
	case int(s.codeLen) < len(s.code):
		return noCode
	}
	return int32(binary.BigEndian.Uint16(s.code[:]))
}

// follow takes all of p, and returns how many frames ended in it.
func (s *stream) follow(p []byte) (ended int) {
	for len(p) > 0 {
		p = p[s.advance(p):]
		if !s.within() {
			ended++
		}
	}
	return ended
}

// maxReason is the room for the reason in a close frame: a control frame has at most 125 bytes of payload, and the code
// takes two.
const maxReason = 123

// closeFrame builds a close frame of the server, which is not masked.
func closeFrame(code uint16, reason string) []byte {
	reason = reason[:min(len(reason), maxReason)]
	f := []byte{finalBit | opClose, byte(2 + len(reason))}
	return append(binary.BigEndian.AppendUint16(f, code), reason...)
}
