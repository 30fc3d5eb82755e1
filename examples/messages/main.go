// Command messages is a server whose clients send a token with each message instead of with the handshake: many
// users may share a connection, and a new token needs no new connection. CHAT_SECRET holds the secret that tokens
// are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
)

// idle is how long a connection may be silent. Nobody has to show a token to open one, so it must not be kept for
// long without any.
const idle = time.Minute

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{
		Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
	}
	slog.Info("messages", "listens on", srv.Addr)
	log.Fatal(srv.ListenAndServe())
}

func newServer(secret []byte) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Logger: slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		// This is plain coder/websocket, so its origin rule applies and Options.Origins does not: the host of an Origin
		// must be the request's, and a client without an Origin is not checked. That suffices here: a browser adds
		// nothing to a message by itself, so another site has no token to send.
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has answered
		}
		defer conn.CloseNow()
		serve(r.Context(), auth, conn)
	})
	return mux, nil
}

type request struct {
	Token string `json:"token"`
	Text  string `json:"text"`
}

type response struct {
	From  string `json:"from,omitempty"`
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
}

func serve(ctx context.Context, auth *wsauth.Authenticator, conn *websocket.Conn) {
	for {
		if err := exchange(ctx, auth, conn); err != nil {
			return // the peer has gone, was silent for too long, or sent something else
		}
	}
}

// exchange answers one message. A refused token leads to an answer, not an error: the next message may have a better
// token.
func exchange(ctx context.Context, auth *wsauth.Authenticator, conn *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	var in request
	if err := wsjson.Read(ctx, conn, &in); err != nil {
		return err
	}
	claims, err := auth.Verify(ctx, in.Token)
	switch {
	case errors.Is(err, wsauth.ErrUnavailable): // the keys are unavailable: not the token's fault
		return wsjson.Write(ctx, conn, response{Error: "temporarily_unavailable"})
	case err != nil:
		return wsjson.Write(ctx, conn, response{Error: "invalid_token"})
	}
	return wsjson.Write(ctx, conn, response{From: claims.Subject, Text: in.Text})
}
