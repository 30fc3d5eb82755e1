// Package wsauth authenticates WebSocket connections, and requests, with bearer tokens (JWT).
//
// [New] makes an [Authenticator] of [Options]: who may sign tokens, and where a request carries them.
// [Authenticator.Upgrade] makes a WebSocket handler of a function, and ends each connection with its token.
// [Authenticator.Middleware] is for all other handlers; [Require] and [RequireScopes], inside it, look at the claims.
// Handlers find those with [ClaimsFromContext]. On a live connection, [Renew] takes a new token; [Authenticator.Revoke]
// ends some of them, [Authenticator.Shutdown] all.
//
// What is refused is one of the errors beginning with Err; [Authenticator.Refuse] says which HTTP response each
// becomes, and [UpgradeOptions].CloseOnRefusal which close code.
package wsauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/jwks"
	"github.com/wsauth/wsauth/internal/memory"
)

// An Authenticator verifies the tokens of requests. It is made by [New], immutable, and safe for concurrent use.
// The zero value refuses everything.
type Authenticator struct {
	policy   *policy
	onRefuse func(http.ResponseWriter, *http.Request, error) // nil: Refuse
	log      *slog.Logger
	observe  func(context.Context, Event) // nil: nobody is told
	live     *registry
	headers  *jose.Headers
	tokens   *memory.Memory[remembered] // nil: none are remembered
}

