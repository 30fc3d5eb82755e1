package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func TestATicketIsBoughtForEachConnection(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, options  string
		fetched, asked int32
	}{
		{"with a token", `way: "ticket", tickets: "/tickets"`, 1, 2},
		{
			"with a cookie",
			`way: "ticket", tickets: new URL("/tickets", location), token: () => fetch("/cookie").then(() => {})`, 1, 2,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			auth := newAuth(t)
			s := serveWithTickets(t, good, auth.Tickets(), auth.Upgrade(chat, &wsauth.UpgradeOptions{CloseOnRefusal: true}))
			p := s.open(t, row.options+`, minDelay: 1, decide: (code) => code === 1007 ? "wait" : undefined`)
			p.await(1, "message")
			p.Eval(`socket.send("this is not JSON")`, nil) // which the server closes for
			expect(t, p.await(2, "message"),
				"open", `message "hello alice"`, "closed 1007 failed to unmarshal JSON: wait", "open", `message "hello alice"`)
			if fetched, asked := s.fetched.Load(), s.asked.Load(); fetched != row.fetched || asked != row.asked {
				t.Errorf("%d tokens and %d tickets, want %d and %d", fetched, asked, row.fetched, row.asked)
			}
		})
	}
}

func TestATicketThatIsRefusedHasASuccessor(t *testing.T) {
	t.Parallel()
	auth := newAuth(t)
	tickets := inTurn(says(`{"ticket":"one-that-nobody-has-issued"}`).ServeHTTP, auth.Tickets().ServeHTTP)
	s := serveWithTickets(t, good, tickets, auth.Upgrade(chat, &wsauth.UpgradeOptions{CloseOnRefusal: true}))
	p := s.open(t, `way: "ticket", tickets: "/tickets", minDelay: 1`)
	expect(t, p.await(1, "message"), "closed 3000 invalid_ticket: wait", "open", `message "hello alice"`)
	if n := s.fetched.Load(); n != 1 {
		t.Errorf("got %d tokens, want 1", n)
	}
}

func TestATicketForATokenThatIsRefusedIsRefusedToo(t *testing.T) {
	t.Parallel()
	auth := newAuth(t)
	s := serveWithTickets(t, forged, auth.Tickets(), auth.Upgrade(chat, &wsauth.UpgradeOptions{CloseOnRefusal: true}))
	p := s.open(t, `way: "ticket", tickets: "/tickets"`)
	expect(t, p.await(1, "gaveup"), "closed 0 no ticket: 401: end", "gaveup 0 no ticket: 401")
}

// answers is a server of tickets whose nth answer has the nth status, and further ones the last.
func answers(statuses ...int) http.Handler {
	var n atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(statuses[min(int(n.Add(1)), len(statuses))-1])
		fmt.Fprint(w, `{"ticket":"a-ticket_1","expires_in":30}`)
	})
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func TestWhatFollowsARefusedTicket(t *testing.T) {
	t.Parallel()
	const login = `login: (why) => { happened.push({ type: "login" }); return true; }`
	for _, row := range []struct {
		name    string
		options string
		tickets http.Handler
		want    []string
		fetched int32 // tokens
	}{
		{
			"401 of a new token", "", answers(401),
			[]string{"closed 0 no ticket: 401: end", "gaveup 0 no ticket: 401"}, 1,
		},
		{
			"403", "", answers(403),
			[]string{"closed 0 no ticket: 403: end", "gaveup 0 no ticket: 403"}, 1,
		},
		{
			"401 of a cookie", "token: undefined", answers(401),
			[]string{"closed 0 no ticket: 401: end", "gaveup 0 no ticket: 401"}, 0,
		},
		{
			"401, and the user logs in", login, answers(401, 200),
			[]string{"closed 0 no ticket: 401: login", "login", "open", `message "hello"`}, 2,
		},
		{
			"401 of a token that was kept", "", answers(503, 401, 200),
			[]string{"closed 0 no ticket: 503: wait", "closed 0 no ticket: 401: token", "open", `message "hello"`}, 2,
		},
		{
			"503, 500 and 429", "", answers(503, 500, 429, 200),
			[]string{
				"closed 0 no ticket: 503: wait", "closed 0 no ticket: 500: wait", "closed 0 no ticket: 429: wait", "open",
				`message "hello"`,
			}, 1,
		},
		{
			"nobody there", "", answers(404),
			[]string{"closed 0 no ticket: 404: end", "gaveup 0 no ticket: 404"}, 1,
		},
		{
			"another answer", "", says(`{"ticket":["a"]}`),
			[]string{"closed 0 no ticket: 200: end", "gaveup 0 no ticket: 200"}, 1,
		},
		{
			"a ticket that cannot be one", "", says(`{"ticket":"a&b=c"}`),
			[]string{"closed 0 no ticket: 200: end", "gaveup 0 no ticket: 200"}, 1,
		},
		{
			"a page, once", "", inTurn(says("<title>captive portal</title>").ServeHTTP, answers(200).ServeHTTP),
			[]string{"closed 0 no ticket: wait", "open", `message "hello"`}, 1,
		},
		{
			"a redirect, once", "",
			inTurn(http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, answers(200).ServeHTTP),
			[]string{"closed 0 no ticket: wait", "open", `message "hello"`}, 1,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serveWithTickets(t, good, row.tickets, inTurn(stays))
			p := s.open(t, `way: "ticket", tickets: "/tickets", minDelay: 1, settle: Infinity, `+row.options)
			last := strings.Fields(row.want[len(row.want)-1])[0]
			expect(t, p.await(1, last), row.want...)
			if n := s.fetched.Load(); n != row.fetched {
				t.Errorf("%d tokens were fetched, want %d", n, row.fetched)
			}
		})
	}
}

