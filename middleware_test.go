package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestOptionalLetsOnlyRequestsWithoutATokenThrough(t *testing.T) {
	auth := newAuth(t)
	for name, row := range map[string]struct {
		request string
		status  int
		claims  bool
	}{
		"no token":         {noTokenAt, 204, false},
		"Basic":            {"GET /\nAuthorization: Basic dTpw", 204, false},
		"an empty cookie":  {"GET /\nCookie: access_token=", 204, false},
		"a good token":     {"GET /\nAuthorization: Bearer " + testToken(nil), 204, true},
		"a bad token":      {"GET /\nAuthorization: Bearer x", 401, false},
		"an expired token": {"GET /\nAuthorization: Bearer " + testToken(map[string]any{"exp": 1}), 401, false},
		"a malformed one":  {"GET /\nAuthorization: Bearer", 400, false},
		"a stray query":    {"GET /?access_token=" + testToken(nil), 400, false},
		"a foreign cookie": {handshake + "Cookie: access_token=" + testToken(nil), 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			rec := new(recorder)
			w := serve(auth.Optional(rec), readRequest(t, row.request))
			r := rec.only(t)
			if w.Code != row.status || (r != nil) != (row.status == 204) {
				t.Fatalf("got status %d, handed on: %t, want status %d", w.Code, r != nil, row.status)
			}
			if r == nil {
				return
			}
			if c, ok := wsauth.ClaimsFromContext(r.Context()); ok != row.claims || (c != nil) != ok {
				t.Errorf("got the claims %v, %t, want claims: %t", c, ok, row.claims)
			}
		})
	}
}

func TestOptionalLetsNoOutageThroughWhateverItsCause(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) {
				o.Issuers[0].Keys = wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
					return nil, fmt.Errorf("the vault: %w", k.err)
				})
			})
			rec := new(recorder)
			w := serve(auth.Optional(rec), readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			want := 503
			if errors.Is(k.err, wsauth.ErrInvalidToken) {
				want = 401
			}
			if w.Code != want || len(rec.requests) > 0 {
				t.Errorf("got status %d, handed on: %t, want %d, and not", w.Code, len(rec.requests) > 0, want)
			}
		})
	}
}

func TestAMistakeAtSetUpPanics(t *testing.T) {
	auth := newAuth(t)
	pass := func(context.Context, *wsauth.Claims) error { return nil }
	for name, f := range map[string]func(){
		"Middleware of nil":                 func() { auth.Middleware(nil) },
		"Optional of nil":                   func() { auth.Optional(nil) },
		"Require without a check":           func() { wsauth.Require(nil) },
		"Require of nil":                    func() { wsauth.Require(pass)(nil) },
		"RequireScopes without scopes":      func() { wsauth.RequireScopes() },
		"RequireScopes with an empty scope": func() { wsauth.RequireScopes("a", "") },
		"RequireScopes with a space":        func() { wsauth.RequireScopes("a b") },
		"RequireScopes with a quote":        func() { wsauth.RequireScopes(`a"b`) },
		"RequireScopes with a backslash":    func() { wsauth.RequireScopes(`a\b`) },
		"RequireScopes with a line break":   func() { wsauth.RequireScopes("a\n") },
		"RequireScopes beyond ASCII":        func() { wsauth.RequireScopes("ä") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "wsauth: ") {
					t.Errorf("got no panic, or %q, want one with a reason", text)
				}
			}()
			f()
		})
	}
}

func TestAnAuthenticatorVerifiesARequestOnce(t *testing.T) {
	var ofA, ofB atomic.Int32 // tokens verified
	a := newAuth(t, askedBy(func() error { ofA.Add(1); return nil }))
	b := newAuth(t, askedBy(func() error { ofB.Add(1); return nil }))
	authenticate := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r, err := a.Authenticate(r)
			if err != nil {
				a.Refuse(w, r, err)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	header := "GET /\nAuthorization: Bearer " + testToken(nil)
	query := "GET /?access_token=" + testToken(nil) + "\nHANDSHAKE"
	for name, row := range map[string]struct {
		layers   []func(http.Handler) http.Handler // the outermost first
		request  string
		inA, inB int32
		status   int
	}{
		"the same twice":           {layers(a.Middleware, a.Middleware), header, 1, 0, 204},
		"the same, a query token":  {layers(a.Middleware, a.Middleware), query, 1, 0, 204},
		"Optional outside":         {layers(a.Optional, a.Middleware), query, 1, 0, 204},
		"Optional inside":          {layers(a.Middleware, a.Optional), query, 1, 0, 204},
		"Authenticate outside":     {layers(authenticate, a.Middleware), query, 1, 0, 204},
		"Authenticate inside":      {layers(a.Middleware, authenticate), query, 1, 0, 204},
		"a Require between":        {layers(a.Middleware, wsauth.Require(pass), a.Middleware), query, 1, 0, 204},
		"Optional, no token":       {layers(a.Optional, a.Middleware), noTokenAt, 0, 0, 401},
		"another":                  {layers(a.Middleware, b.Middleware), header, 1, 1, 204},
		"another, a query token":   {layers(a.Middleware, b.Middleware), query, 1, 0, 401},
		"another, Optional, query": {layers(a.Middleware, b.Optional), query, 1, 0, 204},
		"another between":          {layers(a.Middleware, b.Middleware, a.Middleware), header, 2, 1, 204},
	} {
		t.Run(name, func(t *testing.T) {
			ofA.Store(0)
			ofB.Store(0)
			var h http.Handler = new(recorder)
			for _, layer := range slices.Backward(row.layers) {
				h = layer(h)
			}
			w := serve(h, readRequest(t, row.request))
			if w.Code != row.status || ofA.Load() != row.inA || ofB.Load() != row.inB {
				t.Errorf("got status %d, verified %d and %d times, want %d, %d and %d",
					w.Code, ofA.Load(), ofB.Load(), row.status, row.inA, row.inB)
			}
		})
	}
}

func layers(l ...func(http.Handler) http.Handler) []func(http.Handler) http.Handler { return l }

func TestWhatTheOuterMiddlewareVerifiedCanExpireBeforeTheInner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t)
		rec := new(recorder)
		h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(90*time.Second - 1) // a minute, and the leeway
			auth.Middleware(rec).ServeHTTP(w, r)
			time.Sleep(time.Nanosecond)
			_, err := auth.Authenticate(r)
			wantKind(t, err, wsauth.ErrExpired)
		}))
		serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(map[string]any{"exp": at(60)})))
		if rec.only(t) == nil {
			t.Error("got a refusal before the end, want the request to be handed on")
		}
	})
}

func TestAnAuthenticatorIsSafeForConcurrentUse(t *testing.T) {
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.HMAC(secretOf(mint.New("HS256", "")), secretOf(testKey))
	})
	h := auth.Middleware(wsauth.RequireScopes("a")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := wsauth.ClaimsFromContext(r.Context())
		fmt.Fprint(w, c.Subject)
	})))
	var wg sync.WaitGroup
	for i := range 8 {
		subject := fmt.Sprint("subject ", i)
		token := testToken(map[string]any{"sub": subject, "scope": "a"})
		wg.Go(func() {
			for range 50 {
				w := serve(h, readRequest(t, "GET /ws?access_token="+token+"\nHANDSHAKE"))
				if w.Code != 200 || w.Body.String() != subject {
					t.Errorf("got %d %q, want 200 %q", w.Code, w.Body, subject)
				}
			}
		})
	}
	wg.Wait()
}
