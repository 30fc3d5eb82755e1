package gate

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAReadNeverGoesBeyondAFrame(t *testing.T) {
	for name, sizes := range map[string][]int{
		"empty ones":              {0, 0, 0},
		"small ones":              {1, 5, 125},
		"a 16-bit length":         {126, 3, 65535},
		"a 64-bit length":         {65536, 1},
		"around the small buffer": {smallSize - 12, smallSize - 8, smallSize, 506, 507},
		"around the large buffer": {1000, largeSize - 8, largeSize, largeSize + 1},
		"larger than all buffers": {100000, 1},
	} {
		for _, space := range []int{1, 16, 4096, copying, 100000} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, peer, _ := pipe(t)
					var all []byte
					heads, ends := map[int]bool{}, map[int]bool{}
					for i, n := range sizes {
						f := frameOf(2, true, bytes.Repeat([]byte{byte(i)}, n))
						heads[len(all)+len(f)-n] = true
						all = append(all, f...)
						ends[len(all)] = true
					}
					go peer.Write(all)
					var got []byte
					buf := make([]byte, space)
					for len(got) < len(all) {
						n, err := c.Read(buf)
						if err != nil {
							t.Fatal(err)
						}
						for at := len(got) + 1; at < len(got)+n; at++ {
							if ends[at] {
								t.Fatalf("a Read of %d bytes from %d on goes beyond the frame that ends at %d", n, len(got), at)
							}
							if heads[at] && space < copying {
								t.Fatalf("a Read of %d bytes from %d on goes beyond the header that ends at %d", n, len(got), at)
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
}

func TestAReadUnderWayWhenTheGateShutsGivesNoData(t *testing.T) {
	for name, begun := range map[string]int{"between frames": 0, "within a header": 3, "within a frame": 8} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t)
				f := frameOf(1, true, []byte("too late"))
				if begun > 0 {
					go peer.Write(f[:begun])
					io.ReadFull(c, make([]byte, begun))
				}
				type result struct {
					n   int
					err error
				}
				done := make(chan result)
				go func() { n, err := c.Read(make([]byte, 100)); done <- result{n, err} }()
				synctest.Wait()
				c.Shut(ending)
				peer.Write(f[begun:])
				if got := <-done; got.n != 0 || got.err != errShut {
					t.Errorf("got %d, %v, want %v", got.n, got.err, errShut)
				}
			})
		})
	}
}

// A meter counts what passes to and from the connection below, and can fail.
type meter struct {
	net.Conn
	reads, writes atomic.Int32
	fail          error
}

func (m *meter) Read(p []byte) (int, error) {
	m.reads.Add(1)
	if m.fail != nil {
		return 0, m.fail
	}
	return m.Conn.Read(p)
}

func (m *meter) Write(p []byte) (int, error) {
	m.writes.Add(1)
	return m.Conn.Write(p)
}

func TestAStreamOfSmallFramesCostsFewReadsAndKeepsNoLargeBuffer(t *testing.T) {
	for name, beyond := range map[string]int{
		"that ends within the small buffer": 100,
		"that ends with the small buffer":   smallSize,
		"that ends with the large buffer":   smallSize + largeSize,
	} {
		t.Run(name, func(t *testing.T) {
			server, peer := tcp(t)
			m := &meter{Conn: server}
			c, _ := over(t, m, "", Options{})
			all := bytes.Repeat(frameOf(1, true, make([]byte, 14)), 8*largeSize/20)[:4*largeSize+beyond]
			if _, err := peer.Write(all); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(all))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, all) {
				t.Fatalf("the bytes changed, or %v", err)
			}
			if got, most := int(m.reads.Load()), len(all)/4096; got > most {
				t.Errorf("got %d reads, want at most the %d that a buffer of 4096 bytes takes", got, most)
			}
			if c.incoming.large != nil {
				t.Error("a large buffer is kept")
			}
		})
	}
}

func TestNoLargeBufferWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		all := frameOf(1, true, make([]byte, smallSize-8))
		go peer.Write(all)
		if _, err := io.ReadFull(c, make([]byte, len(all))); err != nil {
			t.Fatal(err)
		}
		if !c.incoming.more {
			t.Fatalf("a buffer of %d bytes was not filled by as many", smallSize)
		}
		go c.Read(make([]byte, 1))
		time.Sleep(time.Second)
		synctest.Wait()
		if c.incoming.large != nil {
			t.Error("a Read that waits holds a large buffer")
		}
		c.Close()
	})
}

