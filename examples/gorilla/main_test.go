package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

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

func exchange(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	if err := wsjson.Write(t.Context(), conn, message{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	var got message
	if err := wsjson.Read(t.Context(), conn, &got); err != nil {
		t.Fatal(err)
	}
	if want := (message{From: "alice", Text: "hello"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhoMayConnectAndWhoseRuleItIs(t *testing.T) {
	handler, issuer := setUp(t)
	base := wsauthtest.Serve(t, handler)
	header, cookie := wsauthtest.Header(issuer.Token()), wsauthtest.Cookie(issuer.Token())
	moderator := wsauthtest.Header(issuer.Token(wsauthtest.Claims{"scope": "chat:moderate"}))
	forged := wsauthtest.Header(issuer.Forged())
	from := func(origin string) wsauthtest.DialOption { return wsauthtest.SetHeader("Origin", origin) }
	const (
		middleware = "wsauth"
		gorilla    = "gorilla"
	)
	for _, row := range []struct {
		name    string
		path    string
		token   wsauthtest.DialOption
		origin  wsauthtest.DialOption
		status  int
		refuses string
	}{
		{"header", "/ws", header, nil, 101, ""},
		{"header, own origin", "/ws", header, from(base), 101, ""},
		{"header, listed origin", "/ws", header, from(origins[0]), 101, ""},
		{"header, foreign origin", "/ws", header, from("https://evil.example"), 403, gorilla},
		{"header, origin null", "/ws", header, from("null"), 403, gorilla},
		{"header, another port", "/ws", header, from("http://127.0.0.1:1"), 403, gorilla},
		{"cookie, own origin", "/ws", cookie, from(base), 101, ""},
		{"cookie, listed origin", "/ws", cookie, from(origins[0]), 101, ""},
		{"cookie, foreign origin", "/ws", cookie, from("https://evil.example"), 403, middleware},
		{"cookie, no origin", "/ws", cookie, from(""), 403, middleware},
		{"none", "/ws", nil, nil, 401, middleware},
		{"forged", "/ws", forged, nil, 401, middleware},
		{"forged, foreign origin", "/ws", forged, from("https://evil.example"), 401, middleware},
		{"moderators only, with the scope", "/ws/moderators", moderator, nil, 101, ""},
		{"moderators only, without it", "/ws/moderators", header, nil, 403, middleware},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.status == 101 {
				exchange(t, wsauthtest.Dial(t, base+row.path, row.token, row.origin))
				return
			}
			resp := wsauthtest.ExpectRefused(t, base+row.path, row.status, row.token, row.origin)
			refuses := middleware
			if resp.Header.Get("Sec-WebSocket-Version") != "" { // gorilla sends it with every refusal
				refuses = gorilla
			}
			if refuses != row.refuses {
				t.Errorf("refused by %s, want %s", refuses, row.refuses)
			}
		})
	}
}

func TestASubprotocolThatCarriesTheTokenNeedsAnother(t *testing.T) {
	handler, issuer := setUp(t)
	url := wsauthtest.Serve(t, handler) + "/ws"
	token := issuer.Token()
	for _, row := range []struct {
		name     string
		offered  wsauthtest.DialOption
		selected string // empty: none, and a browser gives up
	}{
		{"the application's", wsauthtest.Subprotocol(token, "chat.v1"), "chat.v1"},
		{"the marker", wsauthtest.Subprotocol(token, "wsauth"), "wsauth"},
		{"both", wsauthtest.Subprotocol(token, "wsauth", "chat.v1"), "chat.v1"},
		{"one that the server does not know", wsauthtest.Subprotocol(token, "chat.v2"), ""},
		{"none", wsauthtest.SetHeader("Sec-WebSocket-Protocol", "bearer."+token), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn := wsauthtest.Dial(t, url, row.offered)
			if got := conn.Subprotocol(); got != row.selected {
				t.Errorf("selected %q, want %q", got, row.selected)
			}
			exchange(t, conn)
		})
	}
}

// endsAt returns a token that Middleware takes until then: its exp is earlier, by the leeway.
func endsAt(issuer *wsauthtest.Issuer, end time.Time) string {
	return issuer.Token(wsauthtest.Claims{"iat": nil, "exp": end.Add(-leeway)})
}

func TestAConnectionEndsWithItsToken(t *testing.T) {
	t.Parallel() // it takes three seconds
	handler, issuer := setUp(t)
	end := time.Now().Add(3 * time.Second).Truncate(time.Millisecond)
	conn := wsauthtest.Dial(t, wsauthtest.Serve(t, handler)+"/ws", wsauthtest.Header(endsAt(issuer, end)))
	exchange(t, conn)
	wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
	if early := time.Until(end); early > 0 {
		t.Errorf("%v before its token", early)
	}
}

func TestAClientThatDoesNotAnswerIsCutOff(t *testing.T) {
	handler, issuer := setUp(t)
	base := wsauthtest.Serve(t, handler)
	closeFrame := append([]byte{0x88, 2 + 13, 3000 >> 8, 3000 & 0xff}, "token expired"...)
	for _, row := range []struct {
		name   string
		client func(net.Conn) []byte // it goes on until it is cut off, and returns what it has read
		reads  bool
	}{
		{"it is silent", readAll, true},
		{"it sends on", func(conn net.Conn) []byte {
			go sendOn(conn, `{"text":"hello"}`, 10*time.Millisecond)
			return readAll(conn)
		}, true},
		{"it sends and does not read", func(conn net.Conn) []byte {
			sendOn(conn, `{"text":"`+strings.Repeat("x", 30_000)+`"}`, 0)
			return nil
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // each takes four seconds
			end := time.Now().Add(3 * time.Second).Truncate(time.Millisecond)
			got := row.client(connect(t, base, endsAt(issuer, end)))
			if late := time.Since(end); late < grace*9/10 || late > grace+5*time.Second {
				t.Errorf("cut off %v after the end of its token", late)
			}
			if row.reads && !bytes.HasSuffix(got, closeFrame) {
				t.Errorf("the last that it got is no close frame, but %q", got[max(0, len(got)-100):])
			}
		})
	}
}

// connect makes a handshake and leaves the rest to its caller: a client library would answer a close frame by itself.
func connect(t *testing.T, base, token string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer %s\r\n\r\n", token)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil) // nothing follows before something is sent
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	return conn
}

func readAll(conn net.Conn) []byte {
	all, _ := io.ReadAll(conn) // an end by reset is one, too
	return all
}

// sendOn sends a text message again and again, until it cannot.
func sendOn(conn net.Conn, text string, every time.Duration) {
	frame := []byte{0x81, 0x80 | 126} // the last of its message, text; masked, with a length of two bytes
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(text)))
	frame = append(frame, 0, 0, 0, 0) // the mask
	frame = append(frame, text...)
	for {
		if _, err := conn.Write(frame); err != nil {
			return
		}
		time.Sleep(every)
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
