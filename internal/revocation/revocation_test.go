package revocation

import (
	"strings"
	"testing"
	"time"
)

const testIssuer = "https://id.example.com/"

// entries are the entries of logs, and what they say.
var entries = map[string]struct {
	text string
	want Revocation
}{
	"a user":                   {"subject before 1764230400 https://id.example.com/ alice", Revocation{Subject, testIssuer, "alice", false, 1764230400}},
	"a user, all tokens":       {"subject all 1764230400 https://id.example.com/ alice", Revocation{Subject, testIssuer, "alice", true, 1764230400}},
	"a session":                {"session all 1 https://id.example.com/ s", Revocation{Session, testIssuer, "s", true, 1}},
	"a token":                  {"id all 253402300799 https://id.example.com/ t", Revocation{ID, testIssuer, "t", true, 253402300799}},
	"an issuer":                {"issuer before 1764230400 https://id.example.com/ ", Revocation{Issuer, testIssuer, "", false, 1764230400}},
	"an issuer without a name": {"issuer before 1764230400  ", Revocation{Issuer, "", "", false, 1764230400}},
	"a user of such":           {"subject before 1764230400  alice", Revocation{Subject, "", "alice", false, 1764230400}},
	"a space":                  {"subject before 1 a%20b c%20d", Revocation{Subject, "a b", "c d", false, 1}},
	"a percent sign":           {"subject before 1 %25 %2520", Revocation{Subject, "%", "%20", false, 1}},
	"control characters":       {"subject before 1 a %00%0A%1F%7F", Revocation{Subject, "a", "\x00\n\x1f\x7f", false, 1}},
	"other scripts":            {"subject before 1 a 愛麗絲", Revocation{Subject, "a", "愛麗絲", false, 1}},
	"bytes that are no UTF-8":  {"subject before 1 a \xff\xc0", Revocation{Subject, "a", "\xff\xc0", false, 1}},
}

// noEntries are not revocations.
var noEntries = map[string]string{
	"nothing":                 "",
	"one word":                "subject",
	"four words":              "subject before 1 a",
	"six words":               "subject before 1 a b c",
	"another kind":            "client before 1 a b",
	"a kind in other letters": "Subject before 1 a b",
	"neither all nor before":  "subject after 1 a b",
	"no time":                 "subject before  a b",
	"not a number":            "subject before x a b",
	"a time of 0":             "subject before 0 a b",
	"a negative time":         "subject before -1 a b",
	"a time in nanoseconds":   "subject before 1764230400000000000 a b",
	"a number too large":      "subject before 99999999999999999999 a b",
	"no name":                 "subject before 1 a ",
	"an issuer with a name":   "issuer before 1 a b",
	"all of an issuer":        "issuer all 1 a ",
	"broken encoding":         "subject before 1 a %zz",
	"cut encoding":            "subject before 1 a% b",
	"a new line in front":     "\nsubject before 1 a b",
}

func TestAnEntryIsWrittenAndReadAlike(t *testing.T) {
	for name, row := range entries {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse(row.text); err != nil || got != row.want {
				t.Errorf("got %+v, %v, want %+v", got, err, row.want)
			}
			if got := row.want.String(); got != row.text {
				t.Errorf("got %q, want %q", got, row.text)
			}
		})
	}
}

func TestWhatIsNoEntryIsRefusedWithoutBeingQuoted(t *testing.T) {
	for name, text := range noEntries {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(text)
			if err == nil || got != (Revocation{}) {
				t.Errorf("got %+v, %v, want an error", got, err)
			}
			if err != nil && err != errEntry {
				t.Errorf("got %v, want the one error for all", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range entries {
		f.Add(row.text)
	}
	for _, text := range noEntries {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		again := r.String()
		if strings.ContainsFunc(again, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("got a control character in %q", again)
		}
		if back, err := Parse(again); err != nil || back != r {
			t.Errorf("got %+v, %v from %q, want %+v", back, err, again, r)
		}
	})
}

func TestMarksDifferByIssuerKindAndName(t *testing.T) {
	s := New(Config{Keep: time.Hour})
	seen := map[uint64]Revocation{}
	for _, issuer := range []string{"", "a", "b", "ab", "subject"} {
		for kind := range Kind(kinds) {
			for _, name := range []string{"a", "b", "ab", "ba", "subject", " a"} {
				if kind == Issuer {
					name = ""
				}
				r := Revocation{Kind: kind, Issuer: issuer, Name: name}
				mark := s.MarkOf(&r)
				if other, known := seen[mark]; known && other != r {
					t.Errorf("got one mark for %+v and %+v, want two", other, r)
				}
				if mark == 0 {
					t.Errorf("got the mark of no name for %+v", r)
				}
				seen[mark] = r
			}
		}
	}
	if m := s.Marks(&Token{Issuer: "a", Subject: "b"}); m.Names[Session] != 0 || m.Names[ID] != 0 || m.Names[Subject] == 0 {
		t.Errorf("got %v, want marks for the names that the token has", m.Names)
	}
}
