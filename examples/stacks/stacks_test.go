package stacks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/centrifugal/centrifuge"
	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
	"github.com/wsauth/wsauth/wsauthtest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	browsertest.Main(m)
}

// A trusted is an issuer and the Authenticator that trusts it.
type trusted struct {
	*wsauthtest.Issuer
	auth *wsauth.Authenticator
}

func newTrusted(t *testing.T) trusted {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	opts := issuer.Options()
	opts.Leeway = -1
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return trusted{issuer, auth}
}

// lives is a token for so long, to the millisecond.
func (i trusted) lives(d time.Duration) string {
	end := float64(time.Now().Add(d).UnixMilli()) / 1000
	return i.Token(wsauthtest.Claims{"iat": nil, "exp": end, "scope": "profile chat:admin"})
}

// brief is long enough to connect with on a busy machine, and short enough to wait for.
const brief = 3 * time.Second

// onMux makes a handler of what adds a route to a mux.
func onMux(add func(*wsauth.Authenticator, *http.ServeMux)) func(*testing.T, trusted) http.Handler {
	return func(_ *testing.T, i trusted) http.Handler {
		mux := http.NewServeMux()
		add(i.auth, mux)
		return mux
	}
}

func router(f func(*wsauth.Authenticator) http.Handler) func(*testing.T, trusted) http.Handler {
	return func(_ *testing.T, i trusted) http.Handler { return f(i.auth) }
}

// team has nobody but its captain.
type team struct{ captain string }

func (t team) Has(_ context.Context, subject string) error {
	if subject != t.captain {
		return errors.New("not in the team")
	}
	return nil
}

func netHTTPFor(captain string) func(*testing.T, trusted) http.Handler {
	return func(_ *testing.T, i trusted) http.Handler { return inNetHTTP(i.auth, team{captain}) }
}

func TestAWebSocketOfEveryStackEndsWithItsToken(whole *testing.T) {
	whole.Parallel()
	var ends sync.WaitGroup // all at one time
	defer ends.Wait()
	for _, row := range []struct {
		name    string
		handler func(*testing.T, trusted) http.Handler
		path    string
		say     string // what the client says first
		want    string // in the first message
		leeway  time.Duration
	}{
		{"net/http", netHTTPFor("alice"), "/ws", "", "hello alice", 0},
		{"net/http, with a scope", netHTTPFor("alice"), "/admin/ws", "", "hello alice", 0},
		{"net/http, with a check", netHTTPFor("alice"), "/team/ws", "", "hello alice", 0},
		{"chi", router(inChi), "/ws", "", "hello alice", 0},
		{"gin", router(inGin), "/ws", "", "hello alice", 0},
		{"echo", router(inEcho), "/ws", "", "hello alice", 0},
		{"gorilla/mux", router(inGorillaMux), "/ws", "", "hello alice", 0},
		{"httprouter", router(inHTTPRouter), "/ws", "", "hello alice", 0},
		{"httprouter, with a parameter", router(inHTTPRouter), "/rooms/lobby/ws", "", "this is lobby", 0},
		{"gorilla/websocket", onMux(withGorilla), "/ws", "", "hello alice", 0},
		{"coder", onMux(withCoder), "/ws", "", "hello alice", 0},
		{"gobwas", onMux(withGobwas), "/ws", "", "hello alice", 0},
		{"x/net", onMux(withXNet), "/ws", "", "hello alice", 0},
		{"melody", onMux(withMelody), "/ws", "", "hello alice", 0},
		{"centrifuge", onNode, "/ws", `{"id":1,"connect":{}}`, `"connect":{"client":`, 0},
		{"a proxy", proxied, "/ws", "", "hello alice", 30 * time.Second},
	} {
		whole.Run(row.name, func(t *testing.T) {
			i := newTrusted(whole)
			address := wsauthtest.Serve(whole, row.handler(whole, i))
			wsauthtest.ExpectRefused(t, address+row.path, http.StatusUnauthorized)
			wsauthtest.ExpectRefused(t, address+row.path, http.StatusUnauthorized, wsauthtest.Header(i.Forged()))
			conn := wsauthtest.Dial(whole, address+row.path, wsauthtest.Header(i.lives(brief-row.leeway)))
			if row.say != "" {
				if err := conn.Write(t.Context(), websocket.MessageText, []byte(row.say)); err != nil {
					t.Fatal(err)
				}
			}
			_, message, err := conn.Read(t.Context())
			if err != nil || !strings.Contains(string(message), row.want) {
				t.Errorf("got %q, %v, want %q", message, err, row.want)
			}
			ends.Go(func() {
				ctx, cancel := context.WithTimeout(whole.Context(), 20*time.Second)
				defer cancel()
				_, _, err := conn.Read(ctx)
				want := websocket.CloseError{Code: wsauth.StatusUnauthorized, Reason: "token expired"}
				var got websocket.CloseError
				if errors.As(err, &got); got != want {
					whole.Errorf("%s: the connection ends with %v, want %v", row.name, err, want)
				}
			})
		})
	}
}

