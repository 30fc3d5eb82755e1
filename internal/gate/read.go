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
	// is wrapped, too.
	ErrBroken = errors.New("the connection broke")

	errCut    = errors.New("the connection ended within a compressed message")
	errWithin = errors.New("a close frame within a compressed message")
)

// incoming is what comes from the peer.
type incoming struct {
	turn               // held to read from the connection below, and to use all that follows
	buffer             // what was read ahead
	tcp      *readable // nil: the connection below is not TCP itself
	stream             // what was handed on
	failed   error     // the error of the connection below, which Read returns after what is unread
	broken   error     // what Read returns from then on
	parts    uint8     // of frames, handed on since the last call of Check
	drained  bool      // Finish has read all that it reads
	timedOut bool      // the peer had not answered by the end of that
}

const (
	checkEvery = 64       // parts of frames: a header and a payload make two
	straight   = 4 << 10  // this much payload goes straight from the connection into the library's slice
	copying    = 16 << 10 // a reader with a slice this large takes frames as they come, like io.Copy
)

// Read hands on at most the rest of one frame, so that the gate can shut between any two frames. It hands on the header
// of a frame by itself: a payload waiting in the library's buffer could still be read after the gate has shut. If p is
// so large that the caller must be copying, the payload comes with the header.
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

// awaitFrame waits until the outgoing frame in progress has ended or was given up: a caller that copies, such as
// httputil.ReverseProxy, stops writing as soon as its Read fails.
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

// handOn copies from what is unread into p.
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

// forbids returns an error if next must not be handed on. A close frame between the frames of a compressed message
// makes coder/websocket 1.8.15 return its decompressor to the pool while it is in use, and panic.
func (s *stream) forbids(next header) error {
	if len(next) > 0 && !s.within() && s.open && s.compressed && next.opcode() == opClose {
		return errWithin
	}
	return nil
}

// readStraight reads payload of the frame in progress into p.
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
	return n, nil // an error that came with the bytes comes again on the next read
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
		in.release() // nothing waits with a large buffer
	}
	in.takeSmall()
	return c.filled(c.conn.Read(in.buf))
}

// filled records what was read into the buffer.
func (c *Conn) filled(n int, err error) error {
	in := &c.incoming
	if n == 0 {
		in.release()
		return err
	}
	in.w, in.more = n, n == len(in.buf)
	c.hears()
	return nil // an error that came with the bytes comes again on the next read
}

// readFailed returns what Read returns if the connection below has failed.
func (c *Conn) readFailed(err error) error {
	in := &c.incoming
	if e := c.end.Load(); e != nil {
		return e.Err
	}
	if err == nil || isDeadline(err) {
		return err // a deadline says nothing about the peer
	}
	if errors.Is(err, io.EOF) && in.withinMessage() {
		err = io.ErrUnexpectedEOF
	}
	// coder/websocket 1.8.15 takes io.ErrUnexpectedEOF for the end of a compressed message (read.go, msgReader.Read),
	// and would hand on the part that has come as a whole message.
	if errors.Is(err, io.ErrUnexpectedEOF) && in.withinCompressed() {
		err = errCut
	}
	return c.breaks(err)
}

// breaks records that nothing more can be read.
func (c *Conn) breaks(err error) error {
	c.incoming.broken = err
	c.leaveSoon(err)
	return err
}

func (c *Conn) peerHasClosed(code int32) {
	c.peerCode.CompareAndSwap(0, code)
	c.leave(ErrPeerClosed)
}

// Poke finds out about the peer of a library that does not read. It reads ahead what is there, as far as the small
// buffer has room, so that Left is called for a peer that has gone, and Heard takes the peer's pongs into account.
// Pongs without a payload, which answer Ping, are not kept for the library. Poke takes up to a millisecond if there is
// nothing to read. It returns false if there was no room to read ahead: the peer may then have sent something that
// nobody has seen.
func (c *Conn) Poke() bool {
	in := &c.incoming
	if c.phase.Load() != inFrames || c.end.Load() != nil || !in.try() {
		return true // whoever holds the turn is reading
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

// readNow reads what is there, whatever deadline the application has set. If there is nothing, the error is a deadline.
func (c *Conn) readNow(p []byte) (int, error) {
	if c.incoming.tcp != nil {
		return c.incoming.tcp.now(p)
	}
	return c.limits.readNow(p, false)
}

// scan follows the frames in what is unread, drops pongs without a payload, and returns the code of a close frame.
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
	in.skip(0) // perhaps nothing is left
	return ahead.closeCode()
}
