package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/gin-gonic/gin"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// lines takes the place of gin's log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func serve(t *testing.T) (string, lines) {
	t.Helper()
	logged := make(lines, 100)
	before := gin.DefaultWriter
	gin.DefaultWriter = logged
	handler, err := newServer(testclient.Secret)
	gin.DefaultWriter = before
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler), logged
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
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
}

func TestAConnectionNeedsATokenThatNoLogShows(t *testing.T) {
	base, logged := serve(t)
	token := testclient.Token(testclient.Secret, nil)
	moderator := testclient.Token(testclient.Secret, map[string]any{"scope": "chat:moderate"})
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	for _, row := range []struct {
		name   string
		path   string
		header http.Header
		status int
	}{
		{"header", "/ws", testclient.Bearer(token), 101},
		{"query", "/ws?access_token=" + token, nil, 101},
		{"cookie", "/ws", http.Header{"Cookie": {"access_token=" + token}, "Origin": {base}}, 101},
		{"none", "/ws", nil, 401},
		{"forged", "/ws?access_token=" + forged, nil, 401},
		{"moderators only, with the scope", "/ws/moderators", testclient.Bearer(moderator), 101},
		{"moderators only, without it", "/ws/moderators", testclient.Bearer(token), 403},
		{"moderators only, without a token", "/ws/moderators", nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, resp := testclient.Dial(t, base+row.path, row.header)
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			}
			if conn != nil {
				exchange(t, conn)
			}
			if line := <-logged; !strings.Contains(line, "/ws") || strings.Contains(line, token[:10]) {
				t.Errorf("gin's log has %q", line)
			}
		})
	}
}

// wrapped is what many gin middlewares make of c.Writer.
type wrapped struct{ gin.ResponseWriter }

func TestAConnectionWorksBehindAnyWriter(t *testing.T) {
	for _, row := range []struct {
		name string
		use  []gin.HandlerFunc
	}{
		{"gin's own", nil},
		{"behind Logger and Recovery", []gin.HandlerFunc{gin.LoggerWithWriter(make(lines, 100)), gin.Recovery()}},
		{"embedded", []gin.HandlerFunc{func(c *gin.Context) { c.Writer = wrapped{c.Writer} }}},
		{"embedded twice", []gin.HandlerFunc{
			func(c *gin.Context) { c.Writer = wrapped{c.Writer} },
			func(c *gin.Context) { c.Writer = wrapped{c.Writer} },
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			engine := gin.New()
			engine.Use(row.use...)
			if err := addRoutes(engine, testclient.Secret); err != nil {
				t.Fatal(err)
			}
			base := testclient.Serve(t, engine)
			token := testclient.Token(testclient.Secret, map[string]any{"scope": "chat:moderate"})
			for _, path := range []string{"/ws", "/ws/moderators"} {
				conn, resp := testclient.Dial(t, base+path, testclient.Bearer(token))
				if conn == nil {
					t.Fatalf("%s: status %d", path, resp.StatusCode)
				}
				exchange(t, conn)
			}
		})
	}
}

func TestMeAnswersWithTheClaims(t *testing.T) {
	base, _ := serve(t)
	token := testclient.Token(testclient.Secret, map[string]any{"team": "red"})
	var claims map[string]any
	testclient.Get(t, base+"/me", testclient.Bearer(token), &claims)
	if claims["sub"] != "alice" || claims["team"] != "red" {
		t.Errorf("claims = %v", claims)
	}
	resp := testclient.Get(t, base+"/me", nil, nil)
	if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || challenge == "" {
		t.Errorf("without a token: status %d, WWW-Authenticate %q", resp.StatusCode, challenge)
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
