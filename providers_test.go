package wsauth_test

import (
	"cmp"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// The tables of providers are in files of their own: providers_users_test.go has the most used ones,
// providers_more_test.go those that an organization runs itself or that are for some frameworks only, and
// providers_workloads_test.go machines and proxies.
var providers = func() map[string]identityProvider {
	all := maps.Clone(mostUsed)
	maps.Copy(all, moreProviders)
	maps.Copy(all, workloads)
	return all
}()

// An identityProvider is an issuer as docs/providers.md configures it, and a token as this provider makes it.
type identityProvider struct {
	issuer  wsauth.Issuer
	from    wsauth.Extractor                            // where the token is, as on the page; zero: as by default
	require func(context.Context, *wsauth.Claims) error // nil: nothing
	scopes  []string                                    // for RequireScopes
	alg     string
	header  object // besides alg, kid and a typ of JWT; nil leaves a member out
	claims  object // besides exp and iat
	own     any    // where the roles are read into, as in docs/providers.md
	roles   string // what is in own then
	tokens  map[string]variant

	set    string                        // the URL of the key set where JWKS has none: the jwks_uri of discovery
	jwk    object                        // what its JWK has besides kty, kid, use, alg and the key; nil: left out
	beside []object                      // other JWKs of the set
	about  object                        // other members of the set
	key    *mint.Key                     // that of an issuer without JWKS
	keys   func(wsauth.JWKS) wsauth.Keys // that of an issuer which has JWKS beside others
	carry  func(token string) string     // the header line that has the token; nil: Authorization
}

type object map[string]any

// A variant is another token of that provider.
type variant struct {
	header, claims object    // what differs; nil leaves a member out
	raw            string    // the token itself, if it is none that a key could sign
	key            *mint.Key // that signs it; nil: the provider's
	want           error
}

const (
	tenant    = "TENANT_ID"
	jweToken  = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"
	uuid      = "9f4e2f3c-5a0e-4c43-9d7a-2f1f0a3f6d11"
	otherUUID = "1c2b7f1e-0d4b-4b0e-8e5c-6a7d8e9f0a1b"
)

var (
	certificate  = []string{"MIIC/jCCAeagAwIBAgIJAOCJOVRxNKcNMA0GCSqGSIb3DQEBCwUAMC0xKzAp"} // nobody reads it
	supabaseKey  = mint.New("HS256", "")
	jwtSecret    = secretOf(supabaseKey)
	providerKeys = map[string]*mint.Key{
		"RS256": mint.New("RS256", "k1"), "ES256": mint.New("ES256", "k1"), "ES384": mint.New("ES384", "k1"),
	}
	strangers = map[string]*mint.Key{
		"RS256": mint.New("RS256", "k1"), "ES256": mint.New("ES256", "k1"), "ES384": mint.New("ES384", "k1"),
		"HS256": mint.New("HS256", ""),
	}
)

// signer is the key that signs the provider's tokens.
func (p *identityProvider) signer() *mint.Key {
	if p.key != nil {
		return p.key
	}
	return providerKeys[p.alg]
}

// token makes the provider's token, or a variant of it.
func (p *identityProvider) token(v variant) string {
	if v.raw != "" {
		return v.raw
	}
	key, now := p.signer(), time.Now()
	header := object(key.Header())
	claims := object{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	for _, o := range []object{p.header, v.header} {
		maps.Copy(header, o)
	}
	for _, o := range []object{p.claims, v.claims} {
		maps.Copy(claims, o)
	}
	absent := func(_ string, v any) bool { return v == nil }
	maps.DeleteFunc(header, absent)
	maps.DeleteFunc(claims, absent)
	if v.key != nil {
		key = v.key
	}
	return key.Sign(mint.JSON(header), mint.JSON(claims))
}

// A web answers GET requests for these URLs as a provider does, and no others.
type web map[string]string

func (w web) RoundTrip(r *http.Request) (*http.Response, error) {
	text, ok := w[r.URL.String()]
	if !ok {
		return nil, fmt.Errorf("nothing is at %s", r.URL)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}, nil
}

// online is the issuer as the page has it, whose keys are fetched from a web where the provider's discovery document
// and its key set are.
func (p *identityProvider) online() wsauth.Issuer {
	issuer := p.issuer
	remote, ok := issuer.Keys.(wsauth.JWKS)
	if !ok && p.keys == nil {
		return issuer
	}
	set := object{"keys": append([]object{jwkOf(p.signer(), p.jwk)}, p.beside...)}
	maps.Copy(set, p.about)
	discovery := strings.TrimSuffix(issuer.Name, "/") + "/.well-known/openid-configuration"
	remote.Client = &http.Client{Transport: web{
		cmp.Or(remote.URL, p.set):              mint.JSON(set),
		cmp.Or(remote.DiscoveryURL, discovery): mint.JSON(object{"issuer": issuer.Name, "jwks_uri": p.set}),
	}}
	issuer.Keys = remote
	if p.keys != nil {
		issuer.Keys = p.keys(remote)
	}
	return issuer
}

// jwkOf is the JWK of a key with other members; nil leaves one out.
func jwkOf(key *mint.Key, members object) object {
	jwk := object(key.JWK())
	maps.Copy(jwk, members)
	maps.DeleteFunc(jwk, func(_ string, v any) bool { return v == nil })
	return jwk
}

// serve serves a request with a token behind the provider's issuer and check. Of the request, method and other header
// lines are given.
func (p *identityProvider) serve(t *testing.T, method, token string, more ...string) (code int, claims *wsauth.Claims) {
	t.Helper()
	handler := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ = wsauth.ClaimsFromContext(r.Context())
		w.WriteHeader(http.StatusNoContent)
	}))
	if p.require != nil {
		handler = wsauth.Require(p.require)(handler)
	}
	if p.scopes != nil {
		handler = wsauth.RequireScopes(p.scopes...)(handler)
	}
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Issuers = []wsauth.Issuer{p.online()}
		if p.ambient() {
			o.Extractors = []wsauth.Extractor{p.from}
		}
	})
	line := "Authorization: Bearer " + token
	if p.carry != nil {
		line = p.carry(token)
	}
	lines := append([]string{method + " /", line}, more...)
	w := serve(auth.Middleware(handler), readRequest(t, strings.Join(lines, "\n")))
	return w.Code, claims
}

