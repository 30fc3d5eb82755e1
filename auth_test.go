package wsauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestATokenOfEachAlgorithmIsAccepted(t *testing.T) {
	for _, alg := range mint.Algorithms {
		t.Run(alg, func(t *testing.T) {
			key := mint.New(alg, "k1")
			auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
				Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.KeySet(mint.SetOf(key)),
			}}})
			if err != nil {
				t.Fatal(err)
			}
			claims, err := auth.Verify(t.Context(), key.Token(map[string]any{
				"iss": "https://id.example.com/", "aud": "chat", "sub": "alice",
			}))
			if err != nil {
				t.Fatal(err)
			}
			if claims.Subject != "alice" {
				t.Errorf("Subject = %q", claims.Subject)
			}
		})
	}
}

// verify checks what becomes of a token.
func verify(t testing.TB, auth *wsauth.Authenticator, token string, want error) *wsauth.Claims {
	t.Helper()
	claims, err := auth.Verify(t.Context(), token)
	wantKind(t, err, want)
	if (claims != nil) != (err == nil) {
		t.Errorf("claims %v beside the error %v", claims, err)
	}
	return claims
}

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
			t.Errorf("%s = %v, want %v", name, row.got, row.want)
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
		t.Errorf("%+v", c)
	}
}

func TestATokenIsJudgedByItsIssuerAndNoOther(t *testing.T) {
	const nameA, nameB = "https://a.example.com/", "https://b.example.com"
	a, b := mint.New("HS256", "k1"), mint.New("HS256", "k1") // one kid, two keys
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Issuers = []wsauth.Issuer{
			{Name: nameA, Audience: []string{"chat"}, Keys: wsauth.KeySet(mint.SetOf(a))},
			{Name: nameB, Audience: []string{"mail"}, Keys: wsauth.KeySet(mint.SetOf(b))},
		}
	})
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
			c := verify(t, auth, row.key.Token(map[string]any{"iss": row.iss, "aud": row.aud}), row.want)
			if c != nil && c.Issuer != row.iss {
				t.Errorf("Issuer = %q", c.Issuer)
			}
		})
	}
}

func TestAnIssuerWithoutANameAcceptsAnyIssAndNone(t *testing.T) {
	auth := newAuthOf(t, wsauth.Issuer{Keys: wsauth.HMAC(secretOf(testKey))})
	for name, row := range map[string]struct {
		iss  any
		want error
	}{
		"none": {nil, nil}, "empty": {"", nil}, "one": {"https://a.example.com", nil}, "a number": {1, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			verify(t, auth, testKey.Token(map[string]any{"iss": row.iss}), row.want)
		})
	}
}

func TestOneOfTheAudiencesMustBeOurs(t *testing.T) {
	configured := func(audience ...string) wsauth.Issuer {
		return wsauth.Issuer{Name: testIssuer, Keys: wsauth.HMAC(secretOf(testKey)), Audience: audience}
	}
	anyAudience := configured()
	anyAudience.AnyAudience = true
	for name, row := range map[string]struct {
		issuer wsauth.Issuer
		aud    any
		want   error
	}{
		"ours":                       {configured("chat"), "chat", nil},
		"ours in an array":           {configured("chat"), []string{"chat"}, nil},
		"ours among others":          {configured("chat"), []string{"mail", "chat"}, nil},
		"the second of ours":         {configured("talk", "chat"), "chat", nil},
		"none":                       {configured("chat"), nil, invalid},
		"another":                    {configured("chat"), "mail", invalid},
		"others":                     {configured("chat"), []string{"mail", "talk"}, invalid},
		"empty":                      {configured("chat"), "", invalid},
		"an empty array":             {configured("chat"), []string{}, invalid},
		"other letters":              {configured("chat"), "Chat", invalid},
		"a prefix":                   {configured("chat"), "chat/admin", invalid},
		"several in one":             {configured("chat"), "chat mail", invalid},
		"null":                       {configured("chat"), json.RawMessage("null"), invalid},
		"a number":                   {configured("chat"), 1, invalid},
		"ours and a number":          {configured("chat"), []any{"chat", 1}, invalid},
		"ours and null":              {configured("chat"), []any{"chat", nil}, invalid},
		"ours in an array of arrays": {configured("chat"), []any{[]string{"chat"}}, invalid},
		"ours in an object":          {configured("chat"), map[string]any{"chat": "chat"}, invalid},
		"none configured: none":      {configured(), nil, nil},
		"none configured: one":       {configured(), "chat", invalid},
		"none configured: empty":     {configured(), "", invalid},
		"none configured: an array":  {configured(), []string{"chat"}, invalid},
		"any: none":                  {anyAudience, nil, nil},
		"any: one":                   {anyAudience, "mail", nil},
		"any: several":               {anyAudience, []string{"mail", "talk"}, nil},
		"any: an empty array":        {anyAudience, []string{}, nil},
		"any: a number":              {anyAudience, 1, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			verify(t, newAuthOf(t, row.issuer), testToken(map[string]any{"aud": row.aud}), row.want)
		})
	}
}

func TestATokenWithoutAudienceMayBeKnownByItsClient(t *testing.T) {
	cognito := wsauth.Issuer{Name: testIssuer, Keys: wsauth.HMAC(secretOf(testKey)), ClientIDs: []string{"app", "cli"}}
	both := cognito
	both.Audience = []string{"chat"}
	without := both
	without.ClientIDs = nil
	for name, row := range map[string]struct {
		issuer   wsauth.Issuer
		aud      any
		clientID any
		want     error
	}{
		"ours":                             {cognito, nil, "app", nil},
		"the other of ours":                {cognito, nil, "cli", nil},
		"ours, spelled with an escape":     {cognito, nil, json.RawMessage(`"\u0061pp"`), nil},
		"another":                          {cognito, nil, "mail", invalid},
		"none":                             {cognito, nil, nil, invalid},
		"empty":                            {cognito, nil, "", invalid},
		"other letters":                    {cognito, nil, "App", invalid},
		"an array":                         {cognito, nil, []string{"app"}, invalid},
		"null":                             {cognito, nil, json.RawMessage("null"), invalid},
		"ours, but for an audience":        {cognito, "app", "app", invalid},
		"both: our client":                 {both, nil, "app", nil},
		"both: our audience":               {both, "chat", nil, nil},
		"both: our audience for a client":  {both, "chat", "mail", nil},
		"both: another audience":           {both, "mail", "app", invalid},
		"both: neither":                    {both, nil, nil, invalid},
		"not configured: only a client":    {without, nil, "app", invalid},
		"not configured: the client is no": {without, nil, "chat", invalid},
	} {
		t.Run(name, func(t *testing.T) {
			verify(t, newAuthOf(t, row.issuer), testToken(map[string]any{"aud": row.aud, "client_id": row.clientID}), row.want)
		})
	}
}

