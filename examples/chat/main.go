// Command chat is a server of chat rooms. A claim of the token, which no standard defines, says which rooms its user
// may enter:
//
//	"rooms": ["lobby", "ops"]
//
// A client can renew its connection to GET /rooms/lobby/ws by sending a new token when the old one is about to expire:
//
//	server: {"type":"token_expiring","in":20}
//	client: {"type":"token","access_token":"…"}
//	server: {"type":"renewed","until":"2026-03-01T12:00:00Z"}
//
// On SIGTERM or Ctrl-C, the server closes all connections with 1001 and waits for them. CHAT_SECRET holds the secret
// that tokens are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/wsauth/wsauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	err = run(ctx, listener, config{
		secret:   []byte(os.Getenv("CHAT_SECRET")),
		patience: 8 * time.Second, // less than the time before the process is killed: Docker 10 s, Kubernetes 30 s
	})
	if err != nil {
		log.Fatal(err)
	}
}

// A config has the settings that tests change.
type config struct {
	secret   []byte
	leeway   time.Duration // as in wsauth.Options
	patience time.Duration // with what is in progress when the server stops
}

// run serves until ctx ends. It returns nil if everything then ended in time.
func run(ctx context.Context, listener net.Listener, cfg config) error {
	defer listener.Close()
	app, err := newServer(cfg)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: app, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	slog.Info("chat", "listens on", listener.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	slog.Info("chat: stops", "within", cfg.patience)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.patience)
	defer cancel()
	// Two halves: srv.Shutdown stops accepting and waits for requests, but does not know connections that were
	// upgraded. auth.Shutdown closes those, and waits until serve has returned for each. They run at the same time, so
	// that a request that hangs takes no time from the connections.
	//
	// srv.RegisterOnShutdown(func() { app.auth.Shutdown(ctx) }) would start the second half as well, for a server that is
	// shut down elsewhere. But srv.Shutdown does not wait for it, and nobody learns its error.
	ended := make(chan error, 1)
	go func() { ended <- app.auth.Shutdown(ctx) }()
	return errors.Join(srv.Shutdown(ctx), <-ended)
}

type server struct {
	http.Handler
	auth *wsauth.Authenticator // for its Shutdown
}

func newServer(cfg config) (*server, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(cfg.secret),
		}},
		Leeway: cfg.leeway,
		Logger: slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	rooms := &rooms{members: map[string]map[*member]struct{}{}}
	upgrade := auth.Upgrade(rooms.serve, &wsauth.UpgradeOptions{
		CloseOnRefusal: true, // a page learns why: 3003 insufficient_scope instead of 1006
		MaxConnections: 1000,
		MaxPerSubject:  5,
	})
	// From the outside in: who is it, may they enter, let them in. Middleware and Require are directly around Upgrade,
	// so that they, too, refuse as CloseOnRefusal says; withRoom is around everything, so that mayEnter knows the room.
	mux := http.NewServeMux()
	mux.Handle("GET /rooms/{room}/ws", withRoom(auth.Middleware(wsauth.Require(mayEnter)(upgrade))))
	return &server{mux, auth}, nil
}

type roomKey struct{}

// withRoom puts the room of the path into the context. The context of a connection keeps its request's values, so
// that mayEnter finds the room again when a token is renewed.
func withRoom(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), roomKey{}, r.PathValue("room"))))
	})
}

func roomOf(ctx context.Context) string {
	room, _ := ctx.Value(roomKey{}).(string)
	return room
}

// mayEnter is called at the handshake, and again by each wsauth.Renew with the claims of the new token.
func mayEnter(ctx context.Context, claims *wsauth.Claims) error {
	var own struct {
		Rooms []string `json:"rooms"`
	}
	if err := claims.Decode(&own); err != nil {
		return err
	}
	if !slices.Contains(own.Rooms, roomOf(ctx)) {
		return errors.New("the token does not have the room")
	}
	return nil
}
