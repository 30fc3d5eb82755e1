package gate

import "time"

// Outgoing is what goes to the peer.
type outgoing struct {
	turn          // of whoever writes to the connection below, and of all that follows
	stream        // what was written
	head   *head  // of the response, while it is not complete
	held   *held  // the beginning of a frame of which nothing was written yet; nil: none
	failed bool   // the last write failed: a frame under way may never come to its end
	torn   error  // a write failed, and what was held for it is lost: what Write returns from then on
	ping   bool   // is to be written at the next boundary
	ready  signal // for Finish, that the frame under way has come to its end
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
// kilobytes. When Shut returns, a Write under way may still pass what it was given; one that begins later passes the
// rest of the frame under way, and nothing else.
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

// takeOutgoing waits for its turn. A close frame that has to wait is written beside another Write that is stuck, and
// gives it the grace: nothing else of a library comes twice at a time, and none of it within a frame.
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
		c.limits.bind(time.Now().Add(c.grace)) // for the peer to take it, and to answer
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

// pass writes p behind what is held, and returns how much of p was written. If that is all, whoever calls takes note
// of it.
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

// drop forgets what is held.
func (c *Conn) drop() {
	if h := c.outgoing.held; h != nil {
		h.n = 0
		heldPool.Put(h)
		c.outgoing.held = nil
	}
}

// writeRest passes what belongs to the frame under way when the gate was shut.
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
		return n, nil // the library must come again, with the rest
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

// Ping writes a ping without a payload as soon as no frame is under way. It does not wait for that.
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

// writePing writes a ping that is due, unless a frame is under way.
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
	c.limits.suspendWrite() // gorilla/websocket leaves that of its last write behind
	n, err := c.conn.Write(ping)
	c.limits.resumeWrite()
	out.follow(ping[:n])
	if err != nil && !(n == 0 && isDeadline(err)) {
		return c.writeFailed(err)
	}
	return nil
}
