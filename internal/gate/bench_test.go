package gate

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A source is a connection that has the same bytes to read for ever, and takes all.
type source struct {
	net.Conn
	bytes []byte
	at    int
}

func (s *source) Read(p []byte) (int, error) {
	n := copy(p, s.bytes[s.at:])
	s.at = (s.at + n) % len(s.bytes)
	return n, nil
}
func (s *source) Write(p []byte) (int, error)      { return len(p), nil }
func (s *source) SetReadDeadline(time.Time) error  { return nil }
func (s *source) SetWriteDeadline(time.Time) error { return nil }

// A clock is a Life that looks at it.
type clock struct {
	witness
	end time.Time
}

func (c *clock) Check() {
	if now := time.Now(); !now.Before(c.end) || now.Round(0).After(c.end) {
		panic("the end of an hour")
	}
}

func benchmarkGate(b *testing.B, payload int) (*Conn, *source) {
	conn := &source{bytes: bytes.Repeat(frameOf(2, true, make([]byte, payload)), 10000)}
	rw := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	c, err := New(conn, rw, &clock{end: time.Now().Add(time.Hour)}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	return c, conn
}

// What a message costs without system calls and without a library. A source is not TCP, so this fills as for TLS.
func BenchmarkMessageIn(b *testing.B) {
	const payload = 16
	c, conn := benchmarkGate(b, payload)
	for name, r := range map[string]*bufio.Reader{
		"gated": c.ReadWriter().Reader,
		"plain": bufio.NewReader(conn),
	} {
		b.Run(name, func(b *testing.B) {
			head, body := make([]byte, 6), make([]byte, payload)
			for b.Loop() {
				io.ReadFull(r, head)
				io.ReadFull(r, body)
			}
		})
	}
}

func BenchmarkMessageOut(b *testing.B) {
	for name, payload := range map[string]int{"whole": 16, "in two": 2000} {
		c, conn := benchmarkGate(b, payload)
		message := frameOf(2, false, make([]byte, payload))
		for kind, w := range map[string]io.Writer{"gated": c, "plain": conn} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				for b.Loop() {
					if payload > writerSize {
						w.Write(message[:writerSize])
						w.Write(message[writerSize:])
					} else {
						w.Write(message)
					}
				}
			})
		}
	}
}
