// Command quickstart shows wsauth at work and needs nothing but Go: it is a server with a WebSocket that needs a token,
// an issuer of tokens, and a page to try them. It begins with a check of itself.
//
//	go run ./quickstart
//	go run ./quickstart -check
package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/browser"
)

type config struct {
	addr  string
	ttl   time.Duration
	check bool
}

func main() {
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "", "`address` to listen on (default 127.0.0.1:8080; with -check any free port)")
	flag.DurationVar(&cfg.ttl, "ttl", time.Minute, "how long a token lives, in whole seconds")
	flag.BoolVar(&cfg.check, "check", false, "check that everything goes as it should, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cfg, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, or with cfg.check until the check has ended.
func run(ctx context.Context, cfg config, out, logs io.Writer) error {
	if cfg.ttl < time.Second {
		return fmt.Errorf("-ttl %v: a token must live for a second at least", cfg.ttl)
	}
	listener, err := listen(cfg)
	if err != nil {
		return err
	}
	defer listener.Close()
	base := baseURL(listener.Addr())
	held := &heldWriter{to: logs}
	defer held.release()
	log := newLog(held)
	app, err := newServer(base, cfg.ttl, log)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           app,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(app.wire.listen(listener)) }()

	err = checkAndWait(ctx, cfg, out, held, base, app.idp, served)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// srv stops accepting and waits for requests. It does not know WebSockets: auth closes those, with 1001. They run
	// at the same time, so that a request that hangs takes no time from the WebSockets.
	ended := make(chan error, 1)
	go func() { ended <- app.auth.Shutdown(ctx) }()
	return errors.Join(err, srv.Shutdown(ctx), <-ended)
}

// checkAndWait runs the self-check. Then, unless only the check was requested, it waits until ctx ends or the server
// fails.
func checkAndWait(
	ctx context.Context, cfg config, out io.Writer, held *heldWriter, base string, idp *idp, served <-chan error,
) error {
	fmt.Fprintf(out, "wsauth quickstart on %s\n\nIt checks itself, in about 5 seconds. What it logs meanwhile comes after "+
		"that.\n\n", base)
	err := check(ctx, base, idp, out)
	fmt.Fprintln(out, "\nThe log, on stderr, has a line for each refusal and for each end of a connection:")
	held.release()
	if cfg.check {
		return err
	}
	if ctx.Err() != nil {
		return nil // Ctrl-C during the self-check is not a fault
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, next, base, cfg.ttl)
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return err
	}
}

func listen(cfg config) (net.Listener, error) {
	usual := "127.0.0.1:8080"
	if cfg.check {
		usual = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", cmp.Or(cfg.addr, usual))
	if err != nil {
		return nil, fmt.Errorf("%w\nIf another program has the port, choose one: -addr 127.0.0.1:8081", err)
	}
	return listener, nil
}

// baseURL is where a client on this machine finds a server that listens on addr.
func baseURL(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", tcp.Port)
	}
	return "http://" + addr.String()
}

// A server is the whole quickstart. An application needs only newServer and chat.
type server struct {
	http.Handler
	auth *wsauth.Authenticator
	idp  *idp  // for the check, which also needs tokens that no login hands out
	wire *wire // listens, so that the page can show handshakes
}

func newServer(base string, ttl time.Duration, log *slog.Logger) (*server, error) {
	idp, err := newIDP(base, ttl)
	if err != nil {
		return nil, err
	}
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     idp.keyName,
			Audience: []string{idp.audience},
			// Plain http is for loopback only. A real provider's set is found by discovery: wsauth.JWKS{}.
			Keys: wsauth.JWKS{URL: base + "/jwks.json"},
		}, {
			Name:     idp.secretName,
			Audience: []string{idp.audience},
			Keys:     wsauth.HMAC(idp.secret),
		}},
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(),
			wsauth.FromTicket("ticket", nil), // kept in memory
			wsauth.FromSubprotocol("bearer."),
			wsauth.FromCookie("access_token"),
			wsauth.FromQuery("access_token"),
		},
		// A logout is remembered for as long as a token can live.
		Revocations: wsauth.Revocations{Keep: max(ttl, maxTTL) + time.Second},
		// No leeway, so that the page's countdown and the connection end at the same moment. The default of 30 s is for
		// clocks that differ; here the issuer and the server have the same clock.
		Leeway: -1,
		Logger: log,
	})
	if err != nil {
		return nil, err
	}
	wire := newWire()
	mux := http.NewServeMux()
	addConnections(mux, auth)
	mux.Handle("POST /ticket", auth.Tickets())
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(me)))
	mux.Handle("GET /audit", auth.Middleware(wsauth.RequireScopes("audit")(http.HandlerFunc(me))))
	mux.Handle("GET /{$}", servePage(ttl))
	mux.HandleFunc("GET /wsauth.js", browser.ServeScript)
	mux.Handle("GET /wire/{id}", wire)

	// No other site may log a visitor in or out.
	sameOrigin := http.NewCrossOriginProtection()
	mux.HandleFunc("GET /jwks.json", idp.serveJWKS)
	mux.Handle("POST /login", sameOrigin.Handler(http.HandlerFunc(idp.login)))
	mux.Handle("POST /sample", sameOrigin.Handler(http.HandlerFunc(idp.sample)))
	// This is below the path of the cookie, for pages that have only the cookie.
	mux.Handle("POST /ws/logout", sameOrigin.Handler(logOut(auth, idp)))
	return &server{mux, auth, idp, wire}, nil
}

