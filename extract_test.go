package wsauth_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// extractAuth takes tokens from everywhere: the query parameter access_token, the cookie session, the subprotocols
// bearer. and access_token, the header Cf-Access-Jwt-Assertion of a proxy, JSON in base64 in the cookie auth, whole or
// in pieces, and by a func from X-Token, where "broken" is malformed.
func extractAuth(t testing.TB, change ...func(*wsauth.Options)) *wsauth.Authenticator {
	t.Helper()
	return newAuth(t, append([]func(*wsauth.Options){func(o *wsauth.Options) {
		o.Extractors = []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromCookie("session"),
			wsauth.FromSubprotocol("bearer."), wsauth.FromSubprotocol("access_token"),
			wsauth.FromFunc(func(r *http.Request) (string, error) {
				if r.Header.Get("X-Token") == "broken" {
					return "ignored", errors.New("broken: " + testToken(nil))
				}
				return r.Header.Get("X-Token"), nil
			}),
			wsauth.FromProxy("CF-Access-JWT-Assertion"), wsauth.FromCookieFunc("auth", tokenInSession),
		}
		o.Origins = []string{
			"https://app.example.com", "https://*.apps.example.com", "http://[2001:db8::2]:8080",
			"http://old.example.com",
		}
	}}, change...)...)
}

