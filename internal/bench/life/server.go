package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/wsauth/wsauth"
)

// serverArg, as the only argument, makes the program the server: the paths of its handlers are in [newMux], and it ends
// when its standard input does.
const serverArg = "be-the-server"

func isServer() bool { return len(os.Args) == 2 && os.Args[1] == serverArg }

// settings is what the server is told on its standard input.
type settings struct {
	Secret []byte
	Grace  time.Duration
	Cache  int // how many tokens wsauth remembers
}

// addresses is its answer on the standard output.
type addresses struct{ WebSocket, Control string }

const issuer, audience = "https://id.example.com/", "bench"

// serve is the main function of the server.
func serve() int {
	if err := listenAndServe(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	return 0
}

func listenAndServe(stdin io.Reader, stdout io.Writer) error {
	in := json.NewDecoder(stdin)
	var set settings
	if err := in.Decode(&set); err != nil {
		return err
	}
	auth, err := newAuth(set)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	conns := &listener{TCPListener: ln.(*net.TCPListener)}
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(conns, newMux(auth, set.Grace)) }()
	go func() { failed <- http.Serve(control, controlMux(auth, conns)) }()
	addr := addresses{WebSocket: ln.Addr().String(), Control: control.Addr().String()}
	if err := json.NewEncoder(stdout).Encode(addr); err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		failed <- err
	}()
	return <-failed
}

func newAuth(set settings) (*wsauth.Authenticator, error) {
	return wsauth.New(wsauth.Options{
		Issuers:     []wsauth.Issuer{{Name: issuer, Audience: []string{audience}, Keys: wsauth.HMAC(set.Secret)}},
		Leeway:      -1,
		CacheSize:   set.Cache,
		Revocations: wsauth.Revocations{Keep: keep},
	})
}

// keep is longer than any token lives.
const keep = 4 * time.Hour

// newMux has a handler for each kind of server and each serve function.
func newMux(auth *wsauth.Authenticator, grace time.Duration) *http.ServeMux {
	mux := http.NewServeMux()
	for work, serve := range map[string]func(context.Context, *websocket.Conn){"echo": echo, "flood": flood} {
		mux.Handle("/wsauth/"+work, auth.Upgrade(serve, &wsauth.UpgradeOptions{Grace: grace}))
		mux.Handle("/detach/"+work, auth.Upgrade(serve, &wsauth.UpgradeOptions{Grace: grace, Detach: true}))
		mux.Handle("/plain/"+work, plain(serve))
	}
	mux.Handle("/gorilla/echo", http.HandlerFunc(gorillaEcho))
	mux.Handle("/guard/echo", auth.Guard(http.HandlerFunc(gorillaEcho), &wsauth.UpgradeOptions{Grace: grace}))
	mux.HandleFunc("/unrelated", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") })
	return mux
}

var upgrader gorilla.Upgrader

// gorillaEcho is the echo of gorilla's examples.
func gorillaEcho(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

// plain does with coder/websocket alone what one would write first to end a connection: a timer that closes it.
func plain(serve func(context.Context, *websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		exp, err := endIn(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		if exp != 0 {
			left := time.Until(time.UnixMilli(exp))
			timer := time.AfterFunc(left, func() { conn.Close(wsauth.StatusUnauthorized, "token expired") })
			defer timer.Stop()
		}
		serve(r.Context(), conn)
	}
}

// endIn returns the end of a token in Unix milliseconds, 0 without one. It does not parse the request's form, which
// would stay in memory as long as the connection.
func endIn(query string) (int64, error) {
	if query == "" {
		return 0, nil
	}
	return strconv.ParseInt(strings.TrimPrefix(query, "exp="), 10, 64)
}

const renewPrefix, renewedAnswer, refusedAnswer = "renew ", "renewed", "refused"

var renewed atomic.Int64

// echo sends back what it gets, and renews the token if it gets one.
func echo(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if token, ok := strings.CutPrefix(string(message), renewPrefix); ok {
			message = []byte(refusedAnswer)
			if _, err := wsauth.Renew(ctx, token); err == nil {
				renewed.Add(1)
				message = []byte(renewedAnswer)
			}
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return
		}
	}
}

var floodMessage = make([]byte, 64<<10)

// flood writes until it is stuck, and then until the connection is gone.
func flood(ctx context.Context, conn *websocket.Conn) {
	for conn.Write(ctx, websocket.MessageBinary, floodMessage) == nil {
	}
}

// A listener knows how many of its connections are open.
type listener struct {
	*net.TCPListener
	open       atomic.Int64
	lastClosed atomic.Int64 // in Unix nanoseconds
}

func (ln *listener) Accept() (net.Conn, error) {
	conn, err := ln.AcceptTCP()
	if err != nil {
		return nil, err
	}
	ln.open.Add(1)
	return &counted{TCPConn: conn, in: ln}, nil
}

// A counted connection still is a *net.TCPConn in all but type: SetLinger is there.
type counted struct {
	*net.TCPConn
	in     *listener
	closed atomic.Bool
}

func (c *counted) Close() error {
	err := c.TCPConn.Close()
	if !c.closed.Swap(true) {
		c.in.lastClosed.Store(time.Now().UnixNano())
		c.in.open.Add(-1)
	}
	return err
}
