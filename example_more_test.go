package wsauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// ask sends requests to a handler and prints the answers.
func ask(h http.Handler, requests ...*http.Request) {
	for _, r := range requests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
}

// codeAndReason returns the code and the reason of the close frame that ended a Read.
func codeAndReason(err error) string {
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		return fmt.Sprint("no close frame: ", err)
	}
	return fmt.Sprintf("%d %s", closed.Code, closed.Reason)
}

func get(header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// whoami answers with the subject.
func whoami(w http.ResponseWriter, r *http.Request) {
	if claims, ok := wsauth.ClaimsFromContext(r.Context()); ok {
		fmt.Fprintln(w, claims.Subject)
		return
	}
	fmt.Fprintln(w, "a guest")
}

// A page that greets whoever has logged in, and shows itself to all others. A bad token is refused all the same.
func ExampleAuthenticator_Optional() {
	token := exampleToken(`{"sub":"alice","exp":4102444800}`)
	ask(exampleAuth().Optional(http.HandlerFunc(whoami)),
		get(), get("Authorization", "Bearer "+token), get("Authorization", "Bearer "+token+"x"))
	// Output:
	// 200 a guest
	// 200 alice
	// 401 token not valid
}

// A readiness probe.
func ExampleAuthenticator_Ready() {
	auth := exampleAuth()
	ready := func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := auth.Ready(ctx); err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable) // err is for the log
			return
		}
		fmt.Fprintln(w, "ready")
	}
	ask(http.HandlerFunc(ready), get())
	// Output: 200 ready
}

// The client sends a new token before the old one ends, and the connection goes on.
func ExampleRenew() {
	auth := exampleAuth()
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		for {
			_, message, err := conn.Read(ctx)
			if err != nil {
				return
			}
			claims, err := wsauth.Renew(ctx, string(message)) // here each message is a token
			if err != nil {                                   // the connection goes on with the token that it has
				conn.Write(ctx, websocket.MessageText, []byte("refused: "+wsauth.Reason(err)))
				continue
			}
			conn.Write(ctx, websocket.MessageText, []byte("renewed until "+claims.Expiry.Format(time.DateOnly)))
		}
	}, nil))
	defer srv.Close()

	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + exampleToken(`{"sub":"alice","exp":4102444800}`)}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	for _, token := range []string{
		exampleToken(`{"sub":"mallory","exp":4200000000}`), // somebody else's
		exampleToken(`{"sub":"alice","exp":4133980800}`),
	} {
		conn.Write(ctx, websocket.MessageText, []byte(token))
		_, answer, err := conn.Read(ctx)
		fmt.Printf("%s %v\n", answer, err)
	}
	// Output:
	// refused: invalid_token <nil>
	// renewed until 2101-01-01 <nil>
}

// The end of a user's connections, with a code of the application's own. The user may come back at once.
func ExampleAuthenticator_Disconnect() {
	auth := exampleAuth()
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		conn.Write(ctx, websocket.MessageText, []byte("hello"))
		conn.Read(ctx)
	}, nil))
	defer srv.Close()

	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, srv.URL+"?access_token="+exampleToken(`{"sub":"alice","exp":4102444800}`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, message, err := conn.Read(ctx)
	fmt.Println(string(message), err)

	isAlice := func(c *wsauth.Claims) bool { return c.Subject == "alice" }
	fmt.Println("closed:", auth.Disconnect(isAlice, 4002, "your plan has changed"))
	_, _, err = conn.Read(ctx)
	fmt.Println(codeAndReason(err))
	// Output:
	// hello <nil>
	// closed: 1
	// 4002 your plan has changed
}

// Both are needed: http.Server does not know WebSockets.
func ExampleAuthenticator_Shutdown() {
	auth := exampleAuth()
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		conn.Write(ctx, websocket.MessageText, []byte("hello"))
		conn.Read(ctx)
		<-ctx.Done()
		fmt.Println("serve returns:", context.Cause(ctx))
	}, nil))
	defer srv.Close()
	conn, _, err := websocket.Dial(context.Background(), srv.URL+"?access_token="+exampleToken(`{"exp":4102444800}`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, message, err := conn.Read(context.Background())
	fmt.Println(string(message), err)
	closed := make(chan error, 1)
	go func() {
		_, _, err := conn.Read(context.Background())
		closed <- err
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Config.Shutdown(ctx) }()
	fmt.Println(auth.Shutdown(ctx), <-stopped)
	fmt.Println(codeAndReason(<-closed))
	// Output:
	// hello <nil>
	// serve returns: http: Server closed
	// <nil> <nil>
	// 1001 server shutting down
}

// A browser that is refused sees a code and a reason, and not 1006.
func ExampleUpgradeOptions() {
	auth := exampleAuth()
	srv := httptest.NewServer(auth.Upgrade(func(context.Context, *websocket.Conn) {}, &wsauth.UpgradeOptions{
		CloseOnRefusal: true,
		MaxLifetime:    24 * time.Hour,
		MaxConnections: 50_000,
		MaxPerSubject:  10,
	}))
	defer srv.Close()
	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, srv.URL+"?access_token="+exampleToken(`{"exp":1}`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = conn.Read(ctx)
	fmt.Println(codeAndReason(err))
	// Output: 3000 invalid_token
}

// A protocol that brings its token in a first message of its own form. FirstToken finds the token there; whether it is
// valid is not its business. Here the message is the one that opens graphql-transport-ws.
func ExampleUpgradeOptions_firstToken() {
	auth := exampleAuth()
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		claims, _ := wsauth.ClaimsFromContext(ctx)
		conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	}, &wsauth.UpgradeOptions{
		FirstMessage: 10 * time.Second, // how long a client without a token may take
		FirstToken: func(message []byte) (string, error) {
			var init struct {
				Type    string
				Payload struct{ Authorization string }
			}
			if err := json.Unmarshal(message, &init); err != nil {
				return "", err
			}
			token, ok := strings.CutPrefix(init.Payload.Authorization, "Bearer ")
			if init.Type != "connection_init" || !ok {
				return "", errors.New("not a connection_init with a token")
			}
			return token, nil
		},
	}))
	defer srv.Close()

	ctx := context.Background()
	const format = `{"type":"connection_init","payload":{"Authorization":"Bearer %s"}}`
	for _, first := range []string{
		`{"type":"subscribe"}`,
		fmt.Sprintf(format, exampleToken(`{"sub":"alice","exp":1}`)),
		fmt.Sprintf(format, exampleToken(`{"sub":"alice","exp":4102444800}`)),
	} {
		conn, _, err := websocket.Dial(ctx, srv.URL, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		conn.Write(ctx, websocket.MessageText, []byte(first))
		_, answer, err := conn.Read(ctx)
		if err != nil {
			fmt.Println(codeAndReason(err))
			continue
		}
		fmt.Println(string(answer))
		conn.Close(websocket.StatusNormalClosure, "")
	}
	// Output:
	// 3000 invalid_request
	// 3000 invalid_token
	// hello alice
}

