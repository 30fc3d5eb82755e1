package gate

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net"
	"net/http"
)

// An Owner is a Life that is told the gate of its connection.
type Owner interface {
	Life
	// TakenOver is called when the handler has taken the connection over, before Opened.
	TakenOver(*Conn)
}

// A Writer is the ResponseWriter of a handler that may take the connection over. It puts a gate in front of a hijacked
// connection.
//
// It holds a 101 back until the Hijack and writes it itself. An outer ResponseWriter may buffer the response, to
// compress it or to write it when the handler returns, and after the Hijack it would never write it.
type Writer struct {
	http.ResponseWriter
	request *http.Request
	owner   Owner
	opts    Options

	header    http.Header // w's own, from OwnHeader until a response is passed on; nil: w uses the outer one
	switching bool        // a 101 is being held back
	gate      *Conn       // nil: not taken over
	err       error       // of a Hijack that failed
}

// NewWriter returns a Writer for the response to r.
func NewWriter(w http.ResponseWriter, r *http.Request, owner Owner, opts Options) *Writer {
	return &Writer{ResponseWriter: w, request: r, owner: owner, opts: opts}
}

// OwnHeader gives w a header of its own, which is passed on with any response except a 101 that w writes itself.
// Otherwise net/http would keep the fields of that 101 for as long as the handler runs.
func (w *Writer) OwnHeader() {
	w.header = http.Header{}
	maps.Copy(w.header, w.ResponseWriter.Header())
}

// Header implements [http.ResponseWriter].
func (w *Writer) Header() http.Header {
	if w.header != nil {
		return w.header
	}
	return w.ResponseWriter.Header()
}

// passHeader replaces the outer header with w's own.
func (w *Writer) passHeader() {
	if w.header == nil {
		return
	}
	outer := w.ResponseWriter.Header()
	clear(outer)
	maps.Copy(outer, w.header)
	w.header = nil
}

// addOuterHeader adds to the own header what the Hijack of an outer ResponseWriter has added to the outer one, such as
// the cookie of a session that is saved there.
func (w *Writer) addOuterHeader() {
	if w.header == nil {
		return
	}
	for name, values := range w.ResponseWriter.Header() {
		if len(values) > len(w.header[name]) {
			w.header[name] = values
		}
	}
}

// Taken reports whether the connection was taken over, and is gated.
func (w *Writer) Taken() bool { return w.gate != nil }

// Failed reports whether a Hijack has failed.
func (w *Writer) Failed() bool { return w.err != nil || !CanHijack(w.ResponseWriter) }

// IfHijacker returns w. If the connection cannot be taken over, the result has only the methods of a ResponseWriter: a
// library that looks for Hijack then answers with 501.
func (w *Writer) IfHijacker() http.ResponseWriter {
	if CanHijack(w.ResponseWriter) {
		return w
	}
	return onlyWriter{w}
}

type onlyWriter struct{ w *Writer }

func (o onlyWriter) Header() http.Header         { return o.w.Header() }
func (o onlyWriter) Write(p []byte) (int, error) { return o.w.Write(p) }
func (o onlyWriter) WriteHeader(status int)      { o.w.WriteHeader(status) }

// Unwrap returns the outer ResponseWriter, for [http.ResponseController].
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader passes a status on, except 101.
func (w *Writer) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols && w.request.ProtoMajor == 1 {
		w.switching = true
		return
	}
	if w.switching {
		w.forgetSwitching()
	}
	if w.request.ProtoMajor > 1 { // RFC 9113 section 8.2.2 forbids them, and peers drop the whole response
		w.Header().Del("Connection")
		w.Header().Del("Upgrade")
	}
	w.passHeader()
	w.ResponseWriter.WriteHeader(status)
}

// forgetSwitching removes from the header what an abandoned handshake has put there.
func (w *Writer) forgetSwitching() {
	w.switching = false
	for _, name := range []string{
		"Connection", "Upgrade", "Sec-Websocket-Accept", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol",
	} {
		w.Header().Del(name)
	}
}