// tokenInSession reads the cookie of a login that keeps more than the token in it, as Supabase's does.
func tokenInSession(value string) (string, error) {
	text, ok := strings.CutPrefix(value, "base64-")
	if !ok {
		return "ignored", errors.New("not a session: " + value)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	var session struct {
		AccessToken string `json:"access_token"`
	}
	err = json.Unmarshal(decoded, &session)
	return session.AccessToken, err
}

// sessionOf is the other way round.
func sessionOf(token string) string {
	return "base64-" + mint.Base64([]byte(`{"access_token":"`+token+`","refresh_token":"x"}`))
}

// An extraction is a request and what becomes of it. ALICE and BOB are good tokens, BAD one with a signature that is
// not valid. ALICE64 is the base64url form of ALICE, ALICE%2E has its dots escaped. ALICE-SESSION is a cookie's value
// that has ALICE in it, and ALICE-SESSION.0 to ALICE-SESSION.2 are its pieces.
type extraction struct {
	request string
	want    error  // nil: accepted
	subject string // of the token that counts; default: alice
	tls     bool
}

type tokens struct{ alice, bob, bad string }

func newTokens() tokens {
	return tokens{
		alice: testToken(nil), bob: testToken(map[string]any{"sub": "bob"}),
		bad: mint.New("HS256", "").Token(testClaims(nil)),
	}
}

func (t tokens) expand(text string) string {
	session := sessionOf(t.alice)
	third := len(session) / 3
	return strings.NewReplacer("ALICE-SESSION.0", session[:third], "ALICE-SESSION.1", session[third:2*third],
		"ALICE-SESSION.2", session[2*third:], "ALICE-SESSION", session, "BAD-SESSION", sessionOf(t.bad),
		"EMPTY-SESSION", sessionOf(""), "ALICE64", mint.Base64([]byte(t.alice)),
		"ALICE%2E", strings.ReplaceAll(t.alice, ".", "%2E"), "ALICE", t.alice, "BOB", t.bob, "BAD", t.bad).Replace(text)
}

func (x extraction) read(t testing.TB, tok tokens) *http.Request {
	t.Helper()
	r := readRequest(t, tok.expand(x.request))
	if x.tls {
		r.TLS = new(tls.ConnectionState)
	}
	return r
}

const (
	noTokenAt   = "GET /\nX-Other: 1"
	handshake   = "GET /ws\nHANDSHAKE\n"
	aliceCookie = "Cookie: session=ALICE\n"
	own         = "Origin: https://server.example.com\n"
)

var (
	none      = wsauth.ErrNoToken
	malformed = wsauth.ErrMalformedRequest
	invalid   = wsauth.ErrInvalidToken
	foreign   = wsauth.ErrOrigin
)

var extractions = map[string]extraction{
	"nothing":              {request: noTokenAt, want: none},
	"nothing, a handshake": {request: handshake, want: none},
	"nothing, a handshake from a foreign origin": {
		request: handshake + "Origin: https://evil.com", want: none,
	},
	"nothing, an OPTIONS request": {request: "OPTIONS /\nAccess-Control-Request-Method: GET", want: none},
	"nothing, a preflight of a foreign origin": {
		request: "OPTIONS /\nOrigin: https://evil.com\nAccess-Control-Request-Method: POST", want: none,
	},

	"header":                          {request: "GET /\nAuthorization: Bearer ALICE"},
	"header: lower case":              {request: "GET /\nauthorization: bearer ALICE"},
	"header: capitals":                {request: "GET /\nAUTHORIZATION: BEARER ALICE"},
	"header: mixed":                   {request: "GET /\nAuthorization: bEaReR ALICE"},
	"header: on a handshake":          {request: handshake + "Authorization: Bearer ALICE"},
	"header: on a POST":               {request: "POST /\nAuthorization: Bearer ALICE"},
	"header: on an OPTIONS request":   {request: "OPTIONS /\nAuthorization: Bearer ALICE"},
	"header: space around the value":  {request: "GET /\nAuthorization: \t Bearer ALICE \t"},
	"header: a bad token":             {request: "GET /\nAuthorization: Bearer BAD", want: invalid},
	"header: no JWT":                  {request: "GET /\nAuthorization: Bearer x", want: invalid},
	"header: the name alone":          {request: "GET /\nAuthorization: Bearer", want: malformed},
	"header: the name and space":      {request: "GET /\nAuthorization: Bearer ", want: malformed},
	"header: two spaces":              {request: "GET /\nAuthorization: Bearer  ALICE", want: malformed},
	"header: a tab":                   {request: "GET /\nAuthorization: Bearer\tALICE", want: malformed},
	"header: a space and a tab":       {request: "GET /\nAuthorization: Bearer \tALICE", want: malformed},
	"header: a word behind":           {request: "GET /\nAuthorization: Bearer ALICE x", want: malformed},
	"header: a space in the payload":  {request: "GET /\nAuthorization: Bearer e30.e 30.AA", want: malformed},
	"header: two tokens":              {request: "GET /\nAuthorization: Bearer ALICE BOB", want: malformed},
	"header: a comma":                 {request: "GET /\nAuthorization: Bearer ALICE,", want: malformed},
	"header: two challenges":          {request: "GET /\nAuthorization: Bearer ALICE, Bearer BOB", want: malformed},
	"header: a semicolon":             {request: "GET /\nAuthorization: Bearer ALICE; a=b", want: malformed},
	"header: rubbish beyond 8 KiB":    {request: "GET /\nAuthorization: Bearer " + strings.Repeat("\"", 8193), want: invalid},
	"header: quotes":                  {request: "GET /\nAuthorization: Bearer \"ALICE\"", want: malformed},
	"header: a colon":                 {request: "GET /\nAuthorization: Bearer: ALICE", want: malformed},
	"header: an equals sign":          {request: "GET /\nAuthorization: Bearer=ALICE", want: malformed},
	"header: beyond ASCII":            {request: "GET /\nAuthorization: Bearer ALICE\u00fc", want: malformed},
	"header: a non-breaking space":    {request: "GET /\nAuthorization: Bearer\u00a0ALICE", want: malformed},
	"header: a longer scheme":         {request: "GET /\nAuthorization: Bearers ALICE", want: none},
	"header: a scheme that begins so": {request: "GET /\nAuthorization: BearerALICE", want: none},
	"header: a scheme that ends so":   {request: "GET /\nAuthorization: XBearer ALICE", want: none},
	"header: no scheme":               {request: "GET /\nAuthorization: ALICE", want: none},
	"header: empty":                   {request: "GET /\nAuthorization:", want: none},
	"header: Basic":                   {request: "GET /\nAuthorization: Basic dTpw", want: none},
	"header: Basic, malformed":        {request: "GET /\nAuthorization: Basic", want: none},
	"header: Digest":                  {request: "GET /\nAuthorization: Digest username=\"Bearer ALICE\"", want: none},
	"header: Basic and Bearer": {
		request: "GET /\nAuthorization: Basic dTpw\nAuthorization: Bearer ALICE", want: malformed,
	},
	"header: Bearer and Basic": {
		request: "GET /\nAuthorization: Bearer ALICE\nAuthorization: Basic dTpw", want: malformed,
	},
	"header: Bearer and nothing": {
		request: "GET /\nAuthorization: Bearer ALICE\nAuthorization:", want: malformed,
	},
	"header: twice": {
		request: "GET /\nAuthorization: Bearer ALICE\nAuthorization: Bearer BOB", want: malformed,
	},
	"header: twice the same": {
		request: "GET /\nAuthorization: Bearer ALICE\nauthorization: Bearer ALICE", want: malformed,
	},
	"header: Basic twice": {
		request: "GET /\nAuthorization: Basic dTpw\nAuthorization: Basic dTpw", want: malformed,
	},
	"header: Proxy-Authorization":      {request: "GET /\nProxy-Authorization: Bearer ALICE", want: none},
	"header: X-Authorization":          {request: "GET /\nX-Authorization: Bearer ALICE", want: none},
	"header: a token in another place": {request: "GET /\nX-Access-Token: ALICE", want: none},

	"query":                           {request: "GET /ws?access_token=ALICE\nHANDSHAKE"},
	"query: behind another parameter": {request: "GET /ws?a=b&access_token=ALICE\nHANDSHAKE"},
	"query: before another parameter": {request: "GET /ws?access_token=ALICE&a=b\nHANDSHAKE"},
	"query: an escape in the name":    {request: "GET /ws?access%5Ftoken=ALICE\nHANDSHAKE"},
	"query: each letter an escape": {
		request: "GET /ws?%61%63%63%65%73%73%5f%74%6f%6b%65%6e=ALICE\nHANDSHAKE",
	},
	"query: escapes in the value":     {request: "GET /ws?access_token=ALICE%2E\nHANDSHAKE"},
	"query: another one is malformed": {request: "GET /ws?a=%zz&access_token=ALICE&b;c\nHANDSHAKE"},
	"query: empty pairs":              {request: "GET /ws?&&access_token=ALICE&&\nHANDSHAKE"},
	"query: odd letters in the handshake": {
		request: "GET /ws?access_token=ALICE\nconnection: UPGRADE\nupgrade: WebSocket",
	},
	"query: lists in the handshake": {
		request: "GET /ws?access_token=ALICE\nConnection: a\nConnection: b ,upgrade\nUpgrade: h2c, websocket",
	},
	"query: a bad token":      {request: "GET /ws?access_token=BAD\nHANDSHAKE", want: invalid},
	"query: no JWT":           {request: "GET /ws?access_token=x\nHANDSHAKE", want: invalid},
	"query: a space":          {request: "GET /ws?access_token=+ALICE\nHANDSHAKE", want: invalid},
	"query: an escaped space": {request: "GET /ws?access_token=ALICE%20\nHANDSHAKE", want: invalid},
	"query: twice":            {request: "GET /ws?access_token=ALICE&access_token=BOB\nHANDSHAKE", want: malformed},
	"query: twice the same":   {request: "GET /ws?access_token=ALICE&access_token=ALICE\nHANDSHAKE", want: malformed},
	"query: twice, one with an escape": {
		request: "GET /ws?access_token=ALICE&access%5ftoken=BOB\nHANDSHAKE", want: malformed,
	},
	"query: twice, the first empty":  {request: "GET /ws?access_token=&access_token=BOB\nHANDSHAKE", want: malformed},
	"query: twice, the second empty": {request: "GET /ws?access_token=ALICE&access_token\nHANDSHAKE", want: malformed},
	"query: empty":                   {request: "GET /ws?access_token=\nHANDSHAKE", want: malformed},
	"query: no equals sign":          {request: "GET /ws?access_token\nHANDSHAKE", want: malformed},
	"query: empty with an escape":    {request: "GET /ws?access%5ftoken=\nHANDSHAKE", want: malformed},
	"query: a bad escape":            {request: "GET /ws?access_token=ALICE%\nHANDSHAKE", want: malformed},
	"query: a bad escape alone":      {request: "GET /ws?access_token=%zz\nHANDSHAKE", want: malformed},
	"query: a semicolon before":      {request: "GET /ws?a=b;access_token=ALICE\nHANDSHAKE", want: malformed},
	"query: a semicolon before, and no equals sign": {
		request: "GET /ws?a;access_token=ALICE\nHANDSHAKE", want: malformed,
	},
	"query: a semicolon first":  {request: "GET /ws?;access_token=ALICE\nHANDSHAKE", want: malformed},
	"query: a semicolon behind": {request: "GET /ws?access_token=ALICE;a=b\nHANDSHAKE", want: malformed},
	"query: a semicolon last":   {request: "GET /ws?access_token=ALICE;\nHANDSHAKE", want: malformed},
	"query: a semicolon in the name's place": {
		request: "GET /ws?access_token;a=ALICE\nHANDSHAKE", want: malformed,
	},
	"query: two with a semicolon": {
		request: "GET /ws?access_token=ALICE;access_token=BOB\nHANDSHAKE", want: malformed,
	},
	"query: a semicolon and an escape in the name": {
		request: "GET /ws?a=b;access%5Ftoken=ALICE\nHANDSHAKE", want: malformed,
	},
	"query: an escaped semicolon": {request: "GET /ws?a=b%3Baccess_token=x.y.z\nHANDSHAKE", want: none},
	"query: another name":         {request: "GET /ws?token=x.y.z\nHANDSHAKE", want: none},
	"query: a longer name": {
		request: "GET /ws?access_token2=x.y.z&my_access_token=x.y.z\nHANDSHAKE", want: none,
	},
	"query: other letters": {
		request: "GET /ws?Access_Token=x.y.z&ACCESS_TOKEN=x.y.z\nHANDSHAKE", want: none,
	},
	"query: a space behind the name":  {request: "GET /ws?access_token+=x.y.z\nHANDSHAKE", want: none},
	"query: an array":                 {request: "GET /ws?access_token[]=x.y.z\nHANDSHAKE", want: none},
	"query: a bad escape in the name": {request: "GET /ws?access_token%=x.y.z&access%zztoken=x.y.z\nHANDSHAKE", want: none},
	"query: escaped twice":            {request: "GET /ws?access%255Ftoken=x.y.z\nHANDSHAKE", want: none},
	"query: a value that looks like":  {request: "GET /ws?a=access_token=x.y.z\nHANDSHAKE", want: none},
	"query: in the fragment's place":  {request: "GET /ws?a=b#access_token=x.y.z\nHANDSHAKE", want: none},
	"query: in the path":              {request: "GET /access_token=x.y.z\nHANDSHAKE", want: none},
	"query: a question mark only":     {request: "GET /ws?\nHANDSHAKE", want: none},
	"query: on a plain GET":           {request: "GET /?access_token=ALICE", want: malformed},
	"query: empty, on a plain GET":    {request: "GET /?access_token=", want: malformed},
	"query: on a POST":                {request: "POST /?access_token=ALICE", want: malformed},
	"query: on a POST like handshake": {request: "POST /?access_token=ALICE\nHANDSHAKE", want: malformed},
	"query: on a HEAD like handshake": {request: "HEAD /?access_token=ALICE\nHANDSHAKE", want: malformed},
	"query: without Connection":       {request: "GET /?access_token=ALICE\nUpgrade: websocket", want: malformed},
	"query: without Upgrade":          {request: "GET /?access_token=ALICE\nConnection: upgrade", want: malformed},
	"query: on another upgrade": {
		request: "GET /?access_token=ALICE\nConnection: upgrade\nUpgrade: h2c", want: malformed,
	},
	"query: on a longer protocol": {
		request: "GET /?access_token=ALICE\nConnection: upgrade\nUpgrade: websocket2", want: malformed,
	},

	"cookie":                          {request: "GET /\nCookie: session=ALICE"},
	"cookie: among others":            {request: "GET /\nCookie: a=b; session=ALICE; c=d"},
	"cookie: in a second line":        {request: "GET /\nCookie: a=b\nCookie: session=ALICE"},
	"cookie: no space":                {request: "GET /\nCookie: a=b;session=ALICE;c=d"},
	"cookie: space around":            {request: "GET /\nCookie: a=b; \t session=ALICE \t ; c=d"},
	"cookie: quotes":                  {request: "GET /\nCookie: session=\"ALICE\""},
	"cookie: others are malformed":    {request: "GET /\nCookie: ;; =; a; \"b\"=c; session=ALICE; d=\"; e=\\"},
	"cookie: others are there twice":  {request: "GET /\nCookie: a=b; a=b; session=ALICE"},
	"cookie: on a HEAD":               {request: "HEAD /\nCookie: session=ALICE"},
	"cookie: on an OPTIONS request":   {request: "OPTIONS /\nCookie: session=ALICE"},
	"cookie: a bad token":             {request: "GET /\nCookie: session=BAD", want: invalid},
	"cookie: no JWT":                  {request: "GET /\nCookie: session=x", want: invalid},
	"cookie: a quote":                 {request: "GET /\nCookie: session=\"ALICE", want: invalid},
	"cookie: a space before":          {request: "GET /\nCookie: session= ALICE", want: invalid},
	"cookie: an escape":               {request: "GET /\nCookie: session=ALICE%2E", want: invalid},
	"cookie: empty":                   {request: "GET /\nCookie: session=", want: none},
	"cookie: empty with quotes":       {request: "GET /\nCookie: session=\"\"", want: none},
	"cookie: no equals sign":          {request: "GET /\nCookie: session", want: none},
	"cookie: no cookie":               {request: "GET /\nCookie:", want: none},
	"cookie: other letters":           {request: "GET /\nCookie: Session=ALICE", want: none},
	"cookie: another name":            {request: "GET /\nCookie: sessions=ALICE; mysession=ALICE", want: none},
	"cookie: another prefix":          {request: "GET /\nCookie: __Host-session=ALICE", want: none},
	"cookie: a name in quotes":        {request: "GET /\nCookie: \"session\"=ALICE", want: none},
	"cookie: an escape in the name":   {request: "GET /\nCookie: sessio%6e=ALICE", want: none},
	"cookie: in a value":              {request: "GET /\nCookie: a=session=ALICE", want: none},
	"cookie: behind a comma":          {request: "GET /\nCookie: a=b, session=ALICE", want: none},
	"cookie: twice":                   {request: "GET /\nCookie: session=ALICE; session=BOB", want: malformed},
	"cookie: twice the same":          {request: "GET /\nCookie: session=ALICE; session=ALICE", want: malformed},
	"cookie: twice in two lines":      {request: "GET /\nCookie: session=ALICE\nCookie: session=BOB", want: malformed},
	"cookie: twice, the first empty":  {request: "GET /\nCookie: session=; session=ALICE", want: malformed},
	"cookie: twice, one without sign": {request: "GET /\nCookie: session=ALICE; session", want: malformed},
	"cookie: twice, one not valid":    {request: "GET /\nCookie: session=\\; session=ALICE", want: malformed},

	"handshake: own origin":             {request: handshake + aliceCookie + own},
	"handshake: own origin over TLS":    {request: handshake + aliceCookie + own, tls: true},
	"handshake: own origin without TLS": {request: handshake + aliceCookie + "Origin: http://server.example.com"},
	"handshake: own origin, capitals":   {request: handshake + aliceCookie + "Origin: HTTPS://SERVER.example.com"},
	"handshake: Host in capitals":       {request: handshake + "Host: SERVER.Example.com\n" + aliceCookie + own},
	"handshake: default port in Origin": {request: handshake + aliceCookie + "Origin: https://server.example.com:443"},
	"handshake: default port in Host":   {request: handshake + "Host: server.example.com:443\n" + aliceCookie + own},
	"handshake: http's port in Host": {
		request: handshake + "Host: server.example.com:80\n" + aliceCookie + "Origin: http://server.example.com",
	},
	"handshake: a port": {
		request: handshake + "Host: localhost:8080\n" + aliceCookie + "Origin: http://localhost:8080",
	},
	"handshake: IPv6": {
		request: handshake + "Host: [::1]:8080\n" + aliceCookie + "Origin: http://[::1]:8080",
	},
	"handshake: IPv6, capitals": {
		request: handshake + "Host: [2001:DB8::1]\n" + aliceCookie + "Origin: https://[2001:db8::1]:443",
	},
	"handshake: listed": {request: handshake + aliceCookie + "Origin: https://app.example.com"},
	"handshake: listed, over TLS": {
		request: handshake + aliceCookie + "Origin: https://app.example.com", tls: true,
	},
	"handshake: listed with http": {
		request: handshake + aliceCookie + "Origin: http://old.example.com", tls: true,
	},
	"handshake: listed, default port":    {request: handshake + aliceCookie + "Origin: https://app.example.com:443"},
	"handshake: listed, capitals":        {request: handshake + aliceCookie + "Origin: https://APP.example.com"},
	"handshake: listed IPv6":             {request: handshake + aliceCookie + "Origin: http://[2001:DB8::2]:8080"},
	"handshake: star":                    {request: handshake + aliceCookie + "Origin: https://a.apps.example.com"},
	"handshake: star, two labels":        {request: handshake + aliceCookie + "Origin: https://a.b.apps.example.com"},
	"handshake: own origin, a bad token": {request: handshake + "Cookie: session=BAD\n" + own, want: invalid},
	"handshake: own origin, two cookies": {
		request: handshake + "Cookie: session=ALICE; session=BOB\n" + own, want: malformed,
	},
	"handshake: no origin":       {request: handshake + aliceCookie, want: foreign},
	"handshake: an empty origin": {request: handshake + aliceCookie + "Origin:", want: foreign},
	"handshake: null":            {request: handshake + aliceCookie + "Origin: null", want: foreign},
	"handshake: own twice":       {request: handshake + aliceCookie + own + own, want: foreign},
	"handshake: own and a foreign": {
		request: handshake + aliceCookie + own + "Origin: https://evil.com", want: foreign,
	},
	"handshake: a foreign and own": {
		request: handshake + aliceCookie + "Origin: https://evil.com\n" + own, want: foreign,
	},
	"handshake: two in one": {
		request: handshake + aliceCookie + "Origin: https://server.example.com https://evil.com", want: foreign,
	},
	"handshake: foreign": {request: handshake + aliceCookie + "Origin: https://evil.com", want: foreign},
	"handshake: foreign, a bad one": {
		request: handshake + "Cookie: session=BAD\nOrigin: https://evil.com", want: foreign,
	},
	"handshake: a sibling": {
		request: handshake + aliceCookie + "Origin: https://blog.example.com", want: foreign,
	},
	"handshake: a parent": {request: handshake + aliceCookie + "Origin: https://example.com", want: foreign},
	"handshake: a subdomain": {
		request: handshake + aliceCookie + "Origin: https://a.server.example.com", want: foreign,
	},
	"handshake: a longer domain": {
		request: handshake + aliceCookie + "Origin: https://server.example.com.evil.com", want: foreign,
	},
	"handshake: a suffix": {
		request: handshake + aliceCookie + "Origin: https://evilserver.example.com", want: foreign,
	},
	"handshake: user information": {
		request: handshake + aliceCookie + "Origin: https://server.example.com@evil.com", want: foreign,
	},
	"handshake: a path": {
		request: handshake + aliceCookie + "Origin: https://server.example.com/", want: foreign,
	},
	"handshake: no scheme": {request: handshake + aliceCookie + "Origin: server.example.com", want: foreign},
	"handshake: another port": {
		request: handshake + aliceCookie + "Origin: https://server.example.com:8443", want: foreign,
	},
	"handshake: ports across": {
		request: handshake + "Host: server.example.com:80\n" + aliceCookie + own, want: foreign,
	},
	"handshake: http over TLS": {
		request: handshake + aliceCookie + "Origin: http://server.example.com", want: foreign, tls: true,
	},
	"handshake: wss for a scheme": {
		request: handshake + aliceCookie + "Origin: wss://server.example.com", want: foreign,
	},
	"handshake: listed, but http": {
		request: handshake + aliceCookie + "Origin: http://app.example.com", want: foreign,
	},
	"handshake: listed, but a port": {
		request: handshake + aliceCookie + "Origin: https://app.example.com:8443", want: foreign,
	},
	"handshake: listed, longer": {
		request: handshake + aliceCookie + "Origin: https://app.example.com.evil.com", want: foreign,
	},
	"handshake: star, no label": {
		request: handshake + aliceCookie + "Origin: https://apps.example.com", want: foreign,
	},
	"handshake: star, a suffix": {
		request: handshake + aliceCookie + "Origin: https://evilapps.example.com", want: foreign,
	},
	"handshake: star, longer": {
		request: handshake + aliceCookie + "Origin: https://a.apps.example.com.evil.com", want: foreign,
	},
	"handshake: star, http": {
		request: handshake + aliceCookie + "Origin: http://a.apps.example.com", want: foreign,
	},
	"handshake: an empty cookie":     {request: handshake + "Cookie: session=\nOrigin: https://evil.com", want: none},
	"handshake: Sec-Fetch-Site only": {request: handshake + aliceCookie + "Sec-Fetch-Site: same-origin", want: foreign},
	"handshake: Sec-Fetch-Site is no substitute": {
		request: handshake + aliceCookie + "Origin: https://evil.com\nSec-Fetch-Site: same-origin", want: foreign,
	},

	"odd handshake: no Connection": {request: "GET /\nUpgrade: websocket\nCookie: session=ALICE", want: foreign},
	"odd handshake: a list": {
		request: "GET /\nUpgrade: WebSocket, foo\nCookie: session=ALICE", want: foreign,
	},
	"odd handshake: another protocol": {
		request: "GET /\nConnection: upgrade\nUpgrade: h2c\nCookie: session=ALICE", want: foreign,
	},
	"odd handshake: an empty Upgrade": {request: "GET /\nUpgrade:\nCookie: session=ALICE", want: foreign},
	"odd handshake: a key alone":      {request: "GET /\nSec-WebSocket-Key: x\nCookie: session=ALICE", want: foreign},
	"odd handshake: a POST": {
		request: "POST /\nHANDSHAKE\nCookie: session=ALICE\nSec-Fetch-Site: same-origin", want: foreign,
	},
	"odd handshake: CONNECT": {request: "CONNECT /ws\nCookie: session=ALICE", want: foreign},
	"odd handshake: CONNECT, foreign": {
		request: "CONNECT /ws\nCookie: session=ALICE\nOrigin: https://evil.com", want: foreign,
	},
	"odd handshake: CONNECT, own":       {request: "CONNECT /ws\nCookie: session=ALICE\n" + own},
	"odd handshake: a list, own":        {request: "GET /\nUpgrade: WebSocket, foo\nCookie: session=ALICE\n" + own},
	"odd handshake: no Connection, own": {request: "GET /\nUpgrade: websocket\nCookie: session=ALICE\n" + own},

	"unsafe: no headers":       {request: "POST /\nCookie: session=ALICE"},
	"unsafe: same-origin":      {request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: same-origin"},
	"unsafe: same-origin, own": {request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: same-origin\n" + own},
	"unsafe: by the user":      {request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: none"},
	"unsafe: own":              {request: "POST /\nCookie: session=ALICE\n" + own},
	"unsafe: listed":           {request: "POST /\nCookie: session=ALICE\nOrigin: https://app.example.com"},
	"unsafe: listed, cross-site": {
		request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site\nOrigin: https://app.example.com",
	},
	"unsafe: listed, same-site": {
		request: "DELETE /\nCookie: session=ALICE\nSec-Fetch-Site: same-site\nOrigin: https://a.apps.example.com",
	},
	"unsafe: cross-site": {
		request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site", want: foreign,
	},
	"unsafe: cross-site, own": {
		request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site\n" + own, want: foreign,
	},
	"unsafe: cross-site, null": {
		request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site\nOrigin: null", want: foreign,
	},
	"unsafe: same-site": {
		request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: same-site", want: foreign,
	},
	"unsafe: rubbish":            {request: "POST /\nCookie: session=ALICE\nSec-Fetch-Site: x", want: foreign},
	"unsafe: foreign":            {request: "POST /\nCookie: session=ALICE\nOrigin: https://evil.com", want: foreign},
	"unsafe: foreign, a bad one": {request: "POST /\nCookie: session=BAD\nOrigin: https://evil.com", want: foreign},
	"unsafe: null":               {request: "POST /\nCookie: session=ALICE\nOrigin: null", want: foreign},
	"unsafe: listed and a foreign": {
		request: "POST /\nCookie: session=ALICE\nOrigin: https://app.example.com\nOrigin: https://evil.com",
		want:    foreign,
	},
	"unsafe: PUT": {
		request: "PUT /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site", want: foreign,
	},
	"unsafe: PATCH": {
		request: "PATCH /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site", want: foreign,
	},
	"unsafe: DELETE": {
		request: "DELETE /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site", want: foreign,
	},
	"unsafe: an unknown method": {
		request: "PROPFIND /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site", want: foreign,
	},
	"unsafe: get in lower case": {
		request: "get /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site", want: foreign,
	},
	"unsafe: two cookies": {
		request: "POST /\nCookie: session=ALICE; session=BOB\nOrigin: https://evil.com", want: malformed,
	},
	"unsafe: with a header": {
		request: "POST /\nAuthorization: Bearer ALICE\nSec-Fetch-Site: cross-site\nOrigin: https://evil.com",
	},
	"safe: a foreign GET": {
		request: "GET /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site\nOrigin: https://evil.com",
	},
	"safe: a foreign HEAD": {request: "HEAD /\nCookie: session=ALICE\nSec-Fetch-Site: cross-site"},

	"subprotocol":           {request: handshake + "Sec-WebSocket-Protocol: chat.v1, bearer.ALICE"},
	"subprotocol: first":    {request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE, chat.v1"},
	"subprotocol: alone":    {request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE"},
	"subprotocol: no space": {request: handshake + "Sec-WebSocket-Protocol: chat.v1,bearer.ALICE,chat.v2"},
	"subprotocol: much space": {
		request: handshake + "Sec-WebSocket-Protocol: chat.v1 ,\t bearer.ALICE \t, chat.v2",
	},
	"subprotocol: in a second line": {
		request: handshake + "Sec-WebSocket-Protocol: chat.v1\nSec-WebSocket-Protocol: bearer.ALICE",
	},
	"subprotocol: base64url": {request: handshake + "Sec-WebSocket-Protocol: chat.v1, bearer.ALICE64"},
	"subprotocol: a foreign origin": {
		request: handshake + "Origin: https://evil.com\nSec-WebSocket-Protocol: bearer.ALICE",
	},
	"subprotocol: a bad token":         {request: handshake + "Sec-WebSocket-Protocol: bearer.BAD", want: invalid},
	"subprotocol: base64url of no JWT": {request: handshake + "Sec-WebSocket-Protocol: bearer.eHl6", want: invalid},
	"subprotocol: no JWT":              {request: handshake + "Sec-WebSocket-Protocol: bearer.a.b", want: invalid},
	"subprotocol: empty": {
		request: handshake + "Sec-WebSocket-Protocol: chat.v1, bearer.", want: malformed,
	},
	"subprotocol: padded":            {request: handshake + "Sec-WebSocket-Protocol: bearer.eHk=", want: malformed},
	"subprotocol: not canonical":     {request: handshake + "Sec-WebSocket-Protocol: bearer.eHl", want: malformed},
	"subprotocol: not base64url":     {request: handshake + "Sec-WebSocket-Protocol: bearer.!!!", want: malformed},
	"subprotocol: of another base64": {request: handshake + "Sec-WebSocket-Protocol: bearer.+/+/", want: malformed},
	"subprotocol: twice": {
		request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE, bearer.BOB", want: malformed,
	},
	"subprotocol: twice the same": {
		request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE, bearer.ALICE", want: malformed,
	},
	"subprotocol: twice in two lines": {
		request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE\nSec-WebSocket-Protocol: bearer.BOB",
		want:    malformed,
	},
	"subprotocol: twice, one empty": {
		request: handshake + "Sec-WebSocket-Protocol: bearer., bearer.BOB", want: malformed,
	},
	"subprotocol: other letters":     {request: handshake + "Sec-WebSocket-Protocol: Bearer.x.y.z", want: none},
	"subprotocol: no dot":            {request: handshake + "Sec-WebSocket-Protocol: bearer, x.y.z", want: none},
	"subprotocol: another separator": {request: handshake + "Sec-WebSocket-Protocol: bearer-x.y.z", want: none},
	"subprotocol: a longer prefix":   {request: handshake + "Sec-WebSocket-Protocol: xbearer.x.y.z", want: none},
	"subprotocol: behind a prefix":   {request: handshake + "Sec-WebSocket-Protocol: chat.bearer.x.y.z", want: none},
	"subprotocol: others only":       {request: handshake + "Sec-WebSocket-Protocol: chat.v1, chat.v2", want: none},
	"subprotocol: on a plain GET":    {request: "GET /\nSec-WebSocket-Protocol: bearer.ALICE", want: malformed},
	"subprotocol: on a POST": {
		request: "POST /\nHANDSHAKE\nSec-WebSocket-Protocol: bearer.ALICE", want: malformed,
	},
	"subprotocol: empty, a plain GET": {request: "GET /\nSec-WebSocket-Protocol: bearer.", want: malformed},

	"pair":                     {request: handshake + "Sec-WebSocket-Protocol: access_token, ALICE"},
	"pair: no space":           {request: handshake + "Sec-WebSocket-Protocol: access_token,ALICE"},
	"pair: among others":       {request: handshake + "Sec-WebSocket-Protocol: chat.v1, access_token, ALICE, chat.v2"},
	"pair: two lines":          {request: handshake + "Sec-WebSocket-Protocol: access_token\nSec-WebSocket-Protocol: ALICE"},
	"pair: empty entries":      {request: handshake + "Sec-WebSocket-Protocol: ,access_token , ,\t ALICE,,"},
	"pair: base64url":          {request: handshake + "Sec-WebSocket-Protocol: access_token, ALICE64"},
	"pair: a foreign origin":   {request: handshake + "Origin: https://evil.com\nSec-WebSocket-Protocol: access_token, ALICE"},
	"pair: a bad token":        {request: handshake + "Sec-WebSocket-Protocol: access_token, BAD", want: invalid},
	"pair: a protocol instead": {request: handshake + "Sec-WebSocket-Protocol: access_token, chat.v1", want: invalid},
	"pair: a word instead":     {request: handshake + "Sec-WebSocket-Protocol: access_token, chat2", want: malformed},
	"pair: nothing behind":     {request: handshake + "Sec-WebSocket-Protocol: access_token", want: malformed},
	"pair: nothing behind, others": {
		request: handshake + "Sec-WebSocket-Protocol: chat.v1, access_token,", want: malformed,
	},
	"pair: the wrong way round": {request: handshake + "Sec-WebSocket-Protocol: x.y.z, access_token", want: malformed},
	"pair: the first twice":     {request: handshake + "Sec-WebSocket-Protocol: access_token, access_token", want: malformed},
	"pair: the first twice and a token": {
		request: handshake + "Sec-WebSocket-Protocol: access_token, access_token, ALICE", want: malformed,
	},
	"pair: the first again": {
		request: handshake + "Sec-WebSocket-Protocol: access_token, ALICE, access_token", want: malformed,
	},
	"pair: two": {
		request: handshake + "Sec-WebSocket-Protocol: access_token, ALICE, access_token, BOB", want: malformed,
	},
	"pair: two tokens behind": {request: handshake + "Sec-WebSocket-Protocol: access_token, ALICE, x.y.z"},
	"pair: other letters":     {request: handshake + "Sec-WebSocket-Protocol: Access_Token, x.y.z", want: none},
	"pair: a longer first":    {request: handshake + "Sec-WebSocket-Protocol: access_token2, x.y.z", want: none},
	"pair: as a prefix":       {request: handshake + "Sec-WebSocket-Protocol: access_token.x.y.z", want: none},
	"pair: quotes":            {request: handshake + "Sec-WebSocket-Protocol: \"access_token\", x.y.z", want: none},
	"pair: on a plain GET":    {request: "GET /\nSec-WebSocket-Protocol: access_token, ALICE", want: malformed},
	"pair: half on a GET":     {request: "GET /\nSec-WebSocket-Protocol: access_token", want: malformed},
	"pair: on a POST": {
		request: "POST /\nHANDSHAKE\nSec-WebSocket-Protocol: access_token, ALICE", want: malformed,
	},
	"pair: a prefix behind": {
		request: handshake + "Sec-WebSocket-Protocol: access_token, bearer.ALICE", want: malformed,
	},
	"pair and prefix": {
		request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE, access_token, BOB", want: malformed,
	},
	"pair and header": {
		request: handshake + "Authorization: Bearer ALICE\nSec-WebSocket-Protocol: access_token, BOB", want: malformed,
	},
	"pair and query": {
		request: "GET /ws?access_token=ALICE\nHANDSHAKE\nSec-WebSocket-Protocol: access_token, ALICE", want: malformed,
	},
	"pair and cookie":      {request: handshake + own + "Cookie: session=BOB\nSec-WebSocket-Protocol: access_token, ALICE"},
	"pair, bad and cookie": {request: handshake + own + "Cookie: session=BOB\nSec-WebSocket-Protocol: access_token, BAD", want: invalid},
	"half a pair and cookie": {
		request: handshake + own + "Cookie: session=BOB\nSec-WebSocket-Protocol: access_token", want: malformed,
	},

	"func":               {request: "GET /\nX-Token: ALICE"},
	"func: a handshake":  {request: handshake + "X-Token: ALICE"},
	"func: nothing":      {request: "GET /\nX-Token:", want: none},
	"func: a bad token":  {request: "GET /\nX-Token: BAD", want: invalid},
	"func: no JWT":       {request: "GET /\nX-Token: x", want: invalid},
	"func: an error":     {request: "GET /\nX-Token: broken", want: malformed},
	"func: a wrong POST": {request: "POST /\nX-Token: ALICE\nSec-Fetch-Site: cross-site"},

	"session":                       {request: "GET /\nCookie: auth=ALICE-SESSION"},
	"session: quotes":               {request: "GET /\nCookie: auth=\"ALICE-SESSION\""},
	"session: one piece":            {request: "GET /\nCookie: auth.0=ALICE-SESSION"},
	"session: pieces":               {request: "GET /\nCookie: auth.0=ALICE-SESSION.0; auth.1=ALICE-SESSION.1; auth.2=ALICE-SESSION.2"},
	"session: pieces in disorder":   {request: "GET /\nCookie: auth.2=ALICE-SESSION.2; a=b; auth.0=ALICE-SESSION.0\nCookie: auth.1=ALICE-SESSION.1"},
	"session: an empty piece":       {request: "GET /\nCookie: auth.0=ALICE-SESSION; auth.1="},
	"session: other names":          {request: "GET /\nCookie: auth=ALICE-SESSION; auth.x=1; auth.01=2; auth.=3; auth.1x=4; authx=5; auth.-1=6"},
	"session: empty":                {request: "GET /\nCookie: auth=", want: none},
	"session: empty pieces":         {request: "GET /\nCookie: auth.0=; auth.1=", want: none},
	"session: without a login":      {request: "GET /\nCookie: auth=EMPTY-SESSION", want: none},
	"session: a bare token":         {request: "GET /\nCookie: auth=ALICE", want: malformed},
	"session: rubbish":              {request: "GET /\nCookie: auth=base64-!", want: malformed},
	"session: a bad token":          {request: "GET /\nCookie: auth=BAD-SESSION", want: invalid},
	"session: a gap":                {request: "GET /\nCookie: auth.0=ALICE-SESSION; auth.2=x", want: malformed},
	"session: no first piece":       {request: "GET /\nCookie: auth.1=ALICE-SESSION", want: malformed},
	"session: a piece twice":        {request: "GET /\nCookie: auth.0=ALICE-SESSION; auth.0=ALICE-SESSION", want: malformed},
	"session: twice":                {request: "GET /\nCookie: auth=ALICE-SESSION; auth=ALICE-SESSION", want: malformed},
	"session: twice, one empty":     {request: "GET /\nCookie: auth=; auth=ALICE-SESSION", want: malformed},
	"session: whole and a piece":    {request: "GET /\nCookie: auth=ALICE-SESSION; auth.0=ALICE-SESSION", want: malformed},
	"session: empty and a piece":    {request: "GET /\nCookie: auth=; auth.0=ALICE-SESSION", want: malformed},
	"session: whole and piece 1":    {request: "GET /\nCookie: auth=ALICE-SESSION; auth.1=x", want: malformed},
	"session: 17 pieces":            {request: "GET /\nCookie: " + pieces(17), want: malformed},
	"session: 16 pieces":            {request: "GET /\nCookie: " + pieces(16)},
	"session: piece 99999999999999": {request: "GET /\nCookie: auth.0=ALICE-SESSION; auth.99999999999999999999=x", want: malformed},
	"session: a handshake, own":     {request: handshake + own + "Cookie: auth=ALICE-SESSION"},
	"session: a handshake, foreign": {
		request: handshake + "Origin: https://evil.com\nCookie: auth.0=ALICE-SESSION.0; auth.1=ALICE-SESSION.1; auth.2=ALICE-SESSION.2", want: foreign,
	},
	"session: a handshake, no origin": {request: handshake + "Cookie: auth=ALICE-SESSION", want: foreign},
	"session: a POST, cross-site":     {request: "POST /\nSec-Fetch-Site: cross-site\nCookie: auth=ALICE-SESSION", want: foreign},
	"session: a POST of its own":      {request: "POST /\nSec-Fetch-Site: same-origin\nCookie: auth=ALICE-SESSION"},
	"session and header":              {request: "GET /\nAuthorization: Bearer BOB\nCookie: auth=ALICE-SESSION", subject: "bob"},
	"session of rubbish and header":   {request: "GET /\nAuthorization: Bearer BOB\nCookie: auth=x; auth.0=y", subject: "bob"},
	"session and cookie":              {request: "GET /\nCookie: auth=ALICE-SESSION; session=BOB", subject: "bob"},
	"session of rubbish and cookie":   {request: "GET /\nCookie: auth=x; session=BOB", subject: "bob"},
	"session and empty cookie":        {request: "GET /\nCookie: auth=ALICE-SESSION; session="},

	"proxy":                   {request: "GET /\nCf-Access-Jwt-Assertion: ALICE"},
	"proxy: Bearer":           {request: "GET /\nCf-Access-Jwt-Assertion: Bearer ALICE"},
	"proxy: bearer":           {request: "GET /\ncf-access-jwt-assertion: bearer ALICE"},
	"proxy: on a HEAD":        {request: "HEAD /\nCf-Access-Jwt-Assertion: ALICE"},
	"proxy: space around":     {request: "GET /\nCf-Access-Jwt-Assertion: \t ALICE \t"},
	"proxy: empty":            {request: "GET /\nCf-Access-Jwt-Assertion:", want: none},
	"proxy: Bearer, no token": {request: "GET /\nCf-Access-Jwt-Assertion: Bearer ", want: malformed},
	"proxy: two spaces":       {request: "GET /\nCf-Access-Jwt-Assertion: Bearer  ALICE", want: invalid},
	"proxy: another scheme":   {request: "GET /\nCf-Access-Jwt-Assertion: Basic dTpw", want: invalid},
	"proxy: two in one":       {request: "GET /\nCf-Access-Jwt-Assertion: ALICE, BOB", want: invalid},
	"proxy: a bad token":      {request: "GET /\nCf-Access-Jwt-Assertion: BAD", want: invalid},
	"proxy: a longer name":    {request: "GET /\nX-Cf-Access-Jwt-Assertion: ALICE", want: none},
	"proxy: underscores":      {request: "GET /\nCf_Access_Jwt_Assertion: ALICE", want: none},
	"proxy: twice": {
		request: "GET /\nCf-Access-Jwt-Assertion: ALICE\nCf-Access-Jwt-Assertion: BOB", want: malformed,
	},
	"proxy: twice the same": {
		request: "GET /\nCf-Access-Jwt-Assertion: ALICE\ncf-access-jwt-assertion: ALICE", want: malformed,
	},
	"proxy: twice, one empty": {
		request: "GET /\nCf-Access-Jwt-Assertion:\nCf-Access-Jwt-Assertion: ALICE", want: malformed,
	},
	"proxy: a handshake, own":    {request: handshake + own + "Cf-Access-Jwt-Assertion: ALICE"},
	"proxy: a handshake, listed": {request: handshake + "Origin: https://app.example.com\nCf-Access-Jwt-Assertion: ALICE"},
	"proxy: a handshake, foreign": {
		request: handshake + "Origin: https://evil.com\nCf-Access-Jwt-Assertion: ALICE", want: foreign,
	},
	"proxy: a handshake, null":       {request: handshake + "Origin: null\nCf-Access-Jwt-Assertion: ALICE", want: foreign},
	"proxy: a handshake, own twice":  {request: handshake + own + own + "Cf-Access-Jwt-Assertion: ALICE", want: foreign},
	"proxy: a handshake, no origin":  {request: handshake + "Cf-Access-Jwt-Assertion: ALICE", want: foreign},
	"proxy: a handshake, bad":        {request: handshake + "Cf-Access-Jwt-Assertion: BAD", want: foreign},
	"proxy: an odd handshake":        {request: "GET /\nUpgrade: h2c\nCf-Access-Jwt-Assertion: ALICE", want: foreign},
	"proxy: CONNECT":                 {request: "CONNECT /ws\nCf-Access-Jwt-Assertion: ALICE", want: foreign},
	"proxy: a POST without headers":  {request: "POST /\nCf-Access-Jwt-Assertion: ALICE"},
	"proxy: a POST of its own":       {request: "POST /\n" + own + "Cf-Access-Jwt-Assertion: ALICE"},
	"proxy: a POST of a listed page": {request: "POST /\nOrigin: https://app.example.com\nCf-Access-Jwt-Assertion: ALICE"},
	"proxy: a POST of another site": {
		request: "POST /\nOrigin: https://evil.com\nCf-Access-Jwt-Assertion: ALICE", want: foreign,
	},
	"proxy: a POST, cross-site": {
		request: "POST /\nSec-Fetch-Site: cross-site\nCf-Access-Jwt-Assertion: Bearer ALICE", want: foreign,
	},
	"proxy: a foreign GET": {
		request: "GET /\nSec-Fetch-Site: cross-site\nOrigin: https://evil.com\nCf-Access-Jwt-Assertion: ALICE",
	},
	"proxy and header":     {request: "GET /\nAuthorization: Bearer ALICE\nCf-Access-Jwt-Assertion: BOB"},
	"proxy and query":      {request: "GET /ws?access_token=ALICE\nHANDSHAKE\nCf-Access-Jwt-Assertion: BOB"},
	"proxy and func":       {request: "GET /\nX-Token: ALICE\nCf-Access-Jwt-Assertion: BOB"},
	"proxy and bad header": {request: "GET /\nAuthorization: Bearer BAD\nCf-Access-Jwt-Assertion: BOB", want: invalid},
	"proxy and malformed header": {
		request: "GET /\nAuthorization: Bearer\nCf-Access-Jwt-Assertion: BOB", want: malformed,
	},
	"proxy twice and header": {
		request: "GET /\nAuthorization: Bearer ALICE\nCf-Access-Jwt-Assertion: BOB\nCf-Access-Jwt-Assertion: BOB",
	},
	"proxy and subprotocol, foreign": {
		request: handshake + "Origin: https://evil.com\nSec-WebSocket-Protocol: bearer.ALICE\nCf-Access-Jwt-Assertion: BOB",
	},
	"proxy and cookie":       {request: "GET /\nCookie: session=ALICE\nCf-Access-Jwt-Assertion: BOB"},
	"proxy and empty cookie": {request: "GET /\nCookie: session=\nCf-Access-Jwt-Assertion: BOB", subject: "bob"},
	"proxy and bad cookie":   {request: "GET /\nCookie: session=BAD\nCf-Access-Jwt-Assertion: BOB", want: invalid},

	"two: header and query": {
		request: "GET /ws?access_token=BOB\nHANDSHAKE\nAuthorization: Bearer ALICE", want: malformed,
	},
	"two: the same in both": {
		request: "GET /ws?access_token=ALICE\nHANDSHAKE\nAuthorization: Bearer ALICE", want: malformed,
	},
	"two: header and bad query": {
		request: "GET /ws?access_token=BAD\nHANDSHAKE\nAuthorization: Bearer ALICE", want: malformed,
	},
	"two: bad header, good query": {
		request: "GET /ws?access_token=ALICE\nHANDSHAKE\nAuthorization: Bearer BAD", want: malformed,
	},
	"two: header and empty query": {
		request: "GET /ws?access_token=\nHANDSHAKE\nAuthorization: Bearer ALICE", want: malformed,
	},
	"two: header and stray query": {request: "GET /?access_token=BOB\nAuthorization: Bearer ALICE", want: malformed},
	"two: header and subprotocol": {
		request: handshake + "Authorization: Bearer ALICE\nSec-WebSocket-Protocol: bearer.BOB", want: malformed,
	},
	"two: header and stray entry": {
		request: "GET /\nAuthorization: Bearer ALICE\nSec-WebSocket-Protocol: bearer.BOB", want: malformed,
	},
	"two: query and subprotocol": {
		request: "GET /ws?access_token=ALICE\nHANDSHAKE\nSec-WebSocket-Protocol: bearer.BOB", want: malformed,
	},
	"two: header and func":        {request: "GET /\nAuthorization: Bearer ALICE\nX-Token: BOB", want: malformed},
	"two: header and broken func": {request: "GET /\nAuthorization: Bearer ALICE\nX-Token: broken", want: malformed},
	"two: query and func":         {request: "GET /ws?access_token=ALICE\nHANDSHAKE\nX-Token: BOB", want: malformed},
	"all but a cookie": {
		request: "GET /ws?access_token=ALICE\nHANDSHAKE\nAuthorization: Bearer ALICE\n" +
			"Sec-WebSocket-Protocol: bearer.ALICE\nX-Token: ALICE",
		want: malformed,
	},
	"cookie and Basic":          {request: "GET /\nAuthorization: Basic dTpw\nCookie: session=BOB", subject: "bob"},
	"cookie and another scheme": {request: "GET /\nAuthorization: Bearers x\nCookie: session=BOB", subject: "bob"},
	"cookie and header":         {request: "GET /\nAuthorization: Bearer ALICE\nCookie: session=BOB"},
	"cookie and query":          {request: "GET /ws?access_token=ALICE\nHANDSHAKE\nCookie: session=BOB"},
	"cookie and subprotocol":    {request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE\nCookie: session=BOB"},
	"cookie and func":           {request: "GET /\nX-Token: ALICE\nCookie: session=BOB"},
	"two cookies and header":    {request: "GET /\nAuthorization: Bearer ALICE\nCookie: session=BOB; session=BOB"},
	"a bad cookie and header":   {request: "GET /\nAuthorization: Bearer ALICE\nCookie: session=BAD"},
	"a foreign cookie and header": {
		request: handshake + "Authorization: Bearer ALICE\nCookie: session=BOB\nOrigin: https://evil.com",
	},
	"cookie and bad header":       {request: "GET /\nAuthorization: Bearer BAD\nCookie: session=BOB", want: invalid},
	"cookie and malformed header": {request: "GET /\nAuthorization: Bearer\nCookie: session=BOB", want: malformed},
	"cookie and bad query": {
		request: "GET /ws?access_token=BAD\nHANDSHAKE\nCookie: session=BOB\n" + own, want: invalid,
	},
	"cookie and empty query": {
		request: "GET /ws?access_token=\nHANDSHAKE\nCookie: session=BOB\n" + own, want: malformed,
	},
	"cookie and stray query": {request: "GET /?access_token=x\nCookie: session=BOB", want: malformed},
	"cookie and bad subprotocol": {
		request: handshake + "Sec-WebSocket-Protocol: bearer.BAD\nCookie: session=BOB\n" + own, want: invalid,
	},
	"cookie and broken func": {request: "GET /\nX-Token: broken\nCookie: session=BOB", want: malformed},
	"cookie and repeated Basic": {
		request: "GET /\nAuthorization: Basic x\nAuthorization: Basic x\nCookie: session=BOB", want: malformed,
	},
	"cookie and repeated handshake": {request: handshake + "HANDSHAKE\nCookie: session=BOB\n" + own, subject: "bob"},
}

// pieces is the session of ALICE in the first of so many pieces.
func pieces(count int) string {
	line := "auth.0=ALICE-SESSION"
	for i := 1; i < count; i++ {
		line += fmt.Sprintf("; auth.%d=", i)
	}
	return line
}

func TestTheTokenOfARequestIsFoundOrTheRequestRefused(t *testing.T) {
	tok := newTokens()
	var refused error
	auth := extractAuth(t, func(o *wsauth.Options) {
		o.OnRefuse = func(w http.ResponseWriter, r *http.Request, err error) {
			refused = err
			w.WriteHeader(statusOf(errorOf(kindName(err))))
		}
	})
	for name, row := range extractions {
		t.Run(name, func(t *testing.T) {
			subject := row.subject
			if subject == "" {
				subject = "alice"
			}
			check := func(how string, claims *wsauth.Claims, ok bool, err, want error) {
				t.Helper()
				if kindName(err) != kindName(want) {
					t.Errorf("%s: %s (%v), want %s", how, kindName(err), err, kindName(want))
				}
				if wantClaims := row.want == nil; ok != wantClaims || ok && claims.Subject != subject {
					t.Errorf("%s: claims: %t, want those of %s: %t", how, ok, subject, wantClaims)
				}
			}

			r, err := auth.Authenticate(row.read(t, tok))
			if err != nil {
				check("Authenticate", nil, false, err, row.want)
			} else {
				claims, ok := wsauth.ClaimsFromContext(r.Context())
				check("Authenticate", claims, ok, nil, row.want)
			}

			for how, wrap := range map[string]func(http.Handler) http.Handler{
				"Middleware": auth.Middleware, "Optional": auth.Optional,
			} {
				want := row.want
				if how == "Optional" && want == none {
					want = nil
				}
				rec := new(recorder)
				refused = nil
				w := serve(wrap(rec), row.read(t, tok))
				var claims *wsauth.Claims
				var ok bool
				if r := rec.only(t); r != nil {
					claims, ok = wsauth.ClaimsFromContext(r.Context())
				}
				check(how, claims, ok, refused, want)
				if w.Code != statusOf(want) {
					t.Errorf("%s: status %d, want %d", how, w.Code, statusOf(want))
				}
			}
		})
	}
}

func errorOf(kind string) error {
	for _, k := range kinds {
		if k.name == kind {
			return k.err
		}
	}
	return nil
}

func TestTheDefaultSourcesAreHeaderQueryAndCookie(t *testing.T) {
	tok := newTokens()
	auth := newAuth(t)
	for name, row := range map[string]extraction{
		"header":      {request: "GET /\nAuthorization: Bearer ALICE"},
		"query":       {request: "GET /?access_token=ALICE\nHANDSHAKE"},
		"cookie":      {request: "GET /\nCookie: access_token=ALICE"},
		"subprotocol": {request: handshake + "Sec-WebSocket-Protocol: bearer.ALICE", want: none},
		"another":     {request: "GET /?token=ALICE\nCookie: token=ALICE\nX-Token: ALICE", want: none},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := auth.Authenticate(row.read(t, tok))
			wantKind(t, err, row.want)
		})
	}
}

func TestNoSourceButThoseOfTheOptionsCounts(t *testing.T) {
	tok := newTokens()
	for name, x := range map[string]wsauth.Extractor{
		"header": wsauth.FromHeader(), "query": wsauth.FromQuery("access_token"),
		"cookie": wsauth.FromCookie("session"), "func": wsauth.FromFunc(noToken),
		"proxy":       wsauth.FromProxy("X-Goog-Iap-Jwt-Assertion"),
		"subprotocol": wsauth.FromSubprotocol("bearer."), "pair": wsauth.FromSubprotocol("access_token"),
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, func(o *wsauth.Options) { o.Extractors = []wsauth.Extractor{x} })
			for source, request := range map[string]string{
				"header":      handshake + "Authorization: Bearer ALICE",
				"query":       "GET /ws?access_token=ALICE\nHANDSHAKE",
				"cookie":      handshake + aliceCookie + own,
				"subprotocol": handshake + "Sec-WebSocket-Protocol: bearer.ALICE",
				"pair":        handshake + "Sec-WebSocket-Protocol: access_token, ALICE",
				"proxy":       handshake + own + "X-Goog-Iap-Jwt-Assertion: ALICE",
				"session":     handshake + own + "Cookie: auth=ALICE-SESSION",
			} {
				want := error(nil)
				if source != name {
					want = none
				}
				_, err := auth.Authenticate(extraction{request: request}.read(t, tok))
				wantKind(t, err, want)
			}
		})
	}
}

func TestTwoExtractorsOfAKindAreTwoSources(t *testing.T) {
	tok := newTokens()
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Extractors = []wsauth.Extractor{
			wsauth.FromQuery("a"), wsauth.FromQuery("b"), wsauth.FromCookie("a"), wsauth.FromCookie("b"),
			wsauth.FromSubprotocol("a."), wsauth.FromSubprotocol("b."),
		}
	})
	for name, row := range map[string]extraction{
		"the first query":    {request: "GET /?a=ALICE\nHANDSHAKE"},
		"the second query":   {request: "GET /?b=ALICE\nHANDSHAKE"},
		"both queries":       {request: "GET /?a=ALICE&b=ALICE\nHANDSHAKE", want: malformed},
		"the first cookie":   {request: "GET /\nCookie: a=ALICE"},
		"the second cookie":  {request: "GET /\nCookie: b=ALICE"},
		"the first is empty": {request: "GET /\nCookie: a=; b=ALICE"},
		"the second is bad":  {request: "GET /\nCookie: b=BAD; a=ALICE"},
		"the first is bad":   {request: "GET /\nCookie: b=ALICE; a=BAD", want: invalid},
		"the first is twice": {request: "GET /\nCookie: b=ALICE; a=BOB; a=BOB", want: malformed},
		"the second entry":   {request: handshake + "Sec-WebSocket-Protocol: b.ALICE"},
		"both entries":       {request: handshake + "Sec-WebSocket-Protocol: b.ALICE, a.ALICE", want: malformed},
		"a query and an entry": {
			request: "GET /?a=ALICE\nHANDSHAKE\nSec-WebSocket-Protocol: b.ALICE", want: malformed,
		},
		"a query and a cookie":  {request: "GET /?b=ALICE\nHANDSHAKE\nCookie: a=BOB"},
		"neither of any source": {request: handshake, want: none},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := auth.Authenticate(row.read(t, tok))
			wantKind(t, err, row.want)
			if r == nil {
				return
			}
			if c, _ := wsauth.ClaimsFromContext(r.Context()); c.Subject != "alice" {
				t.Errorf("the token of %s", c.Subject)
			}
			if seen := visible(r); tok.in(seen) {
				t.Errorf("the token is still in %s", seen)
			}
		})
	}
}

