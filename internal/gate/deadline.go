package gate

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// isDeadline reports whether err is somebody's deadline. A method Timeout does not tell: that of ETIMEDOUT, with which
// TCP gives up a peer that does not answer its keep-alive, returns true as well.
func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// Deadlines keeps the deadlines of the application, and puts those of the gate before them.
type deadlines struct {
	conn net.Conn

	mu          sync.Mutex
	read, write time.Time // the application's; zero: none
	bound       time.Time // for both, where the library ends the connection; zero: none
	reading     bool      // readNow has set a deadline of its own
	taken       bool      // Finish has taken over: from now on read is when it stops to drain
	kicked      bool      // reads fail at once, until release
}

// earlier is the earlier of two deadlines, either of which may be none.
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

// bind puts an end to all reading and writing.
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

// moment is long enough for a Read to ask the kernel for what it has. A deadline in the past would keep it from asking.
const moment = time.Millisecond

// readNow reads what is there, without waiting for more. If that is for the application, its deadline counts too.
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

// takeOver has reads fail at once, and writes at the deadline given. From now on what the application sets is ignored.
func (d *deadlines) takeOver(write, drain time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken, d.kicked, d.read = true, true, drain
	return errors.Join(d.conn.SetWriteDeadline(write), d.conn.SetReadDeadline(past))
}

// release lets the gate read, up to the deadline of the drain. Whoever was waiting in a Read must have returned: a
// deadline that is moved before a goroutine has woken does not wake it.
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
