package gate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errShut = errors.New("shut")

// frameOf builds a frame, masked with a mask of zeros or not at all.
func frameOf(opcode byte, masked bool, payload []byte) []byte {
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	f := []byte{0x80 | opcode}
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

func pipe(t *testing.T, early string) (gated *Conn, peer net.Conn, closedFor *[]error) {
	t.Helper()
	server, client := net.Pipe()
	rw := bufio.NewReadWriter(bufio.NewReader(strings.NewReader(early)), bufio.NewWriter(io.Discard))
	if early != "" {
		rw.Reader.Peek(1)
	}
	closedFor = new([]error)
	c, err := New(server, rw, func(cause error) { *closedFor = append(*closedFor, cause) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return c, client, closedFor
}

func TestAReadNeverGoesBeyondAFrame(t *testing.T) {
	for name, sizes := range map[string][]int{
		"empty ones":              {0, 0, 0},
		"small ones":              {1, 5, 125},
		"a 16-bit length":         {126, 3, 65535},
		"a 64-bit length":         {65536, 1},
		"around the buffer":       {500, 506, 507, 512, 513},
		"larger than all buffers": {20000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t, "")
				var all []byte
				ends := map[int]bool{}
				for i, n := range sizes {
					all = append(all, frameOf(2, true, bytes.Repeat([]byte{byte(i)}, n))...)
					ends[len(all)] = true
				}
				go peer.Write(all)
				var got []byte
				buf := make([]byte, 4096)
				for len(got) < len(all) {
					n, err := c.Read(buf)
					if err != nil {
						t.Fatal(err)
					}
					for end := range ends {
						if len(got) < end && end < len(got)+n {
							t.Fatalf("a Read of %d bytes from %d on goes beyond the frame that ends at %d", n, len(got), end)
						}
					}
					got = append(got, buf[:n]...)
				}
				if !bytes.Equal(got, all) {
					t.Error("the bytes changed")
				}
			})
		})
	}
}

func TestWhatTheClientSentWithItsHandshakeIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := string(frameOf(1, true, []byte("early")))
		c, peer, _ := pipe(t, first[:7])
		go peer.Write([]byte(first[7:]))
		got := make([]byte, len(first))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != first {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestOnceShutReadGivesNoDataAndWaitsForTheCloseFrame(t *testing.T) {
	data, ping, closing := frameOf(2, true, make([]byte, 700)), frameOf(9, true, []byte("ping")), frameOf(8, true, []byte{3, 232})
	for name, row := range map[string]struct {
		before   []byte // sent before the gate shuts
		read     int    // how many bytes of it are read before
		after    []byte
		answered bool
	}{
		"nothing was sent":               {nil, 0, closing, true},
		"frames wait unread":             {append(bytes.Clone(data), data...), 0, closing, true},
		"a frame is half read":           {data, 300, closing, true},
		"a frame's header is read":       {data, 8, closing, true},
		"the close frame is half read":   {closing, 6, nil, true},
		"the close frame is read":        {closing, 8, nil, true},
		"more data comes":                {data, 300, append(append(bytes.Clone(data), ping...), closing...), true},
		"half a frame and then silence":  {data[:100], 50, nil, false},
		"half a header and then silence": {data[:3], 0, nil, false},
		"an endless frame": {nil, 0,
			[]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t, "")
				go func() { peer.Write(row.before); peer.Write(row.after) }()
				if _, err := io.ReadFull(c, make([]byte, row.read)); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				c.Shut(errShut, start.Add(time.Second))
				for range 2 {
					if n, err := c.Read(make([]byte, 4096)); n != 0 || err != errShut {
						t.Errorf("Read = %d, %v", n, err)
					}
				}
				want := time.Second
				if row.answered {
					want = 0
				}
				if waited := time.Since(start); waited != want || c.answered.Load() != row.answered {
					t.Errorf("waited %v, answered: %v", waited, c.answered.Load())
				}
			})
		})
	}
}

