package wsauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func withDPoP(o *wsauth.Options) { o.DPoP = &wsauth.DPoP{} }

// boundToken is a token that is bound to a key.
func boundToken(key *mint.Key, changes ...map[string]any) string {
	return testToken(append([]map[string]any{{"cnf": map[string]any{"jkt": key.Thumbprint()}}}, changes...)...)
}

var proofCount = 0

// proofFor is a proof of a key for a request, overlaid with what changes; nil leaves a claim out.
func proofFor(key *mint.Key, method, url, token string, changes map[string]any) string {
	claims := map[string]any{
		"jti": mint.Hash(mint.JSON([]any{time.Now(), proofCount})), "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": mint.Hash(token),
	}
	proofCount++
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return key.Proof(claims)
}

const boundURL = "http://server.example.com/ws"

func TestABoundTokenNeedsAProofForItsRequest(t *testing.T) {
	key, other := mint.New("ES256", ""), mint.New("EdDSA", "")
	token, bare := boundToken(key), testToken()
	good := func() string { return proofFor(key, "GET", boundURL, token, nil) }
	changed := func(name string, value any) string {
		return proofFor(key, "GET", boundURL, token, map[string]any{name: value})
	}
	const scheme = "\nAuthorization: DPoP "
	for name, row := range map[string]struct {
		headers string
		want    error
	}{
		"with a proof":                   {scheme + token + "\nDPoP: " + good(), nil},
		"the scheme in capitals":         {"\nAuthorization: dPOP " + token + "\nDPoP: " + good(), nil},
		"of a key of another kind":       {scheme + boundToken(other) + "\nDPoP: " + proofFor(other, "GET", boundURL, boundToken(other), nil), nil},
		"as a bearer":                    {"\nAuthorization: Bearer " + token, wsauth.ErrInvalidToken},
		"as a bearer, with a proof":      {"\nAuthorization: Bearer " + token + "\nDPoP: " + good(), wsauth.ErrInvalidToken},
		"in a cookie":                    {"\nCookie: access_token=" + token + "\nOrigin: http://server.example.com\nDPoP: " + good(), wsauth.ErrInvalidToken},
		"without a proof":                {scheme + token, wsauth.ErrInvalidProof},
		"with an empty proof":            {scheme + token + "\nDPoP: ", wsauth.ErrInvalidProof},
		"with two proofs":                {scheme + token + "\nDPoP: " + good() + "\nDPoP: " + good(), wsauth.ErrInvalidProof},
		"with two proofs in one":         {scheme + token + "\nDPoP: " + good() + ", " + good(), wsauth.ErrInvalidProof},
		"with the proof of another key":  {scheme + token + "\nDPoP: " + proofFor(other, "GET", boundURL, token, nil), wsauth.ErrInvalidToken},
		"with a proof for POST":          {scheme + token + "\nDPoP: " + proofFor(key, "POST", boundURL, token, nil), wsauth.ErrInvalidProof},
		"with a proof for another URL":   {scheme + token + "\nDPoP: " + proofFor(key, "GET", "http://server.example.com/other", token, nil), wsauth.ErrInvalidProof},
		"with a proof for another host":  {scheme + token + "\nDPoP: " + proofFor(key, "GET", "http://evil.example/ws", token, nil), wsauth.ErrInvalidProof},
		"with a proof for another token": {scheme + token + "\nDPoP: " + proofFor(key, "GET", boundURL, bare, nil), wsauth.ErrInvalidProof},
		"with a proof for no token":      {scheme + token + "\nDPoP: " + changed("ath", nil), wsauth.ErrInvalidProof},
		"with an old proof":              {scheme + token + "\nDPoP: " + changed("iat", at(-90)), wsauth.ErrInvalidProof},
		"with a proof from the future":   {scheme + token + "\nDPoP: " + changed("iat", at(90)), wsauth.ErrInvalidProof},
		"with a proof for wss":           {scheme + token + "\nDPoP: " + proofFor(key, "GET", "ws://server.example.com/ws", token, nil), nil},
		"a token that is not bound":      {scheme + bare + "\nDPoP: " + proofFor(key, "GET", boundURL, bare, nil), wsauth.ErrInvalidToken},
		"the token itself as its proof":  {scheme + token + "\nDPoP: " + token, wsauth.ErrInvalidProof},
		"a proof as the token":           {scheme + good() + "\nDPoP: " + good(), wsauth.ErrInvalidToken},
		"no valid token, bad proof":      {scheme + token + "A" + "\nDPoP: x", wsauth.ErrInvalidToken},
		"no token":                       {"\nDPoP: " + good(), wsauth.ErrNoToken},
		"a token that is too long":       {scheme + strings.Repeat("x", 8193) + "\nDPoP: " + good(), wsauth.ErrInvalidToken},
		"an empty token":                 {"\nAuthorization: DPoP \nDPoP: " + good(), wsauth.ErrMalformedRequest},
		"two headers":                    {scheme + token + "\nAuthorization: Bearer " + bare + "\nDPoP: " + good(), wsauth.ErrMalformedRequest},
		"a cnf of more":                  {scheme + testToken(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint(), "kid": "x"}}) + "\nDPoP: " + good(), wsauth.ErrInvalidToken},
		"expired":                        {scheme + boundToken(key, lasting(-time.Hour)) + "\nDPoP: " + proofFor(key, "GET", boundURL, boundToken(key, lasting(-time.Hour)), nil), wsauth.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			for how, change := range map[string]func(*wsauth.Options){
				"fresh": func(*wsauth.Options) {}, "remembered": func(o *wsauth.Options) { o.CacheSize = 10 },
			} {
				auth := newAuth(t, withDPoP, change)
				auth.Authenticate(readRequest(t, "GET /ws"+scheme+token+"\nDPoP: "+good()))
				_, err := auth.Authenticate(readRequest(t, "GET /ws?room=1"+row.headers))
				if kindName(err) != kindName(row.want) {
					t.Errorf("%s: got %s (%v), want %s", how, kindName(err), err, kindName(row.want))
				}
				if err != nil && strings.Contains(err.Error(), "eyJ") {
					t.Errorf("%s: the error has a part of a token or proof: %v", how, err)
				}
			}
		})
	}
}

