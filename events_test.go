package wsauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

const (
	sender       = "https://transmitter.example.com/"
	receiver     = "https://chat.example.com/events"
	risc         = "https://schemas.openid.net/secevent/risc/event-type/"
	secEventType = "application/secevent+jwt"
)

var senderKey = mint.New("ES256", "sender")

// newReceiver is an Authenticator, and a handler for the events of sender, which may revoke tokens of testIssuer.
func newReceiver(t testing.TB, change ...func(*wsauth.Transmitter)) (*wsauth.Authenticator, http.Handler) {
	from := wsauth.Transmitter{Name: sender, Audience: []string{"other", receiver}, Keys: wsauth.KeySet(mint.SetOf(senderKey))}
	for _, c := range change {
		c(&from)
	}
	auth := newAuth(t, keeping)
	return auth, auth.SecurityEvents(from)
}

// eventClaims are the claims of a good event about alice, overlaid with changes; nil leaves a claim out.
func eventClaims(changes ...map[string]any) map[string]any {
	claims := map[string]any{
		"iss": sender, "aud": receiver, "iat": fromNow(0), "jti": "1", "txn": "t",
		"sub_id": map[string]any{"format": "iss_sub", "iss": testIssuer, "sub": "alice"},
		"events": map[string]any{caep + "session-revoked": map[string]any{}},
	}
	for _, c := range changes {
		maps.Copy(claims, c)
	}
	return claims
}

func pushEvent(h http.Handler, token string, header ...string) *httptest.ResponseRecorder {
	return push(h, secEventType, token, header...)
}

