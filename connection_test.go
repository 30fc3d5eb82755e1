package wsauth_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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

func tokenWith(claims map[string]any, ttl time.Duration) string {
	all := map[string]any{"sub": "alice", "exp": time.Now().Add(ttl).Unix()}
	for name, v := range claims {
		all[name] = v
	}
	return upgradeKey.Token(all)
}

// renewing takes every message for a new token and answers what Renew said.
func renewing(ctx context.Context, conn *websocket.Conn) {
	for {
		_, token, err := conn.Read(ctx)
		if err != nil {
			return
		}
		answer := "renewed"
		if _, err := wsauth.Renew(ctx, string(token)); err != nil {
			answer = err.Error()
		}
		conn.Write(ctx, websocket.MessageText, []byte(answer))
	}
}

func exchange(t *testing.T, conn *websocket.Conn, message string) string {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	_, answer, err := conn.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

type heldKey struct{}

func TestARenewedConnectionLivesToTheEndOfItsNewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after *wsauth.Claims
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			held := context.WithValue(ctx, heldKey{}, "of the application")
			before, _ = wsauth.ClaimsFromContext(held)
			renewing(ctx, conn)
			after, _ = wsauth.ClaimsFromContext(held)
		}, nil))
		start := time.Now()
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(nil, time.Hour))})
		for n := range 3 {
			time.Sleep(30 * time.Minute)
			if got := exchange(t, conn, tokenWith(map[string]any{"jti": fmt.Sprint(n)}, time.Hour)); got != "renewed" {
				t.Fatal(got)
			}
		}
		_, _, err := conn.Read(t.Context())
		if lived := time.Since(start); lived != 150*time.Minute || websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("lived %v, ended with %v", lived, err)
		}
		synctest.Wait()
		if before.ID != "" || after.ID != "2" {
			t.Errorf("claims before %q, after %q", before.ID, after.ID)
		}
	})
}

func TestRenewRefuses(t *testing.T) {
	stranger := mint.New("HS256", "")
	first := map[string]any{"sid": "s1", "client_id": "app", "azp": "party", "scope": "chat"}
	same := func(change map[string]any) map[string]any {
		all := map[string]any{}
		for name, v := range first {
			all[name] = v
		}
		for name, v := range change {
			all[name] = v
		}
		return all
	}
	for name, row := range map[string]struct {
		token func() string
		want  string
	}{
		"nothing that is wrong":     {func() string { return tokenWith(same(nil), 2*time.Hour) }, "renewed"},
		"another subject":           {func() string { return tokenWith(same(map[string]any{"sub": "mallory"}), 2*time.Hour) }, "sub:"},
		"another issuer":            {func() string { return tokenWith(same(map[string]any{"iss": "elsewhere"}), 2*time.Hour) }, "iss:"},
		"another session":           {func() string { return tokenWith(same(map[string]any{"sid": "s2"}), 2*time.Hour) }, "sid:"},
		"no session":                {func() string { return tokenWith(same(map[string]any{"sid": nil}), 2*time.Hour) }, "sid:"},
		"another client":            {func() string { return tokenWith(same(map[string]any{"client_id": "other"}), 2*time.Hour) }, "client_id"},
		"another authorized party":  {func() string { return tokenWith(same(map[string]any{"azp": "other"}), 2*time.Hour) }, "azp"},
		"a client of another type":  {func() string { return tokenWith(same(map[string]any{"client_id": 1}), 2*time.Hour) }, "client_id"},
		"the same expiry":           {func() string { return tokenWith(same(nil), time.Hour) }, "exp: not later"},
		"an earlier expiry":         {func() string { return tokenWith(same(nil), time.Minute) }, "exp: not later"},
		"an expired token":          {func() string { return tokenWith(same(nil), -time.Minute) }, "token expired"},
		"a forged token":            {func() string { return stranger.Token(map[string]any{"sub": "alice"}) }, "invalid token"},
		"no token":                  {func() string { return "" }, "invalid token"},
		"what Require does not let": {func() string { return tokenWith(same(map[string]any{"scope": "other"}), 2*time.Hour) }, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newUpgradeAuth(t)
				srv := newMemoryServer(t, auth.Middleware(wsauth.RequireScopes("chat")(auth.Upgrade(renewing, nil))))
				start := time.Now()
				conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(first, time.Hour))})
				if got := exchange(t, conn, row.token()); !strings.Contains(got, row.want) {
					t.Errorf("Renew said %q", got)
				}
				conn.Read(t.Context())
				want := time.Hour
				if row.want == "renewed" {
					want = 2 * time.Hour
				}
				if lived := time.Since(start); lived != want {
					t.Errorf("the connection lived %v", lived)
				}
			})
		})
	}
}

