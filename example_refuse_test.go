package wsauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/wsauth/wsauth"
)

// A jsonHeader lets Refuse write the status and the headers of RFC 6750, and drops its text.
type jsonHeader struct{ http.ResponseWriter }

func (w jsonHeader) WriteHeader(status int) {
	w.Header().Set("Content-Type", "application/json")
	w.ResponseWriter.WriteHeader(status)
}

func (jsonHeader) Write(text []byte) (int, error) { return len(text), nil }

// errorCode is what a client may know. The text of err is for the log: it may be that of a check of your own.
func errorCode(err error) string {
	switch {
	case errors.Is(err, wsauth.ErrNoToken), errors.Is(err, wsauth.ErrRevoked):
		return "login_required"
	case errors.Is(err, wsauth.ErrExpired):
		return "token_expired"
	case errors.Is(err, wsauth.ErrMalformedRequest):
		return "invalid_request"
	case errors.Is(err, wsauth.ErrForbidden), errors.Is(err, wsauth.ErrOrigin):
		return "forbidden"
	case errors.Is(err, wsauth.ErrUnavailable), errors.Is(err, wsauth.ErrTooMany):
		return "try_again"
	}
	return "invalid_token"
}

// Refusals with a body of JSON, as the rest of an API has it. Status and headers stay those of Refuse.
func ExampleAuthenticator_Refuse() {
	var auth *wsauth.Authenticator
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC([]byte("a secret of at least 32 bytes, from your configuration"))}},
		OnRefuse: func(w http.ResponseWriter, r *http.Request, err error) {
			auth.Refuse(jsonHeader{w}, r, err)
			json.NewEncoder(w).Encode(map[string]string{"error": errorCode(err)})
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(auth.Middleware(http.NotFoundHandler()))
	defer srv.Close()

	resp, err := http.Get(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, resp.Header.Get("WWW-Authenticate"), resp.Header.Get("Content-Type"))
	fmt.Print(string(body), err)
	// Output:
	// 401 Unauthorized Bearer realm="wsauth" application/json
	// {"error":"login_required"}
	// <nil>
}