func TestAuthorizationOfAProxyHasTheRulesOfACookie(t *testing.T) {
	tok := newTokens()
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Extractors = []wsauth.Extractor{wsauth.FromProxy("authorization"), wsauth.FromQuery("access_token")}
	})
	for name, row := range map[string]extraction{
		"a GET":                  {request: "GET /\nAuthorization: Bearer ALICE"},
		"a handshake, own":       {request: handshake + own + "Authorization: Bearer ALICE"},
		"a handshake, foreign":   {request: handshake + "Origin: https://evil.com\nAuthorization: Bearer ALICE", want: foreign},
		"a handshake, no origin": {request: handshake + "Authorization: Bearer ALICE", want: foreign},
		"a POST, cross-site":     {request: "POST /\nSec-Fetch-Site: cross-site\nAuthorization: Bearer ALICE", want: foreign},
		"a POST of another site": {request: "POST /\nOrigin: https://evil.com\nAuthorization: Bearer ALICE", want: foreign},
		"a bare token":           {request: "GET /\nAuthorization: ALICE", want: none},
		"Basic":                  {request: "GET /\nAuthorization: Basic dTpw", want: none},
		"Bearer alone":           {request: "GET /\nAuthorization: Bearer", want: malformed},
		"Bearer and Basic":       {request: "GET /\nAuthorization: Bearer ALICE\nAuthorization: Basic dTpw", want: malformed},
		"twice":                  {request: "GET /\nAuthorization: Bearer ALICE\nauthorization: Bearer ALICE", want: malformed},
		"and a query":            {request: "GET /ws?access_token=ALICE\nHANDSHAKE\nAuthorization: Bearer BOB"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := auth.Authenticate(row.read(t, tok))
			wantKind(t, err, row.want)
			if r == nil {
				return
			}
			if c, _ := wsauth.ClaimsFromContext(r.Context()); c.Subject != "alice" {
				t.Errorf("got the token of %s, want alice's", c.Subject)
			}
		})
	}
}

