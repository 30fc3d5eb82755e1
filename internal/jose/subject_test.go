package jose

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// subjectRows are subjects with what ParseSubject reads, or nil if it refuses them.
var subjectRows = []struct {
	name, subject string
	want          *Subject // without Raw
}{
	{"iss_sub", `{"format":"iss_sub","iss":"i","sub":"s"}`, &Subject{Format: "iss_sub", IsSimple: true, Users: []Pair{{"i", "s"}}}},
	{"iss_sub with a number, as tokens may have it", `{"format":"iss_sub","iss":"i","sub":4711}`,
		&Subject{Format: "iss_sub", IsSimple: true, Users: []Pair{{"i", "4711"}}}},
	{"a draft's iss-sub", `{"subject_type":"iss-sub","iss":"i","sub":"s"}`, &Subject{Format: "iss_sub", IsSimple: true, Users: []Pair{{"i", "s"}}}},
	{"Google's id_token_claims", `{"subject_type":"id_token_claims","iss":"i","sub":"s","email":"e"}`,
		&Subject{Format: "id_token_claims", IsSimple: true, Users: []Pair{{"i", "s"}}, Email: "e"}},
	{"id_token_claims without iss", `{"subject_type":"id_token_claims","sub":"s"}`,
		&Subject{Format: "id_token_claims", IsSimple: true, Users: []Pair{{"", "s"}}}},
	{"jwt_id", `{"format":"jwt_id","iss":"i","jti":"j"}`, &Subject{Format: "jwt_id", IsSimple: true, Tokens: []Pair{{"i", "j"}}}},
	{"email", `{"format":"email","email":"e"}`, &Subject{Format: "email", IsSimple: true, Email: "e"}},
	{"phone_number", `{"format":"phone_number","phone_number":"+1"}`, &Subject{Format: "phone_number", IsSimple: true, Phone: "+1"}},
	{"opaque", `{"format":"opaque","id":"x"}`, &Subject{Format: "opaque", IsSimple: true, ID: "x"}},
	{"a format that is not known", `{"format":"catalog_item","catalog_id":1}`, &Subject{Format: "catalog_item", IsSimple: true}},
	{"aliases", `{"format":"aliases","identifiers":[{"format":"email","email":"e"},{"format":"iss_sub","iss":"i","sub":"s"},
		{"format":"iss_sub","iss":"k","sub":"t"}]}`,
		&Subject{Format: "aliases", IsSimple: true, Email: "e", Users: []Pair{{"i", "s"}, {"k", "t"}}}},
	{"no aliases", `{"format":"aliases","identifiers":[]}`, &Subject{Format: "aliases", IsSimple: true}},
	{"complex", `{"format":"complex","user":{"format":"email","email":"e"},"session":{"format":"opaque","id":"x"},"tenant":1}`,
		&Subject{Format: "email", Email: "e", Session: "x"}},
	{"complex, without a format", `{"user":{"format":"iss_sub","iss":"i","sub":"s"},"device":{}}`,
		&Subject{Format: "iss_sub", Users: []Pair{{"i", "s"}}}},
	{"complex, of another format", `{"subject_type":"user-device-session","session":{"subject_type":"opaque","id":"x"}}`, &Subject{Session: "x"}},
	{"complex, a session with a name that is not opaque", `{"session":{"format":"iss_sub","iss":"i","sub":"s"}}`, &Subject{}},
	{"complex, a user null", `{"format":"complex","user":null,"session":{"format":"opaque","id":"x"}}`, &Subject{Session: "x"}},
	{"nobody", `{}`, &Subject{}},
	{"a device", `{"format":"complex","device":{"format":"opaque","id":"x"}}`, &Subject{}},

	{"not an object", `"s"`, nil},
	{"format a number", `{"format":1,"iss":"i","sub":"s"}`, nil},
	{"format empty", `{"format":"","iss":"i","sub":"s"}`, nil},
	{"iss_sub without iss", `{"format":"iss_sub","sub":"s"}`, nil},
	{"iss_sub without sub", `{"format":"iss_sub","iss":"i"}`, nil},
	{"iss_sub with an empty sub", `{"format":"iss_sub","iss":"i","sub":""}`, nil},
	{"iss_sub with a null sub", `{"format":"iss_sub","iss":"i","sub":null}`, nil},
	{"iss_sub with a fraction", `{"format":"iss_sub","iss":"i","sub":1.5}`, nil},
	{"iss_sub with a number of 20 digits", `{"format":"iss_sub","iss":"i","sub":12345678901234567890}`, nil},
	{"iss_sub with an object", `{"format":"iss_sub","iss":"i","sub":{}}`, nil},
	{"iss_sub with two sub", `{"format":"iss_sub","iss":"i","sub":"a","sub":"b"}`, nil},
	{"iss_sub with two sub, in two letter cases", `{"format":"iss_sub","iss":"i","sub":"a","SUB":"b"}`, nil},
	{"id_token_claims without sub", `{"subject_type":"id_token_claims","iss":"i","email":"e"}`, nil},
	{"jwt_id without jti", `{"format":"jwt_id","iss":"i"}`, nil},
	{"email without email", `{"format":"email"}`, nil},
	{"opaque without id", `{"format":"opaque"}`, nil},
	{"phone_number without one", `{"format":"phone_number"}`, nil},
	{"aliases without identifiers", `{"format":"aliases"}`, nil},
	{"aliases of strings", `{"format":"aliases","identifiers":["s"]}`, nil},
	{"aliases without a format", `{"format":"aliases","identifiers":[{"iss":"i","sub":"s"}]}`, nil},
	{"aliases within aliases", `{"format":"aliases","identifiers":[{"format":"aliases","identifiers":[]}]}`, nil},
	{"complex, a user that is a string", `{"format":"complex","user":"s"}`, nil},
	{"complex, a user without a format", `{"format":"complex","user":{"iss":"i","sub":"s"}}`, nil},
	{"complex, a session that is a string", `{"format":"complex","session":"x"}`, nil},
	{"complex, a session without id", `{"format":"complex","session":{"format":"opaque"}}`, nil},
}

