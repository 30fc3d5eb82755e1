package wsauth

import (
	"bufio"
	"context"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Close codes of the IANA WebSocket Close Code Number Registry that a browser can read, unlike the status of a
// refused handshake. Besides, 1001 says that the server is shutting down, and 1013 to try again later.
const (
	StatusUnauthorized websocket.StatusCode = refusal.CloseUnauthorized // the token has ended, or there is none, or a bad one
	StatusForbidden    websocket.StatusCode = refusal.CloseForbidden    // Require, or a foreign origin
	StatusTimeout      websocket.StatusCode = refusal.CloseTimeout      // the first message came too late
)

// markerProtocol is selected for clients of applications that have no subprotocol of their own: a browser gives a
// connection up if it offered protocols, if only to carry a token, and none is selected.
const markerProtocol = "wsauth"

// UpgradeOptions are the options of [Authenticator.Upgrade]. The zero value has the defaults.
type UpgradeOptions struct {
	// Accept has the subprotocols, the compression and the callbacks of the connection. Its OriginPatterns and
	// InsecureSkipVerify must not be set: which origins may connect is said once, in [Options.Origins].
	Accept *websocket.AcceptOptions

	// MaxLifetime ends a connection this long after it began, however long its token lives and however often it is
	// renewed, as if the token had ended. Default: no bound.
	MaxLifetime time.Duration

	// Grace is how long a peer has to answer the close frame before its connection is cut, also where serve closes it.
	// Default: 1 s.
	Grace time.Duration

	// FirstMessage lets a client without a token complete the handshake and send {"access_token":"…"}, or the bare
	// token, as its first text message within this time. Until then nothing else is read and serve does not run. If it
	// comes late the connection is closed with [StatusTimeout], if it is wrong with [StatusUnauthorized], if there are
	// too many connections or the keys are not to be had with 1013. No Middleware or Require can be in front of such a
	// handler: there are no claims yet, so serve must look at them. A handshake that does bring a token is judged by
	// it, also by one in a cookie that the browser adds: then a message with a token goes to serve, like any other. At
	// most 1024 connections of a handler wait at one time. Default: the handshake needs a token.
	FirstMessage time.Duration

	// CloseOnRefusal completes a handshake that is refused, and closes it at once with a code and a reason that a
	// browser can read: it shows a page any other refusal as 1006. The codes are [StatusUnauthorized] (no token, or a
	// bad one), [StatusForbidden] (Require, origin) and 1013 (try again later); the reasons are token_required,
	// invalid_token, invalid_request, insufficient_scope, foreign_origin, temporarily_unavailable and
	// too_many_connections. Middleware and Require do so, too, where they wrap this very handler, with no router or
	// other middleware in between. A page sees such a connection open before it is closed. Requests that are no
	// handshake get the response of [Options.OnRefuse], as do handshakes when 256 are being refused already.
	CloseOnRefusal bool

	// MaxConnections bounds the connections of this handler, those that wait for a first message included. More get
	// 503. Default: no bound.
	MaxConnections int

	// MaxPerSubject bounds the connections of this handler for each issuer and subject; tokens without sub count as one
	// subject. More get 429. Default: no bound.
	MaxPerSubject int

	// Detach runs serve in a goroutine of its own and lets the handler return at once, which frees what net/http holds
	// for a request: several KB for each connection. Middleware outside sees a request that is over: do not set it
	// behind one that needs to know when the connection ends. Routers that use again what they have put into a request's
	// context do so while serve runs: chi.URLParam in serve, or in a [Require] that [Renew] asks, would be that of
	// another request, so a middleware of yours must copy it first. Panics of serve are logged as net/http does.
	Detach bool
}

// Upgrade returns a handler that accepts WebSocket connections with a valid token and runs serve on each. It
// authenticates by itself, unless this Authenticator's Middleware has done so already, and refuses a handshake from
// an origin that is neither the server's own nor one of [Options.Origins], whatever carries its token. Of the
// subprotocols in Accept it selects the first that the client offers, else "wsauth" if that is offered.
//
// The context given to serve has the claims ([ClaimsFromContext]) and the values of the request's context, but not
// its deadline; it ends with the connection, and a moment after a Read has found that the peer has gone. What serve needs
// of the request itself, a path value for one, a middleware of yours puts into that context. Call Upgrade once for a
// route, not for each request: the bounds in opts are those of one handler.
//
// At the end of the token (exp + Leeway), unless [Renew] has put it off, the connection is closed with
// [StatusUnauthorized] and the reason "token expired": from then on no message reaches serve and none leaves, a Read
// under way returns an error that is [ErrExpired], the peer has Grace to answer, then the context is cancelled with the
// cause ErrExpired. A Write, and a Read that begins later, may fail with another error; after <-ctx.Done(),
// [context.Cause] says why. When serve returns, the connection is closed with 1000; when it panics, with 1011, and the
// panic goes on to net/http.
//
// A request that is no WebSocket handshake of HTTP/1.1 gets 426, once it is authenticated, and one whose ResponseWriter
// cannot be taken over (behind [http.TimeoutHandler]) gets 501.
//
// Upgrade panics if serve is nil, if a number in opts is negative, if opts say which origins may connect, or if a
// subprotocol in Accept has the prefix of a FromSubprotocol.
func (a *Authenticator) Upgrade(serve func(ctx context.Context, conn *websocket.Conn), opts *UpgradeOptions) http.Handler {
	if serve == nil {
		panic("wsauth: Upgrade with a nil serve")
	}
	u := &upgrader{auth: a, serve: serve}
	if opts != nil {
		u.opts = *opts
	}
	if o := u.opts; min(o.MaxLifetime, o.Grace, o.FirstMessage) < 0 || min(o.MaxConnections, o.MaxPerSubject) < 0 {
		panic("wsauth: UpgradeOptions with a negative number")
	}
	if u.opts.Grace == 0 {
		u.opts.Grace = time.Second
	}
	if u.opts.Accept != nil {
		u.accept = *u.opts.Accept
	}
	if u.accept.InsecureSkipVerify || len(u.accept.OriginPatterns) > 0 {
		panic("wsauth: UpgradeOptions.Accept with origins of its own; they belong into Options.Origins")
	}
	if slices.ContainsFunc(u.accept.Subprotocols, a.takesForToken) {
		panic("wsauth: UpgradeOptions.Accept with a subprotocol that an Extractor takes for a token")
	}
	u.accept.InsecureSkipVerify = true // checkOrigin has checked it, scheme included
	u.accept.Subprotocols = append(slices.Clone(u.accept.Subprotocols), markerProtocol)
	if onPing := u.accept.OnPingReceived; onPing != nil {
		u.accept.OnPingReceived = func(ctx context.Context, payload []byte) bool {
			return awaitsToken(ctx) || onPing(ctx, payload)
		}
	}
	if onPong := u.accept.OnPongReceived; onPong != nil {
		u.accept.OnPongReceived = func(ctx context.Context, payload []byte) {
			if !awaitsToken(ctx) {
				onPong(ctx, payload)
			}
		}
	}
	u.seats = seats{max: u.opts.MaxConnections, maxPerSubject: u.opts.MaxPerSubject}
	return u
}

// takesForToken reports whether an entry of Sec-WebSocket-Protocol would be read as a token: a token is never selected.
func (a *Authenticator) takesForToken(protocol string) bool {
	return !a.isZero() && slices.ContainsFunc(a.policy.places, func(p credential.Place) bool { return p.Takes(protocol) })
}

// awaitsToken reports whether ctx is that of a connection whose client has shown no token yet: nothing of the
// application's runs for it.
func awaitsToken(ctx context.Context) bool {
	id := identityOf(ctx)
	return id != nil && id.conn != nil && id.conn.claims.Load() == nil
}

// An upgrader is the handler of one call of Upgrade.
type upgrader struct {
	auth     *Authenticator
	serve    func(context.Context, *websocket.Conn)
	opts     UpgradeOptions
	accept   websocket.AcceptOptions
	seats    seats
	refusing atomic.Int32 // handshakes that are being completed to be closed
}

const maxRefusing = 256

func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := u.identify(r)
	if err != nil {
		u.auth.refuse(w, r, err, u)
		return
	}
	seat, err := u.admit(id)
	if err != nil {
		u.auth.refuse(w, r, id.trail().On(err), u)
		return
	}
	c, ctx := u.connect(w, r, id, seat)
	if c == nil {
		return
	}
	if !u.opts.Detach {
		c.run(ctx, u)
		return
	}
	reportPanic := panicReporter(r)
	go func() {
		defer reportPanic()
		c.run(ctx, u)
	}()
}