func TestTheHeaderOfAProxyStaysWhereItWas(t *testing.T) {
	tok := newTokens()
	r := extraction{request: "GET /?a=b\nCf-Access-Jwt-Assertion: ALICE"}.read(t, tok)
	got, err := extractAuth(t).Authenticate(r)
	if err != nil {
		t.Fatal(err)
	}
	if snapshot(got) != snapshot(r) {
		t.Errorf("got\n%s\nwant\n%s", snapshot(got), snapshot(r))
	}
}

// visible has the places where a request that is handed on must not show a token.
func visible(r *http.Request) string {
	var b strings.Builder
	b.WriteString(r.URL.String() + "\n" + r.RequestURI + "\n" + r.Form.Encode() + "\n")
	for _, v := range r.Header.Values("Sec-WebSocket-Protocol") {
		b.WriteString(v + "\n")
	}
	return b.String()
}

// in reports whether text has any of the tokens in it, however spelled.
func (t tokens) in(text string) bool {
	if unescaped, err := url.QueryUnescape(text); err == nil {
		text += unescaped
	}
	for _, token := range []string{t.alice, t.bob, t.bad} {
		for segment := range strings.SplitSeq(token, ".") {
			if strings.Contains(text, segment) {
				return true
			}
		}
		if strings.Contains(text, mint.Base64([]byte(token))) {
			return true
		}
	}
	return false
}

