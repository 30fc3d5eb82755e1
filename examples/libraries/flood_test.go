package libraries_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// A tally is what the peers of a flood have seen.
type tally struct {
	messages atomic.Int64 // frames of data that came
	told     atomic.Int64 // peers that saw 3000 "token expired"
	late     atomic.Int64 // frames after the close frame
	torn     atomic.Int64 // streams that ended within a frame
	other    sync.Map     // what else ended a stream
}

var floodOf = flag.Int("flood", 200, "`connections` of each library in the flood")

// This does not test how long a flood takes, which is for benchmarks: a busy machine must not fail it.
func TestAFloodEndsInOrderInEveryLibrary(t *testing.T) {
	for _, l := range libraries {
		if l.max < 1<<16 || l.variant { // a hub would send each message to each connection
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			count, life := *floodOf, time.Second
			for !floodAll(t, l, count, life) && !t.Failed() {
				t.Logf("%v are too short for %d connections", life, count)
				count, life = max(count/2, 10), 2*life // this machine is busy
			}
		})
	}
}

// floodAll lets the tokens of all connections end at one instant, during a flood. It returns false if there was no time
// for a flood before that.
func floodAll(t *testing.T, l library, count int, life time.Duration) bool {
	w := new(world)
	w.prepare(t)
	opts := wsauth.UpgradeOptions{Grace: 4 * time.Minute} // a busy peer may take long to answer
	w.serve(t, l.protect(t, w.auth, idle{}, &opts))

	end := time.Now().Add(life).Truncate(time.Millisecond)
	token := w.issuer.Token(wsauthtest.Claims{"exp": end})
	var peers []*peer
	for len(peers) < count && time.Until(end) > life/2 {
		p, status := w.dial(t, l.deflate, http.Header{"Authorization": {"Bearer " + token}})
		if status == http.StatusUnauthorized && time.Until(end) <= 0 {
			return false // this machine was away until the token had expired
		}
		if p == nil {
			t.Fatalf("the handshake got %d, want 101", status)
		}
		p.greet(t, l, token)
		peers = append(peers, p)
	}
	if len(peers) < count {
		return false
	}
	var seen tally
	var all sync.WaitGroup
	frames := peers[0].floodOf(l) // built once: a thousand clients that compress leave the server no time
	for _, p := range peers {
		all.Go(func() { p.drown(frames, &seen) })
	}
	all.Wait()

	for range peers {
		if e := w.event(t, wsauth.EventClosed); e.Code != 3000 || !errors.Is(e.Err, wsauth.ErrExpired) {
			t.Errorf("an event says %d, %v, want 3000, token expired", e.Code, e.Err)
		}
	}
	if got := seen.told.Load(); got != int64(len(peers)) {
		t.Errorf("%d peers see 3000, want all %d", got, len(peers))
	}
	seen.other.Range(func(err, _ any) bool { t.Errorf("a stream ended with %v", err); return true })
	if late, torn := seen.late.Load(), seen.torn.Load(); late+torn > 0 {
		t.Errorf("%d frames came after the close frame, %d were torn, want 0", late, torn)
	}
	t.Logf("%d messages came back, closed %v after the end", seen.messages.Load(), time.Since(end).Round(time.Millisecond))
	return seen.messages.Load() >= int64(count/10)
}

// drown sends messages until it gets a close frame, and then answers as a peer should: no message begins after its own
// close frame.
func (p *peer) drown(frames [][]byte, seen *tally) {
	p.SetDeadline(time.Now().Add(5 * time.Minute))
	var leaving atomic.Bool
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; !leaving.Load(); i++ {
			if p.put(frames[i%len(frames)]) != nil {
				return
			}
		}
	}()
	code, err := p.countFrames(seen, func() {
		leaving.Store(true)
		<-sent
		p.send(opClose, []byte{3000 >> 8, 3000 & 0xff})
	})
	switch {
	case errors.Is(err, errTorn):
		seen.torn.Add(1)
	case err != io.EOF:
		seen.other.Store(err.Error(), true)
	}
	if code == (closed{3000, "token expired"}) {
		seen.told.Add(1)
	}
	p.Close()
	<-sent
}

// countFrames reads to the end of the stream, and calls told when the close frame has come.
func (p *peer) countFrames(seen *tally, told func()) (code closed, err error) {
	for over := false; ; {
		f, err := p.frame()
		switch {
		case err != nil:
			return code, err
		case over:
			seen.late.Add(1)
		case f.opcode == opClose:
			over, code = true, closeOf(f)
			told()
		case f.opcode < opClose:
			seen.messages.Add(1)
		}
	}
}

// What is sent in turn: a header of each length, and more than any buffer holds.
var floods = [][]byte{
	[]byte("once more"), bytes.Repeat([]byte("wsauth "), 300), []byte(strings.Repeat("a longer one ", 1600)),
}

func (p *peer) floodOf(l library) (frames [][]byte) {
	for _, message := range floods {
		if l.greeted {
			message = centrifugeCall(message)
		}
		frames = append(frames, p.build(opText, message))
	}
	return frames
}
