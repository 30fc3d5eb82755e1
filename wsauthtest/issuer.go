// Package wsauthtest helps to test servers that use wsauth. It has an issuer, which signs good tokens and bad ones, and a
// client, which connects with them.
//
//	func TestChat(t *testing.T) {
//		issuer := wsauthtest.NewIssuer(t)
//		url := wsauthtest.Serve(t, newServer(issuer.Options())) // newServer is your own
//		conn := wsauthtest.Dial(t, url+"/ws", wsauthtest.Header(issuer.Token()))
//		// What does your server send to alice?
//		wsauthtest.ExpectRefused(t, url+"/ws", 401, wsauthtest.Header(issuer.Expired()))
//	}
//
// A handler without a WebSocket needs no client: give a request of httptest.NewRequest the header "Authorization:
// Bearer " + issuer.Token(). A handler that only looks at claims needs no token: see [wsauth.ContextWithClaims].
//
// Test the end of a token in a testing/synctest bubble, where an hour takes no time. [NewHMACIssuer] and [ServeInMemory]
// work there.
//
// The package works only in tests: elsewhere, no issuer can be created.
package wsauthtest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wsauth/wsauth"

	"github.com/wsauth/wsauth/internal/mint"
)

// An Issuer signs tokens. [NewIssuer] or [NewHMACIssuer] creates it, and it lives as long as the
// test. Set its fields before anything else uses it.
type Issuer struct {
	// URL is where the issuer is on loopback. An HMAC issuer has none.
	URL string

	// Name is the iss of its tokens; if it is empty, they have none. Default: URL, or
	// https://id.example.com/ for HMAC. An issuer whose Name is not its URL cannot be discovered:
	// its keys are at URL + "/jwks.json", and Config says so.
	Name string

	// Audience is the aud of its tokens; if it is empty, they have none. Default: "test".
	Audience string

	// Secret is what an HMAC issuer signs with. Default: 64 random bytes, enough for HS512.
	Secret []byte

	t testing.TB

	mu        sync.Mutex // of all that follows
	made      int        // keys
	signing   []*mint.Key
	published []*mint.Key // those that are signing, and older ones
	outage    int         // a status, or noAnswer; zero: none
}

const noAnswer = -1

const keysPath = "/jwks.json"

// NewIssuer starts an issuer on loopback that publishes its keys as OpenID Connect Discovery says.
// It has a key for each of the algorithms and signs with the first one, unless [TokenOptions] say
// otherwise. Default: ES256. ES384, ES512, EdDSA and RS256 to PS512 are also available; keys for
// RSA take longer to create.
func NewIssuer(t testing.TB, algorithms ...string) *Issuer {
	t.Helper()
	if len(algorithms) == 0 {
		algorithms = []string{"ES256"}
	}
	for _, alg := range algorithms {
		if !slices.Contains(mint.Algorithms, alg) || isHMAC(alg) {
			t.Fatalf("wsauthtest: no algorithm with public keys is named %q", alg)
		}
	}
	i := newIssuer(t)
	i.signing = i.newKeys(algorithms)
	i.published = i.signing
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.serve(func() string {
		return mint.JSON(map[string]any{"issuer": i.Name, "jwks_uri": i.URL + keysPath})
	}))
	mux.HandleFunc("GET "+keysPath, i.serve(func() string { return string(mint.SetOf(i.published...)) }))
	srv := httptest.NewUnstartedServer(mux)
	i.URL = "http://" + srv.Listener.Addr().String() // before somebody asks: the server reads it
	i.Name = i.URL
	srv.Start()
	t.Cleanup(srv.Close)
	return i
}

// NewHMACIssuer creates an issuer that shares a secret with the Authenticator that verifies its
// tokens. It has no server, so it works in a synctest bubble.
func NewHMACIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := newIssuer(t)
	i.Name = "https://id.example.com/"
	i.Secret = make([]byte, 64)
	rand.Read(i.Secret)
	return i
}

