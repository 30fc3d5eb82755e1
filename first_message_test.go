package wsauth_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestAClientMayBringItsTokenAsTheFirstMessage(t *testing.T) {
	const within = 10 * time.Second
	text, binary := websocket.MessageText, websocket.MessageBinary
	good := func() string { return testToken(lasting(time.Hour)) }
	forged := func() string { return mint.New("HS256", "").Token(testClaims()) }
	expired := func() string { return testToken(lasting(-time.Hour)) }
	inJSON := func(before, after string) func() string {
		return func() string { return before + `"access_token":"` + good() + `"` + after }
	}
	for name, row := range map[string]struct {
		after   time.Duration
		kind    websocket.MessageType
		message func() string
		code    websocket.StatusCode // 0: accepted
		reason  string
	}{
		"bare":                       {0, text, good, 0, ""},
		"in JSON":                    {0, text, inJSON("{", "}"), 0, ""},
		"in JSON after white space":  {0, text, inJSON("\n {", "}\n"), 0, ""},
		"in JSON with other members": {0, text, inJSON(`{"type":"auth", `, "}"), 0, ""},
		"at the last moment":         {within - 1, text, good, 0, ""},
		"too late":                   {within, text, good, 3008, "token_required"},
		"binary":                     {0, binary, good, 3000, "invalid_request"},
		"empty":                      {0, text, func() string { return "" }, 3000, "invalid_token"},
		"rubbish":                    {0, text, func() string { return "hello" }, 3000, "invalid_token"},
		"forged":                     {0, text, forged, 3000, "invalid_token"},
		"expired":                    {0, text, expired, 3000, "invalid_token"},
		"JSON without it":            {0, text, func() string { return `{"token":"x"}` }, 3000, "invalid_request"},
		"JSON with it twice":         {0, text, inJSON(`{"access_token":"x",`, "}"), 3000, "invalid_request"},
		"JSON with a number":         {0, text, func() string { return `{"access_token":1}` }, 3000, "invalid_request"},
		"oversized":                  {0, text, func() string { return strings.Repeat("x", 9000) }, 3000, "invalid_request"},
		"far oversized":              {0, text, func() string { return strings.Repeat("x", 1<<20) }, 3000, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Bool
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					served.Store(true)
					claims, ok := wsauth.ClaimsFromContext(ctx)
					if !ok || claims.Subject != "alice" {
						t.Errorf("got the claims %v, want alice's", claims)
					}
					echo(ctx, conn)
				}, &wsauth.UpgradeOptions{FirstMessage: within}))
				start := time.Now()
				conn := srv.dial(t, &websocket.DialOptions{})
				time.Sleep(row.after)
				go conn.Write(t.Context(), row.kind, []byte(row.message()))
				if row.code == 0 {
					synctest.Wait()
					if got := exchange(t, conn, "hi"); got != "hi" {
						t.Errorf("got %q, want the echo", got)
					}
				}
				_, _, err := conn.Read(t.Context())
				var closed websocket.CloseError
				errors.As(err, &closed)
				switch lived := time.Since(start); {
				case row.code == 0:
					if end := row.after.Truncate(time.Second) + time.Hour; lived != end || closed.Code != wsauth.StatusUnauthorized {
						t.Errorf("got a life of %v, ended with %v, want %v and 3000", lived, err, end)
					}
				case closed.Code != row.code || closed.Reason != row.reason || served.Load() || lived != row.after:
					t.Errorf("got served: %v, ended after %v with %v, want %v and %s after %v",
						served.Load(), lived, err, row.code, row.reason, row.after)
				}
			})
		})
	}
}

