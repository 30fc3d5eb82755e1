package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
)

func TestRefuseWritesTheResponseOfRFC6750(t *testing.T) {
	const challenge = `Bearer realm="wsauth"`
	for name, row := range map[string]struct {
		err        error
		status     int
		challenge  string // WWW-Authenticate
		retryAfter string
		body       string
	}{
		"ErrNoToken": {wsauth.ErrNoToken, 401, challenge, "", "a token is needed"},
		"ErrMalformedRequest": {
			wsauth.ErrMalformedRequest, 400,
			challenge + `, error="invalid_request", ` +
				`error_description="more than one token, or one that is malformed or misplaced"`, "",
			"more than one token, or one that is malformed or misplaced",
		},
		"ErrInvalidToken": {
			wsauth.ErrInvalidToken, 401,
			challenge + `, error="invalid_token", error_description="token not valid"`, "", "token not valid",
		},
		"ErrExpired": {
			wsauth.ErrExpired, 401,
			challenge + `, error="invalid_token", error_description="token expired"`, "", "token expired",
		},
		"ErrRevoked": {
			wsauth.ErrRevoked, 401,
			challenge + `, error="invalid_token", error_description="token revoked"`, "", "token revoked",
		},
		"ErrForbidden": {
			wsauth.ErrForbidden, 403,
			challenge + `, error="insufficient_scope", error_description="the token does not allow this"`, "",
			"the token does not allow this",
		},
		"ErrOrigin":      {wsauth.ErrOrigin, 403, "", "", "foreign origin"},
		"ErrUnavailable": {wsauth.ErrUnavailable, 503, "", "2", "not available now"},
		"ErrTooMany":     {wsauth.ErrTooMany, 429, "", "2", "too many connections"},
		"another error":  {errOwn, 500, "", "", "internal server error"},
		"nil":            {nil, 500, "", "", "internal server error"},
		"a cancelled request": {
			context.Canceled, 500, "", "", "internal server error",
		},
	} {
		errs := map[string]error{name: row.err}
		if row.err != nil {
			errs[name+" wrapped"] = fmt.Errorf("secret: %w", fmt.Errorf("more: %w", row.err))
			errs[name+" joined"] = errors.Join(errOwn, row.err)
		}
		for name, err := range errs {
			t.Run(name, func(t *testing.T) {
				w := httptest.NewRecorder()
				newAuth(t).Refuse(w, readRequest(t, noTokenAt), err)
				want := http.Header{
					"Cache-Control": {"no-store"}, "Content-Type": {"text/plain; charset=utf-8"},
					"X-Content-Type-Options": {"nosniff"},
				}
				if row.challenge != "" {
					want["Www-Authenticate"] = []string{row.challenge}
				}
				if row.retryAfter != "" {
					want["Retry-After"] = []string{row.retryAfter}
				}
				if got, want := headerText(w.Header()), headerText(want); got != want {
					t.Errorf("got the header\n%swant\n%s", got, want)
				}
				if w.Code != row.status {
					t.Errorf("got status %d, want %d", w.Code, row.status)
				}
				if got, want := w.Body.String(), row.body+"\n"; got != want {
					t.Errorf("got the body %q, want %q", got, want)
				}
			})
		}
	}
}

func TestStatusAndReasonSayWhatRefuseAndACloseFrameDo(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		status int
		reason string
	}{
		"ErrNoToken":          {wsauth.ErrNoToken, 401, "token_required"},
		"ErrMalformedRequest": {wsauth.ErrMalformedRequest, 400, "invalid_request"},
		"ErrInvalidToken":     {wsauth.ErrInvalidToken, 401, "invalid_token"},
		"ErrExpired":          {wsauth.ErrExpired, 401, "invalid_token"},
		"ErrRevoked":          {wsauth.ErrRevoked, 401, "invalid_token"},
		"ErrForbidden":        {wsauth.ErrForbidden, 403, "insufficient_scope"},
		"ErrOrigin":           {wsauth.ErrOrigin, 403, "foreign_origin"},
		"ErrTooMany":          {wsauth.ErrTooMany, 429, "too_many_connections"},
		"ErrUnavailable":      {wsauth.ErrUnavailable, 503, "temporarily_unavailable"},
		"wrapped":             {fmt.Errorf("secret: %w", wsauth.ErrForbidden), 403, "insufficient_scope"},
		"another error":       {errOwn, 500, "internal_error"},
		"nil":                 {nil, 500, "internal_error"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, reason := wsauth.Status(row.err), wsauth.Reason(row.err); status != row.status || reason != row.reason {
				t.Errorf("got %d %q, want %d %q", status, reason, row.status, row.reason)
			}
			w := httptest.NewRecorder()
			newAuth(t).Refuse(w, readRequest(t, noTokenAt), row.err)
			if w.Code != row.status {
				t.Errorf("got %d from Refuse, want %d", w.Code, row.status)
			}
		})
	}
}

func TestTheRealmIsQuoted(t *testing.T) {
	for name, row := range map[string]struct{ realm, want string }{
		"the default":       {"", `"wsauth"`},
		"a word":            {"chat", `"chat"`},
		"spaces":            {"the chat", `"the chat"`},
		"quotes":            {`the "chat"`, `"the \"chat\""`},
		"a backslash":       {`a\b`, `"a\\b"`},
		"an escaped quote":  {`\"`, `"\\\""`},
		"a parameter":       {`a", error="b`, `"a\", error=\"b"`},
		"a comma and equal": {`a, b=c`, `"a, b=c"`},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) { o.Realm = row.realm })
			w := serve(auth.Middleware(new(recorder)), readRequest(t, noTokenAt))
			if got, want := w.Header().Get("WWW-Authenticate"), "Bearer realm="+row.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTheErrorsAreRelatedAsTheyAreDocumented(t *testing.T) {
	for _, a := range kinds {
		for _, b := range kinds {
			want := a.err == b.err ||
				b.err == wsauth.ErrInvalidToken && slices.Contains([]error{
					wsauth.ErrExpired, wsauth.ErrRevoked, wsauth.ErrInvalidTicket, wsauth.ErrInvalidProof}, a.err)
			if got := errors.Is(a.err, b.err); got != want {
				t.Errorf("got errors.Is(%s, %s) = %t, want %t", a.name, b.name, got, want)
			}
		}
	}
}

