// Command chi is the same small server on chi. CHAT_SECRET holds the secret that tokens are signed with, 32 bytes
// or more.
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
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
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
	slog.Info("chi", "listens on", srv.Addr)
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
	r := chi.NewRouter()
	r.Use(middleware.Recoverer)
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r.Group(func(r chi.Router) {
		// In this order: chi's Logger writes query strings, and only behind auth there is no token in them any more.
		// What auth refuses is in auth's own log.
		r.Use(auth.Middleware, middleware.Logger)
		r.Get("/me", me)
		r.Method(http.MethodGet, "/ws", auth.Upgrade(chat, nil))
		r.With(wsauth.RequireScopes("chat:moderate")).Method(http.MethodGet, "/ws/moderators", auth.Upgrade(chat, nil))
	})
	return r, nil
}

type message struct {
	From string `json:"from,omitempty"`
	Text string `json:"text"`
}

// chat runs once for each connection. When the token ends, the connection does, and with it the loop.
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

// me answers with all that the token says.
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
