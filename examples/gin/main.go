// Command gin is a small server on gin. CHAT_SECRET holds the secret that tokens are signed with, 32 bytes
// or more.
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
	"github.com/gin-gonic/gin"
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
	slog.Info("gin", "listens on", srv.Addr)
	log.Fatal(srv.ListenAndServe())
}

// authenticate is Middleware as a gin handler.
func authenticate(auth *wsauth.Authenticator) gin.HandlerFunc {
	return func(c *gin.Context) {
		r, err := auth.Authenticate(c.Request)
		if err != nil {
			auth.Refuse(c.Writer, c.Request, err)
			c.Abort()
			return
		}
		c.Request = r
	}
}

func newServer(secret []byte) (http.Handler, error) {
	r := gin.New()
	// gin.Default() logs query strings, and every token in them.
	r.Use(gin.LoggerWithConfig(gin.LoggerConfig{SkipQueryString: true}), gin.Recovery())
	if err := addRoutes(r, secret); err != nil {
		return nil, err
	}
	return r, nil
}

func addRoutes(r gin.IRouter, secret []byte) error {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Logger: slog.Default(),
	})
	if err != nil {
		return fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	r.GET("/ws", gin.WrapH(auth.Upgrade(chat, nil))) // Upgrade authenticates by itself
	withToken := r.Group("/", authenticate(auth))
	withToken.GET("/me", me)
	moderators := wsauth.RequireScopes("chat:moderate")
	withToken.GET("/ws/moderators", gin.WrapH(moderators(auth.Upgrade(chat, nil))))
	return nil
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

// me answers with all claims of the token. The claims are in the request's context, not in gin's own.
func me(c *gin.Context) {
	claims, _ := wsauth.ClaimsFromContext(c.Request.Context())
	var all map[string]any
	if err := claims.Decode(&all); err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.JSON(http.StatusOK, all)
}