// Whose deadline it is decides whether a peer has gone.
func TestOnlyADeadlineLeavesThePeerThere(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		gone bool
	}{
		"somebody's deadline":       {os.ErrDeadlineExceeded, false},
		"keep-alive":                {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, true},
		"a reset":                   {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true},
		"an end":                    {io.EOF, true},
		"a deadline within another": {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, peer := net.Pipe()
				defer peer.Close()
				m := &meter{Conn: server, fail: row.err}
				c, w := over(t, m, "", Options{})
				if _, err := c.Read(make([]byte, 1)); err != row.err {
					t.Errorf("got %v, want %v", err, row.err)
				}
				time.Sleep(goneDelay)
				synctest.Wait()
				left := w.hasLeft()
				if (len(left) == 1) != row.gone || row.gone && !(errors.Is(left[0], ErrBroken) && errors.Is(left[0], row.err)) {
					t.Errorf("got Left(%v), want gone: %v", left, row.gone)
				}
				c.Close()
			})
		})
	}
}

func TestAnEndWithinAMessageIsNoEndOfTheStream(t *testing.T) {
	whole, last := frameOf(1, true, []byte("data")), frameOf(0, true, []byte("data"))
	ping, first := frameOf(opPing, true, []byte("x")), unfinished(compressed(frameOf(1, true, []byte("data"))))
	for name, row := range map[string]struct {
		sent []byte
		want error
	}{
		"at the beginning":                             {nil, io.EOF},
		"between messages":                             {whole, io.EOF},
		"within a header":                              {whole[:1], io.ErrUnexpectedEOF},
		"within a long header":                         {frameOf(1, true, make([]byte, 300))[:3], io.ErrUnexpectedEOF},
		"within a frame":                               {whole[:8], io.ErrUnexpectedEOF},
		"behind a header":                              {whole[:6], io.ErrUnexpectedEOF},
		"between frames of a message":                  {unfinished(whole), io.ErrUnexpectedEOF},
		"the same, behind a ping":                      {join(unfinished(whole), ping), io.ErrUnexpectedEOF},
		"within the last frame of a message":           {join(unfinished(whole), last[:9]), io.ErrUnexpectedEOF},
		"behind the last frame of a message":           {join(unfinished(whole), frameOf(0, true, nil)), io.EOF},
		"within a compressed frame":                    {compressed(whole)[:8], errCut},
		"between frames of a compressed message":       {first, errCut},
		"within the last frame of a compressed one":    {join(first, last[:6]), errCut},
		"within a ping between frames of such a one":   {join(first, ping[:6]), errCut},
		"behind a compressed message":                  {compressed(whole), io.EOF},
		"within a frame behind a compressed message":   {join(compressed(whole), whole[:8]), io.ErrUnexpectedEOF},
		"within a ping behind a compressed message":    {join(compressed(whole), ping[:6]), io.ErrUnexpectedEOF},
		"within a close frame":                         {frameOf(opClose, true, []byte{3, 232})[:7], io.ErrUnexpectedEOF},
		"within a large payload that goes straight in": {frameOf(1, true, make([]byte, 20000))[:19000], io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t)
				go func() { peer.Write(row.sent); peer.Close() }()
				buf := make([]byte, 8192)
				n, err := 0, error(nil)
				for err == nil {
					var m int
					m, err = c.Read(buf)
					n += m
				}
				if n != len(row.sent) || err != row.want {
					t.Errorf("got %d bytes and %v, want %d and %v", n, err, len(row.sent), row.want)
				}
				if _, again := c.Read(buf); again != err {
					t.Errorf("then %v, want %v", again, err)
				}
			})
		})
	}
}

