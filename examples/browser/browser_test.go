package browser

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// page collects what happens to the one socket that a test starts.
const page = `<!doctype html><title>test</title><link rel="icon" href="data:,"><script type="module">
import { AuthSocket, nextAfter } from "/wsauth.js";
Object.assign(window, { nextAfter, happened: [], clock: Date.now });
window.start = (options) => {
	window.socket = new AuthSocket({ url: "/ws", token: () => fetch("/token").then((answer) => answer.text()), ...options });
	for (const type of ["open", "message", "renewed", "closed", "gaveup"]) {
		socket.on(type, ({ detail, data }) => happened.push({ type, data, ...detail, error: String(detail?.error) }));
	}
};
window.seen = (type) => happened.filter((event) => event.type === type).length;
</script>`

// An event is one that happened in the page.
type event struct {
	Type   string
	Code   int
	Reason string
	Next   string
	Delay  float64
	Error  string
	Data   string
}

// A site serves the page, tokens and a WebSocket.
type site struct {
	base    string
	dialled atomic.Int32
	fetched atomic.Int32
	asked   atomic.Int32 // for tickets
}

func serve(t *testing.T, token func(n int) string, ws http.Handler) *site {
	t.Helper()
	return serveWithTickets(t, token, http.NotFoundHandler(), ws)
}

func serveWithTickets(t *testing.T, token func(n int) string, tickets, ws http.Handler) *site {
	t.Helper()
	s := &site{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /wsauth.js", ServeScript)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, page)
	})
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, token(int(s.fetched.Add(1))))
	})
	mux.HandleFunc("GET /cookie", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "access_token", Value: token(int(s.fetched.Add(1))), HttpOnly: true})
	})
	mux.HandleFunc("POST /tickets", func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		tickets.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		s.dialled.Add(1)
		ws.ServeHTTP(w, r)
	})
	s.base = testclient.Serve(t, mux)
	return s
}

// open opens the page and starts a socket with the options, which are JavaScript.
func (s *site) open(t *testing.T, options string) *socket {
	t.Helper()
	p := &socket{Page: browsertest.Open(t, s.base), t: t}
	p.WaitFor("window.start")
	p.Eval("start({"+options+"})", nil)
	return p
}

// A socket is a page with an AuthSocket.
type socket struct {
	*browsertest.Page
	t *testing.T
}

// await waits until so many events of a type have happened, and returns all events without those that only matter to
// a test that looks at them.
func (s *socket) await(n int, kind string) []event {
	s.t.Helper()
	s.WaitFor(fmt.Sprintf("seen(%q) >= %d", kind, n))
	var all []event
	s.Eval("happened", &all)
	return all
}

// wake has the page come into sight, as of a machine that has slept until its clock is so far ahead of the server's.
func (s *socket) wake(ahead time.Duration) {
	s.t.Helper()
	s.Eval(fmt.Sprintf(`Date.now = () => clock() + %d`, ahead.Milliseconds()), nil)
	s.Eval(`document.dispatchEvent(new Event("visibilitychange"))`, nil)
}

// summary writes events as "open", "closed 3000 token expired: token".
func summary(events []event) string {
	var lines []string
	for _, e := range events {
		line := e.Type
		switch e.Type {
		case "closed":
			line = fmt.Sprintf("closed %d %s: %s", e.Code, e.Reason, e.Next)
		case "gaveup":
			line = fmt.Sprintf("gaveup %d %s", e.Code, e.Reason)
		case "message":
			line += " " + strings.TrimSpace(e.Data)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func expect(t *testing.T, got []event, want ...string) {
	t.Helper()
	if got := summary(got); got != strings.Join(want, "\n") {
		t.Errorf("happened:\n%s\n\nshould have:\n%s", got, strings.Join(want, "\n"))
	}
}

// upgrade is a server that is as it should be. It greets, renews, and echoes.
func upgrade(t *testing.T, opts wsauth.UpgradeOptions) http.Handler {
	t.Helper()
	return newAuth(t).Upgrade(chat, &opts)
}

func newAuth(t *testing.T) *wsauth.Authenticator {
	t.Helper()
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.HMAC(testclient.Secret),
		}},
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromTicket("ticket", nil), wsauth.FromSubprotocol("bearer."),
			wsauth.FromCookie("access_token"), wsauth.FromQuery("access_token"),
		},
		Leeway: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := auth.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return auth
}