// wantRefused checks an error answer of RFC 8935.
func wantRefused(t testing.TB, w *httptest.ResponseRecorder, code string) {
	t.Helper()
	wantAnswer(t, w, http.StatusBadRequest)
	var answer struct{ Err, Description string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Err != code || answer.Description == "" {
		t.Errorf("got %s, want %s and a description", w.Body, code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("got Content-Type %q, want application/json", got)
	}
}

const accepted = "" // in place of an error code

// eventRows are security event tokens, with the code that the handler answers. A good one revokes; no other does.
var eventRows = []struct {
	name    string
	typ     any
	changes map[string]any
	want    string
}{
	{"a good one", "secevent+jwt", nil, accepted},
	{"typ in other letters, with application/", "application/SecEvent+JWT", nil, accepted},
	{"no typ", "", nil, "invalid_request"},
	{"typ JWT", "JWT", nil, "invalid_request"},
	{"typ null", raw("null"), nil, "invalid_request"},
	{"typ of an access token", "at+jwt", nil, "invalid_request"},
	{"typ of a logout token", "logout+jwt", nil, "invalid_request"},

	{"iss without the slash", "secevent+jwt", map[string]any{"iss": strings.TrimSuffix(sender, "/")}, "invalid_issuer"},
	{"iss of the issuer of tokens", "secevent+jwt", map[string]any{"iss": testIssuer}, "invalid_issuer"},
	{"no iss", "secevent+jwt", map[string]any{"iss": nil}, "invalid_issuer"},
	{"iss not a string", "secevent+jwt", map[string]any{"iss": 1}, "invalid_request"},

	{"aud in an array", "secevent+jwt", map[string]any{"aud": []string{receiver}}, accepted},
	{"the other aud", "secevent+jwt", map[string]any{"aud": "other"}, accepted},
	{"another aud", "secevent+jwt", map[string]any{"aud": "https://chat.example.com/"}, "invalid_audience"},
	{"the aud of access tokens", "secevent+jwt", map[string]any{"aud": "chat"}, "invalid_audience"},
	{"no aud", "secevent+jwt", map[string]any{"aud": nil}, "invalid_audience"},
	{"aud a number", "secevent+jwt", map[string]any{"aud": 1}, "invalid_request"},

	{"no iat", "secevent+jwt", map[string]any{"iat": nil}, "invalid_request"},
	{"iat 0", "secevent+jwt", map[string]any{"iat": 0}, "invalid_request"},
	{"iat a string", "secevent+jwt", map[string]any{"iat": "1764230400"}, "invalid_request"},
	{"iat in milliseconds", "secevent+jwt", map[string]any{"iat": time.Now().UnixMilli()}, "invalid_request"},
	{"iat within the leeway", "secevent+jwt", map[string]any{"iat": fromNow(20)}, accepted},
	{"iat in the future", "secevent+jwt", map[string]any{"iat": fromNow(60)}, "invalid_request"},
	{"nbf in the future", "secevent+jwt", map[string]any{"nbf": fromNow(60)}, "invalid_request"},
	{"an exp", "secevent+jwt", map[string]any{"exp": fromNow(600)}, "invalid_request"},
	{"an exp null", "secevent+jwt", map[string]any{"exp": raw("null")}, accepted},
	{"no jti", "secevent+jwt", map[string]any{"jti": nil}, "invalid_request"},
	{"jti a number", "secevent+jwt", map[string]any{"jti": 1}, "invalid_request"},
	{"txn a number", "secevent+jwt", map[string]any{"txn": 8675309}, accepted},
	{"no txn", "secevent+jwt", map[string]any{"txn": nil}, accepted},
	{"toe in the future", "secevent+jwt", map[string]any{"toe": fromNow(60)}, "invalid_request"},
	{"toe a string", "secevent+jwt", map[string]any{"toe": "now"}, "invalid_request"},

	{"no events", "secevent+jwt", map[string]any{"events": nil}, "invalid_request"},
	{"events empty", "secevent+jwt", map[string]any{"events": raw(`{}`)}, "invalid_request"},
	{"events null", "secevent+jwt", map[string]any{"events": raw(`null`)}, "invalid_request"},
	{"events an array", "secevent+jwt", map[string]any{"events": []string{caep + "session-revoked"}}, "invalid_request"},
	{"events a string", "secevent+jwt", map[string]any{"events": caep + "session-revoked"}, "invalid_request"},
	{"an event null", "secevent+jwt", event("session-revoked", `null`), "invalid_request"},
	{"an event an array", "secevent+jwt", event("session-revoked", `[]`), "invalid_request"},
	{"a member of an event twice", "secevent+jwt", event("session-revoked", `{"a":1,"a":2}`), "invalid_request"},
	{"the event of a logout beside it", "secevent+jwt",
		map[string]any{"events": map[string]any{caep + "session-revoked": raw("{}"), logoutEvent: raw("{}")}}, "invalid_request"},
	{"event_timestamp a string", "secevent+jwt", event("session-revoked", `{"event_timestamp":"1764230400"}`), "invalid_request"},
	{"event_timestamp in microseconds", "secevent+jwt", event("session-revoked", `{"event_timestamp":1764230400000000}`), "invalid_request"},
	{"event_timestamp in the future", "secevent+jwt", event("session-revoked", `{"event_timestamp":253402300799}`), "invalid_request"},
	{"event_timestamp in the future, in milliseconds", "secevent+jwt", event("session-revoked", `{"event_timestamp":253402300799000}`), "invalid_request"},
	{"event_timestamp negative", "secevent+jwt", event("session-revoked", `{"event_timestamp":-1}`), "invalid_request"},
	{"event_timestamp 0, which is none", "secevent+jwt", event("session-revoked", `{"event_timestamp":0}`), accepted},
	{"event_timestamp null", "secevent+jwt", event("session-revoked", `{"event_timestamp":null}`), accepted},

	{"no subject", "secevent+jwt", map[string]any{"sub_id": nil}, "invalid_request"},
	{"sub_id a string", "secevent+jwt", map[string]any{"sub_id": "alice"}, "invalid_request"},
	{"sub_id twice", "secevent+jwt", map[string]any{"sub_id": raw(`{"format":"iss_sub","iss":"i","sub":"alice","sub":"bob"}`)}, "invalid_request"},
	{"iss_sub without sub", "secevent+jwt", subID(`{"format":"iss_sub","iss":"` + testIssuer + `"}`), "invalid_request"},
	{"iss_sub without iss", "secevent+jwt", subID(`{"format":"iss_sub","sub":"alice"}`), "invalid_request"},
	{"iss_sub with an empty sub", "secevent+jwt", subID(`{"format":"iss_sub","iss":"` + testIssuer + `","sub":""}`), "invalid_request"},
	{"iss_sub with a sub that is not a string", "secevent+jwt", subID(`{"format":"iss_sub","iss":"` + testIssuer + `","sub":["alice"]}`), "invalid_request"},
	{"format a number", "secevent+jwt", subID(`{"format":1,"iss":"` + testIssuer + `","sub":"alice"}`), "invalid_request"},
	{"email without email", "secevent+jwt", subID(`{"format":"email"}`), "invalid_request"},
	{"opaque without id", "secevent+jwt", subID(`{"format":"opaque"}`), "invalid_request"},
	{"aliases that are not a list", "secevent+jwt", subID(`{"format":"aliases","identifiers":{}}`), "invalid_request"},
	{"aliases within aliases", "secevent+jwt", subID(`{"format":"aliases","identifiers":[{"format":"aliases","identifiers":[]}]}`), "invalid_request"},
	{"aliases that are not objects", "secevent+jwt", subID(`{"format":"aliases","identifiers":["alice"]}`), "invalid_request"},
	{"a complex one whose user is a string", "secevent+jwt", subID(`{"format":"complex","user":"alice"}`), "invalid_request"},
	{"a complex one whose user has no format", "secevent+jwt", subID(`{"format":"complex","user":{"iss":"i","sub":"alice"}}`), "invalid_request"},
	{"a complex one whose session is a string", "secevent+jwt", subID(`{"format":"complex","session":"s"}`), "invalid_request"},
	{"a claim in another letter case", "secevent+jwt", map[string]any{"Sub_Id": raw(`{}`)}, "invalid_request"},
	{"bound to a key", "secevent+jwt", map[string]any{"cnf": raw(`{}`)}, "invalid_request"},
}

func event(name, body string) map[string]any {
	return map[string]any{"events": map[string]any{caep + name: raw(body)}}
}

func subID(text string) map[string]any { return map[string]any{"sub_id": raw(text)} }

func TestASecurityEventWithOneThingWrongRevokesNothing(t *testing.T) {
	for _, row := range eventRows {
		t.Run(row.name, func(t *testing.T) {
			auth, h := newReceiver(t)
			w := pushEvent(h, signed(senderKey, row.typ, eventClaims(row.changes)))
			if row.want == accepted {
				wantAnswer(t, w, http.StatusAccepted)
			} else {
				wantRefused(t, w, row.want)
			}
			earlier := map[string]any{"iat": time.Now().Unix() - 90}
			if got, want := isOut(t, auth, earlier), row.want == accepted; got != want {
				t.Errorf("got revoked %v, want %v", got, want)
			}
			if isOut(t, auth, bob, earlier) {
				t.Error("got bob's token revoked, want it good")
			}
		})
	}
}

func TestTheKeysOfASecurityEventAreThoseOfItsTransmitter(t *testing.T) {
	stranger, rs := mint.New("ES256", "sender"), mint.New("RS256", "sender")
	claims := eventClaims()
	noAlg := mint.Base64([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." +
		mint.Base64([]byte(mint.JSON(eventClaims(map[string]any{"iat": time.Now().Unix()})))) + "."
	for name, row := range map[string]struct{ token, want string }{
		"its key":                     {signed(senderKey, "secevent+jwt", claims), accepted},
		"a key of the same name":      {signed(stranger, "secevent+jwt", claims), "invalid_key"},
		"the key of the issuer":       {signed(testKey, "secevent+jwt", claims), "invalid_key"},
		"another algorithm":           {signed(rs, "secevent+jwt", claims), "invalid_key"},
		"none":                        {noAlg, "invalid_request"},
		"no token":                    {"", "invalid_request"},
		"a line behind it":            {signed(senderKey, "secevent+jwt", claims) + "\n", "invalid_request"},
		"a logout of the issuer":      {signed(testKey, "logout+jwt", logoutClaims()), "invalid_issuer"},
		"a logout of the transmitter": {signed(senderKey, "logout+jwt", logoutClaims(map[string]any{"iss": sender, "aud": receiver})), "invalid_request"},
		"an access token":             {testToken(revocable()), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			auth, h := newReceiver(t)
			w := pushEvent(h, row.token)
			if row.want == accepted {
				wantAnswer(t, w, http.StatusAccepted)
			} else {
				wantRefused(t, w, row.want)
			}
			if got := isOut(t, auth); got != (row.want == accepted) {
				t.Errorf("got revoked %v, want %v", got, row.want == accepted)
			}
		})
	}
}

// The keys of a transmitter verify nothing but its events: no access token, and no logout token.
func TestATransmitterIsTrustedForNoToken(t *testing.T) {
	for _, iss := range []string{testIssuer, sender} {
		auth, _ := newReceiver(t)
		claims := revocable(map[string]any{"iss": iss, "aud": "chat"})
		for _, token := range []string{senderKey.Token(claims), signed(senderKey, "secevent+jwt", eventClaims(claims))} {
			_, err := auth.Verify(t.Context(), token)
			wantKind(t, err, wsauth.ErrInvalidToken)
		}
		h := auth.BackChannelLogout("client")
		wantAnswer(t, pushLogout(h, signed(senderKey, "", logoutClaims(map[string]any{"iss": iss}))), 400)
		wantAnswer(t, pushLogout(h, signed(testKey, "secevent+jwt", eventClaims(map[string]any{"iss": testIssuer, "aud": "client"}))), 400)
		if isOut(t, auth) {
			t.Error("got alice's token revoked, want it good")
		}
	}
}

// A security event that the issuer of access tokens signs itself, with the same keys, is not an access token.
func TestASecurityEventIsNotAnAccessToken(t *testing.T) {
	auth := newAuth(t, keeping, func(o *wsauth.Options) { o.Issuers[0].AnyAudience, o.Issuers[0].Audience = true, nil })
	for _, typ := range []string{"", "JWT", "at+jwt", "secevent+jwt"} {
		claims := eventClaims(revocable(map[string]any{"iss": testIssuer}))
		_, err := auth.Verify(t.Context(), signed(testKey, typ, claims))
		wantKind(t, err, wsauth.ErrInvalidToken)
	}
}

func TestASecurityEventIsTheBodyOfAPost(t *testing.T) {
	token := signed(senderKey, "secevent+jwt", eventClaims())
	secret := func(from *wsauth.Transmitter) { from.Authorization = "Bearer secret" }
	none := func(*wsauth.Transmitter) {}
	for name, row := range map[string]struct {
		change            func(*wsauth.Transmitter)
		contentType, body string
		header            []string
		want              string
	}{
		"alone":                                 {none, secEventType, token, nil, accepted},
		"with a parameter":                      {none, "Application/SecEvent+JWT; charset=utf-8", token, nil, accepted},
		"no Content-Type":                       {none, "", token, nil, "invalid_request"},
		"as a JWT":                              {none, "application/jwt", token, nil, "invalid_request"},
		"in a form":                             {none, formType, "token=" + token, nil, "invalid_request"},
		"in a JSON object":                      {none, "application/json", `{"token":"` + token + `"}`, nil, "invalid_request"},
		"a JSON object twice":                   {none, "application/json", `{"payload":"` + token + `","payload":"` + token + `"}`, nil, "invalid_request"},
		"too long":                              {none, secEventType, token + strings.Repeat("a", 20000), nil, "invalid_request"},
		"an Authorization that nobody asks for": {none, secEventType, token, []string{"Authorization", "Bearer other"}, accepted},
		"the Authorization":                     {secret, secEventType, token, []string{"Authorization", "Bearer secret"}, accepted},
		"no Authorization":                      {secret, secEventType, token, nil, "authentication_failed"},
		"another Authorization":                 {secret, secEventType, token, []string{"Authorization", "Bearer secrets"}, "authentication_failed"},
		"an Authorization in other letters":     {secret, secEventType, token, []string{"Authorization", "bearer secret"}, "authentication_failed"},
		"the Authorization twice": {
			secret, secEventType, token, []string{"Authorization", "Bearer secret", "Authorization", "Bearer secret"}, "authentication_failed",
		},
		"an Authorization in the body": {secret, secEventType, "Bearer secret", nil, "authentication_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := newReceiver(t, row.change)
			w := push(h, row.contentType, row.body, row.header...)
			if row.want == accepted {
				wantAnswer(t, w, http.StatusAccepted)
			} else {
				wantRefused(t, w, row.want)
			}
		})
	}
	_, h := newReceiver(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		r := httptest.NewRequest(method, "/", strings.NewReader(token))
		r.Header.Set("Content-Type", secEventType)
		if w := serve(h, r); w.Code != 405 || w.Header().Get("Allow") != "POST" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d with %v, want 405", method, w.Code, w.Header())
		}
	}
	endless := &countingReader{}
	r := httptest.NewRequest("POST", "/", io.Reader(endless))
	r.Header.Set("Content-Type", secEventType)
	wantRefused(t, serve(h, r), "invalid_request")
	if endless.n > 64<<10 {
		t.Errorf("got %d bytes read of a body without end, want 64 KiB at most", endless.n)
	}
}

// documented are events as documentation shows them, with other values. Their time is 2021-03-09 15:52:39 UTC, and the
// issuer of access tokens is https://idp.example.com/123456789/ unless the row says otherwise.
var documented = []struct {
	name, source string
	issuer       string // of access tokens
	contentType  string // empty: a security event token
	claims       string
	out          map[string]any // what a token has that is revoked; nil: none
}{
	{"CAEP session-revoked, a session alone", "CAEP 1.0 section 3.1.2, figure 2", "", "",
		caepSample(`"sub_id":{"format":"opaque","id":"session"}`, "session-revoked", `"event_timestamp":1615304991`),
		map[string]any{"sid": "session", "sub": "somebody"}},
	{"CAEP session-revoked, a session of a user of a tenant", "CAEP 1.0 section 3.1.2, figure 3", "", "",
		caepSample(`"sub_id":{"format":"complex","session":{"format":"opaque","id":"of no token"},"user":{"format":"iss_sub",
			"iss":"https://idp.example.com/123456789/","sub":"alice"},"tenant":{"format":"opaque","id":"123456789"}}`,
			"session-revoked", `"initiating_entity":"policy","reason_admin":{"en":"a policy"},"reason_user":{"en":"several regions",
			"es-410":"varias regiones"},"event_timestamp":1615304991`),
		map[string]any{"sub": "alice"}},
	{"CAEP session-revoked, a user with a device", "CAEP 1.0 section 3.1.2, figure 4", "", "",
		caepSample(`"sub_id":{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"alice"},
			"device":{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"e9297990"},"tenant":{"format":"opaque","id":"1"}}`,
			"session-revoked", `"event_timestamp":1615304991`),
		map[string]any{"sub": "alice"}},
	{"CAEP token-claims-change", "CAEP 1.0 section 3.2.2, figure 5", "", "",
		caepSample(`"sub_id":{"format":"jwt_id","iss":"https://idp.example.com/123456789/","jti":"token"}`,
			"token-claims-change", `"event_timestamp":1615304991,"claims":{"role":"ro-admin"}`), nil},
	{"CAEP token-claims-change of an assertion", "CAEP 1.0 section 3.2.2, figure 7", "", "",
		caepSample(`"sub_id":{"format":"saml_assertion_id","issuer":"https://idp.example.com/123456789/","assertion_id":"_a75"}`,
			"token-claims-change", `"claims":{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/role":"ro-admin"}`), nil},
	{"CAEP credential-change", "CAEP 1.0 section 3.3.2, figure 8", "", "",
		caepSample(`"sub_id":{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"alice"}`, "credential-change",
			`"credential_type":"fido2-roaming","change_type":"create","fido2_aaguid":"accced6a","initiating_entity":"user",
			"event_timestamp":1615304991`),
		map[string]any{"sub": "alice"}},
	{"CAEP assurance-level-change", "CAEP 1.0 section 3.4.2", "", "",
		caepSample(`"sub_id":{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"alice"}`, "assurance-level-change",
			`"namespace":"NIST-AAL","current_level":"nist-aal2","event_timestamp":1615304991`), nil},
	{"SSF, a draft, a complex subject within the event", "SSF 1.0 draft, section 5, figure 8", "", "",
		caepSample(`"txn":"1"`, "session-revoked", `"subject":{"user":{"format":"iss_sub","iss":"https://idp.example.com/123456789/",
			"sub":"alice"},"device":{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"e9297990"}},
			"initiating_entity":"policy","reason_admin":"a policy","event_timestamp":1600975810`),
		map[string]any{"sub": "alice", "iat": 1600975800}},
	{"SSF verification", "SSF 1.0 section 4.1.9 and 8.1.4.1", "", "",
		`{"iss":"https://idp.example.com/123456789/","jti":"1","iat":1615305159,"aud":["receiver.example.com/web","receiver"],"txn":8675309,
			"sub_id":{"format":"opaque","id":"stream"},
			"events":{"https://schemas.openid.net/secevent/ssf/event-type/verification":{"state":"VGhpcw"}}}`, nil},
	{"SSF stream-updated", "SSF 1.0 section 8.1.5", "", "",
		`{"iss":"https://idp.example.com/123456789/","jti":"1","iat":1615305159,"aud":"receiver","sub_id":{"format":"opaque","id":"stream"},
			"events":{"https://schemas.openid.net/secevent/ssf/event-type/stream-updated":{"status":"paused","reason":"a license"}}}`, nil},
	{"Okta session-revoked", "developer.okta.com/docs/reference/ssf-transmitter-sets", "https://idp.example.com/123456789/", "",
		caepSample(`"txn":null`, "session-revoked", `"subject":{"user":{"format":"iss_sub","iss":"https://idp.example.com/123456789/",
			"sub":"okta-user-id1"}},"reason_admin":{"en":"a policy"},"reason_user":{"en":"a device"},"event_timestamp":1615304991643`),
		map[string]any{"sub": "okta-user-id1"}},
	{"Okta credential-change", "developer.okta.com/docs/reference/ssf-transmitter-sets", "", "",
		caepSample(`"txn":null`, "credential-change", `"subject":{"format":"iss_sub","iss":"https://idp.example.com/123456789/",
			"sub":"okta-user-id1"},"credential_type":"password","change_type":"revoke","friendly_name":"PASSWORD_AS_FACTOR",
			"initiating_entity":"user","reason_admin":{"en":"reset"},"event_timestamp":1615304991643`),
		map[string]any{"sub": "okta-user-id1"}},
	{"Okta's tokens have another iss than its events", "developer.okta.com/docs/reference/ssf-transmitter-sets",
		"https://idp.example.com/123456789/oauth2/default", "",
		caepSample(`"txn":null`, "session-revoked", `"subject":{"user":{"format":"iss_sub","iss":"https://idp.example.com/123456789/",
			"sub":"okta-user-id1"}},"event_timestamp":1615304991643`),
		map[string]any{"sub": "okta-user-id1"}},
	{"Google account-disabled", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("risc/event-type/account-disabled", googleSubject+`,"reason":"hijacking"`), map[string]any{"sub": "alice"}},
	{"Google sessions-revoked", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("risc/event-type/sessions-revoked", googleSubject), map[string]any{"sub": "alice"}},
	{"Google tokens-revoked", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("oauth/event-type/tokens-revoked", googleSubject), map[string]any{"sub": "alice"}},
	{"Google account-disabled, with an email", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("risc/event-type/account-disabled", `"subject":{"subject_type":"id_token_claims","iss":"https://accounts.google.com/",
			"sub":"alice","email":"alice@example.com"},"reason":"bulk-account"`), map[string]any{"sub": "alice"}},
	{"Google account-enabled", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("risc/event-type/account-enabled", googleSubject), nil},
	{"Google account-credential-change-required", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("risc/event-type/account-credential-change-required", googleSubject), nil},
	{"Google token-revoked", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("oauth/event-type/token-revoked", `"subject":{"subject_type":"oauth_token","token_type":"refresh_token",
			"token_identifier_alg":"prefix","token":"1//0abcdefghijk"}`), nil},
	{"Google verification", "developers.google.com/identity/protocols/risc", "https://accounts.google.com", "",
		googleSample("risc/event-type/verification", `"state":"a state"`), nil},
	{"Apple consent-revoked", "developer.apple.com/documentation/signinwithapple/processing-changes-for-sign-in-with-apple-accounts",
		"https://appleid.apple.com", "application/json", appleSample("consent-revoked", ""), map[string]any{"sub": "alice"}},
	{"Apple account-deleted", "the same", "https://appleid.apple.com", "application/json",
		appleSample("account-deleted", ""), map[string]any{"sub": "alice"}},
	{"Apple account-delete", "developer.apple.com/forums/thread/804270", "https://appleid.apple.com", "application/json",
		appleSample("account-delete", ""), map[string]any{"sub": "alice"}},
	{"Apple email-disabled", "the same", "https://appleid.apple.com", "application/json",
		appleSample("email-disabled", `,\"email\":\"a@privaterelay.appleid.com\",\"is_private_email\":\"true\"`), nil},
	{"RISC account-purged", "RISC 1.0 section 2.2, a draft with http", "", "",
		`{"iss":"https://idp.example.com/123456789/","jti":"1","iat":1615305159,"aud":"receiver","events":
			{"http://schemas.openid.net/secevent/risc/event-type/account-purged":{"subject":{"subject_type":"iss-sub",
			"iss":"https://idp.example.com/123456789/","sub":"alice"}}}}`, map[string]any{"sub": "alice"}},
	{"RISC, aliases of a user", "RFC 9493 section 3.2.8", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"aliases","identifiers":[{"format":"email","email":"alice@example.com"},
			{"format":"phone_number","phone_number":"+12065550100"},{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"alice"},
			{"format":"iss_sub","iss":"https://other.example.com/","sub":"bob"}]}`), map[string]any{"sub": "alice"}},
	{"RISC, a user with a member that its format does not have", "RFC 9493 section 3.2.3", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"iss_sub","iss":"https://idp.example.com/123456789/","sub":"alice",
			"session":{"format":"opaque","id":"x"}}`), map[string]any{"sub": "alice"}},
	{"RISC, an email address", "RFC 9493 section 3.2.2", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"email","email":"alice"}`), nil},
	{"RISC, an opaque user", "RFC 9493 section 3.2.5", "", "", riscSample("account-disabled", `"sub_id":{"format":"opaque","id":"alice"}`), nil},
	{"RISC, a phone number", "RFC 9493 section 3.2.6", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"phone_number","phone_number":"alice"}`), nil},
	{"RISC, an account", "RFC 9493 section 3.2.1", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"account","uri":"acct:alice@example.com"}`), nil},
	{"RISC, a DID", "RFC 9493 section 3.2.7", "", "", riscSample("account-disabled", `"sub_id":{"format":"did","url":"did:example:alice"}`), nil},
	{"RISC, a format of their own", "SSF 1.0 section 5", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"catalog_item","catalog_id":"c0384","sub":"alice"}`), nil},
	{"RISC, a user of another issuer", "RFC 9493 section 3.2.3", "", "",
		riscSample("account-disabled", `"sub_id":{"format":"iss_sub","iss":"https://other.example.com/","sub":"alice"}`), nil},
	{"RISC, a user by sub alone", "RFC 8417 section 2.2", "", "", riscSample("account-disabled", `"sub":"alice"`), map[string]any{"sub": "alice"}},
	{"CAEP, one token", "SSF 1.0 section 3.4.1", "", "",
		caepSample(`"sub_id":{"format":"jwt_id","iss":"https://idp.example.com/123456789/","jti":"token"}`, "session-revoked", ""),
		map[string]any{"jti": "token", "sub": "somebody"}},
	{"CAEP, one token, in a draft", "SSF 1.0 draft, section 3.4.1", "", "",
		caepSample(`"sub_id":{"format":"jwt-id","iss":"https://idp.example.com/123456789/","jti":"token"}`, "session-revoked", ""),
		map[string]any{"jti": "token", "sub": "somebody"}},
	{"CAEP, a device", "SSF 1.0 section 3.2", "", "",
		caepSample(`"sub_id":{"format":"complex","device":{"format":"opaque","id":"alice"}}`, "session-revoked", ""), nil},
	{"an event of somebody's own", "schemas.login.gov", "", "",
		strings.Replace(riscSample("account-disabled", `"sub":"alice"`), "schemas.openid.net", "schemas.login.gov", 1), nil},
}