// snapshot is all of a request that hiding a token could change by mistake.
func snapshot(r *http.Request) string {
	var b strings.Builder
	b.WriteString(visible(r))
	r.Header.Write(&b)
	return b.String() + r.PostForm.Encode()
}

func TestNoTokenIsInTheRequestThatIsHandedOn(t *testing.T) {
	tok := newTokens()
	var refused *http.Request
	auth := extractAuth(t, func(o *wsauth.Options) {
		o.OnRefuse = func(_ http.ResponseWriter, r *http.Request, _ error) { refused = r }
	})
	for name, row := range extractions {
		for _, parsed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				for how, wrap := range map[string]func(http.Handler) http.Handler{
					"Middleware": auth.Middleware, "Optional": auth.Optional,
				} {
					r := row.read(t, tok)
					if parsed {
						r.ParseForm() // as a middleware outside may do
					}
					before := snapshot(r)
					rec := new(recorder)
					refused = nil
					serve(wrap(rec), r)
					handed := rec.only(t)
					if handed == nil {
						handed = refused
					}
					if handed == nil {
						t.Fatalf("%s: neither handed on nor refused", how)
					}
					if seen := visible(handed); tok.in(seen) {
						t.Errorf("%s: the token is still in %s", how, seen)
					}
					handed.ParseForm()
					if form := handed.Form.Encode(); tok.in(form) {
						t.Errorf("%s: the token is in the form %s", how, form)
					}
					if after := snapshot(r); after != before {
						t.Errorf("%s: the outer request was\n%s\nand is\n%s", how, before, after)
					}
				}
			})
		}
	}
}

