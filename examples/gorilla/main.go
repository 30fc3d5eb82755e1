// Command gorilla is a chat on gorilla/websocket whose connections end with their tokens: chat.go has nothing of wsauth
// except the claims, and auth.Guard stands in front of it. CHAT_SECRET holds the secret that tokens are signed with,
// 32 bytes or more.
package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/wsauth/wsauth"
)

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")))
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("gorilla", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("gorilla", "err", err)
	os.Exit(1)
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
	room := &hub{clients: map[*client]bool{}}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Guard(room, nil))
	return mux, nil
}
