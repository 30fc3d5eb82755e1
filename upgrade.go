package wsauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/life"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Close codes of the IANA WebSocket Close Code Number Registry that a browser can read, unlike the status of a
// refused handshake. Besides, 1001 says that the server is shutting down, and 1013 to try again later.
const (
	StatusUnauthorized websocket.StatusCode = refusal.CloseUnauthorized // the token has ended, or there is none, or a bad one
	StatusForbidden    websocket.StatusCode = refusal.CloseForbidden    // Require, or a foreign origin
	StatusTimeout      websocket.StatusCode = refusal.CloseTimeout      // the first message, or the answer to a ping, came too late
	StatusReplaced     websocket.StatusCode = 4001                      // ReplaceOldest; of the range for private use
)

// UpgradeOptions are the options of [Authenticator.Upgrade] and [Authenticator.Guard]. The zero value has the defaults.
type UpgradeOptions struct {
	// Accept has the subprotocols, the compression and the callbacks of the connection. Its OriginPatterns and
	// InsecureSkipVerify must not be set: which origins may connect is said once, in [Options.Origins]. Only for Upgrade.
	Accept *websocket.AcceptOptions

	// Require are checks of this handler, as those of [Require]: each is asked at the handshake, about the token of a
	// first message, and about each token that [Renew] is given.
	Require []func(context.Context, *Claims) error

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

	// FirstToken takes the token from a first message of the application's own form, for Upgrade: an error refuses it, and
	// its text goes nowhere. Default: {"access_token":"…"} or the bare token, as text.
	FirstToken func(message []byte) (token string, err error)

	// Ping has a peer pinged that has been silent for this long. If nothing comes from it for as long again, its
	// connection ends: its context is cancelled and its seat is given back. That also finds out that the peer of a
	// handler which never reads has gone. Default: nobody is pinged, and a peer that vanishes without a word holds its
	// seat until its token ends.
	Ping time.Duration

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

	// ReplaceOldest lets the newest connection of a subject in where it has MaxPerSubject already, and closes its oldest
	// with [StatusReplaced] and the reason "replaced": a client that comes back then would only replace the other.
	ReplaceOldest bool

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
// subprotocols in Accept it selects the first that the client offers, else the entry that announces a token
// ([FromSubprotocol]), else "wsauth" if that is offered.
//
// The context given to serve has the claims ([ClaimsFromContext]) and the values of the request's context, but not
// its deadline; it ends with the connection, and a moment after a Read has found that the peer has gone. What serve needs
// of the request itself, a path value for one, a middleware of yours puts into that context. Call Upgrade once for a
// route, not for each request: the bounds in opts are those of one handler.
//
// At the end of the token (exp + Leeway), unless [Renew] has put it off, the connection is closed with
// [StatusUnauthorized] and the reason "token expired": from then on no message reaches serve and none leaves, a Read
// under way returns an error that is [ErrExpired], the peer has Grace to answer, then the context is cancelled with the
// cause ErrExpired. A Write, a Read that begins later, and one that comes back only after that, may fail with another
// error; after <-ctx.Done(), [context.Cause] says why. When serve returns, the connection is closed with 1000; when it
// panics, with 1011, and the panic goes on to net/http.
//
// A request that is no WebSocket handshake of HTTP/1.1 gets 426, once it is authenticated, and one whose ResponseWriter
// cannot be taken over (behind [http.TimeoutHandler]) gets 501. The 101 is written to the connection once that is taken
// over, with what middleware outside has put into the header: a ResponseWriter in between cannot lose it, and an access
// log that asks one shows the status that it assumes of a connection that was taken over, mostly 200.
//
// Upgrade panics if serve is nil, if a number in opts is negative, if opts say which origins may connect, or if a
// subprotocol in Accept has the prefix of a FromSubprotocol.
func (a *Authenticator) Upgrade(serve func(ctx context.Context, conn *websocket.Conn), opts *UpgradeOptions) http.Handler {
	if serve == nil {
		panic("wsauth: Upgrade with a nil serve")
	}
	u := &upgrader{serve: serve}
	u.init(a, opts)
	if u.opts.Accept != nil {
		u.accept = *u.opts.Accept
	}
	if u.accept.InsecureSkipVerify || len(u.accept.OriginPatterns) > 0 {
		panic("wsauth: UpgradeOptions.Accept with origins of its own; they belong in Options.Origins")
	}
	if slices.ContainsFunc(u.accept.Subprotocols, a.takesForToken) {
		panic("wsauth: UpgradeOptions.Accept with a subprotocol that an Extractor takes for a token")
	}
	u.accept.InsecureSkipVerify = true // the entrance has checked it, scheme included
	u.accept.Subprotocols = slices.Concat(u.accept.Subprotocols, a.markers())
	return u
}

// markerProtocol is for clients of applications that have no subprotocol of their own.
const markerProtocol = "wsauth"

// markers are the protocols that are selected where the application has none that is offered: a browser gives a connection
// up if it offered protocols, if only to carry a token, and none is selected.
func (a *Authenticator) markers() []string {
	if a.isZero() {
		return nil
	}
	return append(credential.Markers(a.policy.places), markerProtocol)
}

// takesForToken reports whether an entry of Sec-WebSocket-Protocol would be read as a token: a token is never selected.
func (a *Authenticator) takesForToken(protocol string) bool {
	return !a.isZero() && slices.ContainsFunc(a.policy.places, func(p credential.Place) bool { return p.Takes(protocol) })
}

// An upgrader is the handler of one call of Upgrade.
type upgrader struct {
	entrance
	serve  func(context.Context, *websocket.Conn)
	accept websocket.AcceptOptions
}

func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := u.enter(r, true)
	if err != nil {
		u.auth.refuse(w, r, err, u)
		return
	}
	ws := u.handshake(w, r, c)
	if ws == nil {
		return
	}
	if !u.opts.Detach {
		u.run(c, ws)
		return
	}
	reportPanic := panicReporter(r)
	go func() {
		defer reportPanic()
		u.run(c, ws)
	}()
}

