package wsauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// A ticketStore remembers what was put into it, counts the calls, and fails if it has an error.
type ticketStore struct {
	mu      sync.Mutex
	entries map[string][]byte
	calls   int
	err     error
}

func newTicketStore() *ticketStore { return &ticketStore{entries: map[string][]byte{}} }

func (s *ticketStore) Put(_ context.Context, key string, value []byte, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.err != nil {
		return false, s.err
	}
	if _, there := s.entries[key]; there {
		return false, nil
	}
	s.entries[key] = value
	return true, nil
}

func (s *ticketStore) Take(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.err != nil {
		return nil, false, s.err
	}
	value, there := s.entries[key]
	delete(s.entries, key)
	return value, there, nil
}

// withTickets finds tickets as well as tokens in the default places.
func withTickets(store wsauth.TicketStore) func(*wsauth.Options) {
	return func(o *wsauth.Options) {
		o.Extractors = []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromCookie("access_token"), wsauth.FromTicket("ticket", store),
		}
	}
}

// fetchTicket fetches a ticket for a token.
func fetchTicket(t testing.TB, auth *wsauth.Authenticator, token string) string {
	t.Helper()
	w := serve(auth.Tickets(), readRequest(t, "POST /ticket\nAuthorization: Bearer "+token))
	return ticketIn(t, w.Code, w.Body.Bytes())
}

func ticketIn(t testing.TB, status int, body []byte) string {
	t.Helper()
	var answer struct {
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		t.Fatalf("got %d %q (%v), want 200 with a ticket", status, body, err)
	}
	if len(answer.Ticket) != 43 || answer.ExpiresIn != 30 {
		t.Errorf("got %d characters for %d s, want 43 for 30", len(answer.Ticket), answer.ExpiresIn)
	}
	return answer.Ticket
}

func handshakeWith(t testing.TB, query string) *http.Request {
	return readRequest(t, "GET /ws?"+query+"\nHANDSHAKE")
}

func TestATicketStandsForItsTokenOnce(t *testing.T) {
	auth := newAuth(t, withTickets(nil))
	ticket := fetchTicket(t, auth, testToken())
	r, err := auth.Authenticate(handshakeWith(t, "room=1&ticket="+ticket))
	if err != nil {
		t.Fatal(err)
	}
	if claims, _ := wsauth.ClaimsFromContext(r.Context()); claims.Subject != "alice" {
		t.Errorf("got the subject %q, want alice", claims.Subject)
	}
	if seen := visible(r); strings.Contains(seen, ticket) || !strings.Contains(seen, "room=1") {
		t.Errorf("the handler sees %s, want the ticket gone and the rest there", seen)
	}
	_, err = auth.Authenticate(handshakeWith(t, "ticket="+ticket))
	wantKind(t, err, wsauth.ErrInvalidTicket)
}

