package wsauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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

// raw is a claim whose text no Go value marshals to, such as null, which as nil would leave the claim out.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

// fromNow is a time, in seconds from when the token is signed.
type fromNow int64

// signed is a token with these claims and this typ; an empty one is left out.
func signed(key *mint.Key, typ any, claims map[string]any) string {
	header := key.Header()
	delete(header, "typ")
	if typ != "" {
		header["typ"] = typ
	}
	claims = maps.Clone(claims)
	for name, v := range claims {
		if seconds, ok := v.(fromNow); ok {
			claims[name] = time.Now().Unix() + int64(seconds)
		}
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return key.Sign(mint.JSON(header), mint.JSON(claims))
}

// logoutClaims are the claims of a good logout token for alice's session, overlaid with changes; nil leaves a claim
// out.
func logoutClaims(changes ...map[string]any) map[string]any {
	claims := map[string]any{
		"iss": testIssuer, "aud": "client", "iat": time.Now().Unix(), "exp": time.Now().Unix() + 120, "jti": "1", "sub": "alice",
		"sid": "session", "events": map[string]any{logoutEvent: map[string]any{}},
	}
	for _, c := range changes {
		maps.Copy(claims, c)
	}
	return claims
}

func form(token string) string { return url.Values{"logout_token": {token}}.Encode() }

// push posts a body to a handler.
func push(h http.Handler, contentType, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/push", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(h, r)
}

const formType = "application/x-www-form-urlencoded"

func pushLogout(h http.Handler, token string) *httptest.ResponseRecorder {
	return push(h, formType, form(token))
}

// wantAnswer checks the answer to a push, and that it says nothing about what was sent.
func wantAnswer(t testing.TB, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("got %d %s, want %d", w.Code, w.Body, status)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", got)
	}
	if strings.Contains(w.Body.String(), "alice") || strings.Contains(w.Body.String(), "session") {
		t.Errorf("got %s, want nothing of the token", w.Body)
	}
	if status == http.StatusBadRequest && !json.Valid(w.Body.Bytes()) {
		t.Errorf("got %s, want JSON", w.Body)
	}
}

// isOut reports whether a good token of the user and the session is refused as revoked.
func isOut(t testing.TB, auth *wsauth.Authenticator, changes ...map[string]any) bool {
	t.Helper()
	earlier := map[string]any{"iat": time.Now().Unix() - 3} // than what was sent a moment ago
	_, err := auth.Verify(t.Context(), testToken(revocable(append([]map[string]any{earlier}, changes...)...)))
	if err != nil && !errors.Is(err, wsauth.ErrRevoked) {
		t.Fatal(err)
	}
	return err != nil
}

var bob = map[string]any{"sub": "bob", "sid": "another", "jti": "another"}