// handshake accepts the WebSocket; nil: the response is written, and the connection counted out.
func (u *upgrader) handshake(w http.ResponseWriter, r *http.Request, c *connection) (ws *websocket.Conn) {
	defer func() {
		if ws == nil { // also where a ResponseWriter panics
			c.abandon()
		}
	}()
	opts := u.accept
	c.pingCallbacks(&opts)
	writer := gate.NewWriter(w, r, c, gate.Options{Grace: u.opts.Grace})
	ws, err := websocket.Accept(writer.IfHijacker(), r, &opts)
	if err == nil {
		return ws
	}
	kind := ErrMalformedRequest
	if writer.Failed() && credential.IsHandshake(r) {
		kind = ErrUnavailable
	}
	u.auth.reportRefusal(r.Context(), c.trail().On(refusal.New(kind, err)))
	return nil
}

// pingCallbacks puts the claims into the context of the application's callbacks also where coder/websocket calls them in a
// context of its own. Nothing of the application's runs for a client that has shown no token yet.
func (c *connection) pingCallbacks(opts *websocket.AcceptOptions) {
	if onPing := opts.OnPingReceived; onPing != nil {
		opts.OnPingReceived = func(ctx context.Context, payload []byte) bool {
			return c.Claims() == nil || onPing(&identity{Context: ctx, auth: c.auth, conn: c}, payload)
		}
	}
	if onPong := opts.OnPongReceived; onPong != nil {
		opts.OnPongReceived = func(ctx context.Context, payload []byte) {
			if c.Claims() != nil {
				onPong(&identity{Context: ctx, auth: c.auth, conn: c}, payload)
			}
		}
	}
}

// run serves the connection to its end.
func (u *upgrader) run(c *connection, ws *websocket.Conn) {
	// It may wait for 15 s, for a CloseRead that is closing by itself, so nothing else may wait for it.
	defer ws.CloseNow()
	defer c.forget()
	end := endingPanicked
	defer func() {
		c.serving.Store(nil)
		c.EndAndWait(end)
	}()
	c.serving.Store(ws)
	if c.isAdmitted() && (c.Claims() != nil || u.awaitToken(c, ws)) {
		c.reportOpened()
		u.serve(c.ctx, ws)
	}
	c.ExpireIfDue() // serve has perhaps returned because the time is over, before the timer came
	end = endingServed
}

// aroundToken is how many bytes a first message may have besides its token.
const aroundToken = 256

// awaitToken reads the first message and takes the token from it; false: the connection ends.
func (u *upgrader) awaitToken(c *connection, ws *websocket.Conn) bool {
	ws.SetReadLimit(-1) // or the library would close with a code of its own
	token, err := u.readFirst(c.ctx, ws)
	if err == nil {
		ws.SetReadLimit(32 << 10) // as coder/websocket begins
		_, err = c.renew(c.ctx, token)
	}
	if err == nil {
		return true
	}
	if _, ended := c.Ended(); ended {
		err = refusal.New(ErrNoToken, fmt.Errorf("the first message did not come in time: %w", err))
	}
	c.endRefused(err)
	return false
}

