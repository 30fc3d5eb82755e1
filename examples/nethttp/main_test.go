package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth/wsauthtest"
)

// setUp returns the server, and an issuer whose tokens it accepts.
func setUp(t *testing.T) (http.Handler, *wsauthtest.Issuer) {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	handler, err := newServer(issuer.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return handler, issuer
}

func TestAConnectionSaysWhoItIsFrom(t *testing.T) {
	handler, issuer := setUp(t)
	url := wsauthtest.Serve(t, handler) + "/ws"
	for _, row := range []struct {
		name  string
		token wsauthtest.DialOption
	}{
		{"header", wsauthtest.Header(issuer.Token())},
		{"query", wsauthtest.Query(issuer.Token())},
		{"cookie, own origin", wsauthtest.Cookie(issuer.Token())},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn := wsauthtest.Dial(t, url, row.token)
			if err := wsjson.Write(t.Context(), conn, message{Text: "hello"}); err != nil {
				t.Fatal(err)
			}
			var got message
			if err := wsjson.Read(t.Context(), conn, &got); err != nil {
				t.Fatal(err)
			}
			if want := (message{From: "alice", Text: "hello"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestAConnectionNeedsAToken(t *testing.T) {
	handler, issuer := setUp(t)
	url := wsauthtest.Serve(t, handler) + "/ws"
	token := issuer.Token()
	header, query, cookie := wsauthtest.Header(token), wsauthtest.Query(token), wsauthtest.Cookie(token)
	foreign, none := wsauthtest.SetHeader("Origin", "https://evil.example"), wsauthtest.SetHeader("Origin", "")
	for _, row := range []struct {
		name   string
		opts   []wsauthtest.DialOption
		status int
	}{
		{"none", nil, 401},
		{"expired", []wsauthtest.DialOption{wsauthtest.Header(issuer.Expired())}, 401},
		{"forged", []wsauthtest.DialOption{wsauthtest.Header(issuer.Forged())}, 401},
		{"two tokens", []wsauthtest.DialOption{header, query}, 400},
		{"header, foreign origin", []wsauthtest.DialOption{header, foreign}, 403},
		{"cookie, foreign origin", []wsauthtest.DialOption{cookie, foreign}, 403},
		{"cookie, no origin", []wsauthtest.DialOption{cookie, none}, 403},
	} {
		t.Run(row.name, func(t *testing.T) { wsauthtest.ExpectRefused(t, url, row.status, row.opts...) })
	}
}

func TestMeAnswersWithTheClaims(t *testing.T) {
	handler, issuer := setUp(t)
	r := httptest.NewRequest("GET", "/me", nil)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if challenge := w.Header().Get("WWW-Authenticate"); w.Code != 401 || challenge == "" {
		t.Errorf("without a token: status %d, WWW-Authenticate %q", w.Code, challenge)
	}
	r.Header.Set("Authorization", "Bearer "+issuer.Token(wsauthtest.Claims{"team": "red"}))
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var claims map[string]any
	if err := json.NewDecoder(w.Body).Decode(&claims); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "alice" || claims["team"] != "red" {
		t.Errorf("claims = %v", claims)
	}
}

func TestModeratorsNeedAScope(t *testing.T) {
	handler, issuer := setUp(t)
	url := wsauthtest.Serve(t, handler) + "/ws/moderators"
	wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token(wsauthtest.Claims{"scope": "profile chat:moderate"})))
	for _, scope := range []any{nil, "", "profile"} {
		resp := wsauthtest.ExpectRefused(t, url, 403, wsauthtest.Header(issuer.Token(wsauthtest.Claims{"scope": scope})))
		if challenge := resp.Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `scope="chat:moderate"`) {
			t.Errorf("WWW-Authenticate = %q, which does not say what is missing", challenge)
		}
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	for secret, says := range map[string]string{"": "empty", "31 bytes are too short for HS256"[:31]: "32 bytes"} {
		_, err := newServer([]byte(secret))
		if err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bytes: error %v, which does not say what to do", len(secret), err)
		}
	}
}
