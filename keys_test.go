package wsauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
	"github.com/wsauth/wsauth/wsauthtest"
)

func TestATokenOfEachAlgorithmIsAccepted(t *testing.T) {
	for _, alg := range mint.Algorithms {
		t.Run(alg, func(t *testing.T) {
			key := mint.New(alg, "k1")
			auth := newAuth(t, func(o *wsauth.Options) { o.Issuers[0].Keys = wsauth.KeySet(mint.SetOf(key)) })
			claims, err := auth.Verify(t.Context(), key.Token(testClaims()))
			if err != nil {
				t.Fatal(err)
			}
			if claims.Subject != "alice" {
				t.Errorf("got the subject %q, want alice", claims.Subject)
			}
		})
	}
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
				t.Errorf("%s: got %v, %v, want ErrInvalidToken", header, c, err)
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
				t.Errorf("got asked for %+v, want %+v", see, row.see)
			}
		})
	}
}

func TestAKeyFuncIsNotAskedForATokenThatIsRefusedAnyway(t *testing.T) {
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Issuers[0].Algorithms = []string{"ES256"}
		o.Issuers[0].Keys = wsauth.KeyFunc(func(_ context.Context, kid, alg string) (any, error) {
			t.Errorf("got asked for %q, %q, want not to be asked", kid, alg)
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

func TestAKeyFuncIsAskedForEachTokenAgain(t *testing.T) {
	asked := 0
	var answer error
	auth := newAuth(t, remembering, askedBy(func() error { asked++; return answer }))
	token := testToken(nil)
	for range 3 {
		verify(t, auth, token, nil)
	}
	answer = wsauth.ErrRevoked
	verify(t, auth, token, wsauth.ErrRevoked)
	if asked != 4 {
		t.Errorf("got asked %d times, want 4", asked)
	}
}

func TestKeysAreFoundByDiscovery(t *testing.T) {
	id := wsauthtest.NewIssuer(t)
	auth := newAuthOf(t, id.Config())
	verify(t, auth, id.Token(), nil)
	id.Fail(http.StatusInternalServerError)
	verify(t, auth, id.Token(), nil)
	verify(t, auth, id.Forged(), invalid)
}

func TestAnOutageIsNotABadToken(t *testing.T) {
	id := wsauthtest.NewIssuer(t)
	id.Fail(http.StatusInternalServerError)
	auth, token := newAuthOf(t, id.Config()), id.Token()
	rec := new(recorder)
	for how, h := range map[string]http.Handler{"Middleware": auth.Middleware(rec), "Optional": auth.Optional(rec)} {
		w := serve(h, readRequest(t, "GET /\nAuthorization: Bearer "+token))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: got %d and the header %v, want 503 with Retry-After and no challenge", how, w.Code, w.Header())
		}
	}
	if len(rec.requests) > 0 {
		t.Error("got a request handed on, want none")
	}
	verify(t, auth, "a.b.c", invalid)
}

func TestReadySaysWhichIssuersKeysAreNotToBeHad(t *testing.T) {
	up, down, alsoDown := wsauthtest.NewIssuer(t), wsauthtest.NewIssuer(t), wsauthtest.NewIssuer(t)
	down.Fail(http.StatusInternalServerError)
	alsoDown.Fail(http.StatusInternalServerError)
	good, bad, alsoBad := up.Config(), down.Config(), alsoDown.Config()
	static := wsauth.Issuer{Name: "static", Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey))}
	for name, row := range map[string]struct {
		issuers []wsauth.Issuer
		named   []string // in the error; none: ready
	}{
		"keys of its own":       {[]wsauth.Issuer{static}, nil},
		"keys to be had":        {[]wsauth.Issuer{static, good}, nil},
		"keys not to be had":    {[]wsauth.Issuer{bad}, []string{bad.Name}},
		"some of them":          {[]wsauth.Issuer{good, bad, static}, []string{bad.Name}},
		"none of them, of many": {[]wsauth.Issuer{bad, alsoBad}, []string{bad.Name + ":", alsoBad.Name + ":"}},
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
					t.Errorf("got %q, want it to name %s", err, want)
				}
			}
			if strings.Contains(err.Error(), good.Name) {
				t.Errorf("got %q, want no issuer named whose keys are to be had", err)
			}
		})
	}
}

func TestReadyFetchesTheKeysThatRequestsNeed(t *testing.T) {
	id := wsauthtest.NewIssuer(t)
	auth := newAuthOf(t, id.Config())
	wantKind(t, auth.Ready(t.Context()), nil)
	id.Fail(http.StatusInternalServerError)
	verify(t, auth, id.Token(), nil)
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