func TestOnlyTheTokenIsTakenOutOfARequest(t *testing.T) {
	tok := newTokens()
	auth := extractAuth(t)
	for name, row := range map[string]struct{ before, after string }{ // request targets
		"alone":                   {"/ws?access_token=ALICE", "/ws"},
		"first":                   {"/ws?access_token=ALICE&a=b", "/ws?a=b"},
		"in the middle":           {"/ws?a=b&access_token=ALICE&c=d", "/ws?a=b&c=d"},
		"last":                    {"/ws?a=b&access_token=ALICE", "/ws?a=b"},
		"an escaped name":         {"/ws?a=b&access%5Ftoken=ALICE&c=d", "/ws?a=b&c=d"},
		"an escaped value":        {"/ws?a=b&access_token=ALICE%2E&c=d", "/ws?a=b&c=d"},
		"the order of the others": {"/ws?z=1&y=2&access_token=ALICE&a=3&z=0", "/ws?z=1&y=2&a=3&z=0"},
		"the spelling of the others": {
			"/ws?a=%41+b%20c&access_token=ALICE&d&e=&=f&%zz", "/ws?a=%41+b%20c&d&e=&=f&%zz",
		},
		"semicolons of the others": {"/ws?a;b&access_token=ALICE&c=d;e=f", "/ws?a;b&c=d;e=f"},
		"empty pairs":              {"/ws?a&&access_token=ALICE&&b", "/ws?a&&&b"},
		"names that look alike": {
			"/ws?access_token2=a&access_token=ALICE&Access_Token=b", "/ws?access_token2=a&Access_Token=b",
		},
		"a question mark in a value":  {"/ws?a=b?c&access_token=ALICE&d=e", "/ws?a=b?c&d=e"},
		"a question mark at the end":  {"/ws?access_token=ALICE&a=what?", "/ws?a=what?"},
		"a question mark as the rest": {"/ws?access_token=ALICE&?", "/ws??"},
		"escapes in the path":         {"/a%2Fb/%41?access_token=ALICE&a=b", "/a%2Fb/%41?a=b"},
		"an absolute target": {
			"http://server.example.com/ws?access_token=ALICE&a=b", "http://server.example.com/ws?a=b",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := extraction{request: "GET " + row.before + "\nHANDSHAKE"}.read(t, tok)
			want := extraction{request: "GET " + row.after + "\nHANDSHAKE"}.read(t, tok)
			got, err := auth.Authenticate(r)
			if err != nil {
				t.Fatal(err)
			}
			if got.RequestURI != want.RequestURI {
				t.Errorf("RequestURI = %q, want %q", got.RequestURI, want.RequestURI)
			}
			if *got.URL != *want.URL {
				t.Errorf("URL = %#v, want %#v", *got.URL, *want.URL)
			}
		})
	}
}

