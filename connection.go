package wsauth

import (
	"context"
	"errors"
	"iter"
	"log"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/life"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/verify"
)

// Renew gives a live connection a new token. ctx is the context given to the
// serve function of [Authenticator.Upgrade], the context of a request behind
// [Authenticator.Guard], or a context made from one of these.
//
// The new token must pass the same checks as the token of the handshake, and
// every [Require] that admitted the connection must admit it again. Issuer and
// subject must be those of the current token, and so must sid, client_id and
// azp if the current token has them. The new token must expire later than the
// current one, so the same token cannot be used again. The connection then
// lives until the new token expires, but not past [UpgradeOptions.MaxLifetime].
// Renew returns the new claims, and [ClaimsFromContext] returns them from then
// on.
//
// If Renew returns an error, the connection is as it was. The error says why the
// token was refused, as [Authenticator.Verify] does, or is
//
//   - [ErrExpired] if the connection has ended. If its end and a renewal
//     coincide, exactly one of them takes effect.
//   - [ErrTooMany] after too many attempts, whether they succeeded or not: a
//     connection has five attempts, and gets one back every second.
//   - [ErrRevoked] if [Authenticator.Disconnect] matched the new claims.
//   - [ErrForbidden] if ctx belongs to no connection, or if a check of Require
//     refuses the new token.
//
// If the current token is bound to a client certificate, the new token must be
// bound to the same certificate. A token that is bound to a key needs
// [RenewBound].
func Renew(ctx context.Context, token string) (*Claims, error) { return renew(ctx, token, "") }

func renew(ctx context.Context, token, proof string) (*Claims, error) {
	id := identityOf(ctx)
	if id == nil || id.conn == nil {
		return nil, refusal.New(ErrForbidden, errors.New("Renew without a connection in the context"))
	}
	claims, err := id.conn.renewAside(ctx, token, proof)
	if err != nil {
		id.auth.reportRefusal(ctx, err)
		return nil, err
	}
	return claims, nil
}

// renewAside is renew on a stack of its own: the caller's goroutine may be the
// one that reads the connection.
func (c *connection) renewAside(ctx context.Context, token, proof string) (claims *Claims, err error) {
	aside(ctx, "Renew", func() { claims, err = c.renew(ctx, token, proof) })
	return claims, err
}

// renew also takes the first token of a connection that was opened without one.
// proof is empty if the token came without a DPoP proof.
func (c *connection) renew(ctx context.Context, token, proof string) (*Claims, error) {
	var verified verify.Verified
	first, epoch := c.Claims() == nil, c.auth.live.Epoch()
	claims, err := c.Renew(func() (*Claims, error) {
		if err := c.verifyRenewal(ctx, token, proof, &verified); err != nil {
			return nil, err
		}
		if first {
			c.auth.reportVerified(ctx, EventAuthenticated, verified.Trail)
		}
		return claimsOf(&verified.Claims), nil
	}, func(current, next *Claims) error {
		if current != nil {
			if err := current.samePerson(next); err != nil {
				return refusal.New(ErrInvalidToken, err)
			}
		}
		if now := c.auth.live.Epoch(); now != epoch { // a KeyFunc was perhaps asked too early
			epoch = now
			holder := verify.Holder{Key: verify.Proven(verified.Claims.Binding.Key), Certificate: c.certificate}
			if err := c.auth.verifyToken(ctx, credential.Credential{Token: token}, holder, new(verify.Verified)); err != nil {
				return err
			}
		}
		return c.check(ctx, next)
	})
	switch {
	case err != nil:
		return nil, verified.On(err)
	case !first:
		c.auth.reportVerified(ctx, EventRenewed, verified.Trail)
	case c.guarded:
		c.reportOpened()
	}
	return claims, nil
}

