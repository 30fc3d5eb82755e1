package wsauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestAClientConnectsWithATokenFromEachSource(t *testing.T) {
	auth := newAuth(t, untilExp, bySubprotocol)
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		claims, ok := wsauth.ClaimsFromContext(ctx)
		if !ok {
			t.Error("got no claims in the context, want alice's")
			return
		}
		conn.Write(ctx, websocket.MessageText, []byte(claims.Subject))
		echo(ctx, conn)
	}, nil))
	defer srv.Close()
	token := testToken(lasting(time.Hour))
	for name, set := range map[string]func(*url.URL, *websocket.DialOptions){
		"header": func(_ *url.URL, o *websocket.DialOptions) { o.HTTPHeader = bearerHeader(token) },
		"query":  func(u *url.URL, _ *websocket.DialOptions) { u.RawQuery = "access_token=" + token },
		"cookie": func(_ *url.URL, o *websocket.DialOptions) {
			o.HTTPHeader = http.Header{"Cookie": {"access_token=" + token}, "Origin": {srv.URL}}
		},
		"subprotocol": func(_ *url.URL, o *websocket.DialOptions) { o.Subprotocols = []string{"wsauth", "bearer." + token} },
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := url.Parse(srv.URL)
			opts := &websocket.DialOptions{}
			set(u, opts)
			conn, _, err := websocket.Dial(t.Context(), u.String(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if _, message, err := conn.Read(t.Context()); err != nil || string(message) != "alice" {
				t.Errorf("got %q, %v from Read, want alice", message, err)
			}
			if len(opts.Subprotocols) > 0 && conn.Subprotocol() != "wsauth" {
				t.Errorf("got the subprotocol %q, want wsauth", conn.Subprotocol())
			}
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheContextOutlivesTheTimeoutsOfOuterMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("got a deadline in the context, want none")
			}
			echo(ctx, conn)
		}, nil)
		srv := newMemoryServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			inner.ServeHTTP(w, r.WithContext(ctx))
		}))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		time.Sleep(time.Minute)
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
			t.Error(err)
		}
		if _, _, err := conn.Read(t.Context()); err != nil {
			t.Error(err)
		}
		conn.Close(websocket.StatusNormalClosure, "")
	})
}

func TestWhenServeEndsTheConnectionEnds(t *testing.T) {
	for name, row := range map[string]struct {
		serve func(context.Context, *websocket.Conn)
		code  websocket.StatusCode
		log   string
	}{
		"it returns":                {func(context.Context, *websocket.Conn) {}, 1000, ""},
		"it panics":                 {func(context.Context, *websocket.Conn) { panic("oh dear") }, 1011, "oh dear"},
		"it has closed by itself":   {func(_ context.Context, c *websocket.Conn) { c.Close(4001, "mine") }, 4001, ""},
		"it panics to abort":        {func(context.Context, *websocket.Conn) { panic(http.ErrAbortHandler) }, 1011, ""},
		"it dropped the connection": {func(_ context.Context, c *websocket.Conn) { c.CloseNow() }, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(row.serve, nil))
				conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != row.code {
					t.Errorf("got %v at the client, want %d", err, row.code)
				}
				synctest.Wait()
				if text := srv.log.String(); !strings.Contains(text, row.log) || row.log == "" && text != "" {
					t.Errorf("got the server's log %q, want %q in it", text, row.log)
				}
			})
		})
	}
}

