package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/wsauthtest"
)

const leeway = 30 * time.Second // wsauth's default

// setUp returns the server, and an issuer whose tokens it accepts.
func setUp(t *testing.T) (http.Handler, *wsauthtest.Issuer) {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	handler, err := newServer(issuer.Secret, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return handler, issuer
}

// endsAt returns a token that ends then: its exp is earlier, by the leeway.
func endsAt(issuer *wsauthtest.Issuer, end time.Time) string {
	return issuer.Token(wsauthtest.Claims{"iat": nil, "exp": end.Add(-leeway)})
}

// The client is graphql-ws itself, in Node.js. It ends by itself after one handshake: it does not try again.
func TestTheClientGraphqlWs(t *testing.T) {
	handler, issuer := setUp(t)
	const early, late = 4 * time.Second, 7 * time.Second
	good := func(end time.Time) string { return endsAt(issuer, end) }
	forged := func(time.Time) string { return issuer.Forged() }
	none := func(time.Time) string { return "" }
	for _, row := range []struct {
		name     string
		token    func(end time.Time) string // its end is early
		newToken func(end time.Time) string // nil: there is none
		says     string                     // besides the ticks
		lasts    time.Duration
	}{
		{"stays until its token ends", good, nil, "I am alice\nover: 3000 token expired", early},
		{"stays longer with a new token", good, good, "I am alice\nrenewed\nover: 3000 token expired", late},
		{"stays as long if the new token is refused", good, forged,
			"I am alice\nnot renewed: the token is refused\nover: 3000 token expired", early},
		{"does not come back with a token that was refused", forged, nil, "over: 3000 invalid_token", 0},
		{"does not come back without a token", none, nil, "over: 3000 invalid_token", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var handshakes atomic.Int32
			url := wsauthtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handshakes.Add(1)
				handler.ServeHTTP(w, r)
			}))
			client := nodetest.Start(t, "client.mjs", strings.Replace(url, "http", "ws", 1)+"/graphql")
			client.Expect("token?") // Node.js has started
			begun := time.Now().Truncate(time.Millisecond)
			client.Write(row.token(begun.Add(early)))
			var said []string
			ticks := 0
			for line, ok := client.Line(); ok; line, ok = client.Line() {
				if !strings.HasPrefix(line, "tick ") {
					said = append(said, line)
					continue
				}
				if ticks++; ticks == 1 && row.newToken != nil {
					client.Write(row.newToken(begun.Add(late)))
				}
			}
			if got := strings.Join(said, "\n"); got != row.says {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.says)
			}
			if got := time.Since(begun); got < row.lasts {
				t.Errorf("got the end after %v, want it after %v", got, row.lasts)
			}
			if want := row.lasts > 0; ticks > 0 != want {
				t.Errorf("got %d ticks, want some: %t", ticks, want)
			}
			if got := handshakes.Load(); got != 1 {
				t.Errorf("got %d handshakes, want 1", got)
			}
		})
	}
}

func dial(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url+"/graphql",
		&websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

type packet struct {
	ID      string         `json:"id,omitempty"`
	Type    string         `json:"type"`
	Payload map[string]any `json:"payload,omitempty"`
}

func send(t *testing.T, conn *websocket.Conn, p packet) {
	t.Helper()
	if err := wsjson.Write(t.Context(), conn, p); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn *websocket.Conn, kind string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got packet
	if err := wsjson.Read(ctx, conn, &got); err != nil || got.Type != kind {
		t.Fatalf("got %q, error %v, want %q", got.Type, err, kind)
	}
}

func TestNothingIsServedBeforeConnectionInit(t *testing.T) {
	handler, _ := setUp(t)
	conn := dial(t, wsauthtest.Serve(t, handler), nil)
	send(t, conn, packet{ID: "1", Type: "subscribe", Payload: map[string]any{"query": "{ me }"}})
	wsauthtest.ExpectClose(t, conn, websocket.StatusProtocolError, "unexpected message")
}

func TestATokenInTheHandshakeNeedsNoneInConnectionInit(t *testing.T) {
	handler, issuer := setUp(t)
	conn := dial(t, wsauthtest.Serve(t, handler), http.Header{"Authorization": {"Bearer " + issuer.Token()}})
	send(t, conn, packet{Type: "connection_init"})
	expect(t, conn, "connection_ack")
}

// The times take no time in a bubble of testing/synctest.
func TestAClientThatSendsNoConnectionInitIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, _ := setUp(t)
		begun := time.Now()
		conn := wsauthtest.Dial(t, wsauthtest.ServeInMemory(t, handler)+"/graphql")
		wsauthtest.ExpectClose(t, conn, wsauth.StatusTimeout, "token_required")
		if got := time.Since(begun); got != initTimeout {
			t.Errorf("got the end after %v, want it after %v", got, initTimeout)
		}
	})
}

func TestAQueryByPOSTNeedsATokenInItsHeader(t *testing.T) {
	handler, issuer := setUp(t)
	for _, row := range []struct {
		name, authorization string
		status              int
		body                string
	}{
		{"none", "", 401, ""},
		{"forged", "Bearer " + issuer.Forged(), 401, ""},
		{"good", "Bearer " + issuer.Token(), 200, `{"data":{"me":"alice"}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/graphql", strings.NewReader(`{"query": "{ me }"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", row.authorization)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != row.status || row.body != "" && w.Body.String() != row.body {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, row.status, row.body)
			}
		})
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil, time.Second); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("got error %v, want one that says what to do", err)
	}
}
