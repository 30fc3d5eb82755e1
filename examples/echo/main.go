// Command echo is a small server on echo, which needs no adapter: it wraps net/http's handlers and middleware by
// itself. CHAT_SECRET holds the secret that tokens are signed with, 32 bytes or more.
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
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/wsauth/wsauth"
)

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{
		Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
	}
	slog.Info("echo", "listens on", srv.Addr)
	log.Fatal(srv.ListenAndServe())
}

func newServer(secret []byte) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Logger: slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	e := echo.New()
	e.Use(requestLog(), middleware.Recover())
	e.GET("/ws", echo.WrapHandler(auth.Upgrade(chat, nil))) // Upgrade authenticates by itself
	withToken := echo.WrapMiddleware(auth.Middleware)
	e.GET("/me", me, withToken)
	// Echo's middlewares run from left to right. With UpgradeOptions.CloseOnRefusal it would have to be
	// echo.WrapHandler(auth.Middleware(moderators(auth.Upgrade(…)))): for a refusal that a browser can read, Middleware
	// and Require must see that what they wrap is an Upgrade, and echo's wrapping hides it.
	moderators := echo.WrapMiddleware(wsauth.RequireScopes("chat:moderate"))
	e.GET("/ws/moderators", echo.WrapHandler(auth.Upgrade(chat, nil)), withToken, moderators)
	return e, nil
}

// requestLog writes the path and no query string. With LogURI in place of LogURIPath, it would write every token in a
// query, and so do middleware.RequestLogger() and the older middleware.Logger() by default: this middleware is outside
// and sees the original request. Do not set LogQueryParams, LogReferer and LogHeaders either.
func requestLog() echo.MiddlewareFunc {
	return middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
		LogMethod:   true,
		LogURIPath:  true,
		LogStatus:   true,
		LogLatency:  true,
		HandleError: true, // so that the logged status is the one that is sent
		LogValuesFunc: func(c echo.Context, v middleware.RequestLoggerValues) error {
			slog.Info("request", "method", v.Method, "path", v.URIPath, "status", v.Status, "took", v.Latency)
			return nil
		},
	})
}

// chat is as short as possible; the chat of the nethttp example reads messages, too. When the token expires, the
// connection ends, and Read returns an error.
func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject)); err != nil {
		return
	}
	conn.Read(ctx)
}

// me answers with all claims of the token. The claims are in the request's context, not in echo's own.
func me(c echo.Context) error {
	claims, _ := wsauth.ClaimsFromContext(c.Request().Context())
	var all map[string]any
	if err := claims.Decode(&all); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, all)
}
