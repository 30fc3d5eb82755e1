package libraries_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The opcodes of RFC 6455 section 5.2.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// A closed is the close frame that a peer has read.
type closed struct {
	code   int // 0: it was empty
	reason string
}

func (c closed) Error() string { return fmt.Sprintf("closed with %d %q", c.code, c.reason) }

// A frame as it came.
type frame struct {
	final, compressed bool
	opcode            byte
	payload           []byte
}

// A peer is a client that parses frames by itself, so that no library hides what the server did.
type peer struct {
	net.Conn
	r       *bufio.Reader
	header  http.Header // of the response
	deflate bool        // was agreed on

	patience time.Duration

	mu      sync.Mutex // of writing
	history *flateHistory
}

// dial makes a handshake with these header lines, and returns the status if that is not 101.
func (w *world) dial(t *testing.T, deflate bool, header http.Header) (*peer, int) {
	t.Helper()
	conn, err := w.connect()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Conn: conn, r: bufio.NewReader(conn), patience: w.wait()}
	t.Cleanup(func() { conn.Close() })
	r, err := http.NewRequest(http.MethodGet, "http://"+w.host+cmp.Or(w.path, "/ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Origin": {"http://" + w.host},
	}
	if deflate {
		r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(p.r, r)
	if err != nil {
		t.Fatal(err)
	}
	p.header = resp.Header
	if resp.StatusCode != http.StatusSwitchingProtocols {
		io.Copy(io.Discard, resp.Body)
		return nil, resp.StatusCode
	}
	extensions := resp.Header.Get("Sec-Websocket-Extensions")
	p.deflate = strings.Contains(extensions, "permessage-deflate")
	p.history = &flateHistory{keeps: !strings.Contains(extensions, "server_no_context_takeover")}
	return p, resp.StatusCode
}

// mustDial connects with the token; empty: with none.
func (w *world) mustDial(t *testing.T, l library, token string) *peer {
	t.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	p, status := w.dial(t, l.deflate, header)
	if p == nil {
		t.Fatalf("the handshake got %d, want 101", status)
	}
	if p.deflate != l.deflate {
		t.Fatalf("compressed: got %v, want %v", p.deflate, l.deflate)
	}
	return p
}

// send writes a message of one frame.
func (p *peer) send(opcode byte, payload []byte) error { return p.put(p.build(opcode, payload)) }

// build returns a frame, masked with zeros.
func (p *peer) build(opcode byte, payload []byte) []byte {
	first := 0x80 | opcode
	if p.deflate && opcode < opClose {
		first |= 0x40
		payload = deflated(payload)
	}
	return append(clientHeader(first, len(payload)), payload...)
}

func (p *peer) put(frame []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.Write(frame)
	return err
}

// clientHeader is the header of a masked frame whose mask is zero.
func clientHeader(first byte, length int) []byte {
	h := []byte{first}
	switch {
	case length < 126:
		h = append(h, 0x80|byte(length))
	case length < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, 0x80|126), uint16(length))
	default:
		h = binary.BigEndian.AppendUint64(append(h, 0x80|127), uint64(length))
	}
	return append(h, 0, 0, 0, 0)
}

// frame reads one frame. io.EOF means that the stream has ended between two frames; any other error of io, within a
// frame.
func (p *peer) frame() (frame, error) {
	var h [2]byte
	if _, err := io.ReadFull(p.r, h[:]); err != nil {
		return frame{}, err
	}
	length := uint64(h[1] & 0x7f)
	switch length {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return frame{}, torn(err)
		}
		length = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return frame{}, torn(err)
		}
		length = binary.BigEndian.Uint64(b[:])
	}
	f := frame{final: h[0]&0x80 != 0, compressed: h[0]&0x40 != 0, opcode: h[0] & 0xf}
	if h[1]&0x80 != 0 || h[0]&0x30 != 0 || length > 2*anyLength || f.opcode > opPong {
		return frame{}, fmt.Errorf("not a server's frame: % x", h)
	}
	f.payload = make([]byte, length)
	if _, err := io.ReadFull(p.r, f.payload); err != nil {
		return frame{}, torn(err)
	}
	return f, nil
}

var errTorn = errors.New("the stream ended within a frame")

func torn(err error) error { return fmt.Errorf("%w: %w", errTorn, err) }