// logoutRows are logout tokens, with what the handler answers. A good one revokes; no other does.
var logoutRows = []struct {
	name    string
	typ     any
	changes map[string]any
	want    int
}{
	{"typ logout+jwt", "logout+jwt", nil, 200},
	{"typ JWT, as Keycloak has it", "JWT", nil, 200},
	{"no typ", "", nil, 200},
	{"typ in other letters, with application/", "Application/Logout+JWT", nil, 200},
	{"typ null", nil, nil, 200},
	{"typ of an access token", "at+jwt", nil, 400},
	{"typ of a security event", "secevent+jwt", nil, 400},
	{"typ of an ID token", "id_token+jwt", nil, 400},
	{"typ a number", 1, nil, 400},
	{"typ empty", raw(`""`), nil, 400},

	{"another iss", "logout+jwt", map[string]any{"iss": "https://other.example.com/"}, 400},
	{"iss without the slash", "logout+jwt", map[string]any{"iss": strings.TrimSuffix(testIssuer, "/")}, 400},
	{"no iss", "logout+jwt", map[string]any{"iss": nil}, 400},
	{"iss not a string", "logout+jwt", map[string]any{"iss": 1}, 400},

	{"the other client", "logout+jwt", map[string]any{"aud": "app"}, 200},
	{"several aud", "logout+jwt", map[string]any{"aud": []string{"mail", "client", "talk"}}, 200},
	{"another aud", "logout+jwt", map[string]any{"aud": "mail"}, 400},
	{"the aud of access tokens", "logout+jwt", map[string]any{"aud": "chat"}, 400},
	{"no aud", "logout+jwt", map[string]any{"aud": nil}, 400},
	{"aud empty", "logout+jwt", map[string]any{"aud": []string{}}, 400},
	{"aud not a string", "logout+jwt", map[string]any{"aud": []any{"client", 1}}, 400},

	{"no iat", "logout+jwt", map[string]any{"iat": nil}, 400},
	{"iat null", "logout+jwt", map[string]any{"iat": raw("null")}, 400},
	{"iat a string", "logout+jwt", map[string]any{"iat": "1764230400"}, 400},
	{"iat within the leeway", "logout+jwt", map[string]any{"iat": fromNow(20)}, 200},
	{"iat in the future", "logout+jwt", map[string]any{"iat": fromNow(60)}, 400},
	{"iat in milliseconds", "logout+jwt", map[string]any{"iat": time.Now().UnixMilli()}, 400},
	{"iat after exp", "logout+jwt", map[string]any{"iat": fromNow(5), "exp": fromNow(4)}, 400},
	{"no exp", "logout+jwt", map[string]any{"exp": nil}, 400},
	{"exp 0", "logout+jwt", map[string]any{"exp": 0}, 400},
	{"exp a string", "logout+jwt", map[string]any{"exp": "1"}, 400},
	{"expired within the leeway", "logout+jwt", map[string]any{"iat": fromNow(-60), "exp": fromNow(-20)}, 200},
	{"expired", "logout+jwt", map[string]any{"iat": fromNow(-180), "exp": fromNow(-60)}, 400},
	{"nbf in the future", "logout+jwt", map[string]any{"nbf": fromNow(60)}, 400},
	{"no jti", "logout+jwt", map[string]any{"jti": nil}, 400},
	{"jti empty", "logout+jwt", map[string]any{"jti": ""}, 400},
	{"jti not a string", "logout+jwt", map[string]any{"jti": 7}, 400},

	{"sub alone", "logout+jwt", map[string]any{"sid": nil}, 200},
	{"sid alone", "logout+jwt", map[string]any{"sub": nil}, 200},
	{"sid null", "logout+jwt", map[string]any{"sid": raw("null")}, 200},
	{"neither sub nor sid", "logout+jwt", map[string]any{"sub": nil, "sid": nil}, 400},
	{"sub empty and no sid", "logout+jwt", map[string]any{"sub": "", "sid": nil}, 400},
	{"sid empty", "logout+jwt", map[string]any{"sid": ""}, 400},
	{"sid an array", "logout+jwt", map[string]any{"sid": []string{"session"}}, 400},
	{"sub an object", "logout+jwt", map[string]any{"sub": map[string]any{}}, 400},

	{"a nonce", "logout+jwt", map[string]any{"nonce": "n"}, 400},
	{"a nonce null", "logout+jwt", map[string]any{"nonce": raw("null")}, 400},
	{"a nonce in capitals", "logout+jwt", map[string]any{"NONCE": "n"}, 400},

	{"no events", "logout+jwt", map[string]any{"events": nil}, 400},
	{"events null", "logout+jwt", map[string]any{"events": raw("null")}, 400},
	{"events empty", "logout+jwt", map[string]any{"events": raw("{}")}, 400},
	{"events an array", "logout+jwt", map[string]any{"events": []string{logoutEvent}}, 400},
	{"events a string", "logout+jwt", map[string]any{"events": logoutEvent}, 400},
	{"the event null", "logout+jwt", map[string]any{"events": raw(`{"` + logoutEvent + `":null}`)}, 400},
	{"the event a string", "logout+jwt", map[string]any{"events": map[string]any{logoutEvent: ""}}, 400},
	{"the event with members", "logout+jwt", map[string]any{"events": raw(`{"` + logoutEvent + `":{"a":1}}`)}, 200},
	{"the event twice", "logout+jwt", map[string]any{"events": raw(`{"` + logoutEvent + `":{},"` + logoutEvent + `":{}}`)}, 400},
	{"the event beside what Keycloak adds for offline sessions", "JWT",
		map[string]any{"typ": "Logout", "events": raw(`{"` + logoutEvent + `":{},"revoke_offline_access":true}`)}, 200},
	{"the event true", "logout+jwt", map[string]any{"events": raw(`{"` + logoutEvent + `":true}`)}, 400},
	{"the event beside another", "logout+jwt", map[string]any{"events": map[string]any{logoutEvent: raw("{}"), "urn:x": raw("{}")}}, 200},
	{"the event by https", "logout+jwt", map[string]any{"events": raw(`{"` + strings.Replace(logoutEvent, "http:", "https:", 1) + `":{}}`)}, 400},
	{"another event", "logout+jwt", map[string]any{"events": raw(`{"` + caep + `session-revoked":{}}`)}, 400},
	{"a claim in another letter case", "logout+jwt", map[string]any{"SID": "session"}, 400},
	{"a claim of its own", "logout+jwt", map[string]any{"trace_id": raw(`{"a":[null]}`)}, 200},
}

