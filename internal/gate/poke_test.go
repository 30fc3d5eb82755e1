package gate

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPokeFindsOutWhatAPeerDoesThatNobodyReads(t *testing.T) {
	data, long := frameOf(1, true, []byte("data")), frameOf(1, true, make([]byte, 1000))
	closing, pong := frameOf(8, true, []byte{3, 233}), frameOf(opPong, true, nil)
	for name, row := range map[string]struct {
		sent   []byte
		ends   bool
		left   error
		code   int
		unread []byte
		full   bool
	}{
		"nothing":         {},
		"data":            {sent: data, unread: data},
		"an end":          {ends: true, left: ErrBroken},
		"data and an end": {sent: data, ends: true, left: ErrBroken, unread: data},
		"a close frame":   {sent: closing, left: ErrPeerClosed, code: 1001, unread: closing},
		"a close frame behind data": {sent: join(data, closing), ends: true, left: ErrPeerClosed, code: 1001,
			unread: join(data, closing)},
		"pongs":            {sent: bytes.Repeat(pong, 1000)},
		"pongs among data": {sent: join(pong, data, pong, pong, data, pong), unread: join(data, data)},
		"pongs within a message": {sent: join(unfinished(data), pong, frameOf(0, true, nil)),
			unread: join(unfinished(data), frameOf(0, true, nil))},
		"a pong that has a payload": {sent: frameOf(opPong, true, []byte("1")), unread: frameOf(opPong, true, []byte("1"))},
		"half a pong":               {sent: pong[:4], unread: pong[:4]},
		"more than it has room for": {sent: long, unread: long, full: true},
		"data and pongs and an end": {sent: join(data, pong, data, pong), ends: true, left: ErrBroken,
			unread: join(data, data)},
		"half a frame and then a gap": {sent: data[:7], unread: data[:7]},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer, w := pipe(t)
				wrote := make(chan struct{})
				go func() {
					peer.Write(row.sent)
					if row.ends {
						peer.Close()
					}
					close(wrote)
				}()
				looked := true
				for range 200 {
					looked = c.Poke()
				}
				time.Sleep(time.Second)
				left := w.hasLeft()
				if row.left == nil && len(left) > 0 || row.left != nil && (len(left) != 1 || !errors.Is(left[0], row.left)) {
					t.Errorf("got Left(%v), want %v", left, row.left)
				}
				if looked == row.full || c.PeerCode() != row.code {
					t.Errorf("got %v, and code %d, want %v, and %d", looked, c.PeerCode(), !row.full, row.code)
				}
				got := make([]byte, len(row.unread))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, row.unread) {
					t.Errorf("got %x, %v, want %x", got, err, row.unread)
				}
				<-wrote
				c.SetReadDeadline(time.Now().Add(time.Second))
				if n, err := c.Read(make([]byte, 1)); n > 0 || isDeadline(err) == row.ends {
					t.Errorf("then got %d, %v", n, err)
				}
			})
		})
	}
}

func TestPokeOverTCP(t *testing.T) {
	data, pong := frameOf(1, true, []byte("data")), frameOf(opPong, true, nil)
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"TCP itself":        func(conn net.Conn) net.Conn { return conn },
		"TCP of a listener": func(conn net.Conn) net.Conn { return &meter{Conn: conn} },
	} {
		t.Run(name, func(t *testing.T) {
			server, peer := tcp(t)
			c, w := over(t, wrap(server), "", Options{})
			defer c.Close()
			hear := func(what []byte) {
				before := c.Heard()
				peer.Write(what)
				for c.Heard().Equal(before) && len(w.hasLeft()) == 0 {
					if !c.Poke() {
						t.Fatal("there is no room")
					}
				}
			}
			c.SetReadDeadline(past) // of no concern to Poke
			for range 100 {
				hear(pong)
			}
			hear(data)
			hear(pong)
			hear(data)
			if _, err := c.Read(make([]byte, 1)); len(w.hasLeft()) > 0 || err != nil {
				t.Errorf("got Left(%v), and %v from a Read of what was read ahead", w.hasLeft(), err)
			}
			peer.Close()
			hear(nil)
			got, want := make([]byte, 2*len(data)-1), join(data, data)[1:]
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v, want %x", got, err, want)
			}
			if left := w.hasLeft(); len(left) != 1 || !errors.Is(left[0], ErrBroken) {
				t.Errorf("got Left(%v), want %v", left, ErrBroken)
			}
		})
	}
}

type onceBroken struct {
	net.Conn
	told bool
}

func (c *onceBroken) Read(p []byte) (int, error) {
	if !c.told {
		c.told = true
		return 0, syscall.ECONNRESET
	}
	return 0, io.EOF
}

func TestAReadReturnsTheErrorThatPokeHasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, peer := net.Pipe()
		defer peer.Close()
		c, _ := over(t, &onceBroken{Conn: server}, "", Options{})
		defer c.Close()
		c.Poke()
		c.Poke()
		if _, err := c.Read(make([]byte, 1)); err != syscall.ECONNRESET {
			t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
		}
	})
}

func TestPokeDropsAPongBehindWhatALibraryHasRead(t *testing.T) {
	server, peer := tcp(t)
	c, _ := over(t, server, "", Options{})
	defer c.Close()
	data := frameOf(1, true, []byte("data"))
	for range 3 {
		peer.Write(join(data, frameOf(opPong, true, nil)))
		got := make([]byte, len(data))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("got %x, %v, want %x", got, err, data)
		}
		c.Poke()
		if left := c.incoming.unread(); len(left) > 0 {
			t.Fatalf("got %x that is left, want nothing", left)
		}
	}
}

func TestPokeHasNoRoomWhereALibraryHasLeftMuchUnread(t *testing.T) {
	server, peer := tcp(t)
	c, _ := over(t, server, "", Options{})
	defer c.Close()
	all := frameOf(2, true, make([]byte, 2000))
	peer.Write(all)
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if c.Poke() {
		t.Error("got room, want none")
	}
	got := make([]byte, len(all)-10)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, all[10:]) {
		t.Errorf("the rest changed, or %v", err)
	}
}

func TestPokeLeavesAReaderAndItsDeadlineAlone(t *testing.T) {
	t.Run("a Read under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, _, _ := pipe(t)
			end := time.Now().Add(time.Minute)
			c.SetReadDeadline(end)
			go func() {
				for range 10 {
					time.Sleep(time.Second)
					c.Poke()
				}
			}()
			_, err := c.Read(make([]byte, 1))
			if !isDeadline(err) || !time.Now().Equal(end) {
				t.Errorf("got %v, %v before the deadline, want the deadline", err, time.Until(end))
			}
		})
	})
	t.Run("a deadline that was set before, or meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, _, _ := pipe(t)
			var meanwhile sync.WaitGroup
			meanwhile.Go(func() { c.Poke() })
			synctest.Wait()
			end := time.Now().Add(time.Minute)
			c.SetReadDeadline(end)
			meanwhile.Wait()
			c.Poke()
			_, err := c.Read(make([]byte, 1))
			if !isDeadline(err) || !time.Now().Equal(end) {
				t.Errorf("got %v, %v before the deadline, want the deadline", err, time.Until(end))
			}
		})
	})
}