func TestUpgradeSelectsASubprotocol(t *testing.T) {
	token := testToken(lasting(time.Hour))
	for name, row := range map[string]struct {
		server, client []string
		want           string
	}{
		"none offered":                    {[]string{"chat.v1"}, nil, ""},
		"the server's first":              {[]string{"chat.v2", "chat.v1"}, []string{"chat.v1", "chat.v2"}, "chat.v2"},
		"the application's over wsauth":   {[]string{"chat.v1"}, []string{"wsauth", "chat.v1"}, "chat.v1"},
		"wsauth where nothing else fits":  {[]string{"chat.v1"}, []string{"other", "wsauth"}, "wsauth"},
		"wsauth without any of its own":   {nil, []string{"wsauth"}, "wsauth"},
		"the token's entry never":         {nil, []string{"bearer." + token}, ""},
		"the token's entry beside others": {[]string{"chat.v1"}, []string{"bearer." + token, "chat.v1"}, "chat.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			accept := &websocket.AcceptOptions{Subprotocols: row.server}
			srv := httptest.NewServer(newAuth(t, untilExp, bySubprotocol).Upgrade(echo, &wsauth.UpgradeOptions{Accept: accept}))
			defer srv.Close()
			opts := &websocket.DialOptions{Subprotocols: row.client}
			if !strings.Contains(strings.Join(row.client, ","), "bearer.") {
				opts.HTTPHeader = bearerHeader(token)
			}
			conn, resp, err := websocket.Dial(t.Context(), srv.URL, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if conn.Subprotocol() != row.want {
				t.Errorf("got %q selected, want %q", conn.Subprotocol(), row.want)
			}
			for name, values := range resp.Header {
				if strings.Contains(strings.Join(values, ","), token) {
					t.Errorf("got the token in the response's %s, want it nowhere", name)
				}
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	}
}

func TestUpgradeChecksTheOriginWhateverCarriesTheToken(t *testing.T) {
	auth := newAuth(t, untilExp, bySubprotocol, func(o *wsauth.Options) {
		o.Origins = []string{"https://app.example.com", "https://*.example.org"}
	})
	srv := httptest.NewServer(auth.Upgrade(echo, nil))
	defer srv.Close()
	for origin, want := range map[string]int{
		"":                        101,
		srv.URL:                   101,
		"https://app.example.com": 101,
		"https://a.b.example.org": 101,
		"http://app.example.com":  403,
		"https://example.org":     403,
		"https://evil.example":    403,
		"null":                    403,
	} {
		for _, source := range []string{"header", "query", "subprotocol"} {
			t.Run(source+" from "+origin, func(t *testing.T) {
				token := testToken(lasting(time.Hour))
				u, opts := srv.URL, &websocket.DialOptions{HTTPHeader: http.Header{}}
				switch source {
				case "header":
					opts.HTTPHeader = bearerHeader(token)
				case "query":
					u += "?access_token=" + token
				default:
					opts.Subprotocols = []string{"wsauth", "bearer." + token}
				}
				if origin != "" {
					opts.HTTPHeader.Set("Origin", origin)
				}
				conn, resp, err := websocket.Dial(t.Context(), u, opts)
				if resp == nil || resp.StatusCode != want {
					t.Errorf("got %v, %v, want %d", resp, err, want)
				}
				if err == nil {
					conn.Close(websocket.StatusNormalClosure, "")
				}
			})
		}
	}
}

func TestUpgradeAuthenticatesByItselfUnlessItsOwnMiddlewareHas(t *testing.T) {
	auth, other := newAuth(t, untilExp), newAuth(t, untilExp)
	upgrade := auth.Upgrade(echo, nil)
	forge := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(wsauth.ContextWithClaims(r.Context(), &wsauth.Claims{Subject: "root"})))
		})
	}
	pass := wsauth.Require(func(context.Context, *wsauth.Claims) error { return nil })
	token := testToken(lasting(time.Hour))
	for name, row := range map[string]struct {
		handler http.Handler
		query   string
		want    int
	}{
		"alone":                           {upgrade, "?access_token=" + token, 101},
		"alone, without a token":          {upgrade, "", 401},
		"behind its Middleware":           {auth.Middleware(upgrade), "?access_token=" + token, 101},
		"behind its Middleware, Require":  {auth.Middleware(pass(upgrade)), "?access_token=" + token, 101},
		"behind its Optional":             {auth.Optional(upgrade), "?access_token=" + token, 101},
		"behind its Optional, no token":   {auth.Optional(upgrade), "", 401},
		"behind another's Middleware":     {other.Middleware(upgrade), "?access_token=" + token, 401},
		"behind claims nobody verified":   {forge(upgrade), "", 401},
		"claims nobody verified, Require": {forge(pass(upgrade)), "", 401},
		"the zero Authenticator":          {new(wsauth.Authenticator).Upgrade(echo, nil), "?access_token=" + token, 503},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(row.handler)
			defer srv.Close()
			conn, resp, err := websocket.Dial(t.Context(), srv.URL+row.query, nil)
			if resp == nil || resp.StatusCode != row.want {
				t.Errorf("got %v, %v, want %d", resp, err, row.want)
			}
			if err == nil {
				conn.Close(websocket.StatusNormalClosure, "")
			}
		})
	}
}

// A wrapper is a ResponseWriter of a logging middleware.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A deferring writer keeps the status back as gin's does.
type deferring struct {
	http.ResponseWriter
	status int
}

func (w *deferring) WriteHeader(status int)      { w.status = status }
func (w *deferring) WriteHeaderNow()             { w.ResponseWriter.WriteHeader(w.status) }
func (w *deferring) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeWorksBehindWrappedResponseWriters(t *testing.T) {
	for name, row := range map[string]struct {
		wrap func(http.ResponseWriter) http.ResponseWriter
		want int
	}{
		"one with Unwrap": {func(w http.ResponseWriter) http.ResponseWriter { return wrapper{w} }, 101},
		"two with Unwrap": {func(w http.ResponseWriter) http.ResponseWriter { return wrapper{wrapper{w}} }, 101},
		"one that defers the header": {
			func(w http.ResponseWriter) http.ResponseWriter { return &deferring{ResponseWriter: w} }, 101,
		},
		"a wrapped one that defers": {
			func(w http.ResponseWriter) http.ResponseWriter { return wrapper{&deferring{ResponseWriter: w}} }, 101,
		},
		"one that cannot be hijacked": {
			func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }, 501,
		},
	} {
		t.Run(name, func(t *testing.T) {
			upgrade := newAuth(t, untilExp).Upgrade(echo, nil)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				upgrade.ServeHTTP(row.wrap(w), r)
			}))
			defer srv.Close()
			conn, resp, err := websocket.Dial(t.Context(), srv.URL,
				withToken(testToken(lasting(time.Hour))))
			if resp == nil || resp.StatusCode != row.want {
				t.Fatalf("got %v, %v, want %d", resp, err, row.want)
			}
			if err == nil {
				conn.Write(t.Context(), websocket.MessageText, []byte("hi"))
				if _, b, err := conn.Read(t.Context()); string(b) != "hi" {
					t.Errorf("got %q, %v from Read, want hi", b, err)
				}
				conn.Close(websocket.StatusNormalClosure, "")
			}
		})
	}
}

