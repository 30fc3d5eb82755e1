package differential_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	xnet "golang.org/x/net/websocket"

	"github.com/wsauth/wsauth/internal/gate"
)

// A side is the server's side of a WebSocket, as a library makes it: it writes messages, then reads until an error.
type side func(w http.ResponseWriter, r *http.Request, out [][]byte, read func(message []byte)) error

var sides = map[string]side{
	"coder": func(w http.ResponseWriter, r *http.Request, out [][]byte, read func([]byte)) error {
		conn, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: coder.CompressionNoContextTakeover})
		if err != nil {
			return err
		}
		defer conn.CloseNow()
		for _, message := range out {
			if err := conn.Write(r.Context(), coder.MessageBinary, message); err != nil {
				return err
			}
		}
		for {
			_, message, err := conn.Read(r.Context())
			if err != nil {
				return err
			}
			read(message)
		}
	},
	"gorilla": func(w http.ResponseWriter, r *http.Request, out [][]byte, read func([]byte)) error {
		upgrader := gorilla.Upgrader{EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, message := range out {
			if err := conn.WriteMessage(gorilla.BinaryMessage, message); err != nil {
				return err
			}
		}
		for {
			_, message, err := conn.ReadMessage()
			if err != nil {
				return err
			}
			read(message)
		}
	},
	"gobwas": func(w http.ResponseWriter, r *http.Request, out [][]byte, read func([]byte)) error {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, message := range out {
			if err := wsutil.WriteServerMessage(conn, ws.OpBinary, message); err != nil {
				return err
			}
		}
		for {
			message, _, err := wsutil.ReadClientData(conn)
			if err != nil {
				return err
			}
			read(message)
		}
	},
	"x/net": func(w http.ResponseWriter, r *http.Request, out [][]byte, read func([]byte)) (err error) {
		serve := func(conn *xnet.Conn) {
			for _, message := range out {
				if err = xnet.Message.Send(conn, message); err != nil {
					return
				}
			}
			for {
				var message []byte
				if err = xnet.Message.Receive(conn, &message); err != nil {
					return
				}
				read(message)
			}
		}
		xnet.Server{Handler: serve}.ServeHTTP(w, r)
		return err
	},
}

// An outcome is what became of a stream.
type outcome struct {
	read  [][]byte // by the library
	err   string   // of its last Read
	wrote []byte   // by the library, as its peer has received it
}

// through has a library write messages and read a stream, which comes in pieces and then ends.
func through(serve side, gated bool, out [][]byte, stream []byte, seed uint64) (o outcome) {
	in, peer := net.Pipe()
	written, towards := net.Pipe()
	server := twoPipes{in, towards}
	defer server.Close()
	received := make(chan []byte)
	go func() { all, _ := io.ReadAll(written); received <- all }()

	r := httptest.NewRequest(http.MethodGet, "http://server/ws", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Origin": {"http://server"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Extensions": {"permessage-deflate"},
	}
	hijacker := &pipeWriter{header: http.Header{}, conn: server}
	var w http.ResponseWriter = hijacker
	if gated {
		w = gate.NewWriter(hijacker, r, unowned{}, gate.Options{Grace: time.Second})
	}
	done := make(chan error, 1)
	go func() {
		done <- serve(w, r, out, func(message []byte) { o.read = append(o.read, bytes.Clone(message)) })
		server.Close()
	}()
	random := rand.New(rand.NewPCG(seed, 0))
	for len(stream) > 0 {
		n := min(len(stream), 1+random.IntN(1<<random.IntN(12)))
		if _, err := peer.Write(stream[:n]); err != nil {
			break
		}
		stream = stream[n:]
	}
	peer.Close() // it still reads
	if err := <-done; err != nil {
		o.err = err.Error()
	}
	o.wrote = <-received
	return o
}

// twoPipes is a connection whose peer can end its own side alone, as with TCP.
type twoPipes struct{ in, out net.Conn }

func (c twoPipes) Read(p []byte) (int, error)         { return c.in.Read(p) }
func (c twoPipes) Write(p []byte) (int, error)        { return c.out.Write(p) }
func (c twoPipes) Close() error                       { c.in.Close(); return c.out.Close() }
func (c twoPipes) LocalAddr() net.Addr                { return c.in.LocalAddr() }
func (c twoPipes) RemoteAddr() net.Addr               { return c.in.RemoteAddr() }
func (c twoPipes) SetReadDeadline(t time.Time) error  { return c.in.SetReadDeadline(t) }
func (c twoPipes) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }
func (c twoPipes) SetDeadline(t time.Time) error {
	c.in.SetReadDeadline(t)
	return c.out.SetWriteDeadline(t)
}