// message reads the next message, and answers pings and a close frame, which it returns as a closed.
func (p *peer) message() ([]byte, error) {
	var message []byte
	compressed := false
	for {
		f, err := p.frame()
		if err != nil {
			return nil, err
		}
		switch f.opcode {
		case opPing:
			if err := p.send(opPong, f.payload); err != nil {
				return nil, err
			}
			continue
		case opPong:
			continue
		case opClose:
			p.send(opClose, f.payload[:min(len(f.payload), 2)])
			return nil, closeOf(f)
		}
		compressed = compressed || f.compressed
		message = append(message, f.payload...)
		if !f.final {
			continue
		}
		if compressed {
			return p.history.inflate(message)
		}
		return message, nil
	}
}

func closeOf(f frame) closed {
	if len(f.payload) < 2 {
		return closed{}
	}
	return closed{int(binary.BigEndian.Uint16(f.payload)), string(f.payload[2:])}
}

// untilClosed reads to the end, and returns the close frame.
func (p *peer) untilClosed() error {
	for {
		if _, err := p.message(); err != nil {
			return err
		}
	}
}

// wantEnd reads until the connection is closed, and expects this close frame before that.
func (p *peer) wantEnd(t *testing.T, code int, reason string) {
	t.Helper()
	p.SetReadDeadline(time.Now().Add(p.patience))
	err := p.untilClosed()
	if want := (closed{code, reason}); err != want {
		t.Errorf("the peer sees %v, want %v", err, want)
	}
	if f, err := p.frame(); err == nil {
		t.Errorf("a frame with the opcode %d came after the close frame", f.opcode)
	}
}

// exchange sends a message and expects it back.
func (p *peer) exchange(t *testing.T, l library, message []byte) {
	t.Helper()
	p.SetDeadline(time.Now().Add(p.patience))
	defer p.SetDeadline(time.Time{})
	out := message
	if l.greeted {
		out = centrifugeCall(message)
	}
	sent := make(chan error, 1)
	go func() { sent <- p.send(opText, out) }()
	for {
		got, err := p.message()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if l.greeted {
			var ok bool
			if got, ok = centrifugeAnswer(got); !ok {
				continue
			}
		}
		if !bytes.Equal(got, message) {
			t.Fatalf("got %d bytes, want the %d that were sent", len(got), len(message))
		}
		break
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// ask sends a message to the application and returns its answer.
func (p *peer) ask(t *testing.T, l library, message string) string {
	t.Helper()
	p.SetDeadline(time.Now().Add(p.patience))
	defer p.SetDeadline(time.Time{})
	out := []byte(message)
	if l.greeted {
		out = centrifugeCall(out)
	}
	if err := p.send(opText, out); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := p.message()
		if err != nil {
			t.Fatalf("after %.10q: %v", message, err)
		}
		if !l.greeted {
			return string(got)
		}
		if answer, ok := centrifugeAnswer(got); ok {
			return string(answer)
		}
	}
}

// greet does what the library's clients do first.
func (p *peer) greet(t *testing.T, l library, token string) {
	t.Helper()
	if !l.greeted {
		return
	}
	connect := fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token)
	if err := p.send(opText, []byte(connect)); err != nil {
		t.Fatal(err)
	}
	got, err := p.message()
	if err != nil || !bytes.Contains(got, []byte(`"connect"`)) {
		t.Fatalf("the connect command got %q, %v", got, err)
	}
}

func centrifugeCall(message []byte) []byte {
	call, err := json.Marshal(map[string]any{"id": 2, "rpc": map[string]any{"data": string(message)}})
	if err != nil {
		panic(err)
	}
	return call
}

func centrifugeAnswer(message []byte) ([]byte, bool) {
	var reply struct {
		RPC *struct{ Data json.RawMessage }
	}
	if json.Unmarshal(message, &reply) != nil || reply.RPC == nil {
		return nil, false
	}
	return unquoted(reply.RPC.Data), true
}

func quoted(b []byte) []byte {
	text, err := json.Marshal(string(b))
	if err != nil {
		panic(err)
	}
	return text
}

func unquoted(b []byte) []byte {
	var text string
	json.Unmarshal(b, &text)
	return []byte(text)
}

var flaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err)
	}
	return w
}}

// deflated compresses a message (RFC 7692 section 7.2.1).
func deflated(p []byte) []byte {
	var b bytes.Buffer
	w := flaters.Get().(*flate.Writer)
	defer flaters.Put(w)
	w.Reset(&b)
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// A flateHistory inflates messages, with the window of the previous messages if the server keeps it.
type flateHistory struct {
	keeps  bool
	window []byte
}

func (h *flateHistory) inflate(p []byte) ([]byte, error) {
	in := io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	out, err := io.ReadAll(flate.NewReaderDict(in, h.window))
	if err != nil || !h.keeps {
		return out, err
	}
	h.window = append(h.window, out...)
	h.window = h.window[max(0, len(h.window)-32<<10):]
	return out, nil
}