func caepSample(subject, name, body string) string {
	return `{"iss":"https://idp.example.com/123456789/","jti":"24c63fb5","iat":1615305159,"aud":"receiver",` + subject +
		`,"events":{"` + caep + name + `":{` + body + `}}}`
}

func riscSample(name, subject string) string {
	return strings.Replace(caepSample(subject, name, ""), caep, risc, 1)
}

const googleSubject = `"subject":{"subject_type":"iss-sub","iss":"https://accounts.google.com/","sub":"alice"}`

func googleSample(name, body string) string {
	return `{"iss":"https://accounts.google.com/","aud":"receiver","iat":1615305159,"jti":"756E6971",
		"events":{"https://schemas.openid.net/secevent/` + name + `":{` + body + `}}}`
}

func appleSample(name, more string) string {
	return `{"iss":"https://appleid.apple.com","aud":"receiver","exp":1615391559,"iat":1615305159,"jti":"uZmGepCU",
		"events":"{\"type\":\"` + name + `\",\"sub\":\"alice\",\"event_time\":1615304991643` + more + `}"}`
}

// A bubble's clock begins in 2000.
func sleepUntil(second int64) { time.Sleep(time.Until(time.Unix(second, 0))) }

func TestEventsAreUnderstoodAsDocumentationShowsThem(t *testing.T) {
	for _, row := range documented {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sleepUntil(1615305159)
				var claims struct{ Iss string }
				if err := json.Unmarshal([]byte(row.claims), &claims); err != nil {
					t.Fatal(err)
				}
				issuer := row.issuer
				if issuer == "" {
					issuer = "https://idp.example.com/123456789/"
				}
				auth := newAuth(t, keeping, func(o *wsauth.Options) {
					o.Issuers[0].Name, o.Revocations.Keep = issuer, 10000*time.Hour
				})
				h := auth.SecurityEvents(wsauth.Transmitter{Name: claims.Iss, Audience: []string{"receiver"}, Keys: wsauth.KeySet(mint.SetOf(senderKey))})
				if row.contentType != "" {
					token := senderKey.Sign(mint.JSON(map[string]any{"alg": "ES256", "kid": "sender"}), row.claims)
					wantAnswer(t, push(h, row.contentType, mint.JSON(map[string]any{"payload": token})), 200)
				} else {
					token := senderKey.Sign(mint.JSON(map[string]any{"alg": "ES256", "kid": "sender", "typ": "secevent+jwt"}), row.claims)
					wantAnswer(t, pushEvent(h, token), 202)
				}
				earlier := map[string]any{"iss": issuer, "iat": 1615304990}
				if row.out != nil && !isOut(t, auth, bob, earlier, row.out) {
					t.Error("got the token good, want it revoked")
				}
				for _, somebody := range []map[string]any{{"sub": "alice"}, {"sub": "okta-user-id1"}, {"sid": "session"}, {"jti": "token"}, bob} {
					changes := maps.Clone(bob)
					maps.Copy(changes, somebody)
					meant := false
					for name, v := range row.out {
						meant = meant || name != "iat" && somebody[name] == v
					}
					if got := isOut(t, auth, earlier, changes, map[string]any{"iat": earliest(row.out)}); got != meant {
						t.Errorf("got the token of %v revoked: %v, want %v", somebody, got, meant)
					}
					if isOut(t, auth, earlier, changes, map[string]any{"iat": 1615305160}) {
						t.Errorf("got the token of %v revoked that was issued after the event, want it good", somebody)
					}
				}
			})
		})
	}
}

