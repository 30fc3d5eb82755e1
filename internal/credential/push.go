package credential

import (
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/wsauth/wsauth/internal/refusal"
)

// aroundPushed is how many bytes a form may have in addition to its logout token.
const aroundPushed = 1024

var (
	errMethod    = errors.New("not a POST")
	errForm      = errors.New("not a form (application/x-www-form-urlencoded)")
	errLogout    = errors.New("not one logout_token in the form")
	errEventType = errors.New("not a security event token (application/secevent+jwt)")
	errTooLong   = errors.New("the body is too long, or was not sent to its end")
	errAgreed    = errors.New("the Authorization header is not the one that was agreed")
)

// LogoutToken returns the logout token of a request (OpenID Connect Back-Channel Logout 1.0 section 2.5) of at most max
// bytes. The query does not count.
func LogoutToken(w http.ResponseWriter, r *http.Request, max int) (string, error) {
	body, err := pushed(w, r, "application/x-www-form-urlencoded", errForm, max+aroundPushed)
	if err != nil {
		return "", err
	}
	form, err := url.ParseQuery(body)
	if err != nil || len(form["logout_token"]) != 1 {
		return "", badPush(errLogout)
	}
	return form.Get("logout_token"), nil
}

// EventToken returns the Security Event Token of a request (RFC 8935 section 2.1) of at most max bytes. The header
// Authorization must be authorization, unless that is empty.
func EventToken(w http.ResponseWriter, r *http.Request, authorization string, max int) (string, error) {
	got := r.Header.Get("Authorization")
	if authorization != "" && subtle.ConstantTimeCompare([]byte(got), []byte(authorization)) != 1 {
		return "", &refusal.EventError{Code: "authentication_failed", Err: badPush(errAgreed)}
	}
	return pushed(w, r, "application/secevent+jwt", errEventType, max)
}

func pushed(w http.ResponseWriter, r *http.Request, mediaType string, otherwise error, max int) (string, error) {
	if r.Method != http.MethodPost {
		return "", badPush(errMethod)
	}
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != mediaType {
		return "", badPush(otherwise)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(max)))
	if err != nil {
		return "", badPush(errTooLong)
	}
	return string(body), nil
}

func badPush(cause error) error { return refusal.New(refusal.ErrMalformedRequest, cause) }