const caep = "https://schemas.openid.net/secevent/caep/event-type/"

func TestALogoutTokenWithOneThingWrongRevokesNothing(t *testing.T) {
	for _, row := range logoutRows {
		t.Run(row.name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			typ := row.typ
			if typ == nil {
				typ = raw("null")
			}
			w := pushLogout(auth.BackChannelLogout("app", "client"), signed(testKey, typ, logoutClaims(row.changes)))
			wantAnswer(t, w, row.want)
			earlier := map[string]any{"iat": time.Now().Unix() - 90}
			if got, want := isOut(t, auth, earlier), row.want == 200; got != want {
				t.Errorf("got revoked %v, want %v", got, want)
			}
			if isOut(t, auth, bob, earlier) {
				t.Error("got bob's token revoked, want it good")
			}
		})
	}
}

func TestTheKeysOfALogoutTokenAreThoseOfItsIssuer(t *testing.T) {
	const other = "https://other.example.com/"
	rs, stranger, ed := mint.New("RS256", "rs"), mint.New("RS256", "rs"), mint.New("EdDSA", "ed")
	auth := func(t *testing.T) *wsauth.Authenticator {
		return newAuth(t, keeping, func(o *wsauth.Options) {
			o.Issuers[0].Keys, o.Issuers[0].Algorithms = wsauth.KeySet(mint.SetOf(rs, ed)), []string{"RS256"}
			second := wsauth.Issuer{Name: other, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey))}
			o.Issuers = append(o.Issuers, second)
		})
	}
	fromOther := map[string]any{"iss": other}
	none := mint.Base64([]byte(`{"alg":"none"}`)) + "." + mint.Base64([]byte(mint.JSON(logoutClaims()))) + "."
	for name, row := range map[string]struct {
		token string
		want  int
	}{
		"its key":                           {signed(rs, "logout+jwt", logoutClaims()), 200},
		"a key of the same name":            {signed(stranger, "logout+jwt", logoutClaims()), 400},
		"the key of another issuer":         {signed(testKey, "logout+jwt", logoutClaims()), 400},
		"another issuer":                    {signed(testKey, "logout+jwt", logoutClaims(fromOther)), 200},
		"another issuer, with its key":      {signed(rs, "logout+jwt", logoutClaims(fromOther)), 400},
		"an algorithm that Algorithms lack": {signed(ed, "logout+jwt", logoutClaims()), 400},
		"none":                              {none, 400},
		"no signature":                      {strings.TrimRight(signed(rs, "logout+jwt", logoutClaims()), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"), 400},
		"no token":                          {"", 400},
		"a space after it":                  {signed(rs, "logout+jwt", logoutClaims()) + " ", 400},
	} {
		t.Run(name, func(t *testing.T) {
			wantAnswer(t, pushLogout(auth(t).BackChannelLogout("client"), row.token), row.want)
		})
	}
}

func TestALogoutTokenIsPostedInAForm(t *testing.T) {
	token := signed(testKey, "logout+jwt", logoutClaims())
	for name, row := range map[string]struct {
		contentType, body string
		want              int
	}{
		"alone":                     {formType, form(token), 200},
		"with a charset":            {formType + "; charset=utf-8", form(token), 200},
		"beside something else":     {formType, "a=b&" + form(token) + "&logout_tokens=1", 200},
		"twice":                     {formType, form(token) + "&" + form(token), 400},
		"another name":              {formType, "token=" + token, 400},
		"empty":                     {formType, "logout_token=", 400},
		"nothing":                   {formType, "", 400},
		"malformed":                 {formType, form(token) + "&a=%zz", 400},
		"as JSON":                   {"application/json", `{"logout_token":"` + token + `"}`, 400},
		"as a form of another kind": {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=logout_token\r\n\r\n" + token + "\r\n--b--\r\n", 400},
		"no Content-Type":           {"", form(token), 400},
		"as it is":                  {"application/jwt", token, 400},
		"beside much else":          {formType, form(token) + "&a=" + strings.Repeat("a", 3000), 200},
		"beside too much else":      {formType, form(token) + "&a=" + strings.Repeat("a", 20000), 400},
	} {
		t.Run(name, func(t *testing.T) {
			wantAnswer(t, push(newAuth(t, keeping).BackChannelLogout("client"), row.contentType, row.body), row.want)
		})
	}
	h := newAuth(t, keeping).BackChannelLogout("client")
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		r := httptest.NewRequest(method, "/?"+form(token), strings.NewReader(form(token)))
		r.Header.Set("Content-Type", formType)
		w := serve(h, r)
		if wantAnswer(t, w, http.StatusMethodNotAllowed); w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: got Allow %q, want POST", method, w.Header().Get("Allow"))
		}
	}
	r := httptest.NewRequest("POST", "/?"+form(token), strings.NewReader(""))
	r.Header.Set("Content-Type", formType)
	wantAnswer(t, serve(h, r), 400) // not in the URL
}

