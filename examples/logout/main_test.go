package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// A browser logs in and out at the provider.
type browser struct {
	t      *testing.T
	client *http.Client
	issuer string
}

func newBrowser(t *testing.T, issuer string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "127.0.0.1:9" { // the client's own pages, which nobody serves
			return http.ErrUseLastResponse
		}
		return nil
	}}, issuer}
}

// do sends a request, and returns the page, or the URL to which the provider finally redirects.
func (b *browser) do(method, target string, form url.Values) (page string, at *url.URL) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(testclient.Context(b.t), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if to, err := resp.Location(); err == nil {
		return string(body), to
	}
	return string(body), resp.Request.URL
}

// logIn returns an access token and an ID token.
func (b *browser) logIn(user string) (access, id string) {
	b.t.Helper()
	_, at := b.do("GET", b.issuer+"/auth?"+url.Values{
		"client_id": {"chat-app"}, "response_type": {"code"}, "redirect_uri": {"http://127.0.0.1:9/callback"},
		"scope": {"openid chat"}, "resource": {"urn:chat"},
	}.Encode(), nil)
	for _, form := range []url.Values{{"prompt": {"login"}, "login": {user}, "password": {"any"}}, {"prompt": {"consent"}}} {
		_, at = b.do("POST", at.String(), form)
	}
	if at.Query().Get("code") == "" {
		b.t.Fatalf("got to %s, want a code", at)
	}
	r, err := http.NewRequestWithContext(testclient.Context(b.t), "POST", b.issuer+"/token", strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {at.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1:9/callback"},
		"resource": {"urn:chat"},
	}.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.SetBasicAuth("chat-app", "secret-of-chat-app")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var tokens struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&tokens); err != nil || tokens.Access == "" {
		b.t.Fatalf("got %d, %v, want tokens", resp.StatusCode, err)
	}
	return tokens.Access, tokens.ID
}

var secretOfPage = regexp.MustCompile(`name="xsrf" value="([^"]+)"`)

func (b *browser) logOut(idToken string) {
	b.t.Helper()
	page, _ := b.do("GET", b.issuer+"/session/end?"+url.Values{"id_token_hint": {idToken}}.Encode(), nil)
	secret := secretOfPage.FindStringSubmatch(page)
	if secret == nil {
		b.t.Fatalf("got no form to log out: %s", page)
	}
	b.do("POST", b.issuer+"/session/end/confirm", url.Values{"xsrf": {secret[1]}, "logout": {"yes"}})
}

func TestALogoutAtTheProviderEndsTheConnectionsOfTheSession(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + listener.Addr().String()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	handler, err := newServer(issuer)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler)
	defer srv.Close()
	provider := nodetest.Start(t, "provider.mjs", port, srv.URL+"/backchannel_logout")
	provider.Expect("ready")

	alice, elsewhere := newBrowser(t, issuer), newBrowser(t, issuer)
	access, id := alice.logIn("alice")
	other, _ := elsewhere.logIn("alice")
	connect := func(token string) *websocket.Conn {
		conn, resp := testclient.Dial(t, srv.URL+"/ws", testclient.Bearer(token))
		if conn == nil {
			t.Fatalf("got %s, want a connection", resp.Status)
		}
		if _, message, err := conn.Read(testclient.Context(t)); string(message) != "hello alice" {
			t.Fatalf("got %q, %v, want a greeting", message, err)
		}
		return conn
	}
	conn, stays := connect(access), connect(other)

	alice.logOut(id)
	provider.Expect("logout token delivered")
	if _, _, err := conn.Read(testclient.Context(t)); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
		t.Errorf("got %v, want 3000", err)
	}
	if _, resp := testclient.Dial(t, srv.URL+"/ws", testclient.Bearer(access)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %s with the same token, want 401", resp.Status)
	}
	reading := stays.CloseRead(context.Background()) // answers pings, too
	if err := stays.Ping(testclient.Context(t)); err != nil || reading.Err() != nil {
		t.Errorf("got %v from the session elsewhere, want it to go on", err)
	}
}
