package wsauth_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestTheClaimsOfATokenAreRead(t *testing.T) {
	claims := verify(t, newAuth(t), testToken(map[string]any{
		"aud": []string{"mail", "chat"}, "jti": "7", "scope": "a b", "exp": json.Number("4102444800.25"),
		"nbf": 946684800, "iat": json.Number("9.466848e8"), "room": "tea",
	}), nil)
	if claims == nil {
		return
	}
	for name, row := range map[string]struct{ got, want any }{
		"Issuer":    {claims.Issuer, testIssuer},
		"Subject":   {claims.Subject, "alice"},
		"ID":        {claims.ID, "7"},
		"Scope":     {claims.Scope, "a b"},
		"Audience":  {claims.Audience, []string{"mail", "chat"}},
		"Expiry":    {claims.Expiry.UTC(), time.Date(2100, 1, 1, 0, 0, 0, 250e6, time.UTC)},
		"NotBefore": {claims.NotBefore.UTC(), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"IssuedAt":  {claims.IssuedAt.UTC(), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if !reflect.DeepEqual(row.got, row.want) {
			t.Errorf("%s: got %v, want %v", name, row.got, row.want)
		}
	}
}

func TestWhatATokenDoesNotSayIsZero(t *testing.T) {
	auth := newAuthOf(t, wsauth.Issuer{Keys: wsauth.HMAC(secretOf(testKey))})
	c := verify(t, auth, testKey.Token(nil), nil)
	if c == nil {
		return
	}
	if c.Issuer+c.Subject+c.ID+c.Scope != "" || c.Audience != nil || !c.NotBefore.IsZero() || !c.IssuedAt.IsZero() {
		t.Errorf("got %+v, want no claims", c)
	}
}

func TestDecodeReadsTheWholeClaimSet(t *testing.T) {
	const big = "9007199254740993" // 2^53 + 1
	c := verify(t, newAuth(t), testToken(map[string]any{
		"exp": 4102444800, "id": json.Number(big), "rate": json.Number("0.1000000000000000055511"),
		"rooms": []string{"tea", "go"}, "address": map[string]any{"zip": json.Number(big)}, "admin": false,
	}), nil)
	if c == nil {
		return
	}
	t.Run("into a struct", func(t *testing.T) {
		var v struct {
			Sub     string
			Exp     int64
			ID      int64 `json:"id"`
			Rooms   []string
			Address struct{ Zip uint64 }
			Admin   *bool
			Missing *string
		}
		if err := c.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if v.Sub != "alice" || v.Exp != 4102444800 || v.ID != 1<<53+1 || v.Address.Zip != 1<<53+1 ||
			!slices.Equal(v.Rooms, []string{"tea", "go"}) || v.Admin == nil || *v.Admin || v.Missing != nil {
			t.Errorf("got %+v, want what the token says", v)
		}
	})
	t.Run("into a map", func(t *testing.T) {
		var v map[string]any
		if err := c.Decode(&v); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"iss": testIssuer, "aud": "chat", "sub": "alice", "exp": json.Number("4102444800"), "id": json.Number(big),
			"rate": json.Number("0.1000000000000000055511"), "rooms": []any{"tea", "go"}, "admin": false,
			"address": map[string]any{"zip": json.Number(big)},
		}
		if !reflect.DeepEqual(v, want) {
			t.Errorf("got %v, want %v", v, want)
		}
	})
	t.Run("into any", func(t *testing.T) {
		var v any
		if err := c.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if m, _ := v.(map[string]any); m["id"] != json.Number(big) {
			t.Errorf("got %v, want the id %s", v, big)
		}
	})
	t.Run("into a map of texts", func(t *testing.T) {
		var v map[string]json.RawMessage
		if err := c.Decode(&v); err != nil || string(v["id"]) != big {
			t.Errorf("got %s, %v, want the id %s", v, err, big)
		}
	})
	t.Run("into a text", func(t *testing.T) {
		var v json.RawMessage
		if err := c.Decode(&v); err != nil || !json.Valid(v) || !strings.Contains(string(v), `"id":`+big) {
			t.Errorf("got %s, %v, want JSON with the id %s", v, err, big)
		}
		clear(v)
		var again struct{ Sub string }
		if err := c.Decode(&again); err != nil || again.Sub != "alice" {
			t.Errorf("after the text was changed: got %+v, %v, want alice", again, err)
		}
	})
	t.Run("and leaves defaults alone", func(t *testing.T) {
		v := struct{ Sub, Missing string }{"x", "default"}
		if err := c.Decode(&v); err != nil || v.Sub != "alice" || v.Missing != "default" {
			t.Errorf("got %+v, %v, want alice and the default", v, err)
		}
	})
}

func TestAnErrorOfDecodeNamesTheFieldAndNotTheValue(t *testing.T) {
	const private = "value-4711"
	c := verify(t, newAuth(t), testToken(map[string]any{
		"sub": private, "number": 47114711, "nested": map[string]any{"deep": private}, "list": []string{private},
	}), nil)
	if c == nil {
		return
	}
	for name, row := range map[string]struct {
		into  any
		field string // that the error must name; empty: it need not
	}{
		"a string for a number":    {&struct{ Sub int }{}, "sub"},
		"a number for a string":    {&struct{ Number string }{}, "number"},
		"a number too large":       {&struct{ Number int8 }{}, "number"},
		"a string for a bool":      {&struct{ Sub bool }{}, "sub"},
		"a string for a list":      {&struct{ Sub []string }{}, "sub"},
		"an object for a string":   {&struct{ Nested string }{}, "nested"},
		"a field within a field":   {&struct{ Nested struct{ Deep int } }{}, "nested.deep"},
		"an element of a list":     {&struct{ List []int }{}, "list"},
		"a string for a time":      {&struct{ Sub time.Time }{}, ""},
		"a number for a time":      {&struct{ Number time.Time }{}, ""},
		"a string for json.Number": {&struct{ Sub json.Number }{}, ""},
		"a string for a quoted number": {&struct {
			Sub int `json:"sub,string"`
		}{}, ""},
		"a number for a quoted one": {&struct {
			Number int `json:"number,string"`
		}{}, ""},
		"a string for bytes":      {&struct{ Sub []byte }{}, ""},
		"a map of numbers":        {&map[string]int{}, ""},
		"a map with numeric keys": {&map[int]any{}, ""},
		"a list":                  {&[]string{}, ""},
		"no pointer":              {struct{ Sub string }{}, ""},
		"nil":                     {nil, ""},
		"a nil pointer":           {(*struct{ Sub string })(nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Decode(row.into)
			if err == nil {
				t.Fatal("got no error, want one")
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
				if strings.Contains(text, private) || strings.Contains(text, "4711") {
					t.Errorf("got the value in %s, want it to be left out", text)
				}
				if !strings.HasPrefix(err.Error(), "wsauth: ") || !strings.Contains(strings.ToLower(text), row.field) {
					t.Errorf("got %s, want it to name %q", text, row.field)
				}
			}
		})
	}
}

func TestDecodeReadsClaimsThatATestHasMade(t *testing.T) {
	at := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct {
		claims wsauth.Claims
		want   map[string]any
	}{
		"all": {
			wsauth.Claims{
				Issuer: "i", Subject: "s", ID: "j", Scope: "a b", Audience: []string{"chat", "mail"},
				Expiry: at, NotBefore: at.Add(-time.Hour), IssuedAt: at.Add(-2 * time.Hour),
			},
			map[string]any{
				"iss": "i", "sub": "s", "jti": "j", "scope": "a b", "aud": []any{"chat", "mail"},
				"exp": json.Number("4102444800"), "nbf": json.Number("4102441200"), "iat": json.Number("4102437600"),
			},
		},
		"one":  {wsauth.Claims{Subject: "alice"}, map[string]any{"sub": "alice"}},
		"none": {wsauth.Claims{}, map[string]any{}},
		"text that JSON must escape": {
			wsauth.Claims{Subject: "a\"b\\c\n<ü>"}, map[string]any{"sub": "a\"b\\c\n<ü>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]any{}
			if err := row.claims.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(got, row.want, func(a, b any) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestHasScopeFindsWholeScopes(t *testing.T) {
	auth := newAuth(t)
	for name, row := range map[string]struct {
		claims map[string]any
		has    []string
		hasNot []string
	}{
		"scope": {
			map[string]any{"scope": "a b:c"}, []string{"a", "b:c"}, []string{"b", "c", "A", "", " ", "a b:c"},
		},
		"one":               {map[string]any{"scope": "read"}, []string{"read"}, []string{"rea", "ead", "readd", ""}},
		"much space":        {map[string]any{"scope": "  a   b "}, []string{"a", "b"}, []string{"", " "}},
		"a tab is no space": {map[string]any{"scope": "a\tb"}, nil, []string{"a", "b"}},
		"empty":             {map[string]any{"scope": ""}, nil, []string{"", "a"}},
		"none":              {nil, nil, []string{"", "a"}},
		"scp, a string":     {map[string]any{"scp": "a b"}, []string{"a", "b"}, []string{"", "a b"}},
		"scp, an array": {
			map[string]any{"scp": []string{"a", "b:c"}}, []string{"a", "b:c"}, []string{"", "b", "a b:c"},
		},
		"scp, an empty list": {map[string]any{"scp": []string{}}, nil, []string{"", "a"}},
		"scp, empty strings": {map[string]any{"scp": []string{"", "a", ""}}, []string{"a"}, []string{""}},
		"both":               {map[string]any{"scope": "a", "scp": []string{"b"}}, []string{"a"}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := verify(t, auth, testToken(row.claims), nil)
			if c == nil {
				return
			}
			for _, s := range row.has {
				if !c.HasScope(s) {
					t.Errorf("got no scope %q in %q, want it", s, c.Scope)
				}
			}
			for _, s := range row.hasNot {
				if c.HasScope(s) {
					t.Errorf("got a scope %q in %q, want none", s, c.Scope)
				}
			}
		})
	}
	t.Run("claims that a test has made", func(t *testing.T) {
		if c := (&wsauth.Claims{Scope: "a b"}); !c.HasScope("b") || c.HasScope("") {
			t.Errorf("got scopes %v and %v, want that of b alone", c.HasScope("b"), c.HasScope(""))
		}
	})
}

func TestScopesOfAnotherTypeAreRefused(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"scope, a number":       {"scope": 1},
		"scope, an object":      {"scope": map[string]any{"a": true}},
		"scope, mixed":          {"scope": []any{"a", 1}},
		"scope, two in one":     {"scope": []string{"a b"}},
		"scp, a number":         {"scp": 1},
		"scp, an object":        {"scp": map[string]any{"a": true}},
		"scp, mixed":            {"scp": []any{"a", 1}},
		"scp, two in one entry": {"scp": []string{"a b"}},
	} {
		t.Run(name, func(t *testing.T) { verify(t, newAuth(t), testToken(claims), invalid) })
	}
}

func TestTheClaimsAreThoseOfTheInnermostAuthenticator(t *testing.T) {
	a := newAuth(t)
	other := mint.New("HS256", "")
	b := newAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.HMAC(secretOf(other))
		o.Extractors = []wsauth.Extractor{wsauth.FromCookie("b")}
	})
	rec := new(recorder)
	serve(a.Middleware(b.Middleware(rec)), readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)+
		"\nCookie: b="+other.Token(testClaims(map[string]any{"sub": "bob"}))))
	if r := rec.only(t); r == nil {
		t.Error("got a refusal, want the request to be handed on")
	} else if c, _ := wsauth.ClaimsFromContext(r.Context()); c.Subject != "bob" {
		t.Errorf("got the claims of %s, want those of bob", c.Subject)
	}
}
