package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// A buffer is written to by the server's goroutines and read by a test.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	has  string        // once this has been written,
	done chan struct{} // this is closed; nil: nobody waits
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(p)
	if b.done != nil && strings.Contains(b.text.String(), b.has) {
		close(b.done)
		b.done = nil
	}
	return n, err
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// serve starts the quickstart without its check.
func serve(t *testing.T) (string, *server) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	base := "http://" + srv.Listener.Addr().String()
	app, err := newServer(base, time.Minute, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = app
	srv.Listener = app.wire.listen(srv.Listener)
	srv.Start()
	t.Cleanup(srv.Close)
	return base, app
}

func TestTheCheckGoesAsItShouldAndShowsNoToken(t *testing.T) {
	t.Parallel() // it takes 3 seconds
	var out, logs buffer
	if err := run(testclient.Context(t), config{ttl: time.Minute, check: true}, &out, &logs); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "All 19 went as they should.") {
		t.Errorf("output:\n%s", &out)
	}
	if !strings.Contains(logs.String(), "wsauth: refused") || strings.Contains(logs.String(), `=""`) {
		t.Errorf("the log is without the refusals, or with empty attributes:\n%s", &logs)
	}
	if all := out.String() + logs.String(); strings.Contains(all, "eyJ") {
		t.Errorf("a token was printed:\n%s", all)
	}
}

// A terminal shows both, so here both go into one.
func TestTheLogComesAfterTheTableAndTheServerSpeaksBeforeIt(t *testing.T) {
	t.Parallel() // it takes 3 seconds
	var terminal buffer
	if err := run(testclient.Context(t), config{ttl: time.Minute, check: true}, &terminal, &terminal); err != nil {
		t.Fatal(err)
	}
	var at []int
	for _, text := range []string{
		"wsauth quickstart on http://127.0.0.1:", "TOKEN", "All 19 went as they should.", "time=",
	} {
		at = append(at, strings.Index(terminal.String(), text))
	}
	if at[0] != 0 || !slices.IsSorted(at) {
		t.Errorf("got the parts at %v, want them one after the other:\n%s", at, &terminal)
	}
}

func TestTheCheckFailsWhereSomethingIsWrong(t *testing.T) {
	t.Parallel() // it takes 3 seconds
	base, app := serve(t)
	stranger, err := newIDP(base, time.Minute) // whose keys the server does not know
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		base string
		idp  *idp
	}{
		{"another issuer's tokens", base, stranger},
		{"no server", "http://" + freeAddr(t), app.idp},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := check(testclient.Context(t), row.base, row.idp, io.Discard); err == nil {
				t.Error("no error")
			}
		})
	}
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestATakenPortIsAClearError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	err = run(t.Context(), config{addr: addr, ttl: time.Minute}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}

func TestATokenThatLivesForNoSecondIsAnError(t *testing.T) {
	err := run(t.Context(), config{addr: "127.0.0.1:0", ttl: time.Millisecond}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-ttl") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}

// start runs the quickstart until its self-check is over. What run returns comes out of the channel.
func start(t *testing.T) (base string, out *buffer, interrupt func(), ended <-chan error) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context()) // no deadline: the self-check has its own, and so do the clients
	ready := make(chan struct{})
	out = &buffer{has: "Ctrl-C", done: ready}
	addr := freeAddr(t)
	end := make(chan error, 1)
	go func() { end <- run(ctx, config{addr: addr, ttl: time.Minute}, out, io.Discard) }()
	select {
	case <-ready:
	case err := <-end:
		t.Fatalf("%v\n%s", err, out)
	}
	return "http://" + addr, out, interrupt, end
}

