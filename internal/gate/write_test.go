package gate

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnceShutOnlyTheRestOfAFrameAndOneCloseFrameAreWritten(t *testing.T) {
	data, long := frameOf(1, false, []byte("data")), frameOf(2, false, make([]byte, 70000))
	ping, closing := frameOf(9, false, nil), frameOf(8, false, []byte{3, 232})
	for name, row := range map[string]struct {
		before, after []byte
		want          []byte
		code          int
	}{
		"nothing":                   {nil, nil, goodbye, 3000},
		"a data frame":              {nil, data, goodbye, 3000},
		"data before and after":     {data, join(long, data), join(data, goodbye), 3000},
		"ping and pong":             {data, join(ping, frameOf(10, false, nil)), join(data, goodbye), 3000},
		"the library's close frame": {data, closing, join(data, goodbye), 3000},
		"a continuation": {unfinished(data), frameOf(0, false, nil),
			join(unfinished(data), goodbye), 3000},
		"a long frame under way":             {long[:5000], join(long[5000:], data, closing), join(long, goodbye), 3000},
		"a frame that is held":               {long[:10], join(long[10:], data), goodbye, 3000},
		"the library has closed already":     {join(data, closing), data, join(data, closing), 1000},
		"its close frame has no code":        {frameOf(8, false, nil), data, frameOf(8, false, nil), noCode},
		"its close frame is followed by one": {join(closing, closing), closing, join(closing, closing), 1000},
	} {
		for _, size := range []int{1, 3, 1024, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, peer, w := pipe(t)
					got := received(peer)
					start := time.Now()
					for rest := row.before; len(rest) > 0; {
						n, err := c.Write(rest[:min(size, len(rest))])
						if err != nil {
							t.Fatal(err)
						}
						rest = rest[n:]
					}
					if !c.Shut(ending) || c.Shut(Ending{Code: 1001}) {
						t.Error("the first Shut does not count, or a later one does")
					}
					go c.Finish()
					synctest.Wait()
					for rest := row.after; len(rest) > 0; {
						n, err := c.Write(rest[:min(size, len(rest))])
						if err != nil {
							if err != errShut {
								t.Errorf("got %v, want %v", err, errShut)
							}
							break
						}
						rest = rest[n:]
					}
					<-c.Closed()
					if took := time.Since(start); took != time.Second || c.outgoing.held != nil {
						t.Errorf("got %v, and %v held, want 1s, and nothing", took, c.outgoing.held)
					}
					if got := <-got; !bytes.Equal(got, row.want) {
						t.Errorf("in pieces of %d: got %d bytes, ending in %q, want %d", size, len(got),
							got[max(0, len(got)-20):], len(row.want))
					}
					if got := c.Code(); got != row.code {
						t.Errorf("got code %d, want %d", got, row.code)
					}
					if _, err := c.Write(data); err != errShut {
						t.Errorf("then got %v, want %v", err, errShut)
					}
					if left := w.hasLeft(); len(left) > 1 || len(left) == 1 && left[0] != ErrClosed {
						t.Errorf("got Left(%v)", left)
					}
				})
			})
		}
	}
}

func TestABeginningOfAFrameIsHeldUntilItIsWholeOrLong(t *testing.T) {
	data := frameOf(1, false, []byte("data"))
	kilo := frameOf(2, false, make([]byte, 1024))
	long := frameOf(2, false, make([]byte, 70000))
	for name, row := range map[string]struct {
		pieces [][]byte
		want   int
	}{
		"a whole frame":             {[][]byte{data}, 1},
		"a frame in two":            {[][]byte{kilo[:1024], kilo[1024:]}, 1},
		"header and payload":        {[][]byte{long[:10], long[10:]}, 2}, // one on TCP
		"byte by byte":              {chunks(kilo, 1), 1},
		"two frames":                {[][]byte{data, data}, 2},
		"two frames and a half":     {[][]byte{join(data, data, data[:3]), data[3:]}, 2},
		"a half and two":            {[][]byte{data[:3], join(data[3:], data, data)}, 1},
		"longer than what is held":  {chunks(long, 1024), 1 + (len(long)-heldSize+1023)/1024},
		"a long frame in two parts": {[][]byte{long[:heldSize+1], long[heldSize+1:]}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			server, peer := tcp(t)
			m := &meter{Conn: server}
			c, _ := over(t, m, "", Options{})
			got := received(peer)
			for _, p := range row.pieces {
				if n, err := c.Write(p); n != len(p) || err != nil {
					t.Fatalf("got %d, %v, want %d", n, err, len(p))
				}
			}
			if got := int(m.writes.Load()); got != row.want {
				t.Errorf("got %d writes, want %d", got, row.want)
			}
			if c.outgoing.held != nil {
				t.Error("something is held")
			}
			c.Close()
			if got, want := <-got, join(row.pieces...); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d", len(got), len(want))
			}
		})
	}
}

