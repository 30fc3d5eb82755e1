package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// lines takes the place of chi's log.
type lines chan string

func (l lines) Print(v ...any) { l <- fmt.Sprint(v...) }

func serve(t *testing.T) (string, lines) {
	t.Helper()
	logged := make(lines, 100)
	before := middleware.DefaultLogger
	middleware.DefaultLogger = middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: logged, NoColor: true})
	handler, err := newServer(testclient.Secret)
	middleware.DefaultLogger = before
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler), logged
}

func TestAConnectionNeedsATokenThatNoLogShows(t *testing.T) {
	base, logged := serve(t)
	token := testclient.Token(testclient.Secret, nil)
	moderator := testclient.Token(testclient.Secret, map[string]any{"scope": "chat:moderate"})
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	for _, row := range []struct {
		name   string
		path   string
		header http.Header
		status int
	}{
		{"header", "/ws", testclient.Bearer(token), 101},
		{"query", "/ws?access_token=" + token, nil, 101},
		{"cookie", "/ws", http.Header{"Cookie": {"access_token=" + token}, "Origin": {base}}, 101},
		{"none", "/ws", nil, 401},
		{"forged", "/ws", testclient.Bearer(forged), 401},
		{"moderators only, with the scope", "/ws/moderators", testclient.Bearer(moderator), 101},
		{"moderators only, without it", "/ws/moderators", testclient.Bearer(token), 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, resp := testclient.Dial(t, base+row.path, row.header)
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
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Fatal(err)
			}
			if line := <-logged; !strings.Contains(line, "/ws") || strings.Contains(line, token[:10]) {
				t.Errorf("chi's log has %q", line)
			}
		})
	}
}

func TestMeAnswersWithTheClaims(t *testing.T) {
	base, _ := serve(t)
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

func TestWhatIsOutsideTheGroupNeedsNoToken(t *testing.T) {
	base, _ := serve(t)
	if resp := testclient.Get(t, base+"/healthz", nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
