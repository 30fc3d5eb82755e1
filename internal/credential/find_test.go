package credential

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/origin"
	"github.com/wsauth/wsauth/internal/refusal"
)

// everywhere are all places. The cookie auth has its token behind "session:", and X-Token may be "broken".
var everywhere = []Place{
	{Source: FromHeader},
	{Source: FromQuery, Name: "access_token"},
	{Source: FromCookie, Name: "session"},
	{Source: FromCookieFunc, Name: "auth", Read: func(value string) (string, error) {
		token, ok := strings.CutPrefix(value, "session:")
		if !ok {
			return "ignored", errors.New("no session")
		}
		return token, nil
	}},
	{Source: FromSubprotocol, Name: "bearer."},
	{Source: FromSubprotocol, Name: "access_token"},
	{Source: FromProxy, Name: "Cf-Access-Jwt-Assertion"},
	{Source: FromTicket, Name: "ticket"},
	{Source: FromDPoP},
	{Source: FromFunc, Func: func(r *http.Request) (string, error) {
		if r.Header.Get("X-Token") == "broken" {
			return "ignored", errors.New("broken")
		}
		return r.Header.Get("X-Token"), nil
	}},
}

const (
	alice = "eyJh.eyJz.c2ln"
	bob   = "eyJh.eyJi.c2ln"

	handshake = "GET /ws\nHANDSHAKE\n"
	own       = "Origin: https://server.example.com\n"
	proxy     = "Cf-Access-Jwt-Assertion: "
	protocol  = "Sec-WebSocket-Protocol: "
)

var (
	none        = refusal.ErrNoToken
	malformed   = refusal.ErrMalformedRequest
	foreignSite = refusal.ErrOrigin
)

// A finding is a request, and which token is found in it. ALICE and BOB are tokens, ALICE64 is one in base64url.
type finding struct {
	request string
	token   string
	source  Source
	err     error // the kind of refusal
}