// A check may look at its context, as handlers do.
func TestARequireThatRenewAsksFindsTheNewClaimsInItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		admin := wsauth.Require(func(ctx context.Context, _ *wsauth.Claims) error {
			if c, ok := wsauth.ClaimsFromContext(ctx); !ok || !c.HasScope("admin") {
				return errors.New("no admin")
			}
			return nil
		})
		done := make(chan struct{})
		srv := newMemoryServer(t, auth.Middleware(admin(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			defer close(done)
			_, err := wsauth.Renew(ctx, tokenWith(map[string]any{"scope": "guest"}, 2*time.Hour))
			wantKind(t, err, wsauth.ErrForbidden)
			if c, _ := wsauth.ClaimsFromContext(ctx); !c.HasScope("admin") {
				t.Error("the claims have changed")
			}
			_, err = wsauth.Renew(ctx, tokenWith(map[string]any{"scope": "admin guest"}, 2*time.Hour))
			wantKind(t, err, nil)
		}, nil))))
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(map[string]any{"scope": "admin"}, time.Hour))})
		conn.Read(t.Context())
		<-done
	})
}

func TestRenewAsksARequireThatIsOutsideOfAnotherAuthenticator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := newUpgradeAuth(t)
		partners := newUpgradeAuth(t, func(o *wsauth.Options) {
			o.Extractors = []wsauth.Extractor{wsauth.FromCookie("partner")}
		})
		done := make(chan struct{})
		h := users.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			defer close(done)
			_, err := wsauth.Renew(ctx, tokenWith(map[string]any{"scope": "guest"}, 2*time.Hour))
			wantKind(t, err, wsauth.ErrForbidden)
		}, nil)
		srv := newMemoryServer(t, users.Middleware(wsauth.RequireScopes("admin")(partners.Optional(h))))
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(map[string]any{"scope": "admin"}, time.Hour))})
		conn.Read(t.Context())
		<-done
	})
}

func TestRenewNeedsAConnection(t *testing.T) {
	auth := newUpgradeAuth(t)
	for name, ctx := range map[string]context.Context{
		"a bare context":          t.Context(),
		"claims nobody verified":  wsauth.ContextWithClaims(t.Context(), &wsauth.Claims{Subject: "alice"}),
		"a request's own context": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if ctx == nil {
				r, _ := http.NewRequest(http.MethodGet, "/", nil)
				r.Header = bearerHeader(tokenFor(time.Hour))
				authenticated, err := auth.Authenticate(r)
				if err != nil {
					t.Fatal(err)
				}
				ctx = authenticated.Context()
			}
			if _, err := wsauth.Renew(ctx, tokenFor(2*time.Hour)); !errors.Is(err, wsauth.ErrForbidden) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestRenewalsAreNotBeyondMaxLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(renewing, &wsauth.UpgradeOptions{MaxLifetime: 90 * time.Minute}))
		start := time.Now()
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(nil, time.Hour))})
		if got := exchange(t, conn, tokenWith(nil, 5*time.Hour)); got != "renewed" {
			t.Fatal(got)
		}
		conn.Read(t.Context())
		if lived := time.Since(start); lived != 90*time.Minute {
			t.Errorf("lived %v", lived)
		}
	})
}

func TestAFloodOfRenewalsIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
			Name: "https://id.example.com/", Algorithms: []string{"HS256"},
			Keys: wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
				asked++
				return upgradeKey.Private, nil
			}),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		srv := newMemoryServer(t, auth.Upgrade(renewing, nil))
		token := tokenWith(map[string]any{"iss": "https://id.example.com/"}, time.Hour)
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(token)})
		defer conn.Close(websocket.StatusNormalClosure, "")
		for range 1000 { // in ten seconds
			exchange(t, conn, token)
			time.Sleep(10 * time.Millisecond)
		}
		if asked > 1+5+10 {
			t.Errorf("%d tokens were verified", asked)
		}
		exchange(t, conn, token)
		if got := exchange(t, conn, token); !strings.Contains(got, wsauth.ErrTooMany.Error()) {
			t.Errorf("Renew said %q", got)
		}
		time.Sleep(10 * time.Second)
		renewed := tokenWith(map[string]any{"iss": "https://id.example.com/"}, 2*time.Hour)
		if got := exchange(t, conn, renewed); got != "renewed" {
			t.Errorf("after the flood, Renew said %q", got)
		}
	})
}

// Whoever has renewed a connection lives on, and whoever is closed has not renewed.
func TestOfARenewalAndTheEndExactlyOneHappens(t *testing.T) {
	renewAt := func(t *testing.T, ctx context.Context, offset time.Duration) bool {
		claims, _ := wsauth.ClaimsFromContext(ctx)
		token := tokenWith(nil, time.Hour)
		time.Sleep(time.Until(claims.Expiry) + offset)
		_, err := wsauth.Renew(ctx, token)
		if err != nil && !errors.Is(err, wsauth.ErrExpired) {
			t.Error(err)
		}
		return err == nil
	}
	for name, serve := range map[string]func(*testing.T, context.Context, *websocket.Conn, time.Duration) bool{
		"while serve reads": func(t *testing.T, ctx context.Context, conn *websocket.Conn, offset time.Duration) (renewed bool) {
			var renewal sync.WaitGroup
			renewal.Go(func() { renewed = renewAt(t, ctx, offset) })
			conn.Read(ctx)
			renewal.Wait()
			return renewed
		},
		"and serve returns when it fails": func(t *testing.T, ctx context.Context, conn *websocket.Conn, offset time.Duration) bool {
			renewed := renewAt(t, ctx, offset)
			if renewed {
				conn.Read(ctx)
			}
			return renewed
		},
	} {
		for offset := -50 * time.Microsecond; offset <= 50*time.Microsecond; offset += 10 * time.Microsecond {
			t.Run(name+"/"+offset.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var renewed atomic.Bool
					srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
						renewed.Store(serve(t, ctx, conn, offset))
					}, nil))
					start := time.Now()
					conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(nil, time.Minute))})
					_, _, err := conn.Read(t.Context())
					lived := time.Since(start)
					synctest.Wait()
					if want := map[bool]time.Duration{true: time.Hour, false: time.Minute}[renewed.Load()]; lived != want {
						t.Errorf("renewed: %v, lived %v", renewed.Load(), lived)
					}
					if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
						t.Errorf("the client sees %v", err)
					}
					time.Sleep(time.Second)
				})
			})
		}
	}
}