func TestTheWaitsForATicketDouble(t *testing.T) {
	t.Parallel()
	s := serveWithTickets(t, good, answers(503, 503, 503, 200), inTurn(stays))
	p := s.open(t, `way: "ticket", tickets: "/tickets", minDelay: (Math.random = () => 1, 10)`)
	var got []float64
	for _, e := range p.await(1, "open")[:3] {
		got = append(got, e.Delay)
	}
	if want := "[10 20 40]"; fmt.Sprint(got) != want {
		t.Errorf("got delays %v, want %s", got, want)
	}
}

func TestCloseEndsItWhileATicketIsBought(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 401, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			ctx := testclient.Context(t)
			began, goOn := make(chan struct{}), make(chan struct{})
			s := serveWithTickets(t, good, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(began)
				select {
				case <-goOn:
				case <-ctx.Done():
				}
				answers(status).ServeHTTP(w, r)
			}), inTurn(stays))
			p := s.open(t, `way: "ticket", tickets: "/tickets"`)
			select {
			case <-began:
			case <-ctx.Done():
				t.Fatal("nobody asked for a ticket")
			}
			p.Eval("socket.close()", nil)
			close(goOn)
			p.WaitFor(`performance.getEntriesByName(new URL("/tickets", location)).length === 1`)
			p.Eval(`setTimeout(() => happened.push({ type: "later" }), 100)`, nil)
			expect(t, p.await(1, "later"), "closed 1000 : end", "later")
			if n := s.dialled.Load(); n != 0 {
				t.Errorf("%d connections, want none", n)
			}
		})
	}
}

func TestARevokedLoginAsksForAnother(t *testing.T) {
	t.Parallel()
	const revoked = "closed 3000 token revoked: login"
	for _, row := range []struct {
		name, login string
		want        []string
		fetched     int32
	}{
		{"the user logs in", `async () => true`, []string{revoked, "open", `message "hello"`}, 2},
		{"the user does not", `async () => false`, []string{revoked, "gaveup 3000 token revoked"}, 1},
		{"nothing is returned", `() => {}`, []string{revoked, "gaveup 3000 token revoked"}, 1},
		{"it fails", `() => { throw new Error("away"); }`, []string{revoked, "gaveup 3000 token revoked"}, 1},
		{
			"the page closes the socket meanwhile",
			`async () => { socket.close(); setTimeout(() => happened.push({ type: "later" }), 50); return true; }`,
			[]string{revoked, "closed 1000 : end", "later"}, 1,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good, inTurn(closes(3000, "token revoked"), stays))
			p := s.open(t, `way: "subprotocol", settle: Infinity, login: `+row.login)
			last := strings.Fields(row.want[len(row.want)-1])[0]
			expect(t, p.await(1, last), row.want...)
			if n := s.fetched.Load(); n != row.fetched {
				t.Errorf("%d tokens were fetched, want %d", n, row.fetched)
			}
		})
	}
}

func TestTheFirstMessageOfAnotherProtocol(t *testing.T) {
	t.Parallel()
	s := serve(t, good, upgrade(t, wsauth.UpgradeOptions{
		CloseOnRefusal: true, FirstMessage: 5 * time.Second,
		FirstToken: func(message []byte) (string, error) {
			var init struct {
				Type    string
				Payload struct{ Authorization string }
			}
			err := json.Unmarshal(message, &init)
			if err == nil && init.Type != "connection_init" {
				err = fmt.Errorf("type %q", init.Type)
			}
			return strings.TrimPrefix(init.Payload.Authorization, "Bearer "), err
		},
	}))
	p := s.open(t, "way: \"firstMessage\", firstMessage: (token) => JSON.stringify("+
		"{ type: \"connection_init\", payload: { authorization: `Bearer ${token}` } })")
	expect(t, p.await(1, "message"), "open", `message "hello alice"`)
}
