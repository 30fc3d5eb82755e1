package wsauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// sayHello says hello to whoever has opened the connection.
func sayHello(ctx context.Context, conn *websocket.Conn) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	conn.Read(ctx)
}

// greeting opens a connection and returns its first message, or the status of the refusal.
func greeting(url string, header http.Header) string {
	ctx := context.Background()
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if resp == nil {
			return err.Error()
		}
		return resp.Status
	}
	defer conn.CloseNow()
	_, message, err := conn.Read(ctx)
	if err != nil {
		return err.Error()
	}
	return string(message)
}

// An access log sees the URL without the token. The server still finds the token.
func ExampleAuthenticator_Conceal() {
	auth := exampleAuth()
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(sayHello, nil))
	accessLog := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.RequestURI)
		mux.ServeHTTP(w, r)
	})
	srv := httptest.NewServer(auth.Conceal(accessLog)) // Conceal is the outermost handler
	defer srv.Close()

	token := exampleToken(`{"sub":"alice","exp":4102444800}`)
	fmt.Println(greeting(srv.URL+"/ws?room=7&access_token="+token, nil))
	// Output:
	// GET /ws?room=7
	// hello alice
}

// postForTicket does what a page does with fetch.
func postForTicket(url, token string) string {
	req, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var issued struct {
		Ticket string `json:"ticket"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&issued); err != nil {
		return err.Error()
	}
	return issued.Ticket
}

// The client fetches a ticket for its token and connects with the ticket. In a log, the URL is worth nothing: the
// ticket is good once.
func ExampleAuthenticator_Tickets() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers:    []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", nil)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("POST /ticket", auth.Tickets())
	mux.Handle("GET /ws", auth.Upgrade(sayHello, nil))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	ticket := postForTicket(srv.URL+"/ticket", exampleToken(`{"sub":"alice","exp":4102444800}`))
	url := srv.URL + "/ws?ticket=" + ticket
	fmt.Println(greeting(url, nil))
	fmt.Println(greeting(url, nil)) // somebody has found the URL in a log
	// Output:
	// hello alice
	// 401 Unauthorized
}

// EventSource cannot set headers, so it brings a ticket. Guard ends the stream when the token expires.
func ExampleFromTicket() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers:    []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", nil)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	events := auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: hello %s, at %s\n\n", claims.Subject, r.URL) // the URL has no ticket
	}), nil)
	srv := httptest.NewServer(auth.Tickets())
	defer srv.Close()

	ticket := postForTicket(srv.URL, exampleToken(`{"sub":"alice","exp":4102444800}`))
	r := httptest.NewRequest(http.MethodGet, "/events?topic=news&ticket="+ticket, nil)
	r.Header.Set("Accept", "text/event-stream") // as EventSource does
	ask(events, r)
	// Output: 200 data: hello alice, at /events?topic=news
}

// table is a TicketStore. It stands in for a table that all servers share, with an index on the key that admits no key
// twice. A database needs one atomic statement for each step; to read first and write later is not enough:
//
//	DELETE FROM tickets WHERE key = $1 AND expires <= now()
//	INSERT INTO tickets (key, value, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING   -- added: 1 row
//	DELETE FROM tickets WHERE key = $1 AND expires > now() RETURNING value                 -- found: 1 row
type table struct {
	mu   sync.Mutex
	rows map[string]row
}

type row struct {
	value   []byte
	expires time.Time
}

func (t *table) Put(_ context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if old, ok := t.rows[key]; ok && now.Before(old.expires) {
		return false, nil
	}
	t.rows[key] = row{value, now.Add(ttl)}
	return true, nil
}

func (t *table) Take(_ context.Context, key string) (value []byte, found bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.rows[key]
	delete(t.rows, key)
	if !ok || !time.Now().Before(old.expires) {
		return nil, false, nil
	}
	return old.value, true, nil
}

// sweep deletes what has expired. Call it now and then, on one of the servers.
func (t *table) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, old := range t.rows {
		if !time.Now().Before(old.expires) {
			delete(t.rows, key)
		}
	}
}

// Two servers share a store, so a ticket of one is good on the other, and on only one of them.
func ExampleTicketStore() {
	store := &table{rows: map[string]row{}}
	defer store.sweep()
	var servers []string
	for range 2 {
		auth, err := wsauth.New(wsauth.Options{
			Issuers:    []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
			Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", store)},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		mux := http.NewServeMux()
		mux.Handle("POST /ticket", auth.Tickets())
		mux.Handle("GET /ws", auth.Upgrade(sayHello, nil))
		srv := httptest.NewServer(mux)
		defer srv.Close()
		servers = append(servers, srv.URL)
	}

	ticket := postForTicket(servers[0]+"/ticket", exampleToken(`{"sub":"alice","exp":4102444800}`))
	fmt.Println(greeting(servers[1]+"/ws?ticket="+ticket, nil))
	fmt.Println(greeting(servers[0]+"/ws?ticket="+ticket, nil))
	// Output:
	// hello alice
	// 401 Unauthorized
}

// A proofKey is the key pair of a client. Only the client has it.
type proofKey struct {
	private *ecdsa.PrivateKey
	jwk     string // the public key, with the members that RFC 7638 hashes, in its order
}

func newProofKey() (proofKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return proofKey{}, err
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return proofKey{}, err
	}
	text := base64.RawURLEncoding.EncodeToString
	jwk := fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, text(point[1:33]), text(point[33:]))
	return proofKey{private, jwk}, nil
}

// token stands in for the issuer, which writes the thumbprint of the key into the token.
func (k proofKey) token(exp int) string {
	return exampleToken(fmt.Sprintf(`{"sub":"alice","exp":%d,"cnf":{"jkt":"%s"}}`, exp, base64Hash(k.jwk)))
}

// proof signs a proof for one request. url has no query. Each request needs a new proof.
func (k proofKey) proof(method, url, token string) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": base64Hash(token),
	})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString
	signed := text([]byte(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+k.jwk+`}`)) + "." + text(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64) // RFC 7518 section 3.4
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + text(signature), nil
}

// header is what a client sends to open a WebSocket.
func (k proofKey) header(url, token string) (http.Header, error) {
	proof, err := k.proof(http.MethodGet, url, token)
	return http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proof}}, err
}

func base64Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A client with a token that is bound to its key. Whoever steals the token, or the token and a used proof, does not get
// in.
func ExampleDPoP() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		DPoP:    &wsauth.DPoP{BaseURL: "https://api.example.com"}, // what clients call this server
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(auth.Upgrade(sayHello, nil)) // in production, behind a proxy that ends TLS
	defer srv.Close()

	key, err := newProofKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	token := key.token(4102444800)
	header, err := key.header("https://api.example.com/ws", token)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(greeting(srv.URL+"/ws?room=7", header))
	fmt.Println("the same proof:", greeting(srv.URL+"/ws?room=7", header))
	fmt.Println("no proof:", greeting(srv.URL+"/ws", http.Header{"Authorization": {"Bearer " + token}}))
	// Output:
	// hello alice
	// the same proof: 401 Unauthorized
	// no proof: 401 Unauthorized
}

// serveRenewals takes messages with a token and its proof: {"token":"…","proof":"…"}.
func serveRenewals(ctx context.Context, conn *websocket.Conn) {
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var next struct{ Token, Proof string }
		if err := json.Unmarshal(message, &next); err != nil {
			conn.Close(websocket.StatusPolicyViolation, "not JSON")
			return
		}
		claims, err := wsauth.RenewBound(ctx, next.Token, next.Proof)
		if err != nil { // the connection goes on with the token that it has
			conn.Write(ctx, websocket.MessageText, []byte("refused: "+wsauth.Reason(err)))
			continue
		}
		conn.Write(ctx, websocket.MessageText, []byte("renewed until "+claims.Expiry.Format(time.DateOnly)))
	}
}

// The client sends a new token with a proof of its key, and the connection goes on.
func ExampleRenewBound() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		DPoP:    &wsauth.DPoP{BaseURL: "https://api.example.com"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(auth.Upgrade(serveRenewals, nil))
	defer srv.Close()

	key, err := newProofKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	const url = "https://api.example.com/ws" // in the proofs
	header, err := key.header(url, key.token(4102444800))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, srv.URL+"/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()
	token := key.token(4133980800)
	proof, err := key.proof(http.MethodGet, url, token)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range []string{header.Get("DPoP"), proof} { // the first is for the token of the handshake
		conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"token":"%s","proof":"%s"}`, token, p))
		_, answer, err := conn.Read(ctx)
		fmt.Printf("%s %v\n", answer, err)
	}
	// Output:
	// refused: invalid_dpop_proof <nil>
	// renewed until 2101-01-01 <nil>
}