func TestWithoutDPoPABoundTokenIsNoToken(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	proof := proofFor(key, "GET", boundURL, token, nil)
	for name, row := range map[string]struct {
		scheme string
		want   error
	}{"DPoP": {"DPoP", wsauth.ErrNoToken}, "Bearer": {"Bearer", wsauth.ErrInvalidToken}} {
		t.Run(name, func(t *testing.T) {
			_, err := newAuth(t).Authenticate(readRequest(t, "GET /ws\nAuthorization: "+row.scheme+" "+token+"\nDPoP: "+proof))
			wantKind(t, err, row.want)
		})
	}
	verify(t, newAuth(t, withDPoP), token, wsauth.ErrInvalidToken)
}

func TestAProofThatWasUsedIsRefused(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	proof := proofFor(key, "GET", boundURL, token, nil)
	request := "GET /ws\nAuthorization: DPoP " + token + "\nDPoP: " + proof
	store := newTicketStore()
	shared := func(o *wsauth.Options) { o.DPoP = &wsauth.DPoP{Replays: store} }
	one, two := newAuth(t, shared), newAuth(t, shared)
	for i, step := range []struct {
		auth *wsauth.Authenticator
		want error
	}{{one, nil}, {one, wsauth.ErrInvalidProof}, {two, wsauth.ErrInvalidProof}} {
		_, err := step.auth.Authenticate(readRequest(t, request))
		if kindName(err) != kindName(step.want) {
			t.Errorf("use %d: got %v, want %v", i, err, step.want)
		}
	}
	store.err = errors.New("connection refused")
	_, err := one.Authenticate(readRequest(t, "GET /ws\nAuthorization: DPoP "+token+"\nDPoP: "+proofFor(key, "GET", boundURL, token, nil)))
	wantKind(t, err, wsauth.ErrUnavailable)
}

// A request may pass an Authenticator twice, with another one's Middleware in between, although its ticket or its proof is
// good only once.
func TestARequestMayPassAnAuthenticatorTwice(t *testing.T) {
	key := mint.New("ES256", "")
	token, second := boundToken(key), boundToken(key, lasting(2*time.Hour))
	auth, other := newAuth(t, withDPoP, withTickets(nil)), newAuth(t)
	dpop := func(token string) string {
		return "\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(key, "GET", boundURL, token, nil)
	}
	swapped := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), token, second))
			next.ServeHTTP(w, r)
		})
	}
	none := func(next http.Handler) http.Handler { return next }
	for name, row := range map[string]struct {
		request func() string
		between func(http.Handler) http.Handler
		want    int
	}{
		"bearer":          {func() string { return "GET /ws\nAuthorization: Bearer " + testToken() }, none, 204},
		"query":           {func() string { return "GET /ws?access_token=" + testToken() + "\nHANDSHAKE" }, none, 204},
		"DPoP":            {func() string { return "GET /ws" + dpop(token) }, none, 204},
		"another's token": {func() string { return "GET /ws" + dpop(token) }, swapped, 401},
		"ticket":          {func() string { return "GET /ws?ticket=" + fetchTicket(t, auth, testToken()) + "\nHANDSHAKE" }, none, 204},
	} {
		t.Run(name, func(t *testing.T) {
			inner := other.Optional(row.between(auth.Middleware(new(recorder))))
			for how, h := range map[string]http.Handler{
				"": auth.Middleware(inner), "Optional": auth.Optional(inner), "concealed": auth.Conceal(auth.Middleware(inner)),
				"concealed twice": auth.Conceal(other.Conceal(auth.Middleware(inner))),
			} {
				if w := serve(h, readRequest(t, row.request())); w.Code != row.want {
					t.Errorf("%s: got %d, want %d", how, w.Code, row.want)
				}
			}
		})
	}
}

