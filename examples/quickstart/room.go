package main

import (
	"context"
	"sync"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
)

// A message goes in both directions. The first one comes from the server and has the claims. A client renews its
// connection by sending a message with the type "token" and an access_token; the answer has the type "renewed" and the
// new claims, or the type "refused".
type message struct {
	Type   string         `json:"type,omitempty"`
	From   string         `json:"from,omitempty"`
	Text   string         `json:"text,omitempty"`
	Claims map[string]any `json:"claims,omitempty"`
	Token  string         `json:"access_token,omitempty"`
}

// A room passes each message on to everybody in it, with the name in the sender's token.
type room struct {
	mu      sync.Mutex
	members map[chan message]struct{}
}

func newRoom() *room { return &room{members: map[chan message]struct{}{}} }

// chat runs once for each connection. When the token expires or is revoked, the library closes the connection with
// 3000, and Read fails.
func (r *room) chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	var welcome message
	if err := claims.Decode(&welcome.Claims); err != nil {
		conn.Close(websocket.StatusInternalError, "")
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := r.enter()
	defer r.leave(out)
	out <- welcome
	go write(ctx, conn, out)
	for {
		var in message
		if err := wsjson.Read(ctx, conn, &in); err != nil {
			return
		}
		if in.Type == "token" {
			answer(out, renew(ctx, in.Token))
		} else {
			r.say(message{From: claims.Subject, Text: in.Text}) // a renewal does not change whose connection this is
		}
	}
}

// write sends a member its messages until the connection ends.
func write(ctx context.Context, conn *websocket.Conn, out <-chan message) {
	for {
		select {
		case m := <-out:
			if err := wsjson.Write(ctx, conn, m); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// renew prolongs the connection. If the token is refused, the connection goes on until its current token expires.
func renew(ctx context.Context, token string) message {
	renewed := message{Type: "renewed"}
	claims, err := wsauth.Renew(ctx, token)
	if err == nil {
		err = claims.Decode(&renewed.Claims)
	}
	if err != nil {
		return message{Type: "refused"}
	}
	return renewed
}

func (r *room) enter() chan message {
	out := make(chan message, 16)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[out] = struct{}{}
	return out
}

func (r *room) leave(out chan message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, out)
}

func (r *room) say(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for out := range r.members {
		answer(out, m)
	}
}

// answer leaves a message for a member. A member that does not keep up misses it: nobody waits for the network of
// somebody else.
func answer(out chan<- message, m message) {
	select {
	case out <- m:
	default:
	}
}
