package wsauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/life"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Close codes of the IANA WebSocket Close Code Number Registry. A browser shows
// them to a page, unlike the status of a refused handshake. wsauth also closes
// with 1001 when the server is shutting down, and with 1013 when the client
// should try again later.
const (
	StatusUnauthorized websocket.StatusCode = refusal.CloseUnauthorized // the token has expired, is missing, or was refused
	StatusForbidden    websocket.StatusCode = refusal.CloseForbidden    // by Require, or a foreign origin
	StatusTimeout      websocket.StatusCode = refusal.CloseTimeout      // the first message or the answer to a ping came too late
	StatusReplaced     websocket.StatusCode = 4001                      // by ReplaceOldest; from the range for private use
)

// UpgradeOptions are the options of [Authenticator.Upgrade] and
// [Authenticator.Guard]. The zero value of a field means its default.
//
// # First messages
//
// With FirstMessage, a client without a token may complete the handshake and
// send its token in the first message: {"access_token":"…"} or the bare token,
// as text, or what FirstToken reads. Until then nothing else is read, and serve
// does not run. At most 1024 connections of a handler wait for their first
// message at one time. The connection is closed
//
//   - with [StatusTimeout] if the message comes too late;
//   - with [StatusUnauthorized] if it contains no valid token;
//   - with [StatusForbidden] if a check of Require refuses the token;
//   - with 1013 if there are too many connections, or no keys are available.
//
// Before the first message there are no claims, so neither
// [Authenticator.Middleware] nor the middleware of [Require] can stand in front
// of such a handler: set the option Require, or check the claims in serve. If
// the handshake carries a token, that token decides, even if it is in a cookie
// that the browser added. A message with a token is then a message like any
// other and goes to serve.
//
// # Refusals that a browser can read
//
// A browser reports every refused handshake as close code 1006, without a
// reason. With CloseOnRefusal, a refused handshake is completed, and the
// connection is closed at once with a code and a reason that a page can read;
// the page sees the connection open and then close. The codes are
// [StatusUnauthorized] (no token, or one that was refused), [StatusForbidden]
// (Require, or a foreign origin) and 1013 (try again later). The reasons are
// those of [Reason].
//
// A request that is not a handshake gets the response of [Options.OnRefuse],
// and so does a handshake that arrives while 256 others are being refused.
// Middleware and Require refuse in the same way if they wrap this handler
// directly, with no router or other middleware in between.
//
// # Handlers that return at once
//
// With Detach, serve runs in a goroutine of its own and the handler returns at
// once, which frees what net/http holds for a request: several KB for each
// connection. Outer middleware sees the request end at once, so do not set
// Detach behind middleware that must know when the connection ends. A router
// that recycles what it put into a request's context may do so while serve
// runs: chi.URLParam, in serve or in a [Require] that [Renew] calls, may then
// return another request's value. Copy the value first, in a middleware. If
// serve panics, wsauth logs the panic as net/http does.
type UpgradeOptions struct {
	// Accept has the subprotocols, the compression and the callbacks of the
	// connection, for Upgrade only. Its OriginPatterns and InsecureSkipVerify
	// must not be set: [Options.Origins] is the only list of origins.
	Accept *websocket.AcceptOptions

	// Require are checks like those of the function [Require]. Each check is
	// asked about the token of the handshake, the token of a first message, and
	// each token given to [Renew].
	Require []func(context.Context, *Claims) error

	// MaxLifetime closes a connection this long after it began, as if its token
	// had expired, however long its token lives and however often it is
	// renewed. Default: no bound.
	MaxLifetime time.Duration

	// Grace is how long a peer has to answer the close frame before its
	// connection is cut, even if serve closes the connection. Default: 1 s.
	Grace time.Duration

	// FirstMessage is how long a client without a token may take to send its
	// token as the first message. Default: the handshake must carry a token.
	FirstMessage time.Duration

	// FirstToken takes the token from a first message of the application's own
	// format, for Upgrade only. If it returns an error, the token is refused;
	// the text of the error is not passed on. Default: {"access_token":"…"} or
	// the bare token, as text.
	FirstToken func(message []byte) (token string, err error)

	// Ping is how long a peer may be silent before it is pinged. If nothing
	// comes from it for as long again, its connection ends: the context is
	// cancelled, and the connection no longer counts for MaxConnections and
	// MaxPerSubject. So wsauth finds out that a peer has gone even if the
	// handler never reads. Default: no pings, and the connection of a peer that
	// vanishes without a word counts until its token expires.
	Ping time.Duration

	// CloseOnRefusal completes a refused handshake in order to close the
	// connection with a code and a reason that a browser can read. Default: a
	// refused handshake gets an HTTP response.
	CloseOnRefusal bool

	// MaxConnections bounds the connections of this handler, including those
	// that wait for a first message. Further handshakes get 503. Default: no
	// bound.
	MaxConnections int

	// MaxPerSubject bounds the connections of this handler for each issuer and
	// subject. Tokens without sub count as one subject. Further handshakes get
	// 429. Default: no bound.
	MaxPerSubject int

	// ReplaceOldest admits a new connection of a subject that already has
	// MaxPerSubject connections, and closes the subject's oldest one with
	// [StatusReplaced] and the reason "replaced". A client that was replaced
	// should not reconnect: it would only replace another one.
	ReplaceOldest bool

	// Detach runs serve in a goroutine of its own and lets the handler return
	// at once, for Upgrade only. See "Handlers that return at once" for what
	// this means for outer middleware and routers.
	Detach bool
}