// There is a row for each way through the code. The table of requests in the root package tests the promises.
var findings = map[string]finding{
	"nothing":              {request: "GET /", err: none},
	"nothing, a handshake": {request: handshake, err: none},

	"header":              {"GET /\nAuthorization: Bearer ALICE", alice, FromHeader, nil},
	"header: any case":    {"GET /\nAuthorization: bEaReR ALICE", alice, FromHeader, nil},
	"header: rubbish":     {"GET /\nAuthorization: Bearer {} ,", "{} ,", FromHeader, nil}, // refused later, see Judge
	"header: two spaces":  {"GET /\nAuthorization: Bearer  ALICE", " " + alice, FromHeader, nil},
	"header: a tab":       {request: "GET /\nAuthorization: Bearer\tALICE", err: malformed},
	"header: no space":    {request: "GET /\nAuthorization: Bearer=ALICE", err: malformed},
	"header: no token":    {request: "GET /\nAuthorization: Bearer", err: malformed},
	"header: a space":     {request: "GET /\nAuthorization: Bearer ", err: malformed},
	"header: longer":      {request: "GET /\nAuthorization: Bearers ALICE", err: none},
	"header: Basic":       {request: "GET /\nAuthorization: Basic dTpw", err: none},
	"header: no scheme":   {request: "GET /\nAuthorization: ALICE", err: none},
	"header: twice":       {request: "GET /\nAuthorization: Basic dTpw\nAuthorization: Bearer ALICE", err: malformed},
	"header: empty":       {request: "GET /\nAuthorization:", err: none},
	"header: beyond 8 KB": {"GET /\nAuthorization: Bearer " + strings.Repeat("x", 9000), strings.Repeat("x", 9000), FromHeader, nil},

	"query":                    {"GET /ws?a=b&access_token=ALICE&c\nHANDSHAKE", alice, FromQuery, nil},
	"query: an escaped name":   {"GET /ws?%61ccess%5Ftoken=ALICE\nHANDSHAKE", alice, FromQuery, nil},
	"query: an escaped value":  {"GET /ws?access_token=eyJh%2EeyJz%2Ec2ln\nHANDSHAKE", alice, FromQuery, nil},
	"query: a plus":            {"GET /ws?access_token=+ALICE\nHANDSHAKE", " " + alice, FromQuery, nil},
	"query: a plus, escaped":   {"GET /ws?access_token=%2BALICE\nHANDSHAKE", "+" + alice, FromQuery, nil},
	"query: empty pairs":       {"GET /ws?&&access_token=ALICE&&\nHANDSHAKE", alice, FromQuery, nil},
	"query: others malformed":  {"GET /ws?a=%zz&access_token=ALICE&b;c&access%zztoken\nHANDSHAKE", alice, FromQuery, nil},
	"query: twice":             {request: "GET /ws?access_token=ALICE&access%5ftoken=BOB\nHANDSHAKE", err: malformed},
	"query: twice, one empty":  {request: "GET /ws?access_token=ALICE&access_token\nHANDSHAKE", err: malformed},
	"query: empty":             {request: "GET /ws?access_token=\nHANDSHAKE", err: malformed},
	"query: a bad escape":      {request: "GET /ws?access_token=ALICE%\nHANDSHAKE", err: malformed},
	"query: a semicolon":       {request: "GET /ws?a=b;access_token=ALICE\nHANDSHAKE", err: malformed},
	"query: a semicolon, too":  {request: "GET /ws?access_token=ALICE;a=b\nHANDSHAKE", err: malformed},
	"query: no handshake":      {request: "GET /ws?access_token=ALICE", err: malformed},
	"query: a POST":            {request: "POST /ws?access_token=ALICE\nHANDSHAKE", err: malformed},
	"query: names like it":     {request: "GET /ws?access_token2=a&Access_Token=b&access_token%=c\nHANDSHAKE", err: none},
	"query: escaped twice":     {request: "GET /ws?access%255Ftoken=ALICE\nHANDSHAKE", err: none},
	"query: a part is escaped": {request: "GET /ws?a=b%3Baccess_token=ALICE\nHANDSHAKE", err: none},

	"cookie":                      {"GET /\nCookie: a=b; session=ALICE", alice, FromCookie, nil},
	"cookie: quotes":              {"GET /\nCookie: session=\"ALICE\"", alice, FromCookie, nil},
	"cookie: others malformed":    {"GET /\nCookie: ;; =; a; session=ALICE; d=\"", alice, FromCookie, nil},
	"cookie: a second line":       {"GET /\nCookie: a=b\nCookie: \t session=ALICE \t ", alice, FromCookie, nil},
	"cookie: empty":               {request: "GET /\nCookie: session=\"\"", err: none},
	"cookie: other letters":       {request: "GET /\nCookie: Session=ALICE; sessions=BOB", err: none},
	"cookie: twice":               {request: "GET /\nCookie: session=ALICE\nCookie: session=ALICE", err: malformed},
	"cookie: twice, one empty":    {request: "GET /\nCookie: session; session=ALICE", err: malformed},
	"cookie: own":                 {handshake + own + "Cookie: session=ALICE", alice, FromCookie, nil},
	"cookie: listed":              {handshake + "Origin: https://app.example.com\nCookie: session=ALICE", alice, FromCookie, nil},
	"cookie: a foreign handshake": {request: handshake + "Origin: https://evil.com\nCookie: session=ALICE", err: foreignSite},
	"cookie: no origin":           {request: handshake + "Cookie: session=ALICE", err: foreignSite},
	"cookie: null":                {request: handshake + "Origin: null\nCookie: session=ALICE", err: foreignSite},
	"cookie: a foreign POST":      {request: "POST /\nOrigin: https://evil.com\nCookie: session=ALICE", err: foreignSite},
	"cookie: a foreign GET":       {"GET /\nOrigin: https://evil.com\nCookie: session=ALICE", alice, FromCookie, nil},
	"cookie and header":           {"GET /\nAuthorization: Bearer ALICE\nCookie: session=BOB; session=BOB", alice, FromHeader, nil},
	"cookie and no token":         {request: "GET /\nAuthorization: Bearer\nCookie: session=BOB", err: malformed},

	"pieces: whole":               {"GET /\nCookie: auth=session:ALICE", alice, FromCookieFunc, nil},
	"pieces: one":                 {"GET /\nCookie: auth.0=session:ALICE", alice, FromCookieFunc, nil},
	"pieces: three in disorder":   {"GET /\nCookie: auth.2=.eyJz.c2ln; auth.0=ses\nCookie: auth.1=sion:eyJh", alice, FromCookieFunc, nil},
	"pieces: quotes":              {"GET /\nCookie: auth.0=\"session:\"; auth.1=\"ALICE\"", alice, FromCookieFunc, nil},
	"pieces: 16":                  {"GET /\nCookie: " + piecesOf(16), alice, FromCookieFunc, nil},
	"pieces: names like it":       {"GET /\nCookie: auth=session:ALICE; auth.00=a; auth.01=b; auth.=c; auth.1x=d; auth.-1=e; auth1=f", alice, FromCookieFunc, nil},
	"pieces: 17":                  {request: "GET /\nCookie: " + piecesOf(17), err: malformed},
	"pieces: far beyond":          {request: "GET /\nCookie: auth.0=session:ALICE; auth.18446744073709551616=x", err: malformed},
	"pieces: a gap":               {request: "GET /\nCookie: auth.0=session:ALICE; auth.2=x", err: malformed},
	"pieces: no first":            {request: "GET /\nCookie: auth.1=session:ALICE", err: malformed},
	"pieces: one twice":           {request: "GET /\nCookie: auth.0=session:ALICE; auth.0=session:ALICE", err: malformed},
	"pieces: one 20 times":        {request: "GET /\nCookie: " + strings.Repeat("auth.0=session:ALICE; ", 20), err: malformed},
	"pieces: whole twice":         {request: "GET /\nCookie: auth=session:ALICE; auth=session:BOB", err: malformed},
	"pieces: whole and one":       {request: "GET /\nCookie: auth.0=session:ALICE; auth=session:ALICE", err: malformed},
	"pieces: empty and one":       {request: "GET /\nCookie: auth=; auth.0=session:ALICE", err: malformed},
	"pieces: an error":            {request: "GET /\nCookie: auth=ALICE", err: malformed},
	"pieces: an error, foreign":   {request: handshake + "Origin: https://evil.com\nCookie: auth=ALICE", err: malformed},
	"pieces: empty":               {request: "GET /\nCookie: auth=; session=", err: none},
	"pieces: empty ones":          {request: "GET /\nCookie: auth.0=; auth.1=\"\"", err: none},
	"pieces: no token":            {request: "GET /\nCookie: auth=session:", err: none},
	"pieces: own":                 {handshake + own + "Cookie: auth.0=session:ALICE", alice, FromCookieFunc, nil},
	"pieces: a foreign handshake": {request: handshake + "Origin: https://evil.com\nCookie: auth.0=session:ALICE", err: foreignSite},
	"pieces: a foreign POST":      {request: "POST /\nSec-Fetch-Site: cross-site\nCookie: auth=session:ALICE", err: foreignSite},
	"pieces behind a cookie":      {"GET /\nCookie: auth=session:BOB; session=ALICE", alice, FromCookie, nil},

	"prefix":                 {handshake + protocol + "chat.v1, bearer.ALICE", alice, FromSubprotocol, nil},
	"prefix: base64url":      {handshake + protocol + "bearer.ALICE64", alice, FromSubprotocol, nil},
	"prefix: empty":          {request: handshake + protocol + "bearer.", err: malformed},
	"prefix: padded":         {request: handshake + protocol + "bearer.eHk=", err: malformed},
	"prefix: not canonical":  {request: handshake + protocol + "bearer.eHl", err: malformed},
	"prefix: twice":          {request: handshake + protocol + "bearer.ALICE\n" + protocol + "bearer.ALICE", err: malformed},
	"prefix: no handshake":   {request: "GET /\n" + protocol + "bearer.ALICE", err: malformed},
	"prefix: other letters":  {request: handshake + protocol + "Bearer.ALICE", err: none},
	"prefix: without a dot":  {request: handshake + protocol + "bearer, ALICE", err: none},
	"prefix: inside an item": {request: handshake + protocol + "chat.bearer.ALICE", err: none},

	"pair":                       {handshake + protocol + "access_token, ALICE", alice, FromSubprotocol, nil},
	"pair: base64url":            {handshake + protocol + "chat.v1,access_token,ALICE64,chat.v2", alice, FromSubprotocol, nil},
	"pair: two lines":            {handshake + protocol + "access_token, \n" + protocol + ",\t, ALICE", alice, FromSubprotocol, nil},
	"pair: a protocol behind":    {handshake + protocol + "access_token, chat.v1", "chat.v1", FromSubprotocol, nil},
	"pair: a word behind":        {request: handshake + protocol + "access_token, chat2", err: malformed},
	"pair: half":                 {request: handshake + protocol + "chat.v1, access_token ,", err: malformed},
	"pair: half, no handshake":   {request: "GET /\n" + protocol + "access_token", err: malformed},
	"pair: no handshake":         {request: "GET /\n" + protocol + "access_token, ALICE", err: malformed},
	"pair: the first twice":      {request: handshake + protocol + "access_token, access_token, ALICE", err: malformed},
	"pair: the first last":       {request: handshake + protocol + "access_token, ALICE, access_token", err: malformed},
	"pair: two":                  {request: handshake + protocol + "access_token, ALICE, access_token, ALICE", err: malformed},
	"pair: wrong way round":      {request: handshake + protocol + "ALICE, access_token", err: malformed},
	"pair: the prefix behind":    {request: handshake + protocol + "access_token, bearer.ALICE", err: malformed},
	"pair: and a prefix":         {request: handshake + protocol + "bearer.ALICE, access_token, BOB", err: malformed},
	"pair: other letters":        {request: handshake + protocol + "Access_Token, ALICE", err: none},
	"pair: longer":               {request: handshake + protocol + "access_token., ALICE", err: none},
	"pair: and a query":          {request: "GET /?access_token=ALICE\nHANDSHAKE\n" + protocol + "access_token, ALICE", err: malformed},
	"pair: and a foreign cookie": {handshake + "Origin: https://evil.com\nCookie: session=BOB\n" + protocol + "access_token, ALICE", alice, FromSubprotocol, nil},

	"proxy":                    {"GET /\n" + proxy + "ALICE", alice, FromProxy, nil},
	"proxy: Bearer":            {"GET /\n" + proxy + "bEARER ALICE", alice, FromProxy, nil},
	"proxy: two spaces":        {"GET /\n" + proxy + "Bearer  ALICE", " " + alice, FromProxy, nil},
	"proxy: a longer scheme":   {"GET /\n" + proxy + "Bearers ALICE", "Bearers " + alice, FromProxy, nil},
	"proxy: Basic":             {"GET /\n" + proxy + "Basic dTpw", "Basic dTpw", FromProxy, nil},
	"proxy: empty":             {request: "GET /\n" + proxy, err: none},
	"proxy: no token":          {request: "GET /\n" + proxy + "Bearer ", err: malformed},
	"proxy: a tab":             {request: "GET /\n" + proxy + "Bearer\tALICE", err: malformed},
	"proxy: twice":             {request: "GET /\n" + proxy + "ALICE\n" + proxy + "ALICE", err: malformed},
	"proxy: twice, one empty":  {request: "GET /\n" + proxy + "\n" + proxy + "ALICE", err: malformed},
	"proxy: own":               {handshake + own + proxy + "ALICE", alice, FromProxy, nil},
	"proxy: foreign":           {request: handshake + "Origin: https://evil.com\n" + proxy + "ALICE", err: foreignSite},
	"proxy: no origin":         {request: handshake + proxy + "ALICE", err: foreignSite},
	"proxy: a foreign POST":    {request: "POST /\nOrigin: https://evil.com\n" + proxy + "ALICE", err: foreignSite},
	"proxy: a cross-site POST": {request: "POST /\nSec-Fetch-Site: cross-site\n" + proxy + "Bearer ALICE", err: foreignSite},
	"proxy and header":         {"GET /\nAuthorization: Bearer ALICE\n" + proxy + "BOB\n" + proxy + "BOB", alice, FromHeader, nil},
	"proxy and cookie":         {"GET /\nCookie: session=ALICE\n" + proxy + "BOB", alice, FromCookie, nil},

	"ticket":                {"GET /?ticket=xyz\nHANDSHAKE", "xyz", FromTicket, nil},
	"ticket: escaped":       {"GET /?t%69cket=%78yz\nHANDSHAKE", "xyz", FromTicket, nil},
	"ticket: empty":         {request: "GET /?ticket=\nHANDSHAKE", err: malformed},
	"ticket: twice":         {request: "GET /?ticket=x&ticket=y\nHANDSHAKE", err: malformed},
	"ticket: no handshake":  {request: "GET /?ticket=xyz", err: malformed},
	"ticket: a stream":      {request: "GET /?ticket=xyz\nAccept: text/event-stream", err: malformed},
	"ticket and query":      {request: "GET /?ticket=xyz&access_token=ALICE\nHANDSHAKE", err: malformed},
	"ticket and header":     {request: "GET /?ticket=xyz\nHANDSHAKE\nAuthorization: Bearer ALICE", err: malformed},
	"ticket and a protocol": {request: "GET /?ticket=xyz\nHANDSHAKE\n" + protocol + "bearer.ALICE", err: malformed},
	"ticket and cookie":     {"GET /?ticket=xyz\nHANDSHAKE\nOrigin: https://evil.com\nCookie: session=BOB", "xyz", FromTicket, nil},

	"dpop":                {"GET /\nAuthorization: DPoP ALICE", alice, FromDPoP, nil},
	"dpop: any case":      {"GET /\nAuthorization: dpop ALICE", alice, FromDPoP, nil},
	"dpop: nothing":       {request: "GET /\nAuthorization: DPoP", err: malformed},
	"dpop: a tab":         {request: "GET /\nAuthorization: DPoP\tALICE", err: malformed},
	"dpop: longer scheme": {request: "GET /\nAuthorization: DPoPs ALICE", err: none},
	"dpop: twice":         {request: "GET /\nAuthorization: DPoP ALICE\nAuthorization: DPoP ALICE", err: malformed},
	"dpop and bearer":     {request: "GET /\nAuthorization: DPoP ALICE\nAuthorization: Bearer ALICE", err: malformed},
	"dpop and query":      {request: "GET /?access_token=ALICE\nHANDSHAKE\nAuthorization: DPoP ALICE", err: malformed},

	"func":            {"GET /\nX-Token: ALICE", alice, FromFunc, nil},
	"func: an error":  {request: "GET /\nX-Token: broken", err: malformed},
	"func and header": {request: "GET /\nAuthorization: Bearer ALICE\nX-Token: ALICE", err: malformed},
}