func earliest(out map[string]any) any {
	if at, ok := out["iat"]; ok {
		return at
	}
	return 1615304990
}

func TestAnEventRevokesUpToItsOwnTime(t *testing.T) {
	second := func(at int64) string { return fmt.Sprint(time.Now().Unix() + at) }
	for name, row := range map[string]struct {
		body func() string
		toe  any
		want int64 // the last second that is revoked, from now
	}{
		"iat":                               {func() string { return `{}` }, nil, 0},
		"toe":                               {func() string { return `{}` }, fromNow(-20), -20},
		"event_timestamp":                   {func() string { return `{"event_timestamp":` + second(-30) + `}` }, nil, -30},
		"event_timestamp and toe":           {func() string { return `{"event_timestamp":` + second(-30) + `}` }, fromNow(-20), -30},
		"event_timestamp in milliseconds":   {func() string { return `{"event_timestamp":` + second(-30) + `999}` }, nil, -30},
		"a fraction":                        {func() string { return `{"event_timestamp":` + second(-30) + `.9}` }, nil, -30},
		"event_timestamp within the leeway": {func() string { return `{"event_timestamp":` + second(20) + `}` }, nil, 20},
		"event_timestamp of long ago":       {func() string { return `{"event_timestamp":1000000000}` }, nil, -100000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sleepUntil(1764230400)
				auth, h := newReceiver(t)
				token := signed(senderKey, "secevent+jwt", eventClaims(event("session-revoked", row.body()), map[string]any{"toe": row.toe}))
				wantAnswer(t, pushEvent(h, token), 202)
				for _, at := range []int64{-1000, row.want - 1, row.want, row.want + 1, 0} {
					if at > 0 || at < -1000 {
						continue
					}
					if got, want := isOut(t, auth, map[string]any{"iat": time.Now().Unix() + at}), at <= row.want; got != want {
						t.Errorf("%d s: got revoked %v, want %v", at, got, want)
					}
				}
				time.Sleep(31 * time.Second)
				wantAnswer(t, pushEvent(h, token), 202) // a replay
				if isOut(t, auth) {
					t.Error("got a token revoked that was issued after the event, want it good")
				}
			})
		})
	}
}

