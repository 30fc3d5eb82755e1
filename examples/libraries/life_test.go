package libraries_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// ended checks that everything reports the end of the token: the peer, the library, the context, the event and the
// record.
func (w *world) ended(t *testing.T, l library, p *peer, start time.Time, after time.Duration) {
	t.Helper()
	p.wantEnd(t, 3000, "token expired")
	w.wantAt(t, start, after)
	w.wantEnded(t, l, is(wsauth.ErrExpired))
	w.wantClosed(t, 3000, wsauth.ErrExpired)
}

func (w *world) wantClosed(t *testing.T, code coder.StatusCode, cause error) {
	t.Helper()
	e := w.event(t, wsauth.EventClosed)
	if e.Code != code || cause != nil && !errors.Is(e.Err, cause) {
		t.Errorf("the event says %d, %v, want %d, %v", e.Code, e.Err, code, cause)
	}
}

var rows = []struct {
	name string
	opts wsauth.UpgradeOptions
	fits func(library) bool // nil: every library
	test func(*testing.T, *world, library)
}{
	{"messages pass both ways, whatever their length", wsauth.UpgradeOptions{}, nil, messagesPass},
	{"at its end all sides are told", wsauth.UpgradeOptions{}, nil, endsWithToken},
	{"Renew puts the end off", wsauth.UpgradeOptions{}, asks, renews},
	{"Disconnect ends it with the code given", wsauth.UpgradeOptions{}, nil, disconnects},
	{"Revoke ends it, and its token opens no other", wsauth.UpgradeOptions{}, nil, revokes},
	{"Shutdown ends it with 1001", wsauth.UpgradeOptions{}, nil, shutsDown},
	{"a foreign origin is refused", wsauth.UpgradeOptions{}, nil, refusesOrigin},
	{"MaxPerSubject counts it until it is closed", wsauth.UpgradeOptions{MaxPerSubject: 1}, nil, countsSubjects},
	{"ReplaceOldest ends the older", wsauth.UpgradeOptions{MaxPerSubject: 1, ReplaceOldest: true}, nil, replacesOldest},
	{"the first message brings the token", wsauth.UpgradeOptions{FirstMessage: 10 * time.Second}, asks, firstMessage},
	{"no first message ends it with 3008", wsauth.UpgradeOptions{FirstMessage: time.Second}, nil, noFirstMessage},
	{"so does a bad one", wsauth.UpgradeOptions{FirstMessage: time.Second}, asks, wrongFirstMessage},
	{"MaxLifetime ends it before its token does", wsauth.UpgradeOptions{MaxLifetime: time.Second}, nil, maxLifetime},
	{"a peer that vanishes leaves its seat", wsauth.UpgradeOptions{MaxPerSubject: 1, Ping: time.Second}, nil, vanishes},
	{"a peer that answers pings stays", wsauth.UpgradeOptions{Ping: 250 * time.Millisecond}, nil, answersPings},
	{"a peer that leaves ends the context", wsauth.UpgradeOptions{}, nil, peerLeaves},
	{"a peer that cuts the line ends the context", wsauth.UpgradeOptions{}, nil, peerCuts},
}

func asks(l library) bool { return l.asks }

func TestAConnectionLivesWithItsTokenInEveryLibrary(t *testing.T) {
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			for _, row := range rows {
				if row.fits != nil && !row.fits(l) {
					continue
				}
				t.Run(row.name, func(t *testing.T) {
					inWorld(t, l, row.opts, func(t *testing.T, w *world) { row.test(t, w, l) })
				})
			}
		})
	}
}

func messagesPass(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	for _, size := range []int{16, 125, 126, 1 << 10, 4095, 65535, 65536, anyLength} {
		if size <= l.max {
			p.exchange(t, l, bytes.Repeat([]byte("x"), size))
		}
	}
}

func endsWithToken(t *testing.T, w *world, l library) {
	start := time.Now() // the token may be made later, and never sooner
	token := w.token(w.life)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	p.exchange(t, l, []byte("hello"))
	w.ended(t, l, p, start, w.life)
	record := w.record(t, `msg="wsauth: closed"`)
	if !strings.Contains(record, "code=3000") || strings.Contains(record, token[strings.LastIndexByte(token, '.')+1:]) {
		t.Errorf("the record of the end is %q, want the code, and no token", record)
	}
}

func renews(t *testing.T, w *world, l library) {
	start := time.Now() // the token may be made later, and never sooner
	token := w.token(w.life)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	until := w.life + w.life/2
	later := w.issuer.Token(map[string]any{"exp": start.Add(until)})
	if got := p.ask(t, l, "renew "+later); got != "renewed" {
		t.Fatalf("got %q, want renewed", got)
	}
	if got := p.ask(t, l, "renew "+w.issuer.Forged()); !strings.HasPrefix(got, "refused") {
		t.Errorf("a forged token: got %q, want it refused", got)
	}
	w.ended(t, l, p, start, until)
}

func disconnects(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	p.exchange(t, l, []byte("hello"))
	w.settle()
	isAlice := func(c *wsauth.Claims) bool { return c.Subject == "alice" }
	if n := w.auth.Disconnect(isAlice, 4001, "replaced"); n != 1 {
		t.Errorf("Disconnect = %d, want 1", n)
	}
	p.wantEnd(t, 4001, "replaced")
	w.wantEnded(t, l, func(err error) bool { return coder.CloseStatus(err) == 4001 })
	w.wantClosed(t, 4001, nil)
}

