package stacks

import (
	"context"
	"net/http"

	"github.com/centrifugal/centrifuge"
	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/olahol/melody"
	xnet "golang.org/x/net/websocket"

	"github.com/wsauth/wsauth"
)

func withGorilla(auth *wsauth.Authenticator, mux *http.ServeMux) {
	upgrader := gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }} // Guard has checked it

	mux.Handle("GET /ws", auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		conn.WriteMessage(gorilla.TextMessage, []byte("hello "+claims.Subject))
		conn.ReadMessage()
	}), nil))
}

// Guard has checked the origin.
var anyOrigin = &coder.AcceptOptions{InsecureSkipVerify: true}

func withCoder(auth *wsauth.Authenticator, mux *http.ServeMux) {
	mux.Handle("GET /ws", auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := coder.Accept(w, r, anyOrigin)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		chat(r.Context(), conn)
	}), nil))
}

func withGobwas(auth *wsauth.Authenticator, mux *http.ServeMux) {
	mux.Handle("GET /ws", auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		go func() { // Guard counts the connection until it is closed
			defer conn.Close()
			wsutil.WriteServerText(conn, []byte("hello "+claims.Subject))
			wsutil.ReadClientData(conn)
		}()
	}), nil))
}

func withXNet(auth *wsauth.Authenticator, mux *http.ServeMux) {
	serve := func(conn *xnet.Conn) {
		claims, _ := wsauth.ClaimsFromContext(conn.Request().Context())
		xnet.Message.Send(conn, "hello "+claims.Subject)
		var message string
		xnet.Message.Receive(conn, &message)
	}
	mux.Handle("GET /ws", auth.Guard(xnet.Server{Handler: serve}, nil)) // xnet.Handler(serve) wants an Origin
}

func withMelody(auth *wsauth.Authenticator, mux *http.ServeMux) {
	m := melody.New()
	m.HandleConnect(func(s *melody.Session) {
		claims, _ := wsauth.ClaimsFromContext(s.Request.Context())
		s.Write([]byte("hello " + claims.Subject))
	})
	mux.Handle("GET /ws", auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.HandleRequest(w, r)
	}), nil))
}

func withCentrifuge(auth *wsauth.Authenticator, mux *http.ServeMux, node *centrifuge.Node) {
	node.OnConnecting(func(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		claims, ok := wsauth.ClaimsFromContext(ctx)
		if !ok {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: claims.Subject}}, nil
	})
	mux.Handle("GET /ws", auth.Guard(centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}), nil))
}