func chunks(p []byte, size int) (all [][]byte) {
	for len(p) > 0 {
		n := min(size, len(p))
		all, p = append(all, p[:n]), p[n:]
	}
	return all
}

// A library that tries again after its deadline must not send half a frame twice.
func TestAWriteThatFailsTellsHowMuchHasPassed(t *testing.T) {
	data := frameOf(2, false, make([]byte, 1000))
	for name, row := range map[string]struct {
		held, takes int
		want        int
		again       bool
	}{
		"nothing was held, nothing passed": {0, 0, 0, true},
		"nothing was held, some passed":    {0, 300, 300, true},
		"what was held passed in part":     {100, 40, 0, false},
		"what was held passed, and more":   {100, 140, 40, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t)
				if row.held > 0 {
					c.Write(data[:row.held])
				}
				c.SetWriteDeadline(time.Now().Add(time.Second))
				go io.ReadFull(peer, make([]byte, row.takes))
				n, err := c.Write(data[row.held:])
				if n != row.want || !isDeadline(err) {
					t.Errorf("got %d, %v, want %d and a deadline", n, err, row.want)
				}
				c.SetWriteDeadline(time.Time{})
				go io.Copy(io.Discard, peer)
				if _, err := c.Write(data[row.held+n:]); (err == nil) != row.again {
					t.Errorf("then got %v, want success: %v", err, row.again)
				}
				c.Close()
			})
		})
	}
}

func TestAFrameUnderWayThatNeverEndsIsCutAtTheDeadline(t *testing.T) {
	long := frameOf(2, false, make([]byte, 70000))
	for name, row := range map[string]struct {
		before func(c *Conn, peer net.Conn)
		want   time.Duration
	}{
		"the library does not come back": {func(c *Conn, peer net.Conn) {
			go io.Copy(io.Discard, peer)
			c.Write(long[:5000])
		}, time.Second},
		"a Write is stuck": {func(c *Conn, _ net.Conn) {
			go c.Write(long)
			synctest.Wait()
		}, time.Second}, // nothing of it has passed, so the close frame is tried in what is left
		"a Write has failed, and the next one not": {func(c *Conn, peer net.Conn) {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			go io.ReadFull(peer, make([]byte, 100))
			n, _ := c.Write(long)
			c.SetWriteDeadline(time.Time{})
			go io.Copy(io.Discard, peer)
			c.Write(long[n:6000])
		}, time.Second},
		"the rest of it is stuck, and the peer goes": {func(c *Conn, peer net.Conn) {
			go io.ReadFull(peer, make([]byte, 6000))
			c.Write(long[:6000])
			time.AfterFunc(100*time.Millisecond, func() { c.Write(long[6000:]) })
			time.AfterFunc(200*time.Millisecond, func() { peer.Close() })
		}, 200 * time.Millisecond},
		"a Write has failed within the frame": {func(c *Conn, peer net.Conn) {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			go io.ReadFull(peer, make([]byte, 100))
			c.Write(long)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t)
				row.before(c, peer)
				start := time.Now()
				c.Shut(ending)
				c.Finish()
				if got := time.Since(start); got != row.want || c.Code() != 0 {
					t.Errorf("got %v and code %d, want %v and none", got, c.Code(), row.want)
				}
			})
		})
	}
}