// ambient reports whether browsers bring the token along, in a cookie or through a proxy.
func (p *identityProvider) ambient() bool { return !reflect.ValueOf(p.from).IsZero() }

func TestTheTokensOfProvidersAreAccepted(t *testing.T) {
	for name, p := range providers {
		t.Run(name, func(t *testing.T) {
			newAuthOf(t, p.issuer) // New has nothing to say against the issuer as it is shown
			status, claims := p.serve(t, "GET", p.token(variant{}))
			if status != http.StatusNoContent || claims == nil {
				t.Fatalf("got status %d, want %d", status, http.StatusNoContent)
			}
			if p.own != nil {
				if err := claims.Decode(p.own); err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(reflect.ValueOf(p.own).Elem()); got != p.roles {
					t.Errorf("got roles %s, want %s", got, p.roles)
				}
			}
			for name, v := range p.tokens {
				t.Run(name, func(t *testing.T) {
					if status, _ := p.serve(t, "GET", p.token(v)); status != statusOf(v.want) {
						t.Errorf("got status %d, want %d", status, statusOf(v.want))
					}
				})
			}
		})
	}
}

func TestTheNeighboursOfProvidersAreRefused(t *testing.T) {
	for name, p := range providers {
		t.Run(name, func(t *testing.T) {
			hostile := map[string]variant{
				"signed by a stranger": {key: strangers[p.alg]},
				"without a signature":  {header: object{"alg": "none"}},
				"expired":              {claims: object{"exp": time.Now().Add(-time.Minute).Unix()}},
			}
			if p.issuer.Name != "" {
				hostile["of another issuer"] = variant{claims: object{"iss": "https://evil.example.com"}}
				hostile["of no issuer"] = variant{claims: object{"iss": nil}}
			}
			if !p.issuer.AnyAudience {
				hostile["for another audience"] = variant{claims: object{"aud": "OTHER"}}
			}
			for name, v := range hostile {
				if status, _ := p.serve(t, "GET", p.token(v)); status != http.StatusUnauthorized {
					t.Errorf("%s: got status %d, want %d", name, status, http.StatusUnauthorized)
				}
			}
			refused := 0
			for _, v := range p.tokens {
				if v.want != nil {
					refused++
				}
			}
			if refused < 2 {
				t.Errorf("got %d hostile neighbours of its own, want 2", refused)
			}
		})
	}
}