// Upgrade returns a handler that accepts WebSocket connections with a valid
// token and calls serve for each. It authenticates by itself, unless this
// Authenticator's Middleware has already done so. Call Upgrade once for each
// route, not for each request: the bounds in opts apply to one handler.
//
// # Handshake
//
// Upgrade refuses a handshake from an origin that is neither the server's own
// nor one of [Options.Origins] nor allowed by [Options.AllowOrigin], wherever
// the token is. It selects the first subprotocol of Accept that the client
// offers, or else the entry that announces a token ([FromSubprotocol]), or else
// "wsauth" if the client offers that.
//
// An authenticated request gets 426 if it is not a WebSocket handshake of
// HTTP/1.1, and 501 if its ResponseWriter cannot be hijacked, as behind
// [http.TimeoutHandler]. Upgrade writes the 101 response directly to the
// hijacked connection, with the headers that outer middleware has set, so a
// ResponseWriter in between cannot lose the response. An access log that asks
// such a ResponseWriter shows the status that it assumes for a hijacked
// connection, usually 200.
//
// # Context
//
// The context given to serve has the claims ([ClaimsFromContext]) and the
// values of the request's context, but not its deadline. It ends with the
// connection, or shortly after a Read finds that the peer has gone. If serve
// needs anything else from the request, such as a path value, put it into the
// request's context in a middleware.
//
// # End
//
// When the token expires (exp + Leeway) and [Renew] has not replaced it, the
// connection is closed with [StatusUnauthorized] and the reason "token
// expired". From then on no message reaches serve and none leaves. A Read in
// progress returns an error that is [ErrExpired]. The peer has Grace to answer,
// then the context is cancelled with the cause ErrExpired. A Write, a Read that
// begins later, and a Read that returns only after that may fail with another
// error; after <-ctx.Done(), [context.Cause] says why the connection ended.
//
// When serve returns, the connection is closed with 1000. When serve panics, it
// is closed with 1011, and the panic continues to net/http.
//
// # Panics
//
// Upgrade panics if serve is nil, if a number in opts is negative, if a check
// in opts is nil, if ReplaceOldest is set without MaxPerSubject, if Accept says
// which origins may connect, or if a subprotocol in Accept would be read as a
// token by a FromSubprotocol.
//
// A function of the application that is called in a handshake or by [Renew],
// such as a check of Require, must not leave its thread locked
// ([runtime.LockOSThread]): the Go runtime would end the program.
func (a *Authenticator) Upgrade(serve func(ctx context.Context, conn *websocket.Conn), opts *UpgradeOptions) http.Handler {
	if serve == nil {
		panic("wsauth: Upgrade with a nil serve")
	}
	u := &upgrader{serve: serve}
	u.init(a, opts)
	if u.opts.Accept != nil {
		u.acceptOptions = *u.opts.Accept
	}
	if u.acceptOptions.InsecureSkipVerify || len(u.acceptOptions.OriginPatterns) > 0 {
		panic("wsauth: UpgradeOptions.Accept with origins of its own; they belong in Options.Origins")
	}
	if slices.ContainsFunc(u.acceptOptions.Subprotocols, a.takesForToken) {
		panic("wsauth: UpgradeOptions.Accept with a subprotocol that an Extractor takes for a token")
	}
	u.acceptOptions.InsecureSkipVerify = true // the entrance has already checked the origin, scheme included
	u.acceptOptions.Subprotocols = slices.Concat(u.acceptOptions.Subprotocols, a.markers())
	return u
}

