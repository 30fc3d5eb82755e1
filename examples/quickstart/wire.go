package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync"
)

// This file lets the page show what a browser hides: the handshake of a WebSocket, and its close frames, as they went
// over the wire. An application does not need it.

// A wire remembers the connections whose request has a trace=… in its URL, the newest ones only.
type wire struct {
	mu     sync.Mutex
	traces map[string]*trace
	order  []string
}

func newWire() *wire { return &wire{traces: map[string]*trace{}} }

const maxTraces = 100

func (w *wire) remember(id string, t *trace) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.traces[id] == nil {
		w.order = append(w.order, id)
	}
	w.traces[id] = t // of a client that comes again, the last connection
	if len(w.order) > maxTraces {
		delete(w.traces, w.order[0])
		w.order = w.order[1:]
	}
}

// listen records what goes over the connections of a listener.
func (w *wire) listen(l net.Listener) net.Listener { return &wiretap{l, w} }

type wiretap struct {
	net.Listener
	wire *wire
}

func (l *wiretap) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tappedConn{Conn: conn, wire: l.wire, trace: &trace{}}, nil
}

// A tappedConn shows its trace what is read and written.
type tappedConn struct {
	net.Conn
	wire  *wire
	trace *trace
}

// NetConn returns the connection below, to which a server may have something to say.
func (c *tappedConn) NetConn() net.Conn { return c.Conn }

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if id := c.trace.read(p[:n]); id != "" {
		c.wire.remember(id, c.trace)
	}
	return n, err
}

func (c *tappedConn) Write(p []byte) (int, error) {
	c.trace.written(p) // before it is: whoever reads it may ask for it at once
	return c.Conn.Write(p)
}

// A trace is what went over one connection. Browsers use a connection of its own for each WebSocket, so that the first
// request is the handshake.
type trace struct {
	mu      sync.Mutex
	in, out direction
}

var traceID = regexp.MustCompile(`^GET [^ ]*[?&]trace=([0-9a-f]{32})[& ]`)

// read returns the ID of the trace when the head of the request is complete.
func (t *trace) read(p []byte) (id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.in.add(p) {
		return ""
	}
	if found := traceID.FindSubmatch(t.in.head); found != nil {
		return string(found[1])
	}
	return ""
}

func (t *trace) written(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.add(p)
}

// A direction is what went one way: a head, to its empty line, and then frames, of which only close frames are kept.
type direction struct {
	head     []byte
	complete bool
	frame    []byte // the beginning of a frame, or all of a close frame
	skip     uint64 // what is still to come of another frame
	closing  []byte
}

const maxHead = 64 << 10

// add reports whether the head has become complete.
func (d *direction) add(p []byte) (completed bool) {
	if !d.complete {
		if len(d.head) > maxHead {
			return false
		}
		d.head = append(d.head, p...)
		end := bytes.Index(d.head, []byte("\r\n\r\n"))
		if end < 0 {
			return false
		}
		p = bytes.Clone(d.head[end+4:])
		d.head = d.head[:end+4]
		d.complete, completed = true, true
	}
	for len(p) > 0 && d.closing == nil {
		p = d.addFrame(p)
	}
	return completed
}

// addFrame takes some bytes of frames (RFC 6455 section 5.2) and returns the rest.
func (d *direction) addFrame(p []byte) []byte {
	if d.skip > 0 {
		n := min(d.skip, uint64(len(p)))
		d.skip -= n
		return p[n:]
	}
	d.frame = append(d.frame, p[0])
	header, payload := frameSize(d.frame)
	const closing, most = 0x88, 125 // FIN and the opcode; section 5.5
	switch size := uint64(len(d.frame)); {
	case size < header:
	case d.frame[0] != closing || d.frame[1]&0x7f > most:
		d.skip, d.frame = payload, d.frame[:0]
	case size == header+payload:
		d.closing, d.frame = d.frame, nil
	}
	return p[1:]
}

// frameSize returns how long a frame is, as far as its beginning says that.
func frameSize(frame []byte) (header, payload uint64) {
	if len(frame) < 2 {
		return 2, 0
	}
	header, payload = 2, uint64(frame[1]&0x7f)
	switch payload {
	case 126:
		header += 2
	case 127:
		header += 8
	}
	extended := header
	if frame[1]&0x80 != 0 {
		header += 4 // the key of the mask
	}
	switch {
	case uint64(len(frame)) < header:
	case extended == 4:
		payload = uint64(binary.BigEndian.Uint16(frame[2:]))
	case extended == 10:
		payload = binary.BigEndian.Uint64(frame[2:])
	}
	return header, payload
}

// ServeHTTP tells the page about the connection that it has named. The page could not read the token in its cookie, nor
// the cookies of other programs of this host, which browsers send along; it does not learn them here.
func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	t := w.traces[r.PathValue("id")]
	w.mu.Unlock()
	if t == nil {
		http.NotFound(rw, r)
		return
	}
	t.mu.Lock()
	answer := map[string]string{
		"request": hideTokens(t.in.head), "answer": hideTokens(t.out.head),
		"server": hex.EncodeToString(t.out.closing), "client": hex.EncodeToString(t.in.closing),
	}
	t.mu.Unlock()
	rw.Header().Set("Cache-Control", "no-store")
	writeJSON(rw, answer)
}

var (
	tokens  = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`)
	tickets = regexp.MustCompile(`\bticket=[\w-]+`)
	cookies = regexp.MustCompile(`(?mi)^cookie:.*$`)
	value   = regexp.MustCompile(`=[^;‹\s]+`)
)

// hideTokens leaves out tokens, tickets, and the values of cookies.
func hideTokens(head []byte) string {
	head = tokens.ReplaceAllFunc(head, func(token []byte) []byte {
		return fmt.Appendf(nil, "‹token, %d characters›", len(token))
	})
	head = tickets.ReplaceAllFunc(head, hideValue)
	return string(cookies.ReplaceAllFunc(head, func(line []byte) []byte { return value.ReplaceAllFunc(line, hideValue) }))
}

func hideValue(pair []byte) []byte {
	name, secret, _ := bytes.Cut(pair, []byte("="))
	return fmt.Appendf(nil, "%s=‹%d characters›", name, len(secret))
}