func TestAClientMayBringItsTokenAsTheFirstMessage(t *testing.T) {
	const within = 10 * time.Second
	text, binary := websocket.MessageText, websocket.MessageBinary
	good := func() string { return tokenWith(nil, time.Hour) }
	for name, row := range map[string]struct {
		after   time.Duration
		kind    websocket.MessageType
		message func() string
		code    websocket.StatusCode // 0: accepted
		reason  string
	}{
		"bare":                       {0, text, good, 0, ""},
		"in JSON":                    {0, text, func() string { return `{"access_token":"` + good() + `"}` }, 0, ""},
		"in JSON after white space":  {0, text, func() string { return "\n {\"access_token\":\"" + good() + "\"}\n" }, 0, ""},
		"in JSON with other members": {0, text, func() string { return `{"type":"auth", "access_token":"` + good() + `"}` }, 0, ""},
		"at the last moment":         {within - 1, text, good, 0, ""},
		"too late":                   {within, text, good, 3008, "token_required"},
		"binary":                     {0, binary, good, 3000, "invalid_request"},
		"empty":                      {0, text, func() string { return "" }, 3000, "invalid_token"},
		"rubbish":                    {0, text, func() string { return "hello" }, 3000, "invalid_token"},
		"forged":                     {0, text, func() string { return mint.New("HS256", "").Token(nil) }, 3000, "invalid_token"},
		"expired":                    {0, text, func() string { return tokenWith(nil, -time.Hour) }, 3000, "invalid_token"},
		"JSON without it":            {0, text, func() string { return `{"token":"x"}` }, 3000, "invalid_request"},
		"JSON with it twice":         {0, text, func() string { return `{"access_token":"x","access_token":"` + good() + `"}` }, 3000, "invalid_request"},
		"JSON with a number":         {0, text, func() string { return `{"access_token":1}` }, 3000, "invalid_request"},
		"oversized":                  {0, text, func() string { return strings.Repeat("x", 9000) }, 3000, "invalid_request"},
		"far oversized":              {0, text, func() string { return strings.Repeat("x", 1<<20) }, 3000, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Bool
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					served.Store(true)
					claims, ok := wsauth.ClaimsFromContext(ctx)
					if !ok || claims.Subject != "alice" {
						t.Errorf("claims %v", claims)
					}
					echo(ctx, conn)
				}, &wsauth.UpgradeOptions{FirstMessage: within}))
				start := time.Now()
				conn := srv.dial(t, &websocket.DialOptions{})
				time.Sleep(row.after)
				go conn.Write(t.Context(), row.kind, []byte(row.message()))
				if row.code == 0 {
					synctest.Wait()
					if got := exchange(t, conn, "hi"); got != "hi" {
						t.Errorf("echoed %q", got)
					}
				}
				_, _, err := conn.Read(t.Context())
				var closed websocket.CloseError
				errors.As(err, &closed)
				switch lived := time.Since(start); {
				case row.code == 0:
					if end := row.after.Truncate(time.Second) + time.Hour; lived != end || closed.Code != wsauth.StatusUnauthorized {
						t.Errorf("lived %v, ended with %v", lived, err)
					}
				case closed.Code != row.code || closed.Reason != row.reason || served.Load() || lived != row.after:
					t.Errorf("served: %v, lived %v, ended with %v", served.Load(), lived, err)
				}
			})
		})
	}
}

func TestWithFirstMessageABadTokenAndAForeignOriginAreRefusedAsEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Second}))
		for name, row := range map[string]struct {
			header http.Header
			status int
		}{
			"a bad token":      {bearerHeader("bad"), 401},
			"a foreign origin": {http.Header{"Origin": {"https://evil.example"}}, 403},
			"two tokens":       {http.Header{"Authorization": {"Bearer a", "Bearer b"}}, 400},
		} {
			_, resp, err := websocket.Dial(t.Context(), "ws://server/", &websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: row.header})
			if err == nil || resp.StatusCode != row.status {
				t.Errorf("%s: %v", name, resp)
			}
		}
		req, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
		resp, err := srv.client().Do(req)
		if err != nil || resp.StatusCode != 401 {
			t.Fatalf("a plain request: %v, %v", resp, err)
		}
		resp.Body.Close()
	})
}

func TestAnAnnouncedGigabyteIsNoFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: 5 * time.Second}))
		conn := srv.dialRaw()
		io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		start := time.Now()
		conn.Write([]byte{0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0})
		sent := 0
		for {
			n, err := conn.Write(make([]byte, 4096))
			if sent += n; err != nil {
				break
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v and %d bytes", took, sent)
		}
		conn.Close()
	})
}