func TestTheTypeOfATokenIsThatOfAnAccessToken(t *testing.T) {
	for name, row := range map[string]struct {
		configured string
		typ        any // nil: none
		want       error
	}{
		"none":                            {"", nil, nil},
		"JWT":                             {"", "JWT", nil},
		"jwt":                             {"", "jwt", nil},
		"at+jwt":                          {"", "at+jwt", nil},
		"AT+JWT":                          {"", "AT+JWT", nil},
		"application/at+jwt":              {"", "application/at+jwt", nil},
		"Application/AT+JWT":              {"", "Application/AT+JWT", nil},
		"an ID token":                     {"", "id_token+jwt", invalid},
		"a DPoP proof":                    {"", "dpop+jwt", invalid},
		"a logout token":                  {"", "logout+jwt", invalid},
		"a security event":                {"", "secevent+jwt", invalid},
		"an authorization request":        {"", "oauth-authz-req+jwt", invalid},
		"JWE":                             {"", "JWE", invalid},
		"JOSE":                            {"", "JOSE", invalid},
		"a longer type":                   {"", "at+jwt2", invalid},
		"a space":                         {"", "JWT ", invalid},
		"empty":                           {"", "", invalid},
		"null":                            {"", json.RawMessage("null"), nil},
		"a number":                        {"", 1, invalid},
		"an array":                        {"", []string{"JWT"}, invalid},
		"configured: equal":               {"at+jwt", "at+jwt", nil},
		"configured: other letters":       {"at+jwt", "AT+jwt", nil},
		"configured: with application/":   {"at+jwt", "application/at+jwt", nil},
		"configured so: without":          {"application/at+jwt", "at+jwt", nil},
		"configured in capitals":          {"AT+JWT", "at+jwt", nil},
		"configured: none":                {"at+jwt", nil, invalid},
		"configured: JWT":                 {"at+jwt", "JWT", invalid},
		"configured JWT: at+jwt":          {"JWT", "at+jwt", invalid},
		"configured JWT: none":            {"JWT", nil, invalid},
		"configured of one's own":         {"secevent+jwt", "secevent+jwt", nil},
		"configured of one's own: at+jwt": {"secevent+jwt", "at+jwt", invalid},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) { o.Issuers[0].Type = row.configured })
			header := map[string]any{"alg": "HS256"}
			if row.typ != nil {
				header["typ"] = row.typ
			}
			claims := testClaims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
			verify(t, auth, testKey.Sign(mint.JSON(header), mint.JSON(claims)), row.want)
		})
	}
}

// at is an instant, in seconds from now, as a NumericDate.
func at(seconds float64) json.Number {
	now := time.Now()
	return json.Number(fmt.Sprintf("%d.%09d", now.Add(time.Duration(seconds*1e9)).Unix(),
		now.Add(time.Duration(seconds*1e9)).Nanosecond()))
}

func TestTheTimesOfATokenAreJudgedToTheNanosecond(t *testing.T) {
	const (
		standard = 0 * time.Second
		strict   = -1 * time.Second
	)
	expired := wsauth.ErrExpired
	for name, row := range map[string]struct {
		leeway, maxTTL time.Duration
		claims         func() map[string]any
		want           error
	}{
		"30 s leeway: 29 s late": {
			standard, 0, func() map[string]any { return map[string]any{"exp": at(-29)} }, nil,
		},
		"30 s leeway: a nanosecond less than 30 s late": {
			standard, 0, func() map[string]any { return map[string]any{"exp": at(-29.999999999)} }, nil,
		},
		"30 s leeway: 30 s late": {
			standard, 0, func() map[string]any { return map[string]any{"exp": at(-30)} }, expired,
		},
		"30 s leeway: an hour late": {
			standard, 0, func() map[string]any { return map[string]any{"exp": at(-3600)} }, expired,
		},
		"30 s leeway: nbf in 30 s": {
			standard, 0, func() map[string]any { return map[string]any{"nbf": at(30)} }, nil,
		},
		"30 s leeway: nbf in a nanosecond more": {
			standard, 0, func() map[string]any { return map[string]any{"nbf": at(30.000000001)} }, invalid,
		},
		"30 s leeway: iat in 30 s": {
			standard, 0, func() map[string]any { return map[string]any{"iat": at(30)} }, nil,
		},
		"30 s leeway: iat in a nanosecond more": {
			standard, 0, func() map[string]any { return map[string]any{"iat": at(30.000000001)} }, invalid,
		},
		"2 s leeway: 1 s late": {
			2 * time.Second, 0, func() map[string]any { return map[string]any{"exp": at(-1)} }, nil,
		},
		"2 s leeway: 2 s late": {
			2 * time.Second, 0, func() map[string]any { return map[string]any{"exp": at(-2)} }, expired,
		},
		"no leeway: exp in a nanosecond": {
			strict, 0, func() map[string]any { return map[string]any{"exp": at(0.000000001)} }, nil,
		},
		"no leeway: exp now": {
			strict, 0, func() map[string]any { return map[string]any{"exp": at(0)} }, expired,
		},
		"no leeway: nbf now": {
			strict, 0, func() map[string]any { return map[string]any{"nbf": at(0)} }, nil,
		},
		"no leeway: nbf in a nanosecond": {
			strict, 0, func() map[string]any { return map[string]any{"nbf": at(0.000000001)} }, invalid,
		},
		"no leeway: iat now": {
			strict, 0, func() map[string]any { return map[string]any{"iat": at(0)} }, nil,
		},
		"no leeway: iat in a nanosecond": {
			strict, 0, func() map[string]any { return map[string]any{"iat": at(0.000000001)} }, invalid,
		},
		"iat after exp": {
			standard, 0, func() map[string]any { return map[string]any{"iat": at(10), "exp": at(9)} }, invalid,
		},
		"iat at exp": {
			standard, 0, func() map[string]any { return map[string]any{"iat": at(10), "exp": at(10)} }, nil,
		},
		"nbf after exp": {
			strict, 0, func() map[string]any { return map[string]any{"nbf": at(10), "exp": at(9)} }, invalid,
		},
		"expired and of another audience": {
			standard, 0, func() map[string]any { return map[string]any{"exp": at(-60), "aud": "mail"} }, invalid,
		},
		"no exp": {standard, 0, func() map[string]any { return map[string]any{"exp": nil} }, invalid},
		"exp 0":  {standard, 0, func() map[string]any { return map[string]any{"exp": 0} }, invalid},
		"exp 1":  {standard, 0, func() map[string]any { return map[string]any{"exp": 1} }, expired},
		"exp in milliseconds": {
			standard, 0, func() map[string]any { return map[string]any{"exp": time.Now().UnixMilli() + 1e6} }, invalid,
		},
		"the end of 9999": {
			standard, 0, func() map[string]any { return map[string]any{"exp": 253402300799} }, nil,
		},
		"MaxTTL: exactly it": {
			standard, time.Hour, func() map[string]any { return map[string]any{"exp": at(3600)} }, nil,
		},
		"MaxTTL: a nanosecond more": {
			standard, time.Hour, func() map[string]any { return map[string]any{"exp": at(3600.000000001)} }, invalid,
		},
		"MaxTTL: iat does not count": {
			standard, time.Hour, func() map[string]any { return map[string]any{"exp": at(3600), "iat": at(-99)} }, nil,
		},
		"MaxTTL: no leeway on it": {
			standard, time.Hour, func() map[string]any { return map[string]any{"exp": at(3629)} }, invalid,
		},
		"MaxTTL: expired": {
			standard, time.Hour, func() map[string]any { return map[string]any{"exp": at(-30)} }, expired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, func(o *wsauth.Options) {
					o.Leeway, o.Issuers[0].MaxTTL = row.leeway, row.maxTTL
				})
				verify(t, auth, testToken(row.claims()), row.want)
			})
		})
	}
}

func TestATokenExpiresWhileTimePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t)
		token := testToken(map[string]any{"exp": at(3600)})
		verify(t, auth, token, nil)
		time.Sleep(time.Hour + 30*time.Second - 1)
		verify(t, auth, token, nil)
		time.Sleep(time.Nanosecond)
		verify(t, auth, token, wsauth.ErrExpired)
	})
}

func TestTheKeysOfAnIssuerDecide(t *testing.T) {
	old, middle, newest := mint.New("HS256", ""), mint.New("HS256", ""), mint.New("HS256", "")
	with := func(k *mint.Key, alg, kid string) *mint.Key { return &mint.Key{Alg: alg, ID: kid, Private: k.Private} }
	rotated := wsauth.HMAC(secretOf(newest), secretOf(middle), secretOf(old))
	public := wsauth.PublicKeys{rs256.Public(), es256.Public(), ed.Public(), mint.New("RS256", "").Public()}
	mixed := wsauth.KeySet(mint.SetOf(es256, testKey))
	twoOfAKind := wsauth.KeySet(mint.SetOf(mint.New("ES256", "other"), es256))
	der, err := x509.MarshalPKIXPublicKey(rs256.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		keys       wsauth.Keys
		algorithms []string
		key        *mint.Key
		want       error
	}{
		"HMAC: the newest secret":   {rotated, nil, newest, nil},
		"HMAC: one before":          {rotated, nil, middle, nil},
		"HMAC: the oldest":          {rotated, nil, old, nil},
		"HMAC: a stranger's":        {rotated, nil, mint.New("HS256", ""), invalid},
		"HMAC: a kid is ignored":    {rotated, nil, with(old, "HS256", "whatever"), nil},
		"HMAC: HS512 with 64 bytes": {rotated, nil, with(old, "HS512", ""), nil},
		"HMAC: narrowed to it":      {rotated, []string{"HS512"}, with(old, "HS512", ""), nil},
		"HMAC: narrowed to another": {rotated, []string{"HS512"}, old, invalid},
		"HMAC: HS512 with 32 bytes": {
			wsauth.HMAC(secretOf(old)[:32]), nil, &mint.Key{Alg: "HS512", Private: secretOf(old)[:32]}, invalid,
		},
		"HMAC: HS256 with 32 bytes": {
			wsauth.HMAC(secretOf(old)[:32]), nil, &mint.Key{Alg: "HS256", Private: secretOf(old)[:32]}, nil,
		},
		"HMAC: signed with a private key":   {rotated, nil, es256, invalid},
		"public: RSA":                       {public, nil, rs256, nil},
		"public: RSA with PSS":              {public, nil, with(rs256, "PS384", ""), nil},
		"public: ECDSA":                     {public, nil, es256, nil},
		"public: Ed25519":                   {public, nil, ed, nil},
		"public: a kid is ignored":          {public, nil, with(rs256, "RS256", "whatever"), nil},
		"public: no kid":                    {public, nil, with(rs256, "RS256", ""), nil},
		"public: a stranger's":              {public, nil, mint.New("ES256", "es"), invalid},
		"public: narrowed to it":            {public, []string{"PS256"}, with(rs256, "PS256", ""), nil},
		"public: narrowed to another":       {public, []string{"PS256"}, rs256, invalid},
		"public: Ed25519 by its other name": {public, []string{"Ed25519"}, ed, nil},
		"public: the key as an HMAC secret": {public, nil, &mint.Key{Alg: "HS256", Private: der}, invalid},
		"public: its modulus as a secret": {
			public, nil, &mint.Key{Alg: "HS256", Private: rs256.Public().(*rsa.PublicKey).N.Bytes()}, invalid,
		},
		"set: a secret":                      {mixed, nil, with(testKey, "HS256", ""), nil},
		"set: a key by its kid":              {mixed, nil, es256, nil},
		"set: another kid":                   {mixed, nil, with(es256, "ES256", "rs"), invalid},
		"set: no kid, one key that fits":     {mixed, nil, with(es256, "ES256", ""), nil},
		"set: no kid, two that fit":          {twoOfAKind, nil, with(es256, "ES256", ""), nil},
		"set: two that fit, and the kid":     {twoOfAKind, nil, es256, nil},
		"set: two that fit, the other's kid": {twoOfAKind, nil, with(es256, "ES256", "other"), invalid},
		"set: narrowed to its secret":        {mixed, []string{"HS256"}, es256, invalid},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) {
				o.Issuers[0].Keys, o.Issuers[0].Algorithms = row.keys, row.algorithms
			})
			verify(t, auth, row.key.Token(testClaims(nil)), row.want)
		})
	}
}