func TestEveryEventOfATokenCounts(t *testing.T) {
	subject := func(sub string) string {
		return `{"subject":{"format":"iss_sub","iss":"` + testIssuer + `","sub":"` + sub + `"}}`
	}
	auth, h := newReceiver(t)
	both := map[string]any{"sub_id": nil, "events": map[string]any{
		caep + "session-revoked": raw(subject("alice")), risc + "account-disabled": raw(subject("bob")), risc + "account-enabled": raw(subject("carol")),
	}}
	wantAnswer(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(both))), 202)
	if !isOut(t, auth) || !isOut(t, auth, bob) || isOut(t, auth, map[string]any{"sub": "carol"}) {
		t.Error("got not just alice and bob out, want them")
	}
	auth, h = newReceiver(t)
	both["events"].(map[string]any)[risc+"account-disabled"] = raw(`{"subject":{"format":"iss_sub"}}`)
	wantRefused(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(both))), "invalid_request")
	if isOut(t, auth) {
		t.Error("got alice out by a token with a malformed event, want nothing revoked")
	}
}

func TestATransmitterRevokesTokensOfItsIssuerAndNothingElse(t *testing.T) {
	const other = "https://other.example.com/"
	auth := newAuth(t, keeping, func(o *wsauth.Options) {
		second := o.Issuers[0]
		second.Name = other
		o.Issuers = append(o.Issuers, second)
	})
	all := func(_ context.Context, who wsauth.EventSubject) ([]wsauth.Revocation, error) {
		return []wsauth.Revocation{{Issuer: testIssuer, Subject: who.Subject}, {Issuer: testIssuer, Before: time.Now()}}, nil
	}
	for _, mapping := range []func(context.Context, wsauth.EventSubject) ([]wsauth.Revocation, error){nil, all} {
		h := auth.SecurityEvents(wsauth.Transmitter{
			Name: sender, Audience: []string{receiver}, Keys: wsauth.KeySet(mint.SetOf(senderKey)), Issuer: other, Map: mapping,
		})
		wantAnswer(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims())), 202) // about testIssuer's alice
		if isOut(t, auth) {
			t.Error("got a token of another issuer revoked, want it good")
		}
		if got := isOut(t, auth, map[string]any{"iss": other}); got != (mapping != nil) {
			t.Errorf("got the token of its issuer revoked: %v, want %v", got, mapping != nil)
		}
	}
}

