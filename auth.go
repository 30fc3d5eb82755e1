// Package wsauth authenticates WebSocket connections, and HTTP requests, with
// bearer tokens (JWT), and closes each connection when its token expires.
//
//	auth, err := wsauth.New(wsauth.Options{
//		Issuers: []wsauth.Issuer{{
//			Name:     "https://id.example.com/",
//			Audience: []string{"chat"},
//			Keys:     wsauth.JWKS{}, // found by OpenID discovery
//		}},
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	mux.Handle("GET /ws", auth.Upgrade(chat, nil))
//	mux.Handle("GET /me", auth.Middleware(me))
//
//	func chat(ctx context.Context, conn *websocket.Conn) {
//		claims, _ := wsauth.ClaimsFromContext(ctx)
//		…
//	}
//
// # How a request is handled
//
//	request → credential → claims → connection
//
// A request carries one credential: a token in a header, the query, a cookie or
// a subprotocol, or a ticket that stands for a token, as [Options].Extractors
// says. The token is verified with the keys of its [Issuer] and becomes
// [Claims], which handlers read with [ClaimsFromContext]. The connection that
// it opened ends with the token.
//
// [New] creates an [Authenticator] from [Options] and reports every mistake in
// them at once. Then wrap each handler in one of these:
//
//   - [Authenticator.Upgrade] turns a function into a WebSocket handler.
//   - [Authenticator.Guard] does the same for a handler that uses another
//     WebSocket library, and for responses that stream.
//   - [Authenticator.Middleware] is for all other handlers, and
//     [Authenticator.Optional] for those that serve guests, too.
//   - [Authenticator.Authenticate] is for frameworks whose handlers are not an
//     [http.Handler].
//
// [Require] and [RequireScopes], inside Middleware, check the claims.
// [Authenticator.Conceal], around everything, keeps tokens out of access logs;
// [Authenticator.Tickets] keeps them out of the URL.
//
// # Live connections
//
// [Renew] gives a live connection a new token. [Authenticator.Revoke] refuses
// tokens from then on, on every server that shares the log of [Revocations],
// and closes their connections. [Authenticator.Disconnect] closes the
// connections whose claims match, and [Authenticator.Shutdown] closes them all.
//
// # Refusals
//
// When a request or a token is refused, the error is, to [errors.Is], one of
// the variables that begin with Err. [Authenticator.Refuse] writes the HTTP
// response of [RFC 6750] for it; use [Status] and [Reason] to write a response
// of your own. A browser hides the response to a handshake from its page: with
// CloseOnRefusal in [UpgradeOptions], the page gets a close code and a reason
// instead.
//
// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
package wsauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/life"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/verify"
)

// An Authenticator verifies the tokens of requests. [New] creates it. It is
// immutable and safe for concurrent use. The zero value refuses every request.
type Authenticator struct {
	policy   *policy
	onRefuse func(http.ResponseWriter, *http.Request, error) // nil: Refuse
	log      *slog.Logger
	observe  func(context.Context, Event) // may be nil
	live     *life.Registry[Claims]
}