// logIn returns a token of the login.
func logIn(t *testing.T, base string) string {
	t.Helper()
	token, _, err := login(testclient.Context(t), base, es256)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connect opens a connection with a token.
func connect(t *testing.T, base, path, token string) *websocket.Conn {
	t.Helper()
	conn, resp := testclient.Dial(t, base+path, testclient.Bearer(token))
	if conn == nil {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if _, err := exchange(testclient.Context(t), conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestCtrlCEndsTheServerAndItsConnections(t *testing.T) {
	t.Parallel() // it takes 3 seconds
	base, _, interrupt, ended := start(t)
	conn := connect(t, base, "/ws", logIn(t, base))
	interrupt()
	if _, _, err := conn.Read(testclient.Context(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the connection ended with %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestARequestThatHangsDoesNotKeepConnectionsFromTheirEnd(t *testing.T) {
	t.Parallel() // it takes 8 seconds
	base, _, interrupt, ended := start(t)
	hanging, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	const login = "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1\r\n\r\n"
	if _, err := io.WriteString(hanging, login); err != nil {
		t.Fatal(err)
	}
	hanging.SetReadDeadline(time.Now().Add(10 * time.Second))
	if status, err := bufio.NewReader(hanging).ReadString('\n'); err != nil || !strings.Contains(status, "100 Continue") {
		t.Fatalf("%q, %v: the handler does not wait for the body", status, err)
	}
	conn := connect(t, base, "/ws", logIn(t, base))
	interrupt()
	begin := time.Now()
	if _, _, err := conn.Read(testclient.Context(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the connection ended with %v", err)
	}
	if waited := time.Since(begin); waited > 4500*time.Millisecond { // the request is waited for 5
		t.Errorf("the connection ended after %v", waited)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the request should have been waited for, but: %v", err)
	}
}

func TestAConnectionIsRenewedByALongerTokenOfItsLogin(t *testing.T) {
	base, app := serve(t)
	mint := func(session, subject string, ttl time.Duration) string {
		token, err := app.idp.mintFor(session, es256, subject, time.Now(), ttl)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	conn := connect(t, base, "/ws", mint("first", "alice", time.Minute))
	for _, row := range []struct {
		name, token, want string
	}{
		{"shorter", mint("first", "alice", time.Second), "refused"},
		{"somebody else's", mint("first", "mallory", time.Hour), "refused"},
		{"of another login", mint("second", "alice", time.Hour), "refused"},
		{"longer", mint("first", "alice", time.Hour), "renewed"},
	} {
		if err := wsjson.Write(testclient.Context(t), conn, message{Type: "token", Token: row.token}); err != nil {
			t.Fatal(err)
		}
		var answer message
		if err := wsjson.Read(testclient.Context(t), conn, &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Type != row.want || (answer.Claims["sub"] == "alice") != (row.want == "renewed") {
			t.Errorf("%s: got %+v, want %s", row.name, answer, row.want)
		}
	}
}

// What the quickstart tells people to paste is pasted here.
func TestTheCommandsToTryNextWork(t *testing.T) {
	t.Parallel() // it takes 4 seconds
	for _, tool := range []string{"sh", "sed", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("WSAUTH_CURL") == "required" {
				t.Fatal(err)
			}
			t.Skipf("%v; with WSAUTH_CURL=required this is a failure", err)
		}
	}
	_, out, interrupt, ended := start(t)
	var script strings.Builder
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "    ") && !strings.Contains(line, "SUBJECT") {
			script.WriteString(line)
		}
	}
	patient := strings.ReplaceAll(script.String(), "-m 1 ", "-m 4 ") // curl leaves a WebSocket by a timeout
	// No deadline: how long a shell and its programs take to start says nothing about the commands.
	answers, _ := exec.CommandContext(t.Context(), "sh", "-c", patient).Output()
	var got []string
	for _, status := range regexp.MustCompile(`(?m)^HTTP/1.1 (\d+)`).FindAllStringSubmatch(string(answers), -1) {
		got = append(got, status[1])
	}
	if want := "200 401 101 403"; strings.Join(got, " ") != want {
		t.Errorf("statuses %s, want %s, of\n%s\n%s", got, want, &script, answers)
	}
	if !strings.Contains(string(answers), `"sub":"alice"`) {
		t.Errorf("no claims in\n%s", answers)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

const repository = "https://github.com/wsauth/wsauth/blob/main/"

func TestThePageIsServedAndLoadsNothingFromElsewhere(t *testing.T) {
	base, _ := serve(t)
	resp, err := http.Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/html; charset=utf-8" {
		t.Errorf("status %d, Content-Type %q", resp.StatusCode, ct)
	}
	if !bytes.Contains(text, []byte("<title>wsauth quickstart</title>")) {
		t.Error("this is another page")
	}
	for _, link := range regexp.MustCompile(`<a href="`+repository+`([^"]+)"`).FindAllSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join("..", "..", string(link[1]))); err != nil {
			t.Errorf("a link leads nowhere: %v", err)
		}
	}
	rest := bytes.ReplaceAll(text, []byte(`<a href="`+repository), nil) // what a visitor may click on is not loaded
	if found := regexp.MustCompile(`(src|href|url)\s*[=(]\s*["']?(https?:)?//`).Find(rest); found != nil {
		t.Errorf("the page loads something: %s", found)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") {
		t.Errorf("Content-Security-Policy = %q", csp)
	}
	script, err := http.Get(base + "/wsauth.js")
	if err != nil {
		t.Fatal(err)
	}
	script.Body.Close()
	if ct := script.Header.Get("Content-Type"); script.StatusCode != 200 || ct != "text/javascript; charset=utf-8" {
		t.Errorf("its script: status %d, Content-Type %q", script.StatusCode, ct)
	}
}

func TestTheLogin(t *testing.T) {
	base, _ := serve(t)
	for _, row := range []struct {
		name   string
		form   string
		header http.Header
		status int
	}{
		{"ES256 if nothing is said", "name=alice", nil, 200},
		{"ES256", "name=alice&key=ES256", nil, 200},
		{"HS256", "name=alice&key=HS256", nil, 200},
		{"own origin", "name=alice", http.Header{"Origin": {base}}, 200},
		{"for so many seconds", "name=alice&ttl=60", nil, 200},
		{"for no second", "name=alice&ttl=0", nil, 400},
		{"for more than an hour", "name=alice&ttl=3601", nil, 400},
		{"for what is not a number", "name=alice&ttl=1m", nil, 400},
		{"no name", "name=+", nil, 400},
		{"a name too long", "name=" + strings.Repeat("a", 101), nil, 400},
		{"a name that is not UTF-8", "name=%ff", nil, 400},
		{"an algorithm that it does not have", "name=alice&key=none", nil, 400},
		{"from another site", "name=alice", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"from another origin", "name=alice", http.Header{"Origin": {"https://evil.example"}}, 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/login", strings.NewReader(row.form))
			if err != nil {
				t.Fatal(err)
			}
			if row.header != nil {
				req.Header = row.header
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			}
			cookie := resp.Header.Get("Set-Cookie")
			if row.status != 200 {
				if cookie != "" {
					t.Error("a cookie was set")
				}
				return
			}
			for _, attribute := range []string{"access_token=", "; Path=/ws", "; Max-Age=60", "; HttpOnly", "; SameSite=Lax"} {
				if !strings.Contains(cookie, attribute) {
					t.Errorf("the cookie is without %q", attribute)
				}
			}
		})
	}
}

func TestALogoutEndsWhatItSaysAndNothingElse(t *testing.T) {
	for _, row := range []struct {
		name, path string
		ended      []bool // the connections of: this login, another one of alice, one at the other issuer, one of bob
	}{
		{"this login", "/ws/logout", []bool{true, false, false, false}},
		{"everywhere", "/ws/logout?everywhere", []bool{true, true, true, false}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			base, app := serve(t)
			mint := func(alg, subject string) string {
				token, err := app.idp.mint(alg, subject, time.Now(), time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			own := mint(es256, "alice")
			var conns []*websocket.Conn
			for _, token := range []string{own, mint(es256, "alice"), mint(hs256, "alice"), mint(es256, "bob")} {
				conns = append(conns, connect(t, base, "/ws", token))
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", base+row.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+own)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); string(text) != "{\"revoked\":true}\n" {
				t.Errorf("got status %d, %q, want revoked", resp.StatusCode, text)
			}
			for i, ended := range row.ended {
				if got := isRevoked(t, conns[i]); got != ended {
					t.Errorf("connection %d: got revoked: %t, want %t", i, got, ended)
				}
			}
			connect(t, base, "/ws", logIn(t, base)) // which is possible at once
		})
	}
}

// isRevoked asks over the connection, and takes what others have said there for what it is.
func isRevoked(t *testing.T, conn *websocket.Conn) bool {
	t.Helper()
	ctx := testclient.Context(t)
	wsjson.Write(ctx, conn, message{Text: "still here"}) // its error is that of Read, too
	for {
		var in message
		var closed websocket.CloseError
		switch err := wsjson.Read(ctx, conn, &in); {
		case errors.As(err, &closed) && closed.Code == 3000 && closed.Reason == "token revoked":
			return true
		case err != nil:
			t.Fatal(err)
		case in.Text == "still here":
			return false
		}
	}
}

func TestTheLogoutTakesTheCookieBackWithoutATokenToo(t *testing.T) {
	base, _ := serve(t)
	resp, err := http.Post(base+"/ws/logout", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); string(text) != "{\"revoked\":false}\n" {
		t.Errorf("got status %d, %q, want nothing revoked", resp.StatusCode, text)
	}
	cookies := resp.Cookies()
	if len(cookies) != 1 || cookies[0].Name != "access_token" || cookies[0].Path != "/ws" || cookies[0].MaxAge >= 0 {
		t.Errorf("Set-Cookie: %q", resp.Header["Set-Cookie"])
	}
}
