package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/wsauthtest"
)

const leeway = 30 * time.Second // wsauth's default

// setUp returns the URL of the proxy in front of the upstream, and an issuer whose tokens it accepts.
func setUp(t *testing.T, upstream string) (string, *wsauthtest.Issuer) {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	handler, err := newServer(issuer.Secret, upstream)
	if err != nil {
		t.Fatal(err)
	}
	return wsauthtest.Serve(t, handler), issuer
}

// startUpstream runs upstream.mjs, and returns its URL.
func startUpstream(t *testing.T) (*nodetest.Script, string) {
	t.Helper()
	upstream := nodetest.Start(t, "upstream.mjs", "0")
	line, _ := upstream.Line()
	port, ok := strings.CutPrefix(line, "listens on ")
	if !ok {
		t.Fatalf("got line %q, want its port", line)
	}
	return upstream, "http://127.0.0.1:" + port
}

func exchange(t *testing.T, conn *websocket.Conn, text, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, got, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMessagesPassUntilTheTokenEnds(t *testing.T) {
	upstream, address := startUpstream(t)
	url, issuer := setUp(t, address)
	end := time.Now().Add(3 * time.Second).Truncate(time.Millisecond)
	token := issuer.Token(wsauthtest.Claims{"sub": "zoë", "iat": nil, "exp": end.Add(-leeway)})
	conn := wsauthtest.Dial(t, url, wsauthtest.Query(token))
	upstream.Expect("connected")
	exchange(t, conn, "hello", "zoë: hello")
	exchange(t, conn, "still there?", "zoë: still there?")
	wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
	if early := time.Until(end); early > 0 {
		t.Errorf("got the end %v before that of the token", early)
	}
	upstream.Expect("closed")
}

func TestTheServerBehindSeesTheUserAndNoToken(t *testing.T) {
	requests := make(chan *http.Request, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the proxy has asked
		if err != nil {
			t.Error(err)
			return
		}
		conn.CloseNow()
	}))
	t.Cleanup(upstream.Close)
	url, issuer := setUp(t, upstream.URL)
	token := issuer.Token()
	header, set := wsauthtest.Header(token), wsauthtest.SetHeader
	for _, row := range []struct {
		name string
		opts []wsauthtest.DialOption
	}{
		{"header", []wsauthtest.DialOption{header}},
		{"query", []wsauthtest.DialOption{wsauthtest.Query(token)}},
		{"client that says to be somebody else", []wsauthtest.DialOption{header, set("X-User", "admin")}},
		{"client that wants X-User taken out", []wsauthtest.DialOption{header, set("Connection", "Upgrade, X-User")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wsauthtest.Dial(t, url+"/room", row.opts...)
			seen := <-requests
			if got := seen.Header.Values("X-User"); len(got) != 1 || got[0] != "alice" {
				t.Errorf("got X-User %q, want alice", got)
			}
			if all := fmt.Sprint(seen.RequestURI, seen.Header); strings.Contains(all, token) {
				t.Errorf("got the token in %s", strings.ReplaceAll(all, token, "TOKEN"))
			}
		})
	}
}

func TestWhoIsRefusedDoesNotReachTheServerBehind(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("got as far as the server behind")
	}))
	t.Cleanup(upstream.Close)
	url, issuer := setUp(t, upstream.URL)
	foreign := wsauthtest.SetHeader("Origin", "https://evil.example")
	for _, row := range []struct {
		name   string
		opts   []wsauthtest.DialOption
		status int
	}{
		{"foreign origin", []wsauthtest.DialOption{wsauthtest.Query(issuer.Token()), foreign}, 403},
		{"no token", nil, 401},
		{"forged token", []wsauthtest.DialOption{wsauthtest.Query(issuer.Forged())}, 401},
		{"expired token", []wsauthtest.DialOption{wsauthtest.Query(issuer.Expired())}, 401},
		{"no token, but a name", []wsauthtest.DialOption{wsauthtest.SetHeader("X-User", "admin")}, 401},
	} {
		t.Run(row.name, func(t *testing.T) { wsauthtest.ExpectRefused(t, url, row.status, row.opts...) })
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil, "http://127.0.0.1:9090"); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("got error %v, want one that says what to do", err)
	}
}