func TestAReadUnderWayWhenTheGateShutsGivesNoData(t *testing.T) {
	for name, begun := range map[string]bool{"between frames": false, "within a frame": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t, "")
				f := frameOf(1, true, []byte("too late"))
				if begun {
					go peer.Write(f[:8])
					io.ReadFull(c, make([]byte, 8))
					f = f[8:]
				}
				type result struct {
					n   int
					err error
				}
				done := make(chan result)
				go func() { n, err := c.Read(make([]byte, 100)); done <- result{n, err} }()
				synctest.Wait()
				c.Shut(errShut, time.Now().Add(time.Second))
				peer.Write(f)
				if got := <-done; got.n != 0 || got.err != errShut {
					t.Errorf("Read = %d, %v", got.n, got.err)
				}
			})
		})
	}
}

func TestOnceShutOnlyControlFramesAndBegunFramesAreWritten(t *testing.T) {
	data, long, closing := frameOf(1, false, []byte("data")), frameOf(2, false, make([]byte, 70000)), frameOf(8, false, []byte{11, 184})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, row := range map[string]struct {
		before, after []byte
		want          []byte
	}{
		"a close frame passes":             {nil, closing, closing},
		"a data frame does not":            {nil, data, nil},
		"a close frame between data":       {data, join(data, closing, long), join(data, closing)},
		"a frame begun in the header ends": {long[:1], join(long[1:], data, closing), join(long, closing)},
		"a frame begun ends":               {long[:5000], join(long[5000:], data, closing), join(long, closing)},
		"a continuation does not pass":     {data, join(frameOf(0, false, []byte("rest")), closing), join(data, closing)},
		"ping and pong pass":               {nil, join(frameOf(9, false, nil), frameOf(10, false, nil)), join(frameOf(9, false, nil), frameOf(10, false, nil))},
	} {
		for _, size := range []int{1, 3, 4096, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, peer, _ := pipe(t, "")
					var got bytes.Buffer
					done := make(chan struct{})
					go func() { defer close(done); io.Copy(&got, peer) }()
					write := func(p []byte) {
						for len(p) > 0 {
							n := min(size, len(p))
							if m, err := c.Write(p[:n]); m != n || err != nil {
								t.Fatalf("Write = %d, %v", m, err)
							}
							p = p[n:]
						}
					}
					write(row.before)
					c.Shut(errShut, time.Now().Add(time.Second))
					write(row.after)
					c.Close()
					<-done
					if !bytes.Equal(got.Bytes(), row.want) {
						t.Errorf("%d bytes were written, want %d", got.Len(), len(row.want))
					}
					if code := c.Code(); (code == 3000) != bytes.HasSuffix(row.want, closing) {
						t.Errorf("the code that was sent: %d", code)
					}
				})
			})
		}
	}
}

// However late the timer of a connection's end is, its guard is in time.
// Reading alone, and writing alone: each asks for itself.
func TestTheGuardIsAskedBeforeAnythingPasses(t *testing.T) {
	data := frameOf(1, true, []byte("data"))
	guarded := func(t *testing.T) (*Conn, net.Conn) {
		c, peer, _ := pipe(t, "")
		end := time.Now().Add(time.Minute)
		c.Guard(func() {
			if !time.Now().Before(end) {
				c.Shut(errShut, end.Add(time.Second))
			}
		}, nil, time.Second)
		return c, peer
	}
	t.Run("in", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := guarded(t)
			go func() { peer.Write(data); time.Sleep(time.Minute); peer.Write(data) }()
			if n, err := io.ReadFull(c, make([]byte, len(data))); n != len(data) || err != nil {
				t.Fatalf("before the end: read %d, %v", n, err)
			}
			if n, err := c.Read(make([]byte, 100)); n != 0 || err != errShut {
				t.Errorf("after the end: read %d, %v", n, err)
			}
		})
	})
	t.Run("out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := guarded(t)
			var got bytes.Buffer
			done := make(chan struct{})
			go func() { defer close(done); io.Copy(&got, peer) }()
			c.Write(frameOf(1, false, []byte("before")))
			time.Sleep(time.Minute)
			c.Write(frameOf(1, false, []byte("after")))
			c.Write(frameOf(8, false, nil))
			c.Close()
			<-done
			if want := append(frameOf(1, false, []byte("before")), frameOf(8, false, nil)...); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("written: %q", got.Bytes())
			}
		})
	})
}