func TestASubjectIsReadStrictly(t *testing.T) {
	for _, row := range subjectRows {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseSubject(row.subject)
			if row.want == nil {
				if err == nil || !reflect.DeepEqual(got, Subject{}) {
					t.Errorf("got %+v and %v, want nothing but an error", got, err)
				}
				return
			}
			want := *row.want
			want.Raw = row.subject
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v and %v, want %+v", got, err, want)
			}
		})
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, row := range subjectRows {
		f.Add(row.subject)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if len(subject) > DefaultMaxLength {
			return
		}
		got, err := ParseSubject(subject)
		if err != nil {
			if !reflect.DeepEqual(got, Subject{}) {
				t.Fatalf("%q: refused, and yet %+v", subject, got)
			}
			return
		}
		if !json.Valid([]byte(subject)) || got.Raw != subject {
			t.Fatalf("%q: accepted as %+v", subject, got)
		}
		for _, p := range append(got.Users, got.Tokens...) {
			if p.Name == "" {
				t.Fatalf("%q: an empty name in %+v", subject, got)
			}
		}
	})
}

func TestTheTimeOfAnEventIsInSecondsOrMilliseconds(t *testing.T) {
	for name, row := range map[string]struct {
		body string
		want time.Time // zero and bad: it is refused
		bad  bool
	}{
		"none":                     {`{}`, time.Time{}, false},
		"null":                     {`{"event_timestamp":null}`, time.Time{}, false},
		"seconds":                  {`{"event_timestamp":1615304991}`, at(1615304991, 0), false},
		"a fraction":               {`{"event_timestamp":1615304991.5}`, at(1615304991, 5e8), false},
		"milliseconds":             {`{"event_timestamp":1615304991643}`, at(1615304991, 643e6), false},
		"the last second":          {`{"event_timestamp":253402300799}`, at(253402300799, 0), false},
		"the first millisecond":    {`{"event_timestamp":253402300800}`, at(253402300, 8e8), false},
		"the last millisecond":     {`{"event_timestamp":253402300799999}`, at(253402300799, 999e6), false},
		"Apple's":                  {`{"event_time":1615304991643}`, at(1615304991, 643e6), false},
		"both":                     {`{"event_time":1,"event_timestamp":2}`, at(2, 0), false},
		"microseconds":             {`{"event_timestamp":1615304991643000}`, time.Time{}, true},
		"milliseconds, a fraction": {`{"event_timestamp":1615304991643.5}`, time.Time{}, true},
		"milliseconds, exponent":   {`{"event_timestamp":1.615304991643e12}`, time.Time{}, true},
		"negative":                 {`{"event_timestamp":-1}`, time.Time{}, true},
		"a string":                 {`{"event_timestamp":"1615304991"}`, time.Time{}, true},
		"a bool":                   {`{"event_timestamp":true}`, time.Time{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, got, err := Event{Body: row.body}.SubjectAndTime()
			if !got.Equal(row.want) || (err != nil) != row.bad {
				t.Errorf("got %v and %v, want %v", got, err, row.want)
			}
		})
	}
}