// Guard is for a WebSocket library of your choice: the handler behind it knows nothing of wsauth except the claims, and
// its connections end with their tokens all the same. This one accepts the handshake by itself.
func ExampleAuthenticator_Guard() {
	auth := exampleAuth()
	handler := func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		conn.Write(r.Context(), websocket.MessageText, []byte("hello "+claims.Subject))
		conn.Read(r.Context())
	}
	srv := httptest.NewServer(auth.Guard(http.HandlerFunc(handler), &wsauth.UpgradeOptions{MaxPerSubject: 1}))
	defer srv.Close()

	ctx := context.Background()
	url := srv.URL + "?access_token=" + exampleToken(`{"sub":"alice","exp":4102444800}`)
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	_, message, err := conn.Read(ctx)
	fmt.Println(string(message), err)
	if _, resp, err := websocket.Dial(ctx, url, nil); err != nil {
		fmt.Println("a second one:", resp.Status)
	}

	// At the end of the token it would be 3000 and "token expired".
	auth.Disconnect(func(c *wsauth.Claims) bool { return c.Subject == "alice" }, wsauth.StatusUnauthorized, "logged out")
	_, _, err = conn.Read(ctx)
	fmt.Println(codeAndReason(err))
	// Output:
	// hello alice <nil>
	// a second one: 429 Too Many Requests
	// 3000 logged out
}

// The new secret is named first; tokens that the old one signed are accepted until they end.
func ExampleHMAC() {
	newSecret := []byte("a new secret of at least 32 bytes, from your configuration")
	auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(newSecret, exampleSecret)}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = auth.Verify(context.Background(), exampleToken(`{"exp":4102444800}`))
	fmt.Println(err)
	// Output: <nil>
}

func ExamplePublicKeysPEM() {
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalPKIXPublicKey(&private.PublicKey)
	file := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}) // or os.ReadFile

	_, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
		Name:     "https://id.example.com/",
		Audience: []string{"chat"},
		Keys:     wsauth.PublicKeysPEM(file),
	}}})
	fmt.Println(err)
	// Output: <nil>
}

// Only a header and a subprotocol: no token in a URL, no cookie that any site could have a browser send.
func ExampleFromSubprotocol() {
	_, err := wsauth.New(wsauth.Options{
		Issuers:    []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromSubprotocol("bearer.")},
	})
	fmt.Println(err)
	// In the browser: new WebSocket(url, ["wsauth", "bearer." + token])

	// Output: <nil>
}

// A handler is tested without tokens.
func ExampleContextWithClaims() {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(wsauth.ContextWithClaims(r.Context(), &wsauth.Claims{Subject: "alice", Scope: "chat:read"}))
	h := wsauth.RequireScopes("chat:read")(http.HandlerFunc(whoami))
	ask(h, r, get())
	// Output:
	// 200 alice
	// 401 a token is needed
}

// The classic mistake: Require and RequireScopes look at claims, and verify nothing. Without a Middleware around them
// there are none, so they refuse everybody.
func ExampleRequireScopes_outsideMiddleware() {
	auth := exampleAuth()
	good := get("Authorization", "Bearer "+exampleToken(`{"sub":"alice","scope":"chat:read","exp":4102444800}`))
	admitted := wsauth.RequireScopes("chat:read")(http.HandlerFunc(whoami))
	ask(admitted, good)
	ask(auth.Middleware(admitted), good)
	// Output:
	// 401 a token is needed
	// 200 alice
}

// Counters for metrics. The kinds, the issuers of Options and the reasons are few, as labels should be.
func ExampleOptions_observe() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		Observe: func(_ context.Context, e wsauth.Event) { fmt.Printf("%s %s%s\n", e.Kind, e.Source, e.Reason) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := auth.Middleware(http.HandlerFunc(whoami))
	ask(h, get("Authorization", "Bearer "+exampleToken(`{"sub":"alice","exp":4102444800}`)), get())
	// Output:
	// authenticated header
	// 200 alice
	// refused token_required
	// 401 a token is needed
}
