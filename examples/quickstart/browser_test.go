package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// A visit is the page in a browser, of a server whose log must show no token in the end.
type visit struct {
	*browsertest.Page
	base string
}

func visitPage(t *testing.T, ttl time.Duration) *visit {
	t.Helper()
	base := serveOn(t, "127.0.0.1:0", ttl).URL
	return &visit{browsertest.Open(t, base), base}
}

func serveOn(t *testing.T, addr string, ttl time.Duration) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Listener.Close()
	srv.Listener = listener
	var logs buffer
	app, err := newServer("http://"+listener.Addr().String(), ttl, slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = app
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(func() {
		if strings.Contains(logs.String(), "eyJ") {
			t.Errorf("a token was logged:\n%s", &logs)
		}
	})
	return srv
}

// happened waits until the page tells of it.
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
	v.happened("← alice: " + text)
}

// log is what the page has told of, the newest first.
func (v *visit) log() []string {
	var titles []string
	v.Eval(`[...document.querySelectorAll("#log b")].map((b) => b.textContent)`, &titles)
	return titles
}

func TestThePageConnectsInEachWay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ way, told string }{
		{"query", "Connected by query"},
		{"cookie", "Connected by cookie"},
		{"subprotocol", "Connected by subprotocol"},
		{"firstMessage", "Connected by first message"},
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
			want := "Closed with 1000 (normal closure)\n← alice: hello\n→ hello\n" + row.told + "\nLogged in as alice"
			if got := strings.Join(v.log(), "\n"); got != want {
				t.Errorf("the page tells:\n%s\n\nwant:\n%s", got, want)
			}
		})
	}
}

func TestThePageSeesTheEndOfItsToken(t *testing.T) {
	t.Parallel()
	v := visitPage(t, 4*time.Second)
	v.logIn()
	v.connect("subprotocol")
	v.happened("Closed with 3000 (unauthorized)")
	v.happened("Reason: token expired. Log in again to go on.")
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

func TestThePageIsToldWhyItIsRefused(t *testing.T) {
	t.Parallel()
	v := visitPage(t, time.Minute)
	v.logIn() // the cookie must not help
	v.click("#forged")
	v.happened(`The same over HTTP: 401`)
	v.click("#foreign")
	v.happened("Reason: foreign_origin.")
	v.click("#without")
	v.happened("Reason: token_required.")
	v.WaitFor(`document.querySelectorAll("#log li").length === 7`)
	want := `The same over HTTP: 401
Refused without a token: 3000 (unauthorized)
Logged out
Refused from a foreign origin: 3003 (forbidden)
The same over HTTP: 401
Refused with a forged token: 3000 (unauthorized)
Logged in as alice`
	if got := strings.Join(v.log(), "\n"); got != want {
		t.Errorf("the page tells:\n%s\n\nwant:\n%s", got, want)
	}
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
	v := &visit{browsertest.Open(t, srv.URL), srv.URL}
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
	v := &visit{browsertest.Open(t, srv.URL), srv.URL}
	v.logIn()
	v.click("#keep")
	v.connect("subprotocol")
	srv.Listener.Close()
	if err := srv.Config.Handler.(*server).auth.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	v.happened("Closed with 1001 (going away)")
	v.happened("Refused by subprotocol: 1006 (no close frame)")
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
	stops := []string{"name", "key", "", "logout", "way", "keep", "open", "without", "forged", "foreign"}
	for _, want := range stops {
		v.Do(chromedp.KeyEvent("\t"))
		var at, outline string
		v.Eval("document.activeElement.id || document.activeElement.name", &at)
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
	v.happened("← alice: hello")
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
	v.say("long")
	v.click("#forged")
	v.happened("The same over HTTP")
	var width int
	v.Eval("document.documentElement.scrollWidth", &width)
	if width > 360 {
		t.Errorf("the page is %d pixels wide", width)
	}
}
