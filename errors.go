package wsauth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/coder/websocket"
)

// Why a request or a token was refused, for errors.Is. ErrExpired and ErrRevoked are ErrInvalidToken, too. The
// errors that are returned say more, and are for logs: a client learns the kind and nothing else. None contains any
// part of a token.
var (
	ErrNoToken          = errors.New("wsauth: no token")                         // 401: an anonymous request
	ErrMalformedRequest = errors.New("wsauth: malformed request")                // 400: two tokens, or a malformed one
	ErrInvalidToken     = errors.New("wsauth: invalid token")                    // 401: it is not one that was asked for
	ErrExpired          = error(invalid("wsauth: token expired"))                // 401: a newer one will do
	ErrRevoked          = error(invalid("wsauth: token revoked"))                // 401: says a check of Require, or a KeyFunc
	ErrForbidden        = errors.New("wsauth: forbidden")                        // 403: by Require
	ErrOrigin           = errors.New("wsauth: foreign origin")                   // 403: another site's page
	ErrUnavailable      = errors.New("wsauth: not available")                    // 503: no keys, MaxConnections, shutting down
	ErrTooMany          = errors.New("wsauth: too many connections or renewals") // 429: MaxPerSubject, or a flood of Renew
)

// invalid is a kind of ErrInvalidToken.
type invalid string

func (e invalid) Error() string        { return string(e) }
func (e invalid) Is(target error) bool { return target == ErrInvalidToken }

// kindOf finds the kind of an error that came from the application; by default it is of the kind otherwise.
func kindOf(err, otherwise error) error {
	for _, kind := range []error{ErrExpired, ErrRevoked, ErrInvalidToken, ErrUnavailable} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return otherwise
}

// A refusal is an error of one of the kinds above, with its cause and what a log line needs.
type refusal struct {
	kind    error
	cause   error // may be nil
	checked bool  // by a check of Require
	trail
}

// A trail is what is known about a token that may be logged.
type trail struct {
	source source
	issuer string // of Options, never of a token
	kid    string
}

func refuse(kind, cause error) error { return &refusal{kind: kind, cause: cause} }

// refuseChecked makes a refusal of what a check of Require returned.
func refuseChecked(err error) error {
	return &refusal{kind: kindOf(err, ErrForbidden), cause: err, checked: true}
}

// on returns a refusal with the trail put to it.
func (t trail) on(err error) error {
	if r, ok := err.(*refusal); ok {
		r.trail = t
	}
	return err
}

func (r *refusal) Error() string {
	if r.cause == nil || r.cause == r.kind {
		return r.kind.Error()
	}
	return r.kind.Error() + ": " + r.cause.Error()
}

func (r *refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{r.kind}
	}
	return []error{r.kind, r.cause}
}

// logged is the reason for the log. The text of a failed Require is the application's, and may have claims in it.
func (r *refusal) logged() string {
	if r.checked {
		return r.kind.Error()
	}
	return r.Error()
}

func (a *Authenticator) logRefusal(ctx context.Context, err error) {
	if a.isZero() {
		return
	}
	var r *refusal
	if !errors.As(err, &r) {
		return
	}
	a.observeRefusal(ctx, r)
	level := slog.LevelInfo
	if r.kind == ErrUnavailable && !errors.Is(err, context.Canceled) { // a client that goes is no outage
		level = slog.LevelWarn
	}
	a.log.LogAttrs(ctx, level, "wsauth: refused", slog.String("reason", r.logged()),
		slog.String("source", r.source.String()), slog.String("issuer", r.issuer), slog.String("kid", r.kid))
}

func (a *Authenticator) logSuccess(ctx context.Context, kind EventKind, t trail) {
	a.observeVerified(ctx, kind, t)
	if a.log.Enabled(ctx, slog.LevelDebug) {
		a.log.LogAttrs(ctx, slog.LevelDebug, "wsauth: verified", slog.String("source", t.source.String()),
			slog.String("issuer", t.issuer), slog.String("kid", t.kid))
	}
}

// answer has a refusal written, for a request that no longer shows its token.
func (a *Authenticator) answer(w http.ResponseWriter, r *http.Request, err error) {
	if a.isZero() || a.onRefuse == nil {
		a.Refuse(w, r, err)
		return
	}
	r = r.WithContext(r.Context())
	a.policy.hideToken(r)
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
	answer := answerTo(err)
	h := w.Header()
	if answer.challenge {
		challenge := "Bearer realm=" + realm
		if answer.code != "" {
			challenge += `, error="` + answer.code + `", error_description="` + answer.text + `"`
		}
		var scope missingScope
		if errors.As(err, &scope) {
			challenge += `, scope="` + string(scope) + `"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	if answer.status == http.StatusServiceUnavailable || answer.status == http.StatusTooManyRequests {
		h.Set("Retry-After", "2")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(answer.status)
	io.WriteString(w, answer.text+"\n")
}

// A response is what a client learns of a refusal: by HTTP, or where a handshake is completed to say it, by a close
// frame, whose reason is a word that a program can compare.
type response struct {
	status    int
	challenge bool
	code      string // of RFC 6750 section 3.1
	text      string // constant and safe within quotes
	close     websocket.StatusCode
	reason    string
}

var responses = []struct {
	kind error
	response
}{
	{ErrTooMany, response{429, false, "", "too many connections", websocket.StatusTryAgainLater, "too_many_connections"}},
	{ErrUnavailable, response{503, false, "", "not available now", websocket.StatusTryAgainLater, "temporarily_unavailable"}},
	{ErrNoToken, response{401, true, "", "a token is needed", StatusUnauthorized, "token_required"}},
	{ErrMalformedRequest, response{400, true, "invalid_request", "more than one token, or one that is malformed or misplaced",
		StatusUnauthorized, "invalid_request"}},
	{ErrExpired, response{401, true, "invalid_token", "token expired", StatusUnauthorized, "invalid_token"}},
	{ErrRevoked, response{401, true, "invalid_token", "token revoked", StatusUnauthorized, "invalid_token"}},
	{ErrInvalidToken, response{401, true, "invalid_token", "token not valid", StatusUnauthorized, "invalid_token"}},
	{ErrForbidden, response{403, true, "insufficient_scope", "the token does not allow this",
		StatusForbidden, "insufficient_scope"}},
	{ErrOrigin, response{403, false, "", "foreign origin", StatusForbidden, "foreign_origin"}},
}

func answerTo(err error) response {
	var r *refusal
	if errors.As(err, &r) {
		err = r.kind // and not that of a cause
	}
	for _, known := range responses {
		if errors.Is(err, known.kind) {
			return known.response
		}
	}
	return response{500, false, "", "internal server error", websocket.StatusInternalError, "internal_error"}
}
