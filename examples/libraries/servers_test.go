package libraries_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge"
	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/olahol/melody"
	xnet "golang.org/x/net/websocket"

	"github.com/wsauth/wsauth"
)

// An application is what the servers of all libraries serve. It answers a message with the same message.
type application interface {
	// answer returns what to send back; false: nothing.
	answer(ctx context.Context, message []byte) ([]byte, bool)

	// over is told what ended the reading: the error of the library's Read, or nil if the library does not say.
	over(ctx context.Context, err error)
}

// A library is a server in the shape of its own example. Protect puts it behind an Authenticator.
type library struct {
	name    string
	handler func(*testing.T, application) http.Handler      // behind Guard
	serve   func(context.Context, *coder.Conn, application) // by Upgrade
	max     int                                             // bytes of a message
	deflate bool                                            // compresses if the client offers it

	asks    bool // the application's answer is asked, so that it can renew
	reports bool // it says what its Read returned
	cancels bool // its Read returns the context's error if that has ended before Read returns (coder's finishRead)
	loops   bool // it needs a network with buffers and a clock that goes on
	greeted bool // it sends nothing before it was sent a connect command
	variant bool // a variant of another library that a flood does not distinguish
}

func (l library) protect(
	t *testing.T, auth *wsauth.Authenticator, app application, opts *wsauth.UpgradeOptions,
) http.Handler {
	if l.serve == nil {
		return auth.Guard(l.handler(t, app), opts)
	}
	var o wsauth.UpgradeOptions
	if opts != nil {
		o = *opts
	}
	if l.deflate {
		o.Accept = &coder.AcceptOptions{CompressionMode: coder.CompressionNoContextTakeover}
	}
	return auth.Upgrade(func(ctx context.Context, conn *coder.Conn) { l.serve(ctx, conn, app) }, &o)
}

const anyLength = 1 << 20 // the longest message of these tests

var libraries = []library{
	{name: "Upgrade", serve: echoCoder, max: anyLength, asks: true, reports: true, cancels: true},
	{
		name: "Upgrade, compressed", serve: echoCoder,
		max: anyLength, asks: true, reports: true, cancels: true, deflate: true, variant: true,
	},
	{name: "gorilla", handler: gorillaEcho(gorilla.Upgrader{}), max: anyLength, asks: true, reports: true},
	{
		name: "gorilla, compressed", handler: gorillaEcho(gorilla.Upgrader{EnableCompression: true}),
		max: anyLength, asks: true, reports: true, deflate: true,
	},
	{
		name: "gorilla, with a pool of buffers", max: anyLength, asks: true, reports: true, variant: true,
		handler: gorillaEcho(gorilla.Upgrader{ReadBufferSize: 4096, WriteBufferSize: 4096, WriteBufferPool: writers}),
	},
	{name: "gorilla, whose handler returns", handler: gorillaChat, max: 512, asks: true, reports: true},
	{
		name: "coder", handler: coderEcho(coder.CompressionDisabled),
		max: anyLength, asks: true, reports: true, cancels: true,
	},
	{
		name: "coder, compressed", handler: coderEcho(coder.CompressionNoContextTakeover),
		max: anyLength, asks: true, reports: true, cancels: true, deflate: true,
	},
	{ // a megabyte for each connection
		name: "coder, compressed with context", handler: coderEcho(coder.CompressionContextTakeover),
		max: anyLength, asks: true, reports: true, cancels: true, deflate: true, variant: true,
	},
	{name: "gobwas", handler: gobwasEcho, max: anyLength, asks: true, reports: true},
	{name: "x/net", handler: xnetEcho, max: anyLength, asks: true, reports: true},
	{name: "x/net, io.Copy", handler: xnetCopy, max: 125, reports: true}, // it frames each piece that it reads
	{name: "melody", handler: melodyEcho, max: anyLength, asks: true, reports: true},
	{name: "centrifuge", handler: centrifugeEcho, max: anyLength / 2, asks: true, loops: true, greeted: true},
	{name: "ReverseProxy", handler: proxiedEcho, max: anyLength, loops: true},
}

