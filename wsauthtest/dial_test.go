package wsauthtest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// greet says who is there, and sends every message back.
func greet(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	message := []byte(claims.Subject)
	for conn.Write(ctx, websocket.MessageText, message) == nil {
		var err error
		if _, message, err = conn.Read(ctx); err != nil {
			return
		}
	}
}

func wantMessage(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	if _, message, err := conn.Read(t.Context()); err != nil || string(message) != want {
		t.Fatalf("Read = %q, %v, want %q", message, err, want)
	}
}

// everySource is an Authenticator that takes tokens from wherever a DialOption puts them.
func everySource(t *testing.T, issuer *wsauthtest.Issuer) *wsauth.Authenticator {
	t.Helper()
	opts := issuer.Options()
	opts.Extractors = []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromQuery("access_token"),
		wsauth.FromCookie("access_token"), wsauth.FromSubprotocol("bearer.")}
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// onBothNetworks runs a test with Serve, and with ServeInMemory in a bubble.
func onBothNetworks(t *testing.T, name string, f func(*testing.T, func(testing.TB, http.Handler) string)) {
	t.Run(name, func(t *testing.T) { f(t, wsauthtest.Serve) })
	t.Run(name+", in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, wsauthtest.ServeInMemory) })
	})
}

func TestAClientConnectsWithATokenFromEachSource(t *testing.T) {
	for name, carry := range map[string]func(string) wsauthtest.DialOption{
		"header":       wsauthtest.Header,
		"query":        wsauthtest.Query,
		"cookie":       wsauthtest.Cookie,
		"subprotocol":  func(token string) wsauthtest.DialOption { return wsauthtest.Subprotocol(token) },
		"firstMessage": wsauthtest.FirstMessage,
	} {
		onBothNetworks(t, name, func(t *testing.T, serve func(testing.TB, http.Handler) string) {
			issuer := wsauthtest.NewHMACIssuer(t)
			upgrade := everySource(t, issuer).Upgrade(greet, &wsauth.UpgradeOptions{FirstMessage: 5 * time.Second})
			url := serve(t, upgrade)
			for _, url := range []string{url, strings.Replace(url, "http", "ws", 1) + "/ws?room=lobby"} {
				conn := wsauthtest.Dial(t, url, carry(issuer.Token(wsauthtest.Claims{"sub": "bob"})))
				wantMessage(t, conn, "bob")
			}
			if name == "firstMessage" {
				conn := wsauthtest.Dial(t, url, carry(issuer.Forged()))
				wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "invalid_token")
				return
			}
			wsauthtest.ExpectRefused(t, url, http.StatusUnauthorized, carry(issuer.Forged()))
		})
	}
}