type unowned struct{}

func (unowned) TakenOver(*gate.Conn) {}
func (unowned) Opened(bool)          {}
func (unowned) Check()               {}
func (unowned) Left(error)           {}
func (unowned) Closed()              {}

// A pipeWriter hands its connection over. The response of a library that does not take it over first goes nowhere.
type pipeWriter struct {
	header http.Header
	conn   net.Conn
}

func (w *pipeWriter) Header() http.Header         { return w.header }
func (w *pipeWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *pipeWriter) WriteHeader(int)             {}
func (w *pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// framed is one masked frame, with a mask of zeros.
func framed(first byte, payload []byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	default:
		f = append(f, 0x80|126, byte(n>>8), byte(n))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

// Without the gate and with it a library reads the same messages and ends with the same error, and writes the same
// bytes. The differences: an end within a message is an error, where coder/websocket hands on what has come; and a close
// frame within a compressed message is the end, where coder/websocket panics.
func FuzzALibraryDoesWithTheGateWhatItDoesWithout(f *testing.F) {
	data := framed(0x82, []byte("data"))
	for _, stream := range [][]byte{
		data, slices.Concat(data, data, framed(0x88, []byte{3, 232})), slices.Concat(data, framed(0x89, []byte("ping")), data),
		slices.Concat(framed(0x02, []byte("da")), framed(0x89, nil), framed(0x80, []byte("ta"))), framed(0x82, make([]byte, 5000)),
		slices.Concat(data, framed(0x82, make([]byte, 300))[:100]), framed(0x02, []byte("begun")), {0x82}, {0xff, 0xff}, framed(0x88, nil),
		framed(0x83, []byte("reserved")), {0x82, 0x01, 'x'}, framed(0xc2, []byte{0x4a, 0x49, 0x2c, 0x49, 0x04, 0x00}), framed(0x09, nil),
	} {
		f.Add(stream, uint64(1), []byte("out"))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, out []byte) {
		if closesWithinCompressed(stream) {
			return
		}
		for name, serve := range sides {
			messages := [][]byte{out, bytes.Repeat(out, 20)}
			plain := through(serve, false, messages, stream, seed)
			gated := through(serve, true, messages, stream, seed)
			if fault := differ(plain, gated, stream); fault != "" {
				t.Errorf("%s: %s\nplain: %q, %s\ngated: %q, %s", name, fault, plain.read, plain.err, gated.read, gated.err)
			}
		}
	})
}

func differ(plain, gated outcome, stream []byte) string {
	if endsWithin(stream) {
		if gated.err == "" {
			return "no error for an end within a message"
		}
		if len(plain.read) == len(gated.read)+1 { // the beginning of the message was handed on as a whole one
			plain.read = plain.read[:len(gated.read)]
		}
	} else if plain.err != gated.err {
		return "another error"
	}
	if !slices.EqualFunc(plain.read, gated.read, bytes.Equal) {
		return "other messages"
	}
	_, before, _ := bytes.Cut(plain.wrote, []byte("\r\n\r\n"))
	_, behind, _ := bytes.Cut(gated.wrote, []byte("\r\n\r\n"))
	if !bytes.HasPrefix(before, behind) && !bytes.HasPrefix(behind, before) {
		return fmt.Sprintf("wrote %x, and with the gate %x", before, behind)
	}
	return ""
}

// frames calls visit with the first byte of each frame of a stream, and returns whether it ends within one.
func frames(stream []byte, visit func(first byte)) (within bool) {
	for len(stream) > 0 {
		if len(stream) < 2 {
			return true
		}
		size, length := 2, int(stream[1]&0x7f)
		switch {
		case length == 126 && len(stream) >= 4:
			size, length = 4, int(stream[2])<<8|int(stream[3])
		case length >= 126:
			return true // of no length that a fuzzer's stream has
		}
		if stream[1]&0x80 != 0 {
			size += 4
		}
		visit(stream[0])
		if len(stream) < size+length {
			return true
		}
		stream = stream[size+length:]
	}
	return false
}

func endsWithin(stream []byte) bool {
	open := false
	within := frames(stream, func(first byte) {
		if first&0xf < 8 {
			open = first&0x80 == 0
		}
	})
	return within || open
}

func closesWithinCompressed(stream []byte) (found bool) {
	open, compressed := false, false
	frames(stream, func(first byte) {
		switch opcode := first & 0xf; {
		case opcode < 8:
			compressed = first&0x40 != 0 || open && compressed
			open = first&0x80 == 0
		case opcode == 8:
			found = found || open && compressed
		}
	})
	return found
}