// Disconnect ends the Authenticator's live connections whose claims match, and
// returns how many there were. It closes WebSockets with code and reason, and
// from then on no message begins in either direction. Then the context of the
// connection is cancelled; [websocket.CloseStatus] finds the code in its cause.
// Disconnect does not wait for any of this. It calls match for one connection
// after another; match must not modify the claims. A reason longer than 123
// bytes, which is what fits into a close frame, is cut.
//
// Disconnect keeps no record: a token that has not expired can open a new
// connection. To log somebody out, use [Authenticator.Revoke].
//
// A [Renew] in progress whose new claims match fails. Its connection counts as
// ended only if the current claims match, too. A connection that is being
// opened at that moment is not matched. Instead, every check that admitted it
// is asked again, except a [KeyFunc].
//
// Disconnect panics if match is nil, or if code is not one that an endpoint may
// send ([RFC 6455 section 7.4]).
//
// [RFC 6455 section 7.4]: https://www.rfc-editor.org/rfc/rfc6455#section-7.4
func (a *Authenticator) Disconnect(match func(*Claims) bool, code websocket.StatusCode, reason string) int {
	if match == nil {
		panic("wsauth: Disconnect with a nil match")
	}
	if !maySend(code) {
		panic("wsauth: Disconnect with a close code that no endpoint may send")
	}
	if a.isZero() {
		return 0
	}
	reason = cut(reason, maxReason)
	return a.live.Disconnect(match, endingFor(code, reason, websocket.CloseError{Code: code, Reason: reason}))
}

// maySend reports whether RFC 6455 section 7.4 or the IANA registry allows an
// endpoint to send code.
func maySend(code websocket.StatusCode) bool {
	switch code {
	case 1004, websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure:
		return false
	}
	return code >= websocket.StatusNormalClosure && code <= websocket.StatusBadGateway || code >= 3000 && code <= 4999
}

// maxReason is how many bytes a control frame has left after the code (RFC 6455
// section 5.5).
const maxReason = 123

// cut shortens a text to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Shutdown ends the Authenticator's live connections, which
// [http.Server.Shutdown] does not know about. It refuses new connections with
// 503, closes the live ones with 1001, and waits until all are closed and their
// serve functions have returned, or until ctx is done. The contexts of the
// connections are cancelled with the cause [http.ErrServerClosed]. The error
// says how many connections have not ended. Requests that open no connection
// are authenticated as before.
//
// If ctx has a deadline, the connections are closed one after another, 10 ms
// apart. If that would take more than half of the time until the deadline, they
// are closed a few at a time, at least every 50 ms, spread evenly over that
// half. So the clients do not all reconnect at the same moment.
//
// Call Shutdown at the same time as http.Server.Shutdown, and wait for both. A
// function given to [http.Server.RegisterOnShutdown] can call it, too, but
// nobody waits for that function: main may return before the connections are
// closed. If a serve function or [Options.Observe] calls Shutdown, it waits for
// the very connection that the call comes from.
func (a *Authenticator) Shutdown(ctx context.Context) error {
	if a.isZero() {
		return nil
	}
	return a.live.Shutdown(ctx, endingShutDown)
}

// A connection is what an Authenticator knows about a connection, or about a
// request behind Guard, in addition to its life.
type connection struct {
	*life.Conn[Claims]
	auth    *Authenticator
	checks  []func(context.Context, *Claims) error // of UpgradeOptions, and of every Require that admitted it
	ctx     context.Context
	cancel  context.CancelCauseFunc
	epoch   uint32            // the epoch in which they did
	source  credential.Source // of the token that opened it
	bound   *handshake        // nil: nothing about the handshake can matter to a token that is bound
	guarded bool              // by Guard: the connection ends when it is closed, not when a handler returns
	served  bool              // serve was called and has returned
	detach  func() bool       // detaches from the context outside of a handler behind Guard

	gate    *gate.Conn // nil: not a WebSocket, or not one yet
	serving atomic.Pointer[websocket.Conn]
	opened  atomic.Pointer[time.Time] // nil: not reported
	alone   atomic.Bool
}

// TakenOver is called when the handler has hijacked the connection.
func (c *connection) TakenOver(g *gate.Conn) {
	c.gate = g
	if c.detach != nil {
		c.detach()
	}
}