// noAuthenticators are those that New did not make.
var noAuthenticators = map[string]*wsauth.Authenticator{"nil": nil, "the zero value": {}}

func TestAnAuthenticatorThatNewDidNotMakeRefusesEverything(t *testing.T) {
	tok := newTokens()
	for name, auth := range noAuthenticators {
		t.Run(name, func(t *testing.T) {
			rec := new(recorder)
			serveConn := neverServed(t)
			closing := &wsauth.UpgradeOptions{CloseOnRefusal: true}
			waiting := &wsauth.UpgradeOptions{FirstMessage: time.Second}
			for how, h := range map[string]http.Handler{
				"Middleware":                          auth.Middleware(rec),
				"Optional":                            auth.Optional(rec),
				"Upgrade":                             auth.Upgrade(serveConn, nil),
				"Upgrade behind another's Middleware": newAuth(t).Middleware(auth.Upgrade(serveConn, nil)),
				"Upgrade, closing refusals":           auth.Upgrade(serveConn, closing),
				"Upgrade, waiting for a token":        auth.Upgrade(serveConn, waiting),
			} {
				for _, request := range []string{
					noTokenAt, handshake, handshake + "Authorization: Bearer ALICE",
					"GET /ws?access_token=ALICE\nHANDSHAKE",
				} {
					if strings.HasPrefix(how, "Upgrade behind") && !strings.Contains(request, "ALICE") {
						continue // refused by the other one
					}
					w := serve(h, extraction{request: request}.read(t, tok))
					header := w.Header()
					if w.Code != 503 || header.Get("Retry-After") == "" || header.Get("Cache-Control") != "no-store" {
						t.Errorf("%s, %q: got %d and the header %v, want 503 with Retry-After and no-store", how, request, w.Code, header)
					}
				}
			}
			if len(rec.requests) > 0 {
				t.Errorf("got %d requests handed on, want none", len(rec.requests))
			}
			r, err := auth.Authenticate(extraction{request: "GET /\nAuthorization: Bearer ALICE"}.read(t, tok))
			if wantKind(t, err, wsauth.ErrUnavailable); r != nil {
				t.Error("got a request from Authenticate, want none")
			}
			c, err := auth.Verify(t.Context(), tok.alice)
			if wantKind(t, err, wsauth.ErrUnavailable); c != nil {
				t.Error("got claims from Verify, want none")
			}
			w := httptest.NewRecorder()
			auth.Refuse(w, readRequest(t, noTokenAt), wsauth.ErrNoToken)
			if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || got != `Bearer realm="wsauth"` {
				t.Errorf("got %d %q from Refuse, want 401 and the default realm", w.Code, got)
			}
		})
	}
}

func TestACauseIsKeptForTheApplicationAndNeverShown(t *testing.T) {
	text := "vault at 10.0.0.7 says no"
	cause := errors.New(text)
	for name, row := range map[string]struct {
		err  error // of the KeyFunc or the check
		kind error
		key  bool // of the KeyFunc
	}{
		"KeyFunc: an outage":   {fmt.Errorf("%w", cause), wsauth.ErrUnavailable, true},
		"KeyFunc: a bad token": {fmt.Errorf("%w: %w", wsauth.ErrInvalidToken, cause), wsauth.ErrInvalidToken, true},
		"KeyFunc: a bad token, whatever else": {
			fmt.Errorf("%w: %w: %w", wsauth.ErrInvalidToken, wsauth.ErrUnavailable, cause),
			wsauth.ErrInvalidToken, true,
		},
		"KeyFunc: a revoked one": {fmt.Errorf("%w: %w", wsauth.ErrRevoked, cause), wsauth.ErrRevoked, true},
		"Require: forbidden":     {fmt.Errorf("%w", cause), wsauth.ErrForbidden, false},
		"Require: revoked":       {fmt.Errorf("%w: %w", wsauth.ErrRevoked, cause), wsauth.ErrRevoked, false},
		"Require: an outage":     {fmt.Errorf("%w: %w", wsauth.ErrUnavailable, cause), wsauth.ErrUnavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			var seen error
			var auth *wsauth.Authenticator
			auth = newAuth(t, func(o *wsauth.Options) {
				o.Issuers[0].Keys = wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
					if row.key {
						return nil, row.err
					}
					return secretOf(testKey), nil
				})
				o.OnRefuse = func(w http.ResponseWriter, r *http.Request, err error) {
					seen = err
					auth.Refuse(w, r, err)
				}
			})
			h := auth.Middleware(wsauth.Require(func(context.Context, *wsauth.Claims) error {
				return row.err
			})(new(recorder)))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			wantKind(t, seen, row.kind)
			if !errors.Is(seen, cause) {
				t.Errorf("got %v, want the cause in it", seen)
			}
			if w.Code != statusOf(row.kind) {
				t.Errorf("got status %d, want %d", w.Code, statusOf(row.kind))
			}
			if response := headerText(w.Header()) + w.Body.String(); strings.Contains(response, text) {
				t.Errorf("got the cause in the response, want it to be left out: %s", response)
			}
		})
	}
}