// piecesOf is the session of ALICE in the first of so many cookies.
func piecesOf(count int) string {
	line := "auth.0=session:ALICE"
	for i := 1; i < count; i++ {
		line += fmt.Sprintf("; auth.%d=", i)
	}
	return line
}

// read reads a request as a server does.
func (f finding) read(t testing.TB) *http.Request {
	t.Helper()
	const lines = "Connection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
	text := strings.NewReplacer("HANDSHAKE", lines, "ALICE64", base64.RawURLEncoding.EncodeToString([]byte(alice)),
		"ALICE", alice, "BOB", bob).Replace(f.request)
	line, header, _ := strings.Cut(text, "\n")
	text = strings.TrimRight(line+" HTTP/1.1\nHost: server.example.com\n"+header, "\n") + "\n\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

func listed(t testing.TB) Origins {
	t.Helper()
	o, err := origin.ParsePattern("https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return Origins{Listed: []origin.Pattern{o}}
}

func TestTheOneTokenOfARequestIsFound(t *testing.T) {
	origins := listed(t)
	for name, row := range findings {
		t.Run(name, func(t *testing.T) {
			got, err := Find(row.read(t), everywhere, origins, false)
			if kind := kindOf(err); kind != row.err {
				t.Fatalf("got %v, want %v", err, row.err)
			}
			if err == nil && (got.Token != row.token || got.Source != row.source) {
				t.Errorf("got %q from %v, want %q from %v", got.Token, got.Source, row.token, row.source)
			}
		})
	}
}

func kindOf(err error) error {
	var refused *refusal.Error
	if errors.As(err, &refused) {
		return refused.Kind
	}
	return err
}

func TestWhatIsHiddenIsNotFoundAgain(t *testing.T) {
	for name, row := range findings {
		t.Run(name, func(t *testing.T) {
			r := row.read(t)
			before := r.Header.Clone()
			offered, marker := Selectable(r, everywhere)
			hidden := r.WithContext(t.Context())
			Hide(hidden, everywhere)
			for _, p := range everywhere {
				if p.Source != FromQuery && p.Source != FromSubprotocol {
					continue
				}
				if token, err := p.find(hidden, false); token != "" || err != nil && !p.isPair() {
					t.Errorf("got %q, %v from %v %s, want nothing", token, err, p.Source, p.Name)
				}
			}
			offered = slices.Compact(slices.Sorted(slices.Values(offered)))
			left, leftMarker := Selectable(hidden, everywhere)
			if slices.Sort(left); !slices.Equal(left, offered) || leftMarker != marker {
				t.Errorf("got %q and %q to select, want %q and %q as before", left, leftMarker, offered, marker)
			}
			if !maps.EqualFunc(r.Header, before, slices.Equal) {
				t.Errorf("got the header %v of the request outside, want %v", r.Header, before)
			}
		})
	}
}

// A ticket is good for a stream that ends with its token.
func TestATicketForAStreamIsFoundWhereStreamsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		request string
		ok      bool
	}{
		"EventSource":          {"GET /?ticket=xyz\nAccept: text/event-stream", true},
		"in capitals":          {"GET /?ticket=xyz\nAccept: Text/Event-Stream", true},
		"second line":          {"GET /?ticket=xyz\nAccept: text/html\nAccept: text/event-stream", true},
		"a handshake":          {"GET /?ticket=xyz\nHANDSHAKE", true},
		"anything":             {"GET /?ticket=xyz\nAccept: */*", false},
		"no Accept":            {"GET /?ticket=xyz", false},
		"POST":                 {"POST /?ticket=xyz\nAccept: text/event-stream", false},
		"HEAD":                 {"HEAD /?ticket=xyz\nAccept: text/event-stream", false},
		"half a handshake":     {"GET /?ticket=xyz\nAccept: text/event-stream\nUpgrade: h2c", false},
		"a query token":        {"GET /?access_token=ALICE\nAccept: text/event-stream", false},
		"a protocol":           {"GET /\nAccept: text/event-stream\n" + protocol + "bearer.ALICE", false},
		"beside a query token": {"GET /?ticket=xyz&access_token=ALICE\nAccept: text/event-stream", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(finding{request: row.request}.read(t), everywhere, listed(t), true)
			if (err == nil) != row.ok || row.ok && (got != Credential{"xyz", FromTicket}) {
				t.Errorf("got %v, %v, want the ticket: %t", got, err, row.ok)
			}
		})
	}
}