func TestARequestWithAProofMayPassGuardAndMiddleware(t *testing.T) {
	key := mint.New("ES256", "")
	token, second := boundToken(key), boundToken(key, lasting(2*time.Hour))
	auth := newAuth(t, withDPoP)
	for name, row := range map[string]struct {
		inner string
		want  int
	}{"the same token": {token, 204}, "another": {second, 401}} {
		t.Run(name, func(t *testing.T) {
			h := auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Authorization", "DPoP "+row.inner)
				auth.Middleware(new(recorder)).ServeHTTP(w, r)
			}), nil)
			proof := proofFor(key, "GET", boundURL, token, nil)
			if w := serve(h, readRequest(t, "GET /ws\nAuthorization: DPoP "+token+"\nDPoP: "+proof)); w.Code != row.want {
				t.Errorf("got %d, want %d", w.Code, row.want)
			}
		})
	}
}

// However the path is written in the request line, a proof for another path does not count.
func TestAProofIsForThePathThatTheServerServes(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	for name, row := range map[string]struct {
		line, path string
		want       int
	}{
		"the path":                  {"GET /api/ws", "/api/ws", 204},
		"the path behind a prefix":  {"GET /api/ws", "/ws", 401},
		"the absolute form":         {"GET http://server.example.com/api/ws", "/api/ws", 204},
		"absolute, behind a prefix": {"GET http://server.example.com/api/ws", "/ws", 401},
		"without an authority":      {"GET http:/api/ws", "/ws", 401},
		"with a number sign":        {"GET /api/ws#other", "/api/ws", 401},
		"two slashes":               {"GET //api/ws", "/api/ws", 404},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.StripPrefix("/api", newAuth(t, withDPoP).Middleware(new(recorder)))
			proof := proofFor(key, "GET", "http://server.example.com"+row.path, token, nil)
			if w := serve(h, readRequest(t, row.line+"\nAuthorization: DPoP "+token+"\nDPoP: "+proof)); w.Code != row.want {
				t.Errorf("got %d, want %d", w.Code, row.want)
			}
		})
	}
}

// While the key of a token is fetched, the store may forget a proof that was still good when it was read.
func TestAProofIsNotUsedTwiceWhileAKeyIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := mint.New("ES256", "")
		token := boundToken(key)
		takes := time.Duration(0)
		auth := newAuth(t, askedBy(func() error { time.Sleep(takes); return nil }), func(o *wsauth.Options) {
			o.DPoP = &wsauth.DPoP{MaxAge: time.Second}
		})
		request := "GET /ws\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(key, "GET", boundURL, token, nil)
		_, err := auth.Authenticate(readRequest(t, request))
		wantKind(t, err, nil)
		time.Sleep(900 * time.Millisecond)
		takes = 10 * time.Second
		_, err = auth.Authenticate(readRequest(t, request))
		wantKind(t, err, wsauth.ErrInvalidProof)
	})
}

// Whoever has no valid token must not be able to fill the store, or to use up the proof of somebody else's.
func TestAProofBesideARefusedTokenIsNotRemembered(t *testing.T) {
	key := mint.New("ES256", "")
	store := newTicketStore()
	auth := newAuth(t, func(o *wsauth.Options) { o.DPoP = &wsauth.DPoP{Replays: store} })
	for name, token := range map[string]string{
		"forged":  mint.New("HS256", "").Token(testClaims(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}})),
		"expired": boundToken(key, lasting(-time.Hour)), "bearer": testToken(), "of another key": boundToken(mint.New("ES256", "")),
	} {
		auth.Authenticate(readRequest(t, "GET /ws\nAuthorization: DPoP "+token+"\nDPoP: "+proofFor(key, "GET", boundURL, token, nil)))
		if store.calls != 0 {
			t.Errorf("%s: got %d calls of the store, want none", name, store.calls)
		}
	}
}

// The inner handler finds what the outer Middleware has used up, with another Authenticator in between.
func TestACredentialThatIsGoodOnceIsVerifiedOnceInAChain(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	for name, conceal := range map[string]bool{"plain": false, "concealed": true} {
		t.Run(name, func(t *testing.T) {
			auth, other := newAuth(t, withTickets(nil), withDPoP), newAuth(t, anyIssuer, func(o *wsauth.Options) {
				o.Extractors = []wsauth.Extractor{wsauth.FromCookie("other")}
			})
			for name, request := range map[string]string{
				"a ticket": "GET /ws?ticket=" + fetchTicket(t, auth, testToken()) + "\nHANDSHAKE",
				"a proof":  "GET /ws\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(key, "GET", boundURL, token, nil),
			} {
				rec := new(recorder)
				h := auth.Middleware(other.Middleware(auth.Middleware(auth.Guard(rec, nil))))
				if conceal {
					h = auth.Conceal(h)
				}
				r := readRequest(t, request+"\nCookie: other="+testToken(nil)+"\nOrigin: http://server.example.com")
				if w := serve(h, r); w.Code != http.StatusNoContent {
					t.Errorf("%s: got %d %s, want it verified once and accepted", name, w.Code, w.Body)
				}
			}
		})
	}
}