// Write passes the body of a response on.
func (w *Writer) Write(p []byte) (int, error) {
	w.Release()
	return w.ResponseWriter.Write(p)
}

// Flush passes on what was written, if the outer ResponseWriter can do that.
func (w *Writer) Flush() { w.FlushError() }

// FlushError is Flush, and returns why it fails: a handler that ignores the end of its context has no other sign, until
// the next write, that its connection is lost.
func (w *Writer) FlushError() error {
	w.Release()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Release sends a 101 that was held back and that no Hijack follows: what protocol it switches to is up to the handler.
func (w *Writer) Release() {
	if w.gate != nil {
		return
	}
	w.passHeader()
	if w.switching && w.err == nil {
		w.switching = false
		w.ResponseWriter.WriteHeader(http.StatusSwitchingProtocols)
	}
}

// Hijack takes the connection over, and puts a gate in front of it.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		w.err = err
		return nil, nil, err
	}
	opts := w.opts
	opts.Handshake = !w.switching
	if w.switching {
		w.addOuterHeader()
		err = writeSwitching(conn, w.Header())
	}
	if err == nil {
		w.gate, err = New(conn, rw, w.owner, opts)
	}
	if err != nil {
		w.err = err
		conn.Close()
		return nil, nil, err
	}
	w.owner.TakenOver(w.gate)
	if w.switching {
		w.owner.Opened(true)
	}
	return w.gate, w.gate.ReadWriter(), nil
}

// writeSwitching writes a 101 with the header as it is, including what outer middleware has put there. It leaves out
// the fields that say how a body is encoded: there is no body.
func writeSwitching(conn net.Conn, header http.Header) error {
	w := bufio.NewWriterSize(conn, 512)
	w.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	header.WriteSubset(w, map[string]bool{
		"Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Transfer-Encoding": true,
	})
	w.WriteString("\r\n")
	return w.Flush()
}

// CanHijack reports whether the connection behind w can be taken over, as [http.ResponseController] finds out.
func CanHijack(w http.ResponseWriter) bool {
	for {
		if _, ok := w.(http.Hijacker); ok {
			return true
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = inner.Unwrap()
	}
}

// Accept completes a handshake without any library, in order to say in a close frame what a page cannot read from a
// response. It selects protocol, unless that is empty. It returns false if the request is not a handshake or cannot be
// completed; nothing was written then.
func Accept(w http.ResponseWriter, r *http.Request, protocol string, opts Options) (_ *Conn, answered bool) {
	key, ok := handshakeKey(r)
	if !ok || !CanHijack(w) {
		return nil, false
	}
	h := w.Header()
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	h.Set("Sec-Websocket-Accept", acceptKey(key))
	if protocol != "" {
		h.Set("Sec-Websocket-Protocol", protocol)
	}
	g := NewWriter(w, r, nobody{}, opts)
	g.WriteHeader(http.StatusSwitchingProtocols)
	if _, _, err := g.Hijack(); err != nil {
		g.forgetSwitching()
		return nil, false
	}
	return g.gate, true
}

// nobody is a Life with nothing to end.
type nobody struct{}

func (nobody) TakenOver(*Conn) {}
func (nobody) Opened(bool)     {}
func (nobody) Check()          {}
func (nobody) Left(error)      {}
func (nobody) Closed()         {}

// handshakeKey checks what RFC 6455 section 4.2.1 asks of a handshake besides Connection and Upgrade.
func handshakeKey(r *http.Request) (key string, ok bool) {
	versions, keys := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	if len(versions) != 1 || versions[0] != "13" || len(keys) != 1 {
		return "", false
	}
	raw, err := base64.StdEncoding.DecodeString(keys[0])
	return keys[0], err == nil && len(raw) == 16
}

// acceptKey is the answer to a key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