func TestTheKeysOfPEMBlocksVerify(t *testing.T) {
	auth := newAuthOf(t, wsauth.Issuer{Name: testIssuer, Audience: []string{"chat"}, Keys: pemOf(es256, rs256, ed)})
	for _, k := range []*mint.Key{es256, rs256, ed} {
		verify(t, auth, k.Token(testClaims(nil)), nil)
		verify(t, auth, mint.New(k.Alg, k.ID).Token(testClaims(nil)), invalid)
	}
	// The confusion that public keys invite: their text as an HMAC secret.
	verify(t, auth, (&mint.Key{Alg: "HS256", Private: []byte(pemOf(rs256))}).Token(testClaims(nil)), invalid)
}

func TestAnAlgorithmOfNoneIsRefused(t *testing.T) {
	payload := mint.Base64([]byte(mint.JSON(testClaims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}))))
	for _, header := range []string{
		`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"NONE"}`, `{"alg":""}`, `{}`, `{"alg":null}`, `{"alg":["HS256"]}`,
	} {
		for _, signature := range []string{"", mint.Base64([]byte("x"))} {
			token := mint.Base64([]byte(header)) + "." + payload + "." + signature
			if c, err := newAuth(t).Verify(t.Context(), token); c != nil || kindName(err) != "ErrInvalidToken" {
				t.Errorf("%s: %v, %v", header, c, err)
			}
		}
	}
}

func TestAKeyFuncIsAskedForTheKey(t *testing.T) {
	type asked struct{ kid, alg, value string }
	type ctxKey struct{}
	hs, rs, es, e := mint.New("HS256", "h"), rs256, es256, ed
	empty := &mint.Key{Alg: "HS256", Private: secretOf(hs)}
	for name, row := range map[string]struct {
		key  any
		err  error
		sign *mint.Key
		want error
		see  asked
	}{
		"a secret":               {secretOf(hs), nil, hs, nil, asked{"h", "HS256", "v"}},
		"RSA":                    {rs.Public(), nil, rs, nil, asked{"rs", "RS256", "v"}},
		"ECDSA":                  {es.Public(), nil, es, nil, asked{"es", "ES256", "v"}},
		"Ed25519":                {e.Public(), nil, e, nil, asked{"ed", "EdDSA", "v"}},
		"no kid":                 {secretOf(hs), nil, empty, nil, asked{"", "HS256", "v"}},
		"another secret":         {secretOf(testKey), nil, hs, invalid, asked{"h", "HS256", "v"}},
		"a public key for HS256": {rs.Public(), nil, hs, invalid, asked{"h", "HS256", "v"}},
		"a secret for RS256":     {secretOf(hs), nil, rs, invalid, asked{"rs", "RS256", "v"}},
		"nil":                    {nil, nil, hs, invalid, asked{"h", "HS256", "v"}},
		"a nil []byte":           {[]byte(nil), nil, hs, invalid, asked{"h", "HS256", "v"}},
		"a nil *rsa.PublicKey":   {(*rsa.PublicKey)(nil), nil, rs, invalid, asked{"rs", "RS256", "v"}},
		"a nil Ed25519 key":      {ed25519.PublicKey(nil), nil, e, invalid, asked{"ed", "EdDSA", "v"}},
		"an error":               {nil, errOwn, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"an error and a key":     {secretOf(hs), errOwn, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"context.Canceled":       {nil, context.Canceled, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"ErrUnavailable":         {nil, wsauth.ErrUnavailable, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"ErrInvalidToken":        {nil, wsauth.ErrInvalidToken, hs, invalid, asked{"h", "HS256", "v"}},
		"ErrInvalidToken wrapped": {
			nil, fmt.Errorf("no: %w", wsauth.ErrInvalidToken), hs, invalid, asked{"h", "HS256", "v"},
		},
		"ErrRevoked":          {nil, wsauth.ErrRevoked, hs, wsauth.ErrRevoked, asked{"h", "HS256", "v"}},
		"ErrExpired":          {nil, wsauth.ErrExpired, hs, wsauth.ErrExpired, asked{"h", "HS256", "v"}},
		"a string":            {string(secretOf(hs)), nil, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"an empty secret":     {[]byte{}, nil, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"a short secret":      {[]byte(shortSecret), nil, hs, wsauth.ErrUnavailable, asked{"h", "HS256", "v"}},
		"a private key":       {rs.Private, nil, rs, wsauth.ErrUnavailable, asked{"rs", "RS256", "v"}},
		"an RSA of 1024 bits": {smallRSA(), nil, rs, wsauth.ErrUnavailable, asked{"rs", "RS256", "v"}},
	} {
		t.Run(name, func(t *testing.T) {
			var see []asked
			auth := newAuth(t, func(o *wsauth.Options) {
				o.Issuers[0].Keys = wsauth.KeyFunc(func(ctx context.Context, kid, alg string) (any, error) {
					value, _ := ctx.Value(ctxKey{}).(string)
					see = append(see, asked{kid, alg, value})
					return row.key, row.err
				})
			})
			r := readRequest(t, "GET /\nAuthorization: Bearer "+row.sign.Token(testClaims(nil)))
			_, err := auth.Authenticate(r.WithContext(context.WithValue(r.Context(), ctxKey{}, "v")))
			wantKind(t, err, row.want)
			if !slices.Equal(see, []asked{row.see}) {
				t.Errorf("asked for %+v, want %+v", see, row.see)
			}
		})
	}
}

func TestAKeyFuncIsNotAskedForATokenThatIsRefusedAnyway(t *testing.T) {
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Algorithms = []string{"ES256"}
		o.Issuers[0].Keys = wsauth.KeyFunc(func(_ context.Context, kid, alg string) (any, error) {
			t.Errorf("asked for %q, %q", kid, alg)
			return nil, nil
		})
	})
	claims := testClaims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
	for name, token := range map[string]string{
		"rubbish":           "a.b.c",
		"another issuer":    es256.Token(map[string]any{"iss": "https://evil.example.com/"}),
		"another algorithm": rs256.Token(claims),
		"another type":      es256.Sign(`{"alg":"ES256","typ":"dpop+jwt"}`, mint.JSON(claims)),
		"no exp":            es256.Token(testClaims(map[string]any{"exp": nil})),
	} {
		t.Run(name, func(t *testing.T) { verify(t, auth, token, invalid) })
	}
}

// provider is an OpenID provider with one key, on loopback.
func provider(t *testing.T, key *mint.Key, up *atomic.Bool) string {
	var url string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !up.Load():
			http.Error(w, "down", http.StatusInternalServerError)
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, url, url+"/keys")
		case r.URL.Path == "/keys":
			w.Write(mint.SetOf(key))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	url = srv.URL
	return url
}

func TestKeysAreFoundByDiscovery(t *testing.T) {
	up := new(atomic.Bool)
	up.Store(true)
	name := provider(t, es256, up)
	auth := newAuthOf(t, wsauth.Issuer{Name: name, Audience: []string{"chat"}, Keys: wsauth.JWKS{}})
	verify(t, auth, es256.Token(testClaims(map[string]any{"iss": name})), nil)
	up.Store(false)
	verify(t, auth, es256.Token(testClaims(map[string]any{"iss": name})), nil)
	verify(t, auth, mint.New("ES256", "es").Token(testClaims(map[string]any{"iss": name})), invalid)
}

func TestAnOutageIsNotABadToken(t *testing.T) {
	name := provider(t, es256, new(atomic.Bool))
	auth := newAuthOf(t, wsauth.Issuer{Name: name, Audience: []string{"chat"}, Keys: wsauth.JWKS{}})
	token := es256.Token(testClaims(map[string]any{"iss": name}))
	rec := new(recorder)
	for how, h := range map[string]http.Handler{"Middleware": auth.Middleware(rec), "Optional": auth.Optional(rec)} {
		w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+token))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %v", how, w.Code, w.Header())
		}
	}
	if len(rec.requests) > 0 {
		t.Error("a request was handed on")
	}
	verify(t, auth, "a.b.c", invalid)
}

