package wsauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

var errOwn = errors.New("an error of the application")

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
			challenge + `, error="invalid_request", error_description="more than one token, or one that is malformed or misplaced"`, "",
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
					t.Errorf("header\n%swant\n%s", got, want)
				}
				if w.Code != row.status {
					t.Errorf("status %d, want %d", w.Code, row.status)
				}
				if got, want := w.Body.String(), row.body+"\n"; got != want {
					t.Errorf("body %q, want %q", got, want)
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

func headerText(h http.Header) string {
	var b strings.Builder
	h.Write(&b)
	return b.String()
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
				t.Errorf("%q, want %q", got, want)
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
				t.Errorf("status %d, %q, want %q", w.Code, got, want)
			}
		})
	}
}

func TestTheErrorsAreRelatedAsTheyAreDocumented(t *testing.T) {
	for _, a := range kinds {
		for _, b := range kinds {
			want := a.err == b.err ||
				b.err == wsauth.ErrInvalidToken && (a.err == wsauth.ErrExpired || a.err == wsauth.ErrRevoked)
			if got := errors.Is(a.err, b.err); got != want {
				t.Errorf("errors.Is(%s, %s) = %t", a.name, b.name, got)
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
			serveConn := func(context.Context, *websocket.Conn) { t.Error("served") }
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
						t.Errorf("%s, %q: %d %v", how, request, w.Code, header)
					}
				}
			}
			if len(rec.requests) > 0 {
				t.Errorf("%d requests were handed on", len(rec.requests))
			}
			r, err := auth.Authenticate(extraction{request: "GET /\nAuthorization: Bearer ALICE"}.read(t, tok))
			if wantKind(t, err, wsauth.ErrUnavailable); r != nil {
				t.Error("Authenticate returns a request")
			}
			c, err := auth.Verify(t.Context(), tok.alice)
			if wantKind(t, err, wsauth.ErrUnavailable); c != nil {
				t.Error("Verify returns claims")
			}
			w := httptest.NewRecorder()
			auth.Refuse(w, readRequest(t, noTokenAt), wsauth.ErrNoToken)
			if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || got != `Bearer realm="wsauth"` {
				t.Errorf("Refuse: %d %q", w.Code, got)
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
				t.Errorf("the cause is lost: %v", seen)
			}
			if w.Code != statusOf(row.kind) {
				t.Errorf("status %d, want %d", w.Code, statusOf(row.kind))
			}
			if response := headerText(w.Header()) + w.Body.String(); strings.Contains(response, text) {
				t.Errorf("the response shows the cause: %s", response)
			}
		})
	}
}

// logLines are the records of a JSON log.
func logLines(t testing.TB, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for d := json.NewDecoder(log); ; {
		var line map[string]any
		if err := d.Decode(&line); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

// logAuth logs everything as JSON. Its issuer has one key, with the kid "k1".
func logAuth(t testing.TB, level slog.Level) (*wsauth.Authenticator, *mint.Key, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	key := mint.New("HS256", "k1")
	auth := extractAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.KeyFunc(func(_ context.Context, kid, _ string) (any, error) {
			if kid == "outage" {
				return nil, errors.New("no vault")
			}
			return secretOf(key), nil
		})
		o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level}))
	})
	return auth, key, log
}