func TestTheChallengeSaysWhichSchemeIsAtFault(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	only := func(o *wsauth.Options) { o.DPoP = &wsauth.DPoP{Algorithms: []string{"ES256", "EdDSA"}} }
	const algs = `, algs="ES256 EdDSA"`
	const offer = `DPoP realm="wsauth"` + algs
	for name, row := range map[string]struct {
		headers string
		want    []string
	}{
		"no token":       {"", []string{`Bearer realm="wsauth"`, offer}},
		"a bad bearer":   {"\nAuthorization: Bearer x.y.z", []string{`Bearer realm="wsauth", error="invalid_token", error_description="token not valid"`, offer}},
		"a bound bearer": {"\nAuthorization: Bearer " + token, []string{`Bearer realm="wsauth", error="invalid_token", error_description="token not valid"`, offer}},
		"no proof": {"\nAuthorization: DPoP " + token,
			[]string{`DPoP realm="wsauth", error="invalid_dpop_proof", error_description="DPoP proof not valid"` + algs}},
		"of another key": {"\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(mint.New("ES256", ""), "GET", boundURL, token, nil),
			[]string{`DPoP realm="wsauth", error="invalid_token", error_description="token not valid"` + algs}},
		"of an algorithm that is not allowed": {"\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(mint.New("RS256", ""), "GET", boundURL, token, nil),
			[]string{`DPoP realm="wsauth", error="invalid_dpop_proof", error_description="DPoP proof not valid"` + algs}},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(newAuth(t, only).Middleware(new(recorder)), readRequest(t, "GET /ws"+row.headers))
			if got := w.Header().Values("WWW-Authenticate"); w.Code != 401 || strings.Join(got, "\n") != strings.Join(row.want, "\n") {
				t.Errorf("got %d %q, want 401 %q", w.Code, got, row.want)
			}
		})
	}
}

func TestAScopeThatIsMissingIsSaidInTheSchemeOfTheToken(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	auth := newAuth(t, withDPoP)
	h := auth.Middleware(wsauth.RequireScopes("admin")(new(recorder)))
	w := serve(h, readRequest(t, "GET /ws\nAuthorization: DPoP "+token+"\nDPoP: "+proofFor(key, "GET", boundURL, token, nil)))
	got := w.Header().Get("WWW-Authenticate")
	if w.Code != 403 || !strings.HasPrefix(got, "DPoP ") || !strings.Contains(got, `scope="admin"`) {
		t.Errorf("got %d %q, want 403 with the challenge of DPoP and the scope", w.Code, got)
	}
}

func TestAServerThatDemandsANonceGivesIt(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	auth := newAuth(t, func(o *wsauth.Options) { o.DPoP = &wsauth.DPoP{NonceSecret: []byte(strings.Repeat("s", 32))} })
	call := func(h http.Handler, changes map[string]any) (int, http.Header) {
		w := serve(h, readRequest(t, "GET /ws\nAuthorization: DPoP "+token+"\nDPoP: "+proofFor(key, "GET", boundURL, token, changes)))
		return w.Code, w.Header()
	}
	h := auth.Middleware(new(recorder))
	status, header := call(h, nil)
	nonce := header.Get("DPoP-Nonce")
	if challenge := header.Get("WWW-Authenticate"); status != 401 || nonce == "" || !strings.Contains(challenge, `error="use_dpop_nonce"`) {
		t.Fatalf("got %d, %q and the nonce %q, want 401, use_dpop_nonce and a nonce", status, challenge, nonce)
	}
	for name, h := range map[string]http.Handler{"Middleware": h, "Guard": auth.Guard(new(recorder), nil)} {
		if status, header := call(h, map[string]any{"nonce": nonce}); status != 204 || header.Get("DPoP-Nonce") == "" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d and %q, want 204 and the next nonce, for no cache", name, status, header)
		}
	}
	if status, _ := call(h, map[string]any{"nonce": "x"}); status != 401 {
		t.Errorf("another nonce: got %d, want 401", status)
	}
	_, err := auth.Authenticate(readRequest(t, "GET /ws\nAuthorization: DPoP "+token+"\nDPoP: "+proofFor(key, "GET", boundURL, token, nil)))
	if got := wsauth.Reason(err); got != "use_dpop_nonce" || !errors.Is(err, wsauth.ErrInvalidProof) || !errors.Is(err, wsauth.ErrInvalidToken) {
		t.Errorf("got %q of %v, want use_dpop_nonce", got, err)
	}
	if w := serve(h, readRequest(t, "GET /ws\nAuthorization: Bearer "+testToken())); w.Header().Get("DPoP-Nonce") != "" {
		t.Error("a client that sends no proof gets a nonce")
	}
}