func TestARefusedHandshakeMayBeClosedReadably(t *testing.T) {
	outage := func(context.Context, string, string) (any, error) { return nil, errors.New("the vault is down") }
	auth := newUpgradeAuth(t)
	down, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{Name: "x", AnyAudience: true, Keys: wsauth.KeyFunc(outage)}}})
	if err != nil {
		t.Fatal(err)
	}
	never := func(context.Context, *websocket.Conn) { t.Error("served") }
	opts := &wsauth.UpgradeOptions{CloseOnRefusal: true}
	upgrade := auth.Upgrade(never, opts)
	deny := wsauth.Require(func(context.Context, *wsauth.Claims) error { return errors.New("no") })
	for name, row := range map[string]struct {
		handler http.Handler
		header  func() http.Header
		code    websocket.StatusCode
		reason  string
	}{
		"no token":         {upgrade, func() http.Header { return nil }, 3000, "token_required"},
		"a bad one":        {upgrade, func() http.Header { return bearerHeader("bad") }, 3000, "invalid_token"},
		"an expired one":   {upgrade, func() http.Header { return bearerHeader(tokenFor(-time.Hour)) }, 3000, "invalid_token"},
		"two":              {upgrade, func() http.Header { return http.Header{"Authorization": {"Bearer a", "Bearer b"}} }, 3000, "invalid_request"},
		"a foreign origin": {upgrade, func() http.Header { return http.Header{"Origin": {"https://evil.example"}} }, 3003, "foreign_origin"},
		"Middleware":       {auth.Middleware(upgrade), func() http.Header { return bearerHeader("bad") }, 3000, "invalid_token"},
		"Require": {auth.Middleware(deny(upgrade)), func() http.Header { return bearerHeader(tokenFor(time.Hour)) },
			3003, "insufficient_scope"},
		"no keys": {down.Upgrade(never, opts), func() http.Header { return bearerHeader(tokenWith(map[string]any{"iss": "x"}, time.Hour)) },
			1013, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, row.handler)
				conn, _, err := websocket.Dial(t.Context(), "ws://server/", &websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: row.header()})
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = conn.Read(t.Context())
				var closed websocket.CloseError
				if errors.As(err, &closed); closed.Code != row.code || closed.Reason != row.reason {
					t.Errorf("the client sees %v", err)
				}
			})
		})
	}
}

func TestWithCloseOnRefusalOtherRequestsGetTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		upgrade := auth.Upgrade(echo, &wsauth.UpgradeOptions{CloseOnRefusal: true})
		mux := http.NewServeMux()
		mux.Handle("/", upgrade)
		for name, row := range map[string]struct {
			handler http.Handler
			plain   bool
		}{
			"no handshake":                          {upgrade, true},
			"Middleware with a mux between":         {auth.Middleware(mux), false},
			"Middleware before an ordinary handler": {auth.Middleware(http.NotFoundHandler()), false},
			"Middleware before Upgrade without it":  {auth.Middleware(auth.Upgrade(echo, nil)), false},
		} {
			srv := newMemoryServer(t, row.handler)
			req, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
			if !row.plain {
				req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
					"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
			}
			resp, err := srv.client().Do(req)
			if err != nil || resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
				t.Fatalf("%s: %v, %v", name, resp, err)
			}
			resp.Body.Close()
		}
	})
}

func TestHandshakesBeingRefusedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{CloseOnRefusal: true, Grace: time.Minute}))
		start := time.Now()
		statuses := map[int]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 400 {
			all.Go(func() { // a client that does not answer the close frame
				conn := srv.dialRaw()
				defer conn.Close()
				io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
					"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				statuses[resp.StatusCode]++
				mu.Unlock()
				if resp.StatusCode == 101 {
					io.Copy(io.Discard, r)
				}
			})
		}
		all.Wait()
		if statuses[101] != 256 || statuses[401] != 144 {
			t.Errorf("statuses %v", statuses)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("they were gone after %v", took)
		}
	})
}

func TestShutdownClosesEveryConnectionAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		var ended atomic.Int32
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			conn.Read(ctx)
			<-ctx.Done()
			if context.Cause(ctx) != http.ErrServerClosed {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			time.Sleep(time.Second) // cleans up
			ended.Add(1)
		}, nil))
		const n = 20
		var all sync.WaitGroup
		for range n {
			conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
			all.Go(func() {
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
					t.Errorf("the client sees %v", err)
				}
			})
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := auth.Shutdown(short)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "20 connections") {
			t.Errorf("Shutdown with too little time: %v", err)
		}
		if err := auth.Shutdown(t.Context()); err != nil || ended.Load() != n {
			t.Errorf("Shutdown: %v, %d ended", err, ended.Load())
		}
		all.Wait()
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown again: %v", err)
		}
		_, resp, err := websocket.Dial(t.Context(), "ws://server/", &websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: bearerHeader(tokenFor(time.Hour))})
		if err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("after Shutdown: %v", resp)
		}
	})
}

// The client has a connection as soon as it reads the answer: before main may return, it must be told.
func TestShutdownWaitsForAConnectionThatIsBeingMade(t *testing.T) {
	for name, row := range map[string]struct {
		header http.Header
		status int
	}{
		"and comes to be":         {http.Header{"Sec-Websocket-Version": {"13"}}, 101},
		"and does not, after all": {http.Header{"Sec-Websocket-Version": {"12"}}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newUpgradeAuth(t)
				h := auth.Upgrade(func(context.Context, *websocket.Conn) { t.Error("served") }, nil)
				srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.Header["Sec-Websocket-Version"] = row.header["Sec-Websocket-Version"]
					h.ServeHTTP(slowWriter{slowHijacker{w, time.Minute}}, r)
				}))
				told := make(chan error, 1)
				go func() {
					conn, resp, err := websocket.Dial(context.Background(), "ws://server/",
						&websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: bearerHeader(tokenFor(time.Hour))})
					if resp == nil || resp.StatusCode != row.status {
						t.Errorf("the answer is %v, %v", resp, err)
					}
					if err == nil {
						_, _, err = conn.Read(context.Background())
					}
					told <- err
				}()
				time.Sleep(30 * time.Second)
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := auth.Shutdown(short); err == nil || !strings.Contains(err.Error(), "1 connections") {
					t.Errorf("Shutdown with too little time: %v", err)
				}
				if err := auth.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				select {
				case err := <-told:
					if code := websocket.CloseStatus(err); row.status == 101 && code != websocket.StatusGoingAway {
						t.Errorf("the client sees %v", err)
					}
				default:
					t.Error("Shutdown has returned, and the client knows nothing")
				}
			})
		})
	}
}

// A slowWriter takes its time for a refusal, too.
type slowWriter struct{ slowHijacker }

func (w slowWriter) WriteHeader(status int) {
	time.Sleep(w.takes)
	w.ResponseWriter.WriteHeader(status)
}

func TestShutdownWithoutConnectionsReturnsAtOnce(t *testing.T) {
	if err := newUpgradeAuth(t).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := new(wsauth.Authenticator).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatIsShutDownIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newUpgradeAuth(t)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			<-ctx.Done()
			for _, lives := range []time.Duration{2 * time.Hour, time.Minute} { // the latter is no later than the first token
				if _, err := wsauth.Renew(ctx, tokenWith(nil, lives)); !errors.Is(err, wsauth.ErrExpired) {
					t.Errorf("Renew: %v", err)
				}
			}
		}, nil))
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
		var reading sync.WaitGroup
		reading.Go(func() { conn.Read(t.Context()) })
		synctest.Wait() // serve runs
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		reading.Wait()
		synctest.Wait()
	})
}

func TestASubjectIsThatOfItsIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{MaxPerSubject: 1}))
		for _, issuer := range []string{"https://a.example.com/", "https://b.example.com/"} {
			conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenWith(map[string]any{"iss": issuer}, time.Hour))})
			defer conn.CloseNow()
		}
	})
}