func chat(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	if err := wsjson.Write(ctx, conn, "hello "+claims.Subject); err != nil {
		return
	}
	for {
		var in struct {
			Type  string `json:"type"`
			Token string `json:"access_token"`
			Text  string `json:"text"`
		}
		if err := wsjson.Read(ctx, conn, &in); err != nil {
			return
		}
		var out any = in.Text
		if in.Type == "token" {
			answer := map[string]string{"type": "renewed"}
			if _, err := wsauth.Renew(ctx, in.Token); err != nil {
				answer["type"] = "refused"
			}
			out = answer
		}
		if err := wsjson.Write(ctx, conn, out); err != nil {
			return
		}
	}
}

// inTurn is a server whose nth connection is served by the nth function, and further ones by the last.
func inTurn(steps ...http.HandlerFunc) http.Handler {
	var n atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		steps[min(int(n.Add(1)), len(steps))-1](w, r)
	})
}

// closes completes the handshake and closes with the code.
func closes(code websocket.StatusCode, reason string) http.HandlerFunc {
	return accepts(func(conn *websocket.Conn) { conn.Close(code, reason) })
}

// drops completes the handshake and closes without a close frame.
func drops(w http.ResponseWriter, r *http.Request) {
	accepts(func(conn *websocket.Conn) { conn.CloseNow() })(w, r)
}

// stays completes the handshake, says hello, and echoes until the peer goes.
func stays(w http.ResponseWriter, r *http.Request) {
	accepts(func(conn *websocket.Conn) {
		wsjson.Write(r.Context(), conn, "hello")
		conn.Read(r.Context())
	})(w, r)
}

func accepts(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"wsauth"}})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		serve(conn)
	}
}

// lives is a token for so long. It ends at a millisecond, where most issuers' end at a second.
func lives(d time.Duration) string {
	return testclient.Token(testclient.Secret, map[string]any{"exp": float64(time.Now().Add(d).UnixMilli()) / 1000})
}

func good(int) string { return lives(time.Minute) }

func forged(int) string {
	return testclient.Token([]byte("another secret that has 32 bytes"), nil)
}

func TestEachWayBringsTheToken(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, options, protocol string }{
		{"query", `way: "query"`, ""},
		{"query, beside the URL's own", `way: "query", url: "/ws?room=lobby#top"`, ""},
		{"cookie", `way: "cookie", token: () => fetch("/cookie").then(() => {})`, ""},
		{"subprotocol", `way: "subprotocol"`, "wsauth"},
		{"subprotocol, beside the application's", `way: "subprotocol", protocols: ["chat.v1"]`, "chat.v1"},
		{"first message", `way: "firstMessage"`, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, good, upgrade(t, wsauth.UpgradeOptions{
				CloseOnRefusal: true, FirstMessage: 5 * time.Second,
				Accept: &websocket.AcceptOptions{Subprotocols: []string{"chat.v1"}},
			})).open(t, row.options)
			p.await(1, "open")
			p.Eval(`socket.send(JSON.stringify({ text: "how are you?" }))`, nil)
			expect(t, p.await(2, "message"), "open", `message "hello alice"`, `message "how are you?"`)
			var protocol string
			p.Eval("happened[0].protocol", &protocol)
			if protocol != row.protocol {
				t.Errorf("subprotocol %q, want %q", protocol, row.protocol)
			}
		})
	}
}

func TestWhatFollowsACode(t *testing.T) {
	t.Parallel()
	p := serve(t, good, nil).open(t, `way: "cookie", token: () => { throw 0; }`)
	for _, row := range []struct {
		code   int
		reason string
		next   string
	}{
		{1000, "", "end"},
		{1001, "server shutting down", "wait"},
		{1005, "", "end"},
		{1006, "", "wait"},
		{1008, "too slow", "end"},
		{1009, "", "end"},
		{1011, "", "wait"},
		{1012, "", "wait"},
		{1013, "temporarily_unavailable", "wait"},
		{1013, "too_many_connections", "wait"},
		{1014, "", "wait"},
		{3000, "token_required", "token"},
		{3000, "invalid_token", "token"},
		{3000, "token expired", "token"},
		{3000, "invalid_request", "end"},
		{3003, "insufficient_scope", "end"},
		{3003, "foreign_origin", "end"},
		{3008, "token_required", "token"},
		{3000, "token revoked", "login"},
		{3000, "invalid_ticket", "wait"},
		{3008, "no answer to a ping", "wait"},
		{4001, "replaced", "end"},
		{4401, "", "end"},
	} {
		var next string
		p.Eval(fmt.Sprintf("nextAfter(%d, %q)", row.code, row.reason), &next)
		if next != row.next {
			t.Errorf("%d %s: %s, want %s", row.code, row.reason, next, row.next)
		}
	}
}

