// Command logout is a server whose connections end when their user logs out at the OpenID provider: the provider sends
// a logout token, and the server revokes the tokens of the session. ISSUER is the provider's issuer, whose access
// tokens must be JWTs for the audience urn:chat, with a sid. provider.mjs is such a provider.
package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/wsauth/wsauth"
)

func main() {
	handler, err := newServer(cmp.Or(os.Getenv("ISSUER"), "http://127.0.0.1:9090"))
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("logout", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("logout", "err", err)
	os.Exit(1)
}

func newServer(issuer string) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Name: issuer, Audience: []string{"urn:chat"}, Keys: wsauth.JWKS{}}},
		// With several servers, a Log makes a logout count on all of them, whichever of them the provider tells.
		Revocations: wsauth.Revocations{Keep: time.Hour},
		Logger:      slog.Default(),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(greet, nil))
	mux.Handle("/backchannel_logout", auth.BackChannelLogout("chat-app"))
	return mux, nil
}

func greet(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	<-conn.CloseRead(ctx).Done()
}
