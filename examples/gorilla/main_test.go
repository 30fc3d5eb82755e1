package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func serve(t *testing.T) string {
	t.Helper()
	handler, err := newServer(testclient.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler)
}

func exchange(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx := testclient.Context(t)
	if err := wsjson.Write(ctx, conn, message{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	var got message
	if err := wsjson.Read(ctx, conn, &got); err != nil {
		t.Fatal(err)
	}
	if want := (message{From: "alice", Text: "hello"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhoMayConnectAndWhoseRuleItIs(t *testing.T) {
	base := serve(t)
	token := testclient.Token(testclient.Secret, nil)
	moderator := testclient.Token(testclient.Secret, map[string]any{"scope": "chat:moderate"})
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	const (
		nobody     = ""
		middleware = "wsauth"
		gorilla    = "gorilla"
	)
	header := func(token, origin string) http.Header {
		h := testclient.Bearer(token)
		h.Set("Origin", origin)
		return h
	}
	cookie := func(origin ...string) http.Header {
		return http.Header{"Cookie": {"access_token=" + token}, "Origin": origin}
	}
	for _, row := range []struct {
		name    string
		path    string
		header  http.Header
		status  int
		refuses string
	}{
		{"header", "/ws", testclient.Bearer(token), 101, nobody},
		{"header, own origin", "/ws", header(token, base), 101, nobody},
		{"header, listed origin", "/ws", header(token, origins[0]), 101, nobody},
		{"header, foreign origin", "/ws", header(token, "https://evil.example"), 403, gorilla},
		{"header, origin null", "/ws", header(token, "null"), 403, gorilla},
		{"header, own host and another port", "/ws", header(token, "http://127.0.0.1:1"), 403, gorilla},
		{"cookie, own origin", "/ws", cookie(base), 101, nobody},
		{"cookie, listed origin", "/ws", cookie(origins[0]), 101, nobody},
		{"cookie, foreign origin", "/ws", cookie("https://evil.example"), 403, middleware},
		{"cookie, no origin", "/ws", cookie(), 403, middleware},
		{"none", "/ws", nil, 401, middleware},
		{"forged", "/ws", testclient.Bearer(forged), 401, middleware},
		{"forged, foreign origin", "/ws", header(forged, "https://evil.example"), 401, middleware},
		{"moderators only, with the scope", "/ws/moderators", testclient.Bearer(moderator), 101, nobody},
		{"moderators only, without it", "/ws/moderators", testclient.Bearer(token), 403, middleware},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, resp := testclient.Dial(t, base+row.path, row.header)
			refuses := middleware
			switch {
			case conn != nil:
				refuses = nobody
				exchange(t, conn)
			case resp.Header.Get("Sec-WebSocket-Version") != "": // gorilla sends it with every refusal
				refuses = gorilla
			}
			if resp.StatusCode != row.status || refuses != row.refuses {
				t.Errorf("status %d by %q, want %d by %q", resp.StatusCode, refuses, row.status, row.refuses)
			}
		})
	}
}

func TestASubprotocolThatCarriesTheTokenNeedsAnother(t *testing.T) {
	base := serve(t)
	token := "bearer." + testclient.Token(testclient.Secret, nil)
	for _, row := range []struct {
		name     string
		offered  []string
		selected string // empty: none, and a browser gives up
	}{
		{"the application's", []string{"chat.v1", token}, "chat.v1"},
		{"the marker", []string{"wsauth", token}, "wsauth"},
		{"both, in the client's order", []string{token, "wsauth", "chat.v1"}, "chat.v1"},
		{"one that the server does not know", []string{"chat.v2", token}, ""},
		{"the token alone", []string{token}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, _, err := websocket.Dial(testclient.Context(t), base+"/ws", &websocket.DialOptions{Subprotocols: row.offered})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if got := conn.Subprotocol(); got != row.selected {
				t.Errorf("selected %q, want %q", got, row.selected)
			}
			exchange(t, conn)
		})
	}
}

// endsAt mints a token that Middleware takes until then: its exp is earlier, by the leeway.
func endsAt(end time.Time) string {
	exp := end.Add(-leeway).UnixMilli()
	return testclient.Token(testclient.Secret, map[string]any{"exp": float64(exp) / 1000})
}

func TestAConnectionEndsWithItsToken(t *testing.T) {
	t.Parallel() // it takes a second
	end := time.Now().Add(time.Second).Truncate(time.Millisecond)
	conn, resp := testclient.Dial(t, serve(t)+"/ws", testclient.Bearer(endsAt(end)))
	if conn == nil {
		t.Fatalf("status %d", resp.StatusCode)
	}
	exchange(t, conn)
	_, text, err := conn.Read(testclient.Context(t))
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != wsauth.StatusUnauthorized || closed.Reason != "token expired" {
		t.Errorf("the connection ended with %v, %q", err, text)
	}
	if early := time.Until(end); early > 0 {
		t.Errorf("%v before its token", early)
	}
}

func TestAClientThatDoesNotAnswerIsCutOff(t *testing.T) {
	base := serve(t)
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
			t.Parallel() // each takes two seconds
			end := time.Now().Add(time.Second).Truncate(time.Millisecond)
			got := row.client(connect(t, base, endsAt(end)))
			if late := time.Since(end); late < grace || late > grace+5*time.Second {
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
	base := serve(t)
	token := testclient.Token(testclient.Secret, map[string]any{"team": "red"})
	var claims map[string]any
	testclient.Get(t, base+"/me", testclient.Bearer(token), &claims)
	if claims["sub"] != "alice" || claims["team"] != "red" {
		t.Errorf("claims = %v", claims)
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