func TestMapSaysWhatAnEventRevokes(t *testing.T) {
	var asked wsauth.EventSubject
	answer, fault := []wsauth.Revocation(nil), error(nil)
	auth, h := newReceiver(t, func(from *wsauth.Transmitter) {
		from.Map = func(_ context.Context, who wsauth.EventSubject) ([]wsauth.Revocation, error) {
			asked = who
			return answer, fault
		}
	})
	complex := `{"format":"complex","user":{"format":"aliases","identifiers":[{"format":"email","email":"a@example.com"},` +
		`{"format":"phone_number","phone_number":"+1"},{"format":"opaque","id":"o"},{"format":"iss_sub","iss":"i","sub":"s"}]},` +
		`"session":{"format":"opaque","id":"x"},"tenant":{"format":"opaque","id":"t"}}`
	for name, row := range map[string]struct {
		answer []wsauth.Revocation
		fault  error
		status int
		out    bool
	}{
		"nobody":           {nil, nil, 202, false},
		"an empty name":    {[]wsauth.Revocation{{Subject: ""}}, nil, 202, false},
		"an outage":        {[]wsauth.Revocation{{Subject: "alice"}}, errors.New("alice is away"), 503, false},
		"refused, it says": {nil, wsauth.ErrInvalidToken, 503, false},
		"two names":        {[]wsauth.Revocation{{Subject: "alice", ID: "token"}}, nil, 503, false},
		"the user":         {[]wsauth.Revocation{{Subject: ""}, {Subject: "alice"}}, nil, 202, true},
		"with another Issuer and Before": {
			[]wsauth.Revocation{{Subject: "alice", Issuer: "https://other.example.com/", Before: time.Now().Add(time.Hour)}}, nil, 202, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			auth, h, asked = nil, nil, wsauth.EventSubject{}
			auth, h = newReceiver(t, func(from *wsauth.Transmitter) {
				from.Map = func(_ context.Context, who wsauth.EventSubject) ([]wsauth.Revocation, error) {
					asked = who
					return row.answer, row.fault
				}
			})
			w := pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(subID(complex))))
			wantAnswer(t, w, row.status)
			if got := isOut(t, auth); got != row.out {
				t.Errorf("got revoked %v, want %v", got, row.out)
			}
			if isOut(t, auth, bob) {
				t.Error("got bob's token revoked, want it good")
			}
			if isOut(t, auth, map[string]any{"iat": time.Now().Unix() + 20}) {
				t.Error("got a later token revoked, want it good")
			}
			if string(asked.Raw) != complex || asked.Event != caep+"session-revoked" || asked.Email != "a@example.com" || asked.Phone != "+1" ||
				asked.ID != "o" || asked.Issuer != "i" || asked.Subject != "s" || asked.Session != "x" {
				t.Errorf("got %+v, want what the subject has", asked)
			}
		})
	}
	asked = wsauth.EventSubject{}
	wantAnswer(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(event("token-claims-change", "{}")))), 202)
	if asked.Event != "" {
		t.Errorf("got Map called with %+v, want it called only for what revokes", asked)
	}
}

