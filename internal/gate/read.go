package gate

import (
	"errors"
	"io"
)

var (
	// ErrPeerClosed: the peer's close frame was read.
	ErrPeerClosed = errors.New("the peer has sent a close frame")

	// ErrClosed: the library has written a close frame, or closed the connection.
	ErrClosed = errors.New("the connection was closed above")

	// ErrBroken: a read or a write found that the connection has ended without a close frame. The error that it found
	// is wrapped beside this one.
	ErrBroken = errors.New("the connection broke")

	errCut    = errors.New("the connection ended within a compressed message")
	errWithin = errors.New("a close frame within a compressed message")
)

// Incoming is what comes from the peer.
type incoming struct {
	turn               // of whoever reads from the connection below, and of all that follows
	buffer             // what was read ahead
	tcp      *readable // nil: the connection below is not TCP itself
	stream             // what was handed on
	failed   error     // what the connection below has returned; it comes behind what is unread
	broken   error     // what Read returns from then on
	parts    uint8     // of frames that were handed on since Check was called
	drained  bool      // Finish has read all that it reads
	timedOut bool      // the peer had not answered by then
}

const (
	checkEvery = 64       // parts of frames: a header and a payload make two
	straight   = 4 << 10  // so much payload goes straight from the connection into the library's slice
	copying    = 16 << 10 // whoever reads into a slice as large takes frames as they come, like io.Copy
)

// Read hands on at most the rest of one frame, so that the gate can shut between any two. It hands on the header of a
// frame by itself, unless p is so large that it belongs to somebody who copies: a payload that waits in the library's
// buffer would be read after the gate has shut.
func (c *Conn) Read(p []byte) (int, error) {
	if e := c.end.Load(); e != nil {
		c.awaitFrame(e)
		return 0, e.Err
	}
	if len(p) == 0 {
		return 0, nil
	}
	in := &c.incoming
	in.take()
	n, err := c.read(p)
	code := in.closeCode()
	in.give()
	if e := c.end.Load(); n == 0 && e != nil {
		c.awaitFrame(e)
	}
	if code != 0 && c.phase.Load() == inFrames {
		c.peerHasClosed(code)
	}
	return n, err
}

// awaitFrame waits for the end of the frame under way on its way out, or until that is given up. Somebody who copies, such
// as httputil.ReverseProxy, stops writing as soon as its Read fails.
func (c *Conn) awaitFrame(e *shutting) {
	out := &c.outgoing
	out.take()
	within := out.within() && !out.failed
	out.give()
	if within {
		select {
		case <-e.said:
		case <-c.closed:
		}
	}
}

func (c *Conn) read(p []byte) (int, error) {
	in := &c.incoming
	switch {
	case in.broken != nil:
		return 0, in.broken
	case len(in.unread()) == 0 && c.phase.Load() == unwatched:
		return c.conn.Read(p)
	case len(in.unread()) > 0 && in.parts < checkEvery:
	case len(in.unread()) > 0:
		c.check()
	case in.left >= straight && len(p) >= straight:
		return c.readStraight(p)
	default:
		if err := c.fill(); err != nil {
			return 0, c.readFailed(err)
		}
		c.check()
	}
	if e := c.end.Load(); e != nil {
		return 0, e.Err
	}
	return c.handOn(p)
}

func (c *Conn) check() {
	c.incoming.parts = 0
	c.life.Check()
}

// handOn copies from what is unread.
func (c *Conn) handOn(p []byte) (int, error) {
	in := &c.incoming
	unread := in.unread()
	unread = unread[:min(len(unread), len(p))]
	n := len(unread)
	switch c.phase.Load() {
	case inFrames:
		if err := in.forbids(header(unread)); err != nil {
			return 0, c.breaks(err)
		}
		atHeader := in.left == 0
		n = in.advance(unread)
		if atHeader && in.left > 0 && len(p) >= copying {
			n += in.advance(unread[n:])
		}
		in.parts++
	case inHead:
		in.follow(unread)
	}
	copy(p, unread[:n])
	in.skip(n)
	return n, nil
}

// forbids reports what must not come next. A close frame between the frames of a compressed message makes
// coder/websocket 1.8.15 give the decompressor back to its pool while it is in use, and panic.
func (s *stream) forbids(next header) error {
	if len(next) > 0 && !s.within() && s.open && s.compressed && next.opcode() == opClose {
		return errWithin
	}
	return nil
}

