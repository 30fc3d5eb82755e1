package bench_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/bench/verify"
	"github.com/wsauth/wsauth/internal/mint"
)

// maxToken is the length in bytes of the longest token that wsauth reads.
const maxToken = 8192

// A hostile request is made to be expensive.
type hostile struct {
	name    string
	request *http.Request
	good    bool // it is there to compare the others with
	hidden  bool // what OnRefuse gets must not show its token, so it is looked for once more
}

func hostileRequests(t testing.TB, s *verify.Suite) []hostile {
	t.Helper()
	const header = `{"alg":"HS256","typ":"JWT"}`
	claims := mint.JSON(verify.Claims(nil))
	// with makes a claim set with one more member, and header is made longer in the same way.
	with := func(object, member string) string { return strings.TrimSuffix(object, "}") + "," + member + "}" }
	nested := `"x":` + strings.Repeat("[", 2800) + strings.Repeat("]", 2800)
	var members []string
	for i := range 500 {
		members = append(members, fmt.Sprintf(`"%d":%[1]d`, i))
	}
	many := strings.Join(members, ",")
	// Of these numbers, strconv.ParseFloat would take 12 and 26 µs for each.
	subnormal := `"x":[0` + strings.Repeat(",1e-310", 750) + `]`
	midway := `"x":[0` + strings.Repeat(",8.9884656743362191851e307", 200) + `]`
	exponents := `"x":[0` + strings.Repeat(",1e9", 1300) + `]`
	escapes := `"x":"` + strings.Repeat(`\n`, 2700) + `"`
	foreign := `"` + strings.Repeat("é", 1000) + `":"` + strings.Repeat("é", 1700) + `"`

	long := s.Sign(header, with(claims, `"x":"`+strings.Repeat("x", 5600)+`"`))
	if len(long) > maxToken || len(long) < maxToken-512 {
		t.Fatalf("the long token has %d bytes", len(long))
	}
	wrong := func(token string) *http.Request { return verify.Request(otherSignature(token)) }

	var cookies []string
	for i := range 1000 {
		cookies = append(cookies, fmt.Sprintf("cookie%d=value", i))
	}
	withCookies := verify.Request("")
	withCookies.Header = http.Header{"Cookie": {strings.Join(cookies, "; ")}}

	query := strings.ReplaceAll(strings.Join(cookies, "&"), "cookie", "parameter")
	withQuery := func(query string) *http.Request {
		r := verify.Request("")
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
		r.URL.RawQuery = query
		return r
	}

	withProtocols := withQuery("")
	withProtocols.Header.Set("Sec-WebSocket-Protocol", strings.Repeat(",", 1<<20))

	base64 := strings.Repeat("A", 256<<10)
	return []hostile{
		{name: "dots", request: verify.Request(strings.Repeat(".", maxToken))},
		{name: "nested-claims", request: verify.Request(s.Sign(header, with(claims, nested)))},
		{name: "nested-header", request: verify.Request(s.Sign(with(header, nested), claims))},
		{name: "long-kid", request: verify.Request(s.Sign(with(header, `"kid":"`+strings.Repeat("k", 4096)+`"`), claims))},
		{name: "many-claims", request: wrong(s.Sign(header, with(claims, many)))},
		{name: "subnormal-numbers", request: wrong(s.Sign(header, with(claims, subnormal)))},
		{name: "numbers-midway", request: wrong(s.Sign(header, with(claims, midway)))},
		{name: "exponents", request: wrong(s.Sign(header, with(claims, exponents)))},
		{name: "numbers-in-the-header", request: wrong(s.Sign(with(header, subnormal), claims))},
		{name: "escapes", request: wrong(s.Sign(header, with(claims, escapes)))},
		{name: "names-beyond-ascii", request: wrong(s.Sign(header, with(claims, foreign)))},
		{name: "long-wrong-signature", request: wrong(long)},
		{name: "long-good", request: verify.Request(long), good: true},
		{name: "huge-base64", request: verify.Request(base64 + "." + base64 + "." + base64)},
		{name: "megabyte-header", request: verify.Request(strings.Repeat("A", 1<<20))},
		{name: "thousand-cookies", request: withCookies},
		{name: "thousand-parameters", request: withQuery(query)},
		{name: "thousand-escaped-parameters", request: withQuery(strings.ReplaceAll(query, "p", "%70"))},
		{name: "megabyte-of-ampersands", request: withQuery(strings.Repeat("&", 1<<20)), hidden: true},
		{name: "megabyte-of-semicolons", request: withQuery(strings.Repeat(";", 1<<20)), hidden: true},
		{name: "megabyte-of-escapes", request: withQuery(strings.Repeat("%61", 1<<20/3)), hidden: true},
		{name: "megabyte-of-commas", request: withProtocols, hidden: true},
	}
}

// withOnRefuse is wsauth with an OnRefuse of the application, to which it shows no token.
func withOnRefuse(t testing.TB) verify.Check {
	t.Helper()
	var refused error
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(make([]byte, 32))}},
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromSubprotocol("bearer."),
		},
		OnRefuse: func(_ http.ResponseWriter, _ *http.Request, err error) { refused = err },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := auth.Middleware(http.NotFoundHandler())
	return func(r *http.Request) (*http.Request, error) {
		h.ServeHTTP(nil, r)
		return r, refused
	}
}

// otherSignature is of the same form, and wrong.
func otherSignature(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	return token[:at] + strings.Repeat("A", len(token)-at)
}

func TestHostile(t *testing.T) {
	s := newSuite(t, "HS256")
	for _, h := range hostileRequests(t, s) {
		check := s.Variant("wsauth").Check
		if h.hidden {
			check = withOnRefuse(t)
		}
		if _, err := check(h.request); (err == nil) != h.good {
			t.Errorf("%s: %v", h.name, err)
		}
	}
}

// BenchmarkHostile compares what it takes to refuse such requests with what it takes to accept a good one: x-valid is
// how many times as long.
func BenchmarkHostile(b *testing.B) {
	s := newSuite(b, "HS256")
	checkValid := s.Variant("wsauth").Check
	valid := verify.Request(s.Token(verify.Claims(nil)))
	const turn = 64 // calls of one kind before it is the other's turn
	for _, h := range hostileRequests(b, s) {
		check := checkValid
		if h.hidden {
			check = withOnRefuse(b)
		}
		b.Run(h.name, func(b *testing.B) {
			b.ReportAllocs()
			var took time.Duration
			n := 0
			for i := 0; b.Loop(); i++ {
				check(h.request)
				if i%turn != 0 {
					continue
				}
				b.StopTimer()
				start := time.Now()
				for range turn {
					if _, err := checkValid(valid); err != nil {
						b.Fatal(err)
					}
				}
				took += time.Since(start)
				n += turn
				b.StartTimer()
			}
			perValid := took.Seconds() / float64(n)
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/perValid, "x-valid")
		})
	}
}