// New checks the options and creates an Authenticator from them. It reports
// every fault at once, as joined errors, each an [*OptionError]. It makes no
// requests, so a server can start while its identity provider is down.
func New(opts Options) (*Authenticator, error) {
	p, err := opts.check()
	if err != nil {
		return nil, err
	}
	a := &Authenticator{
		policy: p, onRefuse: opts.OnRefuse, log: opts.Logger, observe: opts.Observe,
		live: life.NewRegistry(p.revoked, p.revocable),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if p.revoked != nil {
		p.revoked.Tell(listener{a})
	}
	for _, i := range p.origins.NotForCookies(p.places) {
		a.log.Warn("wsauth: an origin that anybody can have does not count for cookies", slog.String("field", fmt.Sprintf("Origins[%d]", i)))
	}
	return a, nil
}

// Ready reports whether every issuer's keys are available, for a readiness
// probe. It fetches keys that have never been fetched, and waits until ctx is
// done at the latest. The error is [ErrUnavailable]; it names the issuers whose
// keys are missing, or says that the log of [Revocations] has not been read for
// too long, or that [Authenticator.Shutdown] was called.
func (a *Authenticator) Ready(ctx context.Context) error {
	if a.isZero() {
		return refusalOfZero()
	}
	if a.live.IsDown() {
		return refusal.New(ErrUnavailable, http.ErrServerClosed)
	}
	if err := a.policy.verifier.Ready(ctx); err != nil {
		return refusal.New(ErrUnavailable, err)
	}
	return a.policy.revoked.IsFresh()
}

// Conceal hides tokens and tickets in URLs and subprotocols from the handlers
// behind it, such as access logs and traces. A middleware outside Conceal still
// sees them, so make it the outermost handler:
//
//	http.ListenAndServe(addr, auth.Conceal(logging(mux)))
//
// Conceal removes from the URL, RequestURI and Sec-WebSocket-Protocol of a
// request everything that [FromQuery], [FromTicket] and [FromSubprotocol] among
// [Options.Extractors] would find there, valid or not. It keeps what it has
// removed in the request's context. There, this Authenticator's Middleware,
// Optional, Upgrade, Guard, Tickets and Authenticate find it, under the same
// rules as without Conceal; another Authenticator does not. Authorization
// headers, cookies and what [FromFunc] reads stay as they are. Conceal verifies
// nothing and writes no response. It passes on a copy of the request and leaves
// the original unchanged.
//
// No handler behind Conceal sees a query parameter of such a name, not even a
// handler that does not use the Authenticator. A proxy in front of the server
// sees the token before Conceal can hide it: there, use tickets ([FromTicket]),
// which are worthless in a log. Conceal panics if next is nil.
func (a *Authenticator) Conceal(next http.Handler) http.Handler {
	if next == nil {
		panic("wsauth: nil handler")
	}
	return wrapped{next, func(w http.ResponseWriter, r *http.Request) {
		if !a.isZero() {
			if hidden, ok := credential.HiddenIn(a.revealed(r), a.policy.places); ok {
				r = r.WithContext(&concealed{r.Context(), a, hidden.ShowIn})
				credential.Hide(r, a.policy.places)
			}
		}
		next.ServeHTTP(w, r)
	}}
}

// concealed is a context that has what Conceal has hidden. It has it in a
// function, which no verb of fmt prints the inside of.
type concealed struct {
	context.Context
	auth *Authenticator
	show func(*http.Request)
}

func (c *concealed) String() string { return "wsauth.Conceal" }

type concealedKey struct{ auth *Authenticator }

func (c *concealed) Value(key any) any {
	if key == (concealedKey{c.auth}) {
		return c
	}
	return c.Context.Value(key)
}

// revealed returns r with what Conceal has hidden from it.
func (a *Authenticator) revealed(r *http.Request) *http.Request {
	c, ok := r.Context().Value(concealedKey{a}).(*concealed)
	if !ok {
		return r
	}
	r = r.WithContext(r.Context())
	c.show(r)
	return r
}

// Middleware passes requests with a valid token to next and refuses all other
// requests. The request that next gets has the token's claims in its context
// ([ClaimsFromContext]), and its URL, RequestURI and Sec-WebSocket-Protocol
// header no longer contain the token. Middleware panics if next is nil.
func (a *Authenticator) Middleware(next http.Handler) http.Handler {
	return a.middleware(next, false)
}

// Optional is like [Authenticator.Middleware], but passes requests without any
// token to next, without claims. It refuses a request whose token is malformed
// or not valid. [Authenticator.Upgrade] requires a token behind Optional, too.
func (a *Authenticator) Optional(next http.Handler) http.Handler {
	return a.middleware(next, true)
}

func (a *Authenticator) middleware(next http.Handler, optional bool) http.Handler {
	if next == nil {
		panic("wsauth: nil handler")
	}
	return wrapped{next, func(w http.ResponseWriter, r *http.Request) {
		authenticated, err := a.authenticate(r)
		if optional && refusal.IsNoToken(err) {
			authenticated, err = r.WithContext(&identity{Context: r.Context(), auth: a}), nil
		}
		if err != nil {
			a.refuse(w, r, err, next)
			return
		}
		a.giveNonce(w, r)
		next.ServeHTTP(w, authenticated)
	}}
}

// wrapped is a middleware's handler that still knows what it wraps: a handler of Upgrade or Guard may refuse with a close
// frame.
type wrapped struct {
	next  http.Handler
	serve http.HandlerFunc
}

func (m wrapped) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.serve(w, r) }