func TestAPageOfAnotherSiteCannotUseWhatAProxyOrACookieAdds(t *testing.T) {
	for name, p := range providers {
		if !p.ambient() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for origin, want := range map[string]int{
				"https://server.example.com": http.StatusNoContent,
				"https://evil.example.com":   http.StatusForbidden,
			} {
				if status, _ := p.serve(t, "POST", p.token(variant{}), "Origin: "+origin); status != want {
					t.Errorf("POST from %s: got status %d, want %d", origin, status, want)
				}
			}
		})
	}
}

func TestTheScopesOfProvidersAreRead(t *testing.T) {
	for name, scope := range map[string]string{
		"Auth0": "profile", "Keycloak": "profile", "Okta": "chat", "Entra ID": "chat", "Cognito": "chat/write",
		"authentik": "profile", "AD FS": "chat", "Azure AD B2C": "chat", "Ory Hydra": "chat", "Duende": "chat",
		"Spring": "chat", "Logto": "chat",
	} {
		t.Run(name, func(t *testing.T) {
			p := providers[name]
			status, claims := p.serve(t, "GET", p.token(variant{}))
			if status != http.StatusNoContent || !claims.HasScope(scope) || claims.HasScope("admin") {
				t.Errorf("got status %d, scopes %q, want %q", status, claims.Scope, scope)
			}
		})
	}
}

// What docs/providers.md shows compiles, and is what is tested here.
func TestThePageAboutProvidersShowsWhatIsTested(t *testing.T) {
	page, source := readFile(t, "docs/providers.md"), ""
	for _, name := range providerFiles(t) {
		source += withoutSpace(readFile(t, name))
	}
	var shown []string
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(page, -1) {
		shown = append(shown, strings.Split(block[1], "\n\n")...)
	}
	for _, field := range regexp.MustCompile("`` ([^\n]*?) ``").FindAllStringSubmatch(page, -1) {
		shown = append(shown, field[1])
	}
	if len(shown) < 50 {
		t.Fatalf("%d pieces of Go on the page", len(shown))
	}
	for _, text := range shown {
		if !strings.Contains(source, withoutSpace(text)) {
			t.Errorf("on the page, but not tested:\n%s", text)
		}
	}
}

// And the other way round: no provider is accepted here with options that the page does not give.
func TestWhatProvidersAreTestedWithIsOnThePage(t *testing.T) {
	page := withoutSpace(readFile(t, "docs/providers.md"))
	options := 0
	for _, name := range providerFiles(t) {
		text := readFile(t, name)
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			field, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			if key, ok := field.Key.(*ast.Ident); !ok || key.Name != "issuer" && key.Name != "from" {
				return true
			}
			options++
			shown := text[field.Value.Pos()-file.FileStart : field.Value.End()-file.FileStart]
			if !strings.Contains(page, withoutSpace(shown)) {
				t.Errorf("%s: tested, but not on the page:\n%s", name, shown)
			}
			return true
		})
	}
	if options < 35 {
		t.Errorf("got %d options, want 35 at least", options)
	}
}

func providerFiles(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("providers*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func withoutSpace(text string) string { return strings.Join(strings.Fields(text), "") }