func TestEachRefusalIsOneLineInTheLog(t *testing.T) {
	auth, key, log := logAuth(t, slog.LevelInfo)
	outage := &mint.Key{Alg: "HS256", ID: "outage", Private: key.Private}
	good, expired := key.Token(testClaims(nil)), key.Token(testClaims(map[string]any{"exp": 1}))
	require := wsauth.Require(func(context.Context, *wsauth.Claims) error { return errOwn })
	for name, row := range map[string]struct {
		request             string
		reason              string // begins so
		source, issuer, kid string
		level               string // default: INFO
	}{
		"no token": {request: noTokenAt, reason: "wsauth: no token"},
		"an expired token": {
			request: "GET /\nAuthorization: Bearer " + expired,
			reason:  "wsauth: token expired", source: "header", issuer: testIssuer, kid: "k1",
		},
		"a bad signature in a query": {
			request: "GET /?access_token=" + good[:len(good)-4] + "AAAA\nHANDSHAKE",
			reason:  "wsauth: invalid token", source: "query", issuer: testIssuer, kid: "k1",
		},
		"rubbish in a subprotocol": {
			request: handshake + "Sec-WebSocket-Protocol: bearer.a.b.c", reason: "wsauth: invalid token",
			source: "subprotocol",
		},
		"an unknown issuer": {
			request: "GET /\nX-Token: " + key.Token(map[string]any{"iss": "evil"}), reason: "wsauth: invalid token",
			source: "func", kid: "k1",
		},
		"a malformed header": {
			request: "GET /\nAuthorization: Bearer", reason: "wsauth: malformed request", source: "header",
		},
		"a foreign origin": {
			request: handshake + "Cookie: session=" + good, reason: "wsauth: foreign origin", source: "cookie",
		},
		"an outage": {
			request: "GET /\nAuthorization: Bearer " + outage.Token(testClaims(nil)),
			reason:  "wsauth: not available", source: "header", issuer: testIssuer, kid: "outage", level: "WARN",
		},
		"a Require": {
			request: "GET /\nAuthorization: Bearer " + good,
			reason:  "wsauth: forbidden", source: "header", issuer: testIssuer, kid: "k1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if row.level == "" {
				row.level = "INFO"
			}
			handlers := map[string]http.Handler{"Middleware": auth.Middleware(require(new(recorder)))}
			if name != "no token" {
				handlers["Optional"] = auth.Optional(require(new(recorder)))
			}
			if name != "a Require" {
				handlers["Authenticate"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, err := auth.Authenticate(r)
					auth.Refuse(w, r, err)
				})
			}
			for how, h := range handlers {
				log.Reset()
				if w := serve(h, readRequest(t, row.request)); w.Code < 400 {
					t.Fatalf("%s: status %d", how, w.Code)
				}
				lines := logLines(t, log)
				if len(lines) != 1 {
					t.Fatalf("%s: %d lines: %v", how, len(lines), lines)
				}
				reason, _ := lines[0]["reason"].(string)
				if !strings.HasPrefix(reason, row.reason) {
					t.Errorf("%s: reason %q, want %q", how, reason, row.reason)
				}
				delete(lines[0], "reason")
				delete(lines[0], "time")
				want := map[string]any{
					"level": row.level, "msg": "wsauth: refused",
					"source": row.source, "issuer": row.issuer, "kid": row.kid,
				}
				maps.DeleteFunc(want, func(_ string, v any) bool { return v == "" })
				if got := fmt.Sprint(lines[0]); got != fmt.Sprint(want) {
					t.Errorf("%s: %s, want %s", how, got, fmt.Sprint(want))
				}
			}
		})
	}
}

func TestARefusalByVerifyIsOneLineInTheLog(t *testing.T) {
	auth, key, log := logAuth(t, slog.LevelInfo)
	auth.Verify(t.Context(), key.Token(testClaims(map[string]any{"exp": 1})))
	lines := logLines(t, log)
	if len(lines) != 1 || lines[0]["reason"] != "wsauth: token expired" || lines[0]["kid"] != "k1" ||
		lines[0]["source"] != nil {
		t.Errorf("got %v, want one line with the kid and no source", lines)
	}
}

// Who is refused must not choose how much of a disk that takes.
func TestARefusalIsAShortLine(t *testing.T) {
	auth, key, log := logAuth(t, slog.LevelInfo)
	good := key.Token(testClaims(nil))
	many := func(line string) string { return "\n" + strings.Repeat(line+"\n", 1000) }
	for name, request := range map[string]string{
		"a long Origin":              handshake + "Cookie: session=" + good + "\nOrigin: " + strings.Repeat("\xff", 10_000),
		"many Origins":               handshake + "Cookie: session=" + good + many("Origin: https://blog.example.com/\xff"),
		"a long Host":                handshake + "Cookie: session=" + good + "\nHost: " + strings.Repeat("h", 10_000) + "\nOrigin: null",
		"many Authorization headers": "GET /" + many("Authorization: Bearer "+good),
		"a long token":               "GET /\nAuthorization: Bearer " + strings.Repeat("x", 10_000),
		"a long kid": "GET /\nAuthorization: Bearer " +
			(&mint.Key{Alg: "HS256", ID: strings.Repeat("\x01", 256), Private: mint.New("HS256", "").Private}).Token(testClaims(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			serve(auth.Middleware(new(recorder)), readRequest(t, request))
			if log.Len() == 0 || log.Len() > 2500 {
				t.Errorf("%d bytes", log.Len())
			}
		})
	}
}