func (u *upgrader) readFirst(ctx context.Context, ws *websocket.Conn) (string, error) {
	kind, r, err := ws.Reader(ctx)
	if err != nil {
		return "", refusal.New(ErrNoToken, err)
	}
	longest := u.auth.policy.verifier.MaxLength() + aroundToken
	message, err := io.ReadAll(io.LimitReader(r, int64(longest)+1))
	if err != nil {
		return "", refusal.New(ErrNoToken, err)
	}
	if len(message) > longest {
		return "", refusal.New(ErrMalformedRequest, errors.New("the first message is too long"))
	}
	if u.opts.FirstToken != nil {
		token, err := u.opts.FirstToken(message)
		if err != nil || token == "" {
			return "", refusal.New(ErrMalformedRequest, errors.New("the first message: FirstToken found no token"))
		}
		return token, nil
	}
	if kind != websocket.MessageText {
		return "", refusal.New(ErrMalformedRequest, errors.New("the first message is not text"))
	}
	return credential.InMessage(message)
}

// Guard is [Authenticator.Middleware] for what goes on after its handshake or its first byte: what is behind it ends with
// the token that opened it, a WebSocket of any library with close code 3000, any other response by its context.
//
// A WebSocket handshake is refused from an origin that is neither the server's own nor one of [Options.Origins], whatever
// carries its token. What next takes over ([http.Hijacker]) and answers with 101 is a connection as one of
// [Authenticator.Upgrade] is: all of opts count for it except Accept, Detach and FirstToken, which must not be set, and
// [Renew], [Authenticator.Disconnect] and [Authenticator.Shutdown] find it. It counts until it is closed, not until next
// returns. At its end its peer gets one close frame, between two frames of the library; from then on no message begins in
// either direction, and the library's Read and Write return an error that is [ErrExpired], or whatever has ended the
// connection. The context of the request has the claims; it outlives outer timeouts and the return of next, and ends with
// the connection, with the cause. A library that works on the file descriptor below the connection (an epoll server) is not
// ended: it must use the [net.Conn] that Hijack returns.
//
// With FirstMessage a client without a token reaches next, without claims. Whoever has not called [Renew] with a good token
// by then, with a context made from the request's, is closed with [StatusTimeout]: so a protocol brings its first token in
// its own words, as the connection_init of graphql-transport-ws or the CONNECT of STOMP. Until then next must not serve
// anything.
//
// The context of any other request ends at the token's end ([ErrExpired]), by Disconnect and by Shutdown
// ([http.ErrServerClosed]); a handler that takes no notice can neither read nor write once Grace is over.
//
// Guard panics if next is nil, if a number in opts is negative, and if Accept, Detach or FirstToken is set.
func (a *Authenticator) Guard(next http.Handler, opts *UpgradeOptions) http.Handler {
	if next == nil {
		panic("wsauth: nil handler")
	}
	g := &guard{next: next}
	g.init(a, opts)
	if g.opts.Accept != nil || g.opts.Detach || g.opts.FirstToken != nil {
		panic("wsauth: Guard with Accept, Detach or FirstToken; they are for Upgrade")
	}
	return g
}

// A guard is the handler of one call of Guard.
type guard struct {
	entrance
	next http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	upgrades := credential.MayUpgrade(r)
	c, err := g.enter(r, upgrades)
	if err != nil {
		g.auth.refuse(w, r, err, g)
		return
	}
	c.guarded = true
	c.Attach(life.Stream{Cancel: c.endContext, Writer: w, Grace: g.opts.Grace})
	c.Admit()
	if err := c.checkAgain(); err != nil {
		c.abandon()
		g.auth.refuse(w, r, c.trail().On(err), g)
		return
	}
	inner := r.WithContext(c.ctx)
	credential.Hide(inner, g.auth.policy.places)
	if !upgrades {
		defer c.abandon()
		g.next.ServeHTTP(w, inner)
		return
	}
	// The connection outlives what is around the handler, but only once it is taken over.
	around := r.Context()
	c.detach = context.AfterFunc(around, func() { c.cancel(context.Cause(around)) })
	writer := gate.NewWriter(w, r, c, gate.Options{Grace: g.opts.Grace})
	defer func() {
		writer.Release()
		c.detach()
		if !c.isTakenOver(writer) {
			c.abandon()
		}
	}()
	g.next.ServeHTTP(writer, inner)
}

