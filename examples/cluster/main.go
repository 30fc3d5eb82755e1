// Command cluster is three servers that share their revocations. Its page connects to each of them; "log out
// everywhere", on any of them, ends all connections of the user and refuses the user's tokens on all three.
//
// The servers share a log in Redis, if REDIS_URL names one (redis://127.0.0.1:6379), and otherwise in a NATS server
// that this program runs in itself.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/wsauth/wsauth"
)

//go:embed page.html
var page []byte

const (
	keep     = 10 * time.Minute // the longest life of a token
	maxStale = time.Minute      // how long tokens are accepted while the log is away
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("REDIS_URL"), []string{"127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"}); err != nil {
		slog.Error("cluster", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, redisURL string, addresses []string) error {
	log, closeLog, err := openLog(redisURL)
	if err != nil {
		return err
	}
	defer closeLog()
	c := newCluster(addresses)
	ended := make(chan error, len(addresses))
	var servers []*http.Server
	for _, address := range addresses {
		auth, err := c.newAuth(log)
		if err != nil {
			return err
		}
		go auth.Follow(ctx)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: c.newHandler(auth), ReadHeaderTimeout: 5 * time.Second}
		servers = append(servers, srv)
		go func() { ended <- srv.Serve(listener) }()
		slog.Info("cluster", "listens on", "http://"+address)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		var all []error
		for _, srv := range servers {
			all = append(all, srv.Close())
		}
		return errors.Join(all...)
	}
}

// A cluster is what its servers have in common, in addition to the log: the secret of their tokens and their origins. A
// page of one server connects to the others, too.
type cluster struct {
	secret  []byte
	origins []string
}

func newCluster(addresses []string) *cluster {
	c := &cluster{secret: newSecret()}
	for _, address := range addresses {
		c.origins = append(c.origins, "http://"+address)
	}
	return c
}

func (c *cluster) newAuth(log wsauth.RevocationLog) (*wsauth.Authenticator, error) {
	return wsauth.New(wsauth.Options{
		Issuers:     []wsauth.Issuer{{Name: issuer, Audience: []string{audience}, Keys: wsauth.HMAC(c.secret)}},
		Extractors:  []wsauth.Extractor{wsauth.FromCookie(cookie)},
		Origins:     c.origins,
		Revocations: wsauth.Revocations{Log: log, Keep: keep, MaxStale: maxStale},
		Logger:      slog.Default(),
	})
}

func (c *cluster) newHandler(auth *wsauth.Authenticator) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(greet, &wsauth.UpgradeOptions{CloseOnRefusal: true}))
	mux.Handle("POST /logout", auth.Middleware(logOut(auth)))
	mux.HandleFunc("POST /login", c.logIn)
	mux.HandleFunc("GET /servers", c.list)
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		if err := auth.Ready(r.Context()); err != nil {
			auth.Refuse(w, r, err)
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	return mux
}

func greet(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	<-conn.CloseRead(ctx).Done()
}

// logOut revokes all tokens that the user has now. A later login brings a token that is accepted.
func logOut(auth *wsauth.Authenticator) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		err := auth.Revoke(r.Context(), wsauth.Revocation{Subject: claims.Subject, Before: time.Now()})
		switch {
		case errors.Is(err, wsauth.ErrUnavailable): // the other servers learn of it when the log is available again
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintln(w, "logged out on this server, and soon on the others")
		case err != nil:
			http.Error(w, "not logged out", http.StatusInternalServerError)
		default:
			fmt.Fprintln(w, "logged out everywhere")
		}
	}
}
