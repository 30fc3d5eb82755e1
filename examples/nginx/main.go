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

// pingInterval is less than proxy_read_timeout in nginx.conf, and so is twice as long, after which a peer that does not
// answer is gone.
const pingInterval = 30 * time.Second

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")), pingInterval)
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{
		Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"), // where nginx alone can reach it
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
		// The page's origin. Where nginx passes on Host as it came, a page of the same host and port is the server's own
		// without being listed: TLS ends at nginx, r.TLS is nil here, and https://chat.example.com is own by Host
		// "chat.example.com" alone. It is listed for where Host is something else, and for pages on another host.
		//
		// Two things that it does not do. It does not make http://chat.example.com foreign: without r.TLS, wsauth cannot know
		// which of the two schemes its visitors use, and takes both. And no X-Forwarded header counts for anything: whoever
		// can reach this server without nginx can write what they like into them.
		Origins: []string{"https://chat.example.com"},
		Logger:  slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	// nginx takes a connection for dead on which nobody says anything.
	mux.Handle("GET /ws", auth.Upgrade(chat, &wsauth.UpgradeOptions{Ping: pingEvery}))
	return mux, nil
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
