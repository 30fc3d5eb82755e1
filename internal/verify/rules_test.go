package verify

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestOneOfTheAudiencesMustBeOurs(t *testing.T) {
	configured := func(audience ...string) Issuer {
		return Issuer{Name: testIssuer, Keys: keysOf(testKey), Audience: audience}
	}
	anyAudience := configured()
	anyAudience.AnyAudience = true
	for name, row := range map[string]struct {
		issuer Issuer
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
			check(t, newVerifier(trusting(row.issuer)), testToken(map[string]any{"aud": row.aud}), row.want)
		})
	}
}

func TestATokenWithoutAudienceMayBeKnownByItsClient(t *testing.T) {
	cognito := Issuer{Name: testIssuer, Keys: keysOf(testKey), ClientIDs: []string{"app", "cli"}}
	both := cognito
	both.Audience = []string{"chat"}
	without := both
	without.ClientIDs = nil
	for name, row := range map[string]struct {
		issuer   Issuer
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
			token := testToken(map[string]any{"aud": row.aud, "client_id": row.clientID})
			check(t, newVerifier(trusting(row.issuer)), token, row.want)
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
			v := newVerifier(func(c *Config) { c.Issuers[0].Type = jose.MediaType(row.configured) })
			header := map[string]any{"alg": "HS256"}
			if row.typ != nil {
				header["typ"] = row.typ
			}
			claims := testClaims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
			check(t, v, testKey.Sign(mint.JSON(header), mint.JSON(claims)), row.want)
		})
	}
}

func TestTheTimesOfATokenAreJudgedToTheNanosecond(t *testing.T) {
	const (
		standard = 30 * time.Second
		strict   = 0
	)
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
				v := newVerifier(func(c *Config) {
					c.Leeway, c.Issuers[0].MaxTTL = row.leeway, row.maxTTL
				})
				check(t, v, testToken(row.claims()), row.want)
			})
		})
	}
}

func TestATokenExpiresWhileTimePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		token := testToken(map[string]any{"exp": at(3600)})
		check(t, v, token, nil)
		time.Sleep(time.Hour + 30*time.Second - 1)
		check(t, v, token, nil)
		time.Sleep(time.Nanosecond)
		check(t, v, token, expired)
	})
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
		"beyond the default":        {0, 9000, invalid},
		"two hundred roles":         {16384, 9622, nil},
		"beyond what is configured": {16384, 17000, invalid},
		"the largest":               {65536, 60000, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(func(c *Config) { c.MaxLength = row.bound })
			check(t, v, token(row.length), row.want)
		})
	}
}
