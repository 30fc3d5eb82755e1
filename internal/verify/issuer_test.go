package verify

import (
	"encoding/json"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

func TestATokenIsJudgedByItsIssuerAndNoOther(t *testing.T) {
	const nameA, nameB = "https://a.example.com/", "https://b.example.com"
	a, b := mint.New("HS256", "k1"), mint.New("HS256", "k1") // one kid, two keys
	v := newVerifier(trusting(
		Issuer{Name: nameA, Audience: []string{"chat"}, Keys: keysOf(a)},
		Issuer{Name: nameB, Audience: []string{"mail"}, Keys: keysOf(b)},
	))
	for name, row := range map[string]struct {
		key  *mint.Key
		iss  any
		aud  string
		want error
	}{
		"the first":                         {a, nameA, "chat", nil},
		"the second":                        {b, nameB, "mail", nil},
		"the second's key, the first named": {b, nameA, "chat", invalid},
		"the first's key, the second named": {a, nameB, "mail", invalid},
		"the other's audience":              {a, nameA, "mail", invalid},
		"no iss":                            {a, nil, "chat", invalid},
		"an empty iss":                      {a, "", "chat", invalid},
		"an unknown iss":                    {a, "https://c.example.com/", "chat", invalid},
		"other letters":                     {a, "https://A.example.com/", "chat", invalid},
		"without the final slash":           {a, "https://a.example.com", "chat", invalid},
		"with a final slash":                {b, nameB + "/", "mail", invalid},
		"with the default port":             {b, nameB + ":443", "mail", invalid},
		"with a space":                      {a, nameA + " ", "chat", invalid},
		"a longer name":                     {b, nameB + ".evil.com", "mail", invalid},
		"an array":                          {a, []string{nameA}, "chat", invalid},
		"null":                              {a, json.RawMessage("null"), "chat", invalid},
	} {
		t.Run(name, func(t *testing.T) {
			c := check(t, v, row.key.Token(map[string]any{"iss": row.iss, "aud": row.aud}), row.want)
			if row.want == nil && c.Issuer != row.iss {
				t.Errorf("got the issuer %q, want %q", c.Issuer, row.iss)
			}
		})
	}
}

func TestAnIssuerWithoutANameAcceptsAnyIssAndNone(t *testing.T) {
	v := newVerifier(trusting(Issuer{Keys: keysOf(testKey)}))
	for name, row := range map[string]struct {
		iss  any
		want error
	}{
		"none": {nil, nil}, "empty": {"", nil}, "one": {"https://a.example.com", nil}, "a number": {1, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, v, testKey.Token(map[string]any{"iss": row.iss}), row.want)
		})
	}
}
