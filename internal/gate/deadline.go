package gate

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// isDeadline reports whether err means that a deadline has passed. The method Timeout would not tell: it is also true
// for ETIMEDOUT, with which TCP gives up on a peer that does not answer keep-alives.
func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// past is a deadline that wakes everybody who waits.
var past = time.Unix(1, 0)

// deadlines keeps the application's deadlines. Those of the gate take precedence.
type deadlines struct {
	conn net.Conn

	mu          sync.Mutex
	read, write time.Time // the application's; zero: none
	bound       time.Time // for both, when the library ends the connection; zero: none
	reading     bool      // readNow has set a deadline of its own
	taken       bool      // Finish has taken over: from now on, read is when it stops draining
	kicked      bool      // reads fail at once, until release
}

// earlier returns the earlier of two deadlines; zero means no deadline.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (d *deadlines) setRead(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken {
		return nil
	}
	d.read = t
	return d.applyRead()
}

func (d *deadlines) applyRead() error {
	if d.taken || d.reading {
		return nil
	}
	return d.conn.SetReadDeadline(earlier(d.read, d.bound))
}

func (d *deadlines) setWrite(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = t
	return d.applyWrite()
}

func (d *deadlines) applyWrite() error {
	if d.taken {
		return nil
	}
	return d.conn.SetWriteDeadline(earlier(d.write, d.bound))
}

// bind limits all reading and writing to t.
func (d *deadlines) bind(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bound = earlier(d.bound, t)
	d.applyRead()
	d.applyWrite()
}

// suspendWrite puts aside the application's deadline, which resumeWrite restores.
func (d *deadlines) suspendWrite() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.taken {
		d.conn.SetWriteDeadline(d.bound)
	}
}

func (d *deadlines) resumeWrite() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applyWrite()
}

// moment is long enough for a Read to ask the kernel for what has arrived. With a deadline in the past, Read would not
// ask.
const moment = time.Millisecond

// readNow reads what is there, without waiting for more. For the application, the application's deadline counts, too.
func (d *deadlines) readNow(p []byte, forApplication bool) (int, error) {
	d.mu.Lock()
	d.reading = !d.taken
	if d.reading {
		until := time.Now().Add(moment)
		if forApplication {
			until = earlier(until, earlier(d.read, d.bound))
		}
		d.conn.SetReadDeadline(until)
	}
	d.mu.Unlock()

	n, err := d.conn.Read(p)

	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading = false
	d.applyRead()
	return n, err
}

// takeOver makes reads fail at once, and writes at the given deadline. From then on, the application's deadlines are
// ignored.
func (d *deadlines) takeOver(write, drain time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken, d.kicked, d.read = true, true, drain
	return errors.Join(d.conn.SetWriteDeadline(write), d.conn.SetReadDeadline(past))
}

// release lets the gate read, up to the deadline of the drain. A Read that was waiting must have returned before: if
// the deadline moves before the reading goroutine wakes, it does not wake.
func (d *deadlines) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kicked = false
	d.conn.SetReadDeadline(d.read)
}

// drainUntil moves the deadline of the drain.
func (d *deadlines) drainUntil(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = t
	if !d.kicked {
		d.conn.SetReadDeadline(t)
	}
}

// writeUntil sets the deadline of the close frame.
func (d *deadlines) writeUntil(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn.SetWriteDeadline(t)
}