func onNode(t *testing.T, i trusted) http.Handler {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	withCentrifuge(i.auth, mux, node)
	if err := node.Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Shutdown(context.Background()) })
	return mux
}

// upstream is a server that knows nothing of tokens. It says hello to X-User, if no token got there.
func upstream(w http.ResponseWriter, r *http.Request) {
	text := "hello " + r.Header.Get("X-User")
	for _, values := range r.Header {
		if strings.Contains(strings.Join(values, " "), "eyJ") {
			text = "a header has a token"
		}
	}
	if strings.Contains(r.RequestURI, "eyJ") {
		text = "the URL has a token"
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"phoenix"}, InsecureSkipVerify: true, // the proxy has another host
	})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.Write(r.Context(), websocket.MessageText, []byte(text))
	conn.Read(r.Context())
}

func proxied(t *testing.T, i trusted) http.Handler {
	target, err := url.Parse(wsauthtest.Serve(t, http.HandlerFunc(upstream)))
	if err != nil {
		t.Fatal(err)
	}
	handler, err := inFrontOf(target, i.Options().Issuers)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func TestAServerOfAnotherLanguageIsReachedAsItsClientsConnect(t *testing.T) {
	i := newTrusted(t)
	address := wsauthtest.Serve(t, proxied(t, i))
	token := i.lives(time.Minute)
	for _, row := range []struct {
		name, path string
		protocols  []string
		protocol   string // that is selected
	}{
		{"Phoenix, authToken", "/socket/websocket?vsn=2.0.0",
			[]string{"phoenix", "base64url.bearer.phx." + base64URL(token)}, "phoenix"},
		{"Phoenix, params", "/socket/websocket?access_token=" + token + "&vsn=2.0.0", nil, ""},
		{"Socket.IO, query", "/socket.io/?access_token=" + token + "&EIO=4&transport=websocket", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, _, err := websocket.Dial(t.Context(), address+row.path, &websocket.DialOptions{Subprotocols: row.protocols})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if _, message, err := conn.Read(t.Context()); string(message) != "hello alice" {
				t.Errorf("got %q, %v, want hello alice", message, err)
			}
			if got := conn.Subprotocol(); got != row.protocol {
				t.Errorf("got subprotocol %q, want %q", got, row.protocol)
			}
		})
	}
}

func TestAnOrdinaryRouteOfEveryRouterNeedsAToken(t *testing.T) {
	i := newTrusted(t)
	for _, row := range []struct {
		name    string
		handler func(*testing.T, trusted) http.Handler
	}{
		{"net/http", netHTTPFor("alice")},
		{"chi", router(inChi)},
		{"gin", router(inGin)},
		{"echo", router(inEcho)},
		{"gorilla/mux", router(inGorillaMux)},
		{"httprouter", router(inHTTPRouter)},
		{"fiber", onFiber},
	} {
		t.Run(row.name, func(t *testing.T) {
			address := wsauthtest.Serve(t, row.handler(t, i))
			for _, ask := range []struct {
				name, header string
				status       int
				body         string
			}{
				{"without a token", "", 401, ""},
				{"with a forged one", "Bearer " + i.Forged(), 401, ""},
				{"with a good one", "Bearer " + i.lives(time.Minute), 200, "alice"},
			} {
				r, err := http.NewRequest(http.MethodGet, address+"/me", nil)
				if err != nil {
					t.Fatal(err)
				}
				if ask.header != "" {
					r.Header.Set("Authorization", ask.header)
				}
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != ask.status || ask.body != "" && string(body) != ask.body {
					t.Errorf("%s: got %d %q, %v, want %d %q", ask.name, resp.StatusCode, body, err, ask.status, ask.body)
				}
			}
		})
	}
}

// onFiber makes a net/http handler of a fiber app: each request goes through the app's own test entrance.
func onFiber(t *testing.T, i trusted) http.Handler {
	app := inFiber(i.auth)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := httptest.NewRequest(r.Method, r.URL.Path, nil)
		in.Header = r.Header
		resp, err := app.Test(in, -1)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	})
}

func TestACheckOfTheClaimsRefusesOthers(t *testing.T) {
	i := newTrusted(t)
	address := wsauthtest.Serve(t, netHTTPFor("bob")(t, i))
	plain := wsauthtest.Header(i.Token())
	wsauthtest.ExpectRefused(t, address+"/admin/ws", http.StatusForbidden, plain)
	wsauthtest.ExpectRefused(t, address+"/team/ws", http.StatusForbidden, plain)
}

