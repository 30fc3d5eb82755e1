package wsauth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

// These errors say why a request or a token was refused; compare with
// [errors.Is]. [ErrExpired], [ErrRevoked], [ErrInvalidTicket] and
// [ErrInvalidProof] are also [ErrInvalidToken]. The errors that functions return
// wrap these and say more, for logs: a client learns only which of these it was.
// No error contains any part of a token.
var (
	ErrNoToken          = refusal.ErrNoToken          // 401: the request has no token
	ErrMalformedRequest = refusal.ErrMalformedRequest // 400: two tokens, or a malformed or misplaced one
	ErrInvalidToken     = refusal.ErrInvalidToken     // 401: forged, malformed, or not for this server
	ErrExpired          = refusal.ErrExpired          // 401: get a new token
	ErrRevoked          = refusal.ErrRevoked          // 401: by Revoke, a check of Require, or a KeyFunc
	ErrInvalidTicket    = refusal.ErrInvalidTicket    // 401: the ticket was used, has expired, or is unknown
	ErrInvalidProof     = refusal.ErrInvalidProof     // 401: the DPoP proof is missing, or not valid for this request
	ErrForbidden        = refusal.ErrForbidden        // 403: a check of Require refused the claims
	ErrOrigin           = refusal.ErrOrigin           // 403: a page of another origin
	ErrUnavailable      = refusal.ErrUnavailable      // 503: no keys, log or store, MaxConnections, or shutting down
	ErrTooMany          = refusal.ErrTooMany          // 429: MaxPerSubject, or too many calls of Renew
)

// Status returns the HTTP status that [Authenticator.Refuse] writes for an
// error. Use it to write a response with a body of your own, here in gin:
//
//	c.AbortWithStatusJSON(wsauth.Status(err), gin.H{"error": wsauth.Reason(err)})
//
// Status returns 500 for an error that is not one of this package's Err values,
// and for nil, so that a refusal is never answered with 200 by mistake. Refuse
// also writes headers, such as the WWW-Authenticate header that [RFC 9110
// section 15.5.2] requires with a 401.
//
// [RFC 9110 section 15.5.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2
func Status(err error) int { return refusal.ResponseTo(err).Status }

// Reason returns a word for an error. A client may see the word, and a program
// can compare it: token_required, invalid_request, invalid_token,
// invalid_ticket, invalid_dpop_proof, use_dpop_nonce, insufficient_scope,
// foreign_origin, too_many_connections or temporarily_unavailable;
// internal_error if [Status] is 500. With
// [UpgradeOptions.CloseOnRefusal], close frames have the same words.
func Reason(err error) string { return refusal.ResponseTo(err).Reason }

func (a *Authenticator) reportRefusal(ctx context.Context, err error) {
	if a.isZero() {
		return
	}
	var r *refusal.Error
	if !errors.As(err, &r) {
		return
	}
	a.observeRefusal(ctx, r)
	level := slog.LevelInfo
	if r.Kind == ErrUnavailable && !errors.Is(err, context.Canceled) { // a client that leaves is not an outage
		level = slog.LevelWarn
	}
	if a.log.Enabled(ctx, level) {
		reason := slog.String("reason", r.Logged())
		a.log.LogAttrs(ctx, level, "wsauth: refused", append([]slog.Attr{reason}, known(r.Trail)...)...)
	}
}

func (a *Authenticator) reportVerified(ctx context.Context, kind EventKind, t refusal.Trail) {
	a.observeVerified(ctx, kind, t)
	if a.log.Enabled(ctx, slog.LevelDebug) {
		a.log.LogAttrs(ctx, slog.LevelDebug, "wsauth: verified", known(t)...)
	}
}

// known returns the attributes of a record. Unknown ones are left out: kid=""
// would say that the token has an empty kid.
func known(t refusal.Trail) []slog.Attr {
	attrs := []slog.Attr{slog.String("source", t.Source), slog.String("issuer", t.Issuer), slog.String("kid", t.KeyID)}
	return slices.DeleteFunc(attrs, func(a slog.Attr) bool { return a.Value.String() == "" })
}

// writeRefusal writes the response to a refused request. OnRefuse gets a
// request that no longer shows its token.
func (a *Authenticator) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	if a.isZero() || a.onRefuse == nil {
		a.Refuse(w, r, err)
		return
	}
	r = r.WithContext(r.Context())
	credential.Hide(r, a.policy.places)
	a.onRefuse(w, r, err)
}