func TestReadySaysWhichIssuersKeysAreNotToBeHad(t *testing.T) {
	up, down := new(atomic.Bool), new(atomic.Bool)
	up.Store(true)
	good, bad := provider(t, es256, up), provider(t, es256, down)
	remote := func(name string) wsauth.Issuer {
		return wsauth.Issuer{Name: name, Audience: []string{"chat"}, Keys: wsauth.JWKS{}}
	}
	static := wsauth.Issuer{Name: "static", Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey))}
	for name, row := range map[string]struct {
		issuers []wsauth.Issuer
		named   []string // in the error; none: ready
	}{
		"keys of its own":       {[]wsauth.Issuer{static}, nil},
		"keys to be had":        {[]wsauth.Issuer{static, remote(good)}, nil},
		"keys not to be had":    {[]wsauth.Issuer{remote(bad)}, []string{bad}},
		"some of them":          {[]wsauth.Issuer{remote(good), remote(bad), static}, []string{bad}},
		"none of them, of many": {[]wsauth.Issuer{remote(bad), remote(bad + "/b")}, []string{bad + ":", bad + "/b:"}},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) { o.Issuers = row.issuers })
			err := auth.Ready(t.Context())
			if len(row.named) == 0 {
				wantKind(t, err, nil)
				return
			}
			wantKind(t, err, wsauth.ErrUnavailable)
			for _, want := range row.named {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
			if strings.Contains(err.Error(), good) {
				t.Errorf("%q names an issuer whose keys are to be had", err)
			}
		})
	}
}

func TestReadyFetchesTheKeysThatRequestsNeed(t *testing.T) {
	up := new(atomic.Bool)
	up.Store(true)
	name := provider(t, es256, up)
	auth := newAuthOf(t, wsauth.Issuer{Name: name, Audience: []string{"chat"}, Keys: wsauth.JWKS{}})
	wantKind(t, auth.Ready(t.Context()), nil)
	up.Store(false)
	verify(t, auth, es256.Token(testClaims(map[string]any{"iss": name})), nil)
	wantKind(t, auth.Ready(t.Context()), nil)
}

func TestWhatIsShutDownOrWasNeverMadeIsNotReady(t *testing.T) {
	wantKind(t, new(wsauth.Authenticator).Ready(t.Context()), wsauth.ErrUnavailable)
	auth := newAuth(t)
	wantKind(t, auth.Ready(t.Context()), nil)
	if err := auth.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, auth.Ready(t.Context()), wsauth.ErrUnavailable)
}

func TestAnAuthenticatorIsSafeForConcurrentUse(t *testing.T) {
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.HMAC(secretOf(mint.New("HS256", "")), secretOf(testKey))
	})
	h := auth.Middleware(wsauth.RequireScopes("a")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := wsauth.ClaimsFromContext(r.Context())
		fmt.Fprint(w, c.Subject)
	})))
	var wg sync.WaitGroup
	for i := range 8 {
		subject := fmt.Sprint("subject ", i)
		token := testToken(map[string]any{"sub": subject, "scope": "a"})
		wg.Go(func() {
			for range 50 {
				w := serve(h, readRequest(t, "GET /ws?access_token="+token+"\nHANDSHAKE"))
				if w.Code != 200 || w.Body.String() != subject {
					t.Errorf("%d %q, want %q", w.Code, w.Body, subject)
				}
			}
		})
	}
	wg.Wait()
}

func TestOptionalLetsOnlyRequestsWithoutATokenThrough(t *testing.T) {
	auth := newAuth(t)
	for name, row := range map[string]struct {
		request string
		status  int
		claims  bool
	}{
		"no token":         {noTokenAt, 204, false},
		"Basic":            {"GET /\nAuthorization: Basic dTpw", 204, false},
		"an empty cookie":  {"GET /\nCookie: access_token=", 204, false},
		"a good token":     {"GET /\nAuthorization: Bearer " + testToken(nil), 204, true},
		"a bad token":      {"GET /\nAuthorization: Bearer x", 401, false},
		"an expired token": {"GET /\nAuthorization: Bearer " + testToken(map[string]any{"exp": 1}), 401, false},
		"a malformed one":  {"GET /\nAuthorization: Bearer", 400, false},
		"a stray query":    {"GET /?access_token=" + testToken(nil), 400, false},
		"a foreign cookie": {handshake + "Cookie: access_token=" + testToken(nil), 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			rec := new(recorder)
			w := serve(auth.Optional(rec), readRequest(t, row.request))
			r := rec.only(t)
			if w.Code != row.status || (r != nil) != (row.status == 204) {
				t.Fatalf("status %d, handed on: %t", w.Code, r != nil)
			}
			if r == nil {
				return
			}
			if c, ok := wsauth.ClaimsFromContext(r.Context()); ok != row.claims || (c != nil) != ok {
				t.Errorf("claims %v, %t", c, ok)
			}
		})
	}
}