func TestARefusalIsAnsweredAsItsCodeSays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		options string
		ws      http.Handler
		want    []string
		fetched int32 // tokens
	}{
		{
			"forbidden", "", inTurn(closes(3003, "insufficient_scope")),
			[]string{"closed 3003 insufficient_scope: end", "gaveup 3003 insufficient_scope"}, 1,
		},
		{
			"the request is malformed", "", inTurn(closes(3000, "invalid_request")),
			[]string{"closed 3000 invalid_request: end", "gaveup 3000 invalid_request"}, 1,
		},
		{
			"a token is refused, and the next is not", "", inTurn(closes(3000, "invalid_token"), stays),
			[]string{"closed 3000 invalid_token: token", "open", `message "hello"`}, 2,
		},
		{
			"every token is refused", "", inTurn(closes(3000, "invalid_token")),
			[]string{
				"closed 3000 invalid_token: token", "closed 3000 invalid_token: token", "closed 3000 invalid_token: end",
				"gaveup 3000 invalid_token",
			}, 3,
		},
		{
			"every first message is late", "", inTurn(closes(3008, "token_required")),
			[]string{
				"closed 3008 token_required: token", "closed 3008 token_required: token", "closed 3008 token_required: end",
				"gaveup 3008 token_required",
			}, 3,
		},
		{
			"the server has no room for a while", "", inTurn(closes(1013, "too_many_connections"), stays),
			[]string{"closed 1013 too_many_connections: wait", "open", `message "hello"`}, 1,
		},
		{
			"the server goes, and the clock is an hour ahead",
			`minDelay: ((now) => (Date.now = () => now() + 3600_000, 1))(Date.now)`, inTurn(closes(1001, ""), stays),
			[]string{"closed 1001 : wait", "open", `message "hello"`}, 1,
		},
		{
			"the server goes, and the token ends",
			`minDelay: ((now) => (Date.now = () => now() + 3600_000 * seen("closed"), 1))(Date.now)`,
			inTurn(closes(1001, ""), closes(1001, ""), stays),
			[]string{"closed 1001 : wait", "closed 1001 : wait", "open", `message "hello"`}, 2,
		},
		{
			"the cookie is refused, and the page has no other", "token: undefined", inTurn(closes(3000, "invalid_token")),
			[]string{"closed 3000 invalid_token: end", "gaveup 3000 invalid_token"}, 0,
		},
		{
			"the login has been revoked", "", inTurn(closes(3000, "token revoked")),
			[]string{"closed 3000 token revoked: end", "gaveup 3000 token revoked"}, 1,
		},
		{
			"another connection of the user is in its place", "", inTurn(closes(4001, "replaced")),
			[]string{"closed 4001 replaced: end", "gaveup 4001 replaced"}, 1,
		},
		{
			"a code of the application", "", inTurn(closes(4000, "kicked")),
			[]string{"closed 4000 kicked: end", "gaveup 4000 kicked"}, 1,
		},
		{
			"a code of the application that the page knows",
			`decide: (code) => code === 4000 ? "wait" : undefined`,
			inTurn(closes(4000, "moved"), closes(3003, "foreign_origin")),
			[]string{"closed 4000 moved: wait", "closed 3003 foreign_origin: end", "gaveup 3003 foreign_origin"}, 1,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good, row.ws)
			p := s.open(t, `way: "cookie", minDelay: 1, settle: Infinity, `+row.options)
			last := strings.Fields(row.want[len(row.want)-1])[0]
			expect(t, p.await(1, last), row.want...)
			if n := s.fetched.Load(); n != row.fetched {
				t.Errorf("%d tokens were fetched, want %d", n, row.fetched)
			}
		})
	}
}

