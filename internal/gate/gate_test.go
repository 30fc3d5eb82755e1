package gate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errShut = errors.New("shut")
	ending  = Ending{Code: 3000, Reason: "token expired", Err: errShut}
	goodbye = closeFrame(ending.Code, ending.Reason)
)

// frameOf builds a frame, masked with a mask of zeros or not at all.
func frameOf(opcode byte, masked bool, payload []byte) []byte {
	bit := byte(0)
	if masked {
		bit = maskBit
	}
	f := []byte{finalBit | opcode}
	switch n := len(payload); {
	case n < 126:
		f = append(f, bit|byte(n))
	case n <= 0xffff:
		f = binary.BigEndian.AppendUint16(append(f, bit|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, bit|127), uint64(n))
	}
	if masked {
		f = append(f, 0, 0, 0, 0)
	}
	return append(f, payload...)
}

// unfinished makes a frame one that is not the last of its message.
func unfinished(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[0] &^= finalBit
	return frame
}

// compressed makes a frame the first one of a compressed message.
func compressed(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[0] |= 0x40
	return frame
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// A witness is a Life that remembers what it was told.
type witness struct {
	check func()

	mu     sync.Mutex
	opened []bool
	left   []error
	closed int
	checks int
}

func (w *witness) Opened(is bool) { w.mu.Lock(); defer w.mu.Unlock(); w.opened = append(w.opened, is) }
func (w *witness) Left(err error) { w.mu.Lock(); defer w.mu.Unlock(); w.left = append(w.left, err) }
func (w *witness) Closed()        { w.mu.Lock(); defer w.mu.Unlock(); w.closed++ }
func (w *witness) Check() {
	w.mu.Lock()
	w.checks++
	check := w.check
	w.mu.Unlock()
	if check != nil {
		check()
	}
}

func (w *witness) closings() int    { w.mu.Lock(); defer w.mu.Unlock(); return w.closed }
func (w *witness) hasLeft() []error { w.mu.Lock(); defer w.mu.Unlock(); return w.left }

// over puts a gate in front of conn.
func over(t *testing.T, conn net.Conn, early string, opts Options) (*Conn, *witness) {
	t.Helper()
	rw := bufio.NewReadWriter(bufio.NewReader(strings.NewReader(early)), bufio.NewWriter(io.Discard))
	if early != "" {
		rw.Reader.Peek(1)
	}
	w := &witness{}
	c, err := New(conn, rw, w, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

// pipe returns a gate with a grace of a second.
func pipe(t *testing.T) (gated *Conn, peer net.Conn, w *witness) {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { server.Close(); client.Close() })
	c, w := over(t, server, "", Options{Grace: time.Second})
	return c, client, w
}

// tcp returns both ends of a connection over loopback.
func tcp(t testing.TB) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// received returns what a peer reads, once it is closed or reset.
func received(peer net.Conn) <-chan []byte {
	ch := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(peer)
		ch <- all
	}()
	return ch
}

func TestTheBuffersAreThoseOfTheHijackedConnection(t *testing.T) {
	server, client := net.Pipe()
	defer client.Close()
	rw := bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server))
	reader, writer := rw.Reader, rw.Writer
	c, err := New(server, rw, &witness{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := c.ReadWriter()
	if got.Reader != reader || got.Writer != writer {
		t.Error("the structs are others")
	}
	// What gorilla/websocket asks of buffers before it takes them over.
	if size := got.Reader.Size(); size <= 256 {
		t.Errorf("the reader has %d bytes, want more than 256", size)
	}
	if size := got.Writer.Size(); size < 270 {
		t.Errorf("the writer has %d bytes, want 270 or more", size)
	}
	if c.NetConn() != server || c.LocalAddr() != server.LocalAddr() || c.RemoteAddr() != server.RemoteAddr() {
		t.Error("the connection below is another")
	}
}

func TestWhatTheClientSentWithItsHandshakeIsRead(t *testing.T) {
	for name, size := range map[string]int{"little": 5, "more than the small buffer": 1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := string(frameOf(1, true, bytes.Repeat([]byte("e"), size)))
				server, peer := net.Pipe()
				defer peer.Close()
				c, _ := over(t, server, first[:len(first)-2], Options{})
				defer c.Close()
				go peer.Write([]byte(first[len(first)-2:]))
				got := make([]byte, len(first))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != first {
					t.Errorf("got %q, %v, want %q", got, err, first)
				}
			})
		})
	}
}

