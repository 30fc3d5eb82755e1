package wsauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

const (
	testTransmitter = "https://events.example.com/"

	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
)

var eventKey = mint.New("ES256", "event")

// transmitter may revoke the tokens of testIssuer.
func transmitter(change func(*wsauth.Transmitter)) wsauth.Transmitter {
	from := wsauth.Transmitter{
		Name: testTransmitter, Audience: []string{"https://chat.example.com/"}, Keys: wsauth.KeySet(mint.SetOf(eventKey)),
	}
	change(&from)
	return from
}

// eventClaims are those of a session that was revoked.
func eventClaims(changes map[string]any) map[string]any {
	return with(map[string]any{
		"iss": testTransmitter, "aud": "https://chat.example.com/", "jti": "event 1", "iat": time.Now().Unix(),
		"sub_id": map[string]any{"format": "iss_sub", "iss": testIssuer, "sub": "alice"},
		"events": map[string]any{caep + "session-revoked": map[string]any{"event_timestamp": time.Now().Unix()}},
	}, changes)
}

func setOf(changes map[string]any) string {
	return signed(eventKey, "secevent+jwt", eventClaims(changes))
}

func sendEvent(h http.Handler, token string) *httptest.ResponseRecorder {
	return send(h, "application/secevent+jwt", token)
}

func subject(members ...any) map[string]any {
	s := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		s[members[i].(string)] = members[i+1]
	}
	return s
}

func issSub(sub string) map[string]any {
	return subject("format", "iss_sub", "iss", testIssuer, "sub", sub)
}