// Math.random as it is would let the waits be anything from 0 on.
func TestTheWaitsDoubleUpToTheirMaximum(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		step  http.HandlerFunc
		first float64
	}{
		{"1001", closes(1001, "server shutting down"), 10},
		{"1006 of an open connection", drops, 10},
		{"1006 of a handshake", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 10},
		{"tokens that end at once", closes(3000, "token expired"), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good, inTurn(row.step, row.step, row.step, row.step, row.step, stays))
			p := s.open(t, `way: "cookie", settle: Infinity, minDelay: (Math.random = () => 1, 10), maxDelay: 100`)
			events := p.await(1, "open")
			var delays []float64
			for _, e := range events {
				if e.Type == "closed" {
					delays = append(delays, e.Delay)
				}
			}
			if want := []float64{row.first, 20, 40, 80, 100}; !slices.Equal(delays, want) {
				t.Errorf("delays %v, want %v", delays, want)
			}
		})
	}
}

func TestTheWaitsBeginAgainAfterAConnectionThatLived(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	ends := accepts(func(conn *websocket.Conn) {
		<-end
		conn.Close(websocket.StatusGoingAway, "")
	})
	s := serve(t, good, inTurn(drops, drops, ends))
	p := s.open(t, `way: "cookie", settle: 2000, minDelay: (Math.random = () => 1, 10)`)
	p.await(1, "open")
	p.wake(6 * time.Second)
	close(end)
	events := p.await(3, "closed")
	if last := events[len(events)-1]; last.Delay != 10 {
		t.Errorf("a wait of %v ms after %s", last.Delay, summary(events))
	}
	p.Eval("socket.close()", nil)
}

func TestANewTokenIsFetchedWhereTheRealServerRefusesOne(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"query", "subprotocol", "firstMessage"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(n int) string {
				if n == 1 {
					return forged(n)
				}
				return lives(3 * time.Second)
			}, upgrade(t, wsauth.UpgradeOptions{CloseOnRefusal: true, FirstMessage: 5 * time.Second}))
			p := s.open(t, fmt.Sprintf("way: %q, minDelay: 10, settle: Infinity", way))
			expect(t, p.await(2, "open")[:6],
				"closed 3000 invalid_token: token", "open", `message "hello alice"`, "closed 3000 token expired: token", "open",
				`message "hello alice"`)
		})
	}
}

// A server without CloseOnRefusal leaves no more than 1006 of a refusal, and it could be the token.
func TestANewTokenIsFetchedAfterThreeHandshakesThatFailed(t *testing.T) {
	t.Parallel()
	s := serve(t, func(n int) string {
		if n == 1 {
			return forged(n)
		}
		return good(n)
	}, upgrade(t, wsauth.UpgradeOptions{}))
	p := s.open(t, `way: "subprotocol", minDelay: 1`) // by query, Chromium would write the token to the console
	expect(t, p.await(1, "message"),
		"closed 1006 : wait", "closed 1006 : wait", "closed 1006 : wait", "open", `message "hello alice"`)
}

func TestAConnectionLivesOnWithANewToken(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"query", "subprotocol", "firstMessage"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(n int) string { return lives(time.Duration(n) * time.Minute) },
				upgrade(t, wsauth.UpgradeOptions{CloseOnRefusal: true, FirstMessage: 5 * time.Second}))
			p := s.open(t, fmt.Sprintf("way: %q, renewAhead: 10", way))
			p.await(1, "message")
			p.wake(51 * time.Second)
			p.await(1, "renewed")
			p.wake(111 * time.Second)
			p.await(2, "renewed")
			p.Eval(`socket.send(JSON.stringify({ text: "still here" }))`, nil)
			expect(t, p.await(4, "message"), "open", `message "hello alice"`, `message {"type":"renewed"}`, "renewed",
				`message {"type":"renewed"}`, "renewed", `message "still here"`)
			if n := s.dialled.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestARenewalThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		second string // token
		failed string
		want   []string
	}{
		{
			"the server refuses the token", forged(2), `seen("message") === 2`,
			[]string{"open", `message "hello alice"`, `message {"type":"refused"}`, `message {"type":"renewed"}`, "renewed"},
		},
		{
			"no token can be fetched", "<title>Bad Gateway</title>", "answers === 2",
			[]string{"open", `message "hello alice"`, `message {"type":"renewed"}`, "renewed"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(n int) string {
				if n == 2 {
					return row.second
				}
				return good(n)
			}, upgrade(t, wsauth.UpgradeOptions{CloseOnRefusal: true}))
			p := s.open(t, `way: "subprotocol", renewAhead: 60, token: async () => {
				const token = await (await fetch("/token")).text();
				window.answers = (window.answers ?? 0) + 1;
				return token;
			}`)
			p.await(1, "message")
			p.wake(41 * time.Second) // a third of a minute ahead of its end, and later again at half of what is left
			p.WaitFor(row.failed)
			p.wake(51 * time.Second)
			expect(t, p.await(1, "renewed"), row.want...)
		})
	}
}