// An entrance is what the handlers of Upgrade and Guard have in common.
type entrance struct {
	auth     *Authenticator
	opts     UpgradeOptions
	rule     life.Rule[Claims]
	refusing atomic.Int32 // handshakes that are being completed to be closed
}

const maxRefusing = 256

func (e *entrance) init(a *Authenticator, opts *UpgradeOptions) {
	e.auth = a
	if opts != nil {
		e.opts = *opts
	}
	o := &e.opts
	if min(o.MaxLifetime, o.Grace, o.FirstMessage, o.Ping) < 0 || min(o.MaxConnections, o.MaxPerSubject) < 0 {
		panic("wsauth: UpgradeOptions with a negative number")
	}
	if slices.ContainsFunc(o.Require, func(check func(context.Context, *Claims) error) bool { return check == nil }) {
		panic("wsauth: UpgradeOptions.Require with a nil check")
	}
	if o.ReplaceOldest && o.MaxPerSubject == 0 {
		panic("wsauth: UpgradeOptions.ReplaceOldest without MaxPerSubject")
	}
	o.Require = slices.Clone(o.Require)
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	if a.isZero() {
		return // it refuses everything
	}
	e.rule = life.Rule[Claims]{
		Registry: a.live,
		Seats: &life.Seats[Claims]{
			Max: o.MaxConnections, MaxPerSubject: o.MaxPerSubject,
			ReplaceOldest: o.ReplaceOldest, Replaced: endingReplaced,
			SubjectOf: func(c *Claims) life.Subject { return life.Subject{Issuer: c.Issuer, Name: c.Subject} },
		},
		MaxLifetime: o.MaxLifetime, Grace: o.Grace, FirstMessage: o.FirstMessage, Ping: o.Ping,
		Expiry: a.end, Expired: endingExpired, NoToken: endingNoToken, Silent: endingSilent,
	}
}

// enter lets a request in that may become a connection, and counts it: Shutdown waits for it from here on.
func (e *entrance) enter(r *http.Request, upgrades bool) (*connection, error) {
	id, err := e.identify(r, upgrades)
	if err != nil {
		return nil, err
	}
	entered, err := e.rule.Enter(id.claims, upgrades)
	if err != nil {
		return nil, id.trail().On(err)
	}
	c := &connection{Conn: entered, auth: e.auth, source: id.source,
		epoch: id.seen, checks: slices.Concat(e.opts.Require, id.checks)}
	ctx := r.Context()
	if ctx == context.Context(id) {
		ctx = id.Context // the connection has an identity of its own
	}
	if upgrades { // what is around the handler may set a timeout on the request; the connection outlives it
		ctx = context.WithoutCancel(ctx)
	}
	ctx, c.cancel = context.WithCancelCause(ctx)
	c.ctx = &identity{Context: ctx, auth: e.auth, conn: c}
	return c, nil
}

