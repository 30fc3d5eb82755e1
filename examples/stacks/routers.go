// Package stacks holds what docs/stacks.md shows: wsauth in routers, WebSocket libraries and protocols. A test compares
// the page with the examples; the other tests connect to each stack.
package stacks

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	gorillamux "github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/labstack/echo/v4"

	"github.com/wsauth/wsauth"
)

// chat is served by Upgrade.
func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	conn.Read(ctx)
}

// members are the users of a team.
type members interface {
	Has(ctx context.Context, subject string) error
}

// me is an ordinary route.
func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	fmt.Fprint(w, claims.Subject)
}

func inNetHTTP(auth *wsauth.Authenticator, team members) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(chat, nil))
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(me)))
	mux.Handle("GET /admin/ws", auth.Middleware(wsauth.RequireScopes("chat:admin")(auth.Upgrade(chat, nil))))

	member := wsauth.Require(func(ctx context.Context, c *wsauth.Claims) error {
		return team.Has(ctx, c.Subject) // nil: yes; an error: 403
	})
	mux.Handle("GET /team/ws", auth.Middleware(member(auth.Upgrade(chat, nil))))
	return mux
}

func inChi(auth *wsauth.Authenticator) http.Handler {
	r := chi.NewRouter()
	r.Handle("/ws", auth.Upgrade(chat, nil))
	r.Group(func(r chi.Router) {
		r.Use(auth.Middleware, wsauth.RequireScopes("profile"))
		r.Get("/me", me)
	})
	return r
}

func inGin(auth *wsauth.Authenticator) http.Handler {
	r := gin.New()
	r.GET("/ws", gin.WrapH(auth.Upgrade(chat, nil)))

	withToken := r.Group("/", func(c *gin.Context) {
		req, err := auth.Authenticate(c.Request)
		if err != nil {
			auth.Refuse(c.Writer, c.Request, err)
			c.Abort()
			return
		}
		c.Request = req // the claims are in its context; c is not that context
	})
	withToken.GET("/me", func(c *gin.Context) {
		claims, _ := wsauth.ClaimsFromContext(c.Request.Context())
		c.String(http.StatusOK, claims.Subject)
	})
	return r
}

func inEcho(auth *wsauth.Authenticator) http.Handler {
	e := echo.New()
	e.GET("/ws", echo.WrapHandler(auth.Upgrade(chat, nil)))
	e.GET("/me", func(c echo.Context) error {
		claims, _ := wsauth.ClaimsFromContext(c.Request().Context())
		return c.String(http.StatusOK, claims.Subject)
	}, echo.WrapMiddleware(auth.Middleware))
	return e
}

func inGorillaMux(auth *wsauth.Authenticator) http.Handler {
	r := gorillamux.NewRouter()
	r.Handle("/ws", auth.Upgrade(chat, nil)).Methods(http.MethodGet)

	withToken := r.NewRoute().Subrouter()
	withToken.Use(auth.Middleware)
	withToken.HandleFunc("/me", me).Methods(http.MethodGet)
	return r
}

func inHTTPRouter(auth *wsauth.Authenticator) http.Handler {
	r := httprouter.New()
	r.Handler(http.MethodGet, "/ws", auth.Upgrade(chat, nil))
	r.Handler(http.MethodGet, "/me", auth.Middleware(http.HandlerFunc(me)))

	room := func(ctx context.Context, conn *websocket.Conn) {
		name := httprouter.ParamsFromContext(ctx).ByName("room") // serve's context has it, too
		conn.Write(ctx, websocket.MessageText, []byte("this is "+name))
		conn.Read(ctx)
	}
	r.Handler(http.MethodGet, "/rooms/:room/ws", auth.Upgrade(room, nil))
	return r
}

func inFiber(auth *wsauth.Authenticator) *fiber.App {
	app := fiber.New()
	app.Get("/me", func(c *fiber.Ctx) error {
		token, ok := strings.CutPrefix(c.Get("Authorization"), "Bearer ")
		if !ok {
			return fiber.ErrUnauthorized
		}
		claims, err := auth.Verify(c.UserContext(), token)
		if err != nil {
			return c.Status(wsauth.Status(err)).SendString(wsauth.Reason(err))
		}
		return c.SendString(claims.Subject)
	})
	return app
}