func TestAConnectionThatIsRefusedIsNeverOpen(t *testing.T) {
	t.Parallel()
	s := serve(t, good, inTurn(closes(1013, "temporarily_unavailable")))
	p := s.open(t, `way: "cookie", settle: 2000, minDelay: (Math.random = () => 1, 3600000), maxDelay: 3600000`)
	p.await(1, "closed")
	p.Eval(`setTimeout(() => happened.push({ type: "later" }), 2100)`, nil)
	expect(t, p.await(1, "later"), "closed 1013 temporarily_unavailable: wait", "later")
}

func TestTheTokenFunction(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, options string
		want          []string
	}{
		{"has none", `token: () => {}`, []string{"closed 0 no token: end", "gaveup 0 no token"}},
		{
			"fails once", `token: async () => { if (happened.length === 0) throw new Error("away"); return fetch("/token").then((a) => a.text()); }`,
			[]string{"closed 0 token() failed: wait", "open", `message "hello alice"`},
		},
		{
			"returns what is no JWT, once", `token: () => happened.length === 0 ? "a b" : fetch("/token").then((a) => a.text())`,
			[]string{"closed 0 token() failed: wait", "open", `message "hello alice"`},
		},
		{"returns a token when it is over", whenOver(`resolve("a.b.c")`), []string{"closed 1000 : end", "later"}},
		{
			"is not called when it is over at once", `token: () => happened.push({ type: "called" }), url: (setTimeout(() =>
				happened.push({ type: "later" })), queueMicrotask(() => socket.close()), "/ws")`,
			[]string{"closed 1000 : end", "later"},
		},
		{"fails when it is over", whenOver(`reject(new Error("away"))`), []string{"closed 1000 : end", "later"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good, upgrade(t, wsauth.UpgradeOptions{CloseOnRefusal: true}))
			p := s.open(t, `way: "subprotocol", minDelay: 1, `+row.options)
			last := strings.Fields(row.want[len(row.want)-1])[0]
			expect(t, p.await(1, last), row.want...)
		})
	}
}

// whenOver is a token function that is not done before close. It lets no connection go unseen.
func whenOver(then string) string {
	return `token: () => new Promise((resolve, reject) => setTimeout(() => {
		window.WebSocket = function () { happened.push({ type: "connected" }); };
		socket.close();
		` + then + `;
		setTimeout(() => happened.push({ type: "later" }));
	}))`
}

func TestAnOnlineBrowserDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, event string }{
		{"online", `window.dispatchEvent(new Event("online"))`},
		{"in sight", `document.dispatchEvent(new Event("visibilitychange"))`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good, inTurn(closes(1001, ""), stays))
			p := s.open(t, `way: "cookie", settle: Infinity, renewAhead: 1, minDelay: (Math.random = () => 1, 3600000), maxDelay: 3600000`)
			p.await(1, "closed")
			p.Eval(row.event, nil)
			expect(t, p.await(1, "message"), "closed 1001 : wait", "open", `message "hello"`)
			p.Eval(row.event, nil) // it has a connection, and a token: nothing to do
			p.Eval("socket.close()", nil)
			p.await(2, "closed")
			if dialled, fetched := s.dialled.Load(), s.fetched.Load(); dialled != 2 || fetched != 1 {
				t.Errorf("%d connections, %d tokens", dialled, fetched)
			}
		})
	}
}

func TestCloseEndsItWhateverItDoes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		ws    http.Handler
		close string // when
		want  []string
	}{
		{"connected", inTurn(stays), `seen("message")`, []string{"open", `message "hello"`, "closed 1000 : end"}},
		{"waiting", inTurn(closes(1001, "")), `seen("closed")`, []string{"closed 1001 : wait", "closed 1000 : end"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good, row.ws)
			p := s.open(t, `way: "query", settle: Infinity, minDelay: (Math.random = () => 1, 3600000), maxDelay: 3600000`)
			p.WaitFor(row.close)
			p.Eval("socket.close(); socket.close()", nil)
			p.WaitFor(`happened.at(-1)?.code === 1000`)
			expect(t, p.await(1, "closed"), row.want...)
			var thrown string
			p.Eval(`{ let name; try { socket.send("x"); } catch (error) { name = error.name; } name; }`, &thrown)
			if thrown != "InvalidStateError" {
				t.Errorf("send after that throws %q", thrown)
			}
		})
	}
}

