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

// Why a request or a token was refused, for errors.Is. ErrExpired and ErrRevoked are ErrInvalidToken, too. The
// errors that are returned say more, and are for logs: a client learns the kind and nothing else. None contains any
// part of a token.
var (
	ErrNoToken          = refusal.ErrNoToken          // 401: an anonymous request
	ErrMalformedRequest = refusal.ErrMalformedRequest // 400: two tokens, or a malformed one
	ErrInvalidToken     = refusal.ErrInvalidToken     // 401: forged, malformed, or not for this server
	ErrExpired          = refusal.ErrExpired          // 401: get a new token
	ErrRevoked          = refusal.ErrRevoked          // 401: by Revoke, a Require check, or a KeyFunc
	ErrForbidden        = refusal.ErrForbidden        // 403: by Require
	ErrOrigin           = refusal.ErrOrigin           // 403: another site's page
	ErrUnavailable      = refusal.ErrUnavailable      // 503: no keys, MaxConnections, shutting down
	ErrTooMany          = refusal.ErrTooMany          // 429: MaxPerSubject, or a flood of Renew
)

// Status returns the HTTP status that [Authenticator.Refuse] writes for an error, for responses with a body of your
// own:
//
//	c.AbortWithStatusJSON(wsauth.Status(err), gin.H{"error": wsauth.Reason(err)}) // in gin
//
// An error that is not one of this package's Err values is a 500, and so is nil: whoever asks for the status of a
// refusal must not answer 200 by mistake. Refuse also writes headers, such as the WWW-Authenticate that RFC 9110
// section 15.5.2 demands with a 401.
func Status(err error) int { return refusal.ResponseTo(err).Status }

// Reason returns the word for an error that a client may see and a program can compare, the same that
// [UpgradeOptions].CloseOnRefusal sends: token_required, invalid_request, invalid_token, insufficient_scope,
// foreign_origin, too_many_connections or temporarily_unavailable; and internal_error where [Status] is 500.
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
	if r.Kind == ErrUnavailable && !errors.Is(err, context.Canceled) { // a client that goes is no outage
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

// known are the attributes of a record. What is not known is left out: kid="" would mean that the token has an empty
// one.
func known(t refusal.Trail) []slog.Attr {
	attrs := []slog.Attr{slog.String("source", t.Source), slog.String("issuer", t.Issuer), slog.String("kid", t.KeyID)}
	return slices.DeleteFunc(attrs, func(a slog.Attr) bool { return a.Value.String() == "" })
}

// writeRefusal has a refusal written, for a request that no longer shows its token.
func (a *Authenticator) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	if a.isZero() || a.onRefuse == nil {
		a.Refuse(w, r, err)
		return
	}
	r = r.WithContext(r.Context())
	credential.Hide(r, a.policy.places)
	a.onRefuse(w, r, err)
}

// Refuse writes the response of RFC 6750 section 3 for an error of this package: 401 with a challenge, and with
// invalid_token if there was a token; 400 invalid_request; 403 insufficient_scope; 403 without a challenge for a
// foreign origin; 503 with Retry-After if keys are not to be had or the server takes no more connections; 429 with
// Retry-After if a subject has too many. Any other error is a 500. A client sees nothing of the error but its kind.
func (a *Authenticator) Refuse(w http.ResponseWriter, _ *http.Request, err error) {
	realm := `"wsauth"`
	if !a.isZero() {
		realm = a.policy.realm
	}
	response := refusal.ResponseTo(err)
	h := w.Header()
	if response.Challenge {
		challenge := "Bearer realm=" + realm
		if response.Code != "" {
			challenge += `, error="` + response.Code + `", error_description="` + response.Text + `"`
		}
		var scope refusal.MissingScope
		if errors.As(err, &scope) {
			challenge += `, scope="` + string(scope) + `"`
		}
		h.Set("WWW-Authenticate", challenge)
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

// A closeError is what Read and Write return once this side has closed: errors.Is finds the cause in it, and
// websocket.CloseStatus the code.
type closeError struct {
	websocket.CloseError
	cause error // that of the context
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
	endingSilent   = endingFor(StatusTimeout, "no answer to a ping", context.Canceled)
	endingReplaced = endingFor(StatusReplaced, "replaced", websocket.CloseError{Code: StatusReplaced, Reason: "replaced"})
	endingServed   = endingFor(websocket.StatusNormalClosure, "", context.Canceled)
	endingPanicked = endingFor(websocket.StatusInternalError, "", context.Canceled)
	endingShutDown = endingFor(websocket.StatusGoingAway, "server shutting down", http.ErrServerClosed)
)
