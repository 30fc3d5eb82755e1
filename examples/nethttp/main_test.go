package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func serve(t *testing.T) string {
	t.Helper()
	handler, err := newServer(testclient.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler)
}

func TestAConnectionNeedsAToken(t *testing.T) {
	base := serve(t)
	token := testclient.Token(testclient.Secret, nil)
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	cookie := "access_token=" + token
	for _, row := range []struct {
		name   string
		query  string
		header http.Header
		status int
	}{
		{"header", "", testclient.Bearer(token), 101},
		{"query", "?access_token=" + token, nil, 101},
		{"cookie, own origin", "", http.Header{"Cookie": {cookie}, "Origin": {base}}, 101},
		{"cookie, foreign origin", "", http.Header{"Cookie": {cookie}, "Origin": {"https://evil.example"}}, 403},
		{"cookie, no origin", "", http.Header{"Cookie": {cookie}}, 403},
		{"header, foreign origin", "", http.Header{
			"Authorization": {"Bearer " + token}, "Origin": {"https://evil.example"},
		}, 403},
		{"none", "", nil, 401},
		{"forged", "", testclient.Bearer(forged), 401},
		{"two tokens", "?access_token=" + token, testclient.Bearer(token), 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, resp := testclient.Dial(t, base+"/ws"+row.query, row.header)
			if resp.StatusCode != row.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, row.status)
			}
			if conn == nil {
				return
			}
			ctx := testclient.Context(t)
			if err := wsjson.Write(ctx, conn, message{Text: "hello"}); err != nil {
				t.Fatal(err)
			}
			var got message
			if err := wsjson.Read(ctx, conn, &got); err != nil {
				t.Fatal(err)
			}
			if want := (message{From: "alice", Text: "hello"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestMeAnswersWithTheClaims(t *testing.T) {
	base := serve(t)
	token := testclient.Token(testclient.Secret, map[string]any{"team": "red"})
	var claims map[string]any
	testclient.Get(t, base+"/me", testclient.Bearer(token), &claims)
	if claims["sub"] != "alice" || claims["team"] != "red" {
		t.Errorf("claims = %v", claims)
	}
	resp := testclient.Get(t, base+"/me", nil, nil)
	if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || challenge == "" {
		t.Errorf("without a token: status %d, WWW-Authenticate %q", resp.StatusCode, challenge)
	}
}

func TestModeratorsNeedAScope(t *testing.T) {
	base := serve(t)
	for _, row := range []struct {
		name   string
		scope  string
		status int
	}{
		{"the scope among others", "profile chat:moderate", 101},
		{"another scope", "profile", 403},
		{"no scope", "", 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			token := testclient.Token(testclient.Secret, map[string]any{"scope": row.scope})
			_, resp := testclient.Dial(t, base+"/ws/moderators", testclient.Bearer(token))
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			}
			challenge := resp.Header.Get("WWW-Authenticate")
			if row.status == 403 && !strings.Contains(challenge, `scope="chat:moderate"`) {
				t.Errorf("WWW-Authenticate = %q, which does not say what is missing", challenge)
			}
		})
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	for _, secret := range []string{"", "31 bytes are too short for HS256"[:31]} {
		_, err := newServer([]byte(secret))
		if err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") || !strings.Contains(err.Error(), "32 bytes") {
			t.Errorf("%d bytes: error %v, which does not say what to do", len(secret), err)
		}
	}
}
