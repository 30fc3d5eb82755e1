package jose

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	testLogout  = `"http://schemas.openid.net/event/backchannel-logout":{}`
	testRevoked = `"https://schemas.openid.net/secevent/caep/event-type/session-revoked":`
)

// testEvents are claim sets of events, and whether they are read.
var testEvents = map[string]struct {
	raw string
	ok  bool
}{
	"a logout":                    {`{"iss":"a","aud":"b","iat":1,"exp":2,"jti":"c","sid":"d","events":{` + testLogout + `}}`, true},
	"an event":                    {`{"iss":"a","aud":["b"],"iat":1,"jti":"c","sub_id":{"format":"opaque","id":"d"},"events":{` + testRevoked + `{"event_timestamp":1}}}`, true},
	"two events":                  {`{"events":{` + testLogout + `,` + testRevoked + `{}}}`, true},
	"nulls":                       {`{"iss":null,"sub":null,"sid":null,"sub_id":null,"events":{` + testLogout + `}}`, true},
	"a nonce":                     {`{"nonce":"n","events":{` + testLogout + `}}`, true},
	"no events":                   {`{"iss":"a"}`, false},
	"no event":                    {`{"events":{}}`, false},
	"an array":                    {`{"events":[]}`, false},
	"null":                        {`{"events":null}`, false},
	"a string":                    {`{"events":"{}"}`, false},
	"an event that is a string":   {`{"events":{"a":""}}`, false},
	"an event twice":              {`{"events":{` + testLogout + `,` + testLogout + `}}`, false},
	"events twice":                {`{"events":{` + testLogout + `},"events":{` + testLogout + `}}`, false},
	"Events":                      {`{"Events":{` + testLogout + `}}`, false},
	"Nonce":                       {`{"Nonce":1,"events":{` + testLogout + `}}`, false},
	"Sub_id":                      {`{"Sub_id":{},"events":{` + testLogout + `}}`, false},
	"a sub_id that is a string":   {`{"sub_id":"a","events":{` + testLogout + `}}`, false},
	"an iss that is a number":     {`{"iss":1,"events":{` + testLogout + `}}`, false},
	"an iat that is a string":     {`{"iat":"1","events":{` + testLogout + `}}`, false},
	"an iat after exp":            {`{"iat":2,"exp":1,"events":{` + testLogout + `}}`, false},
	"something behind":            {`{"events":{` + testLogout + `}}{}`, false},
	"no object":                   {`[]`, false},
	"an event with a doubled key": {`{"events":{"a":{"b":1,"B":2}}}`, false},
}

func TestAnEventIsReadStrictly(t *testing.T) {
	for name, row := range testEvents {
		t.Run(name, func(t *testing.T) {
			var e Event
			if err := e.Parse(row.raw); (err == nil) != row.ok {
				t.Errorf("got %v, want it read: %v", err, row.ok)
			}
			if !row.ok && (e.Raw != "" || e.All != nil) {
				t.Errorf("got %+v beside an error, want nothing", e)
			}
		})
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, row := range testEvents {
		f.Add(row.raw)
	}
	for _, raw := range testSubjects {
		f.Add(`{"sub_id":` + raw + `,"events":{` + testRevoked + `{"subject":` + raw + `}}}`)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var e Event
		if e.Parse(raw) != nil {
			return
		}
		for _, o := range e.All {
			if subject, _ := o.Members(); subject != "" {
				ParseSubjectID(subject)
			}
		}
		if e.SubjectID != "" {
			ParseSubjectID(e.SubjectID)
		}
		if c, err := ParseClaims(raw); err == nil && strings.Contains(raw, logoutMember) && slices.ContainsFunc(e.All, isLogout) {
			t.Errorf("got an access token of %q, which is a logout: %q", c.Subject, raw)
		}
	})
}

const logoutMember = "http://schemas.openid.net/event/backchannel-logout"

func isLogout(o Occurrence) bool { return o.Type == logoutMember }

// testSubjects are subject identifiers.
var testSubjects = map[string]string{
	"iss_sub": `{"format":"iss_sub","iss":"https://id.example.com/","sub":"alice"}`,
	"iss-sub": `{"subject_type":"iss-sub","iss":"https://id.example.com/","sub":"alice"}`,
	"opaque":  `{"format":"opaque","id":"11112222333344445555"}`,
	"email":   `{"format":"email","email":"user@example.com"}`,
	"jwt_id":  `{"format":"jwt_id","iss":"https://id.example.com/","jti":"B70BA622-9515-4353-A866-823539EECBC8"}`,
	"complex": `{"format":"complex","user":{"format":"opaque","id":"a"},"session":{"format":"opaque","id":"b"}}`,
	"aliases": `{"format":"aliases","identifiers":[{"format":"email","email":"user@example.com"},{"format":"opaque","id":"a"}]}`,
	"numbers": `{"format":1,"sub":2}`,
	"nested":  `{"format":"aliases","identifiers":[[]]}`,
}

func TestASubjectIsRead(t *testing.T) {
	for name, want := range map[string]SubjectID{
		"iss_sub": {Format: "iss_sub", Issuer: "https://id.example.com/", Subject: "alice"},
		"iss-sub": {Format: "iss-sub", Issuer: "https://id.example.com/", Subject: "alice"},
		"opaque":  {Format: "opaque", ID: "11112222333344445555"},
		"email":   {Format: "email"},
		"jwt_id":  {Format: "jwt_id", Issuer: "https://id.example.com/", JTI: "B70BA622-9515-4353-A866-823539EECBC8"},
		"complex": {Format: "complex", User: `{"format":"opaque","id":"a"}`, Session: `{"format":"opaque","id":"b"}`},
		"aliases": {Format: "aliases", Identifiers: []string{`{"format":"email","email":"user@example.com"}`, `{"format":"opaque","id":"a"}`}},
	} {
		got, err := ParseSubjectID(testSubjects[name])
		if err != nil || !slices.Equal(got.Identifiers, want.Identifiers) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
		got.Identifiers, want.Identifiers = nil, nil
		if got.Format != want.Format || got.Issuer != want.Issuer || got.Subject != want.Subject || got.ID != want.ID ||
			got.JTI != want.JTI || got.User != want.User || got.Session != want.Session {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	for _, name := range []string{"numbers", "nested"} {
		if got, err := ParseSubjectID(testSubjects[name]); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

func TestATimestampIsInSecondsOrMilliseconds(t *testing.T) {
	for value, want := range map[string]time.Time{
		"1615304991": time.Unix(1615304991, 0), "1615304991643": time.UnixMilli(1615304991643),
		"0": {}, "-1": {}, `"1615304991"`: {}, "1.5": {}, "null": {}, "99999999999999999999": {},
	} {
		if got := timestamp(value); !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", value, got, want)
		}
	}
}
