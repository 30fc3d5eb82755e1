package wsauth_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/wsauth/wsauth"
)

// The cookie of a login that keeps a whole session in it, as Supabase's does: "base64-" and JSON in base64url. Where it
// is longer than a cookie may be, it comes in pieces, sb-chat-auth-token.0 and so on, which are put together first.
func ExampleFromCookieFunc() {
	fromSession := wsauth.FromCookieFunc("sb-chat-auth-token", func(value string) (string, error) {
		text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(value, "base64-"))
		if err != nil {
			return "", err
		}
		var session struct {
			AccessToken string `json:"access_token"`
		}
		err = json.Unmarshal(text, &session)
		return session.AccessToken, err
	})
	auth, err := wsauth.New(wsauth.Options{
		Issuers:    []wsauth.Issuer{{Keys: wsauth.HMAC([]byte("a secret of at least 32 bytes, from your configuration"))}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), fromSession},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	session := "base64-" + base64.RawURLEncoding.EncodeToString([]byte(`{"access_token":"not.a.token"}`))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "sb-chat-auth-token.0", Value: session[:20]})
	r.AddCookie(&http.Cookie{Name: "sb-chat-auth-token.1", Value: session[20:]})
	_, err = auth.Authenticate(r)
	fmt.Println(wsauth.Reason(err))
	// Output:
	// invalid_token
}
