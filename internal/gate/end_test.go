package gate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnceShutReadGivesNoDataAndFinishWaitsForTheCloseFrame(t *testing.T) {
	data, ping := frameOf(2, true, make([]byte, 700)), frameOf(9, true, []byte("ping"))
	closing, long := frameOf(8, true, []byte{3, 232}), frameOf(2, true, make([]byte, 100000))
	for name, row := range map[string]struct {
		before []byte // sent before the gate shuts
		read   int    // how many bytes of it are read before
		after  []byte
		code   int // 0: the peer does not answer
	}{
		"nothing was sent":               {nil, 0, closing, 1000},
		"frames wait unread":             {join(data, data), 0, closing, 1000},
		"a frame is half read":           {data, 300, closing, 1000},
		"a frame's header is read":       {data, 8, closing, 1000},
		"half a header is read":          {data, 1, closing, 1000},
		"the close frame is half read":   {closing, 6, nil, 1000},
		"the close frame is read":        {closing, 8, nil, 1000},
		"a close frame without a code":   {nil, 0, frameOf(8, true, nil), noCode},
		"more data comes":                {data, 300, join(data, ping, closing), 1000},
		"much data comes":                {data, 300, join(bytes.Repeat(data, 100), long, closing), 1000},
		"half a frame and then silence":  {data[:100], 50, nil, 0},
		"half a header and then silence": {data[:3], 0, nil, 0},
		"an endless frame": {nil, 0,
			[]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, w := pipe(t)
				got := received(peer)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					if len(row.before) > 0 {
						peer.Write(row.before)
					}
				}()
				if _, err := io.ReadFull(c, make([]byte, row.read)); err != nil {
					t.Fatal(err)
				}
				reader := make(chan error, 1)
				read := func() { _, err := c.Read(make([]byte, 1)); reader <- err }
				if row.read == len(row.before) {
					go read() // waits, and must be woken
					synctest.Wait()
				}
				start := time.Now()
				c.Shut(ending)
				if row.read < len(row.before) {
					go read()
				}
				go func() { <-sent; peer.Write(row.after) }()
				c.Finish()
				want := time.Duration(0)
				if row.code == 0 {
					want = time.Second
				}
				if waited := time.Since(start); waited != want || c.PeerCode() != row.code {
					t.Errorf("got code %d after %v, want %d after %v", c.PeerCode(), waited, row.code, want)
				}
				if err := <-reader; err != errShut {
					t.Errorf("Read: got %v, want %v", err, errShut)
				}
				if n, err := c.Read(make([]byte, 1)); n != 0 || err != errShut {
					t.Errorf("Read again: got %d, %v, want %v", n, err, errShut)
				}
				if got := <-got; !bytes.Equal(got, goodbye) {
					t.Errorf("the peer got %q, want %q", got, goodbye)
				}
				left := w.hasLeft()
				if row.read == len(closing) && row.after == nil {
					left = slices.DeleteFunc(left, func(err error) bool { return err == ErrPeerClosed }) // before the end
				}
				if len(left) > 0 || w.closings() != 1 {
					t.Errorf("got Left(%v), closed %d times, want none and once", left, w.closings())
				}
			})
		})
	}
}

func TestAPeerThatIsStuckInAWriteOfItsOwnIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		told := make(chan []byte)
		go func() {
			peer.Write(frameOf(2, true, make([]byte, 1<<20))) // nothing is read before that has gone
			got := make([]byte, len(goodbye))
			io.ReadFull(peer, got)
			peer.Write(frameOf(8, true, []byte{11, 184}))
			told <- got
		}()
		c.Shut(ending)
		go c.Finish()
		if got := <-told; !bytes.Equal(got, goodbye) {
			t.Errorf("got %q, want %q", got, goodbye)
		}
		<-c.Closed()
		if c.PeerCode() != 3000 {
			t.Errorf("got code %d of the peer, want 3000", c.PeerCode())
		}
	})
}

