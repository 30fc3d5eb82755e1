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
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// logKey is the one key of the issuer of which a log tells.
var logKey = mint.New("HS256", "k1")

// loggedTo logs as JSON. The issuer has logKey, and an outage when it is asked for the kid "outage".
func loggedTo(log *bytes.Buffer, level slog.Level) func(*wsauth.Options) {
	return func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.KeyFunc(func(_ context.Context, kid, _ string) (any, error) {
			if kid == "outage" {
				return nil, errors.New("no vault")
			}
			return secretOf(logKey), nil
		})
		o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level}))
	}
}

func TestEachRefusalIsOneLineInTheLog(t *testing.T) {
	log, key := new(bytes.Buffer), logKey
	auth := extractAuth(t, loggedTo(log, slog.LevelInfo))
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
					t.Fatalf("%s: got status %d, want a refusal", how, w.Code)
				}
				lines := logLines(t, log)
				if len(lines) != 1 {
					t.Fatalf("%s: got %d lines, want 1: %v", how, len(lines), lines)
				}
				reason, _ := lines[0]["reason"].(string)
				if !strings.HasPrefix(reason, row.reason) {
					t.Errorf("%s: got the reason %q, want %q", how, reason, row.reason)
				}
				delete(lines[0], "reason")
				delete(lines[0], "time")
				want := map[string]any{
					"level": row.level, "msg": "wsauth: refused",
					"source": row.source, "issuer": row.issuer, "kid": row.kid,
				}
				maps.DeleteFunc(want, func(_ string, v any) bool { return v == "" })
				if got := fmt.Sprint(lines[0]); got != fmt.Sprint(want) {
					t.Errorf("%s: got %s, want %s", how, got, fmt.Sprint(want))
				}
			}
		})
	}
}

func TestARefusalByVerifyIsOneLineInTheLog(t *testing.T) {
	log, key := new(bytes.Buffer), logKey
	auth := extractAuth(t, loggedTo(log, slog.LevelInfo))
	auth.Verify(t.Context(), key.Token(testClaims(map[string]any{"exp": 1})))
	lines := logLines(t, log)
	if len(lines) != 1 || lines[0]["reason"] != "wsauth: token expired" || lines[0]["kid"] != "k1" ||
		lines[0]["source"] != nil {
		t.Errorf("got %v, want one line with the kid and no source", lines)
	}
}

// Who is refused must not choose how much of a disk that takes.
func TestARefusalIsAShortLine(t *testing.T) {
	log, key := new(bytes.Buffer), logKey
	auth := extractAuth(t, loggedTo(log, slog.LevelInfo))
	good := key.Token(testClaims(nil))
	cookie := "Cookie: session=" + good
	longKid := &mint.Key{Alg: "HS256", ID: strings.Repeat("\x01", 256), Private: mint.New("HS256", "").Private}
	many := func(line string) string { return "\n" + strings.Repeat(line+"\n", 1000) }
	for name, request := range map[string]string{
		"a long Origin":              handshake + "Cookie: session=" + good + "\nOrigin: " + strings.Repeat("\xff", 10_000),
		"many Origins":               handshake + "Cookie: session=" + good + many("Origin: https://blog.example.com/\xff"),
		"a long Host":                handshake + cookie + "\nHost: " + strings.Repeat("h", 10_000) + "\nOrigin: null",
		"many Authorization headers": "GET /" + many("Authorization: Bearer "+good),
		"a long token":               "GET /\nAuthorization: Bearer " + strings.Repeat("x", 10_000),
		"a long kid":                 "GET /\nAuthorization: Bearer " + longKid.Token(testClaims()),
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			serve(auth.Middleware(new(recorder)), readRequest(t, request))
			if log.Len() == 0 || log.Len() > 2500 {
				t.Errorf("got %d bytes, want some, and at most 2500", log.Len())
			}
		})
	}
}