// readStraight reads payload of the frame under way.
func (c *Conn) readStraight(p []byte) (int, error) {
	in := &c.incoming
	p = p[:min(int64(len(p)), in.left)]
	n, err := c.conn.Read(p)
	if n == 0 {
		return 0, c.readFailed(err)
	}
	c.hears()
	in.more = n == len(p)
	in.advance(p[:n])
	c.check()
	if e := c.end.Load(); e != nil {
		return 0, e.Err
	}
	return n, nil // an error beside it comes again alone
}

// fill reads into the buffer, which is empty.
func (c *Conn) fill() error {
	in := &c.incoming
	if in.failed != nil {
		return in.failed
	}
	if in.tcp != nil {
		return c.filled(in.tcp.fill())
	}
	if in.more {
		in.takeLarge()
		n, err := c.limits.readNow(in.buf, true)
		if n > 0 || !isDeadline(err) {
			return c.filled(n, err)
		}
		in.release() // no large buffer waits
	}
	in.takeSmall()
	return c.filled(c.conn.Read(in.buf))
}

// filled takes note of what was read into the buffer.
func (c *Conn) filled(n int, err error) error {
	in := &c.incoming
	if n == 0 {
		in.release()
		return err
	}
	in.w, in.more = n, n == len(in.buf)
	c.hears()
	return nil // an error beside it comes again alone
}

// readFailed returns what Read returns where the connection below has failed.
func (c *Conn) readFailed(err error) error {
	in := &c.incoming
	if e := c.end.Load(); e != nil {
		return e.Err
	}
	if err == nil || isDeadline(err) {
		return err // a deadline is somebody's own: the peer is there
	}
	if errors.Is(err, io.EOF) && in.withinMessage() {
		err = io.ErrUnexpectedEOF
	}
	// coder/websocket 1.8.15 takes io.ErrUnexpectedEOF for the end of a compressed message (read.go, msgReader.Read), and
	// would hand on what has come of it as a whole one.
	if errors.Is(err, io.ErrUnexpectedEOF) && in.withinCompressed() {
		err = errCut
	}
	return c.breaks(err)
}

// breaks notes that nothing more can be read.
func (c *Conn) breaks(err error) error {
	c.incoming.broken = err
	c.leaveSoon(err)
	return err
}

func (c *Conn) peerHasClosed(code int32) {
	c.peerCode.CompareAndSwap(0, code)
	c.leave(ErrPeerClosed)
}

// Poke looks after the peer of a library that does not read: it reads ahead what is there, as far as the small buffer
// goes, so that Left is called for a peer that has gone, and Heard knows of its pongs. Pongs without a payload, which
// answer those of Ping, are not kept for the library. Poke takes up to a millisecond where there is nothing to read. It
// returns false if there was no room to read ahead: then the peer may have said something that nobody has heard.
func (c *Conn) Poke() bool {
	in := &c.incoming
	if c.phase.Load() != inFrames || c.end.Load() != nil || !in.try() {
		return true // whoever has the turn looks
	}
	looked := c.lookAhead()
	code := in.scan()
	in.give()
	if code != 0 {
		c.peerHasClosed(code)
	}
	return looked
}

func (c *Conn) lookAhead() bool {
	in := &c.incoming
	if in.broken != nil || in.failed != nil {
		return true
	}
	room := in.room()
	if len(room) == 0 {
		return false
	}
	n, err := c.readNow(room)
	if n > 0 {
		in.w += n
		in.more = n == len(room)
		c.hears()
		return true
	}
	if err != nil && !isDeadline(err) {
		in.failed = err
		c.leaveSoon(err)
	}
	return true
}

// readNow reads what is there, whatever deadline the application has set. Its error is a deadline where there is
// nothing.
func (c *Conn) readNow(p []byte) (int, error) {
	if c.incoming.tcp != nil {
		return c.incoming.tcp.now(p)
	}
	return c.limits.readNow(p, false)
}

// scan follows what is unread, drops the pongs that nobody waits for, and returns the code of a close frame.
func (in *incoming) scan() int32 {
	ahead, unread := in.stream, in.unread()
	for at := 0; at < len(unread) && !ahead.closed; {
		begins := !ahead.within()
		n := ahead.advance(unread[at:])
		if begins && !ahead.within() && ahead.opcode == opPong {
			copy(unread[at:], unread[at+n:])
			unread = unread[:len(unread)-n]
			continue
		}
		at += n
	}
	in.w = in.r + len(unread)
	in.skip(0) // perhaps that was all
	return ahead.closeCode()
}
