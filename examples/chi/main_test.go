package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/wsauth/wsauth/wsauthtest"
)

// lines takes the place of chi's log.
type lines chan string

func (l lines) Print(v ...any) { l <- fmt.Sprint(v...) }

// setUp returns the server, an issuer whose tokens it accepts, and chi's log.
func setUp(t *testing.T) (http.Handler, *wsauthtest.Issuer, lines) {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	logged := make(lines, 100)
	before := middleware.DefaultLogger
	middleware.DefaultLogger = middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: logged, NoColor: true})
	handler, err := newServer(issuer.Secret)
	middleware.DefaultLogger = before
	if err != nil {
		t.Fatal(err)
	}
	return handler, issuer, logged
}

func TestAConnectionNeedsATokenThatNoLogShows(t *testing.T) {
	handler, issuer, logged := setUp(t)
	base := wsauthtest.Serve(t, handler)
	token := issuer.Token()
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
		{"forged", "/ws", wsauthtest.Header(issuer.Forged()), 401},
		{"moderators only, with the scope", "/ws/moderators",
			wsauthtest.Header(issuer.Token(wsauthtest.Claims{"scope": "chat:moderate"})), 101},
		{"moderators only, without it", "/ws/moderators", wsauthtest.Header(token), 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.status != 101 {
				wsauthtest.ExpectRefused(t, base+row.path, row.status, row.token)
				return
			}
			conn := wsauthtest.Dial(t, base+row.path, row.token)
			if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello alice" {
				t.Fatalf("got %q (%v), want %q", got, err, "hello alice")
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

func TestWhatIsOutsideTheGroupNeedsNoToken(t *testing.T) {
	handler, _, _ := setUp(t)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != http.StatusNoContent {
		t.Errorf("status %d", w.Code)
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
