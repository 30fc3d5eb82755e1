package gate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Shut ends the connection for the given reason, unless another call came first; it returns whether this call counts.
// After it returns, no data frame begins in either direction, except one that a Read or a Write in progress already
// has. It never blocks. Finish must follow.
func (c *Conn) Shut(e Ending) bool {
	return c.end.CompareAndSwap(nil, &shutting{Ending: e, said: make(chan struct{})})
}

// A shutting is an Ending that has begun. It has the channel, so that a connection that lives on needs none.
type shutting struct {
	Ending
	said chan struct{} // closed when Finish has written the close frame, or has given up
}

const (
	shortestWrite = 250 * time.Millisecond // time for writing a close frame, however short the grace
	slack         = 300 * time.Millisecond // beyond the grace; a busy machine has 200 ms more
	meanwhile     = 10 * time.Millisecond  // how long Finish writes before it also reads
	breathAfter   = 1 << 20                // bytes that drain reads without a pause
	breath        = 5 * time.Millisecond   // makes a flood cost less, and gives its sender time to read our close frame
)

// Finish ends a connection that was shut: it writes the close frame, waits for the peer's, and closes the connection
// below half a second after the grace at the latest. It returns when the connection is closed, whoever closes it, so it
// must not be called without Shut.
func (c *Conn) Finish() {
	e := c.end.Load()
	if e == nil || c.closing.Load() || !c.finishing.CompareAndSwap(false, true) {
		<-c.Closed()
		return
	}
	defer func() { <-c.Closed() }()
	if c.phase.Load() != inFrames {
		c.closeBelow(withoutTLS(c.conn))
		return
	}
	begun := time.Now()
	write := begun.Add(max(c.grace, shortestWrite))
	latest := begun.Add(c.grace + slack)
	// Even a Write that is stuck must leave time for the close frame.
	if err := c.limits.takeOver(write.Add(-2*shortestGrace), latest); err != nil {
		// Either the peer of a net.Pipe has gone, or the connection has no deadlines and might hold us forever.
		c.broken.Store(c.broken.Load() || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed))
		c.closeTold(false)
		return
	}

	// The peer may be stuck in a write of its own, and read nothing until that is read.
	reader := time.AfterFunc(meanwhile, c.drain)
	said := c.say(e, write)
	close(e.said)
	reader.Stop()
	if said {
		until := earlier(time.Now().Add(c.grace), latest)
		c.limits.drainUntil(until)
		c.drain()
	}
	c.closeTold(said)
}

// say writes the close frame once no other frame is in progress, and reports whether a close frame was sent to the
// peer, by the gate or by the library.
func (c *Conn) say(e *shutting, deadline time.Time) bool {
	out := &c.outgoing
	out.take()
	defer out.give()
	if out.within() && !out.failed {
		c.awaitBoundary(deadline)
	}
	switch {
	case out.closed:
		return true
	case out.within() || c.broken.Load():
		return false
	}
	frame := closeFrame(e.Code, e.Reason)
	c.limits.writeUntil(later(deadline.Add(-shortestGrace), time.Now().Add(shortestGrace)))
	n, err := c.conn.Write(frame)
	if n == 0 && isDeadline(err) { // a busy machine was too late, or the peer reads nothing
		c.limits.writeUntil(later(deadline, time.Now().Add(shortestGrace)))
		n, err = c.conn.Write(frame)
	}
	out.follow(frame[:n])
	if err != nil {
		c.broken.Store(!isDeadline(err))
		return false
	}
	c.sentCode.Store(out.closeCode())
	return true
}

// awaitBoundary gives its turn to the library until the frame in progress has ended, or the deadline has passed.
func (c *Conn) awaitBoundary(deadline time.Time) {
	out := &c.outgoing
	ready := make(signal)
	out.ready = ready
	out.give()
	timer := time.NewTimer(time.Until(deadline))
	select {
	case <-ready:
	case <-timer.C:
	case <-c.Closed():
	}
	timer.Stop()
	out.take()
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// drain discards what the peer sends, up to its close frame. Closing with unread data would reset the connection, and
// the peer might lose our close frame.
func (c *Conn) drain() {
	in := &c.incoming
	in.take()
	defer in.give()
	if in.drained {
		return
	}
	in.drained = true
	c.limits.release()
	for drained := 0; !in.closed && in.broken == nil; {
		if drained > breathAfter {
			select {
			case <-c.Closed():
				return
			case <-time.After(breath):
			}
			drained = 0
		}
		if len(in.unread()) == 0 {
			if err := c.fill(); err != nil {
				in.timedOut = isDeadline(err)
				return
			}
		}
		n := in.advance(in.unread())
		in.skip(n)
		drained += n
	}
	if in.closed {
		c.peerCode.CompareAndSwap(0, in.closeCode())
	}
}

// closeTold closes the connection below. It resets the connection if the peer could not be told, or has not answered in
// time, so that nothing still waiting to be sent reaches the peer later.
func (c *Conn) closeTold(said bool) {
	conn := withoutTLS(c.conn)
	if c.isStuck(said) {
		resetOnClose(conn)
	}
	c.closeBelow(conn)
}

// withoutTLS returns the connection beneath TLS: sending close_notify would wait up to 5 seconds for a peer that does
// not read.
func withoutTLS(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

// isStuck reports whether the peer is there but does not respond.
func (c *Conn) isStuck(said bool) bool {
	if c.broken.Load() {
		return false
	}
	return !said || c.incoming.timedOut
}

// resetOnClose looks for the TCP connection, which the application's listener may have wrapped.
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

// Close closes the connection at once, unless the gate has been shut: then Finish closes it, in its own time.
func (c *Conn) Close() error {
	if c.end.Load() != nil {
		return nil
	}
	c.leave(ErrClosed)
	if t, ok := c.conn.(*tls.Conn); ok {
		cut := time.AfterFunc(c.grace, func() { t.NetConn().Close() })
		defer cut.Stop()
	}
	return c.closeBelow(c.conn)
}

// closeBelow closes conn: the connection below, or the one beneath its TLS.
func (c *Conn) closeBelow(conn net.Conn) error {
	if !c.closing.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.leaving.stop()
	err := conn.Close()
	c.life.Closed()
	c.closed.open()
	return err
}

// leaving says why Left is called, and whether it was.
type leaving struct {
	mu    sync.Mutex
	why   error // the first reason; nil: there is none
	told  bool
	timer *time.Timer
}

// stop stops the timer of leaveSoon: once the connection below is closed, Left has nothing left to say.
func (l *leaving) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// leave calls Left once, for err or for an earlier reason that was waiting.
func (c *Conn) leave(err error) {
	l := &c.leaving
	l.mu.Lock()
	if l.told {
		l.mu.Unlock()
		return
	}
	l.told = true
	if l.why == nil {
		l.why = err
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	why := l.why
	l.mu.Unlock()
	if c.end.Load() == nil {
		c.life.Left(why)
	}
}

// goneDelay is how long the library has to close a connection that is broken before Left is called; usually it closes
// at once. Starting a goroutine for each such end was rejected: it woke another processor, which cost 5 to 9 % of the
// CPU time of a handshake on a server that is not busy.
const goneDelay = 10 * time.Millisecond

// leaveSoon calls leave for a connection below that has failed.
func (c *Conn) leaveSoon(err error) {
	c.broken.Store(true)
	l := &c.leaving
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told || l.why != nil {
		return
	}
	l.why = fmt.Errorf("%w: %w", ErrBroken, err)
	l.timer = time.AfterFunc(goneDelay, func() { c.leave(nil) })
}
