// Package gate stands between a WebSocket implementation and its network connection, and can shut: from then on
// no data frame passes in either direction, control frames still do, and the connection has a deadline.
//
// coder/websocket alone cannot do that. Its Close sends the close frame and then waits, while a Read that was
// under way goes on handing messages to the application; and cancelling the Read's context drops the connection
// before the close frame is out, so that a browser sees 1006 instead of the code.
package gate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The sizes of the buffers, which cost more than all else of an idle connection: net/http's are 4096 bytes. Larger
// reads go straight to the connection; a message that is larger than the write buffer takes one more write.
const (
	readBuffer  = 512
	writeBuffer = 1024
)

// A Conn is the server's end of a WebSocket connection after the handshake. Like the library above it, it
// expects at most one Read and one Write at a time.
type Conn struct {
	net.Conn
	onClose func(cause error)
	check   func()        // see Guard
	onGone  func()        // see Guard
	grace   time.Duration // for the peer to answer a close frame

	in       *bufio.Reader
	left     int64 // of the frame that is being read
	reading  byte  // its opcode
	inflates bool  // a compressed message is being read, between two of its frames
	broken   error // set before gone
	drained  bool
	answered atomic.Bool   // the peer has sent a close frame after the gate was shut
	gone     atomic.Bool   // see Gone
	code     atomic.Uint32 // see Code

	telling atomic.Pointer[time.Timer] // calls onGone

	out  *bufio.Writer // into the gate
	sent frame         // what is being written

	shutting sync.Once
	shut     atomic.Bool
	cause    error     // set before shut
	deadline time.Time // set before shut

	closing sync.Once
	closed  chan struct{}
}

// New puts a gate in front of a connection that was just hijacked; rw may hold what the client has sent already.
// onClose is called once, when the connection is closed, from whichever side of the gate, with the cause it was shut
// for, if it was.
//
// The buffers of rw are replaced within their structs, since net/http holds on to those for as long as its handler
// runs. After a Hijack it does not use them.
func New(conn net.Conn, rw *bufio.ReadWriter, onClose func(cause error)) (*Conn, error) {
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		return nil, err
	}
	if err := rw.Writer.Flush(); err != nil {
		return nil, err
	}
	var src io.Reader = conn
	if len(early) > 0 {
		src = io.MultiReader(bytes.NewReader(early), conn)
	}
	c := &Conn{Conn: conn, in: rw.Reader, out: rw.Writer, onClose: onClose, closed: make(chan struct{})}
	*c.in = *bufio.NewReaderSize(src, readBuffer)
	*c.out = *bufio.NewWriterSize(c, writeBuffer)
	return c, nil
}

// ReadWriter returns the buffers to give to the WebSocket implementation. Its reader is as small as can be: what
// it held when the gate shuts would still reach the application.
func (c *Conn) ReadWriter() *bufio.ReadWriter {
	return bufio.NewReadWriter(bufio.NewReaderSize(c, 16), c.out)
}

// Guard has check called before anything passes in either direction, which may call Shut: a timer alone would let
// messages through for as long as a busy machine does not come to run it. It also gives the peer no longer than grace
// to answer a close frame, whoever sends one: a peer that stalls within a frame would hold up the application's own
// Close. onGone is called once, in a goroutine of its own, when a Read has found that the connection is broken, and it
// is not closed within a moment. Guard is called before the connection is used.
func (c *Conn) Guard(check, onGone func(), grace time.Duration) {
	c.check, c.onGone, c.grace = check, onGone, grace
}

func (c *Conn) isShut() bool {
	if c.check != nil {
		c.check()
	}
	return c.shut.Load()
}

// Shut lets no more data frames pass and ends the connection at the deadline. Reads return cause, once the peer
// has sent its close frame or gone. Only the first call counts.
func (c *Conn) Shut(cause error, deadline time.Time) {
	c.shutting.Do(func() {
		c.cause, c.deadline = cause, deadline
		c.shut.Store(true)
		// From now on a stuck Write, and a Read of a peer that announces a frame and stalls, end by themselves.
		c.SetDeadline(deadline)
	})
}