// markerProtocol is for clients of applications that have no subprotocol of
// their own.
const markerProtocol = "wsauth"

// markers are the protocols to select if none of the application's is offered:
// a browser drops a connection if it offered protocols, even if only to carry a
// token, and none is selected.
func (a *Authenticator) markers() []string {
	if a.isZero() {
		return nil
	}
	return append(credential.Markers(a.policy.places), markerProtocol)
}

// takesForToken reports whether an entry of Sec-WebSocket-Protocol would be
// read as a token. A token is never selected.
func (a *Authenticator) takesForToken(protocol string) bool {
	return !a.isZero() && slices.ContainsFunc(a.policy.places, func(p credential.Place) bool { return p.Takes(protocol) })
}

// An upgrader is the handler of one call of Upgrade.
type upgrader struct {
	entrance
	serve         func(context.Context, *websocket.Conn)
	acceptOptions websocket.AcceptOptions
}

// ServeHTTP and runDetached repeat each other: a function for what they have in
// common would have a frame of its own on the stack below serve.
func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := u.open(w, r)
	if c == nil {
		return
	}
	defer c.finish()
	if u.admit(c) {
		u.serve(c.ctx, c.serving.Load())
		c.served = true
	}
}

// open returns nil if the handler has nothing left to do: the request was
// refused, or serve runs in a goroutine of its own.
//
// It must not be inlined: its variables would become part of ServeHTTP's frame,
// which stays on the stack as long as the connection lives.
//
//go:noinline
func (u *upgrader) open(w http.ResponseWriter, r *http.Request) (c *connection) {
	aside(r.Context(), r.RemoteAddr, func() { c = u.accept(w, r) })
	if c == nil || !u.opts.Detach {
		return c
	}
	go u.runDetached(c, r.RemoteAddr)
	return nil
}

// runDetached is what ServeHTTP does after open, and logs a panic of serve.
func (u *upgrader) runDetached(c *connection, addr string) {
	defer func() {
		if p := recover(); p != nil {
			logPanic(c.ctx, addr, p)
		}
	}()
	defer c.finish()
	if u.admit(c) {
		u.serve(c.ctx, c.serving.Load())
		c.served = true
	}
}

// accept returns nil if it has refused the request.
func (u *upgrader) accept(w http.ResponseWriter, r *http.Request) *connection {
	c, err := u.enter(r, true)
	if err != nil {
		u.auth.refuse(w, r, err, u)
		return nil
	}
	u.auth.giveNonce(w, r)
	ws := u.handshake(w, r, c)
	if ws == nil {
		return nil
	}
	c.serving.Store(ws)
	return c
}

// handshake accepts the WebSocket. It returns nil if it has written a response
// instead; the connection then no longer counts.
func (u *upgrader) handshake(w http.ResponseWriter, r *http.Request, c *connection) (ws *websocket.Conn) {
	defer func() {
		if ws == nil { // or a ResponseWriter has panicked
			c.abandon()
		}
	}()
	opts := u.acceptOptions
	c.pingCallbacks(&opts)
	writer := gate.NewWriter(w, r, c, gate.Options{Grace: u.opts.Grace, SmallReader: true})
	writer.OwnHeader()
	ws, err := websocket.Accept(writer.IfHijacker(), r, &opts)
	if err == nil {
		// coder/websocket reads through an io.MultiReader, to hand on what the client has sent early. The gate does that.
		c.gate.ReadWriter().Reader.Reset(c.gate)
		return ws
	}
	kind := ErrMalformedRequest
	if writer.Failed() && credential.IsHandshake(r) {
		kind = ErrUnavailable
	}
	u.auth.reportRefusal(r.Context(), c.trail().On(refusal.New(kind, err)))
	return nil
}

// pingCallbacks gives the application's callbacks a context with the claims,
// even where coder/websocket calls them with a context of its own. It calls
// none of them for a client that has not shown a token yet.
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