func TestSTOMPBringsItsTokenInTheFirstFrameAndEndsWithIt(t *testing.T) {
	t.Parallel()
	i := newTrusted(t)
	address := wsauthtest.Serve(t, onMux(withSTOMP)(t, i))
	say := func(frame string) *websocket.Conn {
		opts := &websocket.DialOptions{Subprotocols: []string{"v12.stomp"}}
		conn, _, err := websocket.Dial(t.Context(), address+"/ws", opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseNow() })
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for _, row := range []struct{ name, frame, reason string }{
		{"a forged token", "CONNECT\nAuthorization:Bearer " + i.Forged() + "\n\n\x00", "invalid_token"},
		{"no token", "CONNECT\nlogin:alice\n\n\x00", "invalid_request"},
		{"another command", "SEND\nAuthorization:Bearer " + i.lives(time.Minute) + "\n\n\x00", "invalid_request"},
		{"a token in the body", "CONNECT\n\nAuthorization:Bearer " + i.lives(time.Minute) + "\n\x00", "invalid_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			wsauthtest.ExpectClose(t, say(row.frame), wsauth.StatusUnauthorized, row.reason)
		})
	}
	conn := say("CONNECT\r\naccept-version:1.2\r\nAuthorization:Bearer " + i.lives(brief) + "\r\n\r\n\x00")
	_, message, err := conn.Read(t.Context())
	if want := "CONNECTED\nversion:1.2\nuser-name:alice\n\n\x00"; string(message) != want {
		t.Errorf("got %q, %v, want %q", message, err, want)
	}
	wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
}

// onEvents serves the stream, and a page of the same origin.
func onEvents(t *testing.T, i trusted) (address string) {
	t.Helper()
	handler, err := withEventSource(i.Options().Issuers)
	if err != nil {
		t.Fatal(err)
	}
	return wsauthtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `<!doctype html><title>events</title><link rel="icon" href="data:,">`)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

func TestAStreamOfEventsEndsWithItsToken(t *testing.T) {
	t.Parallel()
	i := newTrusted(t)
	address := onEvents(t, i)
	token := i.lives(brief - 30*time.Second) // wsauth's own leeway
	r, err := http.NewRequest(http.MethodGet, address+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	if !in.Scan() || in.Text() != "data: hello alice" {
		t.Errorf("got %q, want data: hello alice", in.Text())
	}
	for in.Scan() {
	}
	if err := in.Err(); err != nil {
		t.Errorf("the stream ends with %v, want an end in order", err)
	}
}

// EventSource comes back with the same URL, and with the ticket that it has used up.
func TestEventSourceConnectsWithATicketOnce(t *testing.T) {
	t.Parallel()
	i := newTrusted(t)
	page := browsertest.Open(t, onEvents(t, i))
	var got []string
	page.Eval(fmt.Sprintf(`new Promise(async (resolve) => {
		const headers = { Authorization: "Bearer %s" };
		const { ticket } = await (await fetch("/ticket", { method: "POST", headers })).json();
		const events = new EventSource("/events?ticket=" + ticket);
		const got = [];
		events.onmessage = ({ data }) => got.includes(data) || got.push(data);
		events.onerror = () => {
			got.push(events.readyState === EventSource.CLOSED ? "closed" : "connecting");
			if (events.readyState === EventSource.CLOSED) resolve(got);
		};
	})`, i.lives(brief-30*time.Second)), &got)
	if want := "hello alice, connecting, closed"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestACallOfConnectEndsWithItsToken(t *testing.T) {
	t.Parallel()
	i := newTrusted(t)
	srv := httptest.NewUnstartedServer(onMux(withConnect)(t, i))
	srv.EnableHTTP2 = true // gRPC needs it
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for _, row := range []struct {
		name string
		opts []connect.ClientOption
	}{
		{"Connect", nil},
		{"gRPC-Web", []connect.ClientOption{connect.WithGRPCWeb()}},
		{"gRPC", []connect.ClientOption{connect.WithGRPC()}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](srv.Client(), srv.URL+greetings, row.opts...)
			call := func(token string) (first string, err error) {
				req := connect.NewRequest(&emptypb.Empty{})
				req.Header().Set("Authorization", "Bearer "+token)
				stream, err := client.CallServerStream(t.Context(), req)
				if err != nil {
					return "", err
				}
				defer stream.Close()
				for stream.Receive() {
					first = stream.Msg().Value
				}
				return first, stream.Err()
			}
			if _, err := call(i.Forged()); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("a forged token got %v, want unauthenticated", err)
			}
			first, err := call(i.lives(brief))
			if first != "hello alice" || connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("got %q and %v, want hello alice, and unauthenticated in the end", first, err)
			}
		})
	}
}
