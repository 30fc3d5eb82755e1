package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

func TestRequireDecidesByTheErrorOfItsCheck(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want error // the kind
	}{
		"none":                  {nil, nil},
		"one's own":             {errOwn, wsauth.ErrForbidden},
		"context.Canceled":      {context.Canceled, wsauth.ErrForbidden},
		"ErrForbidden":          {wsauth.ErrForbidden, wsauth.ErrForbidden},
		"ErrRevoked":            {wsauth.ErrRevoked, wsauth.ErrRevoked},
		"ErrRevoked wrapped":    {fmt.Errorf("%w: %w", errOwn, wsauth.ErrRevoked), wsauth.ErrRevoked},
		"ErrExpired":            {wsauth.ErrExpired, wsauth.ErrExpired},
		"ErrInvalidToken":       {wsauth.ErrInvalidToken, wsauth.ErrInvalidToken},
		"ErrUnavailable":        {wsauth.ErrUnavailable, wsauth.ErrUnavailable},
		"ErrUnavailable joined": {errors.Join(errOwn, wsauth.ErrUnavailable), wsauth.ErrUnavailable},

		// With any other error, a check can only say that it refuses.
		"ErrNoToken":          {fmt.Errorf("%w", wsauth.ErrNoToken), wsauth.ErrForbidden},
		"ErrMalformedRequest": {fmt.Errorf("%w", wsauth.ErrMalformedRequest), wsauth.ErrForbidden},
		"ErrOrigin":           {fmt.Errorf("%w", wsauth.ErrOrigin), wsauth.ErrForbidden},
		"ErrTooMany":          {fmt.Errorf("%w", wsauth.ErrTooMany), wsauth.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var seen error
			var auth *wsauth.Authenticator
			auth = newAuth(t, func(o *wsauth.Options) {
				o.OnRefuse = func(w http.ResponseWriter, r *http.Request, err error) {
					seen = err
					auth.Refuse(w, r, err)
				}
			})
			rec := new(recorder)
			h := auth.Middleware(wsauth.Require(func(ctx context.Context, c *wsauth.Claims) error {
				if inContext, _ := wsauth.ClaimsFromContext(ctx); c.Subject != "alice" || inContext != c {
					t.Errorf("got %+v at the check, and %+v in its context, want alice's claims in both", c, inContext)
				}
				return row.err
			})(rec))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			if w.Code != statusOf(row.want) {
				t.Errorf("got status %d, want %d", w.Code, statusOf(row.want))
			}
			if (rec.only(t) != nil) != (row.err == nil) {
				t.Errorf("got handed on: %t, want %t", row.err != nil, row.err == nil)
			}
			if row.err != nil && (!errors.Is(seen, row.want) || !errors.Is(seen, row.err)) {
				t.Errorf("got %v at OnRefuse, want %v and %v", seen, row.want, row.err)
			}
			if row.err == nil && seen != nil {
				t.Errorf("got %v at OnRefuse, want it not to be called", seen)
			}
		})
	}
}

func TestRequireRefusesWhereThereAreNoClaims(t *testing.T) {
	refusedBy := ""
	auth := newAuth(t, func(o *wsauth.Options) {
		o.OnRefuse = func(w http.ResponseWriter, _ *http.Request, err error) {
			refusedBy = "OnRefuse: " + kindName(err)
			w.WriteHeader(401)
		}
	})
	require := wsauth.Require(func(context.Context, *wsauth.Claims) error {
		t.Error("got the check called, want a refusal without it")
		return nil
	})
	for name, row := range map[string]struct {
		handler   func(http.Handler) http.Handler
		ctx       func(context.Context) context.Context
		refusedBy string
	}{
		"outside":         {require, nil, ""},
		"outside, scopes": {wsauth.RequireScopes("a"), nil, ""},
		"around Middleware": {
			func(h http.Handler) http.Handler { return require(auth.Middleware(h)) }, nil, "",
		},
		"behind Optional": {
			func(h http.Handler) http.Handler { return auth.Optional(require(h)) }, nil, "OnRefuse: ErrNoToken",
		},
		"behind Optional, with claims nobody verified": {
			func(h http.Handler) http.Handler { return auth.Optional(require(h)) },
			func(ctx context.Context) context.Context {
				return wsauth.ContextWithClaims(ctx, &wsauth.Claims{Subject: "mallory"})
			}, "OnRefuse: ErrNoToken",
		},
		"with nil claims": {require, func(ctx context.Context) context.Context {
			return wsauth.ContextWithClaims(ctx, nil)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			refusedBy = ""
			rec := new(recorder)
			r := readRequest(t, noTokenAt)
			if row.ctx != nil {
				r = r.WithContext(row.ctx(r.Context()))
			}
			w := serve(row.handler(rec), r)
			if w.Code != 401 || len(rec.requests) > 0 || refusedBy != row.refusedBy {
				t.Errorf("got status %d, handed on: %t, refused by %q, want 401 by %q",
					w.Code, len(rec.requests) > 0, refusedBy, row.refusedBy)
			}
			if want := `Bearer realm="wsauth"`; row.refusedBy == "" && w.Header().Get("WWW-Authenticate") != want {
				t.Errorf("got the challenge %q, want %q", w.Header().Get("WWW-Authenticate"), want)
			}
		})
	}
}

