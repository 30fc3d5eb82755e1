package wsauthtest_test

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// A spy is a test that may fail, and has to.
type spy struct {
	testing.TB
	said string
}

func (s *spy) Errorf(format string, args ...any) { s.said += fmt.Sprintf(format, args...) }
func (s *spy) Fatalf(format string, args ...any) { s.Errorf(format, args...); runtime.Goexit() }
func (s *spy) Fatal(args ...any)                 { s.said += fmt.Sprint(args...); runtime.Goexit() }

// wantFailure checks that f fails its test and says all of want.
func wantFailure(t *testing.T, f func(testing.TB), want ...string) {
	t.Helper()
	s := &spy{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(s)
	}()
	<-done
	if s.said == "" {
		t.Error("it did not fail")
	}
	for _, w := range want {
		if !strings.Contains(s.said, w) {
			t.Errorf("%q does not say %q", s.said, w)
		}
	}
}

// wantVerified checks that auth accepts the token (nil), or what it refuses it with.
func wantVerified(t *testing.T, auth *wsauth.Authenticator, token string, want error) {
	t.Helper()
	if _, err := auth.Verify(t.Context(), token); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// decode returns header and claims without a look at the signature.
func decode(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	for i, to := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err := errors.Join(err, json.Unmarshal(text, to)); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

var issuers = map[string]func(testing.TB) *wsauthtest.Issuer{
	"with a server": func(t testing.TB) *wsauthtest.Issuer { return wsauthtest.NewIssuer(t) },
	"HMAC":          wsauthtest.NewHMACIssuer,
}

func TestATokenHasWhatItNeedsAndWhatIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // for its clock
		issuer := wsauthtest.NewHMACIssuer(t)
		now := time.Now()
		seconds := func(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
		for name, row := range map[string]struct {
			claims []wsauthtest.Claims
			want   map[string]any // beside what every token has; nil: not there
		}{
			"nothing":          {nil, nil},
			"no claims":        {[]wsauthtest.Claims{nil}, nil},
			"another subject":  {[]wsauthtest.Claims{{"sub": "bob"}}, map[string]any{"sub": "bob"}},
			"one of one's own": {[]wsauthtest.Claims{{"rooms": []string{"lobby"}}}, map[string]any{"rooms": []any{"lobby"}}},
			"one taken out":    {[]wsauthtest.Claims{{"aud": nil}}, map[string]any{"aud": nil}},
			"iat taken out":    {[]wsauthtest.Claims{{"iat": nil}}, map[string]any{"iat": nil}},
			"exp taken out":    {[]wsauthtest.Claims{{"exp": nil}}, map[string]any{"exp": nil}},
			"an end": {[]wsauthtest.Claims{{"exp": now.Add(time.Minute)}},
				map[string]any{"exp": seconds(now.Add(time.Minute))}},
			"an end that is not a whole second": {[]wsauthtest.Claims{{"exp": now.Add(1500 * time.Millisecond)}},
				map[string]any{"exp": seconds(now.Add(1500 * time.Millisecond))}},
			"an end that was, and an iat that is not after it": {[]wsauthtest.Claims{{"exp": now.Add(-time.Minute).Unix()}},
				map[string]any{"exp": seconds(now.Add(-time.Minute)), "iat": seconds(now.Add(-time.Minute))}},
			"an end that is no number": {[]wsauthtest.Claims{{"exp": "soon"}}, map[string]any{"exp": "soon"}},
			"several, in their order": {[]wsauthtest.Claims{{"sub": "bob", "scope": "read"}, {"sub": "carol"}},
				map[string]any{"sub": "carol", "scope": "read"}},
		} {
			want := map[string]any{"iss": "https://id.example.com/", "aud": "test", "sub": "alice",
				"iat": seconds(now), "exp": seconds(now.Add(time.Hour))}
			maps.Copy(want, row.want)
			maps.DeleteFunc(want, func(_ string, v any) bool { return v == nil })
			_, got := decode(t, issuer.Token(row.claims...))
			if id, _ := got["jti"].(string); len(id) < 20 {
				t.Errorf("%s: jti = %v", name, got["jti"])
			}
			delete(got, "jti")
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s:\ngot  %v\nwant %v", name, got, want)
			}
		}
	})
}