func TestOnlyTheTokensSubprotocolIsTakenOut(t *testing.T) {
	tok := newTokens()
	auth := extractAuth(t)
	for name, row := range map[string]struct {
		before []string
		after  []string // entries
	}{
		"alone":             {[]string{"bearer.ALICE"}, nil},
		"last":              {[]string{"chat.v1, bearer.ALICE"}, []string{"chat.v1"}},
		"first":             {[]string{"bearer.ALICE, chat.v1"}, []string{"chat.v1"}},
		"in the middle":     {[]string{"chat.v2,bearer.ALICE,chat.v1"}, []string{"chat.v2", "chat.v1"}},
		"base64url":         {[]string{"chat.v2", "bearer.ALICE64, chat.v1"}, []string{"chat.v2", "chat.v1"}},
		"a line of its own": {[]string{"chat.v2", "bearer.ALICE", "chat.v1"}, []string{"chat.v2", "chat.v1"}},
		"several lines":     {[]string{"a, b", "c, bearer.ALICE", "d"}, []string{"a", "b", "c", "d"}},
		"entries like it": {
			[]string{"bearer, Bearer.x, bearer.ALICE, xbearer."}, []string{"bearer", "Bearer.x", "xbearer."},
		},
		"nothing but a comma":       {[]string{",bearer.ALICE, ,"}, nil},
		"a pair":                    {[]string{"access_token, ALICE"}, []string{"access_token"}},
		"a pair with others":        {[]string{"b,access_token,ALICE64 ,a"}, []string{"b", "a", "access_token"}},
		"a pair in lines":           {[]string{"b, access_token", "ALICE, a"}, []string{"b", "a", "access_token"}},
		"a pair, and names like it": {[]string{"Access_Token, access_token, ALICE, x"}, []string{"Access_Token", "x", "access_token"}},
	} {
		t.Run(name, func(t *testing.T) {
			request := handshake
			for _, v := range row.before {
				request += "Sec-WebSocket-Protocol: " + v + "\n"
			}
			got, err := auth.Authenticate(extraction{request: request}.read(t, tok))
			if err != nil {
				t.Fatal(err)
			}
			values, there := got.Header["Sec-Websocket-Protocol"]
			if there != (row.after != nil) {
				t.Errorf("the header is there: %t", there)
			}
			if entries := protocolEntries(values); !slices.Equal(entries, row.after) {
				t.Errorf("entries = %q, want %q", entries, row.after)
			}
		})
	}
}

func protocolEntries(values []string) []string {
	var entries []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" {
				entries = append(entries, e)
			}
		}
	}
	return entries
}

func TestARequestWithoutAHiddenTokenIsHandedOnAsItIs(t *testing.T) {
	tok := newTokens()
	auth := extractAuth(t)
	r := extraction{request: "GET /a%2Fb?x=%41&&y\nHANDSHAKE\nSec-WebSocket-Protocol: a ,b\n" +
		"Sec-WebSocket-Protocol: c\nAuthorization: Bearer ALICE"}.read(t, tok)
	r.ParseForm()
	got, err := auth.Authenticate(r)
	if err != nil {
		t.Fatal(err)
	}
	if snapshot(got) != snapshot(r) {
		t.Errorf("handed on is\n%s\nnot\n%s", snapshot(got), snapshot(r))
	}
}

func TestTheFormOfAnOuterMiddlewareLosesTheTokenAndNothingElse(t *testing.T) {
	tok := newTokens()
	var inner *http.Request
	h := extractAuth(t).Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inner = r
		if v := r.FormValue("access_token"); v != "" {
			t.Errorf("FormValue = %q", v)
		}
	}))
	outer := extraction{request: "GET /ws?b=2&a=1&access_token=ALICE&a=3\nHANDSHAKE"}.read(t, tok)
	outer.ParseForm()
	serve(h, outer)
	if inner == nil {
		t.Fatal("refused")
	}
	if got, want := inner.Form.Encode(), "a=1&a=3&b=2"; got != want {
		t.Errorf("the inner form = %q, want %q", got, want)
	}
	if !outer.Form.Has("access_token") {
		t.Error("the outer form has changed")
	}
}