func gorillaEcho(upgrader gorilla.Upgrader) func(*testing.T, application) http.Handler {
	return func(t *testing.T, app application) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			for {
				kind, message, err := conn.ReadMessage()
				if err != nil {
					app.over(r.Context(), err)
					return
				}
				answer, ok := app.answer(r.Context(), message)
				if !ok {
					continue
				}
				if err := conn.WriteMessage(kind, answer); err != nil {
					app.over(r.Context(), err)
					return
				}
			}
		})
	}
}

func coderEcho(mode coder.CompressionMode) func(*testing.T, application) http.Handler {
	return func(t *testing.T, app application) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: mode})
			if err != nil {
				return
			}
			defer conn.CloseNow()
			echoCoder(r.Context(), conn, app)
		})
	}
}

func echoCoder(ctx context.Context, conn *coder.Conn, app application) {
	conn.SetReadLimit(-1)
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			app.over(ctx, err)
			return
		}
		answer, ok := app.answer(ctx, message)
		if !ok {
			continue
		}
		if err := conn.Write(ctx, kind, answer); err != nil {
			app.over(ctx, err)
			return
		}
	}
}

// gobwasEcho returns from its handler, as the first example in the library's README does.
func gobwasEcho(t *testing.T, app application) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for {
				message, op, err := wsutil.ReadClientData(conn)
				if err != nil {
					app.over(r.Context(), err)
					return
				}
				answer, ok := app.answer(r.Context(), message)
				if !ok {
					continue
				}
				if err := wsutil.WriteServerMessage(conn, op, answer); err != nil {
					app.over(r.Context(), err)
					return
				}
			}
		}()
	})
}

func xnetEcho(t *testing.T, app application) http.Handler {
	return xnet.Handler(func(conn *xnet.Conn) {
		ctx := conn.Request().Context()
		for {
			var message string
			if err := xnet.Message.Receive(conn, &message); err != nil {
				app.over(ctx, err)
				return
			}
			answer, ok := app.answer(ctx, []byte(message))
			if !ok {
				continue
			}
			if err := xnet.Message.Send(conn, string(answer)); err != nil {
				app.over(ctx, err)
				return
			}
		}
	})
}

func melodyEcho(t *testing.T, app application) http.Handler {
	m := melody.New()
	t.Cleanup(func() {
		for range 1000 { // whoever comes or leaves later is stuck forever
			time.Sleep(10 * time.Millisecond)
			if m.Len() == 0 {
				break
			}
		}
		m.Close()
	})
	m.Config.MaxMessageSize = anyLength
	m.HandleMessage(func(s *melody.Session, message []byte) {
		if answer, ok := app.answer(s.Request.Context(), message); ok {
			s.Write(answer)
		}
	})
	m.HandleError(func(s *melody.Session, err error) { app.over(s.Request.Context(), err) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.HandleRequest(w, r) })
}

// centrifugeEcho answers the RPC calls of clients that have sent a connect command.
func centrifugeEcho(t *testing.T, app application) http.Handler {
	// Or it closes slow clients with a 3008 of its own.
	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	node.OnConnecting(func(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		if _, ok := wsauth.ClaimsFromContext(ctx); !ok && e.Token != "" {
			if _, err := wsauth.Renew(ctx, e.Token); err != nil {
				return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
			}
		}
		claims, ok := wsauth.ClaimsFromContext(ctx)
		if !ok {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: claims.Subject}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		ctx := client.Context()
		client.OnRPC(func(e centrifuge.RPCEvent, reply centrifuge.RPCCallback) {
			answer, _ := app.answer(ctx, unquoted(e.Data))
			reply(centrifuge.RPCReply{Data: quoted(answer)}, nil)
		})
	})
	if err := node.Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Shutdown(context.Background()) })
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		MessageSizeLimit: anyLength, WriteTimeout: time.Minute, // or it gives up peers on a busy machine
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.over(r.Context(), nil)
		handler.ServeHTTP(w, r)
	})
}

// proxiedEcho is a server of its own, which knows nothing of tokens, behind a proxy.
func proxiedEcho(t *testing.T, app application) http.Handler {
	backend := httptest.NewServer(gorillaEcho(gorilla.Upgrader{})(t, idle{}))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Header.Del("Origin") },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.over(r.Context(), nil)
		proxy.ServeHTTP(w, r)
	})
}

// idle is an application that only echoes.
type idle struct{}

func (idle) answer(_ context.Context, message []byte) ([]byte, bool) { return message, true }
func (idle) over(context.Context, error)                             {}