func TestOptionalLetsNoOutageThroughWhateverItsCause(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) {
				o.Issuers[0].Keys = wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
					return nil, fmt.Errorf("the vault: %w", k.err)
				})
			})
			rec := new(recorder)
			w := serve(auth.Optional(rec), readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			want := 503
			if errors.Is(k.err, wsauth.ErrInvalidToken) {
				want = 401
			}
			if w.Code != want || len(rec.requests) > 0 {
				t.Errorf("status %d, want %d; handed on: %t", w.Code, want, len(rec.requests) > 0)
			}
		})
	}
}

func TestRequireDecidesByTheErrorOfItsCheck(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want error // the kind
	}{
		"none":                  {nil, nil},
		"one's own":             {errOwn, wsauth.ErrForbidden},
		"context.Canceled":      {context.Canceled, wsauth.ErrForbidden},
		"ErrForbidden":          {wsauth.ErrForbidden, wsauth.ErrForbidden},
		"ErrRevoked":            {wsauth.ErrRevoked, wsauth.ErrRevoked},
		"ErrRevoked wrapped":    {fmt.Errorf("%w: %w", errOwn, wsauth.ErrRevoked), wsauth.ErrRevoked},
		"ErrExpired":            {wsauth.ErrExpired, wsauth.ErrExpired},
		"ErrInvalidToken":       {wsauth.ErrInvalidToken, wsauth.ErrInvalidToken},
		"ErrUnavailable":        {wsauth.ErrUnavailable, wsauth.ErrUnavailable},
		"ErrUnavailable joined": {errors.Join(errOwn, wsauth.ErrUnavailable), wsauth.ErrUnavailable},

		// Of the rest, a check cannot say more than that it refuses.
		"ErrNoToken":          {fmt.Errorf("%w", wsauth.ErrNoToken), wsauth.ErrForbidden},
		"ErrMalformedRequest": {fmt.Errorf("%w", wsauth.ErrMalformedRequest), wsauth.ErrForbidden},
		"ErrOrigin":           {fmt.Errorf("%w", wsauth.ErrOrigin), wsauth.ErrForbidden},
		"ErrTooMany":          {fmt.Errorf("%w", wsauth.ErrTooMany), wsauth.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var seen error
			var auth *wsauth.Authenticator
			auth = newAuth(t, func(o *wsauth.Options) {
				o.OnRefuse = func(w http.ResponseWriter, r *http.Request, err error) {
					seen = err
					auth.Refuse(w, r, err)
				}
			})
			rec := new(recorder)
			h := auth.Middleware(wsauth.Require(func(ctx context.Context, c *wsauth.Claims) error {
				if inContext, _ := wsauth.ClaimsFromContext(ctx); c.Subject != "alice" || inContext != c {
					t.Errorf("the check sees %+v, and its context has %+v", c, inContext)
				}
				return row.err
			})(rec))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			if w.Code != statusOf(row.want) {
				t.Errorf("status %d, want %d", w.Code, statusOf(row.want))
			}
			if (rec.only(t) != nil) != (row.err == nil) {
				t.Errorf("handed on: %t", row.err != nil)
			}
			if row.err != nil && (!errors.Is(seen, row.want) || !errors.Is(seen, row.err)) {
				t.Errorf("OnRefuse sees %v, want %v and %v", seen, row.want, row.err)
			}
			if row.err == nil && seen != nil {
				t.Errorf("OnRefuse sees %v", seen)
			}
		})
	}
}

func TestRequireRefusesWhereThereAreNoClaims(t *testing.T) {
	refusedBy := ""
	auth := newAuth(t, func(o *wsauth.Options) {
		o.OnRefuse = func(w http.ResponseWriter, _ *http.Request, err error) {
			refusedBy = "OnRefuse: " + kindName(err)
			w.WriteHeader(401)
		}
	})
	require := wsauth.Require(func(context.Context, *wsauth.Claims) error {
		t.Error("the check is called")
		return nil
	})
	for name, row := range map[string]struct {
		handler   func(http.Handler) http.Handler
		ctx       func(context.Context) context.Context
		refusedBy string
	}{
		"outside":         {require, nil, ""},
		"outside, scopes": {wsauth.RequireScopes("a"), nil, ""},
		"around Middleware": {
			func(h http.Handler) http.Handler { return require(auth.Middleware(h)) }, nil, "",
		},
		"behind Optional": {
			func(h http.Handler) http.Handler { return auth.Optional(require(h)) }, nil, "OnRefuse: ErrNoToken",
		},
		"behind Optional, with claims nobody verified": {
			func(h http.Handler) http.Handler { return auth.Optional(require(h)) },
			func(ctx context.Context) context.Context {
				return wsauth.ContextWithClaims(ctx, &wsauth.Claims{Subject: "mallory"})
			}, "OnRefuse: ErrNoToken",
		},
		"with nil claims": {require, func(ctx context.Context) context.Context {
			return wsauth.ContextWithClaims(ctx, nil)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			refusedBy = ""
			rec := new(recorder)
			r := readRequest(t, noTokenAt)
			if row.ctx != nil {
				r = r.WithContext(row.ctx(r.Context()))
			}
			w := serve(row.handler(rec), r)
			if w.Code != 401 || len(rec.requests) > 0 || refusedBy != row.refusedBy {
				t.Errorf("status %d, handed on: %t, refused by %q", w.Code, len(rec.requests) > 0, refusedBy)
			}
			if want := `Bearer realm="wsauth"`; row.refusedBy == "" && w.Header().Get("WWW-Authenticate") != want {
				t.Errorf("WWW-Authenticate = %q, want %q", w.Header().Get("WWW-Authenticate"), want)
			}
		})
	}
}