func TestATicketIsRefusedWhereItMustBe(t *testing.T) {
	foreign := "\nOrigin: https://evil.example"
	for name, row := range map[string]struct {
		request string // of which TICKET is a ticket
		want    error
		calls   int // of the store
	}{
		"a handshake":                {"GET /ws?ticket=TICKET\nHANDSHAKE", nil, 1},
		"escaped":                    {"GET /ws?t%69cket=TICKET\nHANDSHAKE", nil, 1},
		"with a cookie beside it":    {"GET /ws?ticket=TICKET\nHANDSHAKE" + foreign + "\nCookie: access_token=x", nil, 1},
		"no handshake":               {"GET /ws?ticket=TICKET", malformed, 0},
		"a POST":                     {"POST /ws?ticket=TICKET", malformed, 0},
		"a stream, not behind Guard": {"GET /ws?ticket=TICKET\nAccept: text/event-stream", malformed, 0},
		"twice":                      {"GET /ws?ticket=TICKET&ticket=TICKET\nHANDSHAKE", malformed, 0},
		"empty":                      {"GET /ws?ticket=\nHANDSHAKE", malformed, 0},
		"beside a header":            {"GET /ws?ticket=TICKET\nHANDSHAKE\nAuthorization: Bearer TOKEN", malformed, 0},
		"beside a query token":       {"GET /ws?ticket=TICKET&access_token=TOKEN\nHANDSHAKE", malformed, 0},
		"unknown":                    {"GET /ws?ticket=" + strings.Repeat("A", 43) + "\nHANDSHAKE", wsauth.ErrInvalidTicket, 1},
		"cut":                        {"GET /ws?ticket=" + strings.Repeat("A", 42) + "\nHANDSHAKE", wsauth.ErrInvalidTicket, 0},
		"a token":                    {"GET /ws?ticket=TOKEN\nHANDSHAKE", wsauth.ErrInvalidTicket, 0},
		"in the place of a token":    {"GET /ws?access_token=TICKET\nHANDSHAKE", wsauth.ErrInvalidToken, 0},
		"in the header":              {"GET /ws\nHANDSHAKE\nAuthorization: Bearer TICKET", wsauth.ErrInvalidToken, 0},
	} {
		t.Run(name, func(t *testing.T) {
			store := newTicketStore()
			auth := newAuth(t, withTickets(store))
			ticket := fetchTicket(t, auth, testToken())
			store.calls = 0
			text := strings.NewReplacer("TICKET", ticket, "TOKEN", testToken()).Replace(row.request)
			_, err := auth.Authenticate(readRequest(t, text))
			wantKind(t, err, row.want)
			if store.calls != row.calls {
				t.Errorf("got %d calls of the store, want %d", store.calls, row.calls)
			}
			if row.calls == 0 { // it is still good
				_, err := auth.Authenticate(handshakeWith(t, "ticket="+ticket))
				wantKind(t, err, nil)
			}
		})
	}
}

// A page of another origin must not use up a ticket either.
func TestAForeignPageDoesNotReachTheStore(t *testing.T) {
	store := newTicketStore()
	auth := newAuth(t, withTickets(store))
	ticket := fetchTicket(t, auth, testToken())
	store.calls = 0
	request := "GET /ws?ticket=" + ticket + "\nHANDSHAKE\nOrigin: https://evil.example"
	for name, h := range map[string]http.Handler{
		"Upgrade": auth.Upgrade(neverServed(t), nil), "Guard": auth.Guard(new(recorder), nil),
	} {
		if w := serve(h, readRequest(t, request)); w.Code != http.StatusForbidden || store.calls != 0 {
			t.Errorf("%s: got %d and %d calls of the store, want 403 and none", name, w.Code, store.calls)
		}
	}
}

func TestTicketsJudgesAsMiddlewareDoes(t *testing.T) {
	const cookie = "\nCookie: access_token=TOKEN"
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"a header":                 {"POST /ticket\nAuthorization: Bearer TOKEN", 200},
		"a cookie":                 {"POST /ticket" + cookie, 200},
		"a cookie, own origin":     {"POST /ticket\nOrigin: http://server.example.com\nSec-Fetch-Site: same-origin" + cookie, 200},
		"a cookie, foreign origin": {"POST /ticket\nOrigin: https://evil.example" + cookie, 403},
		"a cookie, cross-site":     {"POST /ticket\nSec-Fetch-Site: cross-site" + cookie, 403},
		"no token":                 {"POST /ticket", 401},
		"a bad token":              {"POST /ticket\nAuthorization: Bearer x.y.z", 401},
		"a token in the query":     {"POST /ticket?access_token=TOKEN", 400},
		"a ticket for a ticket":    {"POST /ticket?ticket=" + strings.Repeat("A", 43), 400},
		"two tokens":               {"POST /ticket\nAuthorization: Bearer TOKEN\nAuthorization: Bearer TOKEN", 400},
		"GET":                      {"GET /ticket\nAuthorization: Bearer TOKEN", 405},
		"a preflight":              {"OPTIONS /ticket\nOrigin: https://app.example", 405},
		"a handshake":              {"GET /ticket\nHANDSHAKE\nAuthorization: Bearer TOKEN", 405},
		"an expired token":         {"POST /ticket\nAuthorization: Bearer EXPIRED", 401},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, withTickets(nil))
			text := strings.NewReplacer("TOKEN", testToken(), "EXPIRED", testToken(lasting(-time.Hour))).Replace(row.request)
			for how, h := range map[string]http.Handler{
				"Tickets": auth.Tickets(), "within Middleware": auth.Middleware(auth.Tickets()), "within Conceal": auth.Conceal(auth.Tickets()),
			} {
				w := serve(h, readRequest(t, text))
				want := row.status
				if how == "within Middleware" && want == 405 && !strings.Contains(text, "Bearer") {
					want = 401
				}
				if w.Code != want {
					t.Errorf("%s: got %d %s, want %d", how, w.Code, w.Body, want)
				}
				if got := w.Header().Get("Cache-Control"); w.Code != 405 && got != "no-store" {
					t.Errorf("%s: got Cache-Control %q, want no-store", how, got)
				}
				if allow := w.Header().Get("Allow"); w.Code == 405 && allow != "POST" {
					t.Errorf("%s: got Allow %q, want POST", how, allow)
				}
			}
		})
	}
}

