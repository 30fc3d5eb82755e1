// Command chi is a small server on chi: it shows where auth belongs among chi's middlewares and groups. CHAT_SECRET
// holds the secret that tokens are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
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
		// The order matters: chi's Logger writes query strings, and only behind auth do they contain no token. auth
		// logs what it refuses itself.
		r.Use(auth.Middleware, middleware.Logger)
		r.Method(http.MethodGet, "/ws", auth.Upgrade(chat, nil))
		r.With(wsauth.RequireScopes("chat:moderate")).Method(http.MethodGet, "/ws/moderators", auth.Upgrade(chat, nil))
	})
	return r, nil
}

// chat is as short as possible; the chat of the nethttp example reads messages, too. When the token expires, the
// connection ends, and Read returns an error.
func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject)); err != nil {
		return
	}
	conn.Read(ctx)
}