func TestUpgradePanicsOnAMistakeAtSetUp(t *testing.T) {
	auth := newAuth(t, untilExp, bySubprotocol)
	for name, setUp := range map[string]func(){
		"a nil serve": func() { auth.Upgrade(nil, nil) },
		"origins of Accept": func() {
			auth.Upgrade(echo, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{OriginPatterns: []string{"*"}}})
		},
		"no check of origins": func() {
			auth.Upgrade(echo, &wsauth.UpgradeOptions{Accept: &websocket.AcceptOptions{InsecureSkipVerify: true}})
		},
		"a subprotocol that looks like a token": func() {
			accept := &websocket.AcceptOptions{Subprotocols: []string{"chat", "Bearer.x"}}
			auth.Upgrade(echo, &wsauth.UpgradeOptions{Accept: accept})
		},
		"a negative lifetime":  func() { auth.Upgrade(echo, &wsauth.UpgradeOptions{MaxLifetime: -1}) },
		"a negative grace":     func() { auth.Upgrade(echo, &wsauth.UpgradeOptions{Grace: -1}) },
		"Middleware(nil)":      func() { auth.Middleware(nil) },
		"Require(nil)":         func() { wsauth.Require(nil) },
		"RequireScopes()":      func() { wsauth.RequireScopes() },
		"a scope with a space": func() { wsauth.RequireScopes("a b") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic, want one")
				}
			}()
			setUp()
		})
	}
}

func TestTheEntryThatAnnouncesATokenIsSelectedWhereNothingElseIs(t *testing.T) {
	pair := func(o *wsauth.Options) { o.Extractors = []wsauth.Extractor{wsauth.FromSubprotocol("access_token")} }
	for name, row := range map[string]struct {
		own     []string
		offered []string
		token   bool
		want    string
	}{
		"the pair alone":             {nil, []string{"access_token", "TOKEN"}, true, "access_token"},
		"with a protocol of its own": {[]string{"chat.v1"}, []string{"access_token", "TOKEN", "chat.v1"}, true, "chat.v1"},
		"with a protocol of nobody's": {
			[]string{"chat.v1"}, []string{"other", "access_token", "TOKEN"}, true, "access_token",
		},
		"refused": {nil, []string{"access_token", "BAD"}, false, "access_token"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newMemoryServer(t, newAuth(t, untilExp, pair).Upgrade(echo, &wsauth.UpgradeOptions{
					CloseOnRefusal: true, Accept: &websocket.AcceptOptions{Subprotocols: row.own},
				}))
				tokens := strings.NewReplacer("TOKEN", testToken(lasting(time.Hour)), "BAD", "eyJh.eyJi.c2ln")
				offer := tokens.Replace(strings.Join(row.offered, ", "))
				conn := srv.dial(t, &websocket.DialOptions{Subprotocols: strings.Split(offer, ", ")})
				if got := conn.Subprotocol(); got != row.want {
					t.Errorf("got %q selected, want %q", got, row.want)
				}
				if !row.token {
					_, _, err := conn.Read(t.Context())
					wantClosed(t, err, wsauth.StatusUnauthorized, "invalid_token")
					return
				}
				if got := exchange(t, conn, "hello"); got != "hello" {
					t.Errorf("got %q, want the echo", got)
				}
				conn.Close(websocket.StatusNormalClosure, "")
			})
		})
	}
}

func TestADetachedHandlerReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		upgrade := newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			if _, ok := wsauth.ClaimsFromContext(ctx); !ok {
				t.Error("got no claims, want some")
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
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		<-returned
		if got := exchange(t, conn, "hi"); got != "hi" {
			t.Errorf("got %q, want the echo", got)
		}
		_, _, err := conn.Read(t.Context())
		if lived := time.Since(start); lived != time.Hour || websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("got a life of %v, ended with %v, want 1h0m0s and 3000", lived, err)
		}
		synctest.Wait()
		if text := srv.log.String(); !strings.Contains(text, "panic serving") || !strings.Contains(text, "after the echo") {
			t.Errorf("got the server's log %q, want the panic in it", text)
		}
	})
}
