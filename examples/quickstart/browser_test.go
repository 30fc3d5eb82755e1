package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// A visit is the page in a browser; in the end, the log of its server must show no token.
type visit struct {
	*browsertest.Page
	t    *testing.T
	base string
}

func visitPage(t *testing.T, ttl time.Duration) *visit {
	t.Helper()
	base := serveOn(t, "127.0.0.1:0", ttl).URL
	return &visit{browsertest.Open(t, base), t, base}
}

func serveOn(t *testing.T, addr string, ttl time.Duration) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Listener.Close()
	var logs buffer
	app, err := newServer("http://"+listener.Addr().String(), ttl, slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = app
	srv.Listener = app.wire.listen(listener)
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(func() {
		if strings.Contains(logs.String(), "eyJ") {
			t.Errorf("a token was logged:\n%s", &logs)
		}
	})
	return srv
}

// happened waits until the page reports it.
func (v *visit) happened(text string) {
	v.WaitFor(fmt.Sprintf(`document.getElementById("log").innerText.includes(%q)`, text))
}

func (v *visit) click(selector string) { v.Do(chromedp.Click(chromedp.CSS(selector))) }

func (v *visit) logIn() {
	v.Eval("window.before = document.querySelectorAll('#log li').length", nil)
	v.click("#login .main")
	v.WaitFor(`document.querySelectorAll("#log li").length > before`)
	v.happened("Logged in as alice")
}

func (v *visit) connect(way string) {
	v.click("[value=" + way + "]")
	v.click("#open")
	v.WaitFor(`document.getElementById("state").textContent.startsWith("open until")`)
}

func (v *visit) say(text string) {
	v.Do(chromedp.SendKeys(chromedp.CSS("#text"), text+"\r"))
	v.hears("alice: " + text)
}

// hears waits until the page has a message of the chat.
func (v *visit) hears(line string) {
	v.WaitFor(fmt.Sprintf(`[...document.querySelectorAll("#chat li")].some((li) => li.textContent === %q)`, line))
}

// fails presses a button for something that must fail, and waits for the result next to the button.
func (v *visit) fails(id, want string) {
	v.t.Helper()
	v.click("#" + id)
	v.WaitFor(fmt.Sprintf(`!["", "…"].includes(document.getElementById("%s-result").innerText)`, id))
	var got string
	v.Eval(fmt.Sprintf(`document.getElementById("%s-result").innerText`, id), &got)
	if got != want {
		v.t.Errorf("%s: got %q, want %q", id, got, want)
	}
}

// log returns what the page has reported, the newest first.
func (v *visit) log() []string {
	var titles []string
	v.Eval(`[...document.querySelectorAll("#log b")].map((b) => b.textContent)`, &titles)
	return titles
}

func TestThePageConnectsInEachWay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ way, told, request string }{
		{"ticket", "Connected, with the token as a ticket", "&ticket=‹43 characters›"},
		{"query", "Connected, with the token in the query", "&access_token=‹token, "},
		{"cookie", "Connected, with the token in the cookie", "Cookie: access_token=‹token, "},
		{"subprotocol", "Connected, with the token as a subprotocol", "Sec-WebSocket-Protocol: wsauth, bearer.‹token, "},
		{"firstMessage", "Connected, with the token in the first message", "GET /first?trace="},
	} {
		t.Run(row.way, func(t *testing.T) {
			t.Parallel()
			v := visitPage(t, time.Minute)
			v.logIn()
			v.connect(row.way)
			v.say("hello")
			var claims string
			v.Eval(`document.getElementById("claims").innerText`, &claims)
			if !strings.Contains(claims, "alice") || !strings.Contains(claims, "exp") {
				t.Errorf("claims %q", claims)
			}
			v.click("#close")
			v.happened("Closed with 1000")
			want := "Closed with 1000 (normal closure)\n" + row.told + "\nLogged in as alice"
			if got := strings.Join(v.log(), "\n"); got != want {
				t.Errorf("the page tells:\n%s\n\nwant:\n%s", got, want)
			}
			v.WaitFor(`document.getElementById("frames").innerText.includes("from the browser: 88 82 ")`)
			var request, answer, frames string
			v.Eval(`document.getElementById("request").textContent`, &request)
			v.Eval(`document.getElementById("answer").textContent`, &answer)
			v.Eval(`document.getElementById("frames").textContent`, &frames)
			if !strings.Contains(request, row.request) || !strings.HasPrefix(answer, "HTTP/1.1 101 Switching Protocols") ||
				!strings.Contains(frames, "→ 1000 (normal closure)") {
				t.Errorf("over the wire:\n%s\n%s\n%s", request, answer, frames)
			}
		})
	}
}