func TestAnEventRevokesTheTokensOfItsSubject(t *testing.T) {
	about := func(event string, sub any) map[string]any {
		return map[string]any{"sub_id": sub, "events": map[string]any{event: map[string]any{}}}
	}
	within := func(event string, payload map[string]any) map[string]any { // the drafts, and Google
		return map[string]any{"sub_id": nil, "events": map[string]any{event: payload}}
	}
	revoked := caep + "session-revoked"
	for name, row := range map[string]struct {
		changes                    map[string]any
		session, otherSession, bob bool // revoked
	}{
		"session-revoked":                {nil, true, true, false},
		"credential-change":              {about(caep+"credential-change", issSub("alice")), true, true, false},
		"account-disabled":               {about(risc+"account-disabled", issSub("alice")), true, true, false},
		"account-purged":                 {about(risc+"account-purged", issSub("alice")), true, true, false},
		"sessions-revoked":               {about(risc+"sessions-revoked", issSub("alice")), true, true, false},
		"token-claims-change":            {about(caep+"token-claims-change", issSub("alice")), false, false, false},
		"account-enabled":                {about(risc+"account-enabled", issSub("alice")), false, false, false},
		"device-compliance-change":       {about(caep+"device-compliance-change", issSub("alice")), false, false, false},
		"a verification":                 {about("https://schemas.openid.net/secevent/ssf/event-type/verification", subject("format", "opaque", "id", "alice")), false, false, false},
		"a verification of RISC":         {within(risc+"verification", map[string]any{"state": "some-state"}), false, false, false},
		"an unknown event":               {about("https://example.com/event", issSub("alice")), false, false, false},
		"of an issuer with no slash":     {about(revoked, subject("format", "iss_sub", "iss", strings.TrimSuffix(testIssuer, "/"), "sub", "alice")), true, true, false},
		"of another issuer":              {about(revoked, subject("format", "iss_sub", "iss", "https://evil.example.com/", "sub", "alice")), false, false, false},
		"opaque, a user":                 {about(revoked, subject("format", "opaque", "id", "alice")), true, true, false},
		"opaque, a session":              {about(revoked, subject("format", "opaque", "id", "session")), true, false, false},
		"opaque, an account":             {about(risc+"account-disabled", subject("format", "opaque", "id", "session")), false, false, false},
		"complex, a user":                {about(revoked, subject("format", "complex", "user", issSub("alice"))), true, true, false},
		"complex, a user and a session":  {about(revoked, subject("format", "complex", "user", issSub("alice"), "session", subject("format", "opaque", "id", "another"))), true, true, false},
		"complex, a session":             {about(revoked, subject("format", "complex", "session", subject("format", "opaque", "id", "session"), "tenant", subject("format", "opaque", "id", "t"))), true, false, false},
		"complex, a tenant":              {about(revoked, subject("format", "complex", "tenant", subject("format", "opaque", "id", "alice"))), false, false, false},
		"aliases":                        {about(revoked, subject("format", "aliases", "identifiers", []any{subject("format", "email", "email", "alice@example.com"), issSub("alice")})), true, true, false},
		"an email address":               {about(revoked, subject("format", "email", "email", "alice")), false, false, false},
		"a token":                        {about(revoked, subject("format", "jwt_id", "iss", testIssuer, "jti", "token")), true, true, true}, // all have this jti here
		"nobody":                         {about(revoked, nil), false, false, false},
		"a format that does not exist":   {about(revoked, subject("format", "mystery", "sub", "alice")), false, false, false},
		"a subject with a number":        {about(revoked, subject("format", "iss_sub", "iss", testIssuer, "sub", 1)), false, false, false},
		"a draft's subject":              {within(revoked, subject("subject", issSub("alice"), "event_timestamp", time.Now().UnixMilli())), true, true, false},
		"a draft's user":                 {within(revoked, subject("subject", subject("user", issSub("alice"), "device", subject("format", "opaque", "id", "d")))), true, true, false},
		"Google's sessions-revoked":      {within(risc+"sessions-revoked", subject("subject", subject("subject_type", "iss-sub", "iss", testIssuer, "sub", "alice"))), true, true, false},
		"Google's account-disabled":      {within(risc+"account-disabled", subject("subject", subject("subject_type", "iss-sub", "iss", testIssuer, "sub", "alice"), "reason", "hijacking")), true, true, false},
		"Google's tokens-revoked":        {within("https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked", subject("subject", subject("subject_type", "iss-sub", "iss", testIssuer, "sub", "alice"))), true, true, false},
		"Okta's session-revoked":         {within(revoked, subject("current_ip", "192.0.2.1", "event_timestamp", time.Now().Unix(), "initiating_entity", "admin", "reason_admin", subject("en", "Event message example"), "subject", subject("user", issSub("alice")))), true, true, false},
		"several events":                 {map[string]any{"events": map[string]any{caep + "token-claims-change": map[string]any{}, risc + "account-disabled": map[string]any{}}}, true, true, false},
		"among other audiences":          {map[string]any{"aud": []string{"x", "https://chat.example.com/"}}, true, true, false},
		"with txn and toe":               {map[string]any{"txn": "8675309", "toe": time.Now().Unix()}, true, true, false},
		"an event before the token":      {map[string]any{"events": map[string]any{revoked: map[string]any{"event_timestamp": time.Now().Unix() - 60}}}, false, false, false},
		"an event that is yet to happen": {map[string]any{"events": map[string]any{revoked: map[string]any{"event_timestamp": time.Now().Unix() + 600}}}, true, true, false},
		"an event at no time":            {map[string]any{"events": map[string]any{revoked: map[string]any{"event_timestamp": "now"}}}, true, true, false},
		"very old":                       {map[string]any{"iat": 1_000_000_000}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			h := auth.SecurityEvents(transmitter(func(*wsauth.Transmitter) {}))
			for range 2 {
				if w := sendEvent(h, setOf(row.changes)); w.Code != http.StatusAccepted || w.Body.Len() > 0 {
					t.Errorf("got %d %s, want 202", w.Code, w.Body)
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

func TestAnEventWithOneThingWrongRevokesNothing(t *testing.T) {
	now := time.Now().Unix()
	events := func(v any) map[string]any { return map[string]any{"events": v} }
	for name, row := range map[string]struct{ token, code string }{
		"empty":                     {"", "invalid_request"},
		"rubbish":                   {"rubbish", "invalid_request"},
		"an access token":           {testToken(revocable()), "invalid_request"},
		"a logout token":            {signed(eventKey, "logout+jwt", logoutClaims(nil)), "invalid_request"},
		"a logout token's claims":   {signed(eventKey, "secevent+jwt", logoutClaims(map[string]any{"iss": testTransmitter, "aud": "https://chat.example.com/"})), "invalid_request"},
		"no typ":                    {signed(eventKey, nil, eventClaims(nil)), "invalid_request"},
		"typ JWT":                   {signed(eventKey, "JWT", eventClaims(nil)), "invalid_request"},
		"another key":               {signed(mint.New("ES256", "event"), "secevent+jwt", eventClaims(nil)), "invalid_key"},
		"the issuer's key":          {signed(testKey, "secevent+jwt", eventClaims(nil)), "invalid_key"},
		"an unknown key":            {signed(mint.New("ES256", "unknown"), "secevent+jwt", eventClaims(nil)), "invalid_key"},
		"no iss":                    {setOf(map[string]any{"iss": nil}), "invalid_issuer"},
		"the issuer's iss":          {setOf(map[string]any{"iss": testIssuer}), "invalid_issuer"},
		"no aud":                    {setOf(map[string]any{"aud": nil}), "invalid_audience"},
		"another aud":               {setOf(map[string]any{"aud": "chat"}), "invalid_audience"},
		"no jti":                    {setOf(map[string]any{"jti": nil}), "invalid_request"},
		"no iat":                    {setOf(map[string]any{"iat": nil}), "invalid_request"},
		"iat to come":               {setOf(map[string]any{"iat": now + 60}), "invalid_request"},
		"an exp":                    {setOf(map[string]any{"exp": now + 60}), "invalid_request"},
		"no events":                 {setOf(events(nil)), "invalid_request"},
		"events empty":              {setOf(events(map[string]any{})), "invalid_request"},
		"events a string":           {setOf(events(`{"type":"account-delete","sub":"alice"}`)), "invalid_request"},
		"an event that is null":     {setOf(events(map[string]any{caep + "session-revoked": nil})), "invalid_request"},
		"a sub_id that is a string": {setOf(map[string]any{"sub_id": "alice"}), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			w := sendEvent(auth.SecurityEvents(transmitter(func(*wsauth.Transmitter) {})), row.token)
			var body struct{ Err, Description string }
			err := json.Unmarshal(w.Body.Bytes(), &body)
			if w.Code != http.StatusBadRequest || err != nil || body.Err != row.code || body.Description == "" {
				t.Errorf("got %d %s, want 400 with %s", w.Code, w.Body, row.code)
			}
			if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %v, want JSON and no-store", w.Header())
			}
			if isRevoked(t, auth, nil) {
				t.Error("got alice revoked, want nothing revoked")
			}
		})
	}
}

func TestATransmitterIsTrustedForNoToken(t *testing.T) {
	auth := newAuth(t, keeping)
	auth.SecurityEvents(transmitter(func(*wsauth.Transmitter) {}))
	for name, claims := range map[string]map[string]any{
		"in its own name": testClaims(revocable(map[string]any{"iss": testTransmitter})), "in the issuer's": testClaims(revocable()),
	} {
		if _, err := auth.Verify(t.Context(), eventKey.Token(claims)); !errors.Is(err, wsauth.ErrInvalidToken) {
			t.Errorf("%s: got %v, want ErrInvalidToken", name, err)
		}
	}
	if _, err := auth.Verify(t.Context(), setOf(nil)); !errors.Is(err, wsauth.ErrInvalidToken) {
		t.Errorf("got %v for its event, want ErrInvalidToken", err)
	}
}

func TestATransmitterMustSendWhatWasAgreed(t *testing.T) {
	h := newAuth(t, keeping).SecurityEvents(transmitter(func(f *wsauth.Transmitter) { f.Authorization = "Bearer agreed" }))
	for authorization, want := range map[string]int{"Bearer agreed": 202, "": 400, "Bearer another": 400, "bearer agreed": 400, "Bearer agreed ": 400} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(setOf(nil)))
		r.Header.Set("Content-Type", "application/secevent+jwt")
		r.Header.Set("Authorization", authorization)
		w := serve(h, r)
		if w.Code != want || want == 400 && !strings.Contains(w.Body.String(), `"authentication_failed"`) {
			t.Errorf("%q: got %d %s, want %d", authorization, w.Code, w.Body, want)
		}
	}
}

func TestAnEventIsAPostOfItsMediaType(t *testing.T) {
	h := newAuth(t, keeping).SecurityEvents(transmitter(func(*wsauth.Transmitter) {}))
	for name, row := range map[string]struct {
		method, contentType, body string
	}{
		"a GET": {"GET", "application/secevent+jwt", setOf(nil)}, "JSON": {"POST", "application/json", setOf(nil)},
		"a JWT": {"POST", "application/jwt", setOf(nil)}, "no type": {"POST", "", setOf(nil)},
		"a megabyte": {"POST", "application/secevent+jwt", strings.Repeat("x", 1<<20)},
	} {
		r := httptest.NewRequest(row.method, "/", strings.NewReader(row.body))
		r.Header.Set("Content-Type", row.contentType)
		if w := serve(h, r); w.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", name, w.Code)
		}
	}
}

