package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func serveHTTP(t *testing.T) string {
	t.Helper()
	handler, err := newServer(testclient.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler)
}

func TestEachMessageIsJudgedByItsOwnToken(t *testing.T) {
	ctx := testclient.Context(t)
	conn, _ := testclient.Dial(t, serveHTTP(t)+"/ws", nil)
	token := func(claims map[string]any) string { return testclient.Token(testclient.Secret, claims) }
	expired := token(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	refused := response{Error: "invalid_token"}
	// All on one connection, in this order: a refused message does not end it.
	for _, row := range []struct {
		name  string
		token string
		want  response
	}{
		{"alice", token(nil), response{From: "alice", Text: "hello"}},
		{"bob, on the same connection", token(map[string]any{"sub": "bob"}), response{From: "bob", Text: "hello"}},
		{"no token", "", refused},
		{"expired", expired, refused},
		{"forged", forged, refused},
		{"for another audience", token(map[string]any{"aud": "mail"}), refused},
		{"alice again", token(nil), response{From: "alice", Text: "hello"}},
	} {
		if err := wsjson.Write(ctx, conn, request{Token: row.token, Text: "hello"}); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		var got response
		if err := wsjson.Read(ctx, conn, &got); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestWhatIsNoMessageEndsTheConnection(t *testing.T) {
	ctx := testclient.Context(t)
	conn, _ := testclient.Dial(t, serveHTTP(t)+"/ws", nil)
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(ctx)
	if code := websocket.CloseStatus(err); code != websocket.StatusInvalidFramePayloadData {
		t.Errorf("close code %d (%v)", code, err)
	}
}

func TestAnotherSiteCannotConnect(t *testing.T) {
	_, resp := testclient.Dial(t, serveHTTP(t)+"/ws", http.Header{"Origin": {"https://evil.example"}})
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
