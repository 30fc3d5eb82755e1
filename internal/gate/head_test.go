package gate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	hints     = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
)

// withField is switching with a field as long as that.
func withField(size int) string {
	return strings.Replace(switching, "\r\n", "\r\nX: "+strings.Repeat("x", size)+"\r\n", 1)
}

func TestFramesBeginBehindAHeadThatSwitchesToThem(t *testing.T) {
	for name, row := range map[string]struct {
		head   string
		is     bool
		opened bool
	}{
		"101": {switching, true, true},
		"of another spelling": {strings.Replace(switching, "Upgrade: websocket", "upgrade:WebSocket  ", 1),
			true, true},
		"with its value folded":        {strings.ReplaceAll(switching, ": ", ":\r\n "), true, true},
		"folded with a tab":            {strings.ReplaceAll(switching, ": ", ":\r\n\t"), true, true},
		"with a line that is no field": {strings.ReplaceAll(switching, "Connection:", "Connection"), true, true},
		"without a reason":             {strings.ReplaceAll(switching, " Switching Protocols", ""), true, true},
		"with bare newlines":           {strings.ReplaceAll(switching, "\r", ""), true, true},
		"with a long field":            {withField(60000), true, true},
		"103 before it":                {hints + switching, true, true},
		"100 and 103 before it":        {"HTTP/1.1 100 Continue\r\n\r\n" + hints + switching, true, true},
		"101 to another protocol":      {strings.ReplaceAll(switching, "websocket", "h2c"), false, true},
		"101 to websocket and another": {strings.ReplaceAll(switching, "websocket", "websocket, h2c"), false, true},
		"101 to two protocols in turn": {strings.Replace(switching, "Upgrade", "Upgrade: h2c\r\nUpgrade", 1), false, true},
		"101 without Upgrade":          {"HTTP/1.1 101 Switching Protocols\r\n\r\n", false, true},
		"websocket within a value":     {"HTTP/1.1 101 Switching Protocols\r\nX: Upgrade: websocket\r\n\r\n", false, true},
		"200":                          {strings.ReplaceAll(switching, "101 Switching Protocols", "200 OK"), false, true},
		"103 and 401":                  {hints + "HTTP/1.1 401 Unauthorized\r\n\r\n", false, true},
		"not HTTP":                     {"GARBAGE\r\n\r\n", false, true},
		"no end within 64 KiB":         {withField(maxHead), false, true},
		"not complete":                 {switching[:len(switching)-1], false, false},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, peer := net.Pipe()
					defer peer.Close()
					c, w := over(t, server, "", Options{Handshake: true, Grace: time.Second})
					got := received(peer)
					data := frameOf(1, false, []byte("data"))
					sent := row.head
					if row.opened {
						sent += string(data)
					}
					for rest := []byte(sent); len(rest) > 0; {
						n, err := c.Write(rest[:min(size, len(rest))])
						if err != nil {
							t.Fatal(err)
						}
						rest = rest[n:]
					}
					if row.opened && !slices.Equal(w.opened, []bool{row.is}) || !row.opened && len(w.opened) > 0 {
						t.Errorf("in pieces of %d: got Opened(%v), want %v", size, w.opened, row.is)
					}
					c.Shut(ending)
					c.Finish()
					want := sent
					if row.is {
						want += string(goodbye)
					}
					if got := <-got; string(got) != want {
						t.Errorf("in pieces of %d: got %d bytes, want %d", size, len(got), len(want))
					}
					if _, err := c.Write(data); err != errShut {
						t.Errorf("then got %v, want %v", err, errShut)
					}
				})
			})
		}
	}
}

func TestAGateOutOfTheWayPassesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, peer := net.Pipe()
		c, w := over(t, server, "early", Options{Handshake: true})
		got := received(peer)
		sent := []byte("HTTP/1.1 200 OK\r\n\r\n\x88\x00\x81\x05not a frame")
		c.Write(sent)
		c.Write(sent)
		go func() { peer.Write([]byte("\x88\x80rubbish")); peer.Close() }()
		read, err := io.ReadAll(c)
		if want := "early\x88\x80rubbish"; string(read) != want || err != nil {
			t.Errorf("got %q, %v, want %q", read, err, want)
		}
		c.Close()
		if got, want := <-got, join(sent, sent); !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if c.Code() != 0 || c.PeerCode() != 0 || w.closings() != 1 {
			t.Errorf("got codes %d and %d, closed %d times", c.Code(), c.PeerCode(), w.closings())
		}
	})
}