func TestRequireScopesNeedsAllOfThem(t *testing.T) {
	auth := newAuth(t)
	for name, row := range map[string]struct {
		claims map[string]any
		needed []string
		status int
	}{
		"the one":                 {map[string]any{"scope": "a"}, []string{"a"}, 204},
		"among others":            {map[string]any{"scope": "x a y"}, []string{"a"}, 204},
		"both":                    {map[string]any{"scope": "b x a"}, []string{"a", "b"}, 204},
		"scp as a string":         {map[string]any{"scp": "a b"}, []string{"a", "b"}, 204},
		"scp as an array":         {map[string]any{"scp": []string{"a", "b"}}, []string{"a", "b"}, 204},
		"one of two":              {map[string]any{"scope": "a"}, []string{"a", "b"}, 403},
		"a prefix":                {map[string]any{"scope": "admin:read"}, []string{"admin"}, 403},
		"a longer one":            {map[string]any{"scope": "admin"}, []string{"admin:read"}, 403},
		"other letters":           {map[string]any{"scope": "Admin"}, []string{"admin"}, 403},
		"none":                    {nil, []string{"a"}, 403},
		"empty":                   {map[string]any{"scope": ""}, []string{"a"}, 403},
		"scope counts before scp": {map[string]any{"scope": "x", "scp": "a"}, []string{"a"}, 403},
		"an empty scope, and scp": {map[string]any{"scope": "", "scp": "a"}, []string{"a"}, 403},
		"scope as an array":       {map[string]any{"scope": []string{"a"}}, []string{"a"}, 204},
		"a comma between":         {map[string]any{"scope": "a,b"}, []string{"a"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			h := auth.Middleware(wsauth.RequireScopes(row.needed...)(new(recorder)))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(row.claims)))
			if w.Code != row.status {
				t.Errorf("got status %d, want %d", w.Code, row.status)
			}
		})
	}
}

func TestAMissingScopeIsNamed(t *testing.T) {
	auth := newAuth(t)
	for name, row := range map[string]struct {
		needed []string
		want   string
	}{
		"one": {[]string{"chat:read"}, "chat:read"},
		"two": {[]string{"chat:read", "chat:write"}, "chat:read chat:write"},
		"one of which is there": {
			[]string{"profile", "chat:write"}, "profile chat:write",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := auth.Middleware(wsauth.RequireScopes(row.needed...)(new(recorder)))
			token := testToken(map[string]any{"scope": "profile"})
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+token))
			want := `Bearer realm="wsauth", error="insufficient_scope", ` +
				`error_description="the token does not allow this", scope="` + row.want + `"`
			if got := w.Header().Get("WWW-Authenticate"); w.Code != 403 || got != want {
				t.Errorf("got status %d and %q, want 403 and %q", w.Code, got, want)
			}
		})
	}
}

func TestSeveralRequiresAllDecide(t *testing.T) {
	auth := newAuth(t)
	var order []string
	named := func(name string, err error) func(http.Handler) http.Handler {
		return wsauth.Require(func(context.Context, *wsauth.Claims) error {
			order = append(order, name)
			return err
		})
	}
	for name, row := range map[string]struct {
		outer, inner error
		order        []string
		status       int
	}{
		"both pass":   {nil, nil, []string{"outer", "inner"}, 204},
		"the outer":   {errOwn, nil, []string{"outer"}, 403},
		"the inner":   {nil, wsauth.ErrUnavailable, []string{"outer", "inner"}, 503},
		"both refuse": {wsauth.ErrRevoked, errOwn, []string{"outer"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			order = nil
			h := auth.Middleware(named("outer", row.outer)(named("inner", row.inner)(new(recorder))))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			if w.Code != row.status || !slices.Equal(order, row.order) {
				t.Errorf("got status %d and the checks %q, want %d and %q", w.Code, order, row.status, row.order)
			}
		})
	}
}

