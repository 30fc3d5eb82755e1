package main

import (
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth/wsauthtest"
)

func serveHTTP(t *testing.T) (url string, issuer *wsauthtest.Issuer) {
	t.Helper()
	issuer = wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	handler, err := newServer(issuer.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return wsauthtest.Serve(t, handler) + "/ws", issuer
}

func TestEachMessageIsJudgedByItsOwnToken(t *testing.T) {
	url, issuer := serveHTTP(t)
	conn := wsauthtest.Dial(t, url)
	refused := response{Error: "invalid_token"}
	// All on one connection, in this order: a refused message does not end it.
	for _, row := range []struct {
		name  string
		token string
		want  response
	}{
		{"alice", issuer.Token(), response{From: "alice", Text: "hello"}},
		{"bob, on the same connection", issuer.Token(wsauthtest.Claims{"sub": "bob"}), response{From: "bob", Text: "hello"}},
		{"no token", "", refused},
		{"expired", issuer.Expired(), refused},
		{"forged", issuer.Forged(), refused},
		{"for another audience", issuer.Token(wsauthtest.Claims{"aud": "mail"}), refused},
		{"alice again", issuer.Token(), response{From: "alice", Text: "hello"}},
	} {
		if err := wsjson.Write(t.Context(), conn, request{Token: row.token, Text: "hello"}); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		var got response
		if err := wsjson.Read(t.Context(), conn, &got); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestWhatIsNoMessageEndsTheConnection(t *testing.T) {
	url, _ := serveHTTP(t)
	conn := wsauthtest.Dial(t, url)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(t.Context())
	if code := websocket.CloseStatus(err); code != websocket.StatusInvalidFramePayloadData {
		t.Errorf("close code %d (%v)", code, err)
	}
}

func TestAnotherSiteCannotConnect(t *testing.T) {
	url, _ := serveHTTP(t)
	wsauthtest.ExpectRefused(t, url, 403, wsauthtest.SetHeader("Origin", "https://evil.example"))
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