// However late the timer of a connection's end is, its Check is in time.
// Reading alone, and writing alone: each asks for itself.
func TestCheckIsCalledBeforeAnythingPasses(t *testing.T) {
	in, out := frameOf(1, true, []byte("data")), frameOf(1, false, []byte("data"))
	checked := func(t *testing.T) (*Conn, net.Conn) {
		c, peer, w := pipe(t)
		end := time.Now().Add(time.Minute)
		w.check = func() {
			if !time.Now().Before(end) {
				c.Shut(ending)
			}
		}
		return c, peer
	}
	t.Run("in", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checked(t)
			go func() { peer.Write(in); time.Sleep(time.Minute); peer.Write(in) }()
			if n, err := io.ReadFull(c, make([]byte, len(in))); n != len(in) || err != nil {
				t.Fatalf("before the end: got %d, %v, want %d bytes", n, err, len(in))
			}
			if n, err := c.Read(make([]byte, 100)); n != 0 || err != errShut {
				t.Errorf("after the end: got %d, %v, want %v", n, err, errShut)
			}
		})
	})
	t.Run("in, payload that goes straight", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checked(t)
			large := frameOf(2, true, make([]byte, 3*straight))
			go func() { peer.Write(large[:smallSize]); time.Sleep(time.Minute); peer.Write(large[smallSize:]) }()
			if _, err := io.ReadFull(c, make([]byte, smallSize)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 2*straight)); n != 0 || err != errShut {
				t.Errorf("after the end: got %d, %v, want %v", n, err, errShut)
			}
		})
	})
	t.Run("out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checked(t)
			got := received(peer)
			c.Write(out)
			time.Sleep(time.Minute)
			if n, err := c.Write(out); n != 0 || err != errShut {
				t.Errorf("after the end: got %d, %v, want %v", n, err, errShut)
			}
			c.Finish()
			if got, want := <-got, join(out, goodbye); !bytes.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	})
	t.Run("out, after a wait for another Write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checked(t)
			go c.Write(out)
			synctest.Wait()
			second := make(chan error)
			go func() { _, err := c.Write(out); second <- err }()
			time.Sleep(time.Minute)
			got := received(peer)
			if err := <-second; err != errShut {
				t.Errorf("got %v, want %v", err, errShut)
			}
			c.Finish()
			if got, want := <-got, join(out, goodbye); !bytes.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	})
}

func TestCheckIsCalledForEachReadOfTheConnectionBelowAndEveryFewDozenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frames := bytes.Repeat(frameOf(1, true, nil), 1000)
		server, peer := net.Pipe()
		defer peer.Close()
		c, w := over(t, server, string(frames[:4000]), Options{})
		defer c.Close()
		go peer.Write(frames[4000:])
		io.ReadFull(c, make([]byte, 3000))
		if want := 3000 / 6 / checkEvery; w.checks != want {
			t.Errorf("of what came with the handshake: got %d checks for 500 frames, want %d", w.checks, want)
		}
		io.ReadFull(c, make([]byte, 1000))
		before := w.checks
		io.ReadFull(c, make([]byte, 1))
		if w.checks != before+1 {
			t.Errorf("of what was read: got %d checks, want 1", w.checks-before)
		}
	})
}

func TestCheckIsCalledForWhatIsReadWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, w := pipe(t)
		defer c.Close()
		full := frameOf(1, true, make([]byte, smallSize-8))
		go peer.Write(join(full, full))
		if _, err := io.ReadFull(c, make([]byte, len(full))); err != nil || !c.incoming.more {
			t.Fatalf("got more: %v and %v, want more and no error", c.incoming.more, err)
		}
		synctest.Wait()
		before := w.checks
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil || c.incoming.large == nil {
			t.Fatalf("got %v and large: %v, want what was there in a large buffer", err, c.incoming.large != nil)
		}
		if w.checks != before+1 {
			t.Errorf("got %d checks, want 1", w.checks-before)
		}
	})
}

func TestAGraceOfAnyLengthEndsNoSoonerThanItSays(t *testing.T) {
	for name, row := range map[string]struct{ grace, want time.Duration }{
		"none":        {0, shortestGrace},
		"1 ns":        {1, shortestGrace},
		"1 s":         {time.Second, time.Second},
		"the longest": {math.MaxInt64, longestGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, peer := net.Pipe()
				defer peer.Close()
				c, _ := over(t, server, "", Options{Grace: row.grace})
				go io.Copy(io.Discard, peer)
				start := time.Now()
				c.Shut(ending)
				c.Finish()
				if got := time.Since(start); got != row.want {
					t.Errorf("got %v, want %v", got, row.want)
				}
			})
		})
	}
}