func TestRequireScopesNeedsAllOfThem(t *testing.T) {
	auth := newAuth(t)
	for name, row := range map[string]struct {
		claims map[string]any
		needed []string
		status int
	}{
		"the one":                 {map[string]any{"scope": "a"}, []string{"a"}, 204},
		"among others":            {map[string]any{"scope": "x a y"}, []string{"a"}, 204},
		"both":                    {map[string]any{"scope": "b x a"}, []string{"a", "b"}, 204},
		"scp as a string":         {map[string]any{"scp": "a b"}, []string{"a", "b"}, 204},
		"scp as an array":         {map[string]any{"scp": []string{"a", "b"}}, []string{"a", "b"}, 204},
		"one of two":              {map[string]any{"scope": "a"}, []string{"a", "b"}, 403},
		"a prefix":                {map[string]any{"scope": "admin:read"}, []string{"admin"}, 403},
		"a longer one":            {map[string]any{"scope": "admin"}, []string{"admin:read"}, 403},
		"other letters":           {map[string]any{"scope": "Admin"}, []string{"admin"}, 403},
		"none":                    {nil, []string{"a"}, 403},
		"empty":                   {map[string]any{"scope": ""}, []string{"a"}, 403},
		"scope counts before scp": {map[string]any{"scope": "x", "scp": "a"}, []string{"a"}, 403},
		"an empty scope, and scp": {map[string]any{"scope": "", "scp": "a"}, []string{"a"}, 403},
		"scope as an array":       {map[string]any{"scope": []string{"a"}}, []string{"a"}, 204},
		"a comma between":         {map[string]any{"scope": "a,b"}, []string{"a"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			h := auth.Middleware(wsauth.RequireScopes(row.needed...)(new(recorder)))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(row.claims)))
			if w.Code != row.status {
				t.Errorf("status %d, want %d", w.Code, row.status)
			}
		})
	}
}

func TestSeveralRequiresAllDecide(t *testing.T) {
	auth := newAuth(t)
	var order []string
	named := func(name string, err error) func(http.Handler) http.Handler {
		return wsauth.Require(func(context.Context, *wsauth.Claims) error {
			order = append(order, name)
			return err
		})
	}
	for name, row := range map[string]struct {
		outer, inner error
		order        []string
		status       int
	}{
		"both pass":   {nil, nil, []string{"outer", "inner"}, 204},
		"the outer":   {errOwn, nil, []string{"outer"}, 403},
		"the inner":   {nil, wsauth.ErrUnavailable, []string{"outer", "inner"}, 503},
		"both refuse": {wsauth.ErrRevoked, errOwn, []string{"outer"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			order = nil
			h := auth.Middleware(named("outer", row.outer)(named("inner", row.inner)(new(recorder))))
			w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(nil)))
			if w.Code != row.status || !slices.Equal(order, row.order) {
				t.Errorf("status %d, checks %q", w.Code, order)
			}
		})
	}
}

func TestAMistakeAtSetUpPanics(t *testing.T) {
	auth := newAuth(t)
	pass := func(context.Context, *wsauth.Claims) error { return nil }
	for name, f := range map[string]func(){
		"Middleware of nil":                 func() { auth.Middleware(nil) },
		"Optional of nil":                   func() { auth.Optional(nil) },
		"Require without a check":           func() { wsauth.Require(nil) },
		"Require of nil":                    func() { wsauth.Require(pass)(nil) },
		"RequireScopes without scopes":      func() { wsauth.RequireScopes() },
		"RequireScopes with an empty scope": func() { wsauth.RequireScopes("a", "") },
		"RequireScopes with a space":        func() { wsauth.RequireScopes("a b") },
		"RequireScopes with a quote":        func() { wsauth.RequireScopes(`a"b`) },
		"RequireScopes with a backslash":    func() { wsauth.RequireScopes(`a\b`) },
		"RequireScopes with a line break":   func() { wsauth.RequireScopes("a\n") },
		"RequireScopes beyond ASCII":        func() { wsauth.RequireScopes("ä") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "wsauth: ") {
					t.Errorf("no panic with a reason: %q", text)
				}
			}()
			f()
		})
	}
}

func TestContextWithClaimsIsForHandlersAndRequire(t *testing.T) {
	made := &wsauth.Claims{Subject: "mallory", Scope: "a"}
	ctx := wsauth.ContextWithClaims(t.Context(), made)
	if c, ok := wsauth.ClaimsFromContext(ctx); c != made || !ok {
		t.Errorf("ClaimsFromContext = %v, %t", c, ok)
	}
	if c, ok := wsauth.ClaimsFromContext(t.Context()); c != nil || ok {
		t.Errorf("ClaimsFromContext of a bare context = %v, %t", c, ok)
	}
	if c, ok := wsauth.ClaimsFromContext(wsauth.ContextWithClaims(ctx, nil)); c != nil || ok {
		t.Errorf("ClaimsFromContext of nil claims = %v, %t", c, ok)
	}
	request := func(text string) *http.Request { return readRequest(t, text).WithContext(ctx) }

	if w := serve(wsauth.RequireScopes("a")(new(recorder)), request(noTokenAt)); w.Code != 204 {
		t.Errorf("RequireScopes: status %d", w.Code)
	}
	if w := serve(wsauth.RequireScopes("b")(new(recorder)), request(noTokenAt)); w.Code != 403 {
		t.Errorf("RequireScopes of another: status %d", w.Code)
	}
	auth := newAuth(t)
	if w := serve(auth.Middleware(new(recorder)), request(noTokenAt)); w.Code != 401 {
		t.Errorf("Middleware: status %d", w.Code)
	}
	if _, err := auth.Authenticate(request(noTokenAt)); kindName(err) != "ErrNoToken" {
		t.Errorf("Authenticate: %v", err)
	}
	rec := new(recorder)
	serve(auth.Middleware(rec), request("GET /\nAuthorization: Bearer "+testToken(nil)))
	if c, _ := wsauth.ClaimsFromContext(rec.only(t).Context()); c == nil || c.Subject != "alice" {
		t.Errorf("behind Middleware: %+v", c)
	}
}

// counting is an Authenticator that counts the tokens it verifies.
func counting(t testing.TB) (*wsauth.Authenticator, *atomic.Int32) {
	n := new(atomic.Int32)
	return newAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
			n.Add(1)
			return secretOf(testKey), nil
		})
	}), n
}

