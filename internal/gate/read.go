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

// A route is how a Read gets its bytes from the connection below.
type route uint8

const (
	noRead     route = iota // not at all: something was read ahead, or an error is known
	readTCP                 // into a buffer that is taken only when there is something to read
	readSmall               // into a small buffer
	readDirect              // payload of the frame in progress, into the library's slice
	readPast                // into the library's slice, since the connection is not watched
)

// incoming is what comes from the peer.
type incoming struct {
	turn               // held to read from the connection below, and to use all that follows
	buffer             // what was read ahead
	tcp      *readable // nil: the connection below is not TCP itself
	stream             // what was handed on
	failed   error     // the error of the connection below, which Read returns after what is unread
	broken   error     // what Read returns from then on
	route    route     // of the Read in progress
	n        int       // how many bytes it has read from the connection below, unless it is noRead
	err      error     // the error that came with them
	parts    uint8     // of frames, handed on since the last call of Check
	more     bool      // the last read filled all that it was given: there is probably more
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
//
// Most connections wait in the middle of Read most of the time, and what is on their goroutine's stack stays there
// meanwhile. A few hundred bytes more would make that stack 8 KB instead of 4. So what is done before and after the
// wait is in functions of their own, and what they share is in c.
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
	in.route = noRead
	if len(in.unread()) > 0 {
		return c.complete(p)
	}
	switch route, into := c.prepare(p); route {
	case noRead:
	case readTCP:
		in.n, in.err = in.tcp.fill()
	default:
		in.n, in.err = c.conn.Read(into)
	}
	return c.complete(p)
}

// complete hands on what a Read into p has found, and gives its turn.
func (c *Conn) complete(p []byte) (int, error) {
	in := &c.incoming
	n, err := 0, error(nil)
	switch in.route {
	case readPast:
		n, err = in.n, in.err
	case readDirect:
		n, err = c.handOnDirect(in.direct(p))
	default:
		if err = c.arrive(); err == nil {
			n, err = c.handOn(p)
		}
	}
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
		case <-c.Closed():
		}
	}
}

// prepare chooses the route of a Read into p when nothing is unread, and returns the slice to read into.
func (c *Conn) prepare(p []byte) (_ route, into []byte) {
	in := &c.incoming
	switch {
	case in.broken != nil:
		return noRead, nil
	case c.phase.Load() == unwatched:
		in.route = readPast
		return readPast, p
	case in.left >= straight && len(p) >= straight:
		in.route = readDirect
		return readDirect, in.direct(p)
	}
	return c.prepareBuffer()
}

// prepareBuffer chooses the route by which bytes come into the buffer, which is empty.
func (c *Conn) prepareBuffer() (_ route, into []byte) {
	in := &c.incoming
	switch {
	case in.failed != nil || in.tcp == nil && in.more && c.fillNow():
		in.route = noRead
	case in.tcp != nil:
		in.route = readTCP
	default:
		in.route = readSmall
		in.takeSmall()
	}
	return in.route, in.buf
}

// direct returns the part of p that takes payload of the frame in progress.
func (in *incoming) direct(p []byte) []byte { return p[:min(int64(len(p)), in.left)] }

// fillNow reads what is there into a large buffer, and returns false if there is nothing. It does not wait for more,
// since a Read must not wait with a large buffer.
func (c *Conn) fillNow() bool {
	in := &c.incoming
	in.takeLarge()
	n, err := c.limits.readNow(in.buf, true)
	if c.filled(n, err) != nil && !isDeadline(err) {
		in.failed = err
	}
	return n > 0 || in.failed != nil
}

// fill reads into the buffer, which is empty, for drain. Read does the same, in the parts that its stack asks for.
func (c *Conn) fill() error {
	in := &c.incoming
	switch route, into := c.prepareBuffer(); route {
	case noRead:
		return in.failed
	case readTCP:
		return c.filled(in.tcp.fill())
	default:
		return c.filled(c.conn.Read(into))
	}
}

// arrive records what has come into the buffer, and returns an error if nothing may be handed on.
func (c *Conn) arrive() error {
	in := &c.incoming
	switch {
	case in.broken != nil:
		return in.broken
	case in.route != noRead:
		if err := c.filled(in.n, in.err); err != nil {
			return c.readFailed(err)
		}
	case in.failed != nil && len(in.unread()) == 0:
		return c.readFailed(in.failed)
	}
	if in.parts >= checkEvery {
		c.check()
	}
	if e := c.end.Load(); e != nil {
		return e.Err
	}
	return nil
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

// handOnDirect hands on payload of the frame in progress that was read into the library's slice.
func (c *Conn) handOnDirect(p []byte) (int, error) {
	in := &c.incoming
	if in.n == 0 {
		return 0, c.readFailed(in.err)
	}
	c.hears()
	in.more = in.n == len(p)
	in.advance(p[:in.n])
	c.check()
	if e := c.end.Load(); e != nil {
		return 0, e.Err
	}
	return in.n, nil // an error that came with the bytes comes again on the next read
}

// filled records what was read into the buffer.
func (c *Conn) filled(n int, err error) error {
	in := &c.incoming
	if n == 0 {
		in.release()
		return err
	}
	in.w, in.more = n, n == len(in.buf)
	in.parts = checkEvery // the read may have waited, so Check is due
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
		if begins && !ahead.within() && unread[at] == finalBit|opPong { // any other first byte is not allowed
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
