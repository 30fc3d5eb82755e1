package wsauthtest_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// t is what go test gives to a test. The examples are bodies of tests, and run as such.
var t *testing.T

func TestTheExamples(run *testing.T) {
	for name, example := range map[string]func(){
		"Example": Example, "NewHMACIssuer": ExampleNewHMACIssuer, "ServeInMemory": ExampleServeInMemory,
		"Issuer_Token": ExampleIssuer_Token, "Issuer_Rotate": ExampleIssuer_Rotate, "Issuer_Down": ExampleIssuer_Down,
	} {
		run.Run(name, func(given *testing.T) {
			t = given
			example()
		})
	}
}

func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	conn.Read(ctx) // until the peer goes or the token ends
}

// The body of a func TestChat(t *testing.T).
func Example() {
	issuer := wsauthtest.NewIssuer(t)
	opts := issuer.Options()
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil)) // says why a token is refused
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	url := wsauthtest.Serve(t, auth.Upgrade(chat, nil))
	conn := wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token()))
	if _, message, err := conn.Read(t.Context()); string(message) != "hello alice" {
		t.Errorf("got %q, %v", message, err)
	}
	wsauthtest.ExpectRefused(t, url, 401, wsauthtest.Header(issuer.Expired()))
}

// A server that makes its own Authenticator, of a secret in its configuration.
func ExampleNewHMACIssuer() {
	newServer := func(secret []byte) (http.Handler, error) {
		auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
			Name: "https://login.example.com/", Audience: []string{"chat"}, Keys: wsauth.HMAC(secret),
		}}})
		if err != nil {
			return nil, err
		}
		return auth.Upgrade(chat, nil), nil
	}

	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://login.example.com/", "chat"
	server, err := newServer(issuer.Secret)
	if err != nil {
		t.Fatal(err)
	}
	url := wsauthtest.Serve(t, server)
	cookie := wsauthtest.Cookie(issuer.Token())
	wsauthtest.Dial(t, url, cookie)
	wsauthtest.ExpectRefused(t, url, 403, cookie, wsauthtest.SetHeader("Origin", "https://evil.example"))
}

// An hour's token ends in no time.
func ExampleServeInMemory() {
	synctest.Test(t, func(t *testing.T) {
		issuer := wsauthtest.NewHMACIssuer(t)
		url := wsauthtest.ServeInMemory(t, issuer.Authenticator().Upgrade(chat, nil))
		conn := wsauthtest.Dial(t, url, wsauthtest.Query(issuer.Token()))
		wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
	})
}

// A handler without a WebSocket is tested as ever.
func ExampleIssuer_Token() {
	issuer := wsauthtest.NewIssuer(t)
	protect := issuer.Authenticator().Middleware
	handler := protect(wsauth.RequireScopes("profile")(http.NotFoundHandler()))

	for token, want := range map[string]int{
		issuer.Token(wsauthtest.Claims{"scope": "profile"}): 404,
		issuer.Token():  403,
		issuer.Forged(): 401,
	} {
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("status %d, want %d", w.Code, want)
		}
	}
}

// Connections from before a rotation live on, and new tokens are accepted at once.
func ExampleIssuer_Rotate() {
	issuer := wsauthtest.NewIssuer(t)
	url := wsauthtest.Serve(t, issuer.Authenticator().Upgrade(chat, nil))
	old := issuer.Token()
	wsauthtest.Dial(t, url, wsauthtest.Header(old))

	issuer.Rotate()
	issuer.Withdraw()
	wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token()))
	wsauthtest.ExpectRefused(t, url, 401, wsauthtest.Header(old))
}

// A server that starts while its identity provider is down.
func ExampleIssuer_Down() {
	issuer := wsauthtest.NewIssuer(t)
	issuer.Down()
	url := wsauthtest.Serve(t, issuer.Authenticator().Upgrade(chat, nil))
	wsauthtest.ExpectRefused(t, url, 503, wsauthtest.Header(issuer.Token()))
}