// identify returns an identity. It has no claims if they are to come with the first message.
func (u *upgrader) identify(r *http.Request) (*identity, error) {
	a := u.auth
	if a.isZero() {
		return nil, refusal.New(ErrUnavailable, errZero)
	}
	if a.live.isDown() {
		return nil, refusal.New(ErrUnavailable, http.ErrServerClosed)
	}
	if err := a.policy.origins.Check(r); err != nil {
		return nil, err
	}
	id, _, err := a.identify(r)
	if u.opts.FirstMessage > 0 && refusal.IsNoToken(err) && credential.IsHandshake(r) {
		return &identity{auth: a}, nil
	}
	return id, err
}

// admit counts a connection in, before the client can take it for one: Shutdown waits for it from here on.
func (u *upgrader) admit(id *identity) (seat, error) {
	taken, err := u.seats.take(id.claims)
	if err == nil && !u.auth.live.begin() {
		taken.leave()
		err = refusal.New(ErrUnavailable, http.ErrServerClosed)
	}
	return taken, err
}

// connect turns an authenticated request into a connection, whose context it returns; nil: it was no handshake, the
// response is written and the connection counted out.
func (u *upgrader) connect(w http.ResponseWriter, r *http.Request, id *identity, taken seat) (c *connection, _ context.Context) {
	defer func() {
		if c == nil { // also where a ResponseWriter panics
			taken.leave()
			u.auth.live.fail()
		}
	}()
	around := r.Context()
	if around == context.Context(id) {
		around = id.Context // the connection has an identity of its own
	}
	// What is around the handler may set a timeout on the request; the connection outlives it.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(around))
	ws, gated := u.acceptGated(w, r, func(why error) {
		closed, _ := why.(closeError)
		cancel(closed.cause)
	})
	if ws == nil {
		cancel(nil)
		return nil, nil
	}
	c = &connection{auth: u.auth, ws: ws, gate: gated, grace: u.opts.Grace, checks: id.checks, seen: id.seen, seat: taken, cancel: cancel}
	c.claims.Store(id.claims)
	return c, &identity{Context: ctx, auth: u.auth, conn: c}
}

