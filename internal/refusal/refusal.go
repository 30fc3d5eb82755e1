// Package refusal has the kinds of refusal: the name of each on the wire, what an HTTP response or a close frame says
// about it, and what may be logged.
package refusal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
)

// The kinds of refusal. ErrExpired, ErrRevoked, ErrInvalidTicket and ErrInvalidProof are also ErrInvalidToken, and ErrNonce
// is an ErrInvalidProof that the client can mend.
var (
	ErrNoToken          = errors.New("wsauth: no token")
	ErrMalformedRequest = errors.New("wsauth: malformed request")
	ErrInvalidToken     = errors.New("wsauth: invalid token")
	ErrExpired          = error(invalid("wsauth: token expired"))
	ErrRevoked          = error(invalid("wsauth: token revoked"))
	ErrInvalidTicket    = error(invalid("wsauth: invalid ticket"))
	ErrInvalidProof     = error(invalid("wsauth: invalid DPoP proof"))
	ErrNonce            = error(noNonce("wsauth: DPoP proof without a nonce of this server"))
	ErrForbidden        = errors.New("wsauth: forbidden")
	ErrOrigin           = errors.New("wsauth: foreign origin")
	ErrUnavailable      = errors.New("wsauth: not available")
	ErrTooMany          = errors.New("wsauth: too many connections or renewals")
)

// invalid is a kind of ErrInvalidToken.
type invalid string

func (e invalid) Error() string        { return string(e) }
func (e invalid) Is(target error) bool { return target == ErrInvalidToken }

// noNonce is a kind of ErrInvalidProof.
type noNonce string

func (e noNonce) Error() string        { return string(e) }
func (e noNonce) Is(target error) bool { return target == ErrInvalidProof || target == ErrInvalidToken }

// KindOf returns the kind of an error that came from the application, or otherwise if the error has none.
func KindOf(err, otherwise error) error {
	for _, kind := range []error{ErrExpired, ErrRevoked, ErrInvalidToken, ErrUnavailable} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return otherwise
}

// An Error is a refusal of one of the kinds, with its cause and what a log record needs.
type Error struct {
	Kind    error
	Cause   error // may be nil
	Checked bool  // the cause is an application's, whose text may contain claims
	Trail
}

// A Trail is what is known about a token that may be logged.
type Trail struct {
	Source string // where the token was
	Issuer string // its name in the options, never the token's iss
	KeyID  string
}

// New returns an Error. The cause may be nil.
func New(kind, cause error) error { return &Error{Kind: kind, Cause: cause} }

// Outage returns the refusal for a store that has failed during a call with ctx. If it failed because the client has left,
// the cause says so: that is not an outage.
func Outage(ctx context.Context, cause error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		cause = fmt.Errorf("%w: %w", cause, context.Canceled)
	}
	return New(ErrUnavailable, cause)
}

// Checked returns the refusal for an error of an application's check.
func Checked(err error) error {
	return &Error{Kind: KindOf(err, ErrForbidden), Cause: err, Checked: true}
}

// On adds to a refusal what the trail knows and the refusal does not.
func (t Trail) On(err error) error {
	if r, ok := err.(*Error); ok {
		r.Source, r.Issuer, r.KeyID = cmp.Or(r.Source, t.Source), cmp.Or(r.Issuer, t.Issuer), cmp.Or(r.KeyID, t.KeyID)
	}
	return err
}

func (r *Error) Error() string {
	if r.Cause == nil || r.Cause == r.Kind {
		return r.Kind.Error()
	}
	return r.Kind.Error() + ": " + r.Cause.Error()
}

func (r *Error) Unwrap() []error {
	if r.Cause == nil {
		return []error{r.Kind}
	}
	return []error{r.Kind, r.Cause}
}

// Logged returns the reason for the log.
func (r *Error) Logged() string {
	if r.Checked {
		return r.Kind.Error()
	}
	return r.Error()
}

// IsNoToken looks only at the refusal itself: a cause that an application made must not let a request through Optional.
func IsNoToken(err error) bool {
	var r *Error
	return errors.As(err, &r) && r.Kind == ErrNoToken
}

// MissingScope is the error of a check for scopes. It has the scopes that are needed.
type MissingScope string

func (MissingScope) Error() string { return "a scope is missing" }

// Close codes of the IANA WebSocket Close Code Number Registry, and of RFC 6455 section 7.4.1.
const (
	closeInternalError = 1011
	closeTryAgainLater = 1013
	CloseUnauthorized  = 3000
	CloseForbidden     = 3003
	CloseTimeout       = 3008
)

// A Response is what a client learns about a refusal: by HTTP, or, if the handshake is completed for it, by a close
// frame. Its reason is a word that a program can compare.
type Response struct {
	Status    int
	Challenge bool
	Code      string // of RFC 6750 section 3.1
	Text      string // constant and safe within quotes
	CloseCode int
	Reason    string
}

var responses = []struct {
	kind error
	Response
}{
	{ErrTooMany, Response{http.StatusTooManyRequests, false, "", "too many connections", closeTryAgainLater, "too_many_connections"}},
	{ErrUnavailable, Response{http.StatusServiceUnavailable, false, "", "not available now", closeTryAgainLater, "temporarily_unavailable"}},
	{ErrNoToken, Response{http.StatusUnauthorized, true, "", "a token is needed", CloseUnauthorized, "token_required"}},
	{ErrMalformedRequest, Response{http.StatusBadRequest, true, "invalid_request",
		"more than one token, or one that is malformed or misplaced", CloseUnauthorized, "invalid_request"}},
	{ErrExpired, Response{http.StatusUnauthorized, true, "invalid_token", "token expired", CloseUnauthorized, "invalid_token"}},
	{ErrRevoked, Response{http.StatusUnauthorized, true, "invalid_token", "token revoked", CloseUnauthorized, "invalid_token"}},
	{ErrInvalidTicket, Response{http.StatusUnauthorized, true, "invalid_token", "ticket not valid", CloseUnauthorized, "invalid_ticket"}},
	{ErrNonce, Response{http.StatusUnauthorized, true, "use_dpop_nonce", "a DPoP proof with the nonce of this response is needed",
		CloseUnauthorized, "use_dpop_nonce"}},
	{ErrInvalidProof, Response{http.StatusUnauthorized, true, "invalid_dpop_proof", "DPoP proof not valid",
		CloseUnauthorized, "invalid_dpop_proof"}},
	{ErrInvalidToken, Response{http.StatusUnauthorized, true, "invalid_token", "token not valid", CloseUnauthorized, "invalid_token"}},
	{ErrForbidden, Response{http.StatusForbidden, true, "insufficient_scope", "the token does not allow this",
		CloseForbidden, "insufficient_scope"}},
	{ErrOrigin, Response{http.StatusForbidden, false, "", "foreign origin", CloseForbidden, "foreign_origin"}},
}

// ResponseTo returns the response to an error: the one for its kind, or 500 if the error is not a refusal.
func ResponseTo(err error) Response {
	var r *Error
	if errors.As(err, &r) {
		err = r.Kind // not the kind of a cause
	}
	for _, known := range responses {
		if errors.Is(err, known.kind) {
			return known.Response
		}
	}
	return Response{http.StatusInternalServerError, false, "", "internal server error", closeInternalError, "internal_error"}
}