func TestAPeerHasTheGraceWhereTheLibraryCloses(t *testing.T) {
	closing := frameOf(8, false, []byte{3, 232})
	for name, write := range map[string]func(c *Conn, peer net.Conn){
		"a peer that does not answer": func(c *Conn, peer net.Conn) {
			go io.Copy(io.Discard, peer)
			c.Write(join(frameOf(1, false, []byte("data")), closing))
		},
		"a peer that does not read": func(c *Conn, _ net.Conn) {
			go c.Write(closing)
		},
		"beside a Write that is stuck": func(c *Conn, _ net.Conn) {
			go c.Write(frameOf(1, false, []byte("data")))
			synctest.Wait()
			go c.Write(closing)
		},
		"a peer that never ends": func(c *Conn, peer net.Conn) {
			go io.Copy(io.Discard, peer)
			go io.Copy(peer, endless{})
			c.Write(closing)
		},
		"a deadline that the library sets then": func(c *Conn, peer net.Conn) {
			go io.Copy(io.Discard, peer)
			c.Write(closing)
			c.SetDeadline(time.Now().Add(time.Hour))
			c.SetDeadline(time.Time{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, _ := pipe(t)
				start := time.Now()
				write(c, peer)
				synctest.Wait()
				if _, err := io.Copy(io.Discard, c); !isDeadline(err) || time.Since(start) != time.Second {
					t.Errorf("Read ended after %v with %v, want a deadline after 1s", time.Since(start), err)
				}
				if _, err := c.Write(closing); !isDeadline(err) || time.Since(start) != time.Second {
					t.Errorf("Write ended after %v with %v, want a deadline after 1s", time.Since(start), err)
				}
				c.Close()
				time.Sleep(time.Second) // for the endless peer to find out
			})
		})
	}
}

// Endless is a payload that never ends, in pieces that leave time to pass.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return copy(p, frameOf(2, true, make([]byte, 100))), nil
}

func TestAPingGoesOutBetweenFramesAndNeverWaits(t *testing.T) {
	data, ping := frameOf(2, false, make([]byte, 6000)), []byte{0x89, 0}
	t.Run("at rest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer, _ := pipe(t)
			c.SetWriteDeadline(past) // as gorilla/websocket leaves it behind
			got := received(peer)
			for range 3 {
				c.Ping()
				time.Sleep(time.Minute)
			}
			if _, err := c.Write(data); !isDeadline(err) {
				t.Errorf("got %v, want the library's deadline", err)
			}
			c.Close()
			if got, want := <-got, bytes.Repeat(ping, 3); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	})
	t.Run("within a frame", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer, _ := pipe(t)
			got := received(peer)
			c.Write(data[:5000])
			c.Ping()
			synctest.Wait()
			c.Ping()
			synctest.Wait()
			c.Write(data[5000:])
			c.Close()
			if got, want := <-got, join(data, ping); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d", len(got), len(want))
			}
		})
	})
	t.Run("before a frame that is held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer, _ := pipe(t)
			got := received(peer)
			c.Write(data[:10])
			c.Ping()
			synctest.Wait()
			c.Write(data[10:])
			c.Close()
			if got, want := <-got, join(ping, data); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d", len(got), len(want))
			}
		})
	})
	t.Run("beside a Write that is stuck", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer, _ := pipe(t)
			go c.Write(data)
			synctest.Wait()
			for range 3 {
				c.Ping()
			}
			got := received(peer)
			synctest.Wait()
			c.Close()
			if got, want := <-got, join(data, ping); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d", len(got), len(want))
			}
		})
	})
	t.Run("not behind a close frame", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for name, end := range map[string]func(c *Conn){
				"of the library": func(c *Conn) { c.Write(frameOf(8, false, []byte{3, 232})) },
				"of the gate":    func(c *Conn) { c.Shut(ending); go c.Finish(); synctest.Wait() },
			} {
				c, peer, _ := pipe(t)
				got := received(peer)
				end(c)
				c.Ping()
				time.Sleep(2 * time.Second)
				c.Close()
				if got := <-got; bytes.Contains(got, ping) {
					t.Errorf("%s: got a ping in %x", name, got)
				}
			}
		})
	})
}