// A client that does not get the nonce can never connect.
func TestTheNonceIsInTheResponseHoweverARequestIsRefused(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	nonces := func(o *wsauth.Options) { o.DPoP = &wsauth.DPoP{NonceSecret: []byte(strings.Repeat("s", 32))} }
	ownResponse := func(o *wsauth.Options) {
		o.OnRefuse = func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(wsauth.Status(err)) }
	}
	closing := &wsauth.UpgradeOptions{CloseOnRefusal: true}
	for name, row := range map[string]struct {
		handler http.Handler
		want    int
	}{
		"by Refuse":      {newAuth(t, nonces).Upgrade(neverServed(t), nil), 401},
		"by OnRefuse":    {newAuth(t, nonces, ownResponse).Upgrade(neverServed(t), nil), 401},
		"by close frame": {newAuth(t, nonces).Upgrade(neverServed(t), closing), 101},
	} {
		t.Run(name, func(t *testing.T) {
			server := newMemoryServer(t, row.handler)
			conn, resp, _ := server.tryDial(t, http.Header{
				"Authorization": {"DPoP " + token}, "Dpop": {proofFor(key, "GET", "http://server/", token, nil)},
			})
			if conn != nil {
				defer conn.CloseNow()
			}
			if resp.StatusCode != row.want || resp.Header.Get("DPoP-Nonce") == "" {
				t.Errorf("got %d and the nonce %q, want %d and a nonce", resp.StatusCode, resp.Header.Get("DPoP-Nonce"), row.want)
			}
		})
	}
}

func TestAConnectionOfABoundTokenIsRenewedByItsHolderOnly(t *testing.T) {
	key, other := mint.New("ES256", ""), mint.New("ES256", "")
	later := lasting(2 * time.Hour)
	renewed := boundToken(key, later)
	proof := func(key *mint.Key, method, url, token string) string { return proofFor(key, method, url, token, nil) }
	cert := map[string]any{"cnf": map[string]any{"x5t#S256": mint.Hash("x")}}
	for name, row := range map[string]struct {
		token, proof string
		want         error
	}{
		"with a proof":                {renewed, proof(key, "GET", boundURL, renewed), nil},
		"bare":                        {renewed, "", wsauth.ErrInvalidToken},
		"of another key":              {renewed, proof(other, "GET", boundURL, renewed), wsauth.ErrInvalidToken},
		"of another key, and token":   {boundToken(other, later), proof(other, "GET", boundURL, boundToken(other, later)), wsauth.ErrInvalidToken},
		"a bearer token":              {testToken(later), "", wsauth.ErrInvalidToken},
		"a bearer token with a proof": {testToken(later), proof(key, "GET", boundURL, testToken(later)), wsauth.ErrInvalidToken},
		"bound to a certificate":      {testToken(later, cert), "", wsauth.ErrInvalidToken},
		"a proof for POST":            {renewed, proof(key, "POST", boundURL, renewed), wsauth.ErrInvalidProof},
		"a proof for another URL":     {renewed, proof(key, "GET", "http://server.example.com/", renewed), wsauth.ErrInvalidProof},
		"a proof for the old token":   {renewed, proof(key, "GET", boundURL, boundToken(key)), wsauth.ErrInvalidProof},
		"rubbish for a proof":         {renewed, "x", wsauth.ErrInvalidProof},
	} {
		t.Run(name, func(t *testing.T) {
			for how, opened := range map[string]string{"by the header": "dpop", "by a ticket": "ticket"} {
				auth := newAuth(t, withTickets(nil), withDPoP)
				var err error
				renew := func(ctx context.Context, conn *websocket.Conn) {
					if row.proof == "" {
						_, err = wsauth.Renew(ctx, row.token)
					} else {
						_, err = wsauth.RenewBound(ctx, row.token, row.proof)
					}
				}
				server := newMemoryServer(t, auth.Upgrade(renew, nil))
				token := boundToken(key)
				header, query := http.Header{}, ""
				if opened == "dpop" {
					header = http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proof(key, "GET", boundURL, token)}}
				} else {
					w := serve(auth.Tickets(), readRequest(t, "POST /ticket\nAuthorization: DPoP "+token+
						"\nDPoP: "+proof(key, "POST", "http://server.example.com/ticket", token)))
					query = "?ticket=" + ticketIn(t, w.Code, w.Body.Bytes())
				}
				conn, _, dialErr := websocket.Dial(t.Context(), "ws://server.example.com/ws"+query,
					&websocket.DialOptions{HTTPClient: server.client(), HTTPHeader: header})
				if dialErr != nil {
					t.Fatalf("%s: %v", how, dialErr)
				}
				conn.Read(t.Context()) // until serve has returned
				conn.CloseNow()
				if kindName(err) != kindName(row.want) {
					t.Errorf("%s: got %s (%v), want %s", how, kindName(err), err, kindName(row.want))
				}
			}
		})
	}
}