// On a busy machine, a peer goes on writing for a long time before it reads.
func TestAPeerThatSendsMuchBeforeItReadsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		told := make(chan []byte)
		frame := frameOf(2, true, make([]byte, 1<<20))
		go func() {
			for range 100 {
				peer.Write(frame)
			}
			got := make([]byte, len(goodbye))
			io.ReadFull(peer, got)
			peer.Write(frameOf(8, true, []byte{11, 184}))
			told <- got
		}()
		start := time.Now()
		c.Shut(ending)
		go c.Finish()
		if got := <-told; !bytes.Equal(got, goodbye) {
			t.Errorf("got %q, want %q", got, goodbye)
		}
		<-c.Closed()
		if took := time.Since(start); took < 400*time.Millisecond {
			t.Errorf("got 100 MB drained in %v, want a pause after each", took)
		}
		if c.PeerCode() != 3000 {
			t.Errorf("got code %d of the peer, want 3000", c.PeerCode())
		}
	})
}

// A timeless connection knows no deadlines.
type timeless struct{ net.Conn }

func (timeless) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func TestAConnectionWithoutDeadlinesIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, peer := net.Pipe()
		defer peer.Close()
		c, w := over(t, timeless{server}, "", Options{})
		go c.Read(make([]byte, 1))
		synctest.Wait()
		start := time.Now()
		c.Shut(ending)
		c.Finish()
		if took := time.Since(start); took != 0 || w.closings() != 1 {
			t.Errorf("got %v, closed %d times, want none, and once", took, w.closings())
		}
	})
}

func TestTheGraceCountsFromWhenTheCloseFrameWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		const late = 300 * time.Millisecond
		start := time.Now()
		c.Shut(ending)
		go c.Finish()
		time.Sleep(late)
		io.ReadFull(peer, make([]byte, len(goodbye)))
		<-c.Closed()
		if got, want := time.Since(start), late+time.Second; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestFinishReturnsToAllOnceTheConnectionIsClosed(t *testing.T) {
	for name, end := range map[string]func(c *Conn){
		"by Finish":      func(c *Conn) { c.Shut(ending) },
		"by the library": func(c *Conn) { c.Close(); c.Shut(ending) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, w := pipe(t)
				go io.Copy(io.Discard, peer)
				end(c)
				var all sync.WaitGroup
				for range 5 {
					all.Go(func() {
						c.Finish()
						if w.closings() != 1 {
							t.Error("Finish returned before Closed was called")
						}
					})
				}
				all.Wait()
				c.Finish()
			})
		})
	}
}

func TestCloseClosesAtOnceUnlessTheGateIsShut(t *testing.T) {
	t.Run("not shut", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer, w := pipe(t)
			got := received(peer)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			<-c.Closed()
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("again: got %v, want %v", err, net.ErrClosed)
			}
			if got := <-got; len(got) > 0 || w.closings() != 1 || !slices.Equal(w.hasLeft(), []error{ErrClosed}) {
				t.Errorf("the peer got %q; closed %d times, Left(%v)", got, w.closings(), w.hasLeft())
			}
		})
	})
	t.Run("shut", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer, w := pipe(t)
			got := received(peer)
			c.Shut(ending)
			if err := c.Close(); err != nil || w.closings() != 0 {
				t.Errorf("got %v, closed %d times, want neither", err, w.closings())
			}
			go c.Finish()
			synctest.Wait()
			if err := c.Close(); err != nil || w.closings() != 0 {
				t.Errorf("got %v, closed %d times, want neither", err, w.closings())
			}
			<-c.Closed()
			if got := <-got; !bytes.Equal(got, goodbye) || len(w.hasLeft()) > 0 {
				t.Errorf("the peer got %q, Left(%v)", got, w.hasLeft())
			}
		})
	})
}

func TestTheApplicationsDeadlinesCountUntilFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		for name, call := range map[string]func() error{
			"SetReadDeadline":          func() error { return c.SetReadDeadline(past) },
			"SetDeadline, for reading": func() error { return c.SetDeadline(past) },
			"none, and then one in a Read": func() error {
				time.AfterFunc(time.Second, func() { c.SetReadDeadline(past) })
				return c.SetDeadline(time.Time{})
			},
		} {
			if err := call(); err != nil {
				t.Error(err)
			}
			if _, err := c.Read(make([]byte, 1)); !isDeadline(err) {
				t.Errorf("%s: got %v, want a deadline", name, err)
			}
		}
		c.SetWriteDeadline(past)
		if _, err := c.Write(frameOf(1, false, nil)); !isDeadline(err) {
			t.Errorf("SetWriteDeadline: got %v, want a deadline", err)
		}
		got := received(peer)
		start := time.Now()
		c.Shut(ending)
		go c.Finish()
		for range 9 {
			time.Sleep(100 * time.Millisecond)
			for _, t := range []time.Time{past, {}, time.Now().Add(time.Hour)} {
				c.SetDeadline(t)
				c.SetReadDeadline(t)
				c.SetWriteDeadline(t)
			}
		}
		<-c.Closed()
		if took := time.Since(start); took != time.Second {
			t.Errorf("got %v, want 1s", took)
		}
		if got := <-got; !bytes.Equal(got, goodbye) {
			t.Errorf("got %q, want %q", got, goodbye)
		}
	})
}