func TestMapSaysWhomAnEventIsAbout(t *testing.T) {
	email := map[string]any{"sub_id": subject("format", "email", "email", "alice@example.com")}
	for name, row := range map[string]struct {
		answer  []wsauth.Revocation
		err     error
		want    int
		revoked bool
	}{
		"somebody":          {[]wsauth.Revocation{{Subject: "alice"}}, nil, 202, true},
		"nobody":            {nil, nil, 202, false},
		"somebody else":     {[]wsauth.Revocation{{Subject: "bob"}}, nil, 202, false},
		"an outage":         {nil, errors.New("the database is away"), 503, false},
		"of another issuer": {[]wsauth.Revocation{{Issuer: "https://evil.example.com/", Subject: "alice"}}, nil, 503, false},
		"two names":         {[]wsauth.Revocation{{Subject: "alice", ID: "token"}}, nil, 503, false},
		"a time":            {[]wsauth.Revocation{{Subject: "alice", Before: time.Now().Add(-time.Minute)}}, nil, 202, false},
		"the whole issuer":  {[]wsauth.Revocation{{}}, nil, 202, true},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			var event, about string
			h := auth.SecurityEvents(transmitter(func(f *wsauth.Transmitter) {
				f.Map = func(_ context.Context, e string, subject json.RawMessage) ([]wsauth.Revocation, error) {
					event, about = e, string(subject)
					return row.answer, row.err
				}
			}))
			if w := sendEvent(h, setOf(email)); w.Code != row.want {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, row.want)
			}
			if event != caep+"session-revoked" || !strings.Contains(about, "alice@example.com") {
				t.Errorf("got asked about %q, %q, want the event and its subject", event, about)
			}
			if got := isRevoked(t, auth, nil); got != row.revoked {
				t.Errorf("got revoked %v, want %v", got, row.revoked)
			}
		})
	}
}