// The lines of each way to connect are run: those for the client here, against this server, and those in Go by go vet.
func TestTheLinesToCopyWork(t *testing.T) {
	t.Parallel()
	v := visitPage(t, 10*time.Minute)
	v.logIn() // for the cookie
	var program strings.Builder
	program.WriteString("package main\nimport (\"context\"; \"net/http\"; \"time\"; " +
		"\"github.com/coder/websocket\"; \"github.com/wsauth/wsauth\")\nfunc main() {}\n")
	for _, way := range []string{"header", "ticket", "subprotocol", "firstMessage", "cookie", "query"} {
		v.click("[value=" + way + "]")
		var goLines, js string
		v.Eval(`document.getElementById("go").textContent`, &goLines)
		v.Eval(`document.getElementById("js").textContent`, &js)
		options, handlers, found := strings.Cut(goLines, "\n\n")
		if !found {
			options, handlers = "", goLines
		}
		fmt.Fprintf(&program, "func %s(mux *http.ServeMux, auth *wsauth.Authenticator, "+
			"chat func(context.Context, *websocket.Conn)) {\n_ = wsauth.Options{\n%s\n}\n%s\n_ = time.Second\n}\n", way, options, handlers)
		if way == "header" {
			continue // not in a browser
		}
		v.Eval(fmt.Sprintf(`(async () => {
			const form = new URLSearchParams({ kind: "good" });
			const token = (await (await fetch("/sample", { method: "POST", body: form })).json()).access_token;
			const WebSocket = class extends window.WebSocket {
				constructor(url, protocols) {
					super(url.replace("wss://example.com", location.origin.replace("http", "ws")), protocols);
					const outcome = new Promise((resolve) => {
						this.addEventListener("message", ({ data }) => resolve(JSON.parse(data).claims.sub));
						this.addEventListener("close", ({ code, reason }) => resolve(code + " " + reason));
					});
					outcome.then((text) => (window.outcome = text));
				}
			};
			window.outcome = "";
			%s
		})()`, js), nil)
		v.WaitFor(`outcome !== ""`)
		want := "guest"
		if way == "cookie" {
			want = "alice"
		}
		var got string
		v.Eval("outcome", &got)
		if got != want {
			t.Errorf("%s: got %q, want %q", way, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "lines.go")
	if err := os.WriteFile(file, []byte(program.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\nof\n%s", err, out, &program)
	}
}

func TestThePageSeesTheEndOfItsToken(t *testing.T) {
	t.Parallel()
	v := visitPage(t, 4*time.Second)
	v.logIn()
	v.connect("subprotocol")
	v.happened("Closed with 3000 (unauthorized)")
	v.happened("Reason: token expired. Log in again to go on.")
	v.WaitFor(`document.getElementById("frames").innerText.includes("→ 3000 (unauthorized) token expired")`)
	v.logIn()
	v.connect("subprotocol")
}

func TestAPageThatStaysConnectedRenewsItsToken(t *testing.T) {
	t.Parallel()
	v := visitPage(t, 6*time.Second) // it is renewed a third of that ahead
	v.logIn()
	v.click("#keep")
	v.connect("subprotocol")
	v.Eval("window.end = Date.now() + 7000", nil) // the first token has ended by then, whatever it was rounded up to
	v.WaitFor("Date.now() > end")
	v.say("still here")
	if got := strings.Join(v.log(), "\n"); !strings.Contains(got, "Renewed") || strings.Contains(got, "Closed") {
		t.Errorf("the page tells:\n%s", got)
	}
	v.click("#keep") // and does not, from now on
	v.happened("Closed with 3000")
}

func TestATokenLivesAsLongAsItsLoginHasChosen(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		choice string
		want   int
	}{
		{"10", 10},
		{"", 120}, // that of the flag
	} {
		t.Run("choice "+row.choice, func(t *testing.T) {
			t.Parallel()
			v := visitPage(t, 2*time.Minute)
			v.click(fmt.Sprintf("[name=ttl][value='%s']", row.choice))
			v.logIn()
			v.connect("subprotocol")
			var got int
			v.Eval(`{ const read = (name) => Number(document.getElementById("claims").innerText.match(name + "\\n(\\d+)")[1]);
				read("exp") - read("iat") }`, &got)
			if got != row.want && got != row.want+1 { // the end is rounded up to a second
				t.Errorf("got %d s, want %d", got, row.want)
			}
		})
	}
}

func TestWhatMustFailSaysSoBesideTheButtonAndLeavesTheLoginAlone(t *testing.T) {
	t.Parallel()
	const (
		bearer  = "Bearer realm=\"wsauth\""
		invalid = "3000 (unauthorized) invalid_token\nOver HTTP: 401, " + bearer +
			", error=\"invalid_token\", error_description="
		scope = "Over HTTP: 403, " + bearer + ", error=\"insufficient_scope\", " +
			"error_description=\"the token does not allow this\", scope=\"audit\""
	)
	v := visitPage(t, 10*time.Minute)
	v.logIn() // the cookie must not help
	v.connect("cookie")
	v.fails("without", "3000 (unauthorized) token_required\nOver HTTP: 401, "+bearer)
	v.fails("forged", invalid+`"token not valid"`)
	v.fails("expired", invalid+`"token expired"`)
	v.fails("scope", "3003 (forbidden) insufficient_scope\n"+scope)
	v.fails("foreign", "3003 (forbidden) foreign_origin\nThe token is good. The origin is not.")
	v.fails("renewal", "Not renewed\nThe connection goes on, as that of guest.")
	v.say("still here")
	if got := strings.Join(v.log(), "\n"); got != "Connected, with the token in the cookie\nLogged in as alice" {
		t.Errorf("the page tells:\n%s", got)
	}
}

func TestTwoTabsChatAndALogoutEndsItsOwnOrBoth(t *testing.T) {
	t.Parallel()
	srv := serveOn(t, "127.0.0.1:0", 10*time.Minute)
	first := &visit{browsertest.Open(t, srv.URL), t, srv.URL}
	second := &visit{browsertest.Open(t, srv.URL), t, srv.URL}
	for _, v := range []*visit{first, second} {
		v.logIn()
		v.connect("subprotocol")
	}
	first.say("hello")
	second.hears("alice: hello")

	first.click("#logout")
	first.happened("Logged out")
	first.happened("Reason: token revoked. A logout has ended the connection.")
	second.say("still here")

	first.logIn()
	first.connect("subprotocol")
	second.click("#everywhere")
	for _, v := range []*visit{first, second} {
		v.WaitFor(`document.getElementById("state").textContent === "closed with 3000"`)
		v.WaitFor(`document.getElementById("left").textContent === "–"`)
	}
	second.happened("Logged out everywhere")
	first.logIn()
	first.connect("subprotocol")
}

// After a reload the page has no token, but the browser has the cookie.
func TestALogoutEndsAConnectionThatACookieHasOpened(t *testing.T) {
	t.Parallel()
	v := visitPage(t, 10*time.Minute)
	v.logIn()
	v.Do(chromedp.Navigate(v.base + "/?again"))
	v.connect("cookie")
	v.click("#logout")
	v.happened("Reason: token revoked. A logout has ended the connection.")
	v.click("#open")
	v.happened("Refused with 3000 (unauthorized)")
	v.click("#logout") // once more
	v.happened("There was no token that is still good.")
}

// Another port is another origin, but the same site: the browser sends the visitor's cookie, SameSite or not.
func TestAForeignPageCannotUseTheVisitorsCookie(t *testing.T) {
	t.Parallel()
	var cookies atomic.Int32
	srv := serveOn(t, "127.0.0.1:0", time.Minute)
	app := srv.Config.Handler
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("access_token"); err == nil && r.Header.Get("Origin") != srv.URL {
			cookies.Add(1)
		}
		app.ServeHTTP(w, r)
	})
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>foreign</title><link rel="icon" href="data:,">`)
	}))
	t.Cleanup(foreign.Close)
	v := &visit{browsertest.Open(t, srv.URL), t, srv.URL}
	v.logIn()
	v.Do(chromedp.Navigate(foreign.URL))
	for _, row := range []struct{ path, want string }{
		{"/ws", "1006 "},
		{"/ws/readable", "3003 foreign_origin"},
	} {
		var got string
		v.Eval(fmt.Sprintf(`new Promise((resolve) => {
			new WebSocket(%q).onclose = ({ code, reason }) => resolve(code + " " + reason);
		})`, srv.URL+row.path), &got)
		if got != row.want {
			t.Errorf("%s: closed with %s, want %s", row.path, got, row.want)
		}
	}
	if n := cookies.Load(); n != 2 {
		t.Errorf("the cookie came with %d of 2 handshakes: this test shows nothing", n)
	}
}

// The new server has new keys: the old token is worth nothing there, and a page that is connected again has a new one.
func TestAPageThatStaysConnectedComesBackToAServerThatWasAway(t *testing.T) {
	t.Parallel()
	srv := serveOn(t, "127.0.0.1:0", time.Minute)
	v := &visit{browsertest.Open(t, srv.URL), t, srv.URL}
	v.logIn()
	v.click("#keep")
	v.connect("subprotocol")
	srv.Listener.Close()
	if err := srv.Config.Handler.(*server).auth.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	v.happened("Closed with 1001 (going away)")
	v.happened("Refused with 1006 (no close frame)")
	serveOn(t, strings.TrimPrefix(srv.URL, "http://"), time.Minute)
	v.Eval(`window.dispatchEvent(new Event("online"))`, nil)
	v.WaitFor(`document.getElementById("state").textContent.startsWith("open until")`)
	v.say("back again")
}

func TestThePageCanBeUsedWithTheKeyboardAlone(t *testing.T) {
	t.Parallel()
	v := visitPage(t, time.Minute)
	v.WaitFor(`document.readyState === "complete"`)
	// Of radio buttons, Tab stops at the one that is chosen.
	stops := []string{
		"name", "ttl", "key", "", "logout", "everywhere", "way", "keep", "open", "go", "js", "", "", "", "",
		"without", "forged", "expired", "scope", "foreign", "renewal",
	}
	for _, want := range stops {
		v.Do(chromedp.KeyEvent("\t"))
		var at, outline string
		v.Eval("document.activeElement.id || document.activeElement.name || document.activeElement.dataset.copy || ''", &at)
		v.Eval("getComputedStyle(document.activeElement).outlineStyle", &outline)
		if at != want || outline != "solid" {
			t.Errorf("at %q, outlined %s; want %q", at, outline, want)
		}
	}
	v.Eval(`document.getElementById("name").focus()`, nil)
	v.Do(chromedp.KeyEvent("\r"))
	v.happened("Logged in as alice")
	v.Eval(`document.getElementById("open").focus()`, nil)
	v.Do(chromedp.KeyEvent("\r"))
	v.WaitFor(`document.activeElement.id === "text"`)
	v.Do(chromedp.KeyEvent("hello\r"))
	v.hears("alice: hello")
	v.Eval(`document.getElementById("close").focus()`, nil)
	v.Do(chromedp.KeyEvent("\r"))
	v.WaitFor(`document.activeElement.id === "open"`)
}

func TestThePageFitsAPhone(t *testing.T) {
	t.Parallel()
	v := visitPage(t, time.Minute)
	v.Do(chromedp.EmulateViewport(360, 640))
	v.logIn()
	v.connect("query")
	v.Eval(`document.getElementById("text").value = "long".repeat(99)`, nil) // a key at a time takes a while
	v.Do(chromedp.SendKeys(chromedp.CSS("#text"), "\r"))
	v.hears("alice: " + strings.Repeat("long", 99))
	v.click("#forged")
	v.WaitFor(`document.getElementById("forged-result").innerText.includes("Over HTTP")`)
	var width int
	v.Eval("document.documentElement.scrollWidth", &width)
	if width > 360 {
		t.Errorf("the page is %d pixels wide", width)
	}
}

func TestThePageHasNoFaultThatAxeFinds(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile(browsertest.Module(t, "axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		dark bool
	}{{"light", false}, {"dark", true}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			v := visitPage(t, 10*time.Minute)
			v.Eval(string(axe)+"; 0", nil)
			if row.dark { // as if the visitor preferred that
				v.Eval(`{ const style = document.querySelector("style");
					style.textContent = style.textContent.replace("(prefers-color-scheme: dark)", "all") }`, nil)
			}
			v.hasNoViolations("at first")
			v.logIn()
			v.connect("subprotocol")
			v.say("hello")
			v.click("#forged")
			v.WaitFor(`document.getElementById("forged-result").innerText.includes("Over HTTP")`)
			v.click("#close")
			v.happened("Closed with 1000")
			v.hasNoViolations("in the end")
		})
	}
}

func (v *visit) hasNoViolations(when string) {
	v.t.Helper()
	var found []string
	v.Eval(`axe.run().then(({ violations }) =>
		violations.map(({ id, nodes }) => id + ": " + nodes.map((node) => node.html).join(" | ")))`, &found)
	if len(found) > 0 {
		v.t.Errorf("%s:\n%s", when, strings.Join(found, "\n"))
	}
}
