package gate

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	return &tls.Config{Certificates: srv.TLS.Certificates}
}

func TestOverTLSAnEndIsTheSame(t *testing.T) {
	config := certificate(t)
	const grace = 150 * time.Millisecond
	dial := func(t *testing.T) (c *Conn, w *witness, peer *tls.Conn) {
		server, client := tcp(t)
		peer = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		conn := tls.Server(server, config)
		go peer.Handshake()
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		c, w = over(t, conn, "", Options{Grace: grace})
		return c, w, peer
	}
	bounded := func(t *testing.T, f func()) {
		t.Helper()
		start := time.Now()
		f()
		if took := time.Since(start); took > grace+2*time.Second { // 5 s is what close_notify alone would take
			t.Errorf("took %v, want %v or little more", took, grace)
		}
	}
	fill := func(c *Conn) { // until the peer takes no more
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		go c.Write(frameOf(2, false, make([]byte, 32<<20)))
		time.Sleep(100 * time.Millisecond)
	}
	t.Run("a peer that answers", func(t *testing.T) {
		c, _, peer := dial(t)
		go c.Read(make([]byte, 1)) // is woken, and TLS survives that
		got := received(peer)
		go peer.Write(join(bytes.Repeat(frameOf(2, true, make([]byte, 1000)), 100), frameOf(8, true, []byte{11, 184})))
		c.Shut(ending)
		c.Finish()
		if got := <-got; !bytes.Equal(got, goodbye) || c.PeerCode() != 3000 {
			t.Errorf("got %q, and code %d, want %q, and 3000", got, c.PeerCode(), goodbye)
		}
	})
	t.Run("a peer that does not read", func(t *testing.T) {
		c, _, _ := dial(t)
		fill(c)
		bounded(t, func() { c.Shut(ending); c.Finish() })
	})
	t.Run("the library closes beside a peer that does not read", func(t *testing.T) {
		c, _, _ := dial(t)
		fill(c)
		bounded(t, func() { c.Close() })
	})
	t.Run("the library closes behind a Write that has failed", func(t *testing.T) {
		c, _, _ := dial(t)
		fill(c)
		time.Sleep(200 * time.Millisecond)
		bounded(t, func() { c.Close() })
	})
	t.Run("an end without close_notify, within a message", func(t *testing.T) {
		c, _, peer := dial(t)
		go func() { peer.Write(frameOf(1, true, make([]byte, 500))[:300]); peer.NetConn().Close() }()
		if _, err := io.Copy(io.Discard, c); err != io.ErrUnexpectedEOF {
			t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
		}
	})
	t.Run("Poke", func(t *testing.T) {
		c, _, peer := dial(t)
		data := frameOf(1, true, []byte("data"))
		for range 5 {
			c.Poke()
		}
		for range 5 {
			go peer.Write(data)
			for c.Heard().Equal(c.opened) {
				c.Poke()
			}
			got := make([]byte, len(data))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %x, %v, want %x", got, err, data)
			}
		}
	})
}

func TestACloseOverTLSTakesNoLongerThanTheGrace(t *testing.T) {
	config := certificate(t)
	config.SessionTicketsDisabled = true // nobody reads them
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		go tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake()
		conn := tls.Server(server, config)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		c, _ := over(t, conn, "", Options{Grace: time.Second})
		start := time.Now()
		c.Close()
		if took := time.Since(start); took != time.Second {
			t.Errorf("got %v, want 1s", took)
		}
	})
}
