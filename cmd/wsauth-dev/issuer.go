package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// An issuer signs tokens with its newest key. It publishes that key and the one before it, as a provider does while
// tokens of the old key are still in use.
type issuer struct {
	url   string // the iss of its tokens, and where it is
	alg   string
	usual tokenSpec
	log   *log.Logger // for the developer at the terminal; never a token that somebody else asked for

	mu   sync.Mutex
	keys []*mint.Key // the newest first
}

func newIssuer(url, alg string, usual tokenSpec, log *log.Logger) *issuer {
	return &issuer{url: url, alg: alg, usual: usual, log: log, keys: []*mint.Key{newKey(alg)}}
}

// algorithms are those with a public key to publish.
func algorithms() []string {
	return slices.DeleteFunc(slices.Clone(mint.Algorithms), func(alg string) bool { return strings.HasPrefix(alg, "HS") })
}

// newKey makes a key with an ID that no other key has, not even a key of an issuer that ran before at the same address:
// servers remember the keys of that issuer, and fetch the set again only for an ID that they do not know.
func newKey(alg string) *mint.Key { return mint.New(alg, rand.Text()[:8]) }

// rotate makes a new key, which signs from now on, and returns its ID.
func (i *issuer) rotate() string {
	key := newKey(i.alg)
	i.mu.Lock()
	i.keys = []*mint.Key{key, i.keys[0]}
	i.mu.Unlock()
	i.log.Printf("Key %s signs from now on.", key.ID)
	return key.ID
}

// published returns the keys of the key set, with the key that signs first.
func (i *issuer) published() []*mint.Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys
}

// A minted token comes with its claims.
type minted struct {
	Token  string
	Claims string        // JSON
	TTL    time.Duration // zero: a claim exp was asked for
}

func (i *issuer) mint(change tokenSpec) minted {
	spec := i.usual.with(change)
	now := time.Now()
	exp := now.Add(spec.ttl).Unix()
	claims := map[string]any{
		"iss": i.url, "exp": exp, "jti": rand.Text(),
		"iat": min(now.Unix(), exp), // an iat after exp would make it malformed, not expired
	}
	for name, value := range spec.claims {
		claims[name] = value
	}
	maps.DeleteFunc(claims, func(_ string, value any) bool {
		text, ok := value.(json.RawMessage)
		return ok && string(text) == "null"
	})
	if _, asked := spec.claims["exp"]; asked {
		spec.ttl = 0
	}
	key, payload := i.published()[0], mint.JSON(claims)
	return minted{Token: key.Sign(mint.JSON(key.Header()), payload), Claims: payload, TTL: spec.ttl}
}

// options returns, as Go, the options of a server that trusts this issuer.
func (i *issuer) options() string {
	audience := "AnyAudience: true,"
	if names := i.audience(); len(names) > 0 {
		audience = fmt.Sprintf("Audience: %#v,", names)
	}
	return fmt.Sprintf(`wsauth.Options{
	Issuers: []wsauth.Issuer{{
		Name:     %q,
		%s
		Keys:     wsauth.JWKS{}, // found by OpenID discovery
	}},
	Logger: slog.Default(), // says why a token is refused
}`, i.url, audience)
}

// audience is the aud of the usual tokens.
func (i *issuer) audience() []string {
	var several []string
	aud := i.usual.claims["aud"]
	if json.Unmarshal(aud, &several) == nil {
		return several
	}
	var one string
	if json.Unmarshal(aud, &one) != nil {
		return nil
	}
	return []string{one}
}

func (i *issuer) welcome() {
	command := "go run github.com/wsauth/wsauth/cmd/wsauth-dev token"
	if addr := strings.TrimPrefix(i.url, "http://"); addr != usualAddr {
		command += " -addr " + addr
	}
	i.log.Printf(welcome, i.url, i.alg, i.published()[0].ID, i.options(), i.mint(tokenSpec{}).Token, command)
}

// The options and the token are not indented, so that they can be pasted as they are.
const welcome = `wsauth-dev is for development only: anybody on this machine gets a token for any user.

Issuer and page: %[1]s
It signs with %[2]s and the key %[3]s. Enter rotates the key, Ctrl-C ends the issuer.

A server that trusts it:

%[4]s

A token:

%[5]s

More tokens, and a new key:

%[6]s -sub bob -scope chat -ttl 5m -claim 'roles=["admin"]'
curl -d sub=bob -d scope=chat -d ttl=5m -d 'claim=roles=["admin"]' %[1]s/token
curl -X POST %[1]s/rotate
`

// rotateOnEnter rotates the key for each line, until there are no more.
func rotateOnEnter(stdin io.Reader, i *issuer) {
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		i.rotate()
	}
}