func TestRefusalsOnAConnectionAreLoggedWithoutTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lockedBuffer)
		auth := newAuth(t, untilExp, func(o *wsauth.Options) {
			o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		srv := newMemoryServer(t, auth.Upgrade(renewing, &wsauth.UpgradeOptions{FirstMessage: time.Second}))
		first, second := testToken(lasting(time.Hour)), testToken(lasting(2*time.Hour), map[string]any{"sub": "mallory"})
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
			t.Errorf("got logged %s, want %s", got, want)
		}
		for _, secret := range []string{first, second, "mallory", "alice"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("got a token or a claim in the log, want none: %s", log)
			}
		}
	})
}

func TestSuccessIsLoggedAtDebugOnly(t *testing.T) {
	for _, row := range []struct {
		level slog.Level
		lines int
	}{{slog.LevelInfo, 0}, {slog.LevelDebug, 1}} {
		t.Run(row.level.String(), func(t *testing.T) {
			log, key := new(bytes.Buffer), logKey
			auth := extractAuth(t, loggedTo(log, row.level))
			nested := auth.Middleware(auth.Optional(auth.Middleware(new(recorder))))
			serve(nested, readRequest(t, "GET /\nAuthorization: Bearer "+key.Token(testClaims(nil))))
			lines := logLines(t, log)
			if len(lines) != row.lines {
				t.Fatalf("got %d lines, want %d: %v", len(lines), row.lines, lines)
			}
			if row.lines == 0 {
				return
			}
			delete(lines[0], "time")
			want := map[string]any{
				"level": "DEBUG", "msg": "wsauth: verified", "source": "header", "issuer": testIssuer, "kid": "k1",
			}
			if fmt.Sprint(lines[0]) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", lines[0], want)
			}
		})
	}
}

func TestTheTextOfAFailedRequireIsNotLogged(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			log, key := new(bytes.Buffer), logKey
			auth := extractAuth(t, loggedTo(log, slog.LevelDebug))
			h := auth.Middleware(wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
				return fmt.Errorf("%s may not: %w", c.Subject, k.err)
			})(new(recorder)))
			token := key.Token(testClaims(map[string]any{"sub": "carol-4711"}))
			serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+token))
			if strings.Contains(log.String(), "carol-4711") || !strings.Contains(log.String(), "wsauth: refused") {
				t.Errorf("got the log %s, want a refusal in it and no claim", log)
			}
		})
	}
}

func TestTheLogSaysWhatTheResponseDoes(t *testing.T) {
	log, key := new(bytes.Buffer), logKey
	auth := extractAuth(t, loggedTo(log, slog.LevelInfo))
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
					t.Fatalf("got %d lines, want 1", len(lines))
				}
				for _, k := range kinds {
					reason, _ := lines[0]["reason"].(string)
					if strings.HasPrefix(reason, k.err.Error()) && w.Code != k.status {
						t.Errorf("got logged %q beside status %d, want %d", reason, w.Code, k.status)
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
	log, key := new(bytes.Buffer), logKey
	auth := extractAuth(t, loggedTo(log, slog.LevelDebug))
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
			t.Fatalf("%s: got only %d bytes, want more to look through", where, len(text))
		}
		for _, private := range append([]string{secret}, privateValues...) {
			if strings.Contains(text, private) {
				t.Errorf("%s: got %q, near %q, want it nowhere", where, private, near(text, private))
			}
		}
		for _, token := range all {
			for part := range strings.SplitSeq(token, ".") {
				if len(part) >= 8 && strings.Contains(text, part) {
					t.Errorf("%s: got %q, near %q, want it nowhere", where, part, near(text, part))
				}
			}
			if encoded := mint.Base64([]byte(token)); strings.Contains(text, encoded) {
				t.Errorf("%s: got %q, want it nowhere", where, encoded)
			}
		}
	}
}

// near is what stands around part in text.
func near(text, part string) string {
	i := strings.Index(text, part)
	return text[max(0, i-60):min(len(text), i+len(part)+60)]
}