func TestATicketOfAServerWithDPoPBringsNoBoundTokenToOneWithout(t *testing.T) {
	key, store := mint.New("ES256", ""), newTicketStore()
	token := boundToken(key)
	with := newAuth(t, withTickets(store), withDPoP)
	for name, row := range map[string]struct {
		auth *wsauth.Authenticator
		want error
	}{
		"with DPoP":    {newAuth(t, withTickets(store), withDPoP), nil},
		"without DPoP": {newAuth(t, withTickets(store)), wsauth.ErrInvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(with.Tickets(), readRequest(t, "POST /ticket\nAuthorization: DPoP "+token+
				"\nDPoP: "+proofFor(key, "POST", "http://server.example.com/ticket", token, nil)))
			_, err := row.auth.Authenticate(handshakeWith(t, "ticket="+ticketIn(t, w.Code, w.Body.Bytes())))
			wantKind(t, err, row.want)
		})
	}
}

func TestAProofRenewsAConnectionOnce(t *testing.T) {
	key := mint.New("ES256", "")
	auth := newAuth(t, withDPoP)
	token, later := boundToken(key), boundToken(key, lasting(2*time.Hour))
	proof := proofFor(key, "GET", boundURL, later, nil)
	var errs []error
	server := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		for range 2 {
			_, err := wsauth.RenewBound(ctx, later, proof)
			errs = append(errs, err)
		}
	}, nil))
	conn, _, err := websocket.Dial(t.Context(), "ws://server.example.com/ws", &websocket.DialOptions{HTTPClient: server.client(),
		HTTPHeader: http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proofFor(key, "GET", boundURL, token, nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Read(t.Context())
	wantKind(t, errs[0], nil)
	wantKind(t, errs[1], wsauth.ErrInvalidProof)
}

func TestABearerConnectionIsNotRenewedByABoundToken(t *testing.T) {
	key := mint.New("ES256", "")
	auth := newAuth(t, withDPoP)
	later := boundToken(key, lasting(2*time.Hour))
	var err error
	server := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		_, err = wsauth.RenewBound(ctx, later, proofFor(key, "GET", "http://server/ws", later, nil))
	}, nil))
	conn := server.dial(t, withToken(testToken()))
	conn.Read(t.Context())
	wantKind(t, err, wsauth.ErrInvalidToken)
	_, err = wsauth.RenewBound(t.Context(), later, "")
	wantKind(t, err, wsauth.ErrInvalidProof)
	_, err = wsauth.RenewBound(t.Context(), later, "x")
	wantKind(t, err, wsauth.ErrForbidden)
}

// A connection behind Guard may be opened without a token, and then show one that is bound.
func TestTheFirstTokenOfAConnectionMayBeBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := mint.New("ES256", "")
		auth := newAuth(t, withDPoP)
		token := boundToken(key)
		var bare, bound error
		serve := withCoder(func(ctx context.Context, conn *websocket.Conn) {
			_, bare = wsauth.Renew(ctx, token)
			_, bound = wsauth.RenewBound(ctx, token, proofFor(key, "GET", "http://server/ws", token, nil))
		})
		server := newMemoryServer(t, auth.Guard(serve, &wsauth.UpgradeOptions{FirstMessage: time.Second}))
		conn := server.dial(t, new(websocket.DialOptions))
		conn.Read(t.Context())
		wantKind(t, bare, wsauth.ErrInvalidToken)
		wantKind(t, bound, nil)
	})
}

// certificateWith is as much of a certificate as counts here.
func certificateWith(text string) *x509.Certificate { return &x509.Certificate{Raw: []byte(text)} }

func certThumbprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return mint.Base64(sum[:])
}