// A body without an end is read up to a bound.
func TestTheBodyOfALogoutIsBounded(t *testing.T) {
	endless := &countingReader{}
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("logout_token="), endless))
	r.Header.Set("Content-Type", formType)
	wantAnswer(t, serve(newAuth(t, keeping).BackChannelLogout("client"), r), 400)
	if endless.n > 64<<10 {
		t.Errorf("got %d bytes read, want 64 KiB at most", endless.n)
	}
}

type countingReader struct{ n int }

func (c *countingReader) Read(p []byte) (int, error) {
	c.n += len(p)
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestALogoutEndsTheSessionAndNoOther(t *testing.T) {
	session := func(sid any) map[string]any { return map[string]any{"sid": sid} }
	cognito := func(o *wsauth.Options) { o.Issuers[0].Session = "origin_jti" }
	for name, row := range map[string]struct {
		change     func(*wsauth.Options)
		logout     map[string]any
		out, stays []map[string]any
	}{
		"sid and sub: the session":            {keeping, nil, []map[string]any{nil}, []map[string]any{session("second"), session(nil)}},
		"sub: the user":                       {keeping, session(nil), []map[string]any{nil, session("second"), session(nil)}, []map[string]any{bob}},
		"sid of a user that it does not name": {keeping, map[string]any{"sub": "bob"}, []map[string]any{nil}, []map[string]any{bob}},
		"sid, and the session is in another claim": {cognito, nil,
			[]map[string]any{{"origin_jti": "session", "sid": nil}}, []map[string]any{nil, {"origin_jti": "x"}}},
		"a number":              {keeping, session(17), []map[string]any{session(17), session("17")}, []map[string]any{nil}},
		"a name with an escape": {keeping, session(raw(`"\u0073ession"`)), []map[string]any{nil}, []map[string]any{session("second")}},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping, row.change)
			wantAnswer(t, pushLogout(auth.BackChannelLogout("client"), signed(testKey, "", logoutClaims(row.logout))), 200)
			for _, changes := range row.out {
				if !isOut(t, auth, changes) {
					t.Errorf("got the token with %v good, want it revoked", changes)
				}
			}
			for _, changes := range row.stays {
				if isOut(t, auth, changes) {
					t.Errorf("got the token with %v revoked, want it good", changes)
				}
			}
		})
	}
}

func TestALogoutClosesTheConnectionsAndALaterLoginIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var records lockedBuffer
		auth := newAuth(t, keeping, func(o *wsauth.Options) { o.Logger = slog.New(slog.NewTextHandler(&records, nil)) })
		srv := newMemoryServer(t, auth.Upgrade(renewing, nil))
		conn := srv.dial(t, withToken(testToken(revocable())))
		synctest.Wait()
		logout := signed(testKey, "logout+jwt", logoutClaims())
		h := auth.BackChannelLogout("client")
		wantAnswer(t, pushLogout(h, logout), 200)
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("got %v, want 3000", err)
		}
		time.Sleep(time.Second)
		again := srv.dial(t, withToken(testToken(revocable())))
		defer again.CloseNow()
		synctest.Wait()
		wantAnswer(t, pushLogout(h, logout), 200) // a replay
		if got := exchange(t, again, "still here"); got == "" {
			t.Error("got the later connection closed by a replay, want it open")
		}
		if isOut(t, auth, map[string]any{"iat": time.Now().Unix()}) {
			t.Error("got a later token revoked by a replay, want it good")
		}
		wantAnswer(t, pushLogout(h, signed(testKey, "", logoutClaims(map[string]any{"sid": "unknown"}))), 200)
		time.Sleep(4 * time.Minute)
		wantAnswer(t, pushLogout(h, logout), 400) // it has expired
		for _, want := range []string{
			`msg="wsauth: revoked" issuer=` + testIssuer + ` kind=session connections=1`,
			`msg="wsauth: revoked" issuer=` + testIssuer + ` kind=session connections=0`,
			`msg="wsauth: refused" reason="wsauth: token expired" source=logout issuer=` + testIssuer,
		} {
			if !strings.Contains(records.String(), want) {
				t.Errorf("got the records\n%s, want %s", records.String(), want)
			}
		}
		for _, secret := range []string{"alice", "unknown", logout} {
			if strings.Contains(records.String(), secret) {
				t.Errorf("got %q in the records, want no claim", secret)
			}
		}
	})
}