// Opened is called by the gate when the handshake is answered. If the answer is
// not a WebSocket's, wsauth leaves the connection alone from then on.
func (c *connection) Opened(isWebSocket bool) {
	if !isWebSocket {
		c.alone.Store(true)
		c.Forget()
		return
	}
	if c.guarded && c.Claims() != nil {
		c.reportOpened() // before Open, since the connection may end as soon as there is a gate to end it with
	}
	c.Open(c.gate)
}

// Left is called by the gate when the peer or the library has begun to end the
// connection. A broken connection counts as ended, however long it takes to
// close the connection below.
func (c *connection) Left(err error) {
	c.Conn.Left(err)
	if errors.Is(err, gate.ErrBroken) {
		c.endContext(nil)
	}
}

// Closed is called by the gate when the connection is closed.
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
		go ws.CloseNow() // otherwise coder/websocket's Ping would go on waiting
	}
}

// awaitReader waits for a Read in progress to return its error; if we cancelled
// the context first, coder/websocket would return the context's error instead.
// The wait is bounded, since a callback of the application may delay the Read.
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

// isTakenOver reports whether there is a WebSocket to end, or will be.
func (c *connection) isTakenOver(w *gate.Writer) bool { return w.Taken() && !c.alone.Load() }

// abandon stops counting a request that has not become a connection.
func (c *connection) abandon() {
	c.Forget()
	c.cancel(nil)
}

// forget stops counting a connection that is closed.
func (c *connection) forget() {
	c.Forget()
	c.reportClosed()
}

// endRefused ends a connection for the reason that an HTTP response would have
// given.
func (c *connection) endRefused(err error) {
	c.auth.reportRefusal(c.ctx, err)
	response := refusal.ResponseTo(err)
	c.End(endingFor(websocket.StatusCode(response.CloseCode), response.Reason, err))
}

// check asks every check that admitted the connection. The context that the
// checks get has the claims in question, as at the handshake.
func (c *connection) check(ctx context.Context, claims *Claims) error {
	ctx = &identity{Context: ctx, auth: c.auth, claims: claims}
	for _, check := range c.checks {
		if err := check(ctx, claims); err != nil {
			return refusal.Checked(err)
		}
	}
	return nil
}

// isAdmitted reports whether a connection may be served. It asks the checks
// again if Disconnect was called after they were asked: Disconnect did not know
// the connection yet.
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

// admit is isAdmitted for a request that can still be answered with a refusal.
func (c *connection) admit() error {
	if !c.Admit() {
		end, _ := c.Ended()
		return refusal.New(refusal.KindOf(end.Err, ErrUnavailable), end.Err)
	}
	return c.checkAgain()
}

func (c *connection) checkAgain() error {
	claims := c.Claims()
	if claims == nil || c.epoch == c.auth.live.Epoch() {
		return nil
	}
	return c.check(c.ctx, claims)
}

// aside calls f on a stack of its own, which is gone when f returns. When a
// handler begins, net/http has used 1.2 KB of the 4 KB of its goroutine's stack,
// and verifying a token takes more than the rest. A stack that has grown to 8 KB
// keeps that size while the connection is read on it.
//
// [iter.Pull] changes stacks without the scheduler; starting a goroutine and
// waiting for it would wake another processor. A panic continues in the caller,
// where the stack no longer shows where it began, so it is logged here. serving
// says what f serves, for the log: the address of a client, or Renew.
func aside(ctx context.Context, serving string, f func()) {
	next, _ := iter.Pull(func(func(struct{}) bool) {
		defer func() {
			if p := recover(); p != nil {
				logPanic(ctx, serving, p)
				panic(p)
			}
		}()
		f()
	})
	next()
}

// logPanic logs a panic as net/http does, to the log of the server that ctx
// belongs to.
func logPanic(ctx context.Context, serving string, p any) {
	if p == http.ErrAbortHandler {
		return
	}
	logf := log.Printf
	if srv, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && srv.ErrorLog != nil {
		logf = srv.ErrorLog.Printf
	}
	logf("http: panic serving %v: %v\n%s", serving, p, debug.Stack())
}
