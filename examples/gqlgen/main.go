// Command gqlgen is a GraphQL server on gqlgen. Its subscriptions take their token from connection_init, where clients
// of graphql-transport-ws send it, and end with the token. client.mjs is such a client, in Node.js. CHAT_SECRET holds
// the secret that tokens are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/coder/websocket"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/gqlgen/graph"
)

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")), time.Second)
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("gqlgen", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("gqlgen", "err", err)
	os.Exit(1)
}

// initTimeout is how long a client that has connected without a token has to send connection_init with one.
const initTimeout = 10 * time.Second

func newServer(secret []byte, tickEvery time.Duration) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader()},
		Logger:     slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	resolver := &graph.Resolver{TickEvery: tickEvery}
	graphql := handler.New(graph.NewExecutableSchema(graph.Config{Resolvers: resolver}))
	graphql.AddTransport(transport.Websocket{InitFunc: takeToken})
	graphql.AddTransport(transport.POST{})
	mux := http.NewServeMux()
	// A POST has its token in the header, or gets 401.
	mux.Handle("/graphql", auth.Guard(graphql, &wsauth.UpgradeOptions{FirstMessage: initTimeout}))
	return mux, nil
}

// takeToken takes the token of connection_init: {"Authorization": "Bearer …"}. gqlgen serves nothing before it returns.
func takeToken(ctx context.Context, init transport.InitPayload) (context.Context, *transport.InitPayload, error) {
	if _, ok := wsauth.ClaimsFromContext(ctx); ok {
		return ctx, nil, nil // the handshake had a token in its header, which a browser cannot set
	}
	token, _ := strings.CutPrefix(init.Authorization(), "Bearer ")
	_, err := wsauth.Renew(ctx, token)
	switch {
	case errors.Is(err, wsauth.ErrUnavailable): // the keys are unavailable: not the token's fault
		return refuse(ctx, websocket.StatusTryAgainLater, "temporarily_unavailable")
	case err != nil:
		return refuse(ctx, wsauth.StatusUnauthorized, "invalid_token")
	}
	return ctx, nil, nil
}

// refuse makes gqlgen close the connection.
func refuse(ctx context.Context, code websocket.StatusCode, why string) (context.Context, *transport.InitPayload, error) {
	ctx = transport.WithWebsocketCloseCode(transport.AppendCloseReason(ctx, why), int(code))
	return ctx, nil, errors.New(why)
}
