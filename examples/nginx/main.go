// Command nginx is the same small server for a place behind nginx, whose configuration is beside it: nginx.conf. Nothing
// of it is for nginx alone but the pings. CHAT_SECRET holds the secret that tokens are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
)

// pingInterval is less than proxy_read_timeout in nginx.conf.
const pingInterval = 30 * time.Second

// pongTimeout is how long a peer may take to answer one.
const pongTimeout = 10 * time.Second

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
	mux.Handle("GET /ws", auth.Upgrade(chat(pingEvery), nil))
	return mux, nil
}

type message struct {
	From string `json:"from,omitempty"`
	Text string `json:"text"`
}

// chat returns what runs once for each connection.
func chat(pingEvery time.Duration) func(context.Context, *websocket.Conn) {
	return func(ctx context.Context, conn *websocket.Conn) {
		claims, _ := wsauth.ClaimsFromContext(ctx)
		ctx, cancel := context.WithCancel(ctx)
		var pings sync.WaitGroup
		pings.Go(func() { ping(ctx, conn, pingEvery) })
		defer pings.Wait()
		defer cancel()
		for {
			var m message
			if err := wsjson.Read(ctx, conn, &m); err != nil {
				return // the client went, or its token ended
			}
			m.From = claims.Subject
			if err := wsjson.Write(ctx, conn, m); err != nil {
				return
			}
		}
	}
}

// ping keeps nginx from taking a connection for dead on which nobody says anything, and ends one whose client is gone
// without a word.
func ping(ctx context.Context, conn *websocket.Conn, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		limited, cancel := context.WithTimeout(ctx, pongTimeout)
		err := conn.Ping(limited)
		cancel()
		if err != nil {
			conn.CloseNow() // ends the Read of chat
			return
		}
	}
}
