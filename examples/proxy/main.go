// Command proxy stands in front of a WebSocket server in another language that knows nothing of tokens. That server
// gets the subject of the verified token in X-User, but never the token, and its connections end with their tokens.
// upstream.mjs is such a server, in Node.js. UPSTREAM is its address, and CHAT_SECRET holds the secret that tokens are
// signed with, 32 bytes or more.
package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/wsauth/wsauth"
)

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")), cmp.Or(os.Getenv("UPSTREAM"), "http://127.0.0.1:9090"))
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("proxy", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("proxy", "err", err)
	os.Exit(1)
}

func newServer(secret []byte, upstream string) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		// Guard takes a token out of the query, rewrite takes it out of the header. A cookie would be passed on.
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromQuery("access_token")},
		Logger:     slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, fmt.Errorf("with UPSTREAM as the address of the server behind: %w", err)
	}
	return auth.Guard(&httputil.ReverseProxy{Rewrite: rewrite(target)}, nil), nil
}

// rewrite tells the server behind the proxy who the user is. Whoever can reach that server without the proxy can claim
// to be anybody: it must listen where only the proxy can reach it.
func rewrite(target *url.URL) func(*httputil.ProxyRequest) {
	return func(r *httputil.ProxyRequest) {
		claims, _ := wsauth.ClaimsFromContext(r.In.Context())
		r.SetURL(target)
		r.Out.Header.Del("Authorization")
		r.Out.Header.Set("X-User", url.PathEscape(claims.Subject)) // replaces the client's; a header is ASCII
	}
}