func TestAnAuthenticatorVerifiesARequestOnce(t *testing.T) {
	a, ofA := counting(t)
	b, ofB := counting(t)
	authenticate := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r, err := a.Authenticate(r)
			if err != nil {
				a.Refuse(w, r, err)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	header := "GET /\nAuthorization: Bearer " + testToken(nil)
	query := "GET /?access_token=" + testToken(nil) + "\nHANDSHAKE"
	for name, row := range map[string]struct {
		layers   []func(http.Handler) http.Handler // the outermost first
		request  string
		inA, inB int32
		status   int
	}{
		"the same twice":           {layers(a.Middleware, a.Middleware), header, 1, 0, 204},
		"the same, a query token":  {layers(a.Middleware, a.Middleware), query, 1, 0, 204},
		"Optional outside":         {layers(a.Optional, a.Middleware), query, 1, 0, 204},
		"Optional inside":          {layers(a.Middleware, a.Optional), query, 1, 0, 204},
		"Authenticate outside":     {layers(authenticate, a.Middleware), query, 1, 0, 204},
		"Authenticate inside":      {layers(a.Middleware, authenticate), query, 1, 0, 204},
		"a Require between":        {layers(a.Middleware, wsauth.Require(pass), a.Middleware), query, 1, 0, 204},
		"Optional, no token":       {layers(a.Optional, a.Middleware), noTokenAt, 0, 0, 401},
		"another":                  {layers(a.Middleware, b.Middleware), header, 1, 1, 204},
		"another, a query token":   {layers(a.Middleware, b.Middleware), query, 1, 0, 401},
		"another, Optional, query": {layers(a.Middleware, b.Optional), query, 1, 0, 204},
		"another between":          {layers(a.Middleware, b.Middleware, a.Middleware), header, 2, 1, 204},
	} {
		t.Run(name, func(t *testing.T) {
			ofA.Store(0)
			ofB.Store(0)
			var h http.Handler = new(recorder)
			for _, layer := range slices.Backward(row.layers) {
				h = layer(h)
			}
			w := serve(h, readRequest(t, row.request))
			if w.Code != row.status || ofA.Load() != row.inA || ofB.Load() != row.inB {
				t.Errorf("status %d, verified %d and %d times", w.Code, ofA.Load(), ofB.Load())
			}
		})
	}
}

func layers(l ...func(http.Handler) http.Handler) []func(http.Handler) http.Handler { return l }

func pass(context.Context, *wsauth.Claims) error { return nil }

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
		t.Error("refused")
	} else if c, _ := wsauth.ClaimsFromContext(r.Context()); c.Subject != "bob" {
		t.Errorf("the claims of %s", c.Subject)
	}
}

func TestWhatTheOuterMiddlewareVerifiedCanExpireBeforeTheInner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t)
		rec := new(recorder)
		h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(90*time.Second - 1) // a minute, and the leeway
			auth.Middleware(rec).ServeHTTP(w, r)
			time.Sleep(time.Nanosecond)
			_, err := auth.Authenticate(r)
			wantKind(t, err, wsauth.ErrExpired)
		}))
		serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+testToken(map[string]any{"exp": at(60)})))
		if rec.only(t) == nil {
			t.Error("refused before its end")
		}
	})
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
			t.Errorf("%+v", v)
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
			t.Errorf("%v, want %v", v, want)
		}
	})
	t.Run("into any", func(t *testing.T) {
		var v any
		if err := c.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if m, _ := v.(map[string]any); m["id"] != json.Number(big) {
			t.Errorf("%v", v)
		}
	})
	t.Run("into a map of texts", func(t *testing.T) {
		var v map[string]json.RawMessage
		if err := c.Decode(&v); err != nil || string(v["id"]) != big {
			t.Errorf("%s, %v", v, err)
		}
	})
	t.Run("into a text", func(t *testing.T) {
		var v json.RawMessage
		if err := c.Decode(&v); err != nil || !json.Valid(v) || !strings.Contains(string(v), `"id":`+big) {
			t.Errorf("%s, %v", v, err)
		}
		clear(v)
		var again struct{ Sub string }
		if err := c.Decode(&again); err != nil || again.Sub != "alice" {
			t.Errorf("after the text was changed: %+v, %v", again, err)
		}
	})
	t.Run("and leaves defaults alone", func(t *testing.T) {
		v := struct{ Sub, Missing string }{"x", "default"}
		if err := c.Decode(&v); err != nil || v.Sub != "alice" || v.Missing != "default" {
			t.Errorf("%+v, %v", v, err)
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
				t.Fatal("no error")
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
				if strings.Contains(text, private) || strings.Contains(text, "4711") {
					t.Errorf("the value is in %s", text)
				}
				if !strings.HasPrefix(err.Error(), "wsauth: ") || !strings.Contains(strings.ToLower(text), row.field) {
					t.Errorf("%q is not in %s", row.field, text)
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
				t.Errorf("%v, want %v", got, row.want)
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
					t.Errorf("no scope %q in %q", s, c.Scope)
				}
			}
			for _, s := range row.hasNot {
				if c.HasScope(s) {
					t.Errorf("a scope %q in %q", s, c.Scope)
				}
			}
		})
	}
	t.Run("claims that a test has made", func(t *testing.T) {
		if c := (&wsauth.Claims{Scope: "a b"}); !c.HasScope("b") || c.HasScope("") {
			t.Error("HasScope")
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

func TestATokenMayBeAsLongAsMaxTokenLength(t *testing.T) {
	token := func(length int) string {
		text := ""
		for pad := length * 3 / 4; len(text) < length; pad += 1 + (length-len(text))/2 {
			text = testToken(map[string]any{"pad": strings.Repeat("a", max(0, pad-300))})
		}
		return text
	}
	for name, row := range map[string]struct {
		bound, length int
		want          error
	}{
		"the default":               {0, 7000, nil},
		"beyond the default":        {0, 9000, wsauth.ErrInvalidToken},
		"two hundred roles":         {16384, 9622, nil},
		"beyond what is configured": {16384, 17000, wsauth.ErrInvalidToken},
		"the largest":               {65536, 60000, nil},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) { o.MaxTokenLength = row.bound })
			verify(t, auth, token(row.length), row.want)
		})
	}
}