func TestWhatAHandshakeHasInIt(t *testing.T) {
	token := wsauthtest.NewHMACIssuer(t).Token()
	bearer := []string{"Bearer " + token}
	for _, row := range []struct {
		name   string
		path   string
		opts   []wsauthtest.DialOption
		path2  string // as it arrives
		header http.Header
	}{
		{"nothing", "/ws", nil, "/ws", nil},
		{"a nil option", "/ws", []wsauthtest.DialOption{nil}, "/ws", nil},
		{"header", "/ws", []wsauthtest.DialOption{wsauthtest.Header(token)}, "/ws", http.Header{"Authorization": bearer}},
		{"header, twice", "/", []wsauthtest.DialOption{wsauthtest.Header(token), wsauthtest.Header(token)}, "/",
			http.Header{"Authorization": append(bearer, bearer...)}},
		{"query", "/ws", []wsauthtest.DialOption{wsauthtest.Query(token)}, "/ws?access_token=" + token, nil},
		{"query, beside another", "/ws?a=%20b", []wsauthtest.DialOption{wsauthtest.Query("a b")},
			"/ws?a=%20b&access_token=a+b", nil},
		{"cookie", "/ws", []wsauthtest.DialOption{wsauthtest.Cookie(token)}, "/ws",
			http.Header{"Cookie": {"access_token=" + token}, "Origin": {"ORIGIN"}}},
		{"cookie, after an origin", "/ws",
			[]wsauthtest.DialOption{wsauthtest.SetHeader("Origin", "https://evil.example"), wsauthtest.Cookie(token)}, "/ws",
			http.Header{"Cookie": {"access_token=" + token}, "Origin": {"https://evil.example"}}},
		{"cookie, before an origin", "/ws",
			[]wsauthtest.DialOption{wsauthtest.Cookie(token), wsauthtest.SetHeader("origin", "https://evil.example")}, "/ws",
			http.Header{"Cookie": {"access_token=" + token}, "Origin": {"https://evil.example"}}},
		{"cookie, without an origin", "/ws",
			[]wsauthtest.DialOption{wsauthtest.Cookie(token), wsauthtest.SetHeader("Origin", "")}, "/ws",
			http.Header{"Cookie": {"access_token=" + token}}},
		{"subprotocol", "/ws", []wsauthtest.DialOption{wsauthtest.Subprotocol(token)}, "/ws",
			http.Header{"Sec-Websocket-Protocol": {"wsauth,bearer." + token}}},
		{"subprotocol, beside others", "/ws", []wsauthtest.DialOption{wsauthtest.Subprotocol(token, "v2", "v1")}, "/ws",
			http.Header{"Sec-Websocket-Protocol": {"v2,v1,bearer." + token}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got *http.Request
			url := wsauthtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				w.WriteHeader(http.StatusTeapot)
			}))
			wsauthtest.ExpectRefused(t, url+row.path, http.StatusTeapot, row.opts...)
			if got.RequestURI != row.path2 {
				t.Errorf("URL %s, want %s", got.RequestURI, row.path2)
			}
			for _, name := range []string{"Authorization", "Cookie", "Origin", "Sec-Websocket-Protocol"} {
				want := strings.ReplaceAll(strings.Join(row.header[name], "; "), "ORIGIN", url)
				if got := strings.Join(got.Header[name], "; "); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	onBothNetworks(t, "with a status", func(t *testing.T, serve func(testing.TB, http.Handler) string) {
		issuer := wsauthtest.NewHMACIssuer(t)
		url := serve(t, everySource(t, issuer).Upgrade(greet, nil))
		for name, row := range map[string]struct {
			status int
			opts   []wsauthtest.DialOption
		}{
			"no token":   {401, nil},
			"expired":    {401, []wsauthtest.DialOption{wsauthtest.Query(issuer.Expired())}},
			"two tokens": {400, []wsauthtest.DialOption{wsauthtest.Header(issuer.Token()), wsauthtest.Query(issuer.Token())}},
			"no origin":  {403, []wsauthtest.DialOption{wsauthtest.Cookie(issuer.Token()), wsauthtest.SetHeader("Origin", "")}},
		} {
			resp := wsauthtest.ExpectRefused(t, url, row.status, row.opts...)
			if challenge := resp.Header.Get("WWW-Authenticate"); row.status == 401 && challenge == "" {
				t.Errorf("%s: the response has no challenge", name)
			}
		}
	})
}

func TestARefusalFailsTheTestThatDials(t *testing.T) {
	issuer := wsauthtest.NewHMACIssuer(t)
	url := wsauthtest.Serve(t, issuer.Authenticator().Upgrade(greet, nil))
	nobody := wsauthtest.Serve(t, http.NotFoundHandler())
	t.Run("a test whose server ends", func(t *testing.T) { nobody = wsauthtest.Serve(t, http.NotFoundHandler()) })
	for name, row := range map[string]struct {
		dial func(testing.TB)
		says []string
	}{
		"Dial, no token": {func(t testing.TB) { wsauthtest.Dial(t, url) }, []string{"401 Unauthorized", "a token is needed"}},
		"Dial, expired": {func(t testing.TB) { wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Expired())) },
			[]string{"401 Unauthorized", "token expired"}},
		"Dial, nobody there": {func(t testing.TB) { wsauthtest.Dial(t, nobody) }, []string{"refused"}},
		"Dial, no URL":       {func(t testing.TB) { wsauthtest.Dial(t, ":") }, []string{"missing protocol scheme"}},
		"ExpectRefused, connected": {func(t testing.TB) {
			wsauthtest.ExpectRefused(t, url, 401, wsauthtest.Header(issuer.Token()))
		}, []string{"connected", "401", "CloseOnRefusal: Dial, then ExpectClose"}},
		"ExpectRefused, otherwise": {func(t testing.TB) { wsauthtest.ExpectRefused(t, url, 403) }, []string{"401 Unauthorized", "403"}},
		"ExpectRefused, nobody":    {func(t testing.TB) { wsauthtest.ExpectRefused(t, nobody, 401) }, []string{"refused", "401"}},
	} {
		t.Run(name, func(t *testing.T) { wantFailure(t, row.dial, row.says...) })
	}
}