func TestClientsThatWaitForTheirFirstMessageAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
		dial := func(header http.Header) (*websocket.Conn, int) {
			conn, resp, err := websocket.Dial(t.Context(), "ws://server/", &websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: header})
			if err == nil {
				t.Cleanup(func() { conn.CloseNow() })
			}
			return conn, resp.StatusCode
		}
		first, _ := dial(nil)
		for range 1023 {
			dial(nil)
		}
		if _, status := dial(nil); status != 503 {
			t.Errorf("the 1025th gets %d", status)
		}
		if _, status := dial(bearerHeader(tokenFor(time.Hour))); status != 101 {
			t.Errorf("one with a token gets %d", status)
		}
		if err := first.Write(t.Context(), websocket.MessageText, []byte(tokenFor(time.Hour))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, status := dial(nil); status != 101 {
			t.Errorf("after one has shown its token, the next gets %d", status)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	for name, row := range map[string]struct {
		opts   wsauth.UpgradeOptions
		of     func(i int) string // the subject of the i-th of ten
		opened int
		status int
	}{
		"in all":                  {wsauth.UpgradeOptions{MaxConnections: 3}, func(i int) string { return fmt.Sprint(i) }, 3, 503},
		"for a subject":           {wsauth.UpgradeOptions{MaxPerSubject: 2}, func(int) string { return "alice" }, 2, 429},
		"for each of two":         {wsauth.UpgradeOptions{MaxPerSubject: 2}, func(i int) string { return fmt.Sprint(i % 2) }, 4, 429},
		"not by default":          {wsauth.UpgradeOptions{}, func(int) string { return "alice" }, 10, 0},
		"detached":                {wsauth.UpgradeOptions{MaxConnections: 3, Detach: true}, func(i int) string { return fmt.Sprint(i) }, 3, 503},
		"detached, for a subject": {wsauth.UpgradeOptions{MaxPerSubject: 2, Detach: true}, func(int) string { return "alice" }, 2, 429},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					_, message, _ := conn.Read(ctx)
					if string(message) == "panic" {
						panic(http.ErrAbortHandler)
					}
				}, &row.opts))
				for round := range 3 { // what is given back can be taken again
					var conns []*websocket.Conn
					var mu sync.Mutex
					var all sync.WaitGroup
					for i := range 10 {
						token := tokenWith(map[string]any{"sub": row.of(i)}, time.Hour)
						all.Go(func() {
							conn, resp, err := websocket.Dial(t.Context(), "ws://server/", &websocket.DialOptions{HTTPClient: srv.client(), HTTPHeader: bearerHeader(token)})
							if err != nil {
								if resp.StatusCode != row.status || resp.Header.Get("Retry-After") == "" {
									t.Errorf("refused with %v", resp)
								}
								return
							}
							mu.Lock()
							defer mu.Unlock()
							conns = append(conns, conn)
						})
					}
					all.Wait()
					if len(conns) != row.opened {
						t.Errorf("%d connections", len(conns))
					}
					for i, conn := range conns { // three ways out
						switch (i + round) % 3 {
						case 0:
							conn.CloseNow()
						case 1:
							conn.Close(websocket.StatusNormalClosure, "")
						default:
							conn.Write(t.Context(), websocket.MessageText, []byte("panic"))
							conn.Read(t.Context())
						}
					}
					synctest.Wait()
				}
			})
		})
	}
}

func TestASeatIsGivenBackHoweverTheUpgradeFails(t *testing.T) {
	upgrade := newUpgradeAuth(t).Upgrade(echo, &wsauth.UpgradeOptions{MaxConnections: 1, MaxPerSubject: 1})
	request := func(change func(http.Header)) *http.Request {
		r, _ := http.NewRequest(http.MethodGet, "http://server/", nil)
		r.Header = bearerHeader(tokenFor(time.Hour))
		for name, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-Websocket-Version": "13", "Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, v)
		}
		change(r.Header)
		return r
	}
	for name, row := range map[string]struct {
		w http.ResponseWriter
		r *http.Request
	}{
		"no handshake":      {&failing{}, request(func(h http.Header) { h.Del("Upgrade") })},
		"a bad key":         {&failing{}, request(func(h http.Header) { h.Set("Sec-WebSocket-Key", "x") })},
		"no Hijack":         {&failing{}, request(func(http.Header) {})},
		"Hijack fails":      {&hijackFails{}, request(func(http.Header) {})},
		"the writer panics": {&hijackFails{panics: true}, request(func(http.Header) {})},
	} {
		for range 3 {
			func() {
				defer func() { recover() }()
				upgrade.ServeHTTP(row.w, row.r)
			}()
			if status := row.w.(interface{ code() int }).code(); status == 503 || status == 429 {
				t.Errorf("%s: status %d", name, status)
			}
		}
	}
}