// Read hands on at most the rest of one frame, so that the gate can shut between any two.
func (c *Conn) Read(p []byte) (int, error) {
	if c.shut.Load() {
		return 0, c.drain()
	}
	if c.gone.Load() {
		return 0, c.broken
	}
	if c.left == 0 {
		h, err := c.readHeader()
		if c.shut.Load() {
			return 0, c.drain()
		}
		if err == nil {
			err = c.follow(h)
		}
		if err != nil {
			return 0, c.fail(err)
		}
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.isShut() {
		return 0, c.drain()
	}
	if n > 0 {
		return n, nil // an error beside it comes again alone
	}
	return 0, c.fail(err)
}

var errWithin = errors.New("a close frame within a compressed message")

// follow takes note of a frame that begins. A close frame between those of a compressed message makes coder/websocket
// 1.8.15 give the decompressor back to its pool while it is in use, and panic: it is taken for the end.
func (c *Conn) follow(h header) error {
	c.left, c.reading = h.total(), h.opcode()
	switch {
	case c.reading < opClose:
		c.inflates = !h.final() && (c.inflates || h.compressed())
	case c.reading == opClose && c.inflates:
		return errWithin
	}
	return nil
}

// Gone reports whether a Read has failed before the gate was shut: the peer has ended the connection, or it broke.
func (c *Conn) Gone() bool { return c.gone.Load() }

// IsClosed reports whether the connection is closed.
func (c *Conn) IsClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Closed returns a channel that is closed when the connection is.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// fail notes that the connection is broken, and returns why. A timeout is somebody's deadline: the peer is there.
func (c *Conn) fail(err error) error {
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	c.broken = err
	c.gone.Store(true)
	if c.onGone != nil {
		c.telling.Store(time.AfterFunc(moment, c.onGone))
	}
	if c.IsClosed() {
		c.tellNobody()
	}
	return err
}

func (c *Conn) tellNobody() {
	if t := c.telling.Load(); t != nil {
		t.Stop()
	}
}

// moment is how long whoever reads has to close a connection that is broken, as it mostly does at once. A goroutine for
// each such end woke another processor: 5 to 9 % of the CPU time of a handshake, on a server that is not busy.
const moment = 10 * time.Millisecond

// readHeader waits for the header of the next frame and leaves it in the buffer.
func (c *Conn) readHeader() (header, error) {
	n := minHeader
	for {
		b, err := c.in.Peek(n)
		if err != nil {
			if len(b) > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if n = header(b).len(); n <= len(b) {
			return b, nil
		}
	}
}

// drain throws away what the peer sends until its close frame: after that it may rely on our having closed in
// peace, and a reset could no longer take our close frame away from it.
func (c *Conn) drain() error {
	for !c.drained {
		for c.left > 0 {
			n, err := c.in.Discard(int(min(c.left, 1<<20)))
			c.left -= int64(n)
			if err != nil {
				c.drained = true
				return c.cause
			}
		}
		if c.reading == opClose {
			c.answered.Store(true)
			c.drained = true
			break
		}
		h, err := c.readHeader()
		if err != nil {
			c.drained = true
			break
		}
		c.left, c.reading = h.total(), h.opcode()
	}
	return c.cause
}

// Write passes p on, less the data frames that begin in it after the gate was shut. They are dropped without an
// error: an error would stay in the buffer above and keep the close frame from being sent.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.isShut() {
		for rest := p; len(rest) > 0; {
			n, _ := c.sent.advance(rest, false)
			rest = rest[n:]
		}
		if c.sent.opcode == opClose && c.grace > 0 {
			c.SetDeadline(time.Now().Add(c.grace))
		}
		n, err := c.Conn.Write(p)
		if err == nil {
			c.code.Store(c.sent.closeCode())
		}
		return n, err
	}
	for rest := p; len(rest) > 0; {
		n, drop := c.sent.advance(rest, true)
		if !drop {
			if _, err := c.Conn.Write(rest[:n]); err != nil {
				return 0, err
			}
			c.code.Store(c.sent.closeCode())
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// Code returns the code of the close frame that was sent to the peer; 0: there was none, or it had no code.
func (c *Conn) Code() int { return int(c.code.Load()) }

// Close closes the connection. A peer that was told to go and has not answered by the deadline is reset, so that
// nothing which still waits to be sent reaches it later.
func (c *Conn) Close() error {
	var cause error
	defer func() {
		c.closing.Do(func() {
			c.onClose(cause)
			close(c.closed)
			c.tellNobody()
		})
	}()
	if !c.shut.Load() {
		return c.Conn.Close()
	}
	cause = c.cause
	raw := c.Conn
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn() // its close_notify would wait up to 5 seconds for a peer that does not read
	}
	if !c.answered.Load() && !time.Now().Before(c.deadline) {
		resetOnClose(raw)
	}
	return raw.Close()
}

// resetOnClose looks for the TCP connection, which a listener of the application may have wrapped.
func resetOnClose(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case interface{ SetLinger(int) error }:
			c.SetLinger(0)
			return
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return
		}
	}
}

