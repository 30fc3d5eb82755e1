package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/testclient"
	"github.com/wsauth/wsauth/wsauthtest"
)

var secret = []byte("a secret for tests with 32 bytes")

// serve runs the server on a real socket.
func serve(t *testing.T) string {
	t.Helper()
	return serveOn(t, wsauthtest.Serve)
}

// serveOn runs the server without leeway, so that no test has to wait for it. In the end, every connection's serve must
// return.
func serveOn(t *testing.T, network func(testing.TB, http.Handler) string) string {
	t.Helper()
	app, err := newServer(config{secret: secret, leeway: -1})
	if err != nil {
		t.Fatal(err)
	}
	base := network(t, app)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := app.auth.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return base
}

func newIssuer(t *testing.T) *wsauthtest.Issuer {
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience, issuer.Secret = "https://id.example.com/", "chat", secret
	return issuer
}

func token(t *testing.T, name string, expiry time.Time, rooms ...string) string {
	return newIssuer(t).Token(wsauthtest.Claims{"sub": name, "rooms": rooms, "exp": expiry})
}

func inAMinute() time.Time { return time.Now().Add(time.Minute) }

// enter connects, and waits until the room has the new member.
func enter(t *testing.T, base, room, name string) *websocket.Conn {
	t.Helper()
	return enterWith(t, base, room, name, token(t, name, inAMinute(), room))
}

func enterWith(t *testing.T, base, room, name, token string) *websocket.Conn {
	t.Helper()
	conn := wsauthtest.Dial(t, base+"/rooms/"+room+"/ws", wsauthtest.Header(token))
	expect(t, conn, event{Type: "joined", From: name})
	return conn
}