// admit reports whether serve may begin. If it returns false, the connection
// ends. Like open, it must not be inlined.
//
//go:noinline
func (u *upgrader) admit(c *connection) bool {
	if !c.isAdmitted() || c.Claims() == nil && !u.awaitToken(c, c.serving.Load()) {
		return false
	}
	c.reportOpened()
	return true
}

// finish ends a connection when serve has returned or panicked. If serve was not
// called, the connection has ended already, or admit has panicked.
func (c *connection) finish() {
	ws := c.serving.Swap(nil)
	// CloseNow may wait up to 15 s for a CloseRead that is closing by itself, so it runs last.
	defer ws.CloseNow()
	defer c.forget()
	end := endingPanicked
	if c.served {
		c.ExpireIfDue() // serve may have returned because the token expired, before the timer fired
		end = endingServed
	}
	c.EndAndWait(end)
}

// aroundToken is how many bytes a first message may have in addition to its
// token.
const aroundToken = 256

// awaitToken reads the first message and takes the token from it. If it returns
// false, the connection ends.
func (u *upgrader) awaitToken(c *connection, ws *websocket.Conn) bool {
	ws.SetReadLimit(-1) // otherwise the library would close with a code of its own
	token, err := u.readFirst(c.ctx, ws)
	if err == nil {
		ws.SetReadLimit(32 << 10) // the default of coder/websocket
		_, err = c.renewAside(c.ctx, token, "")
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

// Guard is [Authenticator.Middleware] for handlers that outlast their request:
// it ends what next serves when the token expires. It closes a WebSocket
// connection of any library with close code 3000, and ends any other response
// by cancelling its context.
//
// # WebSocket connections
//
// Guard refuses a WebSocket handshake from an origin that is neither the
// server's own nor one of [Options.Origins] nor allowed by
// [Options.AllowOrigin], wherever the token is. Libraries with an origin rule
// of their own, such as gorilla's CheckOrigin and coder's OriginPatterns, still
// apply it behind Guard: if you set Options.Origins, tell the library to accept
// those origins, too.
//
// If next hijacks the connection ([http.Hijacker]) and answers with 101, Guard
// treats the connection like one of [Authenticator.Upgrade]. All of opts apply
// except Accept, Detach and FirstToken, which must not be set. [Renew],
// [Authenticator.Disconnect] and [Authenticator.Shutdown] find the connection.
// The connection counts until it is closed, not until next returns.
//
// When the connection ends, its peer gets one close frame, between two frames
// of the library. From then on no message begins in either direction, and the
// library's Read and Write return an error that is [ErrExpired], or whatever
// else ended the connection. The context of the request has the claims. It
// outlives outer timeouts and the return of next, and is cancelled with the
// cause when the connection ends.
//
// A connection that next hijacks and answers with anything but 101 and
// "Upgrade: websocket", such as a tunnel, is left alone from then on: it does
// not end with the token.
//
// A library must use the [net.Conn] that Hijack returns. A library that works
// on the file descriptor below it, such as an epoll server, must not be used
// behind Guard: its connections would not end.
//
// # First messages
//
// With FirstMessage, a client without a token reaches next, without claims. The
// protocol then brings its first token in its own message, such as the
// connection_init of graphql-transport-ws or the CONNECT of STOMP; next passes
// that token to [Renew], with a context made from the request's. A connection
// for which Renew has not succeeded within FirstMessage is closed with
// [StatusTimeout]. Until Renew succeeds, next must not serve anything.
//
// # Other requests
//
// The context of any other request is cancelled when the token expires, with
// the cause ErrExpired, and by Disconnect and by Shutdown, with the cause
// [http.ErrServerClosed] for the latter. A handler that ignores its context can
// neither read nor write after Grace.
//
// # Panics
//
// Guard panics if next is nil, if a number in opts is negative, if a check in
// opts is nil, if ReplaceOldest is set without MaxPerSubject, or if Accept,
// Detach or FirstToken is set. What [Authenticator.Upgrade] says of locked
// threads applies here, too.
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
	if !credential.MayUpgrade(r) {
		g.serveResponse(w, r)
		return
	}
	c := g.admitAside(w, r)
	if c == nil {
		return
	}
	// The connection outlives outer handlers and their timeouts, but only once it is hijacked.
	around := r.Context()
	c.detach = context.AfterFunc(around, func() { c.cancel(context.Cause(around)) })
	writer := gate.NewWriter(w, r, c, gate.Options{Grace: g.opts.Grace})
	defer c.leaveHandler(writer)
	g.next.ServeHTTP(writer, g.inner(r, c))
}

func (g *guard) serveResponse(w http.ResponseWriter, r *http.Request) {
	c := g.admit(w, r, false)
	if c == nil {
		return
	}
	defer c.abandon()
	g.next.ServeHTTP(w, g.inner(r, c))
}

// admitAside is admit on a stack of its own. Like open, it must not be inlined.
//
//go:noinline
func (g *guard) admitAside(w http.ResponseWriter, r *http.Request) (c *connection) {
	aside(r.Context(), r.RemoteAddr, func() { c = g.admit(w, r, true) })
	return c
}

// admit returns nil if it has refused the request.
func (g *guard) admit(w http.ResponseWriter, r *http.Request, upgrades bool) (admitted *connection) {
	c, err := g.enter(r, upgrades)
	if err != nil {
		g.auth.refuse(w, r, err, g)
		return nil
	}
	defer func() {
		if admitted == nil { // or a check has panicked
			c.abandon()
		}
	}()
	c.guarded = true
	c.Attach(life.Stream{Cancel: c.endContext, Writer: w, Grace: g.opts.Grace})
	if err := c.admit(); err != nil {
		c.abandon() // first: it may take a while to refuse
		g.auth.refuse(w, r, c.trail().On(err), g)
		return nil
	}
	g.auth.giveNonce(w, r)
	return c
}

// inner is the request that next gets.
func (g *guard) inner(r *http.Request, c *connection) *http.Request {
	inner := r.WithContext(c.ctx)
	credential.Hide(inner, g.auth.policy.places)
	return inner
}

// leaveHandler is called when next has returned from a request that may have become a WebSocket.
func (c *connection) leaveHandler(writer *gate.Writer) {
	writer.Release()
	c.detach()
	if !c.isTakenOver(writer) {
		c.abandon()
	}
}

// An entrance is what the handlers of Upgrade and Guard have in common.
type entrance struct {
	auth     *Authenticator
	opts     UpgradeOptions
	rule     life.Rule[Claims]
	refusing atomic.Int32 // handshakes that are being completed in order to be closed
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

// enter admits a request that may become a connection and counts it: from here
// on Shutdown waits for it.
func (e *entrance) enter(r *http.Request, upgrades bool) (*connection, error) {
	id, err := e.identify(r, upgrades)
	if err != nil {
		return nil, err
	}
	bound := e.auth.handshakeOf(r, id.claims) // before it counts: ClientCertificate may panic
	entered, err := e.rule.Enter(id.claims, upgrades)
	if err != nil {
		return nil, id.trail().On(err)
	}
	c := &connection{Conn: entered, auth: e.auth, source: id.source, bound: bound,
		epoch: id.epoch, checks: slices.Concat(e.opts.Require, id.checks)}
	ctx := r.Context()
	if ctx == context.Context(id) {
		ctx = id.Context // the connection has an identity of its own
	}
	if upgrades { // outer middleware may set a timeout on the request; the connection outlives it
		ctx = context.WithoutCancel(ctx)
	}
	ctx, c.cancel = context.WithCancelCause(ctx)
	c.ctx = &identity{Context: ctx, auth: e.auth, conn: c}
	return c, nil
}

// identify returns an identity. It has no claims if they come with the first
// message.
func (e *entrance) identify(r *http.Request, upgrades bool) (*identity, error) {
	a := e.auth
	if a.isZero() {
		return nil, refusalOfZero()
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
	id, _, err := a.identify(r, !upgrades)
	if e.opts.FirstMessage > 0 && refusal.IsNoToken(err) && credential.IsHandshake(r) {
		return &identity{auth: a, epoch: epoch}, nil
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

// closeRefused completes a refused handshake in order to close it with the
// reason, and reports whether it answered the request. Of what the client
// sends, it reads only the close frame.
func (e *entrance) closeRefused(w http.ResponseWriter, r *http.Request, err error) bool {
	if !e.opts.CloseOnRefusal || !credential.IsHandshake(r) || e.auth.isZero() {
		return false
	}
	defer e.refusing.Add(-1)
	if e.refusing.Add(1) > maxRefusing {
		return false
	}
	protocol := "" // a browser gives up if it offered protocols and none is selected
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
