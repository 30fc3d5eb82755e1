package wsauth_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// Records have no claim except the issuer, since a subject may be personal data. A slog.Handler adds what you choose:
// the context of each record is the context of the request or the connection, and has its claims.
func Example_logWhoseConnectionEnds() {
	records := make(recordChan, 1)
	out := slog.NewTextHandler(records, &slog.HandlerOptions{ReplaceAttr: withoutTimes}) // elsewhere: os.Stderr
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.HMAC(exampleSecret),
		}},
		Logger: slog.New(whose{out}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(withRemote(auth.Upgrade(greet, nil)))
	defer srv.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	token := exampleToken(`{"iss":"https://id.example.com/","aud":"chat","sub":"alice","exp":4102444800}`)
	conn, _, err := websocket.Dial(ctx, srv.URL+"?access_token="+token, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	conn.Close(websocket.StatusNormalClosure, "")
	fmt.Print(<-records)
	// Output:
	// level=INFO msg="wsauth: closed" issuer=https://id.example.com/ code=1000 cause=none sub=alice remote=127.0.0.1
}

// whose adds to each record whose request or connection it is about.
type whose struct{ slog.Handler }

func (h whose) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	if claims, ok := wsauth.ClaimsFromContext(ctx); ok { // a refused request has none
		r.AddAttrs(slog.String("sub", claims.Subject))
	}
	if remote, ok := ctx.Value(remoteKey{}).(string); ok {
		r.AddAttrs(slog.String("remote", remote))
	}
	return h.Handler.Handle(ctx, r)
}

// Without these two, a Logger with attributes or a group would lose the subject.
func (h whose) WithAttrs(attrs []slog.Attr) slog.Handler { return whose{h.Handler.WithAttrs(attrs)} }
func (h whose) WithGroup(name string) slog.Handler       { return whose{h.Handler.WithGroup(name)} }

type remoteKey struct{}

// withRemote puts the address of the peer into the context, which the connection's context inherits. Behind a proxy
// this is the proxy's address: take the peer's from the header that your proxy sets.
func withRemote(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), remoteKey{}, host)))
	})
}

// A recordChan takes the records of the example, which waits for them.
type recordChan chan string

func (c recordChan) Write(record []byte) (int, error) {
	c <- string(record)
	return len(record), nil
}

// withoutTimes leaves out what differs each time the example runs.
func withoutTimes(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == "duration" {
		return slog.Attr{}
	}
	return a
}