// Refuse writes the response to an error of this package, as [RFC 6750 section
// 3] defines it:
//
//   - 400 with the challenge invalid_request for [ErrMalformedRequest];
//   - 401 with a challenge for [ErrNoToken], with the challenge invalid_token
//     for [ErrInvalidToken], [ErrExpired], [ErrRevoked] and [ErrInvalidTicket],
//     and with the challenge of [RFC 9449 section 7.1] for [ErrInvalidProof];
//   - 403 with the challenge insufficient_scope for [ErrForbidden], and without
//     a challenge for [ErrOrigin];
//   - 429 with Retry-After for [ErrTooMany];
//   - 503 with Retry-After for [ErrUnavailable];
//   - 500 for any other error.
//
// The client learns which kind of error it was, and nothing else about it. With
// [Options.DPoP], the response also says which algorithms a proof may have, and
// has the nonce to use, if there is one.
//
// [RFC 6750 section 3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
// [RFC 9449 section 7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
func (a *Authenticator) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	realm := `"wsauth"`
	if !a.isZero() {
		realm = a.policy.realm
	}
	response := refusal.ResponseTo(err)
	h := w.Header()
	if response.Challenge {
		h["Www-Authenticate"] = a.challenges(realm, response, err)
	}
	if r != nil {
		a.giveNonce(w, r) // for whoever calls Refuse after Authenticate
	}
	if response.Status == http.StatusServiceUnavailable || response.Status == http.StatusTooManyRequests {
		h.Set("Retry-After", "2")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(response.Status)
	io.WriteString(w, response.Text+"\n")
}

// challenges returns the values of WWW-Authenticate. The scheme of the token gets
// the error. With DPoP, a client that sent a bearer token or none learns that it
// may use the other scheme, too (RFC 9449 section 7.2).
func (a *Authenticator) challenges(realm string, response refusal.Response, err error) []string {
	challenge := " realm=" + realm
	if response.Code != "" {
		challenge += `, error="` + response.Code + `", error_description="` + response.Text + `"`
	}
	var scope refusal.MissingScope
	if errors.As(err, &scope) {
		challenge += `, scope="` + string(scope) + `"`
	}
	if a.isZero() || a.policy.proofs == nil {
		return []string{"Bearer" + challenge}
	}
	algs := `algs="` + a.policy.proofs.Reader.Algs().String() + `"`
	var refused *refusal.Error
	if errors.Is(err, ErrInvalidProof) || errors.As(err, &refused) && refused.Source == credential.FromDPoP.String() {
		return []string{"DPoP" + challenge + ", " + algs}
	}
	return []string{"Bearer" + challenge, "DPoP realm=" + realm + ", " + algs}
}

// A closeError is what Read and Write return after this side has closed the
// connection: errors.Is finds the cause in it, and websocket.CloseStatus the
// code.
type closeError struct {
	websocket.CloseError
	cause error // the cause of the context's end
}

func (e closeError) Error() string   { return e.cause.Error() }
func (e closeError) Unwrap() []error { return []error{e.CloseError, e.cause} }

func endingFor(code websocket.StatusCode, reason string, cause error) gate.Ending {
	return gate.Ending{
		Code: uint16(code), Reason: reason, Err: closeError{websocket.CloseError{Code: code, Reason: reason}, cause},
	}
}

// How connections end.
var (
	endingExpired  = endingFor(StatusUnauthorized, "token expired", ErrExpired)
	endingNoToken  = endingFor(StatusTimeout, "token_required", ErrNoToken)
	endingRevoked  = endingFor(StatusUnauthorized, "token revoked", ErrRevoked)
	endingSilent   = endingFor(StatusTimeout, "no answer to a ping", context.Canceled)
	endingReplaced = endingFor(StatusReplaced, "replaced", websocket.CloseError{Code: StatusReplaced, Reason: "replaced"})
	endingServed   = endingFor(websocket.StatusNormalClosure, "", context.Canceled)
	endingPanicked = endingFor(websocket.StatusInternalError, "", context.Canceled)
	endingShutDown = endingFor(websocket.StatusGoingAway, "server shutting down", http.ErrServerClosed)
)
