// Package gate stands between a WebSocket library and its network connection, and ends the connection by itself,
// whatever library it is and whatever that library does.
//
// It looks at the headers of the frames (RFC 6455 section 5.2) that pass in both directions, and changes none. When it
// is told to end the connection it
//
//  1. lets no data frame begin, in either direction ([Conn.Shut]);
//  2. lets an outgoing frame that has begun end, and writes one close frame after it;
//  3. makes the library's Read and Write fail with the cause, and itself reads what the peer still sends, up to the
//     peer's close frame or the deadline, since a reset could destroy our close frame before the peer reads it;
//  4. closes the connection ([Conn.Finish] does 2 to 4).
//
// A WebSocket library does not do that. coder/websocket's Close, for example, waits while a Read goes on handing
// messages to the application; and if a Write is stuck, Close waits for five seconds without sending a close frame.
package gate

import (
	"bufio"
	"bytes"
	"net"
	"sync/atomic"
	"time"
)

// An Ending says why this side ends a connection.
type Ending struct {
	Code   uint16 // of the close frame
	Reason string // of the close frame; cut off after 123 bytes
	Err    error  // what Read and Write return from then on
}

// A Life is told what happens to a connection, and checks the time. Its methods must not block, so they must not call
// Read, Write or Finish of the Conn; they may call all its other methods.
type Life interface {
	// Opened is called, only with Options.Handshake, when the head of the response has passed. It says whether the
	// response was 101 with `Upgrade: websocket`. If not, the gate steps aside: bytes pass as they are.
	Opened(isWebSocket bool)

	// Check is called before data passes, whenever time may have passed. It may call Shut. It is called often, and
	// should do little more than look at a clock.
	Check()

	// Left is called at most once, unless this side has ended the connection by Shut: with ErrPeerClosed, ErrClosed,
	// or an error that is ErrBroken.
	Left(err error)

	// Closed is called once, when the connection below is closed, whoever closed it.
	Closed()
}

// Options are the options of New.
type Options struct {
	// Grace is how long the peer has to answer a close frame, whoever sends it. It counts from when the frame was
	// written. Less than 100 ms counts as 100 ms.
	Grace time.Duration

	// Handshake: the library writes its response through the gate, and frames begin after the response.
	Handshake bool

	// SmallReader: the library uses the Reader of the ReadWriter, however small its buffer is.
	SmallReader bool
}

const (
	shortestGrace = 100 * time.Millisecond // even a peer that answers at once needs that on a busy machine
	longestGrace  = 365 * 24 * time.Hour   // so that no sum overflows
)

// A Conn is the server's end of a WebSocket connection. Of its methods, only Read, Write, Close and Finish wait for the
// peer or the library. Any number of goroutines may call them.
type Conn struct {
	conn  net.Conn
	rw    *bufio.ReadWriter
	life  Life
	grace time.Duration

	phase atomic.Int32
	end   atomic.Pointer[shutting] // why this side ends the connection; nil: it does not. The first reason stays

	incoming incoming
	outgoing outgoing
	limits   deadlines
	leaving  leaving

	opened   time.Time
	heard    atomic.Int64 // see Heard
	sentCode atomic.Int32
	peerCode atomic.Int32

	broken    atomic.Bool // the connection below has failed
	pinging   atomic.Bool // a Ping is in progress
	finishing atomic.Bool
	closing   atomic.Bool
	closed    latch
}

// The phases of a connection.
const (
	inFrames  int32 = iota
	inHead          // the head of the response to the handshake is not complete
	unwatched       // the response said that no frames follow
)

// New puts a gate in front of a connection that was just hijacked; rw may hold what the client has sent already.
//
// New replaces the buffers within the structs of rw: net/http keeps these structs while the handler runs, but does not
// use them after a Hijack.
func New(conn net.Conn, rw *bufio.ReadWriter, life Life, opts Options) (*Conn, error) {
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		return nil, err
	}
	if err := rw.Writer.Flush(); err != nil {
		return nil, err
	}
	c := &Conn{
		conn:   conn,
		rw:     rw,
		life:   life,
		grace:  min(max(opts.Grace, shortestGrace), longestGrace),
		limits: deadlines{conn: conn},
		opened: time.Now(),
	}
	if opts.Handshake {
		c.phase.Store(inHead)
		c.outgoing.head = new(head)
	}
	c.incoming.buf, c.incoming.w = bytes.Clone(early), len(early)
	c.incoming.tcp = readableOver(conn, &c.incoming.buffer)
	size := readerSize
	if opts.SmallReader {
		size = smallReaderSize
	}
	*rw.Reader = *bufio.NewReaderSize(c, size)
	*rw.Writer = *bufio.NewWriterSize(c, writerSize)
	return c, nil
}

// The sizes of the library's buffers. net/http's have 4096 bytes each, which is more than everything else that an idle
// connection needs. gorilla/websocket makes its own, of 4096 bytes, unless the reader's is larger than 256 and the
// writer's at least 270 (server.go, Upgrade).
//
// The small reader has room for the header of a frame, which the gate hands on by itself anyway. A longer read goes
// past it: bufio does not use its buffer for a read that is at least as large. A writer of 272 bytes was rejected:
// sending a message of 1 KiB took 5 % more CPU time, since the gate had to hold the beginning of the message.
const (
	readerSize      = 272
	smallReaderSize = 16 // bufio makes no smaller one
	writerSize      = 1152
)

// ReadWriter returns the buffers to give to the WebSocket library.
func (c *Conn) ReadWriter() *bufio.ReadWriter { return c.rw }

// NetConn returns the connection below, as [crypto/tls.Conn.NetConn] does, to set options of the socket. Do not read
// from it or write to it: the gate would lose track of the frames. Do not set its deadlines or close it: the peer would
// not get a close frame.
func (c *Conn) NetConn() net.Conn { return c.conn }

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements [net.Conn]. The deadlines of an application count until Finish is called.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.limits.setRead(t); err != nil {
		return err
	}
	return c.limits.setWrite(t)
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.limits.setRead(t) }

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.limits.setWrite(t) }

// Heard returns when bytes last came from the peer, or else when the gate was made.
func (c *Conn) Heard() time.Time { return c.opened.Add(time.Duration(c.heard.Load())) }

func (c *Conn) hears() { c.heard.Store(int64(time.Since(c.opened))) }

// Code returns the code of the close frame that the gate or the library sent to the peer: 0 if no close frame was sent,
// 1005 if it had no code.
func (c *Conn) Code() int { return int(c.sentCode.Load()) }

// PeerCode returns the code of the peer's close frame: 0 if no close frame has come, 1005 if it had no code.
func (c *Conn) PeerCode() int { return int(c.peerCode.Load()) }

// Closed returns a channel that is closed when the connection below is closed and Life.Closed has returned.
func (c *Conn) Closed() <-chan struct{} { return c.closed.opened() }
