package wsauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// signed is a token with this typ; nil: none.
func signed(k *mint.Key, typ any, claims map[string]any) string {
	header := k.Header()
	delete(header, "typ")
	if typ != nil {
		header["typ"] = typ
	}
	return k.Sign(mint.JSON(header), mint.JSON(claims))
}

// with overlays claims with what changes; nil leaves a claim out.
func with(claims, changes map[string]any) map[string]any {
	out := maps.Clone(claims)
	for name, value := range changes {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}

func logoutClaims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	return with(map[string]any{
		"iss": testIssuer, "aud": "client", "sub": "alice", "sid": "session", "jti": "logout 1", "iat": now, "exp": now + 120,
		"events": map[string]any{logoutEvent: map[string]any{}},
	}, changes)
}

func sendLogout(h http.Handler, token string) *httptest.ResponseRecorder {
	return send(h, "application/x-www-form-urlencoded", url.Values{"logout_token": {token}}.Encode())
}

func send(h http.Handler, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return serve(h, r)
}

// isRevoked reports whether alice's token, which has the session "session", is revoked.
func isRevoked(t *testing.T, auth *wsauth.Authenticator, changes map[string]any) bool {
	t.Helper()
	_, err := auth.Verify(t.Context(), testToken(revocable(map[string]any{"iat": time.Now().Unix() - 1}, changes)))
	if err != nil && !errors.Is(err, wsauth.ErrRevoked) {
		t.Fatal(err)
	}
	return err != nil
}

var (
	otherSession = map[string]any{"sid": "another"}
	otherUser    = map[string]any{"sub": "bob", "sid": "another"}
)

func TestALogoutTokenRevokesItsSessionOrItsUser(t *testing.T) {
	for name, row := range map[string]struct {
		typ                        any
		changes                    map[string]any
		session, otherSession, bob bool // revoked
	}{
		"by sid and sub":          {"logout+jwt", nil, true, false, false},
		"by sid":                  {"logout+jwt", map[string]any{"sub": nil}, true, false, false},
		"by sub":                  {"logout+jwt", map[string]any{"sid": nil}, true, true, false},
		"by sub, sid null":        {"logout+jwt", map[string]any{"sid": json.RawMessage("null")}, true, true, false},
		"typ JWT":                 {"JWT", nil, true, false, false},
		"no typ":                  {nil, nil, true, false, false},
		"typ as a media type":     {"application/logout+jwt", nil, true, false, false},
		"among other audiences":   {"logout+jwt", map[string]any{"aud": []string{"another", "client"}}, true, false, false},
		"of the second client":    {"logout+jwt", map[string]any{"aud": "client 2"}, true, false, false},
		"a session of nobody":     {"logout+jwt", map[string]any{"sid": "nobody's"}, false, false, false},
		"of a clock that is fast": {"logout+jwt", map[string]any{"iat": time.Now().Unix() + 20}, true, false, false},
		"another event beside it": {"logout+jwt", map[string]any{
			"events": map[string]any{logoutEvent: map[string]any{}, "https://example.com/other": map[string]any{"a": 1}},
		}, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			h := auth.BackChannelLogout("client", "client 2")
			for range 2 { // once more changes nothing
				w := sendLogout(h, signed(testKey, row.typ, logoutClaims(row.changes)))
				if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" || w.Body.Len() > 0 {
					t.Errorf("got %d %v %s, want 200 and no-store", w.Code, w.Header(), w.Body)
				}
			}
			for who, row := range map[string]struct {
				changes map[string]any
				want    bool
			}{"the session": {nil, row.session}, "another session": {otherSession, row.otherSession}, "another user": {otherUser, row.bob}} {
				if got := isRevoked(t, auth, row.changes); got != row.want {
					t.Errorf("%s: got revoked %v, want %v", who, got, row.want)
				}
			}
		})
	}
}