func TestATokenBoundToACertificateNeedsIt(t *testing.T) {
	token := testToken(map[string]any{"cnf": map[string]any{"x5t#S256": certThumbprint("alice")}})
	shown := func(names ...string) *tls.ConnectionState {
		state := new(tls.ConnectionState)
		for _, name := range names {
			state.PeerCertificates = append(state.PeerCertificates, certificateWith(name))
		}
		return state
	}
	fromProxy := func(o *wsauth.Options) {
		o.ClientCertificate = func(r *http.Request) (*x509.Certificate, error) {
			switch name := r.Header.Get("Client-Cert"); name {
			case "":
				return nil, nil
			case "broken":
				return nil, errors.New("broken: secret detail")
			case "not parsed":
				return new(x509.Certificate), nil
			default:
				return certificateWith(name), nil
			}
		}
	}
	bad := wsauth.ErrInvalidToken
	for name, row := range map[string]struct {
		change func(*wsauth.Options)
		tls    *tls.ConnectionState
		header string
		token  string
		want   error
	}{
		"its certificate":                       {nil, shown("alice"), "", token, nil},
		"its certificate and a chain":           {nil, shown("alice", "ca"), "", token, nil},
		"in the chain only":                     {nil, shown("bob", "alice"), "", token, bad},
		"another":                               {nil, shown("bob"), "", token, bad},
		"none":                                  {nil, shown(), "", token, bad},
		"no TLS":                                {nil, nil, "", token, bad},
		"a header, and no function to read it":  {nil, nil, "alice", token, bad},
		"from the proxy":                        {fromProxy, nil, "alice", token, nil},
		"from the proxy, another":               {fromProxy, nil, "bob", token, bad},
		"from the proxy, none":                  {fromProxy, nil, "", token, bad},
		"from the proxy, an error":              {fromProxy, nil, "broken", token, bad},
		"from the proxy, not parsed":            {fromProxy, nil, "not parsed", token, bad},
		"the proxy's own certificate":           {fromProxy, shown("alice"), "", token, bad},
		"a bearer token":                        {nil, shown("alice"), "", testToken(), nil},
		"a bearer token, an error of the proxy": {fromProxy, nil, "broken", testToken(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			change := row.change
			if change == nil {
				change = func(*wsauth.Options) {}
			}
			auth := newAuth(t, change, func(o *wsauth.Options) { o.CacheSize = 10 })
			for range 2 { // the second time it is remembered
				r := readRequest(t, "GET /ws\nClient-Cert: "+row.header+"\nAuthorization: Bearer "+row.token)
				r.TLS = row.tls
				_, err := auth.Authenticate(r)
				wantKind(t, err, row.want)
				if err != nil && strings.Contains(err.Error(), "detail") {
					t.Errorf("the error has the text of the function's: %v", err)
				}
			}
		})
	}
}

func TestAConnectionBoundToACertificateIsRenewedByATokenBoundToIt(t *testing.T) {
	bound := func(name string, changes ...map[string]any) string {
		return testToken(append(changes, map[string]any{"cnf": map[string]any{"x5t#S256": certThumbprint(name)}})...)
	}
	later := lasting(2 * time.Hour)
	withCertificate := func(o *wsauth.Options) {
		o.ClientCertificate = func(*http.Request) (*x509.Certificate, error) { return certificateWith("alice"), nil }
	}
	for name, row := range map[string]struct {
		first, next string
		want        error
	}{
		"to the same":           {bound("alice"), bound("alice", later), nil},
		"to another":            {bound("alice"), bound("bob", later), wsauth.ErrInvalidToken},
		"to none":               {bound("alice"), testToken(later), wsauth.ErrInvalidToken},
		"a bearer's connection": {testToken(), bound("alice", later), wsauth.ErrInvalidToken},
		"the first token":       {"", bound("alice", later), nil},
		"a foreign first token": {"", bound("bob", later), wsauth.ErrInvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, withCertificate)
			var err error
			serve := withCoder(func(ctx context.Context, conn *websocket.Conn) { _, err = wsauth.Renew(ctx, row.next) })
			server := newMemoryServer(t, auth.Guard(serve, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
			opts := &websocket.DialOptions{}
			if row.first != "" {
				opts = withToken(row.first)
			}
			conn := server.dial(t, opts)
			conn.Read(t.Context())
			wantKind(t, err, row.want)
		})
	}
}

func TestAConnectionDoesNotCountWhoseCertificateCannotBeRead(t *testing.T) {
	auth := newAuth(t, func(o *wsauth.Options) {
		o.ClientCertificate = func(*http.Request) (*x509.Certificate, error) { panic("of the application") }
	})
	h := auth.Guard(new(recorder), &wsauth.UpgradeOptions{FirstMessage: time.Minute, MaxConnections: 1})
	for i := range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("request %d: got a response, want the panic", i)
				}
			}()
			serve(h, readRequest(t, "GET /ws\nHANDSHAKE"))
		}()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := auth.Shutdown(ctx); err != nil {
		t.Errorf("got %v, want no connection that counts", err)
	}
}

func TestATicketOfATokenBoundToACertificateNeedsTheCertificateAgain(t *testing.T) {
	token := testToken(map[string]any{"cnf": map[string]any{"x5t#S256": certThumbprint("alice")}})
	alice := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificateWith("alice")}}
	for name, row := range map[string]struct {
		tls  *tls.ConnectionState
		want error
	}{"with it": {alice, nil}, "without": {nil, wsauth.ErrInvalidToken}} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, withTickets(nil))
			r := readRequest(t, "POST /ticket\nAuthorization: Bearer "+token)
			r.TLS = alice
			w := serve(auth.Tickets(), r)
			r = handshakeWith(t, "ticket="+ticketIn(t, w.Code, w.Body.Bytes()))
			r.TLS = row.tls
			_, err := auth.Authenticate(r)
			wantKind(t, err, row.want)
		})
	}
}