// Between the ticket and its use, much can happen to a token.
func TestTheTokenOfATicketIsJudgedAgainWhenItIsUsed(t *testing.T) {
	for name, row := range map[string]struct {
		change  func(*wsauth.Options)
		between func(*wsauth.Authenticator)
		after   time.Duration
		want    error
	}{
		"nothing":    {nil, nil, 0, nil},
		"after 29 s": {nil, nil, 29 * time.Second, nil},
		"after 30 s": {nil, nil, 30 * time.Second, wsauth.ErrInvalidTicket},
		"it expires": {untilExp, nil, 20 * time.Second, wsauth.ErrExpired},
		"it is revoked": {func(o *wsauth.Options) { o.Revocations.Keep = time.Hour }, func(a *wsauth.Authenticator) {
			a.Revoke(context.Background(), wsauth.Revocation{Issuer: testIssuer, Subject: "alice"})
		}, 0, wsauth.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				change := row.change
				if change == nil {
					change = func(*wsauth.Options) {}
				}
				auth := newAuth(t, withTickets(nil), change)
				ticket := fetchTicket(t, auth, testToken(lasting(20*time.Second), map[string]any{"iat": time.Now().Unix() - 1}))
				if row.between != nil {
					row.between(auth)
				}
				time.Sleep(row.after)
				_, err := auth.Authenticate(handshakeWith(t, "ticket="+ticket))
				wantKind(t, err, row.want)
			})
		})
	}
}

func TestAConnectionThatATicketOpenedEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, withTickets(nil), untilExp)
		server := newMemoryServer(t, auth.Conceal(auth.Upgrade(echo, nil)))
		ticket := fetchTicket(t, auth, testToken(lasting(time.Minute)))
		url := "ws://server.example.com/?ticket=" + ticket
		conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: server.client()})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if got := exchange(t, conn, "hello"); !strings.Contains(got, "hello") {
			t.Errorf("got %q, want an echo", got)
		}
		_, response, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: server.client()})
		if err == nil || response.StatusCode != http.StatusUnauthorized {
			t.Errorf("the ticket again: got %v, want 401", err)
		}
		start := time.Now()
		_, _, err = conn.Read(t.Context())
		wantClosed(t, err, wsauth.StatusUnauthorized, "token expired")
		if got := time.Since(start); got > time.Minute {
			t.Errorf("closed after %v, want a minute at most", got)
		}
	})
}

func TestAnEventSourceBehindGuardHasATicket(t *testing.T) {
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"an EventSource":    {"GET /events?ticket=TICKET\nAccept: text/event-stream", 204},
		"among other types": {"GET /events?ticket=TICKET\nAccept: text/html, text/event-stream", 204},
		"another type":      {"GET /events?ticket=TICKET\nAccept: text/html", 400},
		"any type":          {"GET /events?ticket=TICKET\nAccept: */*", 400},
		"a POST":            {"POST /events?ticket=TICKET\nAccept: text/event-stream", 400},
		"a query token":     {"GET /events?access_token=TOKEN\nAccept: text/event-stream", 400},
		"used":              {"GET /events?ticket=USED\nAccept: text/event-stream", 401},
		"half a handshake":  {"GET /events?ticket=TICKET\nAccept: text/event-stream\nUpgrade: websocket", 400},
		"a WebSocket's key": {"GET /events?ticket=TICKET\nAccept: text/event-stream\nSec-WebSocket-Key: x", 400},
		"foreign, as EventSource of another origin is": {"GET /events?ticket=TICKET\nAccept: text/event-stream\nOrigin: https://evil.example", 204},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, withTickets(nil))
			used := fetchTicket(t, auth, testToken())
			auth.Authenticate(handshakeWith(t, "ticket="+used))
			text := strings.NewReplacer("TICKET", fetchTicket(t, auth, testToken()), "USED", used, "TOKEN", testToken()).Replace(row.request)
			rec := new(recorder)
			if w := serve(auth.Guard(rec, nil), readRequest(t, text)); w.Code != row.status {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, row.status)
			}
			if r := rec.only(t); (r != nil) != (row.status == 204) || r != nil && strings.Contains(visible(r), "ticket") {
				t.Errorf("handed on: %t, want %t, and without the ticket", r != nil, row.status == 204)
			}
		})
	}
}