// The checks of a handler are called whenever one of its connections gets claims.
func TestRequireOfAHandlerIsAskedAboutEachToken(t *testing.T) {
	onlyAdmins := func(ctx context.Context, c *wsauth.Claims) error {
		if seen, ok := wsauth.ClaimsFromContext(ctx); !ok || seen != c {
			return fmt.Errorf("the context has other claims")
		}
		if c.HasScope("admin") {
			return nil
		}
		return errors.New("no")
	}
	opts := wsauth.UpgradeOptions{Require: []func(context.Context, *wsauth.Claims) error{onlyAdmins}, CloseOnRefusal: true}
	admin := func(ttl time.Duration) string { return testToken(lasting(ttl), map[string]any{"scope": "admin"}) }
	t.Run("at the handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &opts))
			_, _, err := srv.dial(t, withToken(testToken(lasting(time.Hour)))).Read(t.Context())
			wantClosed(t, err, wsauth.StatusForbidden, "insufficient_scope")
			conn := srv.dial(t, withToken(admin(time.Hour)))
			if got := exchange(t, conn, "hello"); got != "hello" {
				t.Errorf("got %q, want the echo", got)
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	})
	t.Run("about a first message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			waits := opts
			waits.FirstMessage = time.Minute
			srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(echo, &waits))
			conn := srv.dial(t, &websocket.DialOptions{})
			conn.Write(t.Context(), websocket.MessageText, []byte(testToken(lasting(time.Hour))))
			_, _, err := conn.Read(t.Context())
			wantClosed(t, err, wsauth.StatusForbidden, "insufficient_scope")
		})
	})
	t.Run("about a renewal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(renewing, &opts))
			conn := srv.dial(t, withToken(admin(time.Hour)))
			if got := exchange(t, conn, testToken(lasting(2*time.Hour))); !strings.Contains(got, "forbidden") {
				t.Errorf("got %q, want a refusal", got)
			}
			if got := exchange(t, conn, admin(2*time.Hour)); strings.Contains(got, "forbidden") {
				t.Errorf("got %q, want no refusal", got)
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	})
}

func TestContextWithClaimsIsForHandlersAndRequire(t *testing.T) {
	made := &wsauth.Claims{Subject: "mallory", Scope: "a"}
	ctx := wsauth.ContextWithClaims(t.Context(), made)
	if c, ok := wsauth.ClaimsFromContext(ctx); c != made || !ok {
		t.Errorf("got %v, %t, want the claims that were put in", c, ok)
	}
	if c, ok := wsauth.ClaimsFromContext(t.Context()); c != nil || ok {
		t.Errorf("got %v, %t of a bare context, want none", c, ok)
	}
	if c, ok := wsauth.ClaimsFromContext(wsauth.ContextWithClaims(ctx, nil)); c != nil || ok {
		t.Errorf("got %v, %t of nil claims, want none", c, ok)
	}
	request := func(text string) *http.Request { return readRequest(t, text).WithContext(ctx) }

	if w := serve(wsauth.RequireScopes("a")(new(recorder)), request(noTokenAt)); w.Code != 204 {
		t.Errorf("got status %d from RequireScopes, want 204", w.Code)
	}
	if w := serve(wsauth.RequireScopes("b")(new(recorder)), request(noTokenAt)); w.Code != 403 {
		t.Errorf("got status %d from RequireScopes of another, want 403", w.Code)
	}
	auth := newAuth(t)
	if w := serve(auth.Middleware(new(recorder)), request(noTokenAt)); w.Code != 401 {
		t.Errorf("got status %d from Middleware, want 401", w.Code)
	}
	if _, err := auth.Authenticate(request(noTokenAt)); kindName(err) != "ErrNoToken" {
		t.Errorf("got %v from Authenticate, want ErrNoToken", err)
	}
	rec := new(recorder)
	serve(auth.Middleware(rec), request("GET /\nAuthorization: Bearer "+testToken(nil)))
	if c, _ := wsauth.ClaimsFromContext(rec.only(t).Context()); c == nil || c.Subject != "alice" {
		t.Errorf("got %+v behind Middleware, want alice's claims", c)
	}
}
