package jose

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// eventBase are the claims that every token with events must have, without the braces.
const eventBase = `"jti":"j","iat":1800000000,"events":{"urn:e":{}}`

func baseEvents(change func(*EventClaims)) *EventClaims {
	c := &EventClaims{Events: []Event{{"urn:e", "{}"}}}
	c.ID, c.IssuedAt = "j", at(1800000000, 0)
	if change != nil {
		change(c)
	}
	return c
}

// eventRows are claim sets with what ParseEvents reads, or nil if it refuses them.
var eventRows = []struct {
	name, claims string
	want         *EventClaims // without Raw
}{
	{"no more than it must have", `{` + eventBase + `}`, baseEvents(nil)},
	{"every claim",
		`{` + eventBase + `,"iss":"i","sub":"s","aud":["a"],"exp":1800000600,"nbf":1,"sid":"x","txn":"t","toe":1799999999,` +
			`"sub_id":{"format":"opaque","id":"1"},"nonce":"n"}`,
		baseEvents(func(c *EventClaims) {
			c.Issuer, c.HasIssuer, c.Subject, c.audience[0], c.inAll = "i", true, "s", "a", 1
			c.Expiry, c.NotBefore, c.SessionID, c.Happened = at(1800000600, 0), at(1, 0), `"x"`, at(1799999999, 0)
			c.SubjectID, c.HasNonce = `{"format":"opaque","id":"1"}`, true
		})},
	{"null for what it does not have",
		`{` + eventBase + `,"iss":null,"sub":null,"aud":null,"exp":null,"nbf":null,"sid":null,"txn":null,"toe":null,"sub_id":null}`,
		baseEvents(nil)},
	{"a nonce null is one", `{` + eventBase + `,"nonce":null}`, baseEvents(func(c *EventClaims) { c.HasNonce = true })},
	{"several events", `{"jti":"j","iat":1800000000,"events":{"urn:a":{"x":1},"urn:b": {} }}`, baseEvents(func(c *EventClaims) {
		c.Events = []Event{{"urn:a", `{"x":1}`}, {"urn:b", "{}"}}
	})},
	{"events that are not objects", `{"jti":"j","iat":1800000000,"events":{"urn:a":{},"urn:b":true,"urn:c":null}}`,
		baseEvents(func(c *EventClaims) { c.Events = []Event{{"urn:a", "{}"}, {"urn:b", "true"}, {"urn:c", "null"}} })},
	{"an event whose name is escaped", `{"jti":"j","iat":1800000000,"events":{"\u0075rn:e":{}}}`, baseEvents(nil)},
	{"a session with a number", `{` + eventBase + `,"sid":17}`, baseEvents(func(c *EventClaims) { c.SessionID = "17" })},
	{"txn a number, as an example of SSF 1.0 has it", `{` + eventBase + `,"txn":8675309}`, baseEvents(nil)},
	{"events as Apple sends them", `{"jti":"j","iat":1800000000,"events":"{\"type\":\"consent-revoked\",\"sub\":\"1\"}"}`,
		baseEvents(func(c *EventClaims) {
			c.IsApples, c.Events = true, []Event{{"consent-revoked", `{"type":"consent-revoked","sub":"1"}`}}
		})},
	{"a scope is not its business", `{` + eventBase + `,"scope":{"a":1}}`, baseEvents(nil)},

	{"no jti", `{"iat":1800000000,"events":{"urn:e":{}}}`, nil},
	{"jti empty", `{"jti":"","iat":1800000000,"events":{"urn:e":{}}}`, nil},
	{"jti a number", `{"jti":1,"iat":1800000000,"events":{"urn:e":{}}}`, nil},
	{"no iat", `{"jti":"j","events":{"urn:e":{}}}`, nil},
	{"iat null", `{"jti":"j","iat":null,"events":{"urn:e":{}}}`, nil},
	{"iat a string", `{"jti":"j","iat":"1800000000","events":{"urn:e":{}}}`, nil},
	{"iat in milliseconds", `{"jti":"j","iat":1800000000000,"events":{"urn:e":{}}}`, nil},
	{"no events", `{"jti":"j","iat":1800000000}`, nil},
	{"events null", `{"jti":"j","iat":1800000000,"events":null}`, nil},
	{"events empty", `{"jti":"j","iat":1800000000,"events":{}}`, nil},
	{"events an array", `{"jti":"j","iat":1800000000,"events":["urn:e"]}`, nil},
	{"events a string", `{"jti":"j","iat":1800000000,"events":"{}"}`, nil},
	{"events a string that is not JSON", `{"jti":"j","iat":1800000000,"events":"urn:e"}`, nil},
	{"events a string with a type twice", `{"jti":"j","iat":1800000000,"events":"{\"type\":\"a\",\"type\":\"b\"}"}`, nil},
	{"events a string, the type a number", `{"jti":"j","iat":1800000000,"events":"{\"type\":1}"}`, nil},
	{"an event twice", `{"jti":"j","iat":1800000000,"events":{"urn:e":{},"urn:e":{}}}`, nil},
	{"an event twice, in another letter case", `{"jti":"j","iat":1800000000,"events":{"urn:e":{},"URN:e":{}}}`, nil},
	{"a member of an event twice", `{"jti":"j","iat":1800000000,"events":{"urn:e":{"a":1,"a":2}}}`, nil},
	{"events twice", `{` + eventBase + `,"events":{"urn:e":{}}}`, nil},
	{"events in capitals", `{"jti":"j","iat":1800000000,"EVENTS":{"urn:e":{}}}`, nil},
	{"sub_id a string", `{` + eventBase + `,"sub_id":"alice"}`, nil},
	{"sub_id in capitals", `{` + eventBase + `,"SUB_ID":{}}`, nil},
	{"sid empty", `{` + eventBase + `,"sid":""}`, nil},
	{"sid an object", `{` + eventBase + `,"sid":{}}`, nil},
	{"sid a fraction", `{` + eventBase + `,"sid":1.5}`, nil},
	{"sub an object", `{` + eventBase + `,"sub":{}}`, nil},
	{"iss a number", `{` + eventBase + `,"iss":1}`, nil},
	{"aud a number", `{` + eventBase + `,"aud":1}`, nil},
	{"exp 0", `{` + eventBase + `,"exp":0}`, nil},
	{"toe a string", `{` + eventBase + `,"toe":"now"}`, nil},
	{"nonce in capitals", `{` + eventBase + `,"Nonce":"n"}`, nil},
	{"bound to a key", `{` + eventBase + `,"cnf":{}}`, nil},
	{"data after the end", `{` + eventBase + `}{}`, nil},
	{"not an object", `[]`, nil},
	{"invalid UTF-8", `{` + eventBase + ",\"sub\":\"\xff\"}", nil},
	{"nested too deep", `{"jti":"j","iat":1800000000,"events":{"urn:e":{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}}`, nil},
}