func TestOnlySelectableProtocolsAreLeftWithTheMarker(t *testing.T) {
	for name, row := range map[string]struct {
		lines   []string
		offered []string
		marker  string
	}{
		"none":                    {nil, nil, ""},
		"empty entries":           {[]string{",", " ,\t"}, nil, ""},
		"others":                  {[]string{"chat.v1, chat.v2"}, []string{"chat.v1", "chat.v2"}, ""},
		"a prefix":                {[]string{"wsauth, bearer." + alice}, []string{"wsauth"}, ""},
		"a prefix in other case":  {[]string{"wsauth, Bearer." + alice}, []string{"wsauth"}, ""},
		"a pair":                  {[]string{"access_token, " + alice}, []string{"access_token"}, "access_token"},
		"a pair among others":     {[]string{"a, access_token", alice + ", b"}, []string{"a", "access_token", "b"}, "access_token"},
		"a pair whose token is a": {[]string{"access_token, a, b"}, []string{"access_token", "b"}, "access_token"},
		"a pair in other case":    {[]string{"Access_Token, b"}, []string{"Access_Token", "b"}, ""},
		"half a pair":             {[]string{"a, access_token"}, []string{"a", "access_token"}, "access_token"},
		"a pair, hidden":          {[]string{"a, access_token, b"}, []string{"a", "access_token"}, "access_token"},
		"the first of a pair again": {
			[]string{"access_token, access_token, " + alice}, []string{"access_token"}, "access_token",
		},
		"a prefix behind the first": {[]string{"access_token, bearer.x, y"}, []string{"access_token", "y"}, "access_token"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}, URL: new(url.URL)}
			if row.lines != nil {
				r.Header[protocolHeader] = row.lines
			}
			offered, marker := Selectable(r, everywhere)
			if !slices.Equal(offered, row.offered) || marker != row.marker {
				t.Errorf("got %q, %q, want %q, %q", offered, marker, row.offered, row.marker)
			}
		})
	}
}