func TestAnEventClosesTheConnectionsAndIsRecordedWithoutClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(1764230400)
		var records lockedBuffer
		auth := newAuth(t, keeping, func(o *wsauth.Options) { o.Logger = slog.New(slog.NewTextHandler(&records, nil)) })
		h := auth.SecurityEvents(wsauth.Transmitter{Name: sender, Audience: []string{receiver}, Keys: wsauth.KeySet(mint.SetOf(senderKey))})
		srv := newMemoryServer(t, auth.Upgrade(renewing, nil))
		conn := srv.dial(t, withToken(testToken(revocable())))
		synctest.Wait()
		wantAnswer(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims())), 202)
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("got %v, want 3000", err)
		}
		for _, changes := range []map[string]any{
			event("token-claims-change", "{}"), {"events": raw(`{"urn:hidden":{}}`)}, subID(`{"format":"email","email":"hidden"}`),
			subID(`{"format":"complex","session":{"format":"opaque","id":"hidden"}}`),
		} {
			wantAnswer(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(changes))), 202)
		}
		wantRefused(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(map[string]any{"aud": "hidden"}))), "invalid_audience")
		for _, want := range []string{
			`msg="wsauth: revoked" issuer=` + testIssuer + ` kind=subject connections=1`,
			`msg="wsauth: revoked" issuer=` + testIssuer + ` kind=session connections=0`,
			`msg="wsauth: security event ignored" reason="an event that revokes nothing" issuer=` + sender + ` event=caep/event-type/token-claims-change`,
			`reason="an event that revokes nothing" issuer=` + sender + ` event=unknown`,
			`reason="its subject has no name that tokens of the issuer could have" issuer=` + sender + ` event=caep/event-type/session-revoked`,
			`msg="wsauth: refused" reason="wsauth: invalid token: aud: not one of the transmitter's Audience" source=event issuer=` + sender,
		} {
			if !strings.Contains(records.String(), want) {
				t.Errorf("got the records\n%s, want %s", records.String(), want)
			}
		}
		if strings.Contains(records.String(), "alice") || strings.Contains(records.String(), "hidden") {
			t.Errorf("got the records\n%s, want no claims", records.String())
		}
	})
}

func TestATransmitterIsAskedToSendAnEventAgain(t *testing.T) {
	down := wsauth.KeyFunc(func(context.Context, string, string) (any, error) { return nil, errors.New("down") })
	from := wsauth.Transmitter{Name: sender, Audience: []string{receiver}, Keys: wsauth.KeySet(mint.SetOf(senderKey))}
	withDown := from
	withDown.Keys = down
	var zero wsauth.Authenticator
	for name, h := range map[string]http.Handler{
		"the keys are away": newAuth(t, keeping).SecurityEvents(withDown),
		"the log is away": newAuth(t, func(o *wsauth.Options) {
			o.Revocations = wsauth.Revocations{Log: brokenLog{}, Keep: time.Hour, MaxStale: time.Hour}
		}).SecurityEvents(from),
		"not made by New": zero.SecurityEvents(from),
	} {
		t.Run(name, func(t *testing.T) {
			w := pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims()))
			if wantAnswer(t, w, 503); w.Header().Get("Retry-After") == "" {
				t.Error("got no Retry-After, want one")
			}
		})
	}
}