func TestAFirstMessageMayHaveAFormOfTheApplicationsOwn(t *testing.T) {
	firstToken := func(message []byte) (string, error) {
		token, ok := strings.CutPrefix(string(message), "CONNECT\nAuthorization:Bearer ")
		if !ok {
			return "", errors.New("secret text")
		}
		return strings.TrimSuffix(token, "\n\n\x00"), nil
	}
	for name, row := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode // 0: it is served
	}{
		"good":        {websocket.MessageText, "CONNECT\nAuthorization:Bearer TOKEN\n\n\x00", 0},
		"good, bytes": {websocket.MessageBinary, "CONNECT\nAuthorization:Bearer TOKEN\n\n\x00", 0},
		"another":     {websocket.MessageText, "TOKEN", wsauth.StatusUnauthorized},
		"no token":    {websocket.MessageText, "CONNECT\nAuthorization:Bearer \n\n\x00", wsauth.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo,
					&wsauth.UpgradeOptions{FirstMessage: time.Minute, FirstToken: firstToken}))
				conn := srv.dial(t, &websocket.DialOptions{})
				conn.Write(t.Context(), row.kind, []byte(strings.Replace(row.message, "TOKEN", testToken(lasting(time.Hour)), 1)))
				if row.code == 0 {
					if got := exchange(t, conn, "hello"); got != "hello" {
						t.Errorf("got %q, want the echo", got)
					}
					conn.Close(websocket.StatusNormalClosure, "")
					return
				}
				_, _, err := conn.Read(t.Context())
				wantClosed(t, err, row.code, "invalid_request")
			})
		})
	}
}

func TestWithFirstMessageABadTokenAndAForeignOriginAreRefusedAsEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Second}))
		for name, row := range map[string]struct {
			header http.Header
			status int
		}{
			"a bad token":      {bearerHeader("bad"), 401},
			"a foreign origin": {http.Header{"Origin": {"https://evil.example"}}, 403},
			"two tokens":       {http.Header{"Authorization": {"Bearer a", "Bearer b"}}, 400},
		} {
			_, resp, err := srv.tryDial(t, row.header)
			if err == nil || resp.StatusCode != row.status {
				t.Errorf("%s: got %v, want %d", name, resp, row.status)
			}
		}
		req, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
		resp, err := srv.client().Do(req)
		if err != nil || resp.StatusCode != 401 {
			t.Fatalf("got %v, %v of a plain request, want 401", resp, err)
		}
		resp.Body.Close()
	})
}

func TestAnAnnouncedGigabyteIsNoFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: 5 * time.Second}))
		conn := srv.dialRaw()
		io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		start := time.Now()
		conn.Write([]byte{0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0})
		sent := 0
		for {
			n, err := conn.Write(make([]byte, 4096))
			if sent += n; err != nil {
				break
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("got closed after %v and %d bytes, want within a second", took, sent)
		}
		conn.Close()
	})
}

func TestClientsThatWaitForTheirFirstMessageAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
		dial := func(header http.Header) (*websocket.Conn, int) {
			conn, resp, err := srv.tryDial(t, header)
			if err == nil {
				t.Cleanup(func() { conn.CloseNow() })
			}
			return conn, resp.StatusCode
		}
		first, _ := dial(nil)
		for range 1023 {
			dial(nil)
		}
		if _, status := dial(nil); status != 503 {
			t.Errorf("got %d for the 1025th, want 503", status)
		}
		if _, status := dial(bearerHeader(testToken(lasting(time.Hour)))); status != 101 {
			t.Errorf("got %d for one with a token, want 101", status)
		}
		if err := first.Write(t.Context(), websocket.MessageText, []byte(testToken(lasting(time.Hour)))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, status := dial(nil); status != 101 {
			t.Errorf("got %d after one has shown its token, want 101", status)
		}
	})
}

func TestMaxLifetimeCountsWhileAFirstMessageIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(neverServed(t),
			&wsauth.UpgradeOptions{MaxLifetime: 5 * time.Second, FirstMessage: 20 * time.Second}))
		start := time.Now()
		conn := srv.dial(t, &websocket.DialOptions{})
		_, _, err := conn.Read(t.Context())
		wantClosed(t, err, wsauth.StatusTimeout, "token_required")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("got closed after %v, want 5s", took)
		}
	})
}