// New checks the options and makes an Authenticator of them. It returns all faults at once, joined, each an
// [*OptionError]. It makes no requests: a server starts while its identity provider is down.
func New(opts Options) (*Authenticator, error) {
	p, err := opts.check()
	if err != nil {
		return nil, err
	}
	a := &Authenticator{policy: p, onRefuse: opts.OnRefuse, log: opts.Logger, observe: opts.Observe, live: newRegistry(),
		headers: jose.NewHeaders()}
	if opts.CacheSize > 0 {
		a.tokens = memory.New[remembered](opts.CacheSize)
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// Ready reports whether the keys of every issuer are at hand, for a readiness probe. It fetches those that were never
// fetched, and waits for them no longer than ctx. The error is [ErrUnavailable] and says which issuers' keys are not to
// be had, or that [Authenticator.Shutdown] was called.
func (a *Authenticator) Ready(ctx context.Context) error {
	if a.isZero() {
		return refuse(ErrUnavailable, errZero)
	}
	if a.live.isDown() {
		return refuse(ErrUnavailable, http.ErrServerClosed)
	}
	faults := make([]error, len(a.policy.issuers))
	var all sync.WaitGroup
	for i, iss := range a.policy.issuers {
		remote, ok := iss.keys.(*jwks.Remote)
		if !ok {
			continue
		}
		all.Go(func() {
			if err := remote.Ready(ctx); err != nil {
				faults[i] = fmt.Errorf("the keys of %s: %w", iss.name, err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return refuse(ErrUnavailable, err)
	}
	return nil
}

// Middleware lets requests with a valid token through to next, with the token's claims in their context
// ([ClaimsFromContext]) and the token taken out of URL, RequestURI and Sec-WebSocket-Protocol. It refuses all
// others. It panics if next is nil.
func (a *Authenticator) Middleware(next http.Handler) http.Handler {
	return a.middleware(next, false)
}

// Optional is [Authenticator.Middleware], but lets requests without any token through, without claims. A request
// with a token that is malformed or not valid is refused. [Authenticator.Upgrade] needs a token behind Optional, too.
func (a *Authenticator) Optional(next http.Handler) http.Handler {
	return a.middleware(next, true)
}

func (a *Authenticator) middleware(next http.Handler, optional bool) http.Handler {
	if next == nil {
		panic("wsauth: nil handler")
	}
	return wrapped{next, func(w http.ResponseWriter, r *http.Request) {
		authenticated, err := a.authenticate(r)
		if optional && isNoToken(err) {
			authenticated, err = r.WithContext(&identity{Context: r.Context(), auth: a}), nil
		}
		if err != nil {
			a.refuse(w, r, err, next)
			return
		}
		next.ServeHTTP(w, authenticated)
	}}
}

// isNoToken looks at the refusal only: a cause that an application made must not open Optional.
func isNoToken(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.kind == ErrNoToken
}

// wrapped is a middleware's handler that still knows what it wraps: an Upgrade may have a better way to refuse.
type wrapped struct {
	next  http.Handler
	serve http.HandlerFunc
}

func (m wrapped) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.serve(w, r) }

// refuse logs a refusal and answers the request: with a close frame, if it was on its way to a handler of Upgrade with
// CloseOnRefusal, else with what OnRefuse writes.
func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, err error, next http.Handler) {
	a.logRefusal(r.Context(), err)
	for {
		switch h := next.(type) {
		case wrapped:
			next = h.next
			continue
		case *upgrader:
			if h.closeRefused(w, r, err) {
				return
			}
		}
		a.answer(w, r, err)
		return
	}
}

// Authenticate is [Authenticator.Middleware] for frameworks with handlers of their own: it returns the request to go on
// with, or an error for [Authenticator.Refuse], and writes nothing, so that OnRefuse is not asked. The error is one of
// this package's Err values to errors.Is.
func (a *Authenticator) Authenticate(r *http.Request) (*http.Request, error) {
	authenticated, err := a.authenticate(r)
	if err != nil {
		a.logRefusal(r.Context(), err)
		return nil, err
	}
	return authenticated, nil
}

func (a *Authenticator) authenticate(r *http.Request) (*http.Request, error) {
	id, from, err := a.identify(r)
	if err != nil {
		return nil, err
	}
	if from == fromNowhere {
		return r, nil
	}
	out := r.WithContext(id)
	if from == fromQuery || from == fromSubprotocol {
		a.policy.hideToken(out)
	}
	return out, nil
}

// identify finds out who sends r. The token is from nowhere if this Authenticator's Middleware outside has seen to it.
func (a *Authenticator) identify(r *http.Request) (*identity, source, error) {
	if a.isZero() {
		return nil, fromNowhere, refuse(ErrUnavailable, errZero)
	}
	outer := identityOf(r.Context())
	if id := outer; id != nil && id.auth == a && id.claims != nil {
		if !time.Now().Before(a.end(id.claims)) {
			return nil, fromNowhere, refuse(ErrExpired, nil)
		}
		return id, fromNowhere, nil
	}
	revocations := a.live.revocations.Load() // before any Require is asked
	cred, err := a.policy.extract(r)
	trail := trail{source: cred.from}
	var room jose.Claims
	var claims *jose.Claims
	if err == nil {
		claims, err = a.check(r.Context(), cred.token, &trail, &room)
		err = cred.judge(err)
	}
	if err != nil {
		return nil, cred.from, trail.on(err)
	}
	a.logSuccess(r.Context(), EventAuthenticated, trail)
	id := newIdentity(r.Context(), a, cred.from, revocations, claims)
	for ; outer != nil; outer = identityOf(outer.Context) {
		if outer.auth == a { // with another Authenticator's in between: what has admitted the request is asked again by Renew
			id.checks, id.seen = outer.checks, outer.seen
			break
		}
	}
	return id, cred.from, nil
}

// Verify verifies a bare token, e.g. one that came in a message. It returns its claims, or an error as
// [Authenticator.Authenticate] does. ctx bounds the wait for keys that were never fetched.
func (a *Authenticator) Verify(ctx context.Context, token string) (*Claims, error) {
	if a.isZero() {
		return nil, refuse(ErrUnavailable, errZero)
	}
	var trail trail
	claims, err := a.verify(ctx, token, &trail)
	if err != nil {
		err = trail.on(err)
		a.logRefusal(ctx, err)
		return nil, err
	}
	a.logSuccess(ctx, EventAuthenticated, trail)
	return claims, nil
}

var errZero = errors.New("an Authenticator that New did not make")

func (a *Authenticator) isZero() bool { return a == nil || a.policy == nil }

// end is when a token ends, for requests and connections alike.
func (a *Authenticator) end(c *Claims) time.Time { return c.Expiry.Add(a.policy.leeway) }

func (a *Authenticator) verify(ctx context.Context, token string, trail *trail) (*Claims, error) {
	var room jose.Claims
	claims, err := a.check(ctx, token, trail, &room)
	if err != nil {
		return nil, err
	}
	return new(claimSet).fill(claims), nil
}

// check is the way from a token to its claims, for which there is room. Nothing that the token says counts before its
// signature does: the unverified iss and kid only choose which keys are asked.
func (a *Authenticator) check(ctx context.Context, token string, trail *trail, c *jose.Claims) (*jose.Claims, error) {
	if a.tokens != nil {
		if known := a.tokens.Get(token); known != nil {
			trail.issuer, trail.kid = known.issuer.name, known.header.KeyID
			current, err := a.recheck(ctx, known)
			if current && err == nil {
				return &known.claims, nil
			}
			if !current || errors.Is(err, ErrInvalidToken) {
				a.tokens.Drop(token)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	t, err := a.headers.Parse(token)
	if err != nil {
		return nil, refuse(ErrInvalidToken, err)
	}
	trail.kid = t.Header.KeyID
	if *c, err = jose.ParseClaims(t.Payload); err != nil {
		return nil, refuse(ErrInvalidToken, err)
	}
	iss := a.policy.issuerOf(c)
	if iss == nil {
		return nil, refuse(ErrInvalidToken, errors.New("iss: not an issuer that is trusted"))
	}
	trail.issuer = iss.name
	if err := iss.checkHeader(t.Header); err != nil {
		return nil, refuse(ErrInvalidToken, err)
	}
	key, err := iss.verify(ctx, &t)
	if err != nil {
		return nil, err
	}
	a.headers.Remember(&t)
	if err := iss.judge(c, time.Now(), a.policy.leeway); err != nil {
		return nil, err
	}
	if a.tokens != nil && iss.lasting {
		a.tokens.Put(token, remembered{iss, t.Header, key, *c}, a.isPast)
	}
	return c, nil
}

// recheck checks all of a remembered token but its signature. It is not current where the key that verified it is none
// of the issuer's any more, be it withdrawn or fetched anew: then the signature must be checked again.
func (a *Authenticator) recheck(ctx context.Context, known *remembered) (current bool, err error) {
	keys, err := known.issuer.find(ctx, known.header)
	if err != nil {
		return true, err
	}
	if !slices.Contains(keys, known.key) {
		return false, nil
	}
	return true, known.issuer.judge(&known.claims, time.Now(), a.policy.leeway)
}

// verify returns the key that made the signature of t.
func (iss *issuer) verify(ctx context.Context, t *jose.Token) (*jose.Key, error) {
	keys, err := iss.find(ctx, t.Header)
	if err != nil {
		return nil, err
	}
	var verifiedBy *jose.Key
	for _, k := range keys { // all of them: the time must not tell which secret it was
		if t.VerifiedBy(k) {
			verifiedBy = k
		}
	}
	if verifiedBy == nil {
		return nil, refuse(ErrInvalidToken, errors.New("the signature is not valid"))
	}
	return verifiedBy, nil
}

// find returns the keys that may have signed a token with this header, or a refusal.
func (iss *issuer) find(ctx context.Context, h jose.Header) ([]*jose.Key, error) {
	keys, err := iss.keys.Keys(ctx, h)
	switch {
	case errors.Is(err, jwks.ErrUnknownKey), errors.Is(err, ErrInvalidToken):
		return nil, refuse(kindOf(err, ErrInvalidToken), err)
	case err != nil:
		return nil, refuse(ErrUnavailable, err)
	case len(keys) == 0:
		return nil, refuse(ErrInvalidToken, jwks.ErrUnknownKey)
	}
	return keys, nil
}

// A remembered token has had its signature verified. All else is checked each time.
type remembered struct {
	issuer *issuer
	header jose.Header
	key    *jose.Key
	claims jose.Claims
}

func (a *Authenticator) isPast(k *remembered) bool {
	return !time.Now().Before(k.claims.Expiry.Add(a.policy.leeway))
}

func (p *policy) issuerOf(c *jose.Claims) *issuer {
	for i := range p.issuers {
		if iss := &p.issuers[i]; iss.name == "" || c.HasIssuer && iss.name == c.Issuer {
			return iss
		}
	}
	return nil
}

// checkHeader is RFC 8725 sections 3.1 and 3.12: the algorithm is one that was asked for, and the token is of the
// kind that belongs here. An ID token or a logout token has the same issuer and the same keys.
func (iss *issuer) checkHeader(h jose.Header) error {
	if !iss.algs.Has(h.Alg) {
		return errors.New("alg: not one that the issuer's keys and Algorithms allow")
	}
	if iss.typ != "" && h.Type != iss.typ {
		return errors.New("typ: not the Type of the issuer")
	}
	if iss.typ == "" && h.Type != "" && h.Type != "jwt" && h.Type != "at+jwt" {
		return errors.New("typ: not that of an access token")
	}
	return nil
}

// judge checks the claims of a token whose signature is verified. What expired is said last, so that ErrExpired means
// that a newer token will do.
func (iss *issuer) judge(c *jose.Claims, now time.Time, leeway time.Duration) error {
	reason := iss.judgeAudience(c)
	switch latest := now.Add(leeway); {
	case reason != "":
	case c.NotBefore.After(latest):
		reason = "nbf: token not valid yet"
	case c.IssuedAt.After(latest):
		reason = "iat: token not valid yet"
	case iss.maxTTL > 0 && c.Expiry.After(now.Add(iss.maxTTL)):
		reason = "exp: later than MaxTTL allows"
	case !now.Before(c.Expiry.Add(leeway)):
		return refuse(ErrExpired, nil)
	default:
		return nil
	}
	return refuse(ErrInvalidToken, errors.New(reason))
}

// judgeAudience returns what is wrong with whom the token is for.
func (iss *issuer) judgeAudience(c *jose.Claims) string {
	switch {
	case iss.anyAudience:
	case !c.HasAudience() && len(iss.clientIDs) > 0:
		if !slices.Contains(iss.clientIDs, c.Client()) {
			return "client_id: not one of ClientIDs"
		}
	case c.HasAudience() && len(iss.audience) == 0:
		return "aud: the token names an audience, and none is configured"
	case len(iss.audience) > 0 && !c.IsFor(iss.audience):
		return "aud: not the audience"
	}
	return ""
}

// Require returns a middleware that lets requests through whose claims pass check, and refuses others with 403
// ([ErrForbidden]). It belongs inside an [Authenticator]'s Middleware or Optional; requests without claims get 401,
// which elsewhere are all. In tests, [ContextWithClaims] takes their place. An error of check that is [ErrRevoked],
// [ErrInvalidToken] or [ErrUnavailable] to errors.Is is answered as such. Require panics if check is nil.
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
				id.authenticator().refuse(w, r, id.trail().on(err), next)
				return
			}
			next.ServeHTTP(w, r.WithContext(id.admittedBy(r.Context(), check)))
		}}
	}
}

// RequireScopes is [Require] for tokens that have all of the scopes ([Claims.HasScope]); the response names them. It
// panics without any, and if one is not a scope-token of RFC 6749 section 3.3.
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
				return missingScope(strings.Join(scopes, " "))
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

// missingScope is the error of RequireScopes: the scopes that are needed.
type missingScope string

func (missingScope) Error() string { return "a scope is missing" }