func TestAPlaceHasAFaultOrNone(t *testing.T) {
	protocolNamed := func(name string) Place { return Place{Source: FromSubprotocol, Name: name} }
	headerNamed := func(name string) Place { return Place{Source: FromProxy, Name: name} }
	for name, row := range map[string]struct {
		place Place
		fault bool
	}{
		"a prefix":                {protocolNamed("bearer."), false},
		"a prefix with dots":      {protocolNamed("base64url.bearer.authorization.k8s.io."), false},
		"a first of a pair":       {protocolNamed("access_token"), false},
		"a first, with a dot":     {protocolNamed("authorization.v1"), false},
		"a first, in capitals":    {protocolNamed("Authorization-Z"), false},
		"a prefix with a hyphen":  {protocolNamed("bearer-"), true},
		"a prefix with underline": {protocolNamed("bearer_"), true},
		"a prefix with a tilde":   {protocolNamed("bearer~"), true},
		"a prefix with a space":   {protocolNamed("bearer "), true},
		"nothing":                 {protocolNamed(""), true},
		"a header":                {headerNamed("X-Amzn-Oidc-Data"), false},
		"Authorization":           {headerNamed("Authorization"), false},
		"Cookie":                  {headerNamed("Cookie"), true},
		"Origin":                  {headerNamed("Origin"), true},
		"Host":                    {headerNamed("Host"), true},
		"Upgrade":                 {headerNamed("Upgrade"), true},
		"a header with a space":   {headerNamed("X Token"), true},
		"a cookie and no func":    {Place{Source: FromCookieFunc, Name: "session"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := row.place.Fault(); (got != "") != row.fault {
				t.Errorf("got %q, want a fault: %t", got, row.fault)
			}
		})
	}
}

func TestRubbishInAuthorizationIsMalformed(t *testing.T) {
	notCompact := refusal.New(refusal.ErrInvalidToken, jose.ErrForm)
	for name, row := range map[string]struct {
		found Credential
		err   error
		want  error
	}{
		"no JWT":              {Credential{"x", FromHeader}, notCompact, refusal.ErrInvalidToken},
		"no b64token":         {Credential{"x y", FromHeader}, notCompact, malformed},
		"elsewhere":           {Credential{"x y", FromProxy}, notCompact, refusal.ErrInvalidToken},
		"another cause":       {Credential{"x y", FromHeader}, refusal.New(refusal.ErrInvalidToken, nil), refusal.ErrInvalidToken},
		"an expired b64token": {Credential{"x", FromHeader}, refusal.New(refusal.ErrExpired, nil), refusal.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			if got := kindOf(row.found.Judge(row.err)); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}
