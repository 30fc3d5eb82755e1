// Command crossorigin is an API whose page has another origin, even another site: the page is at http://localhost:5173,
// where a development server would have it, and the API at http://127.0.0.1:8080. The page logs in with a token, and
// keeps it in a cookie of the API that no script can read. CHAT_SECRET holds the secret that tokens are signed with,
// 32 bytes or more.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/cors"
	"github.com/wsauth/wsauth"
)

const pageOrigin = "http://localhost:5173"

func main() {
	api, err := newAPI([]byte(os.Getenv("CHAT_SECRET")), pageOrigin)
	if err != nil {
		log.Fatal(err)
	}
	addr := cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")
	go func() { log.Fatal(listen("localhost:5173", newPage("http://"+addr))) }()
	slog.Info("crossorigin", "page", pageOrigin, "API listens on", addr)
	log.Fatal(listen(addr, api))
}

func listen(addr string, handler http.Handler) error {
	srv := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return srv.ListenAndServe()
}

//go:embed page.html
var page string

// newPage is the front end. It knows where the API is, and nothing else.
func newPage(api string) http.Handler {
	html := template.Must(template.New("page").Parse(page))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		html.Execute(w, api)
	})
}

func newAPI(secret []byte, page string) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromCookie(cookieName), wsauth.FromSubprotocol("bearer."),
		},
		Origins: []string{page}, // may open a WebSocket, and may POST with the cookie
		Logger:  slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /session", auth.Middleware(http.HandlerFunc(logIn)))
	mux.HandleFunc("DELETE /session", logOut)
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(me)))
	mux.Handle("POST /me", auth.Middleware(http.HandlerFunc(me)))
	mux.Handle("GET /ws", auth.Upgrade(chat, nil))
	return crossOrigin(mux, page)
}

// crossOrigin lets the page call routes of mux with the cookie and read what they answer. It has nothing to do with
// WebSockets: only Options.Origins says which pages may open a WebSocket.
func crossOrigin(mux http.Handler, page string) (http.Handler, error) {
	// It also covers routes that are not behind auth, such as DELETE /session.
	unsafe := http.NewCrossOriginProtection()
	if err := unsafe.AddTrustedOrigin(page); err != nil {
		return nil, err
	}
	readers := cors.New(cors.Options{
		AllowedOrigins:   []string{page}, // never "*" with credentials
		AllowCredentials: true,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders:   []string{"Authorization", "Content-Type"},
	})
	return readers.Handler(unsafe.Handler(mux)), nil // CORS outside: a preflight has no token
}

const cookieName = "__Host-access_token"

// logIn puts the token of the header into the cookie.
func logIn(w http.ResponseWriter, r *http.Request) {
	_, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok {
		http.Error(w, "the token must be in the header", http.StatusBadRequest)
		return
	}
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	http.SetCookie(w, newCookie(token, claims.Expiry))
	w.WriteHeader(http.StatusNoContent)
}

func logOut(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, newCookie("", time.Unix(1, 0)))
	w.WriteHeader(http.StatusNoContent)
}

func newCookie(token string, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name:        cookieName,
		Value:       token,
		Path:        "/",
		Expires:     expires,
		Secure:      true, // browsers count localhost and 127.0.0.1 as secure
		HttpOnly:    true,
		SameSite:    http.SameSiteNoneMode, // the page belongs to another site
		Partitioned: true,                  // or it would be a third-party cookie, which browsers block
	}
}

func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	fmt.Fprint(w, claims.Subject)
}

func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject)); err != nil {
		return
	}
	conn.Read(ctx)
}