func TestAPeerHasTheGraceToAnswerACloseFrameWhoeverSendsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t, "")
		c.Guard(nil, nil, time.Second)
		go io.Copy(io.Discard, peer)
		c.Write(append(frameOf(1, false, []byte("data")), frameOf(8, false, nil)...))
		start := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) != time.Second {
			t.Errorf("Read ended after %v with %v", time.Since(start), err)
		}
	})
}

// A lingerer records how it was closed.
type lingerer struct {
	net.Conn
	how []string
}

func (l *lingerer) SetLinger(int) error         { l.how = append(l.how, "reset"); return nil }
func (l *lingerer) Close() error                { l.how = append(l.how, "close"); return nil }
func (l *lingerer) SetDeadline(time.Time) error { return nil }

// A counted is what a listener of an application has made of a connection, and must hear of its end.
type counted struct {
	net.Conn
	beneath *lingerer
}

func (c counted) NetConn() net.Conn { return c.beneath }
func (c counted) Close() error {
	c.beneath.how = append(c.beneath.how, "counted")
	return c.beneath.Close()
}

func TestCloseResetsAPeerThatHasNotAnsweredInTime(t *testing.T) {
	for name, row := range map[string]struct {
		shut, answered, late bool
		want                 string
	}{
		"not shut":            {false, false, false, "close"},
		"in time, answered":   {true, true, false, "close"},
		"in time, unanswered": {true, false, false, "close"},
		"late, answered":      {true, true, true, "close"},
		"late, unanswered":    {true, false, true, "reset close"},
	} {
		for over, wrap := range map[string]func(*lingerer) net.Conn{
			"TCP":                          func(l *lingerer) net.Conn { return l },
			"TLS":                          func(l *lingerer) net.Conn { return tls.Server(l, nil) },
			"TCP of a listener":            func(l *lingerer) net.Conn { return counted{l, l} },
			"TLS over TCP of a listener's": func(l *lingerer) net.Conn { return tls.Server(counted{l, l}, nil) },
		} {
			t.Run(name+", "+over, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tcp := &lingerer{}
					var causes []error
					rw := bufio.NewReadWriter(bufio.NewReader(tcp), bufio.NewWriter(tcp))
					c, err := New(wrap(tcp), rw, func(e error) { causes = append(causes, e) })
					if err != nil {
						t.Fatal(err)
					}
					var cause error
					if row.shut {
						cause = errShut
						c.Shut(errShut, time.Now().Add(time.Second))
						c.answered.Store(row.answered)
					}
					if row.late {
						time.Sleep(time.Second)
					}
					c.Close()
					want := row.want
					if strings.Contains(over, "listener") {
						want = strings.Replace(want, "close", "counted close", 1)
					}
					if got := strings.Join(tcp.how, " "); got != want {
						t.Errorf("%q, want %q", got, want)
					}
					if len(causes) != 1 || causes[0] != cause {
						t.Errorf("onClose was given %v", causes)
					}
					<-c.Closed()
				})
			})
		}
	}
}