func TestTheApplicationsDeadlinesDoNotKeepThePeersAnswerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		c.Shut(ending)
		go c.Finish()
		synctest.Wait()
		c.SetDeadline(past)
		time.Sleep(meanwhile / 2)
		c.SetDeadline(past)
		time.Sleep(100 * time.Millisecond)
		io.ReadFull(peer, make([]byte, len(goodbye)))
		time.Sleep(100 * time.Millisecond)
		peer.Write(frameOf(8, true, []byte{11, 184}))
		<-c.Closed()
		if got := c.PeerCode(); got != 3000 {
			t.Errorf("got code %d, want 3000", got)
		}
	})
}

func TestABrokenConnectionIsClosedWithoutAWord(t *testing.T) {
	data := frameOf(1, true, []byte("data"))
	for name, row := range map[string]struct {
		sent []byte
		ends bool
		find func(c *Conn)
	}{
		"a Read has found it": {nil, true, func(c *Conn) { c.Read(make([]byte, 1)) }},
		"a Poke has found it": {data, true, func(c *Conn) { c.Poke(); c.Poke() }},
		"a Write has found it": {nil, true, func(c *Conn) {
			synctest.Wait()
			c.Write(frameOf(1, false, nil))
		}},
		"a close frame within a compressed message": {join(unfinished(compressed(data)), frameOf(8, true, nil)), false,
			func(c *Conn) { io.Copy(io.Discard, c) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, peer := net.Pipe()
				defer peer.Close()
				m := &meter{Conn: server}
				c, w := over(t, m, "", Options{Grace: time.Second})
				go func() {
					if len(row.sent) > 0 { // a net.Pipe passes on an empty Write
						peer.Write(row.sent)
					}
					if row.ends {
						peer.Close()
					}
				}()
				row.find(c)
				writes := m.writes.Load()
				time.Sleep(goneDelay)
				synctest.Wait()
				if left := w.hasLeft(); len(left) != 1 || !errors.Is(left[0], ErrBroken) {
					t.Errorf("got Left(%v), want %v", left, ErrBroken)
				}
				start := time.Now()
				c.Shut(ending)
				c.Finish()
				if took, wrote := time.Since(start), m.writes.Load()-writes; wrote != 0 || took != 0 {
					t.Errorf("got %d writes and %v, want none", wrote, took)
				}
			})
		})
	}
}

// A tardy connection makes its first write only after the deadline has passed.
type tardy struct {
	net.Conn
	late bool
}

func (c *tardy) Write(p []byte) (int, error) {
	if !c.late {
		c.late = true
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Write(p)
}

func TestACloseFrameForWhichABusyMachineWasTooLateIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, peer := net.Pipe()
		c, _ := over(t, &tardy{Conn: server}, "", Options{Grace: time.Second})
		got := received(peer)
		c.Shut(ending)
		c.Finish()
		if got := <-got; !bytes.Equal(got, goodbye) {
			t.Errorf("got %q, want %q", got, goodbye)
		}
	})
}

// A lingerer is a connection that records how it was closed.
type lingerer struct {
	net.Conn
	how []string
}

func (l *lingerer) SetLinger(int) error { l.how = append(l.how, "reset"); return nil }
func (l *lingerer) Close() error        { l.how = append(l.how, "close"); return l.Conn.Close() }

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

