package wsauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/wsauth/wsauth"
)

// A jsonHeader lets Refuse write the status and the headers of RFC 6750, and drops its text.
type jsonHeader struct{ http.ResponseWriter }

func (w jsonHeader) WriteHeader(status int) {
	w.Header().Set("Content-Type", "application/json")
	w.ResponseWriter.WriteHeader(status)
}

func (jsonHeader) Write(text []byte) (int, error) { return len(text), nil }

// Refusals with a JSON body, like the rest of an API. Status and headers are still those of Refuse.
func ExampleAuthenticator_Refuse() {
	var auth *wsauth.Authenticator
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC([]byte("a secret of at least 32 bytes, from your configuration"))}},
		OnRefuse: func(w http.ResponseWriter, r *http.Request, err error) {
			auth.Refuse(jsonHeader{w}, r, err)
			json.NewEncoder(w).Encode(map[string]string{"error": wsauth.Reason(err)})
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
	// {"error":"token_required"}
	// <nil>
}

// In a framework with handlers of its own, a refusal in JSON is one line. In gin it is
//
//	c.AbortWithStatusJSON(wsauth.Status(err), gin.H{"error": wsauth.Reason(err)})
func ExampleReason() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC([]byte("a secret of at least 32 bytes, from your configuration"))}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	abort := func(w http.ResponseWriter, status int, body any) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(body)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Authenticate(r); err != nil {
			abort(w, wsauth.Status(err), map[string]string{"error": wsauth.Reason(err)})
		}
	}

	for _, header := range []string{"", "Bearer", "Bearer x"} {
		w := httptest.NewRecorder()
		handler(w, &http.Request{URL: new(url.URL), Header: http.Header{"Authorization": {header}}})
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 401 {"error":"token_required"}
	// 400 {"error":"invalid_request"}
	// 401 {"error":"invalid_token"}
}

// What HTTP and a client hear of each error. Errors of your own are a 500, whose cause nobody is told.
func ExampleStatus() {
	for _, err := range []error{
		wsauth.ErrNoToken, wsauth.ErrMalformedRequest, wsauth.ErrExpired, wsauth.ErrForbidden, wsauth.ErrOrigin,
		wsauth.ErrTooMany, wsauth.ErrUnavailable, errors.New("the database is gone"),
	} {
		fmt.Printf("%d %q\n", wsauth.Status(err), wsauth.Reason(err))
	}
	// Output:
	// 401 "token_required"
	// 400 "invalid_request"
	// 401 "invalid_token"
	// 403 "insufficient_scope"
	// 403 "foreign_origin"
	// 429 "too_many_connections"
	// 503 "temporarily_unavailable"
	// 500 "internal_error"
}