func TestGoodTokensAreAcceptedAndBadOnesAreNot(t *testing.T) {
	for name, issuer := range issuers {
		t.Run(name, func(t *testing.T) {
			issuer := issuer(t)
			auth := issuer.Authenticator()
			bob := wsauthtest.Claims{"sub": "bob"}
			for _, row := range []struct {
				name  string
				token string
				want  error
			}{
				{"by default", issuer.Token(), nil},
				{"bob's", issuer.Token(bob), nil},
				{"expired", issuer.Expired(), wsauth.ErrExpired},
				{"expired, bob's", issuer.Expired(bob), wsauth.ErrExpired},
				{"expired, and issued in the future", issuer.Expired(wsauthtest.Claims{"iat": time.Now().Add(time.Hour)}),
					wsauth.ErrInvalidToken},
				{"expired by claim", issuer.Token(wsauthtest.Claims{"exp": time.Now().Add(-time.Minute)}), wsauth.ErrExpired},
				{"forged", issuer.Forged(), wsauth.ErrInvalidToken},
				{"forged, bob's", issuer.Forged(bob), wsauth.ErrInvalidToken},
				{"without an end", issuer.Token(wsauthtest.Claims{"exp": nil}), wsauth.ErrInvalidToken},
				{"of another issuer", issuer.Token(wsauthtest.Claims{"iss": "https://other.example/"}), wsauth.ErrInvalidToken},
				{"for another audience", issuer.Token(wsauthtest.Claims{"aud": "mail"}), wsauth.ErrInvalidToken},
				{"without a type", issuer.TokenWith(wsauthtest.TokenOptions{Header: map[string]any{"typ": nil}}), nil},
				{"of another type", issuer.TokenWith(wsauthtest.TokenOptions{Header: map[string]any{"typ": "logout+jwt"}}),
					wsauth.ErrInvalidToken},
				{"unsigned", issuer.TokenWith(wsauthtest.TokenOptions{Header: map[string]any{"alg": "none"}}),
					wsauth.ErrInvalidToken},
			} {
				t.Run(row.name, func(t *testing.T) {
					claims, err := auth.Verify(t.Context(), row.token)
					if !errors.Is(err, row.want) || row.want == wsauth.ErrInvalidToken && errors.Is(err, wsauth.ErrExpired) {
						t.Errorf("error %v, want %v", err, row.want)
					}
					if forged := strings.HasPrefix(row.name, "forged"); forged && !strings.Contains(err.Error(), "signature") {
						t.Errorf("error %v, which is not about the signature", err)
					}
					if _, got := decode(t, row.token); strings.Contains(row.name, "bob") && got["sub"] != "bob" {
						t.Errorf("sub = %v", got["sub"])
					}
					if err == nil && claims.Subject == "" {
						t.Error("no subject")
					}
				})
			}
		})
	}
}