type failing struct {
	header http.Header
	status int
}

func (f *failing) Header() http.Header {
	if f.header == nil {
		f.header = http.Header{}
	}
	return f.header
}
func (f *failing) Write(p []byte) (int, error) { return len(p), nil }
func (f *failing) WriteHeader(status int)      { f.status = status }
func (f *failing) code() int                   { return f.status }

type hijackFails struct {
	failing
	panics bool
}

func (h *hijackFails) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.panics {
		panic("no")
	}
	return nil, nil, errors.New("no")
}

func TestADetachedHandlerReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		upgrade := newUpgradeAuth(t).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			if _, ok := wsauth.ClaimsFromContext(ctx); !ok {
				t.Error("no claims")
			}
			echo(ctx, conn)
			panic("after the echo")
		}, &wsauth.UpgradeOptions{Detach: true})
		returned := make(chan struct{})
		srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upgrade.ServeHTTP(w, r)
			close(returned)
		}))
		start := time.Now()
		conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Hour))})
		<-returned
		if got := exchange(t, conn, "hi"); got != "hi" {
			t.Errorf("echoed %q", got)
		}
		_, _, err := conn.Read(t.Context())
		if lived := time.Since(start); lived != time.Hour || websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("lived %v, ended with %v", lived, err)
		}
		synctest.Wait()
		if text := srv.log.String(); !strings.Contains(text, "panic serving") || !strings.Contains(text, "after the echo") {
			t.Errorf("the server's log: %s", text)
		}
	})
}

func TestRefusalsOnAConnectionAreLoggedWithoutTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lockedBuffer)
		auth := newUpgradeAuth(t, func(o *wsauth.Options) {
			o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		srv := newMemoryServer(t, auth.Upgrade(renewing, &wsauth.UpgradeOptions{FirstMessage: time.Second}))
		first, second := tokenWith(nil, time.Hour), tokenWith(map[string]any{"sub": "mallory"}, 2*time.Hour)
		conn := srv.dial(t, &websocket.DialOptions{})
		conn.Write(t.Context(), websocket.MessageText, []byte(first))
		exchange(t, conn, second)
		conn.Close(websocket.StatusNormalClosure, "")
		late := srv.dial(t, &websocket.DialOptions{})
		late.Read(t.Context())
		synctest.Wait()
		var messages []string
		for line := range strings.Lines(log.String()) {
			var record struct{ Level, Msg string }
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			messages = append(messages, record.Level+" "+record.Msg)
		}
		want := "DEBUG wsauth: verified, INFO wsauth: refused, INFO wsauth: closed, INFO wsauth: refused"
		if got := strings.Join(messages, ", "); got != want {
			t.Errorf("logged %s, want %s", got, want)
		}
		for _, secret := range []string{first, second, "mallory", "alice"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log has a token or a claim in it: %s", log)
			}
		}
	})
}

func TestNothingIsLeftOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine of the bubble is left
		auth := newUpgradeAuth(t)
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{MaxPerSubject: 1000}))
		var all sync.WaitGroup
		for i := range 200 {
			conn := srv.dial(t, &websocket.DialOptions{HTTPHeader: bearerHeader(tokenFor(time.Minute))})
			all.Go(func() {
				if i%2 == 0 {
					conn.Close(websocket.StatusNormalClosure, "")
				} else {
					conn.Read(t.Context())
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