// By query, Chromium would write the token to the console if a handshake under way were given up.
func TestAConnectionUnderWayIsClosedWhenItOpens(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, good, inTurn(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		select {
		case <-goOn:
		case <-t.Context().Done():
		}
		stays(w, r)
	}))
	p := s.open(t, `way: "query"`)
	ctx := testclient.Context(t) // from here: the browser may take its time to start
	select {
	case <-began:
	case <-ctx.Done():
		t.Fatal("no handshake")
	}
	p.Eval("socket.close()", nil)
	close(goOn)
	expect(t, p.await(1, "closed"), "closed 1000 : end")
}

func TestOptionsThatCannotBeRightThrow(t *testing.T) {
	t.Parallel()
	p := serve(t, good, nil).open(t, `way: "query", token: () => {}`)
	for _, options := range []string{
		`way: "header"`, `way: undefined`, `way: "query", token: undefined`, `way: "ticket"`, `way: "cookie", url: "//:"`,
	} {
		var thrown string
		p.Eval(fmt.Sprintf(`{ let name; try { start({ %s }); } catch (error) { name = error.name; } name; }`, options), &thrown)
		if thrown != "TypeError" {
			t.Errorf("%s: throws %q", options, thrown)
		}
	}
}

// The browser's own error has the protocol in it, and so the token.
func TestABadProtocolDoesNotShowTheToken(t *testing.T) {
	t.Parallel()
	p := serve(t, good, nil).open(t, `way: "subprotocol", prefix: "bearer "`)
	expect(t, p.await(1, "gaveup"), "closed 0 no URL or no protocols for a WebSocket: end",
		"gaveup 0 no URL or no protocols for a WebSocket")
}

func TestTheReadmesExampleRuns(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(readme(t), "```js\n")
	example, _, _ := strings.Cut(rest, "```")
	for _, row := range []struct {
		name    string
		answers []int // of /token; the last one stays
		want    string
		asked   int32
	}{
		{"logged in", []int{200}, "sent hello", 1},
		{"the first answer is an error", []int{500, 200}, "sent hello", 2},
		{"logged out", []int{401}, "alert Please log in again (0 no token)", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			happened := make(chan string, 1)
			var asked atomic.Int32
			mux := http.NewServeMux()
			mux.HandleFunc("GET /wsauth.js", ServeScript)
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,">
					<script>alert = (text) => fetch("/alert", { method: "POST", body: text })</script>
					<script type="module">%s</script>`, example)
			})
			mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.answers[min(int(asked.Add(1)), len(row.answers))-1])
				fmt.Fprintf(w, `{"access_token":%q}`, good(1))
			})
			mux.HandleFunc("POST /alert", func(_ http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				happened <- "alert " + string(text)
			})
			mux.HandleFunc("GET /ws", accepts(func(conn *websocket.Conn) {
				_, text, _ := conn.Read(t.Context())
				happened <- "sent " + string(text)
				conn.Read(t.Context())
			}))
			browsertest.Open(t, testclient.Serve(t, mux))
			ctx := testclient.Context(t) // from here: the browser may take its time to start
			select {
			case what := <-happened:
				if what != row.want || asked.Load() != row.asked {
					t.Errorf("%q after %d tokens, want %q after %d", what, asked.Load(), row.want, row.asked)
				}
			case <-ctx.Done():
				t.Error("nothing happened")
			}
		})
	}
}

func TestTheReadmeHasEveryOption(t *testing.T) {
	text := readme(t)
	options, _, _ := strings.Cut(string(script), "@typedef {{ code")
	names := regexp.MustCompile(`@property \{.*\} \[?(\w+)`).FindAllStringSubmatch(options, -1)
	if len(names) < 10 {
		t.Fatalf("found only %q", names)
	}
	for _, name := range names {
		if !strings.Contains(text, "`"+name[1]+"`") {
			t.Errorf("%s is not in README.md", name[1])
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheScriptIsServedAsAModule(t *testing.T) {
	rec := httptest.NewRecorder()
	ServeScript(rec, nil)
	if ct := rec.Header().Get("Content-Type"); rec.Code != 200 || ct != "text/javascript; charset=utf-8" {
		t.Errorf("status %d, Content-Type %q", rec.Code, ct)
	}
	if !strings.Contains(rec.Body.String(), "export class AuthSocket") {
		t.Error("this is another script")
	}
}