func send(t *testing.T, conn *websocket.Conn, r request) {
	t.Helper()
	if err := wsjson.Write(testclient.Context(t), conn, r); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, conn *websocket.Conn) event {
	t.Helper()
	var e event
	if err := wsjson.Read(testclient.Context(t), conn, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func expect(t *testing.T, conn *websocket.Conn, want event) {
	t.Helper()
	if got := next(t, conn); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestAMessageReachesItsRoomAndNoOther(t *testing.T) {
	base := serve(t)
	alice := enter(t, base, "lobby", "alice")
	bob := enter(t, base, "lobby", "bob")
	carol := enter(t, base, "ops", "carol")
	expect(t, alice, event{Type: "joined", From: "bob"})
	for _, row := range []struct {
		name string
		from *websocket.Conn
	}{{"alice", alice}, {"bob", bob}} {
		send(t, row.from, request{Type: "message", Text: "hello"})
		expect(t, alice, event{Type: "message", From: row.name, Text: "hello"})
		expect(t, bob, event{Type: "message", From: row.name, Text: "hello"})
	}
	bob.Close(websocket.StatusNormalClosure, "")
	expect(t, alice, event{Type: "left", From: "bob"})
	send(t, carol, request{Type: "message", Text: "anybody here?"})
	expect(t, carol, event{Type: "message", From: "carol", Text: "anybody here?"}) // and nothing before it
}

func TestARefusalIsReadableInABrowser(t *testing.T) {
	base := serve(t)
	mint := newIssuer(t).Token
	for _, row := range []struct {
		name   string
		token  wsauthtest.DialOption
		code   websocket.StatusCode
		reason string
	}{
		{"no token", nil, wsauth.StatusUnauthorized, "token_required"},
		{"for another audience", wsauthtest.Header(mint(wsauthtest.Claims{"aud": "mail", "rooms": []string{"lobby"}})),
			wsauth.StatusUnauthorized, "invalid_token"},
		{"for another room", wsauthtest.Header(mint(wsauthtest.Claims{"rooms": []string{"ops", "lobb"}})),
			wsauth.StatusForbidden, "insufficient_scope"},
		{"for no room", wsauthtest.Header(mint()), wsauth.StatusForbidden, "insufficient_scope"},
		{"with rooms that are no list", wsauthtest.Header(mint(wsauthtest.Claims{"rooms": "lobby"})),
			wsauth.StatusForbidden, "insufficient_scope"},
	} {
		t.Run(row.name, func(t *testing.T) {
			wsauthtest.ExpectClose(t, wsauthtest.Dial(t, base+"/rooms/lobby/ws", row.token), row.code, row.reason)
		})
	}
}

func TestASubjectHasFiveConnections(t *testing.T) {
	base := serve(t)
	for range 5 {
		enter(t, base, "lobby", "alice")
	}
	sixth := wsauthtest.Dial(t, base+"/rooms/ops/ws", wsauthtest.Header(token(t, "alice", inAMinute(), "ops")))
	wsauthtest.ExpectClose(t, sixth, websocket.StatusTryAgainLater, "too_many_connections")
	enter(t, base, "lobby", "bob")
}

func TestWhatIsNoRequest(t *testing.T) {
	alice := enter(t, serve(t), "lobby", "alice")
	send(t, alice, request{Type: "dance"})
	expect(t, alice, event{Type: "refused", Error: "invalid_request"})
	if err := alice.Write(testclient.Context(t), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	_, _, err := alice.Read(testclient.Context(t))
	if websocket.CloseStatus(err) != websocket.StatusInvalidFramePayloadData {
		t.Errorf("the connection ended with %v", err)
	}
}

// asChat is the variable of the environment by which the test binary is the server.
const asChat = "TEST_BINARY_IS_CHAT"

// TestMain lets a test start the whole server as a process without building it: a build may take minutes.
func TestMain(m *testing.M) {
	if os.Getenv(asChat) != "" {
		main()
		return
	}
	m.Run()
}

func TestOnSIGTERMTheProcessClosesItsConnectionsAndExits(t *testing.T) {
	t.Parallel()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	chat := exec.CommandContext(t.Context(), binary)
	chat.Env = append(os.Environ(), asChat+"=1", "ADDR=127.0.0.1:0", "CHAT_SECRET="+string(secret))
	logs, err := chat.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := chat.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(logs)
	addr := ""
	for addr == "" && lines.Scan() {
		addr = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(lines.Text())
	}
	if addr == "" {
		t.Fatal("the process does not say where it listens")
	}
	ctx := testclient.Context(t) // from here: the process may take its time to start
	var members sync.WaitGroup
	for _, name := range []string{"alice", "bob"} {
		conn := enter(t, "http://"+addr, "of "+name, name)
		members.Go(func() {
			_, _, err := conn.Read(ctx)
			if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
				t.Errorf("%s's connection ended with %v", name, err)
			}
		})
	}
	if err := chat.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	members.Wait()
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if err := chat.Wait(); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(rest, "\n"))
	}
}

// What follows needs an exact clock, which real sockets do not go with. A synctest bubble also reports goroutines that
// are left behind.

// A memory is a network for one server.
type memory struct {
	conns  chan net.Conn
	closed context.Context
	close  context.CancelFunc
}

func newMemory() *memory {
	ctx, cancel := context.WithCancel(context.Background())
	return &memory{make(chan net.Conn), ctx, cancel}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed.Done():
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.close(); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

func (m *memory) enter(t *testing.T, name string, expiry time.Time) *websocket.Conn {
	t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		m.conns <- server
		return client, nil
	}
	conn, _, err := websocket.Dial(t.Context(), "ws://chat/rooms/lobby/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token(t, name, expiry, "lobby")}},
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// start runs the server in memory; stop does what the signal does, and returns what run returned.
func start(t *testing.T, cfg config) (network *memory, stop func() error) {
	t.Helper()
	cfg.secret = secret
	network = newMemory()
	ctx, signal := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, network, cfg) }()
	return network, func() error { signal(); return <-ended }
}

func TestWhenTheWarningAndTheEndCome(t *testing.T) {
	for _, row := range []struct {
		name    string
		life    time.Duration // of the token
		warning time.Duration
		in      int
	}{
		{"an hour", time.Hour, time.Hour - 20*time.Second, 20},
		{"a minute", time.Minute, 40 * time.Second, 20},
		{"half a minute", 30 * time.Second, 20 * time.Second, 10},
		{"three seconds", 3 * time.Second, 2 * time.Second, 1},
		{"a second", time.Second, 666 * time.Millisecond, 1},
		{"over, with some leeway left", -10 * time.Second, 0, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network, stop := start(t, config{patience: time.Second})
				began := time.Now()
				alice := network.enter(t, "alice", began.Add(row.life))
				var events []event
				for len(events) < 2 {
					var e event
					if err := wsjson.Read(t.Context(), alice, &e); err != nil {
						t.Fatal(err)
					}
					events = append(events, e)
				}
				if got := time.Since(began).Truncate(time.Millisecond); got != row.warning {
					t.Errorf("the warning came after %v, want %v", got, row.warning)
				}
				want := []event{{Type: "joined", From: "alice"}, {Type: "token_expiring", In: row.in}}
				if !slices.Equal(events, want) {
					t.Errorf("got %+v, want %+v", events, want)
				}
				_, _, err := alice.Read(t.Context())
				if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("the connection ended with %v", err)
				}
				if got, want := time.Since(began), row.life+30*time.Second; got != want { // the default leeway
					t.Errorf("the end came after %v, want %v", got, want)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRenewalsThatComeTooFastAreNotJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, stop := start(t, config{patience: time.Second})
		alice := network.enter(t, "alice", inAMinute())
		want := slices.Repeat([]event{{Type: "refused", Error: "invalid_token"}}, 5)
		want = append([]event{{Type: "joined", From: "alice"}}, want...)
		want = append(want, event{Type: "refused", Error: "too_many_requests"})
		for i := range want {
			var e event
			if err := wsjson.Read(t.Context(), alice, &e); err != nil {
				t.Fatal(err)
			}
			if e != want[i] {
				t.Errorf("event %d: got %+v, want %+v", i, e, want[i])
			}
			if err := wsjson.Write(t.Context(), alice, request{Type: "token", Token: "no token"}); err != nil {
				t.Fatal(err)
			}
		}
		alice.CloseNow()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAMemberThatNeverReadsIsGoneBeforeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, stop := start(t, config{patience: time.Second})
		alice := network.enter(t, "alice", inAMinute())
		began := time.Now()
		network.enter(t, "bob", inAMinute()) // the first event for him is stuck
		var e event
		for e != (event{Type: "left", From: "bob"}) {
			if err := wsjson.Read(t.Context(), alice, &e); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(began); got != writeWait {
			t.Errorf("he was gone after %v, want %v", got, writeWait)
		}
		alice.CloseNow()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestARenewedConnectionLivesPastTheEndOfItsFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := time.Now().Add(3 * time.Second)
		alice := enterWith(t, serveOn(t, wsauthtest.ServeInMemory), "lobby", "alice", token(t, "alice", first, "lobby"))
		expect(t, alice, event{Type: "token_expiring", In: 1})

		second := first.Add(2 * time.Second)
		send(t, alice, request{Type: "token", Token: token(t, "alice", second, "lobby")})
		expect(t, alice, event{Type: "renewed", Until: second.UTC()})
		expect(t, alice, event{Type: "token_expiring", In: 1}) // of the second token
		if time.Now().Before(first) {
			t.Error("the second warning came before the end of the first token")
		}
		wsauthtest.ExpectClose(t, alice, wsauth.StatusUnauthorized, "token expired")
		if now := time.Now(); !now.Equal(second) {
			t.Errorf("closed at %v, the second token ends at %v", now, second)
		}
	})
}

func TestARefusedRenewalLeavesTheConnectionAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expiry := time.Now().Add(3 * time.Second)
		old := token(t, "alice", expiry, "lobby", "ops")
		alice := enterWith(t, serveOn(t, wsauthtest.ServeInMemory), "lobby", "alice", old)
		for _, row := range []struct {
			name  string
			token string
			err   string
		}{
			{"somebody else's", token(t, "bob", inAMinute(), "lobby"), "invalid_token"},
			{"without the room", token(t, "alice", inAMinute(), "ops"), "insufficient_scope"},
			{"the old one", old, "invalid_token"},
			{"none", "", "invalid_token"},
			{"forged", old + "A", "invalid_token"},
		} {
			send(t, alice, request{Type: "token", Token: row.token})
			if got, want := next(t, alice), (event{Type: "refused", Error: row.err}); got != want {
				t.Errorf("%s: got %+v, want %+v", row.name, got, want)
			}
		}
		send(t, alice, request{Type: "message", Text: "still here"})
		expect(t, alice, event{Type: "message", From: "alice", Text: "still here"})
		expect(t, alice, event{Type: "token_expiring", In: 1})
		wsauthtest.ExpectClose(t, alice, wsauth.StatusUnauthorized, "token expired")
		if now := time.Now(); !now.Equal(expiry) {
			t.Errorf("closed at %v, its token ends at %v", now, expiry)
		}
	})
}

func TestASlowMemberIsDroppedAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := serveOn(t, wsauthtest.ServeInMemory)
		alice := enter(t, base, "lobby", "alice")
		bob := enter(t, base, "lobby", "bob")
		carol := enter(t, base, "lobby", "carol")
		long := request{Type: "message", Text: strings.Repeat("x", 30_000)}
		// Each message is waited for, so that alice and bob are never behind. The network takes a megabyte for carol
		// before anything stands still.
		sayAndRead := func() (left string) {
			send(t, alice, long)
			for _, conn := range []*websocket.Conn{alice, bob} {
				e := next(t, conn)
				for ; e.Type != "message"; e = next(t, conn) {
					if e.Type == "left" {
						left = e.From
					}
				}
				if e.From != "alice" {
					t.Fatalf("a message from %s", e.From)
				}
			}
			return left
		}
		left := ""
		for left == "" {
			left = sayAndRead()
		}
		if left != "carol" {
			t.Fatalf("%s was dropped", left)
		}
		send(t, carol, request{Type: "message", Text: "still here"}) // she is not in the room any more
		sayAndRead()
		wsauthtest.ExpectClose(t, carol, websocket.StatusPolicyViolation, "too slow")
		send(t, bob, request{Type: "message", Text: "quiet"})
		expect(t, alice, event{Type: "message", From: "bob", Text: "quiet"})
	})
}

func TestAStopSaysHowManyHaveNotEnded(t *testing.T) {
	for _, row := range []struct {
		name     string
		patience time.Duration
		err      string // "": none
	}{
		{"patient", 2 * time.Second, ""},
		{"impatient", 500 * time.Millisecond, "2 connections have not ended"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network, stop := start(t, config{patience: row.patience})
				for _, name := range []string{"alice", "bob"} { // who do not answer a close frame: each is cut off after 1 s
					network.enter(t, name, inAMinute())
				}
				synctest.Wait()
				err := stop()
				if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			})
		})
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(config{}); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
