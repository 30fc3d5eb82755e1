package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// lines takes the place of what the server logs, echo's requests and wsauth's refusals alike.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// until returns what was logged up to the line that has all the words.
func (l lines) until(t *testing.T, words ...string) (logged string) {
	t.Helper()
	for {
		select {
		case line := <-l:
			logged += line
			has := true
			for _, word := range words {
				has = has && strings.Contains(line, word)
			}
			if has {
				return logged
			}
		case <-testclient.Context(t).Done():
			t.Fatalf("the log has no line with %q, but\n%s", words, logged)
		}
	}
}

func record(t *testing.T) lines {
	t.Helper()
	logged := make(lines, 100)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return logged
}

func serve(t *testing.T) string {
	t.Helper()
	handler, err := newServer(testclient.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler)
}

func TestAConnectionNeedsATokenThatNoLogShows(t *testing.T) {
	logged := record(t)
	base := serve(t)
	token := testclient.Token(testclient.Secret, nil)
	moderator := testclient.Token(testclient.Secret, map[string]any{"scope": "chat:moderate"})
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	for _, row := range []struct {
		name   string
		path   string
		query  string
		header http.Header
		status int
	}{
		{"header", "/ws", "", testclient.Bearer(token), 101},
		{"query", "/ws", "?access_token=" + token, nil, 101},
		{"cookie, own origin", "/ws", "", http.Header{"Cookie": {"access_token=" + token}, "Origin": {base}}, 101},
		{"cookie, foreign origin", "/ws", "", http.Header{
			"Cookie": {"access_token=" + token}, "Origin": {"https://evil.example"},
		}, 403},
		{"none", "/ws", "", nil, 401},
		{"forged", "/ws", "?access_token=" + forged, nil, 401},
		{"moderators only, with the scope", "/ws/moderators", "?access_token=" + moderator, nil, 101},
		{"moderators only, without it", "/ws/moderators", "?access_token=" + token, nil, 403},
		{"moderators only, without a token", "/ws/moderators", "", nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, resp := testclient.Dial(t, base+row.path+row.query, row.header)
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			}
			if conn != nil {
				exchange(t, conn)
			}
			log := logged.until(t, "msg=request", "path="+row.path+" ", fmt.Sprint("status=", row.status))
			if strings.Contains(log, token[:10]) {
				t.Errorf("logged:\n%s", log)
			}
		})
	}
}

func exchange(t *testing.T, conn *websocket.Conn) {
	t.Helper()
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
}

func TestEchosOwnLoggerShowsQueryTokens(t *testing.T) {
	if uri := "${uri}"; !strings.Contains(middleware.DefaultLoggerConfig.Format, uri) {
		t.Errorf("the format of the older Logger does not have %s any more", uri)
	}
	for _, row := range []struct {
		name   string
		logger echo.MiddlewareFunc
		shows  bool
	}{
		{"RequestLogger() as it comes", middleware.RequestLogger(), true},
		{"what this server uses", requestLog(), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			logged := record(t)
			e := echo.New()
			e.Use(row.logger)
			e.GET("/ws", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
			testclient.Get(t, testclient.Serve(t, e)+"/ws?access_token=secret", nil, nil)
			if log := logged.until(t, "status=204"); strings.Contains(log, "secret") != row.shows {
				t.Errorf("logged:\n%s", log)
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

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