// The frame header of RFC 6455 section 5.2.
type header []byte

const (
	minHeader = 2
	maxHeader = 14
	opClose   = 8 // opcodes from here on are control frames
)

func (h header) opcode() byte     { return h[0] & 0xf }
func (h header) final() bool      { return h[0]&0x80 != 0 }
func (h header) compressed() bool { return h[0]&0x40 != 0 } // RFC 7692 section 6

// len is how long the header is, as far as its first bytes tell.
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
	if h[1]&0x80 != 0 {
		n += 4
	}
	return n
}

func (h header) payload() int64 {
	switch n := h[1] & 0x7f; n {
	case 126:
		return int64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		// The implementation above refuses a length with the highest bit set when it reads the header.
		return int64(min(binary.BigEndian.Uint64(h[2:]), math.MaxInt64-maxHeader))
	default:
		return int64(n)
	}
}

// total is the length of the whole frame.
func (h header) total() int64 { return int64(h.len()) + h.payload() }

// A frame follows a stream of frames that comes in pieces of any size.
type frame struct {
	buf    [maxHeader]byte
	have   int   // bytes of the header, while it is incomplete
	left   int64 // bytes of the payload
	opcode byte
	drop   bool

	code      uint16 // of a close frame, as far as it was seen
	codeBytes int
}

// advance takes bytes that belong to one frame from the beginning of p, and returns how many and whether they
// are to be dropped: that is decided where a frame begins.
func (f *frame) advance(p []byte, shut bool) (n int, drop bool) {
	if f.left > 0 {
		n = int(min(int64(len(p)), f.left))
		f.left -= int64(n)
		if f.opcode == opClose {
			f.readCode(p[:n])
		}
		return n, f.drop
	}
	if f.have == 0 {
		f.opcode = header(p).opcode()
		f.drop = shut && f.opcode < opClose
	}
	for n < len(p) && f.have < header(f.buf[:f.have]).len() {
		f.buf[f.have] = p[n]
		f.have++
		n++
	}
	if h := header(f.buf[:f.have]); f.have == h.len() {
		f.left, f.have = h.payload(), 0
	}
	return n, f.drop
}

func (f *frame) readCode(payload []byte) {
	for _, b := range payload[:min(len(payload), 2-f.codeBytes)] {
		f.code = f.code<<8 | uint16(b)
		f.codeBytes++
	}
}

func (f *frame) closeCode() uint32 {
	if f.codeBytes < 2 {
		return 0
	}
	return uint32(f.code)
}