func TestAStoreOfTicketsThatIsAwayIsAnOutage(t *testing.T) {
	store := newTicketStore()
	var log bytes.Buffer
	auth := newAuth(t, withTickets(store), recordsIn(&log))
	ticket := fetchTicket(t, auth, testToken())
	store.err = errors.New("dial tcp: connection refused")
	for name, w := range map[string]interface{ Result() *http.Response }{
		"to fetch": serve(auth.Tickets(), readRequest(t, "POST /ticket\nAuthorization: Bearer "+testToken())),
		"to use":   serve(auth.Middleware(new(recorder)), handshakeWith(t, "ticket="+ticket)),
	} {
		if r := w.Result(); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d, want 503 with Retry-After", name, r.StatusCode)
		}
	}
	store.err = nil
	if _, err := auth.Authenticate(handshakeWith(t, "ticket="+ticket)); err != nil {
		t.Errorf("the ticket is lost: %v", err)
	}
}

func TestALogSaysThatATokenCameByATicket(t *testing.T) {
	var log bytes.Buffer
	var events []wsauth.Event
	auth := newAuth(t, withTickets(nil), recordsIn(&log), func(o *wsauth.Options) {
		o.Observe = func(_ context.Context, e wsauth.Event) { events = append(events, e) }
	})
	ticket := fetchTicket(t, auth, testToken())
	auth.Authenticate(handshakeWith(t, "ticket="+ticket))
	auth.Authenticate(handshakeWith(t, "ticket="+ticket))
	got := ""
	for _, line := range logLines(t, &log) {
		got += fmt.Sprintf("%v %v; ", line["msg"], line["source"])
	}
	if want := "wsauth: verified header; wsauth: verified ticket; wsauth: refused ticket; "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if strings.Contains(log.String(), ticket) || strings.Contains(log.String(), "eyJ") {
		t.Errorf("the log has a secret: %s", log.String())
	}
	if last := events[len(events)-1]; last.Source != "ticket" || last.Reason != "invalid_ticket" || !errors.Is(last.Err, wsauth.ErrInvalidToken) {
		t.Errorf("got %+v, want a refusal of a ticket", last)
	}
}