func TestAPeerThatHasGoneIsReportedOnceTheReadHasFailed(t *testing.T) {
	closing := frameOf(8, true, []byte{3, 232})
	compressed := frameOf(1, true, []byte("data"))
	compressed[0] = 0x41 // compressed, and not the last frame
	rest := frameOf(0, true, []byte("rest"))
	more := bytes.Clone(rest)
	more[0] = 0
	for name, row := range map[string]struct {
		sent  []byte
		stays bool
		want  bool
	}{
		"between frames":  {frameOf(1, true, []byte("data")), false, true},
		"within a frame":  {frameOf(1, true, []byte("data"))[:8], false, true},
		"within a header": {frameOf(1, true, make([]byte, 300))[:3], false, true},
		"at a deadline of somebody, between frames":   {frameOf(1, true, []byte("data")), true, false},
		"at a deadline of somebody, within a frame":   {frameOf(1, true, []byte("data"))[:8], true, false},
		"a close frame within a compressed message":   {append(bytes.Clone(compressed), closing...), true, true},
		"the same, further on":                        {slices.Concat(compressed, more, closing), true, true},
		"a close frame behind a compressed message":   {slices.Concat(compressed, more, rest, closing), true, false},
		"a close frame within a message as it stands": {slices.Concat(frameOf(1, true, nil)[:0], []byte{1, 0x80, 0, 0, 0, 0}, closing), true, false},
		"a ping within a compressed message":          {slices.Concat(compressed, frameOf(9, true, nil), rest), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t, "")
				told := 0
				c.Guard(nil, func() { told++ }, time.Second)
				go func() {
					peer.Write(row.sent)
					if !row.stays {
						peer.Close()
					}
				}()
				c.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := io.Copy(io.Discard, c); c.Gone() != row.want {
					t.Errorf("gone: %v, after %v", c.Gone(), err)
				}
				_, again := c.Read(make([]byte, 1))
				time.Sleep(time.Second)
				synctest.Wait()
				if (told == 1) != row.want || again == nil {
					t.Errorf("told %d times, then %v", told, again)
				}
				c.SetReadDeadline(time.Time{})
				go peer.Write(frameOf(1, true, []byte("data"))[:8])
				if n, _ := c.Read(make([]byte, 1)); (n == 0) != row.want {
					t.Errorf("then %d bytes", n)
				}
			})
		})
	}
}

func TestAPeerThatHasGoneIsNotReportedWhereTheConnectionIsClosedAtOnce(t *testing.T) {
	for name, end := range map[string]func(c *Conn, peer net.Conn){
		"after the Read": func(c *Conn, peer net.Conn) {
			peer.Close()
			c.Read(make([]byte, 1))
			c.Close()
		},
		"during the Read": func(c *Conn, _ net.Conn) {
			go c.Read(make([]byte, 1))
			synctest.Wait()
			c.Close()
		},
		"before the Read": func(c *Conn, _ net.Conn) {
			c.Close()
			c.Read(make([]byte, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t, "")
				c.Guard(nil, func() { t.Error("it is reported") }, time.Second)
				end(c, peer)
				synctest.Wait()
				if !c.Gone() || !c.IsClosed() {
					t.Errorf("gone: %v, closed: %v", c.Gone(), c.IsClosed())
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// However a stream of frames is cut into pieces, it is followed alike, and what is kept once the gate is shut is whole
// control frames.
func FuzzAdvance(f *testing.F) {
	f.Add(frameOf(1, false, []byte("data")), uint8(1))
	f.Add(append(frameOf(2, true, make([]byte, 300)), frameOf(8, false, []byte{3, 232})...), uint8(3))
	f.Add(frameOf(2, false, make([]byte, 70000)), uint8(200))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3}, uint8(5))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		follow := func(step int) (kept []byte) {
			var fr frame
			for rest := stream; len(rest) > 0; {
				piece := rest[:min(step, len(rest))]
				n, drop := fr.advance(piece, true)
				if n <= 0 || n > len(piece) {
					t.Fatalf("advanced by %d of %d", n, len(piece))
				}
				if !drop {
					kept = append(kept, piece[:n]...)
				}
				rest = rest[n:]
			}
			return kept
		}
		whole := follow(len(stream) + 1)
		if pieces := follow(int(size) + 1); !bytes.Equal(whole, pieces) {
			t.Fatalf("kept %x in pieces, %x as a whole", pieces, whole)
		}
		for rest := whole; len(rest) > 0; {
			if rest[0]&0xf < opClose {
				t.Fatalf("kept a data frame: %x", rest)
			}
			h := header(rest[:min(maxHeader, len(rest))])
			if len(h) < h.len() || h.total() > int64(len(rest)) {
				break // the stream ends in it
			}
			rest = rest[h.total():]
		}
	})
}