func TestAnAccessTokenIsNotALogoutTokenNorTheReverse(t *testing.T) {
	auth := newAuth(t, keeping, func(o *wsauth.Options) { o.Issuers[0].AnyAudience, o.Issuers[0].Audience = true, nil })
	h := auth.BackChannelLogout("client", "chat")
	for _, typ := range []string{"", "JWT", "at+jwt", "logout+jwt"} {
		claims := revocable(map[string]any{"iss": testIssuer, "aud": "client"})
		wantAnswer(t, pushLogout(h, signed(testKey, typ, claims)), 400)
	}
	for _, typ := range []string{"", "JWT", "at+jwt", "logout+jwt"} {
		_, err := auth.Verify(t.Context(), signed(testKey, typ, logoutClaims()))
		wantKind(t, err, wsauth.ErrInvalidToken)
	}
	if isOut(t, auth) {
		t.Error("got a token revoked, want it good")
	}
}

// An issuer that FindIssuer finds, and one without a name.
func TestEveryIssuerThatIsTrustedCanSendLogouts(t *testing.T) {
	keys := wsauth.HMAC(secretOf(testKey))
	for name, row := range map[string]struct {
		change func(*wsauth.Options)
		iss    string
		want   int
	}{
		"found": {func(o *wsauth.Options) {
			o.FindIssuer = func(_ context.Context, iss string) (wsauth.Issuer, error) {
				return wsauth.Issuer{Name: iss, Audience: []string{"chat"}, Keys: keys}, nil
			}
		}, "https://tenant.example.com/", 200},
		"not found": {func(o *wsauth.Options) {
			o.FindIssuer = func(context.Context, string) (wsauth.Issuer, error) { return wsauth.Issuer{}, wsauth.ErrInvalidToken }
		}, "https://tenant.example.com/", 400},
		"unavailable": {func(o *wsauth.Options) {
			o.FindIssuer = func(context.Context, string) (wsauth.Issuer, error) { return wsauth.Issuer{}, errors.New("down") }
		}, "https://tenant.example.com/", 503},
		"without a name": {anyIssuer, "https://tenant.example.com/", 200},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping, row.change)
			w := pushLogout(auth.BackChannelLogout("client"), signed(testKey, "", logoutClaims(map[string]any{"iss": row.iss})))
			wantAnswer(t, w, row.want)
			_, err := auth.Verify(t.Context(), testToken(revocable(map[string]any{"iss": row.iss})))
			if got := errors.Is(err, wsauth.ErrRevoked); got != (row.want == 200) {
				t.Errorf("got %v, want revoked: %v", err, row.want == 200)
			}
		})
	}
}

// A brokenLog is away.
type brokenLog struct{}

func (brokenLog) Append(context.Context, ...string) error { return errors.New("away") }
func (brokenLog) Read(context.Context, string) ([]string, string, error) {
	return nil, "", errors.New("away")
}

func TestAProviderIsAskedToSendALogoutAgain(t *testing.T) {
	token := signed(testKey, "", logoutClaims())
	var zero wsauth.Authenticator
	for name, auth := range map[string]*wsauth.Authenticator{
		"the keys are away": newAuth(t, keeping, askedBy(func() error { return errors.New("down") })),
		"the log is away": newAuth(t, func(o *wsauth.Options) {
			o.Revocations = wsauth.Revocations{Log: brokenLog{}, Keep: time.Hour, MaxStale: time.Hour}
		}),
		"not made by New": &zero,
		"how long its tokens live is not known": newAuth(t, func(o *wsauth.Options) {
			o.Issuers = append(o.Issuers, wsauth.Issuer{Name: "https://other.example.com/", MaxTTL: time.Hour, Keys: o.Issuers[0].Keys})
		}),
	} {
		t.Run(name, func(t *testing.T) {
			w := pushLogout(auth.BackChannelLogout("client"), token)
			if wantAnswer(t, w, 503); w.Header().Get("Retry-After") == "" {
				t.Error("got no Retry-After, want one")
			}
		})
	}
}

func TestAMistakeInBackChannelLogoutPanicsAtSetUp(t *testing.T) {
	for name, call := range map[string]func(){
		"no client":       func() { newAuth(t, keeping).BackChannelLogout() },
		"an empty client": func() { newAuth(t, keeping).BackChannelLogout("client", "") },
		"no Keep":         func() { newAuth(t).BackChannelLogout("client") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("got no panic, want one")
				}
			}()
			call()
		})
	}
}