func TestSuccessIsLoggedAtDebugOnly(t *testing.T) {
	for _, row := range []struct {
		level slog.Level
		lines int
	}{{slog.LevelInfo, 0}, {slog.LevelDebug, 1}} {
		t.Run(row.level.String(), func(t *testing.T) {
			auth, key, log := logAuth(t, row.level)
			nested := auth.Middleware(auth.Optional(auth.Middleware(new(recorder))))
			serve(nested, readRequest(t, "GET /\nAuthorization: Bearer "+key.Token(testClaims(nil))))
			lines := logLines(t, log)
			if len(lines) != row.lines {
				t.Fatalf("%d lines, want %d: %v", len(lines), row.lines, lines)
			}
			if row.lines == 0 {
				return
			}
			delete(lines[0], "time")
			want := map[string]any{
				"level": "DEBUG", "msg": "wsauth: verified", "source": "header", "issuer": testIssuer, "kid": "k1",
			}
			if fmt.Sprint(lines[0]) != fmt.Sprint(want) {
				t.Errorf("%v, want %v", lines[0], want)
			}
		})
	}
}

func TestTheTextOfAFailedRequireIsNotLogged(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			auth, key, log := logAuth(t, slog.LevelDebug)
			h := auth.Middleware(wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
				return fmt.Errorf("%s may not: %w", c.Subject, k.err)
			})(new(recorder)))
			token := key.Token(testClaims(map[string]any{"sub": "carol-4711"}))
			serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+token))
			if strings.Contains(log.String(), "carol-4711") || !strings.Contains(log.String(), "wsauth: refused") {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestTheLogSaysWhatTheResponseDoes(t *testing.T) {
	auth, key, log := logAuth(t, slog.LevelInfo)
	for _, a := range kinds {
		for _, b := range kinds {
			t.Run(a.name+" and "+b.name, func(t *testing.T) {
				log.Reset()
				h := auth.Middleware(wsauth.Require(func(context.Context, *wsauth.Claims) error {
					return fmt.Errorf("%w: %w", a.err, b.err)
				})(new(recorder)))
				w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+key.Token(testClaims(nil))))
				lines := logLines(t, log)
				if len(lines) != 1 {
					t.Fatalf("%d lines", len(lines))
				}
				for _, k := range kinds {
					reason, _ := lines[0]["reason"].(string)
					if strings.HasPrefix(reason, k.err.Error()) && w.Code != k.status {
						t.Errorf("logged: %q, status %d", reason, w.Code)
					}
				}
			})
		}
	}
}

// Every value is one that nothing but the token has.
var privateClaims = map[string]any{
	"sub": "subject-1f9a", "jti": "id-77b0", "scope": "scope-c0de", "email": "mail-5e5e@example.net", "pin": 918273645,
	"nested": map[string]any{"name-0d0d": []string{"deep-a1b2"}}, "sid": "session-9b9b",
}

var privateValues = []string{
	"subject-1f9a", "id-77b0", "scope-c0de", "mail-5e5e", "918273645", "name-0d0d", "deep-a1b2", "session-9b9b",
	"audience-6c6c", "issuer-2d2d", "type-3e3e", "surprise-8f8f",
}

