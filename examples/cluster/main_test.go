package main

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// eventually waits until something is so. Processes start, connections are made again: that may take its time.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
	}
}

// newServers runs three servers, and returns their URLs when each accepts tokens.
func newServers(t *testing.T, redisURL string) []string {
	t.Helper()
	log, closeLog, err := openLog(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeLog)
	var servers []*httptest.Server
	var addresses, urls []string
	for range 3 {
		srv := httptest.NewUnstartedServer(nil)
		servers = append(servers, srv)
		addresses = append(addresses, srv.Listener.Addr().String())
	}
	c := newCluster(addresses)
	for _, srv := range servers {
		auth, err := c.newAuth(log)
		if err != nil {
			t.Fatal(err)
		}
		follow(t, auth)
		srv.Config.Handler = c.newHandler(auth)
		srv.Start()
		t.Cleanup(srv.Close)
		urls = append(urls, srv.URL)
		eventually(t, "the server is ready", func() bool { return auth.Ready(t.Context()) == nil })
	}
	return urls
}

func follow(t *testing.T, auth *wsauth.Authenticator) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- auth.Follow(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

// logs are those that the example can use: a NATS server within it, or Redis.
func logs(t *testing.T) map[string]func(*testing.T) string {
	return map[string]func(*testing.T) string{
		"NATS":  func(*testing.T) string { return "" },
		"Redis": func(t *testing.T) string { return "redis://" + redistest.New(t).Addr },
	}
}

func TestALogoutOnOneServerIsALogoutOnAll(t *testing.T) {
	for name, start := range logs(t) {
		t.Run(name, func(t *testing.T) {
			servers := newServers(t, start(t))
			jar, _ := cookiejar.New(nil)
			client := &http.Client{Jar: jar}
			post := func(url string) int {
				resp, err := client.Post(url, "application/x-www-form-urlencoded", strings.NewReader("user=alice"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			if got := post(servers[0] + "/login"); got != http.StatusNoContent {
				t.Fatalf("got %d, want to be logged in", got)
			}
			connect := func(server string) *websocket.Conn {
				conn, _, err := websocket.Dial(testclient.Context(t), server+"/ws", &websocket.DialOptions{
					HTTPClient: client, HTTPHeader: http.Header{"Origin": {servers[0]}},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.CloseNow() })
				return conn
			}
			var conns []*websocket.Conn
			for _, server := range servers {
				conn := connect(server)
				if _, message, err := conn.Read(testclient.Context(t)); string(message) != "hello alice" {
					t.Errorf("got %q, %v, want a greeting", message, err)
				}
				conns = append(conns, conn)
			}
			if got := post(servers[1] + "/logout"); got != http.StatusOK {
				t.Errorf("got %d, want the logout done", got)
			}
			for i, conn := range conns {
				if _, _, err := conn.Read(testclient.Context(t)); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("server %d: got %v, want 3000", i, err)
				}
			}
			for i, server := range servers {
				if _, _, err := connect(server).Read(testclient.Context(t)); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("server %d: got %v with the same token, want 3000", i, err)
				}
			}
			eventually(t, "a new login is accepted, a second later", func() bool {
				post(servers[2] + "/login")
				return post(servers[0]+"/logout") == http.StatusOK
			})
		})
	}
}

func TestAPageIsLoggedOutEverywhere(t *testing.T) {
	servers := newServers(t, "")
	for i, server := range servers { // cookies of a page know no ports: the name must be one, 127.0.0.1
		u, err := url.Parse(server)
		if err != nil || u.Hostname() != "127.0.0.1" {
			t.Fatal(i, server, err)
		}
	}
	page := browsertest.Open(t, servers[0])
	page.WaitFor(`document.querySelectorAll("tbody tr").length === 3`)
	cells := func(begin string) string {
		return `[...document.querySelectorAll("td:last-child")].every((cell) => cell.textContent.startsWith("` + begin + `"))`
	}
	page.Do(chromedp.Click(chromedp.CSS("form button:not([id])")))
	page.WaitFor(cells("open: hello alice"))
	page.Do(chromedp.Click(chromedp.CSS("#logout")))
	page.WaitFor(cells("closed: 3000 token revoked"))
	page.Do(chromedp.Click(chromedp.CSS("#again")))
	page.WaitFor(cells("closed: 3000 invalid_token"))
}

func TestABadURLOfRedisIsAnErrorWithoutIt(t *testing.T) {
	_, _, err := openLog("redis://user:secret@[broken")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}