// clientCert reads the header of RFC 9440, which the proxy sets and which clients cannot set past it.
func clientCert(r *http.Request) (*x509.Certificate, error) {
	value := r.Header.Get("Client-Cert")
	if value == "" {
		return nil, nil // the client has shown none
	}
	encoded, ok := strings.CutPrefix(value, ":")
	if ok {
		encoded, ok = strings.CutSuffix(encoded, ":")
	}
	if !ok {
		return nil, errors.New("not a byte sequence of RFC 8941")
	}
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// A proxy ends TLS and passes the client's certificate on. A token that is bound to the certificate is good for nobody
// else.
func ExampleOptions_clientCertificate() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers:           []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		ClientCertificate: clientCert,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	certificate, err := exampleCertificate()
	if err != nil {
		fmt.Println(err)
		return
	}
	token := exampleToken(`{"sub":"alice","exp":4102444800,"cnf":{"x5t#S256":"` + base64Hash(string(certificate)) + `"}}`)
	header := ":" + base64.StdEncoding.EncodeToString(certificate) + ":"
	ask(auth.Middleware(http.HandlerFunc(whoami)),
		get("Authorization", "Bearer "+token, "Client-Cert", header),
		get("Authorization", "Bearer "+token))
	// Output:
	// 200 alice
	// 401 token not valid
}

// exampleCertificate stands in for the client's certificate.
func exampleCertificate() (der []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}}
	return x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
}