// faultyTokens has a token for each way in which one can fail, and good ones.
func faultyTokens(key *mint.Key) []string {
	now := time.Now().Unix()
	var all []string
	for _, changes := range []map[string]any{
		{}, {"exp": 1}, {"exp": nil}, {"exp": "surprise-8f8f"}, {"exp": -1}, {"exp": 1e300}, {"exp": now + 1<<30},
		{"nbf": now + 9999}, {"iat": now + 9999}, {"iat": "surprise-8f8f"}, {"nbf": []string{"surprise-8f8f"}},
		{"iss": "issuer-2d2d"}, {"iss": nil}, {"iss": []string{"issuer-2d2d"}}, {"iss": testIssuer + "issuer-2d2d"},
		{"aud": "audience-6c6c"}, {"aud": []string{"audience-6c6c"}}, {"aud": nil}, {"aud": []any{"audience-6c6c", 1}},
		{"sub": []string{"surprise-8f8f"}}, {"jti": map[string]any{"surprise-8f8f": 1}},
		{"scope": []string{"surprise-8f8f"}},
		{"scp": []string{"surprise-8f8f surprise-8f8f"}}, {"cnf": "surprise-8f8f"}, {"SUB": "surprise-8f8f"},
		{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": "surprise-8f8f"}},
	} {
		claims := testClaims(privateClaims)
		for name, v := range changes {
			claims[name] = v
		}
		all = append(all, key.Token(claims))
	}
	payload := mint.JSON(testClaims(privateClaims))
	for _, header := range []string{
		`{"alg":"none"}`, `{"alg":"surprise-8f8f"}`, `{"alg":"RS256"}`, `{"alg":"HS512"}`, `{"typ":"JWT"}`, `{`, `[]`,
		``,
		`{"alg":"HS256","typ":"type-3e3e"}`, `{"alg":"HS256","typ":1}`, `{"alg":"HS256","kid":["surprise-8f8f"]}`,
		`{"alg":"HS256","crit":["surprise-8f8f"]}`, `{"alg":"HS256","zip":"surprise-8f8f"}`,
		`{"alg":"HS256","ALG":"surprise-8f8f"}`, `{"alg":"HS256","surprise-8f8f":1,"surprise-8f8f":1}`,
		`{"alg":"HS256","kid":"outage"}`, `{"alg":"HS256","kid":"` + strings.Repeat("surprise-8f8f", 30) + `"}`,
		`{"alg":"HS256","jwk":{"kty":"surprise-8f8f"},"x5u":"https://surprise-8f8f/"}`,
	} {
		all = append(all, key.Sign(header, payload))
	}
	header := mint.JSON(key.Header())
	for _, payload := range []string{
		payload + "surprise-8f8f", `{"surprise-8f8f":1`, `["surprise-8f8f"]`,
		`{"sub":"surprise-8f8f","sub":"surprise-8f8f"}`, "{\"sub\":\"surprise-8f8f\xff\"}",
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, `{"a":1e999}`,
	} {
		all = append(all, key.Sign(header, payload))
	}
	good := all[0]
	return append(all, good[:len(good)-3], good+"A", good+"=", good+".x", strings.ReplaceAll(good, ".", "!"),
		good[:strings.LastIndexByte(good, '.')+1], good[:40], mint.New("HS256", "k1").Token(testClaims(privateClaims)),
		mint.Base64([]byte(good)), strings.Repeat("eyJ", 3000),
		mint.New("ES256", "k1").Token(testClaims(privateClaims)))
}

func TestNoPartOfATokenIsInALogAnErrorOrAResponse(t *testing.T) {
	auth, key, log := logAuth(t, slog.LevelDebug)
	var said bytes.Buffer // errors and responses
	var say func(err error)
	say = func(err error) {
		fmt.Fprintf(&said, "%v\n%+v\n%q\n", err, err, err)
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range several.Unwrap() {
				say(err)
			}
		} else if err := errors.Unwrap(err); err != nil {
			say(err)
		}
	}
	onRefuse := extractAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.HMAC(secretOf(key))
		o.OnRefuse = func(_ http.ResponseWriter, r *http.Request, err error) {
			say(err)
			io.WriteString(&said, visible(r))
		}
	})
	all := faultyTokens(key)
	for i, token := range all {
		tok := tokens{token, token, token}
		_, err := auth.Verify(t.Context(), token)
		say(err)
		names := []string{"header", "query", "handshake: own origin", "subprotocol: base64url", "func"}
		if i == 0 || i == 1 {
			names = slices.Sorted(maps.Keys(extractions))
		}
		for _, name := range names {
			x := extractions[name]
			for _, a := range []*wsauth.Authenticator{auth, onRefuse} {
				_, err := a.Authenticate(x.read(t, tok))
				say(err)
				h := a.Middleware(wsauth.RequireScopes("needed")(new(recorder)))
				w := serve(h, x.read(t, tok))
				io.WriteString(&said, headerText(w.Header())+w.Body.String())
				w = serve(a.Optional(new(recorder)), x.read(t, tok))
				io.WriteString(&said, headerText(w.Header())+w.Body.String())
			}
		}
	}
	secret := mint.Base64(secretOf(key))
	for where, text := range map[string]string{"the log": log.String(), "errors and responses": said.String()} {
		if len(text) < 10_000 {
			t.Fatalf("%s: only %d bytes", where, len(text))
		}
		for _, private := range append([]string{secret}, privateValues...) {
			if strings.Contains(text, private) {
				t.Errorf("%s: %q, near %q", where, private, near(text, private))
			}
		}
		for _, token := range all {
			for part := range strings.SplitSeq(token, ".") {
				if len(part) >= 8 && strings.Contains(text, part) {
					t.Errorf("%s: %q, near %q", where, part, near(text, part))
				}
			}
			if encoded := mint.Base64([]byte(token)); strings.Contains(text, encoded) {
				t.Errorf("%s: %q", where, encoded)
			}
		}
	}
}

// near is what stands around part in text.
func near(text, part string) string {
	i := strings.Index(text, part)
	return text[max(0, i-60):min(len(text), i+len(part)+60)]
}
