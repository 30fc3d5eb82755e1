package wsauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// A whole server, and a client of it: once without a token, once with one.
func Example() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(exampleSecret), // or JWKS{}, for a provider that publishes its keys
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(greet, nil))
	srv := httptest.NewServer(mux) // elsewhere: http.ListenAndServe
	defer srv.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, resp, err := websocket.Dial(ctx, srv.URL+"/ws", nil)
	if err == nil {
		fmt.Println("a connection without a token")
		return
	}
	fmt.Println(resp.Status, resp.Header.Get("WWW-Authenticate"))

	// The identity provider gives the client its token.
	token := exampleToken(`{"iss":"https://id.example.com/","aud":"chat","sub":"alice","exp":4102444800}`)
	conn, resp, err := websocket.Dial(ctx, srv.URL+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	_, message, err := conn.Read(ctx)
	fmt.Println(resp.Status, string(message), err)
	// Output:
	// 401 Unauthorized Bearer realm="wsauth"
	// 101 Switching Protocols hello alice <nil>
}

// greet runs once for each connection. At the end of the token, the connection is closed and Read returns an error.
func greet(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject)); err != nil {
		return
	}
	conn.Read(ctx)
}
