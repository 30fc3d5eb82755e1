package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/wsauth/wsauth/wsauthtest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// lines takes the place of gin's log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// newIssuer signs tokens that the server accepts if it has the issuer's secret.
func newIssuer(t *testing.T) *wsauthtest.Issuer {
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	return issuer
}

// setUp returns the server, its issuer and gin's log.
func setUp(t *testing.T) (http.Handler, *wsauthtest.Issuer, lines) {
	t.Helper()
	issuer := newIssuer(t)
	logged := make(lines, 100)
	before := gin.DefaultWriter
	gin.DefaultWriter = logged
	handler, err := newServer(issuer.Secret)
	gin.DefaultWriter = before
	if err != nil {
		t.Fatal(err)
	}
	return handler, issuer, logged
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

func TestAConnectionNeedsATokenThatNoLogShows(t *testing.T) {
	handler, issuer, logged := setUp(t)
	base := wsauthtest.Serve(t, handler)
	token, forged := issuer.Token(), issuer.Forged()
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
		{"forged", "/ws", wsauthtest.Query(forged), 401},
		{"moderators only, with the scope", "/ws/moderators",
			wsauthtest.Header(issuer.Token(wsauthtest.Claims{"scope": "chat:moderate"})), 101},
		{"moderators only, without it", "/ws/moderators", wsauthtest.Header(token), 403},
		{"moderators only, without a token", "/ws/moderators", nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.status == 101 {
				expectGreeting(t, wsauthtest.Dial(t, base+row.path, row.token))
			} else {
				wsauthtest.ExpectRefused(t, base+row.path, row.status, row.token)
			}
			if line := <-logged; !strings.Contains(line, "/ws") || strings.Contains(line, token[:10]) {
				t.Errorf("gin's log has %q", line)
			}
		})
	}
}

// wrapped is what many gin middlewares make of c.Writer.
type wrapped struct{ gin.ResponseWriter }

func TestAConnectionWorksBehindAnyWriter(t *testing.T) {
	for _, row := range []struct {
		name string
		use  []gin.HandlerFunc
	}{
		{"gin's own", nil},
		{"behind Logger and Recovery", []gin.HandlerFunc{gin.LoggerWithWriter(make(lines, 100)), gin.Recovery()}},
		{"embedded", []gin.HandlerFunc{func(c *gin.Context) { c.Writer = wrapped{c.Writer} }}},
		{"embedded twice", []gin.HandlerFunc{
			func(c *gin.Context) { c.Writer = wrapped{c.Writer} },
			func(c *gin.Context) { c.Writer = wrapped{c.Writer} },
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			engine := gin.New()
			engine.Use(row.use...)
			issuer := newIssuer(t)
			if err := addRoutes(engine, issuer.Secret); err != nil {
				t.Fatal(err)
			}
			base := wsauthtest.Serve(t, engine)
			token := issuer.Token(wsauthtest.Claims{"scope": "chat:moderate"})
			for _, path := range []string{"/ws", "/ws/moderators"} {
				expectGreeting(t, wsauthtest.Dial(t, base+path, wsauthtest.Header(token)))
			}
		})
	}
}

func TestMeAnswersWithTheClaims(t *testing.T) {
	handler, issuer, _ := setUp(t)
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

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