func TestTheEndOfAConnectionIsExpected(t *testing.T) {
	closeWith := func(code websocket.StatusCode, reason string) func(context.Context, *websocket.Conn) {
		return func(ctx context.Context, conn *websocket.Conn) {
			for range 3 {
				conn.Write(ctx, websocket.MessageText, []byte("before the end"))
			}
			conn.Close(code, reason)
		}
	}
	for name, row := range map[string]struct {
		serve func(context.Context, *websocket.Conn)
		fails []string // nil: it does not
	}{
		"as expected":         {closeWith(4000, "enough"), nil},
		"with another code":   {closeWith(4001, "enough"), []string{"4001", "4000", "enough"}},
		"with another reason": {closeWith(4000, "over"), []string{"4000", "over", "enough"}},
		"not at all":          {func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }, []string{"still open", "4000"}},
		"never silent": {func(ctx context.Context, conn *websocket.Conn) {
			for ctx := conn.CloseRead(ctx); ctx.Err() == nil; {
				conn.Write(ctx, websocket.MessageText, []byte("and another thing"))
				select {
				case <-ctx.Done():
				case <-time.After(time.Hour):
				}
			}
		}, []string{"still open", "4000"}},
		"without a close frame": {func(_ context.Context, conn *websocket.Conn) { conn.CloseNow() }, []string{"EOF", "4000"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := wsauthtest.NewHMACIssuer(t)
				url := wsauthtest.ServeInMemory(t, issuer.Authenticator().Upgrade(row.serve, nil))
				token := issuer.Token(wsauthtest.Claims{"exp": time.Now().AddDate(1, 0, 0)})
				conn := wsauthtest.Dial(t, url, wsauthtest.Header(token))
				expect := func(t testing.TB) { wsauthtest.ExpectClose(t, conn, 4000, "enough") }
				if row.fails == nil {
					expect(t)
					return
				}
				wantFailure(t, expect, row.fails...)
			})
		})
	}
}

func TestInABubbleTheEndOfATokenTakesNoTime(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		issuer := wsauthtest.NewHMACIssuer(t)
		url := wsauthtest.ServeInMemory(t, issuer.Authenticator().Upgrade(greet, nil))
		dialled := time.Now()
		conn := wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token()))
		wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
		if lived, want := time.Since(dialled), time.Hour+30*time.Second; lived != want {
			t.Errorf("it came after %v, want %v", lived, want)
		}
		wsauthtest.ExpectRefused(t, url, 401, wsauthtest.Header(issuer.Expired()))
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestInMemoryTwoPeersMayWriteBeforeTheyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := wsauthtest.NewHMACIssuer(t)
		url := wsauthtest.ServeInMemory(t, issuer.Authenticator().Upgrade(greet, nil))
		conn := wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token()))
		synctest.Wait() // the greeting is written
		long := strings.Repeat("x", 30_000)
		for range 10 {
			if err := conn.Write(t.Context(), websocket.MessageText, []byte(long)); err != nil {
				t.Fatal(err)
			}
		}
		wantMessage(t, conn, "alice")
		for range 10 {
			wantMessage(t, conn, long)
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	})
}

func TestServersAndConnectionsEndWithTheirTest(t *testing.T) {
	for name, serve := range map[string]func(testing.TB, http.Handler) string{
		"Serve": wsauthtest.Serve, "ServeInMemory": wsauthtest.ServeInMemory,
	} {
		t.Run(name, func(t *testing.T) {
			var url string
			ended := make(chan struct{})
			t.Run("a test", func(t *testing.T) {
				issuer := wsauthtest.NewHMACIssuer(t)
				url = serve(t, issuer.Authenticator().Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					defer close(ended)
					greet(ctx, conn)
				}, nil))
				wantMessage(t, wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token())), "alice")
			})
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("the connection is still there")
			}
			wantFailure(t, func(t testing.TB) { wsauthtest.Dial(t, url) })
		})
	}
}