func TestAnIssuerSignsWithEachOfItsAlgorithms(t *testing.T) {
	public := []string{"RS256", "ES256", "EdDSA", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512"}
	for _, row := range []struct {
		name       string
		issuer     *wsauthtest.Issuer
		algorithms []string // the default first
	}{
		{"with a server", wsauthtest.NewIssuer(t, public...), public},
		{"with a server, by default", wsauthtest.NewIssuer(t), []string{"ES256"}},
		{"HMAC", wsauthtest.NewHMACIssuer(t), []string{"HS256", "HS384", "HS512"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			auth := row.issuer.Authenticator()
			for _, alg := range append([]string{""}, row.algorithms...) {
				token := row.issuer.TokenWith(wsauthtest.TokenOptions{Alg: alg, Claims: wsauthtest.Claims{"sub": "bob"}})
				wantVerified(t, auth, token, nil)
				header, claims := decode(t, token)
				if want := cmp.Or(alg, row.algorithms[0]); header["alg"] != want || claims["sub"] != "bob" {
					t.Errorf("alg %v and sub %v, want %s and bob", header["alg"], claims["sub"], want)
				}
			}
			if header, _ := decode(t, row.issuer.Token()); header["alg"] != row.algorithms[0] {
				t.Errorf("Token signs with %v", header["alg"])
			}
			wantVerified(t, auth, row.issuer.Forged(), wsauth.ErrInvalidToken)
		})
	}
}

func TestATokenIsSignedWithAnyKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 64)
	rand.Read(secret)
	issuer := wsauthtest.NewIssuer(t)
	for _, row := range []struct {
		name       string
		key        any
		algorithms []string // the default first
	}{
		{"a secret", secret, []string{"HS256", "HS384", "HS512"}},
		{"RSA", rsaKey, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
		{"P-256", ecKey(elliptic.P256()), []string{"ES256"}},
		{"P-384", ecKey(elliptic.P384()), []string{"ES384"}},
		{"P-521", ecKey(elliptic.P521()), []string{"ES512"}},
		{"Ed25519", edKey, []string{"EdDSA"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			opts := issuer.Options()
			if secret, ok := row.key.([]byte); ok {
				opts.Issuers[0].Keys = wsauth.HMAC(secret)
			} else {
				opts.Issuers[0].Keys = wsauth.PublicKeys{row.key.(crypto.Signer).Public()}
			}
			auth, err := wsauth.New(opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, alg := range append([]string{""}, row.algorithms...) {
				token := issuer.TokenWith(wsauthtest.TokenOptions{Key: row.key, Alg: alg, Header: map[string]any{"kid": "mine"}})
				wantVerified(t, auth, token, nil)
				if h, _ := decode(t, token); h["alg"] != cmp.Or(alg, row.algorithms[0]) || h["kid"] != "mine" {
					t.Errorf("the header is %v", h)
				}
			}
			if h, _ := decode(t, issuer.TokenWith(wsauthtest.TokenOptions{Key: row.key})); h["kid"] != nil {
				t.Errorf("kid = %v", h["kid"])
			}
			wantVerified(t, issuer.Authenticator(), issuer.TokenWith(wsauthtest.TokenOptions{Key: row.key}), wsauth.ErrInvalidToken)
		})
	}
}

func TestNameAudienceAndSecretAreSettable(t *testing.T) {
	for name, issuer := range issuers {
		t.Run(name, func(t *testing.T) {
			issuer := issuer(t)
			issuer.Name, issuer.Audience = "https://login.example.com/", "chat"
			wantVerified(t, issuer.Authenticator(), issuer.Token(), nil)
			if _, claims := decode(t, issuer.Token()); claims["iss"] != "https://login.example.com/" || claims["aud"] != "chat" {
				t.Errorf("claims = %v", claims)
			}
		})
	}
	t.Run("a secret of the application", func(t *testing.T) {
		issuer := wsauthtest.NewHMACIssuer(t)
		issuer.Secret = []byte("a secret for tests with 32 bytes")
		wantVerified(t, issuer.Authenticator(), issuer.Token(), nil)
		opts := issuer.Options()
		opts.Issuers[0].Keys = wsauth.HMAC([]byte("a secret for tests with 32 bytes"))
		auth, err := wsauth.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		wantVerified(t, auth, issuer.Token(), nil)
		wantVerified(t, auth, issuer.Forged(), wsauth.ErrInvalidToken)
	})
	t.Run("neither name nor audience", func(t *testing.T) {
		issuer := wsauthtest.NewHMACIssuer(t)
		issuer.Name, issuer.Audience = "", ""
		wantVerified(t, issuer.Authenticator(), issuer.Token(), nil)
		if _, claims := decode(t, issuer.Token()); claims["iss"] != nil || claims["aud"] != nil {
			t.Errorf("claims = %v", claims)
		}
	})
}

func TestAnIssuerIsFoundByDiscoveryAndEndsWithItsTest(t *testing.T) {
	var discovery string
	t.Run("a test", func(t *testing.T) {
		issuer := wsauthtest.NewIssuer(t)
		discovery = issuer.URL + "/.well-known/openid-configuration"
		resp, err := http.Get(discovery)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"issuer":"%[1]s","jwks_uri":"%[1]s/jwks.json"}`, issuer.URL)
		if string(body) != want || issuer.Name != issuer.URL {
			t.Errorf("got %s of %s, want %s", body, issuer.Name, want)
		}
	})
	if resp, err := http.Get(discovery); err == nil {
		resp.Body.Close()
		t.Error("it is still there")
	}
}

func TestARotationKeepsTheOldKeyUntilItIsWithdrawn(t *testing.T) {
	issuer := wsauthtest.NewIssuer(t, "ES256", "EdDSA")
	auth := issuer.Authenticator()
	ed := wsauthtest.TokenOptions{Alg: "EdDSA"}
	before, beforeEd := issuer.Token(), issuer.TokenWith(ed)
	wantVerified(t, auth, before, nil)

	issuer.Rotate()
	after := issuer.Token()
	if a, _ := decode(t, before); true {
		if b, _ := decode(t, after); a["kid"] == b["kid"] || a["alg"] != b["alg"] {
			t.Errorf("from %v to %v", a, b)
		}
	}
	for _, auth := range []*wsauth.Authenticator{auth, issuer.Authenticator()} {
		wantVerified(t, auth, after, nil)
		wantVerified(t, auth, issuer.TokenWith(ed), nil)
		wantVerified(t, auth, before, nil)
		wantVerified(t, auth, beforeEd, nil)
	}

	issuer.Withdraw()
	fresh := issuer.Authenticator()
	wantVerified(t, fresh, after, nil)
	wantVerified(t, fresh, before, wsauth.ErrInvalidToken)
	wantVerified(t, fresh, beforeEd, wsauth.ErrInvalidToken)
	wantVerified(t, auth, before, nil) // it has no reason to fetch the set again
}

func TestWhatAnAuthenticatorMakesOfARotationAtOnce(t *testing.T) {
	issuer := wsauthtest.NewIssuer(t)
	auth := issuer.Authenticator()
	before := issuer.Token()
	wantVerified(t, auth, before, nil)
	issuer.Rotate()
	issuer.Withdraw()
	wantVerified(t, auth, before, nil)
	wantVerified(t, auth, issuer.Token(), nil)
	wantVerified(t, auth, before, wsauth.ErrInvalidToken)

	issuer.Rotate() // within 5 seconds
	wantVerified(t, auth, issuer.Token(), wsauth.ErrInvalidToken)
	wantVerified(t, issuer.Authenticator(), issuer.Token(), nil)
}

func TestAnOutageGives503AndEnds(t *testing.T) {
	for name, begin := range map[string]func(*wsauthtest.Issuer){
		"a status":  func(i *wsauthtest.Issuer) { i.Fail(http.StatusInternalServerError) },
		"a 404":     func(i *wsauthtest.Issuer) { i.Fail(http.StatusNotFound) },
		"no answer": (*wsauthtest.Issuer).Down,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // an Authenticator waits a second before it asks again
			issuer := wsauthtest.NewIssuer(t)
			early, late := issuer.Authenticator(), issuer.Authenticator()
			wantVerified(t, early, issuer.Token(), nil)
			begin(issuer)
			wantVerified(t, early, issuer.Token(), nil)
			wantVerified(t, late, issuer.Token(), wsauth.ErrUnavailable)
			url := wsauthtest.Serve(t, late.Middleware(http.NotFoundHandler()))
			wsauthtest.ExpectRefused(t, url, http.StatusServiceUnavailable, wsauthtest.Header(issuer.Token()))

			issuer.Up()
			wantVerified(t, issuer.Authenticator(), issuer.Token(), nil)
			up := time.Now()
			for late.Ready(t.Context()) != nil {
				if time.Since(up) > 5*time.Second {
					t.Fatal("it has not recovered")
				}
				time.Sleep(10 * time.Millisecond)
			}
			wantVerified(t, late, issuer.Token(), nil)
		})
	}
}

func TestMisuseFailsTheTest(t *testing.T) {
	hmacOf := wsauthtest.NewHMACIssuer
	servedOf := func(t testing.TB) *wsauthtest.Issuer { return wsauthtest.NewIssuer(t) }
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		misuse func(testing.TB)
		says   string
	}{
		"an unknown algorithm":          {func(t testing.TB) { wsauthtest.NewIssuer(t, "ES256", "ES257") }, "ES257"},
		"a secret algorithm, published": {func(t testing.TB) { wsauthtest.NewIssuer(t, "HS256") }, "HS256"},
		"rotating a secret":             {func(t testing.TB) { hmacOf(t).Rotate() }, "publishes no keys"},
		"withdrawing a secret":          {func(t testing.TB) { hmacOf(t).Withdraw() }, "publishes no keys"},
		"an outage of no server":        {func(t testing.TB) { hmacOf(t).Down() }, "publishes no keys"},
		"a failure of no server":        {func(t testing.TB) { hmacOf(t).Fail(500) }, "publishes no keys"},
		"the end of it":                 {func(t testing.TB) { hmacOf(t).Up() }, "publishes no keys"},
		"no status":                     {func(t testing.TB) { servedOf(t).Fail(42) }, "42"},
		"an algorithm without a key": {func(t testing.TB) {
			servedOf(t).TokenWith(wsauthtest.TokenOptions{Alg: "RS256"})
		}, "RS256"},
		"HMAC without a secret": {func(t testing.TB) { servedOf(t).TokenWith(wsauthtest.TokenOptions{Alg: "HS256"}) }, "HS256"},
		"public keys of HMAC":   {func(t testing.TB) { hmacOf(t).TokenWith(wsauthtest.TokenOptions{Alg: "ES256"}) }, "ES256"},
		"a key of another algorithm": {func(t testing.TB) {
			hmacOf(t).TokenWith(wsauthtest.TokenOptions{Alg: "ES256", Key: []byte("secret")})
		}, "ES256"},
		"a key of another type": {func(t testing.TB) { hmacOf(t).TokenWith(wsauthtest.TokenOptions{Key: "secret"}) }, "string"},
		"a key of another curve": {func(t testing.TB) { hmacOf(t).TokenWith(wsauthtest.TokenOptions{Key: p224}) },
			"*ecdsa.PrivateKey"},
		"a duration for a time": {func(t testing.TB) {
			hmacOf(t).Token(wsauthtest.Claims{"exp": time.Minute})
		}, `the claim "exp" is a time.Duration (1m0s), want a time.Time`},
		"options with a fault": {func(t testing.TB) {
			issuer := hmacOf(t)
			issuer.Secret = []byte("short")
			issuer.Authenticator()
		}, "shorter than 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) { wantFailure(t, row.misuse, row.says) })
	}
}