// acceptGated completes the handshake. On nil, the response is written.
func (u *upgrader) acceptGated(w http.ResponseWriter, r *http.Request, onClose func(error)) (*websocket.Conn, *gate.Conn) {
	var gated *gatedWriter
	if canHijack(w) { // otherwise Accept says so to the client
		gated = &gatedWriter{ResponseWriter: w, onClose: onClose}
		w = gated
	}
	ws, err := websocket.Accept(w, r, &u.accept)
	if err != nil {
		return nil, nil
	}
	return ws, gated.gate
}

// closeRefused completes a handshake that is refused, to close it with the reason, and reports whether it answered the
// request. Nothing of what the client sends is read but its close frame.
func (u *upgrader) closeRefused(w http.ResponseWriter, r *http.Request, err error) bool {
	if !u.opts.CloseOnRefusal || !credential.IsHandshake(r) || !canHijack(w) {
		return false
	}
	defer u.refusing.Add(-1)
	if u.refusing.Add(1) > maxRefusing {
		return false
	}
	ws, gated := u.acceptGated(w, r, func(error) {})
	if ws != nil {
		response := refusal.ResponseTo(err)
		gated.Shut(err, time.Now().Add(min(u.opts.Grace, time.Second)))
		ws.Close(websocket.StatusCode(response.CloseCode), response.Reason)
	}
	return true
}

// panicReporter returns a function that, deferred, does what net/http does about the panic of a handler. It does not
// hold on to the request.
func panicReporter(r *http.Request) func() {
	addr, logf := r.RemoteAddr, log.Printf
	if srv, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && srv.ErrorLog != nil {
		logf = srv.ErrorLog.Printf
	}
	return func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			logf("http: panic serving %v: %v\n%s", addr, p, debug.Stack())
		}
	}
}

// canHijack reports whether the connection behind w can be taken over, as http.ResponseController finds out.
func canHijack(w http.ResponseWriter) bool {
	for {
		if _, ok := w.(http.Hijacker); ok {
			return true
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = inner.Unwrap()
	}
}

// A gatedWriter puts a gate in front of the connection that is taken over through it.
type gatedWriter struct {
	http.ResponseWriter
	onClose func(cause error)
	gate    *gate.Conn
}

func (w *gatedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *gatedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	writeHeaderNow(w.ResponseWriter)
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if w.gate, err = gate.New(conn, rw, w.onClose); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return w.gate, w.gate.ReadWriter(), nil
}

// writeHeaderNow makes gin's ResponseWriter send the 101, which it otherwise keeps back until the handler returns.
// coder/websocket does so, too, but sees only the outermost writer.
func writeHeaderNow(w http.ResponseWriter) {
	for {
		if gin, ok := w.(interface{ WriteHeaderNow() }); ok {
			gin.WriteHeaderNow()
			return
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}