func newIssuer(t testing.TB) *Issuer {
	if !testing.Testing() { // a testing.TB can exist elsewhere, too
		panic("wsauthtest: not in a test")
	}
	return &Issuer{t: t, Audience: "test"}
}

func isHMAC(alg string) bool { return strings.HasPrefix(alg, "HS") }

// Options returns options for an Authenticator that trusts only this issuer. Add what else the test
// needs.
func (i *Issuer) Options() wsauth.Options {
	return wsauth.Options{Issuers: []wsauth.Issuer{i.Config()}}
}

// Config returns this issuer as an element of [wsauth.Options.Issuers].
func (i *Issuer) Config() wsauth.Issuer {
	config := wsauth.Issuer{Name: i.Name}
	if i.Audience != "" {
		config.Audience = []string{i.Audience}
	}
	switch {
	case i.URL == "":
		config.Keys = wsauth.HMAC(i.Secret)
	case i.Name == i.URL:
		config.Keys = wsauth.JWKS{}
	default:
		config.Keys = wsauth.JWKS{URL: i.URL + keysPath}
	}
	return config
}

// Authenticator returns [wsauth.New] of [Issuer.Options]. Each call creates a new Authenticator,
// which has not fetched any keys yet.
func (i *Issuer) Authenticator() *wsauth.Authenticator {
	i.t.Helper()
	auth, err := wsauth.New(i.Options())
	if err != nil {
		i.t.Fatal(err)
	}
	return auth
}

// Rotate makes the issuer sign with new keys. The old keys stay in its key set, and tokens signed
// with them stay valid, until [Issuer.Withdraw].
//
// An Authenticator that has the set fetches it again for the first token of a new key, so it
// accepts that token. It does so at most once in 5 seconds, so tokens of a second rotation within
// that time are refused with 401. In a test, a new Authenticator is faster.
func (i *Issuer) Rotate() {
	i.t.Helper()
	i.mustPublish()
	i.mu.Lock()
	defer i.mu.Unlock()
	var algorithms []string
	for _, k := range i.signing {
		algorithms = append(algorithms, k.Alg)
	}
	i.signing = i.newKeys(algorithms)
	i.published = slices.Concat(i.signing, i.published)
}

// Withdraw removes the keys from before the last [Issuer.Rotate] from the key set. An Authenticator
// that has these keys accepts their tokens until it fetches the set again: for the first token of a
// new key, or after about 15 minutes.
func (i *Issuer) Withdraw() {
	i.t.Helper()
	i.mustPublish()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = i.signing
}

// Fail makes the issuer answer every request with this status, until [Issuer.Up].
//
// An Authenticator that has the key set goes on with it for a day. One that has none refuses with
// 503, and tries again half a second to one and a half seconds after a failure; it may go on
// refusing for that long after Up.
func (i *Issuer) Fail(status int) {
	i.t.Helper()
	if status < 200 || status > 599 {
		i.t.Fatalf("wsauthtest: no answer can have the status %d", status)
	}
	i.setOutage(status)
}

// Down is like [Issuer.Fail], but the issuer breaks connections off without a response.
func (i *Issuer) Down() {
	i.t.Helper()
	i.setOutage(noAnswer)
}

// Up ends the effect of Fail or Down.
func (i *Issuer) Up() {
	i.t.Helper()
	i.setOutage(0)
}

func (i *Issuer) setOutage(outage int) {
	i.t.Helper()
	i.mustPublish()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.outage = outage
}

func (i *Issuer) mustPublish() {
	i.t.Helper()
	if i.URL == "" {
		i.t.Fatal("wsauthtest: an HMAC issuer publishes no keys; this is for NewIssuer's")
	}
}

// newKeys is called with the lock, or before there is anybody else.
func (i *Issuer) newKeys(algorithms []string) []*mint.Key {
	var keys []*mint.Key
	for _, alg := range algorithms {
		i.made++
		keys = append(keys, mint.New(alg, fmt.Sprintf("key-%d", i.made)))
	}
	return keys
}

func (i *Issuer) serve(document func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		switch i.outage {
		case 0:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, document())
		case noAnswer:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(i.outage)
		}
	}
}