// JWKS{} looks for a transmitter's SSF configuration, which is between host and path.
func TestTheKeysOfATransmitterAreFoundByItsConfiguration(t *testing.T) {
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/ssf-configuration/tenant":
			io.WriteString(w, mint.JSON(map[string]any{"issuer": srv.URL + "/tenant/", "jwks_uri": srv.URL + "/keys", "spec_version": "1_0"}))
		case "/keys":
			w.Write(mint.SetOf(senderKey))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	for name, keys := range map[string]wsauth.Keys{
		"JWKS{}": wsauth.JWKS{}, "a pointer": &wsauth.JWKS{}, "AnyOf": wsauth.AnyOf(wsauth.JWKS{}), "a URL": wsauth.JWKS{URL: srv.URL + "/keys"},
	} {
		t.Run(name, func(t *testing.T) {
			auth, h := newReceiver(t, func(from *wsauth.Transmitter) { from.Name, from.Keys = srv.URL+"/tenant/", keys })
			wantAnswer(t, pushEvent(h, signed(senderKey, "secevent+jwt", eventClaims(map[string]any{"iss": srv.URL + "/tenant/"}))), 202)
			if !isOut(t, auth) {
				t.Error("got alice's token good, want it revoked")
			}
		})
	}
}

func TestAppleNotificationsAreNotTakenForAnythingElse(t *testing.T) {
	const apple = `{"type":"consent-revoked","sub":"alice"}`
	claims := map[string]any{"iss": sender, "aud": receiver, "iat": fromNow(0), "exp": fromNow(600), "jti": "1", "events": apple}
	for name, row := range map[string]struct {
		typ     any
		changes map[string]any
		want    string
	}{
		"as it is":                   {"", nil, accepted},
		"typ JWT":                    {"JWT", nil, accepted},
		"no exp":                     {"", map[string]any{"exp": nil}, accepted},
		"expired":                    {"", map[string]any{"iat": fromNow(-600), "exp": fromNow(-60)}, "invalid_request"},
		"typ of an access token":     {"at+jwt", nil, "invalid_request"},
		"another aud":                {"", map[string]any{"aud": "other.app"}, "invalid_audience"},
		"another iss":                {"", map[string]any{"iss": testIssuer}, "invalid_issuer"},
		"no sub":                     {"", map[string]any{"events": `{"type":"consent-revoked"}`}, "invalid_request"},
		"a sub twice":                {"", map[string]any{"events": `{"type":"consent-revoked","sub":"alice","sub":"bob"}`}, "invalid_request"},
		"no type":                    {"", map[string]any{"events": `{"sub":"alice"}`}, "invalid_request"},
		"a time in the future":       {"", map[string]any{"events": `{"type":"consent-revoked","sub":"alice","event_time":253402300799000}`}, "invalid_request"},
		"an object, and no typ":      {"", map[string]any{"events": map[string]any{caep + "session-revoked": raw("{}")}}, "invalid_request"},
		"the sub of the token alone": {"", map[string]any{"events": `{"type":"consent-revoked"}`, "sub": "alice"}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			auth, h := newReceiver(t)
			all := maps.Clone(claims)
			maps.Copy(all, row.changes)
			w := push(h, "application/json", mint.JSON(map[string]any{"payload": signed(senderKey, row.typ, all)}))
			if row.want == accepted {
				wantAnswer(t, w, 200)
			} else {
				wantRefused(t, w, row.want)
			}
			if got := isOut(t, auth); got != (row.want == accepted) {
				t.Errorf("got revoked %v, want %v", got, row.want == accepted)
			}
		})
	}
}

func TestAMistakeInATransmitterPanicsAtSetUp(t *testing.T) {
	good := wsauth.Transmitter{Name: sender, Audience: []string{receiver}, Keys: wsauth.KeySet(mint.SetOf(senderKey))}
	two := func(o *wsauth.Options) {
		second := o.Issuers[0]
		second.Name = "https://other.example.com/"
		o.Issuers = append(o.Issuers, second)
	}
	same := func(*wsauth.Transmitter) {}
	for name, row := range map[string]struct {
		options func(*wsauth.Options)
		change  func(*wsauth.Transmitter)
		want    string // of the panic; empty: none
	}{
		"good":                             {keeping, same, ""},
		"no Name":                          {keeping, func(f *wsauth.Transmitter) { f.Name = "" }, "Transmitter.Name: empty"},
		"no Audience":                      {keeping, func(f *wsauth.Transmitter) { f.Audience = nil }, "Transmitter.Audience: missing: the aud"},
		"an empty Audience":                {keeping, func(f *wsauth.Transmitter) { f.Audience = []string{""} }, "Transmitter.Audience[0]: empty"},
		"no Keys":                          {keeping, func(f *wsauth.Transmitter) { f.Keys = nil }, "Transmitter.Keys: missing"},
		"a nil pointer":                    {keeping, func(f *wsauth.Transmitter) { f.Keys = (*wsauth.JWKS)(nil) }, "Transmitter.Keys: missing"},
		"bad Keys":                         {keeping, func(f *wsauth.Transmitter) { f.Keys = wsauth.KeySet("{}") }, "Transmitter.Keys"},
		"a Name that has no configuration": {keeping, func(f *wsauth.Transmitter) { f.Name, f.Keys = "sender", wsauth.JWKS{} }, "Transmitter.Keys"},
		"an unknown Issuer":                {keeping, func(f *wsauth.Transmitter) { f.Issuer = sender }, "Issuer: not one of"},
		"no Issuer, and there are two":     {func(o *wsauth.Options) { keeping(o); two(o) }, same, "Issuer: missing"},
		"no Keep":                          {func(*wsauth.Options) {}, same, "Revocations.Keep: missing"},
		"the MaxTTL of another issuer": {
			func(o *wsauth.Options) { two(o); o.Issuers[1].MaxTTL = time.Hour },
			func(f *wsauth.Transmitter) { f.Issuer = testIssuer }, "Revocations.Keep: missing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				got := fmt.Sprint(recover())
				if row.want == "" && got != "<nil>" || !strings.Contains(got, row.want) {
					t.Errorf("got the panic %s, want %q", got, row.want)
				}
			}()
			from := good
			row.change(&from)
			newAuth(t, row.options).SecurityEvents(from)
		})
	}
}