func TestAPeerThatHasNotAnsweredInTimeIsReset(t *testing.T) {
	answer := frameOf(8, true, nil)
	for name, row := range map[string]struct {
		before func(c *Conn, peer net.Conn)
		shut   bool
		peer   func(peer net.Conn)
		want   string
	}{
		"not shut":      {want: "close"},
		"answered":      {shut: true, want: "close", peer: func(p net.Conn) { go p.Write(answer); io.Copy(io.Discard, p) }},
		"gone":          {shut: true, want: "close", peer: func(p net.Conn) { p.Close() }},
		"silent":        {shut: true, want: "reset close", peer: func(p net.Conn) { io.Copy(io.Discard, p) }},
		"does not read": {shut: true, want: "reset close", peer: func(net.Conn) {}},
		"floods": {shut: true, want: "reset close", peer: func(p net.Conn) {
			go io.Copy(io.Discard, p)
			io.Copy(p, endless{})
		}},
		"does not answer the library's close frame": {shut: true, want: "reset close",
			before: func(c *Conn, p net.Conn) { go c.Write(frameOf(8, false, nil)); synctest.Wait() },
			peer:   func(p net.Conn) { io.Copy(io.Discard, p) }},
		"closed first": {shut: true, want: "close",
			before: func(c *Conn, p net.Conn) { go p.Write(answer); io.ReadFull(c, make([]byte, len(answer))) },
			peer:   func(p net.Conn) { io.Copy(io.Discard, p) }},
	} {
		for over, wrap := range map[string]func(*lingerer) net.Conn{
			"TCP":               func(l *lingerer) net.Conn { return l },
			"TCP of a listener": func(l *lingerer) net.Conn { return counted{l, l} },
		} {
			t.Run(name+", "+over, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, peer := net.Pipe()
					defer peer.Close()
					beneath := &lingerer{Conn: server}
					conn := wrap(beneath)
					rw := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
					c, err := New(conn, rw, &witness{}, Options{Grace: time.Second})
					if err != nil {
						t.Fatal(err)
					}
					if row.before != nil {
						row.before(c, peer)
					}
					start := time.Now()
					if row.shut {
						go row.peer(peer)
						c.Shut(ending)
						c.Finish()
					} else {
						c.Close()
					}
					if took := time.Since(start); took > time.Second+slack {
						t.Errorf("took %v", took)
					}
					want := row.want
					if strings.Contains(over, "listener") {
						want = strings.Replace(want, "close", "counted close", 1)
					}
					if got := strings.Join(beneath.how, " "); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
					time.Sleep(time.Second) // for the endless peer to find out
				})
			})
		}
	}
}

// certificate is the certificate of net/http/httptest, for example.com.
func TestAThousandPeersSeeTheCloseFrameHoweverShortTheGrace(t *testing.T) {
	for name, grace := range map[string]time.Duration{"1 ns": 1, "the longest": math.MaxInt64} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			const n = 1000
			gates := make([]*Conn, n)
			told := make(chan bool, n)
			for i := range gates {
				peer, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				conn, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				gates[i], _ = over(t, conn, "", Options{Grace: grace})
				go gates[i].Read(make([]byte, 1))
				go func() {
					defer peer.Close()
					got := make([]byte, len(goodbye))
					_, err := io.ReadFull(peer, got)
					peer.Write(frameOf(8, true, []byte{11, 184}))
					told <- err == nil && bytes.Equal(got, goodbye)
				}()
			}
			var all sync.WaitGroup
			for _, c := range gates {
				all.Go(func() { c.Shut(ending); c.Finish() })
			}
			all.Wait()
			missed := 0
			for range n {
				if !<-told {
					missed++
				}
			}
			if missed > 0 {
				t.Errorf("got %d of %d that were not told, want none", missed, n)
			}
		})
	}
}

func TestPeersThatDoNotReadDelayNoOtherEnd(t *testing.T) {
	for name, stall := range map[string]func(c *Conn){
		"from the start": func(*Conn) {},
		"within a frame": func(c *Conn) { go c.Write(frameOf(2, false, make([]byte, 100))); synctest.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				for range 160 {
					c, _, _ := pipe(t)
					stall(c)
					c.Shut(ending)
					go c.Finish()
				}
				synctest.Wait()
				c, peer, _ := pipe(t)
				c.Shut(ending)
				go c.Finish()
				got := make([]byte, len(goodbye))
				if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, goodbye) {
					t.Errorf("got %x, %v, want %x", got, err, goodbye)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("got the close frame after %v, want it at once", took)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// The timer would wake a processor for nothing.
func TestABrokenConnectionThatIsFinishedLeavesNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer, _ := pipe(t)
		peer.Close()
		c.Read(make([]byte, 1))
		if c.leaving.timer == nil {
			t.Fatal("got no timer for a connection that is broken, want one")
		}
		c.Shut(ending)
		c.Finish()
		if c.leaving.timer.Stop() {
			t.Error("got a timer that was still set, want none")
		}
	})
}