func TestTokensAreFoundInWhatComesOverASocket(t *testing.T) {
	tok := newTokens()
	rec := new(recorder)
	srv := httptest.NewServer(extractAuth(t).Middleware(rec))
	defer srv.Close()
	host := srv.Listener.Addr().String()
	for name, row := range map[string]struct {
		request string // raw, except for LF
		want    int
	}{
		"header":                    {"GET /ws HTTP/1.1\nauthorization:bearer ALICE\nHANDSHAKE", 204},
		"a repeated header":         {"GET / HTTP/1.1\nAuthorization: Bearer ALICE\nAUTHORIZATION: Bearer ALICE", 400},
		"a repeated scheme":         {"GET / HTTP/1.1\nAuthorization: Basic dTpw\nauthorization: Bearer ALICE", 400},
		"the scheme alone":          {"GET / HTTP/1.1\nAuthorization: Bearer ", 400},
		"no token":                  {"GET /ws HTTP/1.1\nHANDSHAKE", 401},
		"a bad token":               {"GET /ws HTTP/1.1\nHANDSHAKE\nAuthorization: Bearer BAD", 401},
		"query":                     {"GET /ws?a=b&access%5ftoken=ALICE HTTP/1.1\nHANDSHAKE", 204},
		"query, an absolute target": {"GET http://server.example.com/ws?access_token=ALICE HTTP/1.1\nHANDSHAKE", 204},
		"query on a plain GET":      {"GET /ws?access_token=ALICE HTTP/1.1", 400},
		"query over HTTP/1.0":       {"GET /ws?access_token=ALICE HTTP/1.0\nConnection: keep-alive", 400},
		"cookie, own origin": {
			"GET /ws HTTP/1.1\nHANDSHAKE\nOrigin: http://" + host + "\ncookie: session=ALICE", 204,
		},
		"cookie, a foreign origin": {
			"GET /ws HTTP/1.1\nHANDSHAKE\nOrigin: http://evil.com\nCookie: session=ALICE", 403,
		},
		"cookie, no origin": {"GET /ws HTTP/1.1\nHANDSHAKE\nCookie: session=ALICE", 403},
		"cookie, two origins": {
			"GET /ws HTTP/1.1\nHANDSHAKE\nOrigin: http://" + host + "\norigin: http://" + host +
				"\nCookie: session=ALICE", 403,
		},
		"cookie, CONNECT": {"CONNECT /ws HTTP/1.1\nCookie: session=ALICE", 403},
		"cookie, a foreign POST": {
			"POST /ws HTTP/1.1\nContent-Length: 0\nOrigin: http://evil.com\nCookie: session=ALICE", 403,
		},
		"subprotocol": {
			"GET /ws HTTP/1.1\nHANDSHAKE\nsec-websocket-protocol: chat.v1, bearer.ALICE", 204,
		},
		"subprotocol in two lines": {
			"GET /ws HTTP/1.1\nHANDSHAKE\nSec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: bearer.ALICE", 204,
		},
		"subprotocol on a plain GET": {"GET /ws HTTP/1.1\nSec-WebSocket-Protocol: bearer.ALICE", 400},
		"header and query": {
			"GET /ws?access_token=ALICE HTTP/1.1\nHANDSHAKE\nAuthorization: Bearer ALICE", 400,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec.requests = nil
			if got := statusOverSocket(t, host, tok.expand(row.request)); got != row.want {
				t.Errorf("status %d, want %d", got, row.want)
			}
			if r := rec.only(t); r != nil && tok.in(visible(r)) {
				t.Errorf("the token is still in %s", visible(r))
			}
		})
	}
}

// statusOverSocket sends a request that is raw except for its line ends, and returns the status of the response.
func statusOverSocket(t *testing.T, host, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, header, _ := strings.Cut(strings.ReplaceAll(request, "HANDSHAKE", handshakeLines), "\n")
	text := strings.TrimSuffix(line+"\nHost: "+host+"\n"+header, "\n") + "\n\n"
	io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestAllowOriginIsAskedAboutWhatIsNeitherOwnNorListed(t *testing.T) {
	const asked, notAsked = true, false
	tok := newTokens()
	var origins []string
	auth := extractAuth(t, func(o *wsauth.Options) {
		o.AllowOrigin = func(r *http.Request, origin string) bool {
			if seen := visible(r); tok.in(seen) {
				t.Errorf("AllowOrigin sees the token in %s", seen)
			}
			origins = append(origins, origin)
			return !strings.Contains(origin, "evil")
		}
	})
	srv := httptest.NewServer(auth.Upgrade(func(context.Context, *websocket.Conn) {}, nil))
	defer srv.Close()
	host := srv.Listener.Addr().String()
	const header, cookie = "Authorization: Bearer ALICE\n", "Cookie: session=ALICE\n"
	for name, row := range map[string]struct {
		lines string
		want  int
		asked bool
	}{
		"header: no origin":      {header, 101, notAsked},
		"header: own":            {header + "Origin: http://" + host, 101, notAsked},
		"header: listed":         {header + "Origin: https://app.example.com", 101, notAsked},
		"header: allowed":        {header + "Origin: https://customer.example", 101, asked},
		"header: an extension":   {header + "Origin: moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc", 101, asked},
		"header: a file":         {header + "Origin: file://", 101, asked},
		"header: null":           {header + "Origin: null", 101, asked},
		"header: refused":        {header + "Origin: https://evil.com", 403, asked},
		"header: a bad token":    {"Authorization: Bearer BAD\nOrigin: https://customer.example", 401, asked},
		"header: no token":       {"Origin: https://customer.example", 401, asked},
		"header: empty":          {header + "Origin:", 403, notAsked},
		"header: two":            {header + "Origin: https://a.example\nOrigin: https://b.example", 403, notAsked},
		"header: null twice":     {header + "Origin: null\nOrigin: null", 403, notAsked},
		"header: a list":         {header + "Origin: https://a.example https://b.example", 403, notAsked},
		"header: a comma":        {header + "Origin: https://a.example,https://b.example", 403, notAsked},
		"header: beyond ASCII":   {header + "Origin: https://\u00fc.example", 403, notAsked},
		"subprotocol: allowed":   {"Sec-WebSocket-Protocol: bearer.ALICE\nOrigin: https://customer.example", 101, asked},
		"func: allowed":          {"X-Token: ALICE\nOrigin: https://customer.example", 101, asked},
		"cookie: own":            {cookie + "Origin: http://" + host, 101, notAsked},
		"cookie: listed":         {cookie + "Origin: https://app.example.com", 101, notAsked},
		"cookie: not listed":     {cookie + "Origin: https://customer.example", 403, asked},
		"cookie: an extension":   {cookie + "Origin: moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc", 403, asked},
		"cookie: a file":         {cookie + "Origin: file://", 403, asked},
		"cookie: null":           {cookie + "Origin: null", 403, asked},
		"cookie: no origin":      {cookie, 403, notAsked},
		"cookie beside a header": {header + "Cookie: session=BOB\nOrigin: https://customer.example", 101, asked},
	} {
		t.Run(name, func(t *testing.T) {
			origins = nil
			if got := statusOverSocket(t, host, "GET /ws?a=b HTTP/1.1\nHANDSHAKE\n"+tok.expand(row.lines)); got != row.want {
				t.Errorf("got status %d, want %d", got, row.want)
			}
			if got := len(origins) > 0; got != row.asked || len(origins) > 1 {
				t.Errorf("got asked about %q, want asked: %t", origins, row.asked)
			}
		})
	}
}

func TestAllowOriginCountsForNoCookieBehindMiddleware(t *testing.T) {
	tok := newTokens()
	auth := extractAuth(t, func(o *wsauth.Options) {
		o.AllowOrigin = func(*http.Request, string) bool { return true }
	})
	for name, row := range extractions {
		t.Run(name, func(t *testing.T) {
			_, err := auth.Authenticate(row.read(t, tok))
			wantKind(t, err, row.want)
		})
	}
}

func TestExtractionAllocatesNothing(t *testing.T) {
	tok := newTokens()
	auth := extractAuth(t)
	for name, row := range map[string]struct {
		request string
		most    float64
	}{
		"header":                {"GET /\nAuthorization: Bearer ALICE", 0},
		"query":                 {"GET /ws?a=b&access_token=ALICE\nHANDSHAKE", 0},
		"cookie":                {"GET /\nCookie: a=b; session=ALICE", 1},
		"cookie on a handshake": {handshake + aliceCookie + own, 0},
		"proxy":                 {"GET /\nCf-Access-Jwt-Assertion: Bearer ALICE", 1},
		"proxy on a handshake":  {handshake + own + "Cf-Access-Jwt-Assertion: ALICE", 0},
		"subprotocol":           {handshake + "Sec-WebSocket-Protocol: chat.v1, bearer.ALICE", 0},
		"pair":                  {handshake + "Sec-WebSocket-Protocol: access_token, ALICE", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := extraction{request: row.request}.read(t, tok)
			got := testing.AllocsPerRun(100, func() {
				if token, err := wsauth.Extract(auth, r); err != nil || token != tok.alice {
					t.Fatal(token, err)
				}
			})
			if got > row.most {
				t.Errorf("%v allocations, want at most %v", got, row.most)
			}
		})
	}
}

// A pattern that anybody can match is for clients that bring a token on purpose: of a visitor's cookie, nobody but the
// pages that are named may make use.
func TestACookieDoesNotProfitFromAnOriginThatAnybodyCanHave(t *testing.T) {
	auth := newAuth(t, func(o *wsauth.Options) {
		o.Origins = []string{"moz-extension://*", "http://localhost:*", "file://", "app://.", "https://*.github.io",
			"https://app.example.com", "chrome-extension://abcdefgh"}
	})
	serve := auth.Upgrade(func(context.Context, *websocket.Conn) {}, nil)
	for origin, cookie := range map[string]bool{
		"moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc": false, "http://localhost:51234": false, "file://": false,
		"app://.": false, "https://evil.github.io": false, "wss://server.example.com": false, "wss://app.example.com": false,
		"https://app.example.com": true, "chrome-extension://abcdefgh": true, "https://server.example.com": true,
	} {
		request := handshake + "Host: server.example.com\nOrigin: " + origin + "\n"
		for name, row := range map[string]struct {
			credential string
			ok         bool
		}{
			"header": {"Authorization: Bearer ", true},
			"cookie": {"Cookie: access_token=", cookie},
		} {
			_, err := auth.Authenticate(readRequest(t, request+row.credential+testToken(nil)))
			if (err == nil) != row.ok || err != nil && !errors.Is(err, wsauth.ErrOrigin) {
				t.Errorf("%s, token in the %s: got %v, want it to be accepted: %t", origin, name, err, row.ok)
			}
			w := httptest.NewRecorder()
			serve.ServeHTTP(w, readRequest(t, request+row.credential+testToken(nil)))
			if (w.Code == http.StatusForbidden) == row.ok {
				t.Errorf("%s, token in the %s: Upgrade answers %d", origin, name, w.Code)
			}
		}
	}
}

func TestNewSaysWhichOriginsDoNotCountForCookies(t *testing.T) {
	for name, row := range map[string]struct {
		extractors []wsauth.Extractor
		want       []string
	}{
		"with cookies":    {nil, []string{"Origins[1]", "Origins[2]"}},
		"without cookies": {[]wsauth.Extractor{wsauth.FromHeader()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(lockedBuffer)
			newAuth(t, func(o *wsauth.Options) {
				o.Extractors, o.Logger = row.extractors, slog.New(slog.NewJSONHandler(log, nil))
				o.Origins = []string{"https://app.example.com", "https://*.github.io", "moz-extension://*"}
			})
			got := log.String()
			if strings.Count(got, "WARN") != len(row.want) {
				t.Errorf("logged %s, want %d warnings", got, len(row.want))
			}
			for _, field := range row.want {
				if !strings.Contains(got, field) {
					t.Errorf("logged %s, want %s", got, field)
				}
			}
		})
	}
}
