package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/wsauth/wsauth/examples/browser/browsertest"
	"github.com/wsauth/wsauth/wsauthtest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

func newIssuer(t *testing.T) *wsauthtest.Issuer {
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	return issuer
}

// servePage serves the page under localhost, which is a different site from 127.0.0.1, where the API is.
func servePage(t *testing.T, api *string) (origin string) {
	t.Helper()
	return "http://localhost:" + port(wsauthtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		newPage(*api).ServeHTTP(w, r)
	})))
}

func port(url string) string { return url[strings.LastIndex(url, ":")+1:] }

// The other page is of the same site as the listed one, so the browser gives it the cookie, too.
func TestAPageOfAnotherSiteUsesTheAPIAndNoOtherPageDoes(t *testing.T) {
	issuer := newIssuer(t)
	var api string
	listed, other := servePage(t, &api), servePage(t, &api)
	handler, err := newAPI(issuer.Secret, listed)
	if err != nil {
		t.Fatal(err)
	}
	api = wsauthtest.Serve(t, handler)

	page := browsertest.Open(t, listed)
	run := func(step, js, want string) {
		t.Helper()
		var got string
		page.Eval(fmt.Sprintf(`Promise.resolve(%s).catch((e) => e.name)`, js), &got)
		if got != want {
			t.Errorf("%s: got %q, want %q", step, got, want)
		}
	}
	token := issuer.Token()
	run("without a cookie, GET", `call("GET", "/me")`, "401 a token is needed")
	run("without a cookie, a WebSocket", `connect()`, "1006")
	run("without a cookie, a subprotocol", fmt.Sprintf(`connect(["wsauth", "bearer.%s"])`, token), "hello alice")
	run("logging in", fmt.Sprintf(`logIn(%q)`, token), "204")
	run("the cookie and scripts", `document.cookie`, "")
	run("with the cookie, GET", `call("GET", "/me")`, "200 alice")
	run("with the cookie, POST", `call("POST", "/me")`, "200 alice")
	run("with the cookie, a WebSocket", `connect()`, "hello alice")

	page.Do(chromedp.Navigate(other))
	run("another page, GET, which it must not read", `call("GET", "/me")`, "TypeError")
	run("another page, POST", `call("POST", "/me")`, "TypeError")
	run("another page, a WebSocket", `connect()`, "1006")
	run("another page, logging out", `logOut()`, "TypeError")

	page.Do(chromedp.Navigate(listed))
	run("still logged in", `call("GET", "/me")`, "200 alice")
	run("logging out", `logOut()`, "204")
	run("logged out, GET", `call("GET", "/me")`, "401 a token is needed")
}

// What the server did for a page that saw a TypeError.
func TestAForeignPageGetsNothingDone(t *testing.T) {
	issuer := newIssuer(t)
	handler, err := newAPI(issuer.Secret, pageOrigin)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, method, path, origin string
		status                     int
		allowed                    string // Access-Control-Allow-Origin
	}{
		{"the page, GET", "GET", "/me", pageOrigin, 200, pageOrigin},
		{"the page, POST", "POST", "/me", pageOrigin, 200, pageOrigin},
		{"the page, logging out", "DELETE", "/session", pageOrigin, 204, pageOrigin},
		{"another, GET, which it cannot read", "GET", "/me", "http://localhost:5174", 200, ""},
		{"another, POST", "POST", "/me", "http://localhost:5174", 403, ""},
		{"another, logging out", "DELETE", "/session", "http://localhost:5174", 403, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(row.method, row.path, nil)
			r.Header.Set("Origin", row.origin)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.AddCookie(&http.Cookie{Name: cookieName, Value: issuer.Token()})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != row.status || got != row.allowed {
				t.Errorf("got %d, for %q, want %d, for %q", w.Code, got, row.status, row.allowed)
			}
		})
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newAPI(nil, pageOrigin); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("got error %v, want one that says what to do", err)
	}
}
