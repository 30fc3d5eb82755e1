// Command nginx is a small server behind nginx, whose configuration is nginx.conf. Only its pings are there for nginx.
// CHAT_SECRET holds the secret that tokens are signed with, 32 bytes or more.
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
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
)

// pingInterval is less than half of proxy_read_timeout in nginx.conf: a peer that does not answer is given up after
// twice this time.
const pingInterval = 30 * time.Second

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")), pingInterval)
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{
		Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"), // where only nginx can reach it
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
	}
	slog.Info("nginx", "listens on", srv.Addr)
	log.Fatal(srv.ListenAndServe())
}

func newServer(secret []byte, pingEvery time.Duration) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromCookie("access_token"),
			wsauth.FromSubprotocol("bearer."),
		},
		// The page's origin. If nginx passes Host on unchanged, a page of the same host and port has the server's own
		// origin without being listed: TLS ends at nginx, so r.TLS is nil here, and Host "chat.example.com" alone makes
		// https://chat.example.com the server's own. It is listed in case Host is something else, and for pages on
		// another host.
		//
		// There are two things that it does not do. It does not make http://chat.example.com foreign: without r.TLS,
		// wsauth cannot know which of the two schemes its visitors use, and accepts both. And no X-Forwarded header
		// counts: whoever can reach this server without nginx can write anything into such headers.
		Origins: []string{"https://chat.example.com"},
		Logger:  slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	// nginx closes a connection on which nothing is sent.
	mux.Handle("GET /ws", auth.Upgrade(chat, &wsauth.UpgradeOptions{Ping: pingEvery}))
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