// Three servers share a store: a ticket of one is good on one of them, once.
func TestOfAllWhoUseATicketOneGetsIn(t *testing.T) {
	store := newTicketStore()
	var servers []http.Handler
	for range 3 {
		servers = append(servers, newAuth(t, withTickets(store)).Middleware(new(http.ServeMux)))
	}
	ticket := fetchTicket(t, newAuth(t, withTickets(store)), testToken())
	var in atomic.Int32
	var all sync.WaitGroup
	for i := range 30 {
		request := handshakeWith(t, "ticket="+ticket)
		all.Go(func() {
			for range 100 {
				if w := serve(servers[i%3], request); w.Code == http.StatusNotFound { // of the empty mux
					in.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := in.Load(); got != 1 {
		t.Errorf("got %d of 3,000 in, want 1", got)
	}
}

func TestATokenBoundToAKeyGoesIntoATicketWithItsProof(t *testing.T) {
	key := mint.New("ES256", "")
	auth := newAuth(t, withTickets(nil), withDPoP)
	token := boundToken(key)
	const url = "http://server.example.com/ticket"
	request := func(proof string) *http.Request {
		return readRequest(t, "POST /ticket\nAuthorization: DPoP "+token+"\nDPoP: "+proof)
	}
	for name, h := range map[string]http.Handler{"alone": auth.Tickets(), "within Middleware": auth.Middleware(auth.Tickets())} {
		t.Run(name, func(t *testing.T) {
			w := serve(h, request(proofFor(key, "POST", url, token, nil)))
			ticket := ticketIn(t, w.Code, w.Body.Bytes())
			if _, err := auth.Authenticate(handshakeWith(t, "ticket="+ticket)); err != nil {
				t.Errorf("got %v, want the ticket accepted without another proof", err)
			}
		})
	}
	for name, r := range map[string]*http.Request{
		"as a bearer":     readRequest(t, "POST /ticket\nAuthorization: Bearer "+token),
		"without a proof": readRequest(t, "POST /ticket\nAuthorization: DPoP "+token),
		"of another key":  request(proofFor(mint.New("ES256", ""), "POST", url, token, nil)),
	} {
		if w := serve(auth.Tickets(), r); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", name, w.Code)
		}
	}
}

func TestAMistakeAboutTicketsIsFoundAtSetUp(t *testing.T) {
	hmac := wsauth.HMAC(secretOf(testKey))
	for name, extractors := range map[string][]wsauth.Extractor{
		"no name":             {wsauth.FromTicket("", nil)},
		"two":                 {wsauth.FromTicket("a", nil), wsauth.FromTicket("b", nil)},
		"the name of a query": {wsauth.FromQuery("a"), wsauth.FromTicket("a", nil)},
		"a store that is nil": {wsauth.FromTicket("a", (*ticketStore)(nil))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{Keys: hmac}}, Extractors: extractors})
			var fault *wsauth.OptionError
			if !errors.As(err, &fault) || !strings.HasPrefix(fault.Field, "Extractors[") {
				t.Errorf("got %v, want an OptionError about Extractors", err)
			}
		})
	}
	defer func() {
		if recover() == nil {
			t.Error("Tickets without FromTicket does not panic")
		}
	}()
	newAuth(t).Tickets()
}

func TestTicketsOfAZeroAuthenticatorRefusesEverything(t *testing.T) {
	w := serve(new(wsauth.Authenticator).Tickets(), readRequest(t, "POST /ticket\nAuthorization: Bearer x"))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", w.Code)
	}
}

// A handshake with a ticket, compared with one with a token in the query: only finding and verifying differ.
func BenchmarkHandshakeByTicket(b *testing.B) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers:    []wsauth.Issuer{{Name: testIssuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey))}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromTicket("ticket", nil)},
	})
	if err != nil {
		b.Fatal(err)
	}
	token := testToken()
	b.Run("ticket", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			r := handshakeWith(b, "ticket="+fetchTicket(b, auth, token))
			b.StartTimer()
			if _, err := auth.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("query", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			r := handshakeWith(b, "access_token="+token)
			b.StartTimer()
			if _, err := auth.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// leftStore is a store that gives up when the client has left.
type leftStore struct{}

func (leftStore) Put(ctx context.Context, _ string, _ []byte, _ time.Duration) (bool, error) {
	return false, ctx.Err()
}
func (leftStore) Take(ctx context.Context, _ string) ([]byte, bool, error) {
	return nil, false, ctx.Err()
}

func TestAClientThatLeavesIsNotAnOutageOfAStore(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	for name, request := range map[string]string{
		"of tickets": "GET /ws?ticket=" + strings.Repeat("A", 43) + "\nHANDSHAKE",
		"of proofs":  "GET /ws\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(key, "GET", boundURL, token, nil),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			auth := newAuth(t, withTickets(leftStore{}), recordsIn(&log), func(o *wsauth.Options) {
				o.DPoP = &wsauth.DPoP{Replays: leftStore{}}
			})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := auth.Authenticate(readRequest(t, request).WithContext(ctx))
			wantKind(t, err, wsauth.ErrUnavailable)
			if lines := logLines(t, &log); len(lines) != 1 || lines[0]["level"] != "INFO" {
				t.Errorf("got %v, want one record at INFO", lines)
			}
		})
	}
}