// refuse logs a refusal and answers the request: with a close frame if the
// request was on its way to a handler of Upgrade or Guard with CloseOnRefusal,
// otherwise with the response of OnRefuse.
func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, err error, next http.Handler) {
	a.reportRefusal(r.Context(), err)
	a.giveNonce(w, r)
	for {
		switch h := next.(type) {
		case wrapped:
			next = h.next
			continue
		case interface {
			closeRefused(http.ResponseWriter, *http.Request, error) bool
		}:
			if h.closeRefused(w, r, err) {
				return
			}
		}
		a.writeRefusal(w, r, err)
		return
	}
}

// Authenticate does the work of [Authenticator.Middleware] for frameworks with
// a handler type of their own. It returns the request to continue with, or an
// error for [Authenticator.Refuse]; the error is one of this package's Err
// values to [errors.Is]. Authenticate writes no response and does not call
// [Options.OnRefuse].
func (a *Authenticator) Authenticate(r *http.Request) (*http.Request, error) {
	authenticated, err := a.authenticate(r)
	if err != nil {
		a.reportRefusal(r.Context(), err)
		return nil, err
	}
	return authenticated, nil
}

func (a *Authenticator) authenticate(r *http.Request) (*http.Request, error) {
	id, from, err := a.identify(r, false)
	if err != nil {
		return nil, err
	}
	if id == identityOf(r.Context()) {
		return r, nil
	}
	out := r.WithContext(id)
	if from == credential.FromQuery || from == credential.FromTicket || from == credential.FromSubprotocol {
		credential.Hide(out, a.policy.places)
	}
	return out, nil
}

// identify finds out who sends r. The source is FromNowhere if this
// Authenticator's Middleware has already verified the token. streams says that
// whoever asks ends a stream with its token.
func (a *Authenticator) identify(r *http.Request, streams bool) (*identity, credential.Source, error) {
	if a.isZero() {
		return nil, credential.FromNowhere, refusalOfZero()
	}
	own := a.identityIn(r.Context())
	if own != nil && own.claims != nil && own == identityOf(r.Context()) {
		return own, credential.FromNowhere, a.checkEnd(own)
	}
	epoch := a.live.Epoch() // before any Require check runs
	cred, err := a.find(r, streams)
	if own != nil && own.claims != nil && refusal.IsNoToken(err) {
		// The request passed this Authenticator's Middleware, which hid the token, and then another Authenticator's.
		id := *own
		id.Context = r.Context()
		return &id, credential.FromNowhere, a.checkEnd(own)
	}
	if err != nil {
		return nil, cred.Source, err
	}
	var verified verify.Verified
	if err := a.verifyRequest(r, cred, &verified); err != nil {
		return nil, cred.Source, err
	}
	a.reportVerified(r.Context(), EventAuthenticated, verified.Trail)
	id := newIdentity(r.Context(), a, cred.Source, epoch, &verified)
	if own != nil { // Renew asks the checks again that admitted the request
		id.checks, id.epoch = own.checks, own.epoch
	}
	return id, cred.Source, nil
}

// find finds the one token of r.
func (a *Authenticator) find(r *http.Request, streams bool) (credential.Credential, error) {
	cred, err := credential.Find(a.revealed(r), a.policy.places, a.policy.origins, streams)
	return cred, refusal.Trail{Source: cred.Source.String()}.On(err)
}

// identityIn returns the innermost identity that this Authenticator has put
// into ctx, or nil.
func (a *Authenticator) identityIn(ctx context.Context) *identity {
	id := identityOf(ctx)
	for id != nil && id.auth != a {
		id = identityOf(id.Context)
	}
	return id
}

