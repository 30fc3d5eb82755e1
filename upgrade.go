package wsauth

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/gate"
)

// Close codes of the IANA WebSocket Close Code Number Registry that a browser can read, unlike the status of a
// refused handshake.
const (
	StatusUnauthorized websocket.StatusCode = 3000
	StatusForbidden    websocket.StatusCode = 3003
	StatusTimeout      websocket.StatusCode = 3008
)

// markerProtocol is selected for clients of applications that have no subprotocol of their own: a browser gives a
// connection up if it offered protocols, if only to carry a token, and none is selected.
const markerProtocol = "wsauth"

// UpgradeOptions are the options of [Authenticator.Upgrade].
type UpgradeOptions struct {
	// Accept has the subprotocols, the compression and the callbacks of the connection. Its OriginPatterns and
	// InsecureSkipVerify must not be set: which origins may connect is said once, in [Options.Origins].
	Accept *websocket.AcceptOptions

	// MaxLifetime ends a connection this long after it began, however long its token lives. Default: no bound.
	MaxLifetime time.Duration

	// Grace is how long a peer has to answer the close frame before its connection is cut. Default: 1 s.
	Grace time.Duration
}

// Upgrade returns a handler that accepts WebSocket connections with a valid token and runs serve on each. It
// authenticates by itself, unless this Authenticator's Middleware has done so already, and refuses a handshake from
// an origin that is neither the server's own nor one of [Options.Origins], whatever carries its token. Of the
// subprotocols in Accept it selects the first that the client offers, else "wsauth" if that is offered.
//
// The context given to serve has the claims ([ClaimsFromContext]) and the values of the request's context, but not
// its deadline; it ends with the connection. At the end of the token (exp + Leeway) the connection is closed with
// [StatusUnauthorized] and the reason "token expired": from then on no message reaches serve and none leaves, Read
// returns an error that is [ErrExpired], the peer has Grace to answer, then the context is cancelled with the cause
// ErrExpired. When serve returns, the connection is closed with 1000; when it panics, with 1011, and the panic goes
// on to net/http.
//
// Upgrade panics if serve is nil or opts contradict themselves.
func (a *Authenticator) Upgrade(serve func(ctx context.Context, conn *websocket.Conn), opts *UpgradeOptions) http.Handler {
	if serve == nil {
		panic("wsauth: Upgrade with a nil serve")
	}
	u := &upgrader{auth: a, serve: serve, grace: time.Second}
	if opts != nil {
		if opts.MaxLifetime < 0 || opts.Grace < 0 {
			panic("wsauth: UpgradeOptions with a negative duration")
		}
		u.maxLifetime = opts.MaxLifetime
		if opts.Grace > 0 {
			u.grace = opts.Grace
		}
		if opts.Accept != nil {
			u.accept = *opts.Accept
		}
	}
	if u.accept.InsecureSkipVerify || len(u.accept.OriginPatterns) > 0 {
		panic("wsauth: UpgradeOptions.Accept with origins of its own; they belong into Options.Origins")
	}
	u.accept.InsecureSkipVerify = true // checkOrigin has checked it, scheme included
	u.accept.Subprotocols = append(slices.Clone(u.accept.Subprotocols), markerProtocol)
	return u
}

// An upgrader is the handler of one call of Upgrade.
type upgrader struct {
	auth        *Authenticator
	serve       func(context.Context, *websocket.Conn)
	accept      websocket.AcceptOptions
	maxLifetime time.Duration
	grace       time.Duration
}

func (u *upgrader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authenticated, err := u.authenticate(r)
	if err != nil {
		u.auth.answer(w, r, err)
		return
	}
	u.upgrade(w, authenticated)
}

func (u *upgrader) authenticate(r *http.Request) (*http.Request, error) {
	if u.auth.isZero() {
		return nil, refuse(ErrUnavailable, errZero)
	}
	if err := u.auth.policy.checkOrigin(r); err != nil {
		return nil, err
	}
	return u.auth.authenticate(r)
}

