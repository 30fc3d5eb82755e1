// Command bound is a server for tokens that are bound to a key of the client (DPoP), so that a stolen token is useless.
// ISSUER is the issuer, whose access tokens must be JWTs for the audience urn:chat. provider.mjs is such an issuer, and
// client.mjs is a client.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
)

func main() {
	// Behind a proxy, BASE_URL must be what clients call the server.
	handler, err := newServer(cmp.Or(os.Getenv("ISSUER"), "http://127.0.0.1:9090"), os.Getenv("BASE_URL"))
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("bound", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("bound", "err", err)
	os.Exit(1)
}

func newServer(issuer, baseURL string) (http.Handler, error) {
	secret := make([]byte, 32) // several servers need the same secret
	rand.Read(secret)
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Name: issuer, Audience: []string{"urn:chat"}, Keys: wsauth.JWKS{}}},
		// A browser cannot send a proof with the handshake of a WebSocket: the page fetches a ticket, with token and
		// proof.
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", nil)},
		DPoP:       &wsauth.DPoP{BaseURL: baseURL, NonceSecret: secret},
		Logger:     slog.Default(),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(me)))
	mux.Handle("POST /ticket", auth.Tickets())
	mux.Handle("GET /ws", auth.Upgrade(greet, nil))
	return mux, nil
}

func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	json.NewEncoder(w).Encode(map[string]string{"sub": claims.Subject})
}

// A renewal is a message of the client: a new token, and a proof for GET and the URL of the WebSocket.
type renewal struct {
	Token string `json:"access_token"`
	Proof string `json:"dpop"`
}

// An answer says who has connected, or whether a renewal succeeded.
type answer struct {
	Hello string `json:"hello,omitempty"`
	Until int64  `json:"until,omitempty"` // when the connection ends, unless it is renewed again
	Error string `json:"error,omitempty"` // a word of wsauth.Reason
}

func greet(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	wsjson.Write(ctx, conn, answer{Hello: claims.Subject, Until: claims.Expiry.Unix()})
	for {
		var m renewal
		if err := wsjson.Read(ctx, conn, &m); err != nil {
			return
		}
		wsjson.Write(ctx, conn, renew(ctx, m))
	}
}

func renew(ctx context.Context, m renewal) answer {
	claims, err := wsauth.RenewBound(ctx, m.Token, m.Proof)
	if err != nil {
		return answer{Error: wsauth.Reason(err)}
	}
	return answer{Until: claims.Expiry.Unix()}
}
