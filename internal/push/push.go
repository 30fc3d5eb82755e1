// Package push reads and answers the requests in which providers push tokens to a server.
package push

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/wsauth/wsauth/internal/jose"
)

// beside is how many bytes a body may have in addition to its token.
const beside = 4096

var (
	errForm = errors.New("the body is not a form with one logout_token")
	errBody = errors.New("the body is not a security event token, or its Content-Type is not application/secevent+jwt")
)

// IsPost sets the headers that all answers have, and answers a request with another method than POST.
func IsPost(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", http.MethodPost)
	w.WriteHeader(http.StatusMethodNotAllowed)
	return false
}

// LogoutToken returns the logout_token of a form, of up to maxLength bytes. The token must be in the body: a URL ends
// up in logs.
func LogoutToken(w http.ResponseWriter, r *http.Request, maxLength int) (string, error) {
	if mediaType(r) != "application/x-www-form-urlencoded" || r.Body == nil {
		return "", errForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, int64(maxLength+beside))
	if err := r.ParseForm(); err != nil {
		return "", errForm
	}
	tokens := r.PostForm["logout_token"]
	if len(tokens) != 1 {
		return "", errForm
	}
	return tokens[0], nil
}

// EventToken returns the security event token: the whole body (RFC 8935 section 2.1) or, from Apple, the payload of a
// JSON object.
func EventToken(w http.ResponseWriter, r *http.Request, maxLength int) (string, error) {
	media := mediaType(r)
	if r.Body == nil || media != "application/secevent+jwt" && media != "application/json" {
		return "", errBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(maxLength+beside)))
	if err != nil {
		return "", errBody
	}
	if media == "application/secevent+jwt" {
		return string(body), nil
	}
	token, err := jose.StringMember(body, "payload")
	if err != nil {
		return "", errBody
	}
	return token, nil
}

// Accept answers a security event that was accepted (RFC 8935 section 2.2). Apple repeats an event that is not answered
// with 200.
func Accept(w http.ResponseWriter, r *http.Request) {
	if mediaType(r) == "application/json" {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func mediaType(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// IsAuthorized reports whether the request has this Authorization header and no other. The time that this takes says
// nothing about the header that it expects.
func IsAuthorized(r *http.Request, want string) bool {
	got := r.Header["Authorization"]
	if len(got) != 1 {
		return false
	}
	a, b := sha256.Sum256([]byte(got[0])), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// A Form has the names of the members of an answer in JSON.
type Form struct{ code, text string }

// The forms of OpenID Connect Back-Channel Logout 1.0 section 2.8, and of RFC 8935 section 2.3.
var (
	Logout = Form{"error", "error_description"}
	Event  = Form{"err", "description"}
)

// Refuse answers a request that is refused. Both strings are constants, safe within quotes. The status is 400, or 503
// if the sender should try again.
func (f Form) Refuse(w http.ResponseWriter, again bool, code, text string) {
	status := http.StatusBadRequest
	if again {
		status, code = http.StatusServiceUnavailable, "temporarily_unavailable"
		w.Header().Set("Retry-After", "2")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	io.WriteString(w, `{"`+f.code+`":"`+code+`","`+f.text+`":"`+text+"\"}\n")
}
