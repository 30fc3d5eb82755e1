//go:build unix

package gate

import (
	"io"
	"net"
	"os"
	"syscall"
)

// readable reads from a TCP connection into a buffer that it takes only when there is something to read, so a Read that
// waits holds none. [net.Conn.Read] needs a buffer while it waits, and if that is small, a second read for what does
// not fit.
type readable struct {
	raw  syscall.RawConn
	conn *net.TCPConn
	in   *buffer
	read func(fd uintptr) bool // made only once
	n    int
	err  error
}

// readableOver returns nil if conn is not itself a TCP connection: a wrapper must see what is read.
func readableOver(conn net.Conn, in *buffer) *readable {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	r := &readable{raw: raw, conn: tcp, in: in}
	r.read = r.tryLarge
	return r
}

// fill waits for data and reads it into the buffer, which is empty.
func (r *readable) fill() (int, error) {
	if err := r.raw.Read(r.read); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// tryLarge returns false if there is nothing to read, to be called again when there is.
func (r *readable) tryLarge(fd uintptr) bool {
	r.in.takeLarge()
	r.n, r.err = r.try(fd, r.in.buf)
	if r.n == 0 {
		r.in.release()
	}
	return r.err != os.ErrDeadlineExceeded
}

// now reads what is there. If there is nothing, the error is a deadline.
func (r *readable) now(p []byte) (n int, err error) {
	// Read would check the application's deadline first.
	if failed := r.raw.Control(func(fd uintptr) { n, err = r.try(fd, p) }); failed != nil {
		return 0, failed
	}
	return n, err
}

func (r *readable) try(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err != nil:
			return 0, &net.OpError{Op: "read", Net: "tcp", Source: r.conn.LocalAddr(), Addr: r.conn.RemoteAddr(),
				Err: os.NewSyscallError("read", err)}
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