func TestTheClaimsOfASecurityEventTokenAreReadStrictly(t *testing.T) {
	for _, row := range eventRows {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseEvents(row.claims)
			if row.want == nil {
				if err == nil || !reflect.DeepEqual(got, EventClaims{}) {
					t.Errorf("got %+v and %v, want nothing but an error", got, err)
				}
				return
			}
			want := *row.want
			want.Raw = row.claims
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v and %v, want %+v", got, err, want)
			}
		})
	}
}

func FuzzParseEvents(f *testing.F) {
	for _, row := range eventRows {
		f.Add(row.claims)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		if len(claims) > DefaultMaxLength {
			return
		}
		got, err := ParseEvents(claims)
		if err != nil {
			if !reflect.DeepEqual(got, EventClaims{}) {
				t.Fatalf("%q: refused, and yet %+v", claims, got)
			}
			return
		}
		var want struct {
			Iss, Jti string
			Iat      json.Number
			Events   json.RawMessage
		}
		if err := json.Unmarshal([]byte(claims), &want); err != nil {
			t.Fatalf("%q: accepted, but encoding/json says %v", claims, err)
		}
		if got.Issuer != want.Iss || got.ID != want.Jti || got.ID == "" || len(got.Events) == 0 {
			t.Fatalf("%q: got %+v, encoding/json has %+v", claims, got, want)
		}
		checkDate(t, claims, got.IssuedAt, &want.Iat)
		if got.IsApples {
			return
		}
		var events map[string]json.RawMessage
		if err := json.Unmarshal(want.Events, &events); err != nil || len(events) != len(got.Events) {
			t.Fatalf("%q: got %+v, encoding/json has %+v and %v", claims, got, events, err)
		}
		for _, e := range got.Events {
			var body map[string]any
			isObject := json.Unmarshal(events[e.Type], &body) == nil && body != nil
			if events[e.Type] == nil || !json.Valid([]byte(e.Body)) || isObject != e.IsObject() {
				t.Fatalf("%q: got the event %+v, encoding/json has %+v", claims, e, events)
			}
		}
	})
}
