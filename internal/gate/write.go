package gate

import "time"

// outgoing is what goes to the peer.
type outgoing struct {
	turn          // held to write to the connection below, and to use all that follows
	stream        // what was written
	head   *head  // of the response, while it is not complete
	held   *held  // the beginning of a frame that is not yet written; nil: none
	torn   error  // what Write returns after a write failed and lost what was held
	failed bool   // the last write failed: a frame in progress may never end
	ping   bool   // to be written at the next boundary
	ready  signal // tells Finish that the frame in progress has ended
}

// A signal is nil while nobody waits for it.
type signal chan struct{}

func (s *signal) send() {
	if *s != nil {
		close(*s)
		*s = nil
	}
}

// Write passes p on, except that the beginning of a frame may be held until the frame is whole or longer than a few
// kilobytes. After Shut has returned, a Write in progress may still pass what it was given; a Write that begins later
// passes only the rest of the frame in progress.
func (c *Conn) Write(p []byte) (int, error) {
	if c.phase.Load() == unwatched && c.end.Load() == nil {
		return c.conn.Write(p)
	}
	out := &c.outgoing
	c.takeOutgoing(p)
	passed, isWebSocket, err := c.writeHead(p)
	n := 0
	if err == nil && passed < len(p) {
		n, err = c.writeFrames(p[passed:])
	}
	code := out.closeCode()
	out.give()

	if isWebSocket != nil {
		c.life.Opened(*isWebSocket)
	}
	if code != 0 {
		c.sentCode.CompareAndSwap(0, code)
		c.leave(ErrClosed)
	}
	return passed + n, err
}

// takeOutgoing waits for its turn. If a close frame has to wait, another Write is stuck, which then gets the grace to
// end. A library writes nothing else while another Write is in progress, and such a Write begins with a header.
func (c *Conn) takeOutgoing(p []byte) {
	out := &c.outgoing
	if out.try() {
		return
	}
	if len(p) > 0 && header(p).opcode() == opClose && c.phase.Load() == inFrames {
		c.limits.bind(time.Now().Add(c.grace))
	}
	out.take()
}

// writeFrames passes frames on.
func (c *Conn) writeFrames(p []byte) (int, error) {
	if c.phase.Load() == unwatched && c.end.Load() == nil {
		return c.conn.Write(p)
	}
	out := &c.outgoing
	if out.torn != nil {
		return 0, out.torn
	}
	next := out.stream
	if out.held != nil {
		next.follow(out.held.bytes())
	}
	ended := next.follow(p)
	if ended == 0 && !out.within() && c.end.Load() == nil && c.hold(p) {
		return len(p), nil
	}
	c.life.Check()
	if e := c.end.Load(); e != nil {
		return c.writeRest(p, e)
	}
	if next.closed || next.opcode == opClose && next.within() {
		c.limits.bind(time.Now().Add(c.grace)) // the time for the peer to read it and to answer
	}
	n, err := c.pass(p)
	if err != nil {
		return n, c.writeFailed(err)
	}
	out.stream, out.failed = next, false
	return n, c.writePing()
}

// hold reports whether p, the beginning of a frame, is held.
func (c *Conn) hold(p []byte) bool {
	out := &c.outgoing
	if out.held == nil {
		if len(p) > heldSize {
			return false
		}
		out.held = heldPool.Get().(*held)
	}
	return out.held.takes(p)
}

// pass writes what is held, followed by p, and returns how much of p was written. If all of it was, the caller updates
// the stream.
func (c *Conn) pass(p []byte) (int, error) {
	out := &c.outgoing
	h := out.held
	if h == nil {
		n, err := c.conn.Write(p)
		if err != nil {
			out.follow(p[:n])
		}
		return n, err
	}
	n, err := h.writeWith(c.conn, p)
	before := h.n
	if err != nil {
		out.follow(h.bytes()[:min(n, before)])
		out.follow(p[:max(n-before, 0)])
		out.torn = err
	}
	c.drop()
	return max(n-before, 0), err
}

// drop discards what is held.
func (c *Conn) drop() {
	if h := c.outgoing.held; h != nil {
		h.n = 0
		heldPool.Put(h)
		c.outgoing.held = nil
	}
}

// writeRest passes the part of p that belongs to the frame in progress when the gate was shut.
func (c *Conn) writeRest(p []byte, e *shutting) (int, error) {
	out := &c.outgoing
	c.drop()
	n := 0
	for n < len(p) && out.within() {
		part := out.stream
		size := part.advance(p[n:])
		written, err := c.conn.Write(p[n : n+size])
		n += written
		if err != nil {
			out.follow(p[n-written : n])
			out.failed = true
			out.ready.send()
			return n, e.Err
		}
		out.stream = part
	}
	if out.within() {
		return n, nil // the library must write the rest
	}
	out.ready.send()
	return n, e.Err
}

func (c *Conn) writeFailed(err error) error {
	c.outgoing.failed = true
	if e := c.end.Load(); e != nil {
		return e.Err
	}
	if !isDeadline(err) {
		c.leaveSoon(err)
	}
	return err
}

// Ping writes a ping without a payload as soon as no frame is in progress. It does not wait for that.
func (c *Conn) Ping() {
	if c.phase.Load() != inFrames || !c.pinging.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.pinging.Store(false)
		c.outgoing.take()
		defer c.outgoing.give()
		c.outgoing.ping = true
		c.writePing()
	}()
}

// writePing writes a ping that is due, unless a frame is in progress.
func (c *Conn) writePing() error {
	out := &c.outgoing
	if !out.ping || out.within() {
		return nil
	}
	out.ping = false
	if out.closed || out.failed || c.end.Load() != nil {
		return nil
	}
	ping := []byte{finalBit | opPing, 0}
	c.limits.suspendWrite() // gorilla/websocket leaves the deadline of its last write set
	n, err := c.conn.Write(ping)
	c.limits.resumeWrite()
	out.follow(ping[:n])
	if err != nil && !(n == 0 && isDeadline(err)) {
		return c.writeFailed(err)
	}
	return nil
}
