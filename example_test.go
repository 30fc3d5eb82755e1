package wsauth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

var exampleSecret = []byte("a secret of at least 32 bytes, from your configuration")

// exampleToken stands in for an identity provider.
func exampleToken(claims string) string { return exampleTyped("JWT", claims) }

func exampleTyped(typ, claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(`{"alg":"HS256","typ":"`+typ+`"}`)) + "." + part([]byte(claims))
	mac := hmac.New(sha256.New, exampleSecret)
	mac.Write([]byte(signed))
	return signed + "." + part(mac.Sum(nil))
}

func exampleAuth() *wsauth.Authenticator {
	auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}}})
	if err != nil {
		panic(err)
	}
	return auth
}

// A server with an identity provider that publishes its keys. New makes no requests: the keys are fetched when the
// first token comes.
func ExampleNew() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.JWKS{}, // found by OpenID discovery
		}},
		Origins: []string{"https://app.example.com"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = auth.Authenticate(httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(err)
	// Output: wsauth: no token
}

// Every fault is reported at once, each with its field.
func ExampleNew_faults() {
	_, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{
			{Name: "https://id.example.com/", Keys: wsauth.JWKS{URL: "http://id.example.com/jwks"}},
			{Name: "https://other.example.com/", Keys: wsauth.HMAC(exampleSecret), Algorithms: []string{"RS256"}},
		},
		Origins: []string{"https://app*.example.com"},
	})
	fmt.Println(err)
	var fault *wsauth.OptionError
	if errors.As(err, &fault) {
		fmt.Println("first:", fault.Field)
	}
	// Output:
	// wsauth: Issuers[0].Keys: URL: neither https nor on loopback: inside a network that you trust, set PlainHTTP
	// wsauth: Issuers[1].Algorithms: none fits the keys
	// wsauth: Origins[0]: "*" may only stand for a whole host or port, or for whole labels before the rest of a host name, as in https://*.example.com
	// first: Issuers[0].Keys
}

// The token comes in the query here, as a page brings it: a browser sets no headers on a WebSocket.
func ExampleAuthenticator_Upgrade() {
	auth := exampleAuth()
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		claims, _ := wsauth.ClaimsFromContext(ctx)
		conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
		conn.Read(ctx) // until the peer goes or the token ends
	}, nil))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	ctx := context.Background()
	token := exampleToken(`{"sub":"alice","exp":4102444800}`)
	conn, _, err := websocket.Dial(ctx, srv.URL+"/ws?access_token="+token, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, message, err := conn.Read(ctx)
	fmt.Printf("%s %v\n", message, err)
	conn.Close(websocket.StatusNormalClosure, "")
	// Output: hello alice <nil>
}

func ExampleAuthenticator_Middleware() {
	auth := exampleAuth()
	me := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		fmt.Fprintln(w, "you are", claims.Subject)
	}))
	good, old := exampleToken(`{"sub":"alice","exp":4102444800}`), exampleToken(`{"sub":"alice","exp":1}`)
	for _, token := range []string{"", good, old} {
		r := httptest.NewRequest(http.MethodGet, "/me", nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		me.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"), strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// 401 Bearer realm="wsauth" a token is needed
	// 200  you are alice
	// 401 Bearer realm="wsauth", error="invalid_token", error_description="token expired" token expired
}

// A framework with handlers of its own calls Authenticate and Refuse.
func ExampleAuthenticator_Authenticate() {
	auth := exampleAuth()
	handler := func(w http.ResponseWriter, r *http.Request) {
		authenticated, err := auth.Authenticate(r)
		if err != nil {
			auth.Refuse(w, r, err)
			return
		}
		claims, _ := wsauth.ClaimsFromContext(authenticated.Context())
		fmt.Fprint(w, claims.Subject)
	}
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code)
	// Output: 401
}

// A protocol with a token in each message verifies it without a request.
func ExampleAuthenticator_Verify() {
	auth := exampleAuth()
	claims, err := auth.Verify(context.Background(), exampleToken(`{"sub":"alice","scope":"read write","exp":4102444800}`))
	fmt.Println(claims.Subject, claims.HasScope("write"), err)

	_, err = auth.Verify(context.Background(), exampleToken(`{"sub":"alice","exp":1}`))
	fmt.Println(wsauth.Status(err), wsauth.Reason(err))
	if errors.Is(err, wsauth.ErrExpired) {
		fmt.Println("get a new token")
	}
	// Output:
	// alice true <nil>
	// 401 invalid_token
	// get a new token
}

// Claims of your own are read into a type of yours.
func ExampleClaims_Decode() {
	auth := exampleAuth()
	claims, err := auth.Verify(context.Background(), exampleToken(`{"sub":"alice","rooms":["go","tea"],"exp":4102444800}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var mine struct {
		Rooms []string `json:"rooms"`
	}
	fmt.Println(claims.Decode(&mine), mine.Rooms)
	// Output: <nil> [go tea]
}

// Require stands between Middleware and handler. ContextWithClaims takes Middleware's place in a test of it.
func ExampleRequire() {
	onlyAlice := wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
		if c.Subject != "alice" {
			return errors.New("not alice")
		}
		return nil
	})
	handler := onlyAlice(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") }))
	for _, subject := range []string{"alice", "mallory"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(wsauth.ContextWithClaims(r.Context(), &wsauth.Claims{Subject: subject}))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(subject, w.Code)
	}
	// Output:
	// alice 200
	// mallory 403
}

func ExampleRequireScopes() {
	handler := wsauth.RequireScopes("chat:write")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(wsauth.ContextWithClaims(r.Context(), &wsauth.Claims{Scope: "chat:read"}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 403 Bearer realm="wsauth", error="insufficient_scope", error_description="the token does not allow this", scope="chat:write"
}

// A key found by its ID, e.g. in a database. A nil key refuses the token, an error is an outage.
func ExampleKeyFunc() {
	secrets := map[string][]byte{"tenant-1": exampleSecret}
	auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
		Name:       "https://id.example.com/",
		Algorithms: []string{"HS256"},
		Keys: wsauth.KeyFunc(func(_ context.Context, kid, _ string) (any, error) {
			return secrets[kid], nil
		}),
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = auth.Verify(context.Background(), exampleToken(`{"iss":"https://id.example.com/","exp":4102444800}`))
	fmt.Println(err)
	// Output: wsauth: invalid token: no key of the issuer fits the token's kid and algorithm
}
