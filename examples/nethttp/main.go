// Command nethttp is a small server on the standard library's ServeMux: two WebSockets and a route that need a token.
// CHAT_SECRET holds the secret that tokens are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"encoding/json"
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
	slog.Info("nethttp", "listens on", srv.Addr)
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
	mux.Handle("GET /ws", auth.Upgrade(chat, nil))
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(me)))
	moderators := wsauth.RequireScopes("chat:moderate")
	mux.Handle("GET /ws/moderators", auth.Middleware(moderators(auth.Upgrade(chat, nil))))
	return mux, nil
}

type message struct {
	From string `json:"from,omitempty"`
	Text string `json:"text"`
}

// chat runs once for each connection. When the token expires, the connection ends, and so does the loop.
func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	for {
		var m message
		if err := wsjson.Read(ctx, conn, &m); err != nil {
			return
		}
		m.From = claims.Subject
		if err := wsjson.Write(ctx, conn, m); err != nil {
			return
		}
	}
}

// me answers with all claims of the token.
func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	var all map[string]any
	if err := claims.Decode(&all); err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(all); err != nil {
		slog.Warn("write a response", "err", err)
	}
}