func TestDPoPIsLoggedWithItsSource(t *testing.T) {
	key := mint.New("ES256", "")
	token := boundToken(key)
	var log bytes.Buffer
	auth := newAuth(t, withDPoP, recordsIn(&log))
	request := "GET /ws\nAuthorization: DPoP " + token + "\nDPoP: " + proofFor(key, "GET", boundURL, token, nil)
	auth.Authenticate(readRequest(t, request))
	auth.Authenticate(readRequest(t, request))
	lines := logLines(t, &log)
	if len(lines) != 2 || lines[0]["source"] != "dpop" || lines[1]["source"] != "dpop" ||
		lines[1]["reason"] != "wsauth: invalid DPoP proof: jti: the proof was used before" {
		t.Errorf("got %v, want one success and one refusal, with the source dpop", lines)
	}
}

func TestAMistakeAboutDPoPIsAnErrorOfNew(t *testing.T) {
	for name, row := range map[string]struct {
		dpop  wsauth.DPoP
		field string // empty: none
	}{
		"the zero value":             {wsauth.DPoP{}, ""},
		"everything":                 {wsauth.DPoP{BaseURL: "https://a.example/x", MaxAge: time.Second, Algorithms: []string{"ES256"}, NonceSecret: make([]byte, 32), Replays: newTicketStore()}, ""},
		"a URL without a scheme":     {wsauth.DPoP{BaseURL: "a.example"}, "DPoP.BaseURL"},
		"a URL of ws":                {wsauth.DPoP{BaseURL: "wss://a.example"}, "DPoP.BaseURL"},
		"a URL with a final slash":   {wsauth.DPoP{BaseURL: "https://a.example/"}, "DPoP.BaseURL"},
		"a URL with a query":         {wsauth.DPoP{BaseURL: "https://a.example?"}, "DPoP.BaseURL"},
		"a URL with a fragment":      {wsauth.DPoP{BaseURL: "https://a.example#"}, "DPoP.BaseURL"},
		"a URL with a user":          {wsauth.DPoP{BaseURL: "https://u@a.example"}, "DPoP.BaseURL"},
		"a negative age":             {wsauth.DPoP{MaxAge: -1}, "DPoP.MaxAge"},
		"an age of an hour":          {wsauth.DPoP{MaxAge: time.Hour}, "DPoP.MaxAge"},
		"an algorithm unknown":       {wsauth.DPoP{Algorithms: []string{"es256"}}, "DPoP.Algorithms[0]"},
		"an algorithm with a secret": {wsauth.DPoP{Algorithms: []string{"HS256"}}, "DPoP.Algorithms"},
		"a short secret":             {wsauth.DPoP{NonceSecret: make([]byte, 31)}, "DPoP.NonceSecret"},
		"a store that is nil":        {wsauth.DPoP{Replays: (*ticketStore)(nil)}, "DPoP.Replays"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(secretOf(testKey))}}, DPoP: &row.dpop})
			var fault *wsauth.OptionError
			if errors.As(err, &fault); (fault == nil) != (row.field == "") || fault != nil && fault.Field != row.field {
				t.Errorf("got %v, want a fault of %q", err, row.field)
			}
		})
	}
	_, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(secretOf(testKey))}},
		Extractors: []wsauth.Extractor{wsauth.FromCookie("a")}, DPoP: &wsauth.DPoP{}})
	if fault := (*wsauth.OptionError)(nil); !errors.As(err, &fault) || fault.Field != "DPoP" {
		t.Errorf("without FromHeader: got %v, want a fault of DPoP", err)
	}
}

// A request with a DPoP proof, compared with its two signature checks alone.
func BenchmarkDPoP(b *testing.B) {
	client, issuer := mint.New("ES256", ""), mint.New("ES256", "")
	auth := newAuth(b, withDPoP, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.PublicKeys{issuer.Public()}
	})
	token := issuer.Token(testClaims(map[string]any{"cnf": map[string]any{"jkt": client.Thumbprint()}}))
	b.Run("request", func(b *testing.B) {
		requests := make([]*http.Request, 0, 2000)
		for b.Loop() {
			if len(requests) == 0 {
				b.StopTimer()
				for range cap(requests) {
					requests = append(requests, readRequest(b, "GET /ws\nAuthorization: DPoP "+token+
						"\nDPoP: "+proofFor(client, "GET", boundURL, token, nil)))
				}
				b.StartTimer()
			}
			r := requests[len(requests)-1]
			requests = requests[:len(requests)-1]
			if _, err := auth.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("two signatures", func(b *testing.B) {
		signed := []byte(token[:strings.LastIndexByte(token, '.')])
		sum := sha256.Sum256(signed)
		private := issuer.Private.(*ecdsa.PrivateKey)
		der, err := private.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for range 2 {
				sum := sha256.Sum256(signed)
				if !ecdsa.VerifyASN1(&private.PublicKey, sum[:], der) {
					b.Fatal("not valid")
				}
			}
		}
	})
}