// identify returns an identity. It has no claims if they are to come with the first message.
func (e *entrance) identify(r *http.Request, upgrades bool) (*identity, error) {
	a := e.auth
	if a.isZero() {
		return nil, refusal.New(ErrUnavailable, errZero)
	}
	if a.live.IsDown() {
		return nil, refusal.New(ErrUnavailable, http.ErrServerClosed)
	}
	if upgrades {
		if err := a.policy.origins.Check(r); err != nil {
			return nil, err
		}
	}
	epoch := a.live.Epoch()
	id, _, err := a.identify(r)
	if e.opts.FirstMessage > 0 && refusal.IsNoToken(err) && credential.IsHandshake(r) {
		return &identity{auth: a, seen: epoch}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, check := range e.opts.Require {
		if err := id.pass(id, check); err != nil {
			return nil, id.trail().On(err)
		}
	}
	return id, nil
}

// closeRefused completes a handshake that is refused, to close it with the reason, and reports whether it answered the
// request. Nothing of what the client sends is read but its close frame.
func (e *entrance) closeRefused(w http.ResponseWriter, r *http.Request, err error) bool {
	if !e.opts.CloseOnRefusal || !credential.IsHandshake(r) || e.auth.isZero() {
		return false
	}
	defer e.refusing.Add(-1)
	if e.refusing.Add(1) > maxRefusing {
		return false
	}
	protocol := "" // a browser gives up where it offers some and none is selected
	if offered, _ := credential.Selectable(r, e.auth.policy.places); len(offered) > 0 {
		protocol = offered[0]
	}
	conn, answered := gate.Accept(w, r, protocol, gate.Options{Grace: min(e.opts.Grace, time.Second)})
	if conn != nil {
		response := refusal.ResponseTo(err)
		conn.Shut(endingFor(websocket.StatusCode(response.CloseCode), response.Reason, err))
		conn.Finish()
	}
	return answered
}

// A connection is what an Authenticator knows of a connection, or a request behind Guard, besides its life.
type connection struct {
	*life.Conn[Claims]
	auth    *Authenticator
	checks  []func(context.Context, *Claims) error // of UpgradeOptions, and of every Require that admitted it
	ctx     context.Context
	cancel  context.CancelCauseFunc
	epoch   uint32            // in which they did
	source  credential.Source // of the token that opened it
	guarded bool              // by Guard, whose connections end when they are closed, and not when a handler returns
	detach  func() bool       // from the context around a handler behind Guard

	gate    *gate.Conn // nil: not a WebSocket, or not yet
	serving atomic.Pointer[websocket.Conn]
	opened  time.Time // zero: nobody was told
	alone   atomic.Bool
}

// TakenOver is told that the handler has taken the connection over.
func (c *connection) TakenOver(g *gate.Conn) {
	c.gate = g
	if c.detach != nil {
		c.detach()
	}
}

// Opened is told by the gate that the handshake is answered: with anything but a WebSocket, what follows is left alone.
func (c *connection) Opened(isWebSocket bool) {
	if !isWebSocket {
		c.alone.Store(true)
		c.Forget()
		return
	}
	c.Open(c.gate)
	if c.guarded && c.Claims() != nil {
		c.reportOpened()
	}
}

// Left is told by the gate that somebody else has begun to end the connection. One that is broken has ended, however
// long it takes to close what is below.
func (c *connection) Left(err error) {
	c.Conn.Left(err)
	if errors.Is(err, gate.ErrBroken) {
		c.endContext(nil)
	}
}

// Closed is told by the gate that the connection is closed.
func (c *connection) Closed() {
	end, _ := c.Ended()
	ws := c.serving.Load()
	byGate := ws != nil && !errors.Is(end.Err, gate.ErrClosed)
	if byGate {
		awaitReader(ws)
	}
	c.endContext(end.Err)
	if c.guarded {
		c.forget()
	}
	if byGate {
		go ws.CloseNow() // or coder/websocket's Ping would wait on
	}
}

// awaitReader waits until a Read under way is back with its error: coder/websocket would replace it by that of the context.
// A callback of the application's may hold it up.
func awaitReader(ws *websocket.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	ws.Reader(ctx)
}

func (c *connection) endContext(err error) {
	var end closeError
	errors.As(err, &end)
	c.cancel(end.cause)
}

// isTakenOver reports whether there is, or will be, a WebSocket to end.
func (c *connection) isTakenOver(w *gate.Writer) bool { return w.Taken() && !c.alone.Load() }

// abandon counts out what has not become a connection.
func (c *connection) abandon() {
	c.Forget()
	c.cancel(nil)
}

// forget counts out a connection that is closed.
func (c *connection) forget() {
	c.Forget()
	c.reportClosed()
}

// endRefused ends a connection for the reason that an HTTP response would have given.
func (c *connection) endRefused(err error) {
	c.auth.reportRefusal(c.ctx, err)
	response := refusal.ResponseTo(err)
	c.End(endingFor(websocket.StatusCode(response.CloseCode), response.Reason, err))
}

// check asks every check that admitted the connection. Their context has the claims that are in question, as at the
// handshake.
func (c *connection) check(ctx context.Context, claims *Claims) error {
	ctx = &identity{Context: ctx, auth: c.auth, claims: claims}
	for _, check := range c.checks {
		if err := check(ctx, claims); err != nil {
			return refusal.Checked(err)
		}
	}
	return nil
}

// isAdmitted reports whether a connection may be served. The checks are asked again where Disconnect was called since they
// were, which did not know the connection yet.
func (c *connection) isAdmitted() bool {
	if !c.Admit() {
		return false
	}
	err := c.checkAgain()
	if err != nil {
		c.endRefused(c.trail().On(err))
	}
	return err == nil
}

func (c *connection) checkAgain() error {
	claims := c.Claims()
	if claims == nil || c.epoch == c.auth.live.Epoch() {
		return nil
	}
	return c.check(c.ctx, claims)
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
