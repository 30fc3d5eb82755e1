package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/wsauth/wsauth/wsauthtest"
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
	timeout := time.After(10 * time.Second)
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
		case <-timeout:
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

func TestAConnectionNeedsATokenThatNoLogShows(t *testing.T) {
	logged := record(t)
	handler, issuer := setUp(t)
	base := wsauthtest.Serve(t, handler)
	token := issuer.Token()
	moderator := issuer.Token(wsauthtest.Claims{"scope": "chat:moderate"})
	for _, row := range []struct {
		name   string
		path   string
		token  wsauthtest.DialOption
		status int
	}{
		{"header", "/ws", wsauthtest.Header(token), 101},
		{"query", "/ws", wsauthtest.Query(token), 101},
		{"cookie", "/ws", wsauthtest.Cookie(token), 101},
		{"none", "/ws", nil, 401},
		{"forged", "/ws", wsauthtest.Query(issuer.Forged()), 401},
		{"moderators only, with the scope", "/ws/moderators", wsauthtest.Query(moderator), 101},
		{"moderators only, without it", "/ws/moderators", wsauthtest.Query(token), 403},
		{"moderators only, without a token", "/ws/moderators", nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.status == 101 {
				expectGreeting(t, wsauthtest.Dial(t, base+row.path, row.token))
			} else {
				wsauthtest.ExpectRefused(t, base+row.path, row.status, row.token)
			}
			status := row.status
			if status == 101 {
				status = 200 // echo is not told how a connection that was taken over was answered
			}
			log := logged.until(t, "msg=request", "path="+row.path+" ", fmt.Sprint("status=", status))
			if strings.Contains(log, token[:10]) {
				t.Errorf("logged:\n%s", log)
			}
		})
	}
}

func expectGreeting(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello alice" {
		t.Fatalf("got %q (%v), want %q", got, err, "hello alice")
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
			e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/ws?access_token=secret", nil))
			if log := logged.until(t, "status=204"); strings.Contains(log, "secret") != row.shows {
				t.Errorf("logged:\n%s", log)
			}
		})
	}
}

func TestMeAnswersWithTheClaims(t *testing.T) {
	handler, issuer := setUp(t)
	r := httptest.NewRequest("GET", "/me", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.Token(wsauthtest.Claims{"team": "red"}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var claims map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &claims); err != nil || claims["sub"] != "alice" || claims["team"] != "red" {
		t.Errorf("status %d, claims %v, error %v", w.Code, claims, err)
	}
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	if challenge := w.Header().Get("WWW-Authenticate"); w.Code != 401 || challenge == "" {
		t.Errorf("without a token: status %d, WWW-Authenticate %q", w.Code, challenge)
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