// checkEnd refuses a token that has expired, or was revoked, since Middleware
// verified it.
func (a *Authenticator) checkEnd(id *identity) error {
	err := a.live.CheckRevoked(id.claims)
	if err == nil && !time.Now().Before(a.end(id.claims)) {
		err = refusal.New(ErrExpired, nil)
	}
	return id.trail().On(err)
}

// Verify verifies a bare token, for example one that came in a message. It
// returns the token's claims, or an error like those of
// [Authenticator.Authenticate]. ctx bounds the wait for keys that have never
// been fetched. Verify refuses a token that is bound to a key or a certificate,
// since a bare token proves neither.
func (a *Authenticator) Verify(ctx context.Context, token string) (*Claims, error) {
	if a.isZero() {
		return nil, refusalOfZero()
	}
	var verified verify.Verified
	if err := a.verifyToken(ctx, credential.Credential{Token: token}, verify.Holder{}, &verified); err != nil {
		a.reportRefusal(ctx, err)
		return nil, err
	}
	a.reportVerified(ctx, EventAuthenticated, verified.Trail)
	return claimsOf(&verified.Claims), nil
}

var errZero = errors.New("an Authenticator that New did not make")

func refusalOfZero() error { return refusal.New(ErrUnavailable, errZero) }

func (a *Authenticator) isZero() bool { return a == nil || a.policy == nil }

// end returns when a token with these claims expires, leeway included, for
// requests and connections alike.
func (a *Authenticator) end(c *Claims) time.Time { return a.policy.verifier.End(c.Expiry) }

// verifyToken verifies the token that was found. A refusal is reported by whoever answers for it.
func (a *Authenticator) verifyToken(
	ctx context.Context, cred credential.Credential, holder verify.Holder, out *verify.Verified,
) error {
	out.Source = cred.Source.String()
	if err := a.policy.verifier.Token(ctx, cred.Token, holder, out); err != nil {
		return refusal.Trail{Source: out.Source}.On(cred.Judge(err))
	}
	return nil
}

// Require returns a middleware that passes a request on if check accepts its
// claims, and otherwise refuses the request with 403 ([ErrForbidden]). If check
// returns an error that is [ErrRevoked], [ErrInvalidToken] or [ErrUnavailable]
// to [errors.Is], the response is the one for that error.
//
// Use Require inside an [Authenticator]'s Middleware or Optional. A request
// without claims gets 401, so anywhere else Require refuses every request.
// Tests can supply claims with [ContextWithClaims]. Require panics if check is
// nil.
func Require(check func(context.Context, *Claims) error) func(http.Handler) http.Handler {
	if check == nil {
		panic("wsauth: Require with a nil check")
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("wsauth: nil handler")
		}
		return wrapped{next, func(w http.ResponseWriter, r *http.Request) {
			id := identityOf(r.Context())
			if err := id.pass(r.Context(), check); err != nil {
				id.authenticator().refuse(w, r, id.trail().On(err), next)
				return
			}
			next.ServeHTTP(w, r.WithContext(id.admittedBy(r.Context(), check)))
		}}
	}
}

// RequireScopes is [Require] for tokens that have all of the scopes
// ([Claims.HasScope]). The response to a refused request names the scopes.
// RequireScopes panics if there are no scopes, or if one is not a scope-token
// of [RFC 6749 section 3.3].
//
// [RFC 6749 section 3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
func RequireScopes(scopes ...string) func(http.Handler) http.Handler {
	if len(scopes) == 0 {
		panic("wsauth: RequireScopes without scopes")
	}
	for _, s := range scopes {
		if !isScope(s) {
			panic("wsauth: RequireScopes with a malformed scope")
		}
	}
	scopes = slices.Clone(scopes)
	return Require(func(_ context.Context, c *Claims) error {
		for _, s := range scopes {
			if !c.HasScope(s) {
				return refusal.MissingScope(strings.Join(scopes, " "))
			}
		}
		return nil
	})
}

func isScope(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || b == '"' || b == '\\' {
			return false
		}
	}
	return s != ""
}