// upgrade turns an authenticated request into a connection and runs serve on it.
func (u *upgrader) upgrade(w http.ResponseWriter, r *http.Request) {
	id := identityOf(r.Context())
	// What is around the handler may set a timeout on the request; the connection outlives it.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	if canHijack(w) { // otherwise Accept says so to the client
		w = &gatedWriter{ResponseWriter: w, onClose: func(err error) {
			var closed closeError
			errors.As(err, &closed)
			cancel(closed.cause)
		}}
	}
	ws, err := websocket.Accept(w, r, &u.accept)
	if err != nil {
		return // Accept has written the response: this was no handshake
	}
	c := &connection{ws: ws, gate: w.(*gatedWriter).gate, grace: u.grace}
	defer c.finish()
	c.start(u.auth.end(id.claims), u.maxLifetime)
	u.serve(&identity{Context: ctx, auth: u.auth, claims: id.claims, checks: id.checks}, ws)
	c.served = true
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

// A connection is a WebSocket whose life is tied to that of a token.
type connection struct {
	ws     *websocket.Conn
	gate   *gate.Conn
	grace  time.Duration
	served bool // serve has returned; otherwise it panics

	closing sync.Once // whoever comes first closes, and the others wait for it

	mu    sync.Mutex
	timer *time.Timer
	end   deadline
	over  bool      // the end has come
}

// A timer runs on the monotonic clock, which stands still while a machine sleeps. So the wall clock is looked at
// again this often.
const clockCheck = time.Minute

func (c *connection) start(end time.Time, maxLifetime time.Duration) {
	now := time.Now()
	life := end.Sub(now)
	if maxLifetime > 0 {
		life = min(life, maxLifetime)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = deadlineIn(life, now)
	c.timer = time.AfterFunc(min(life, clockCheck), c.tick)
}

// tick ends the connection if it is time, or waits on.
func (c *connection) tick() {
	c.mu.Lock()
	left := c.end.left(time.Now())
	if !c.over && left > 0 {
		c.timer.Reset(min(left, clockCheck))
	}
	ends := !c.over && left <= 0
	c.over = c.over || ends
	c.mu.Unlock()
	if ends {
		c.close(StatusUnauthorized, "token expired", ErrExpired)
	}
}

// A deadline is an instant on both clocks: the monotonic one stands still in a suspend, and the wall clock can be set
// back. Whichever comes first counts.
type deadline struct{ monotonic, wall time.Time }

func deadlineIn(d time.Duration, now time.Time) deadline {
	end := now.Add(d)
	return deadline{monotonic: end, wall: end.Round(0)}
}

func (d deadline) left(now time.Time) time.Duration {
	return min(d.monotonic.Sub(now), d.wall.Sub(now.Round(0)))
}

// finish ends the connection when serve has returned or panics.
func (c *connection) finish() {
	c.mu.Lock()
	c.over = true
	c.timer.Stop()
	c.mu.Unlock()
	code := websocket.StatusNormalClosure
	if !c.served {
		code = websocket.StatusInternalError
	}
	c.close(code, "", context.Canceled)
}

// close shuts the gate, says why to the peer and waits at most for the grace. The gate's deadline bounds all of it:
// Close alone waits 5 s for a silent peer and without end for one that announces a frame and stalls. The context is
// cancelled when the connection is closed, not before: that would drop it without a close frame.
func (c *connection) close(code websocket.StatusCode, reason string, cause error) {
	c.closing.Do(func() {
		c.gate.Shut(closeError{websocket.CloseError{Code: code, Reason: reason}, cause}, time.Now().Add(c.grace))
		c.ws.Close(code, reason)
	})
}

// A closeError is what Read returns once this side has closed: errors.Is finds the cause in it, and
// websocket.CloseStatus the code.
type closeError struct {
	websocket.CloseError
	cause error
}

func (e closeError) Error() string   { return e.cause.Error() }
func (e closeError) Unwrap() []error { return []error{e.CloseError, e.cause} }
