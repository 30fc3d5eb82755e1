package libraries_test

import (
	"io"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
)

// What a peer may do in order to stay. Each function returns when the connection ends.
var attacks = []struct {
	name   string
	attack func(*peer, library)
}{
	{"it neither reads nor writes", func(*peer, library) {}},
	{"it does not answer the close frame", func(p *peer, _ library) { io.Copy(io.Discard, p.Conn) }},
	{"it sends and never reads", func(p *peer, l library) { p.flood(l) }},
	{"it sends, and reads without answering", func(p *peer, l library) {
		go io.Copy(io.Discard, p.Conn)
		p.flood(l)
	}},
	{"it sends pings", func(p *peer, _ library) {
		go io.Copy(io.Discard, p.Conn)
		for p.send(opPing, []byte("are you there")) == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}},
	{"it stalls in a header", stalls(0x81)},
	{"it stalls in a length of 64 bits", stalls(0x82, 0xff, 0, 0, 0)},
	{"it stalls in a payload", stalls(0x82, 0xfe, 0x27, 0x10, 0, 0, 0, 0, 'x')},
	{"it stalls between the fragments of a message", stalls(0x02, 0x81, 0, 0, 0, 0, 'x')},
	{"it sends a byte of a frame at a time", func(p *peer, _ library) {
		go io.Copy(io.Discard, p.Conn)
		p.Write(clientHeader(0x82, anyLength/2))
		for {
			if _, err := p.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}},
	{"it answers the close frame with a payload that stalls", func(p *peer, _ library) {
		for {
			f, err := p.frame()
			if err != nil {
				return
			}
			if f.opcode == opClose {
				p.Write(clientHeader(0x82, 10000))
				io.Copy(io.Discard, p.Conn)
				return
			}
		}
	}},
	{"it answers the close frame with messages", func(p *peer, l library) {
		for {
			f, err := p.frame()
			if err != nil {
				return
			}
			if f.opcode == opClose {
				go io.Copy(io.Discard, p.Conn)
				p.flood(l)
				return
			}
		}
	}},
}

// flood sends messages until it cannot. The clock of a bubble advances only when all goroutines wait.
func (p *peer) flood(l library) {
	message := []byte("once more")
	if l.greeted {
		message = centrifugeCall(message)
	}
	for p.send(opText, message) == nil {
		time.Sleep(5 * time.Millisecond)
	}
}

func stalls(bytes ...byte) func(*peer, library) {
	return func(p *peer, _ library) {
		go p.Write(bytes)
		io.Copy(io.Discard, p.Conn)
	}
}

// A library that gives up on the peer by itself does so earlier.
func TestNoPeerOutlivesItsTokenInAnyLibrary(t *testing.T) {
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			for _, row := range attacks {
				t.Run(row.name, func(t *testing.T) {
					inWorld(t, l, wsauth.UpgradeOptions{}, func(t *testing.T, w *world) {
						start := time.Now() // the token may be made later, and never sooner
						token := w.token(w.life)
						p := w.mustDial(t, l, token)
						p.greet(t, l, token)
						done := make(chan struct{})
						go func() {
							defer close(done)
							row.attack(p, l)
						}()
						w.event(t, wsauth.EventClosed)
						most := w.life + grace + 500*time.Millisecond
						if !w.bubble {
							most += patience
						}
						if took := time.Since(start); took > most {
							t.Errorf("closed after %v, want %v at most", took, most)
						}
						if last := time.Unix(0, w.app.last.Load()); w.bubble && last.After(start.Add(w.life)) {
							t.Errorf("a message came %v after the end", last.Sub(start.Add(w.life)))
						}
						w.record(t, `msg="wsauth: closed"`)
						<-done
					})
				})
			}
		})
	}
}