func revokes(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	p.exchange(t, l, []byte("hello"))
	w.settle()
	if err := w.auth.Revoke(t.Context(), wsauth.Revocation{Subject: "alice"}); err != nil {
		t.Fatal(err)
	}
	p.wantEnd(t, 3000, "token revoked")
	w.wantEnded(t, l, func(err error) bool { return errors.Is(err, wsauth.ErrRevoked) })
	w.wantClosed(t, 3000, wsauth.ErrRevoked)
	if _, status := w.dial(t, false, http.Header{"Authorization": {"Bearer " + token}}); status != http.StatusUnauthorized {
		t.Errorf("got %d with the same token, want 401", status)
	}
}

func shutsDown(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	p.exchange(t, l, []byte("hello"))
	w.settle()
	down := make(chan error, 1)
	go func() { down <- w.auth.Shutdown(context.Background()) }()
	p.wantEnd(t, 1001, "server shutting down")
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	w.wantEnded(t, l, is(http.ErrServerClosed))
	w.wantClosed(t, 1001, http.ErrServerClosed)
}

func refusesOrigin(t *testing.T, w *world, l library) {
	bearer := "Bearer " + w.token(time.Hour)
	for _, origin := range []string{"https://evil.example", "null"} {
		if _, status := w.dial(t, l.deflate, http.Header{"Authorization": {bearer}, "Origin": {origin}}); status != 403 {
			t.Errorf("Origin %s: got %d, want 403", origin, status)
		}
	}
}

func countsSubjects(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	if _, status := w.dial(t, l.deflate, bearer); status != 429 {
		t.Errorf("the second: got %d, want 429", status)
	}
	p.exchange(t, l, []byte("hello"))
	p.send(opClose, []byte{1000 >> 8, 1000 & 0xff})
	p.untilClosed()
	p.Close()
	w.event(t, wsauth.EventClosed)
	w.mustDial(t, l, token)
}

func replacesOldest(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	first := w.mustDial(t, l, token)
	first.greet(t, l, token)
	second := w.mustDial(t, l, token)
	first.wantEnd(t, int(wsauth.StatusReplaced), "replaced")
	second.greet(t, l, token)
	second.exchange(t, l, []byte("hello"))
}

func firstMessage(t *testing.T, w *world, l library) {
	start := time.Now()
	p := w.mustDial(t, l, "")
	token := w.token(w.life)
	switch {
	case l.greeted:
		p.greet(t, l, token)
	case l.serve != nil:
		if err := p.send(opText, []byte(token)); err != nil {
			t.Fatal(err)
		}
	default:
		if err := p.send(opText, []byte("served to nobody")); err != nil {
			t.Fatal(err)
		}
		if got := p.ask(t, l, "renew "+token); got != "renewed" {
			t.Fatalf("got %q, want renewed", got)
		}
	}
	p.exchange(t, l, []byte("hello"))
	w.event(t, wsauth.EventOpened)
	w.ended(t, l, p, start, w.life)
}

func noFirstMessage(t *testing.T, w *world, l library) {
	start := time.Now()
	p := w.mustDial(t, l, "")
	p.wantEnd(t, 3008, "token_required")
	w.wantAt(t, start, time.Second)
}

func wrongFirstMessage(t *testing.T, w *world, l library) {
	p := w.mustDial(t, l, "")
	switch {
	case l.greeted: // the application closes it, with a code of its own
		p.send(opText, []byte(`{"id":1,"connect":{"token":"`+w.issuer.Forged()+`"}}`))
		if err := p.untilClosed(); err != (closed{3500, "invalid token"}) {
			t.Errorf("the peer sees %v", err)
		}
	case l.serve != nil:
		p.send(opText, []byte(w.issuer.Forged()))
		p.wantEnd(t, 3000, "invalid_token")
	default:
		start := time.Now()
		if got := p.ask(t, l, "renew "+w.issuer.Forged()); !strings.HasPrefix(got, "refused") {
			t.Errorf("a forged token: got %q, want it refused", got)
		}
		p.wantEnd(t, 3008, "token_required")
		w.wantAt(t, start, time.Second)
	}
}

func maxLifetime(t *testing.T, w *world, l library) {
	start := time.Now() // the token may be made later, and never sooner
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	w.ended(t, l, p, start, time.Second)
}

func vanishes(t *testing.T, w *world, l library) {
	start := time.Now() // the token may be made later, and never sooner
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	w.event(t, wsauth.EventClosed)
	took, least := time.Since(start), 2*time.Second
	if most := least + grace + 500*time.Millisecond; took < least || w.bubble && took > most {
		t.Errorf("ended after %v, want %v to %v", took, least, most)
	}
	w.mustDial(t, l, token)
}

func answersPings(t *testing.T, w *world, l library) {
	start := time.Now() // the token may be made later, and never sooner
	token := w.token(2 * time.Second)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	w.ended(t, l, p, start, 2*time.Second)
}

func peerLeaves(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	p.exchange(t, l, []byte("hello"))
	go p.send(opClose, []byte{1000 >> 8, 1000 & 0xff})
	p.untilClosed()
	w.wantEnded(t, l, func(err error) bool { return err != nil })
	w.event(t, wsauth.EventClosed)
}

func peerCuts(t *testing.T, w *world, l library) {
	token := w.token(time.Hour)
	p := w.mustDial(t, l, token)
	p.greet(t, l, token)
	p.exchange(t, l, []byte("hello"))
	p.Close()
	w.wantEnded(t, l, func(err error) bool { return err != nil })
	w.event(t, wsauth.EventClosed)
}