// badLogouts are logout tokens that are refused: each has one thing wrong.
func badLogouts() map[string]string {
	bad := func(changes map[string]any) string { return signed(testKey, "logout+jwt", logoutClaims(changes)) }
	now := time.Now().Unix()
	events := func(v any) map[string]any { return map[string]any{"events": v} }
	return map[string]string{
		"empty":                         "",
		"rubbish":                       "rubbish",
		"an access token":               testToken(revocable()),
		"an access token of the client": testToken(revocable(map[string]any{"aud": "client"})),
		"an access token with the typ":  signed(testKey, "logout+jwt", testClaims(revocable(map[string]any{"aud": "client"}))),
		"typ at+jwt":                    signed(testKey, "at+jwt", logoutClaims(nil)),
		"typ secevent+jwt":              signed(testKey, "secevent+jwt", logoutClaims(nil)),
		"typ dpop+jwt":                  signed(testKey, "dpop+jwt", logoutClaims(nil)),
		"another key":                   signed(mint.New("HS256", ""), "logout+jwt", logoutClaims(nil)),
		"no signature":                  bad(nil)[:strings.LastIndex(bad(nil), ".")+1],
		"alg none":                      mint.Base64([]byte(`{"alg":"none","typ":"logout+jwt"}`)) + "." + mint.Base64([]byte(mint.JSON(logoutClaims(nil)))) + ".",
		"no iss":                        bad(map[string]any{"iss": nil}),
		"another iss":                   bad(map[string]any{"iss": "https://evil.example.com/"}),
		"no aud":                        bad(map[string]any{"aud": nil}),
		"the aud of access tokens":      bad(map[string]any{"aud": "chat"}),
		"an empty aud":                  bad(map[string]any{"aud": []string{}}),
		"no iat":                        bad(map[string]any{"iat": nil}),
		"iat 0":                         bad(map[string]any{"iat": 0}),
		"iat to come":                   bad(map[string]any{"iat": now + 60, "exp": now + 180}),
		"iat a string":                  bad(map[string]any{"iat": "now"}),
		"no exp":                        bad(map[string]any{"exp": nil}),
		"expired":                       bad(map[string]any{"iat": now - 600, "exp": now - 31}),
		"exp before iat":                bad(map[string]any{"exp": now - 1}),
		"nbf to come":                   bad(map[string]any{"nbf": now + 60}),
		"no jti":                        bad(map[string]any{"jti": nil}),
		"an empty jti":                  bad(map[string]any{"jti": ""}),
		"a nonce":                       bad(map[string]any{"nonce": "n"}),
		"a nonce that is null":          bad(map[string]any{"nonce": json.RawMessage("null")}),
		"a Nonce":                       bad(map[string]any{"Nonce": "n"}),
		"neither sub nor sid":           bad(map[string]any{"sub": nil, "sid": nil}),
		"empty sub and sid":             bad(map[string]any{"sub": "", "sid": nil}),
		"an empty sid":                  bad(map[string]any{"sid": ""}),
		"a sid that is an object":       bad(map[string]any{"sid": map[string]any{}}),
		"no events":                     bad(map[string]any{"events": nil}),
		"events null":                   bad(events(json.RawMessage("null"))),
		"events empty":                  bad(events(map[string]any{})),
		"events an array":               bad(events([]string{logoutEvent})),
		"events a string":               bad(events(logoutEvent)),
		"another event":                 bad(events(map[string]any{"https://example.com/other": map[string]any{}})),
		"an event that is a string":     bad(events(map[string]any{logoutEvent: ""})),
		"an event that is null":         bad(events(map[string]any{logoutEvent: nil})),
		"Events":                        bad(map[string]any{"Events": map[string]any{}}),
		"twice sub": testKey.Sign(mint.JSON(testKey.Header()),
			strings.Replace(mint.JSON(logoutClaims(nil)), "{", `{"sub":"bob",`, 1)),
	}
}

func TestALogoutTokenWithOneThingWrongRevokesNothing(t *testing.T) {
	for name, token := range badLogouts() {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			w := sendLogout(auth.BackChannelLogout("client"), token)
			if w.Code != http.StatusBadRequest || w.Header().Get("Cache-Control") != "no-store" || !json.Valid(w.Body.Bytes()) {
				t.Errorf("got %d %v %s, want 400, no-store and JSON", w.Code, w.Header(), w.Body)
			}
			if isRevoked(t, auth, nil) {
				t.Error("got alice revoked, want nothing revoked")
			}
		})
	}
}

func TestALogoutTokenIsNoAccessToken(t *testing.T) {
	auth := newAuth(t, keeping, func(o *wsauth.Options) {
		o.Issuers[0].Audience = []string{"client"}
	})
	for _, typ := range []any{"logout+jwt", "JWT", nil, "at+jwt"} {
		if _, err := auth.Verify(t.Context(), signed(testKey, typ, logoutClaims(nil))); !errors.Is(err, wsauth.ErrInvalidToken) {
			t.Errorf("typ %v: got %v, want ErrInvalidToken", typ, err)
		}
	}
}

func TestALogoutIsAPostOfAForm(t *testing.T) {
	token := signed(testKey, "logout+jwt", logoutClaims(nil))
	form := url.Values{"logout_token": {token}}.Encode()
	request := func(method, target, contentType, body string) *http.Request {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return r
	}
	const formType = "application/x-www-form-urlencoded"
	for name, row := range map[string]struct {
		request *http.Request
		want    int
	}{
		"as it should be":   {request("POST", "/", formType, form), 200},
		"with a charset":    {request("POST", "/", formType+"; charset=utf-8", form), 200},
		"other parameters":  {request("POST", "/", formType, form+"&state=1"), 200},
		"a GET":             {request("GET", "/?"+form, formType, ""), 400},
		"a PUT":             {request("PUT", "/", formType, form), 400},
		"in the query":      {request("POST", "/?"+form, formType, ""), 400},
		"JSON":              {request("POST", "/", "application/json", mint.JSON(map[string]any{"logout_token": token})), 400},
		"no type":           {request("POST", "/", "", form), 400},
		"the token alone":   {request("POST", "/", formType, token), 400},
		"two":               {request("POST", "/", formType, form+"&"+form), 400},
		"a megabyte":        {request("POST", "/", formType, form+"&x="+strings.Repeat("x", 1<<20)), 400},
		"a broken encoding": {request("POST", "/", formType, form+"&x=%zz"), 400},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			if w := serve(auth.BackChannelLogout("client"), row.request); w.Code != row.want {
				t.Errorf("got %d, want %d", w.Code, row.want)
			}
			if got := isRevoked(t, auth, nil); got != (row.want == 200) {
				t.Errorf("got revoked %v", got)
			}
		})
	}
}

func TestALogoutEndsTheConnectionsOfTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var records bytes.Buffer
		auth := newAuth(t, keeping, func(o *wsauth.Options) { o.Logger = slog.New(slog.NewJSONHandler(&records, nil)) })
		h := auth.BackChannelLogout("client")
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }, nil))
		conn := srv.dial(t, withToken(testToken(revocable())))
		synctest.Wait()
		if w := sendLogout(h, signed(testKey, "logout+jwt", logoutClaims(nil))); w.Code != http.StatusOK {
			t.Errorf("got %d, want 200", w.Code)
		}
		_, _, err := conn.Read(t.Context())
		if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("got %v, want 3000", err)
		}
		sendLogout(h, signed(testKey, "logout+jwt", logoutClaims(map[string]any{"sid": "nobody's"})))
		sendLogout(h, signed(testKey, "logout+jwt", logoutClaims(map[string]any{"aud": "another"})))
		synctest.Wait()
		text := records.String()
		var counts []any
		for _, line := range logLines(t, &records) {
			if line["msg"] == "wsauth: revoked" {
				counts = append(counts, line["connections"])
			}
		}
		if len(counts) != 2 || counts[0] != 1.0 || counts[1] != 0.0 || !strings.Contains(text, `"source":"logout"`) {
			t.Errorf("got %s, want records of 1 and 0 connections, and of a refusal", text)
		}
		for _, secret := range []string{"alice", "nobody's", "logout 1"} {
			if strings.Contains(text, secret) {
				t.Errorf("got the claim %q in a record", secret)
			}
		}
	})
}

func TestAProviderIsToTryAgainDuringAnOutage(t *testing.T) {
	token := signed(testKey, "logout+jwt", logoutClaims(nil))
	t.Run("of the keys", func(t *testing.T) {
		auth := newAuth(t, keeping, askedBy(func() error { return errors.New("the vault is sealed") }))
		if w := sendLogout(auth.BackChannelLogout("client"), token); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %v, want 503 with Retry-After", w.Code, w.Header())
		}
	})
	t.Run("of the log", func(t *testing.T) {
		log := new(unsteadyLog)
		log.fail(errors.New("connection refused"))
		auth := newAuth(t, sharing(log))
		h := auth.BackChannelLogout("client")
		if w := sendLogout(h, token); w.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d, want 503", w.Code)
		}
		log.fail(nil)
		if w := sendLogout(h, token); w.Code != http.StatusOK || len(log.entries) != 1 {
			t.Errorf("got %d and %d entries when it is back, want 200 and one", w.Code, len(log.entries))
		}
	})
	t.Run("that New did not make", func(t *testing.T) {
		if w := sendLogout(new(wsauth.Authenticator).BackChannelLogout("client"), token); w.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d, want 503", w.Code)
		}
	})
}

func TestALogoutHandlerThatCouldDoNothingPanics(t *testing.T) {
	for name, make := range map[string]func(){
		"no clients":          func() { newAuth(t, keeping).BackChannelLogout() },
		"an empty one":        func() { newAuth(t, keeping).BackChannelLogout("client", "") },
		"nothing can be kept": func() { newAuth(t).BackChannelLogout("client") },
		"no Name":             func() { newAuth(t, keeping).SecurityEvents(transmitter(func(f *wsauth.Transmitter) { f.Name = "" })) },
		"no Audience": func() {
			newAuth(t, keeping).SecurityEvents(transmitter(func(f *wsauth.Transmitter) { f.Audience = nil }))
		},
		"no Keys": func() { newAuth(t, keeping).SecurityEvents(transmitter(func(f *wsauth.Transmitter) { f.Keys = nil })) },
		"Keys with a fault": func() {
			newAuth(t, keeping).SecurityEvents(transmitter(func(f *wsauth.Transmitter) { f.Keys = wsauth.HMAC() }))
		},
		"a foreign Issuer": func() {
			newAuth(t, keeping).SecurityEvents(transmitter(func(f *wsauth.Transmitter) { f.Issuer = "x" }))
		},
		"nothing can be kept, events": func() { newAuth(t).SecurityEvents(transmitter(func(*wsauth.Transmitter) {})) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p == nil {
					t.Error("got no panic, want one")
				}
			}()
			make()
		})
	}
}
