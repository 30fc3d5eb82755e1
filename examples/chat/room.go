package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
)

const (
	warnAhead   = 20 * time.Second // of the end of a token, or a third of its time if that is less
	queueLength = 32               // events that a member may be behind
	writeWait   = 5 * time.Second  // for a member to take one event
)

// A request is what a member sends: a "message" with a text, or a new "token".
type request struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Token string `json:"access_token"`
}

// An event is what a member gets: "joined", "left" and "message" from the room; all others are for this member only.
type event struct {
	Type  string    `json:"type"`
	From  string    `json:"from,omitempty"`
	Text  string    `json:"text,omitempty"`
	In    int       `json:"in,omitempty"`    // token_expiring: seconds, at least one
	Until time.Time `json:"until,omitzero"`  // renewed: the end of the new token
	Error string    `json:"error,omitempty"` // refused
}

// A member is one connection to a room.
type member struct {
	room  string
	name  string // of the token; somebody with two connections is two members
	queue chan []byte
	slow  chan struct{} // closed when it was too far behind
}

// rooms has the members of each room that somebody is in. Nothing that waits for the network happens under its lock.
type rooms struct {
	mu      sync.Mutex
	members map[string]map[*member]struct{}
}

// serve runs once for each connection that was let in. It reads; a second goroutine writes, since a room cannot wait
// for a member that does not read.
func (r *rooms) serve(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	m := &member{
		room: roomOf(ctx), name: claims.Subject, queue: make(chan []byte, queueLength), slow: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { m.write(ctx, conn) })
	defer writer.Wait() // what serve starts ends with it: auth.Shutdown waits for serve, and knows nothing of a writer
	defer cancel()

	r.enter(m)
	defer r.leave(m)
	warning := time.AfterFunc(untilWarning(claims), func() { r.warn(ctx, m) })
	defer warning.Stop()
	for {
		var in request
		if err := wsjson.Read(ctx, conn, &in); err != nil {
			return // the member left or was dropped, its token expired, or the server is stopping
		}
		switch in.Type {
		case "message":
			r.say(m, in.Text)
		case "token":
			claims, err := wsauth.Renew(ctx, in.Token)
			if err != nil { // the connection goes on until its current token expires
				r.tell(m, event{Type: "refused", Error: reason(err)})
				continue
			}
			r.tell(m, event{Type: "renewed", Until: claims.Expiry.UTC()})
			warning.Reset(untilWarning(claims))
		default:
			r.tell(m, event{Type: "refused", Error: "invalid_request"})
		}
	}
}

// untilWarning returns the time until the warning. It goes by exp: the leeway after exp is for clocks that differ, not
// for clients that are late.
func untilWarning(claims *wsauth.Claims) time.Duration {
	left := time.Until(claims.Expiry)
	return left - min(warnAhead, left/3)
}

// warn looks at the claims that the connection has now: a renewal may have come first.
func (r *rooms) warn(ctx context.Context, m *member) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	left := time.Until(claims.Expiry).Round(time.Second)
	r.tell(m, event{Type: "token_expiring", In: max(1, int(left.Seconds()))})
}

// reason returns what a client learns of a refusal: whether to send another token, or the same token later.
func reason(err error) string {
	switch {
	case errors.Is(err, wsauth.ErrTooMany):
		return "too_many_requests"
	case errors.Is(err, wsauth.ErrUnavailable):
		return "temporarily_unavailable"
	case errors.Is(err, wsauth.ErrForbidden):
		return "insufficient_scope"
	default:
		return "invalid_token"
	}
}

// write sends the member what is in its queue. If it returns before ctx ends, it closes the connection, which ends
// serve's Read.
func (m *member) write(ctx context.Context, conn *websocket.Conn) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.slow:
			conn.Close(websocket.StatusPolicyViolation, "too slow")
			return
		case text := <-m.queue:
			limited, cancel := context.WithTimeout(ctx, writeWait)
			err := conn.Write(limited, websocket.MessageText, text)
			cancel()
			if err != nil {
				conn.CloseNow()
				return
			}
		}
	}
}

func (r *rooms) enter(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.room] == nil {
		r.members[m.room] = map[*member]struct{}{}
	}
	r.members[m.room][m] = struct{}{}
	r.deliver(m.room, event{Type: "joined", From: m.name})
}

func (r *rooms) leave(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(m)
}

// say sends an event to all members of the room. A member that was dropped can no longer send, even if it is still
// connected.
func (r *rooms) say(m *member, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.members[m.room][m]; ok {
		r.deliver(m.room, event{Type: "message", From: m.name, Text: text})
	}
}

// tell sends an event to one member.
func (r *rooms) tell(m *member, e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !m.take(encode(e)) {
		r.drop(m)
	}
}

// From here on, r.mu is held.

func (r *rooms) deliver(room string, e event) {
	text := encode(e)
	var slow []*member
	for m := range r.members[room] {
		if !m.take(text) {
			slow = append(slow, m)
		}
	}
	for _, m := range slow { // after the others have the event, so that everybody sees what follows in the same order
		r.drop(m)
	}
}

// take does not wait. It reports whether there was room in the queue.
func (m *member) take(text []byte) bool {
	select {
	case m.queue <- text:
		return true
	default:
		return false
	}
}

// drop removes a member that is too slow, and makes its writer close the connection.
func (r *rooms) drop(m *member) {
	if r.remove(m) {
		close(m.slow)
	}
}

// remove reports whether the member was there.
func (r *rooms) remove(m *member) bool {
	members := r.members[m.room]
	if _, ok := members[m]; !ok {
		return false
	}
	delete(members, m)
	if len(members) == 0 {
		delete(r.members, m.room)
	}
	r.deliver(m.room, event{Type: "left", From: m.name})
	return true
}

func encode(e event) []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // not of strings, a number, and a time before the year 10000
	}
	return text
}
