// Command sse is a server whose stream of server-sent events ends with the token that opened it. A page reads it with
// EventSource, which cannot set a header, so the token is in a cookie. EventSource comes back by itself, with whatever
// token the cookie has then; without a good one it gets 401, and stops. CHAT_SECRET holds the secret that tokens are
// signed with, 32 bytes or more.
package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/wsauth/wsauth"
)

//go:embed page.html
var page []byte

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")))
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("sse", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("sse", "err", err)
	os.Exit(1)
}

func newServer(secret []byte) (http.Handler, error) {
	auth, err := newAuth(secret)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /events", auth.Guard(http.HandlerFunc(stream), nil))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	return mux, nil
}

func newAuth(secret []byte) (*wsauth.Authenticator, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromCookie("access_token")},
		Logger:     slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	return auth, nil
}

// stream sends the time, until the context ends: with the token, or because the client has gone.
func stream(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, "retry: 1000\n\n") // milliseconds, until EventSource comes back
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for now := time.Now(); ; {
		fmt.Fprintf(w, "data: %q, it is %s\n\n", claims.Subject, now.Format(time.TimeOnly))
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case now = <-tick.C:
		}
	}
}