func TestAPeerThatHasGoneIsReportedOnce(t *testing.T) {
	data, closing := frameOf(1, true, []byte("data")), frameOf(8, true, []byte{3, 232})
	first := unfinished(compressed(data))
	rest := frameOf(0, true, []byte("rest"))
	for name, row := range map[string]struct {
		sent []byte
		ends bool
		want error
		code int
	}{
		"it ends between frames":                    {data, true, ErrBroken, 0},
		"it ends within a frame":                    {data[:8], true, ErrBroken, 0},
		"it ends within a header":                   {frameOf(1, true, make([]byte, 300))[:3], true, ErrBroken, 0},
		"it stays, between frames":                  {data, false, nil, 0},
		"it stays, within a frame":                  {data[:8], false, nil, 0},
		"a close frame":                             {closing, true, ErrPeerClosed, 1000},
		"a close frame without a code":              {frameOf(8, true, nil), false, ErrPeerClosed, noCode},
		"half a close frame":                        {closing[:7], true, ErrBroken, 0},
		"a close frame within a compressed message": {join(first, closing), false, ErrBroken, 0},
		"the same, further on":                      {join(first, unfinished(rest), closing), false, ErrBroken, 0},
		"a close frame behind a compressed message": {join(first, unfinished(rest), rest, closing), false,
			ErrPeerClosed, 1000},
		"a close frame within a plain message": {join(unfinished(data), closing), false, ErrPeerClosed, 1000},
		"a ping within a compressed message":   {join(first, frameOf(9, true, nil), rest), false, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, w := pipe(t)
				go func() {
					peer.Write(row.sent)
					if row.ends {
						peer.Close()
					}
				}()
				c.SetReadDeadline(time.Now().Add(time.Minute))
				io.Copy(io.Discard, c)
				c.Read(make([]byte, 1))
				time.Sleep(time.Second)
				synctest.Wait()
				left := w.hasLeft()
				if row.want == nil && len(left) != 0 || row.want != nil && (len(left) != 1 || !errors.Is(left[0], row.want)) {
					t.Errorf("got Left(%v), want %v", left, row.want)
				}
				if got := c.PeerCode(); got != row.code {
					t.Errorf("got code %d, want %d", got, row.code)
				}
			})
		})
	}
}

func TestABrokenConnectionThatTheLibraryClosesAtOnceIsReportedByTheClose(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(c *Conn, peer net.Conn)
		want error
	}{
		"after the Read": {func(c *Conn, peer net.Conn) {
			peer.Close()
			c.Read(make([]byte, 1))
			c.Close()
		}, ErrBroken},
		"during the Read": {func(c *Conn, _ net.Conn) {
			go c.Read(make([]byte, 1))
			synctest.Wait()
			c.Close()
		}, ErrClosed},
		"before the Read": {func(c *Conn, _ net.Conn) {
			c.Close()
			c.Read(make([]byte, 1))
		}, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, w := pipe(t)
				row.end(c, peer)
				synctest.Wait()
				if left := w.hasLeft(); len(left) != 1 || !errors.Is(left[0], row.want) || w.closings() != 1 {
					t.Errorf("got Left(%v), closed %d times, want %v and once", left, w.closings(), row.want)
				}
				time.Sleep(time.Second)
				if left := w.hasLeft(); len(left) != 1 {
					t.Errorf("then Left(%v)", left)
				}
			})
		})
	}
}

func TestABrokenConnectionIsNotReportedOnceThisSideHasEndedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, w := pipe(t)
		peer.Close()
		c.Read(make([]byte, 1))
		c.Shut(ending)
		time.Sleep(time.Second)
		c.Finish()
		if left := w.hasLeft(); len(left) > 0 {
			t.Errorf("got Left(%v), want none", left)
		}
	})
}

// An error that the kernel tells once must not get lost.
func TestADeadlineThatHasPassedCountsWhateverThereIsToRead(t *testing.T) {
	for name, connect := range map[string]func(t *testing.T) (server, peer net.Conn){
		"TCP itself": func(t *testing.T) (net.Conn, net.Conn) { return tcp(t) },
		"TCP of a listener": func(t *testing.T) (net.Conn, net.Conn) {
			server, peer := tcp(t)
			return &meter{Conn: server}, peer
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, peer := connect(t)
			c, _ := over(t, server, "", Options{})
			defer c.Close()
			all := bytes.Repeat(frameOf(1, true, make([]byte, smallSize-8)), 200)
			peer.Write(all)
			if _, err := io.ReadFull(c, make([]byte, smallSize)); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(past)
			n, err := io.Copy(io.Discard, c)
			if !isDeadline(err) || n > largeSize {
				t.Errorf("got %d bytes, %v, want a deadline behind what was in the buffer", n, err)
			}
		})
	}
}

func TestAnEmptyReadOfTheConnectionBelowIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		go peer.Write(nil)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("got %d, %v, want neither", n, err)
		}
	})
}

func TestHeardIsWhenBytesHaveLastCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		start := time.Now()
		if got := c.Heard(); !got.Equal(start) {
			t.Errorf("got %v, want %v", got, start)
		}
		data := frameOf(1, true, []byte("data"))
		for name, hear := range map[string]func(){
			"a Read": func() { io.ReadFull(c, make([]byte, len(data))) },
			"a Poke": func() { c.Poke(); io.ReadFull(c, make([]byte, len(data))) },
		} {
			time.Sleep(time.Minute)
			want := time.Now()
			go peer.Write(data)
			hear()
			time.Sleep(time.Minute)
			if got := c.Heard(); !got.Equal(want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
	})
}