// A client may send nothing before the 101; one that does is followed all the same.
func TestFramesThatComeBeforeTheHeadAreFollowed(t *testing.T) {
	data, closing := frameOf(1, true, []byte("data")), frameOf(8, true, []byte{3, 233})
	for name, row := range map[string]struct {
		early, read, later int // of the stream: with the handshake; read before the head; the rest comes behind it
	}{
		"nothing":                              {0, 0, 0},
		"with the handshake, unread":           {len(data), 0, 0},
		"half a frame with the handshake":      {8, 0, 0},
		"half a header, read":                  {1, 1, 0},
		"half a frame, read":                   {8, 8, 0},
		"a frame and a half, read in part":     {len(data) + 3, len(data) + 1, 0},
		"all with the handshake, read in part": {2*len(data) + len(closing), len(data) + 7, 0},
		"all with the handshake, read":         {2*len(data) + len(closing), 2*len(data) + len(closing), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := join(data, data, closing)
				server, peer := net.Pipe()
				c, w := over(t, server, string(all[:row.early]), Options{Handshake: true, Grace: time.Second})
				go io.Copy(io.Discard, peer)
				go func() { peer.Write(all[row.early:]); peer.Close() }()
				got := make([]byte, row.read)
				if _, err := io.ReadFull(c, got); err != nil {
					t.Fatal(err)
				}
				if c.PeerCode() != 0 || len(w.hasLeft()) > 0 {
					t.Errorf("before the head: got code %d and Left(%v), want neither", c.PeerCode(), w.hasLeft())
				}
				c.Write([]byte(switching))
				rest, err := io.ReadAll(c)
				if got := join(got, rest); !bytes.Equal(got, all) || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, all)
				}
				if left := w.hasLeft(); c.PeerCode() != 1001 || len(left) != 1 || left[0] != ErrPeerClosed {
					t.Errorf("got code %d and Left(%v), want 1001 and %v", c.PeerCode(), left, ErrPeerClosed)
				}
				c.Close()
			})
		})
	}
}

func TestAnEndBeforeTheHeadIsOutSaysNothing(t *testing.T) {
	for name, sent := range map[string]string{"nothing was written": "", "half of it was": switching[:20]} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, peer := net.Pipe()
				c, w := over(t, server, "", Options{Handshake: true, Grace: time.Second})
				got := received(peer)
				if sent != "" {
					c.Write([]byte(sent))
				}
				w.check = func() { c.Shut(ending) } // its time has come meanwhile
				if n, err := c.Write([]byte(switching)); n != 0 || err != errShut {
					t.Errorf("got %d, %v, want %v", n, err, errShut)
				}
				c.Finish()
				if got := <-got; string(got) != sent || w.closings() != 1 || len(w.opened) > 0 {
					t.Errorf("got %q, closed %d times, Opened(%v)", got, w.closings(), w.opened)
				}
			})
		})
	}
}

// gated is a handler whose inner one hijacks a connection with a gate in front.
type gated struct {
	http.ResponseWriter
	life Life
	gate chan *Conn
}

func (g gated) Unwrap() http.ResponseWriter { return g.ResponseWriter }

func (g gated) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(g.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c, err := New(conn, rw, g.life, Options{Handshake: true, Grace: time.Second})
	if err != nil {
		return nil, nil, err
	}
	g.gate <- c
	return c, c.ReadWriter(), nil
}

func TestASocketBehindAReverseProxyEndsByItsGate(t *testing.T) {
	echoed := make(chan error, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			echoed <- err
			return
		}
		defer conn.Close()
		conn.Write([]byte(switching))
		_, err = io.Copy(conn, rw)
		echoed <- err
	}))
	defer backend.Close()
	to, _ := url.Parse(backend.URL)
	proxy := httputil.NewSingleHostReverseProxy(to)
	w, gates := &witness{}, make(chan *Conn, 1)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(gated{rw, w, gates}, r)
	}))
	defer front.Close()

	peer, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	fmt.Fprintf(peer, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	r := bufio.NewReader(peer)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("got %v, %v, want 101", res, err)
	}
	data := frameOf(2, false, bytes.Repeat([]byte("echo"), 10000))
	for range 3 {
		go peer.Write(data)
		got := make([]byte, len(data))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the echo differs, or %v", err)
		}
	}
	c := <-gates
	if !slices.Equal(w.opened, []bool{true}) {
		t.Errorf("got Opened(%v), want true", w.opened)
	}
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { c.Shut(ending); c.Finish() })
	got := make([]byte, len(goodbye))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, goodbye) {
		t.Errorf("got %q, %v, want %q", got, err, goodbye)
	}
	peer.Write(frameOf(8, true, []byte{11, 184}))
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("then got %d, %v, want %v", n, err, io.EOF)
	}
	<-echoed // the proxy has closed the connection behind it
}