// addConnections adds the WebSockets. A browser sends the cookie with the token to /ws and below. So there are other
// paths for a page that wants to connect without a token, or to send the token in the first message.
func addConnections(mux *http.ServeMux, auth *wsauth.Authenticator) {
	chat := newRoom().chat
	readable := &wsauth.UpgradeOptions{CloseOnRefusal: true}
	mux.Handle("GET /ws", auth.Upgrade(chat, nil))
	mux.Handle("GET /ws/readable", auth.Upgrade(chat, readable))
	mux.Handle("GET /readable", auth.Upgrade(chat, readable))
	mux.Handle("GET /first", auth.Upgrade(chat, &wsauth.UpgradeOptions{
		CloseOnRefusal: true,
		FirstMessage:   3 * time.Second,
	}))
	mux.Handle("GET /audit/ws", auth.Middleware(wsauth.RequireScopes("audit")(auth.Upgrade(chat, readable))))
}

// logOut removes the cookie and revokes the tokens of the login that the request's token belongs to, or with
// ?everywhere the tokens of all logins of this user. That ends the connections that these tokens opened.
func logOut(auth *wsauth.Authenticator, idp *idp) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		idp.forget(w)
		authenticated, err := auth.Authenticate(r)
		switch {
		case errors.Is(err, wsauth.ErrUnavailable):
			auth.Refuse(w, r, err)
			return
		case err != nil: // a token that is no longer accepted needs no revocation
			writeJSON(w, map[string]bool{"revoked": false})
			return
		}
		claims, _ := wsauth.ClaimsFromContext(authenticated.Context())
		revoke := revokeLogin
		if r.URL.Query().Has("everywhere") {
			revoke = revokeUser
		}
		if err := revoke(r.Context(), auth, idp, claims); err != nil {
			auth.Refuse(w, r, err)
			return
		}
		writeJSON(w, map[string]bool{"revoked": true})
	}
}

func revokeLogin(ctx context.Context, auth *wsauth.Authenticator, _ *idp, claims *wsauth.Claims) error {
	var session struct {
		ID string `json:"sid"`
	}
	if err := claims.Decode(&session); err != nil {
		return err
	}
	return auth.Revoke(ctx, wsauth.Revocation{Issuer: claims.Issuer, Session: session.ID})
}

// revokeUser revokes at both issuers, where the user has the same name.
func revokeUser(ctx context.Context, auth *wsauth.Authenticator, idp *idp, claims *wsauth.Claims) error {
	now := time.Now()
	if err := auth.Revoke(ctx,
		wsauth.Revocation{Issuer: idp.keyName, Subject: claims.Subject, Before: now},
		wsauth.Revocation{Issuer: idp.secretName, Subject: claims.Subject, Before: now},
	); err != nil {
		return err
	}
	// A token that is issued within the same second is revoked, too. So the answer, and the next login, wait for the
	// end of the second.
	time.Sleep(time.Until(now.Truncate(time.Second).Add(time.Second)))
	return nil
}

// me answers with the claims over plain HTTP.
func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	var all map[string]any
	if err := claims.Decode(&all); err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	writeJSON(w, all)
}

//go:embed page.html
var page []byte

func servePage(ttl time.Duration) http.HandlerFunc {
	text := bytes.ReplaceAll(page, []byte("{{ttl}}"), fmt.Append(nil, int(ttl.Seconds())))
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		// The page has its style and script in it, and loads nothing but wsauth.js. It may connect to other hosts with
		// ws:, to show what happens to a foreign origin.
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self' 'unsafe-inline'; "+
			"style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws:; base-uri 'none'; form-action 'none'; "+
			"frame-ancestors 'none'")
		w.Write(text)
	}
}

// next says what to try by hand. Only the lines to paste are indented.
const next = `
Open %[1]s in a browser, or paste into a shell:

Log in (the token lives for %[2]v; log in again when it has ended), and ask who you are:

    TOKEN=$(curl -s -d name=alice %[1]s/login | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
    curl -i -H "Authorization: Bearer $TOKEN" %[1]s/me

The same without a token: 401, and a challenge that says what is missing.

    curl -i %[1]s/me

A WebSocket handshake by query (101), and by cookie from a foreign site (403):

    handshake() { curl -s -D - -o /dev/null -m 1 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
      -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==' "$@"; }
    handshake "%[1]s/ws?access_token=$TOKEN"
    handshake -H "Cookie: access_token=$TOKEN" -H 'Origin: https://evil.example' %[1]s/ws

Ctrl-C ends the server.
`
