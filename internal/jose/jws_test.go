package jose

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

const (
	alphabet   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	goodHeader = `{"alg":"HS256"}`
	goodClaims = `{"exp":9000000000}`
)

// newKey makes the verifying half of a minted key, for its one algorithm.
func newKey(t testing.TB, k *mint.Key) *Key {
	t.Helper()
	set, err := ParseStatic(mint.SetOf(k))
	if err != nil {
		t.Fatal(err)
	}
	alg, _ := ParseAlg(k.Alg)
	found, err := set.Find(Header{Alg: alg, KeyID: k.ID})
	if len(found) != 1 {
		t.Fatalf("%d keys, %v", len(found), err)
	}
	return found[0]
}

// accepted is the whole way of a token through this package.
func accepted(token string, k *Key) bool {
	parsed, err := Parse(token)
	if err != nil {
		return false
	}
	_, err = ParseClaims(parsed.Payload)
	return err == nil && parsed.VerifiedBy(k)
}

// checkLeak fails if an error quotes the text that it is about, whole segments or eight bytes of it.
func checkLeak(t *testing.T, err error, text string) {
	t.Helper()
	check := func(text string) {
		for i := range max(0, len(text)-7) {
			if strings.Contains(err.Error(), text[i:i+8]) {
				t.Fatalf("the error quotes %q: %v", text[i:i+8], err)
			}
		}
	}
	check(text)
	for segment := range strings.SplitSeq(text, ".") {
		if len(segment) >= 3 && len(segment) < 8 && strings.Contains(err.Error(), segment) {
			t.Fatalf("the error quotes the segment %q: %v", segment, err)
		}
		if decoded, err := base64.RawURLEncoding.DecodeString(segment); err == nil {
			check(string(decoded))
		}
	}
}

// spareBits is how many bits of the last character of a segment stand for nothing.
func spareBits(segment string) int { return []int{0, 0, 4, 2}[len(segment)%4] }

// loose sets one of the spare bits at the end of a segment.
func loose(segment string) string {
	last := len(segment) - 1
	if spareBits(segment) == 0 {
		panic("a segment without spare bits")
	}
	return segment[:last] + string(alphabet[strings.IndexByte(alphabet, segment[last])|1])
}

// tokenOfLength signs a token of exactly n bytes.
func tokenOfLength(n int, k *mint.Key) string {
	for spaces := range 4 {
		header := goodHeader + strings.Repeat(" ", spaces)
		claims := n - len("..") - base64.RawURLEncoding.EncodedLen(len(header)) - base64.RawURLEncoding.EncodedLen(32)
		if claims%4 == 1 {
			continue // base64 has no such length
		}
		room := base64.RawURLEncoding.DecodedLen(claims) - len(goodClaims) - len(`,"a":""`)
		return k.Sign(header, goodClaims[:len(goodClaims)-1]+`,"a":"`+strings.Repeat("a", room)+`"}`)
	}
	panic("no such length")
}

// standardBase64 signs a token in which one segment is spelled in the alphabet with + and /, and has both.
func standardBase64(segment int, k *mint.Key) string {
	header, claims := goodHeader, goodClaims
	for i := 0; ; i++ {
		filler := strings.Repeat("?", i%3) + "~~~>>>???" + strconv.Itoa(i)
		switch segment {
		case 0:
			header = `{"alg":"HS256","x":"` + filler + `"}`
		default:
			claims = `{"exp":9000000000,"x":"` + filler + `"}`
		}
		parts := strings.Split(k.Sign(header, claims), ".")
		raw, _ := base64.RawURLEncoding.DecodeString(parts[segment])
		standard := base64.RawStdEncoding.EncodeToString(raw)
		if segment == 2 && !strings.ContainsAny(standard, "+/") ||
			segment < 2 && !(strings.Contains(standard, "+") && strings.Contains(standard, "/")) {
			continue
		}
		parts[segment] = standard
		if segment < 2 { // the signature is over the segments as they are spelled
			parts[2] = mint.Base64(k.Signature(parts[0] + "." + parts[1]))
		}
		return strings.Join(parts, ".")
	}
}

type tokenRow struct{ name, token string }

// refusedTokens are tokens that Parse itself must refuse. All are signed that could be.
func refusedTokens(k *mint.Key) []tokenRow {
	good := k.Sign(goodHeader, goodClaims)
	parts := strings.Split(good, ".")
	h, p, s := parts[0], parts[1], parts[2]
	// signed signs two segments as they are given.
	signed := func(h, p string) string { return h + "." + p + "." + mint.Base64(k.Signature(h+"."+p)) }
	b64 := func(text string) string { return mint.Base64([]byte(text)) }

	rows := []tokenRow{
		{"an empty token", ""},
		{"no dot", h},
		{"one dot", h + "." + p},
		{"one dot at the end", h + "."},
		{"dots alone", ".."},
		{"an empty header", "." + p + "." + s},
		{"an empty payload, as a detached one has it", h + ".." + s},
		{"an empty signature", h + "." + p + "."},
		{"no signature and alg none", b64(`{"alg":"none"}`) + "." + p + "."},
		{"a dot before it", "." + good},
		{"a dot behind it", good + "."},
		{"two tokens with a dot between", good + "." + good},
		{"four segments", good + "." + s},
		{"a comma for a dot", strings.ReplaceAll(good, ".", ",")},
		{"a wide dot, U+FF0E", strings.ReplaceAll(good, ".", "．")},
		{"a percent-encoded dot", strings.ReplaceAll(good, ".", "%2E")},
		{"Bearer before it", "Bearer " + good},
		{"quotes around it", `"` + good + `"`},
		{"a byte order mark before it", "\uFEFF" + good},

		{"JWE of five parts", signed(b64(`{"alg":"dir","enc":"A128GCM"}`), "") + "." + p + "." + s},
		{"JWE of five parts, none of them empty", strings.Join([]string{b64(`{"alg":"RSA-OAEP","enc":"A256GCM"}`),
			s, s, p, s}, ".")},
		{"the header of a JWE on three parts", k.Sign(`{"alg":"HS256","enc":"A128GCM"}`, goodClaims)},
		{"JSON serialization, flattened", `{"protected":"` + h + `","payload":"` + p + `","signature":"` + s + `"}`},
		{"JSON serialization, flattened, with claims beside it", `{"protected":"` + h + `","payload":"` + p +
			`","signature":"` + s + `","sub":"root","exp":9000000000}`},
		{"JSON serialization, flattened, with two dots", `{"header":{"kid":"."},"protected":"` + h + `","payload":"` +
			p + `","signature":"` + s + `","a":"."}`},
		{"JSON serialization, general", `{"payload":"` + p + `","signatures":[{"protected":"` + h +
			`","signature":"` + s + `"}]}`},
		{"JSON serialization, general, unprotected header", `{"payload":"` + p + `","signatures":[{"header":` +
			goodHeader + `,"signature":"` + s + `"}]}`},
		{"a JSON string", strconv.Quote(good)},
		{"JSON serialization in base64url for a header", signed(b64(`{"protected":"`+h+`","payload":"`+p+
			`","signature":"`+s+`"}`), p)},

		{"+ and / in the header", standardBase64(0, k)},
		{"+ and / in the payload", standardBase64(1, k)},
		{"+ or / in the signature", standardBase64(2, k)},

		{"four spare bits at the end of the header", signed(loose(b64(goodHeader+" ")), p)},
		{"two spare bits at the end of the header", signed(loose(b64(goodHeader+"  ")), p)},
		{"four spare bits at the end of the payload", signed(h, loose(b64(goodClaims+" ")))},
		{"two spare bits at the end of the payload", signed(h, loose(b64(goodClaims+"  ")))},
		{"a header of a length that base64 does not have", signed(h+"AAAAA", p)},
		{"a payload of a length that base64 does not have", signed(h, p+"A")},
		{"a payload of one character", signed(h, "A")},

		{"8193 bytes", tokenOfLength(8193, k)},
		{"a megabyte", h + "." + strings.Repeat("A", 1<<20) + "." + s},
		{"8193 bytes that are no token", strings.Repeat("*", 8193)},
	}
	// Characters that some decoder skips, or takes for a character of the alphabet.
	for _, c := range []tokenRow{
		{"a padding character", "="}, {"two padding characters", "=="}, {"a space", " "}, {"a newline", "\n"},
		{"a carriage return", "\r"}, {"a CRLF", "\r\n"}, {"a tab", "\t"}, {"a NUL", "\x00"}, {"a plus", "+"},
		{"a slash", "/"}, {"a backslash", `\`}, {"a tilde", "~"}, {"a star", "*"}, {"a byte over 127", "\xff"},
		{"a letter beyond ASCII", "é"}, {"a wide A, U+FF21", "Ａ"},
	} {
		rows = append(rows,
			tokenRow{c.name + " before the header", c.token + good},
			tokenRow{c.name + " within the header", signed(h[:4]+c.token+h[4:], p)},
			tokenRow{c.name + " behind the header", signed(h+c.token, p)},
			tokenRow{c.name + " before the payload", signed(h, c.token+p)},
			tokenRow{c.name + " within the payload", signed(h, p[:4]+c.token+p[4:])},
			tokenRow{c.name + " behind the payload", signed(h, p+c.token)},
			tokenRow{c.name + " before the signature", h + "." + p + "." + c.token + s},
			tokenRow{c.name + " within the signature", h + "." + p + "." + s[:4] + c.token + s[4:]},
			tokenRow{c.name + " behind the signature", good + c.token},
		)
	}
	for _, header := range refusedHeaders {
		rows = append(rows, tokenRow{header.name, k.Sign(header.text, goodClaims)})
	}
	return rows
}

// refusedHeaders are headers that Parse must refuse whatever comes behind them.
var refusedHeaders = []struct{ name, text string }{
	{"alg missing", `{}`},
	{"alg missing beside a typ", `{"typ":"JWT"}`},
	{"alg a number", `{"alg":256}`},
	{"alg null", `{"alg":null}`},
	{"alg null beside a kid", `{"alg":null,"kid":"k1"}`},
	{"alg twice, once null", `{"alg":null,"alg":"HS256"}`},
	{"ALG null", `{"alg":"HS256","ALG":null}`},
	{"alg false", `{"alg":false}`},
	{"alg an array", `{"alg":["HS256"]}`},
	{"alg an object", `{"alg":{"HS256":true}}`},
	{"alg empty", `{"alg":""}`},
	{"alg none", `{"alg":"none"}`},
	{"alg None", `{"alg":"None"}`},
	{"alg NONE", `{"alg":"NONE"}`},
	{"alg nOnE", `{"alg":"nOnE"}`},
	{"alg none, escaped", `{"alg":"\u006eone"}`},
	{"alg none with a space", `{"alg":"none "}`},
	{"alg in lower case", `{"alg":"hs256"}`},
	{"alg with a trailing space", `{"alg":"HS256 "}`},
	{"alg with a leading space", `{"alg":" HS256"}`},
	{"alg with a NUL", `{"alg":"HS256\u0000"}`},
	{"alg with wide letters", `{"alg":"ＨＳ256"}`},
	{"alg HS1", `{"alg":"HS1"}`},
	{"alg RS1", `{"alg":"RS1"}`},
	{"alg ES256K", `{"alg":"ES256K"}`},
	{"alg Ed448", `{"alg":"Ed448"}`},
	{"alg ed25519 in lower case", `{"alg":"ed25519"}`},
	{"alg EDDSA in capitals", `{"alg":"EDDSA"}`},
	{"alg dir", `{"alg":"dir"}`},
	{"alg RSA-OAEP", `{"alg":"RSA-OAEP"}`},
	{"alg a URI", `{"alg":"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"}`},

	{"crit that names exp", `{"alg":"HS256","crit":["exp"],"exp":1}`},
	{"crit that names b64", `{"alg":"HS256","crit":["b64"],"b64":true}`},
	{"crit that names b64, which is false", `{"alg":"HS256","crit":["b64"],"b64":false}`},
	{"crit that names alg", `{"alg":"HS256","crit":["alg"]}`},
	{"crit empty", `{"alg":"HS256","crit":[]}`},
	{"crit null", `{"alg":"HS256","crit":null}`},
	{"crit a string", `{"alg":"HS256","crit":"b64"}`},
	{"crit an object", `{"alg":"HS256","crit":{}}`},
	{"crit escaped", `{"alg":"HS256","\u0063rit":["exp"]}`},
	{"b64 true", `{"alg":"HS256","b64":true}`},
	{"b64 false", `{"alg":"HS256","b64":false}`},
	{"b64 null", `{"alg":"HS256","b64":null}`},
	{"b64 a string", `{"alg":"HS256","b64":"false"}`},
	{"zip DEF", `{"alg":"HS256","zip":"DEF"}`},
	{"zip null", `{"alg":"HS256","zip":null}`},
	{"zip empty", `{"alg":"HS256","zip":""}`},
	{"enc", `{"alg":"HS256","enc":"A256GCM"}`},
	{"enc null", `{"alg":"HS256","enc":null}`},

	{"kid a number", `{"alg":"HS256","kid":1}`},
	{"kid true", `{"alg":"HS256","kid":true}`},
	{"kid an array", `{"alg":"HS256","kid":["k1"]}`},
	{"kid an object", `{"alg":"HS256","kid":{}}`},
	{"kid of 257 bytes", `{"alg":"HS256","kid":"` + strings.Repeat("k", 257) + `"}`},
	{"kid of 257 bytes in 129 characters", `{"alg":"HS256","kid":"k` + strings.Repeat("é", 128) + `"}`},
	{"kid of 257 bytes that come escaped", `{"alg":"HS256","kid":"` + strings.Repeat(`\u006b`, 257) + `"}`},
	{"typ a number", `{"alg":"HS256","typ":1}`},
	{"typ an array", `{"alg":"HS256","typ":["JWT"]}`},
	{"typ an object", `{"alg":"HS256","typ":{}}`},
	{"typ empty", `{"alg":"HS256","typ":""}`},
	{"typ of application/ and nothing behind it", `{"alg":"HS256","typ":"application/"}`},

	{"ALG for alg", `{"ALG":"HS256"}`},
	{"alg and ALG", `{"alg":"HS256","ALG":"none"}`},
	{"Kid", `{"alg":"HS256","Kid":"k1"}`},
	{"kid with a Kelvin sign, U+212A", "{\"alg\":\"HS256\",\"\u212Aid\":\"k1\"}"},
	{"kid with a Kelvin sign by escape", `{"alg":"HS256","\u212Aid":"k1"}`},
	{"tYp", `{"alg":"HS256","tYp":"JWT"}`},
	{"Cty", `{"alg":"HS256","Cty":"JWT"}`},
	{"CRIT", `{"alg":"HS256","CRIT":["exp"]}`},
	{"B64", `{"alg":"HS256","B64":false}`},
	{"Zip", `{"alg":"HS256","Zip":"DEF"}`},
	{"ENC", `{"alg":"HS256","ENC":"A256GCM"}`},
	{"JWK", `{"alg":"HS256","JWK":{}}`},
	{"X5T", `{"alg":"HS256","X5T":"a"}`},
	{"X5T#S256", `{"alg":"HS256","X5T#S256":"a"}`},
	{"x5t#s256", `{"alg":"HS256","x5t#s256":"a"}`},
	{"x5t#S256 with a long s, U+017F", `{"alg":"HS256","x5t#ſ256":"a"}`},
	{"Crit null", `{"alg":"HS256","Crit":null}`},
	{"KID null", `{"alg":"HS256","KID":null}`},
	{"Jku", `{"alg":"HS256","Jku":"https://example.com/"}`},

	{"alg twice", `{"alg":"HS256","alg":"HS256"}`},
	{"alg twice, once escaped", `{"alg":"HS256","\u0061lg":"none"}`},
	{"alg twice, the good one last", `{"alg":"none","alg":"HS256"}`},
	{"x5t twice", `{"alg":"HS256","x5t":"a","x5t":"b"}`},
	{"x5t#S256 twice, once escaped", `{"alg":"HS256","x5t#S256":"a","x5t\u0023S256":"b"}`},
	{"kid twice, once null", `{"alg":"HS256","kid":null,"kid":"k2"}`},
	{"kid twice", `{"alg":"HS256","kid":"k1","kid":"k2"}`},
	{"a member of no meaning twice", `{"alg":"HS256","x":1,"x":2}`},
	{"a member of no meaning in two cases", `{"alg":"HS256","x":1,"X":2}`},
	{"duplicates deep inside", `{"alg":"HS256","jwk":{"a":[{"b":1,"b":2}]}}`},
	{"more than 24 members, alg again at the end", `{"alg":"HS256",` + membersOf(30, `"alg":"HS256"`) + `}`},
	{"a header nested 33 deep", `{"alg":"HS256","x":` + nest(32, `[`, ``, `]`) + `}`},
	{"a header nested 2000 deep", `{"alg":"HS256","x":` + nest(2000, `[`, ``, `]`) + `}`},
	{"1e400 in the header", `{"alg":"HS256","x":1e400}`},

	{"a byte order mark in the header", "\uFEFF" + goodHeader},
	{"trailing data in the header", goodHeader + `x`},
	{"a trailing NUL in the header", goodHeader + "\x00"},
	{"two objects in the header", goodHeader + goodHeader},
	{"a header cut off", `{"alg":"HS256"`},
	{"a header in UTF-16", "{\x00}\x00"},
	{"an array for a header", `[` + goodHeader + `]`},
	{"a string for a header", `"HS256"`},
	{"null for a header", `null`},
	{"a number for a header", `1`},
	{"white space for a header", ` `},
	{"a comment in the header", `{"alg":"HS256"/**/}`},
	{"a comma behind the last member", `{"alg":"HS256",}`},
	{"white space that JSON does not know", "{\u00a0\"alg\":\"HS256\"}"},
	{"a line break in a string", "{\"alg\":\"HS256\",\"kid\":\"\n\"}"},
	{"a lone surrogate in the header", `{"alg":"HS256","x":"\uD800"}`},
	{"a lone surrogate in the kid", `{"alg":"HS256","kid":"\uDC00"}`},
	{"a lone surrogate in a name", `{"alg":"HS256","\uD800":1}`},
	{"invalid UTF-8 in the header", "{\"alg\":\"HS256\",\"x\":\"\xff\"}"},
	{"an overlong form in the header", "{\"alg\":\"HS256\",\"kid\":\"\xc0\xaf\"}"},
	{"a surrogate in UTF-8 in the header", "{\"alg\":\"HS256\",\"kid\":\"\xed\xa0\x80\"}"},
}

func TestParseRefuses(t *testing.T) {
	key := mint.New("HS256", "")
	for _, row := range refusedTokens(key) {
		t.Run(row.name, func(t *testing.T) {
			got, err := Parse(row.token)
			if err == nil {
				t.Fatalf("accepted, with header %+v", got.Header)
			}
			if got != (Token{}) {
				t.Errorf("refused, and yet %+v", got)
			}
			checkLeak(t, err, row.token)
		})
	}
}

// Before any decoding, so that the work of a refusal does not grow with what is sent.
func TestATokenTooLongIsRefusedForItsLengthWhateverIsInIt(t *testing.T) {
	key := mint.New("HS256", "")
	for _, row := range []struct{ configured, max int }{
		{0, 8192}, {256, 256}, {8192, 8192}, {8193, 8193}, {16384, 16384}, {16385, 16385}, {65536, 65536}, {65537, 65536},
		{1 << 30, 65536},
	} {
		p := NewParser(row.configured)
		if p.MaxLength() != row.max {
			t.Errorf("%d configured: got %d, want %d", row.configured, p.MaxLength(), row.max)
		}
		for name, token := range map[string]string{
			"a good one":      tokenOfLength(row.max+1, key),
			"no token":        strings.Repeat("*", row.max+1),
			"dots":            strings.Repeat(".", row.max+1),
			"sixteen million": strings.Repeat("A", 1<<24),
		} {
			_, err := p.Parse(token)
			if want := fmt.Sprintf("longer than %d bytes", row.max); err == nil || err.Error() != want {
				t.Errorf("%d configured, %s: got %v, want %q", row.configured, name, err, want)
			}
			if allocated := testing.AllocsPerRun(10, func() { p.Parse(token) }); allocated != 0 {
				t.Errorf("%d configured, %s: %v allocations for a token that is refused", row.configured, name, allocated)
			}
		}
	}
	if _, err := Parse(tokenOfLength(8193, key)); err == nil || err.Error() != "longer than 8192 bytes" {
		t.Errorf("got %v, want longer than 8192 bytes", err)
	}
}

// acceptedHeaders are headers with what Parse reads from them.
var acceptedHeaders = []struct {
	name, text string
	want       Header
}{
	{"alg alone", `{"alg":"HS256"}`, Header{Alg: HS256}},
	{"alg escaped", `{"\u0061lg":"\u0048S256"}`, Header{Alg: HS256}},
	{"JSON white space", " {\r\n\t\"alg\" : \"HS256\" ,\n \"typ\" : \"JWT\" } \n", Header{Alg: HS256, Type: "jwt"}},
	{"members of no meaning", `{"alg":"HS256","x":[1,{"alg":"none"}],"nonce":"n","url":1,"exp":0}`, Header{Alg: HS256}},
	{"nested 32 deep", `{"alg":"HS256","x":` + nest(31, `[`, ``, `]`) + `}`, Header{Alg: HS256}},
	{"30 members", `{` + membersOf(29, `"alg":"HS256"`) + `}`, Header{Alg: HS256}},
	{"the name of RFC 9864 for EdDSA", `{"alg":"Ed25519"}`, Header{Alg: EdDSA}},

	{"kid", `{"alg":"HS256","kid":"k1"}`, Header{Alg: HS256, KeyID: "k1"}},
	{"kid empty", `{"alg":"HS256","kid":""}`, Header{Alg: HS256}},
	{"kid null", `{"alg":"HS256","kid":null}`, Header{Alg: HS256}},
	{"kid null, spelled as a string", `{"alg":"HS256","kid":"null"}`, Header{Alg: HS256, KeyID: "null"}},
	{"kid escaped", `{"alg":"HS256","kid":"\u006b\u0031\uD83D\uDE00"}`, Header{Alg: HS256, KeyID: "k1😀"}},
	{"kid with any characters", `{"alg":"HS256","kid":"../../etc/passwd\u0000' OR 1=1"}`,
		Header{Alg: HS256, KeyID: "../../etc/passwd\x00' OR 1=1"}},
	{"kid of 256 bytes", `{"alg":"HS256","kid":"` + strings.Repeat("k", 256) + `"}`,
		Header{Alg: HS256, KeyID: strings.Repeat("k", 256)}},
	{"kid of 256 bytes that come escaped", `{"alg":"HS256","kid":"` + strings.Repeat(`\u006b`, 256) + `"}`,
		Header{Alg: HS256, KeyID: strings.Repeat("k", 256)}},

	{"typ null", `{"alg":"HS256","typ":null}`, Header{Alg: HS256}},
	{"typ null, spelled as a string", `{"alg":"HS256","typ":"null"}`, Header{Alg: HS256, Type: "null"}},
	{"typ JWT", `{"alg":"HS256","typ":"JWT"}`, Header{Alg: HS256, Type: "jwt"}},
	{"typ jwt", `{"alg":"HS256","typ":"jwt"}`, Header{Alg: HS256, Type: "jwt"}},
	{"typ at+jwt", `{"alg":"HS256","typ":"at+jwt"}`, Header{Alg: HS256, Type: "at+jwt"}},
	{"typ AT+JWT", `{"alg":"HS256","typ":"AT+JWT"}`, Header{Alg: HS256, Type: "at+jwt"}},
	{"typ application/at+jwt", `{"alg":"HS256","typ":"application/at+jwt"}`, Header{Alg: HS256, Type: "at+jwt"}},
	{"typ Application/AT+JWT", `{"alg":"HS256","typ":"Application/AT+JWT"}`, Header{Alg: HS256, Type: "at+jwt"}},
	{"typ application/jwt", `{"alg":"HS256","typ":"application/jwt"}`, Header{Alg: HS256, Type: "jwt"}},
	// Whether these are welcome is for the caller to say; here they must not turn into one that is.
	{"typ dpop+jwt", `{"alg":"HS256","typ":"dpop+jwt"}`, Header{Alg: HS256, Type: "dpop+jwt"}},
	{"typ logout+jwt", `{"alg":"HS256","typ":"logout+jwt"}`, Header{Alg: HS256, Type: "logout+jwt"}},
	{"typ with a space", `{"alg":"HS256","typ":"JWT "}`, Header{Alg: HS256, Type: "jwt "}},
	{"typ of another tree", `{"alg":"HS256","typ":"text/at+jwt"}`, Header{Alg: HS256, Type: "text/at+jwt"}},
	{"typ with application/ twice", `{"alg":"HS256","typ":"application/application/jwt"}`,
		Header{Alg: HS256, Type: "application/jwt"}},

	{"jwk ignored", `{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, Header{Alg: HS256}},
	{"jku ignored", `{"alg":"HS256","jku":"https://attacker.example/jwks"}`, Header{Alg: HS256}},
	{"x5u ignored", `{"alg":"HS256","x5u":"https://attacker.example/cert"}`, Header{Alg: HS256}},
	{"x5c ignored", `{"alg":"HS256","x5c":["AAAA"]}`, Header{Alg: HS256}},
	{"x5t", `{"alg":"HS256","x5t":"dGh1bWJwcmludC1vZi1vbmU"}`, Header{Alg: HS256, X5T: "dGh1bWJwcmludC1vZi1vbmU"}},
	{"x5t#S256", `{"alg":"HS256","x5t#S256":"_-8"}`, Header{Alg: HS256, X5TS256: "_-8"}},
	{"x5t and x5t#S256", `{"alg":"HS256","kid":"k","x5t#S256":"b","x5t":"a"}`,
		Header{Alg: HS256, KeyID: "k", X5T: "a", X5TS256: "b"}},
	{"x5t in standard base64, with padding", `{"alg":"HS256","x5t":"/+8=","x5t#S256":"ab+/=="}`,
		Header{Alg: HS256, X5T: "_-8", X5TS256: "ab-_"}},
	{"x5t that is no hash", `{"alg":"HS256","x5t":"thumb-one"}`, Header{Alg: HS256, X5T: "thumb-one"}},
	{"x5t null", `{"alg":"HS256","x5t":null,"x5t#S256":null}`, Header{Alg: HS256}},
	{"x5t empty", `{"alg":"HS256","x5t":"","x5t#S256":"="}`, Header{Alg: HS256}},
	{"x5t of 256 bytes", `{"alg":"HS256","x5t":"` + strings.Repeat("t", 256) + `"}`,
		Header{Alg: HS256, X5T: strings.Repeat("t", 256)}},
	{"x5t of 257 bytes ignored", `{"alg":"HS256","x5t":"` + strings.Repeat("t", 257) + `"}`, Header{Alg: HS256}},
	{"the same of other types", `{"alg":"HS256","jwk":1,"jku":null,"x5u":[],"x5c":"","x5t":{},"x5t#S256":false}`,
		Header{Alg: HS256}},
	{"cty ignored", `{"alg":"HS256","cty":"JWT"}`, Header{Alg: HS256}},
	{"cty of another type ignored", `{"alg":"HS256","cty":1}`, Header{Alg: HS256}},
}

func TestParseReadsTheHeader(t *testing.T) {
	key := mint.New("HS256", "")
	for _, row := range acceptedHeaders {
		t.Run(row.name, func(t *testing.T) {
			got, err := Parse(key.Sign(row.text, goodClaims))
			if err != nil {
				t.Fatal(err)
			}
			if got.Header != row.want || got.Payload != goodClaims {
				t.Errorf("got %+v, payload %q; want %+v", got.Header, got.Payload, row.want)
			}
			if verifies := newKey(t, key); row.want.Alg == HS256 && !got.VerifiedBy(verifies) {
				t.Error("not verified")
			}
		})
	}
	t.Run("each algorithm by its name", func(t *testing.T) {
		for a, name := range mint.Algorithms {
			got, err := Parse(key.Sign(`{"alg":"`+name+`"}`, goodClaims))
			if err != nil || got.Header.Alg != Alg(a) || algNames[got.Header.Alg] != name {
				t.Errorf("%s: %+v, %v", name, got.Header, err)
			}
		}
	})
}

func TestATokenOfTheLongestLengthIsAccepted(t *testing.T) {
	key := mint.New("HS256", "")
	verifies := newKey(t, key)
	for _, length := range []int{256, 8191, 8192, 8193, 16384, 16385, 32768, 32769, 65535, 65536} {
		token, err := NewParser(length).Parse(tokenOfLength(length, key))
		if err != nil || !token.VerifiedBy(verifies) {
			t.Errorf("%d bytes: %v", length, err)
		}
		if err != nil {
			continue
		}
		if _, err := ParseClaims(token.Payload); err != nil {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
	if token := tokenOfLength(8192, key); len(token) != 8192 || !accepted(token, verifies) {
		t.Errorf("refused by default, at %d bytes", len(token))
	}
}

// A pooled buffer is longer than the token that it is used for: what an earlier token left in it must not show.
func TestABufferHasNothingOfTheTokenBefore(t *testing.T) {
	key := mint.New("HS256", "")
	verifies := newKey(t, key)
	p := NewParser(LargestMaxLength)
	for _, length := range []int{65536, 256, 40000, 300, 16384, 8193, 257, 65536} {
		token, err := p.Parse(tokenOfLength(length, key))
		if err != nil || !token.VerifiedBy(verifies) {
			t.Fatalf("%d bytes: %v", length, err)
		}
		forged := token
		forged.signature = forged.signature[:len(forged.signature)-8]
		if forged.VerifiedBy(verifies) {
			t.Errorf("%d bytes: verified by a signature that is shorter than the one before", length)
		}
	}
}

// What a refused token costs grows with its length, and no faster: each is eight times the one before, and may take
// eight times as long.
func BenchmarkRefused(b *testing.B) {
	key := mint.New("HS256", "")
	for name, claims := range hostileClaims() {
		for _, length := range []int{8 << 10, 64 << 10} {
			token := key.Sign(goodHeader, claims(length*3/4-200))
			b.Run(fmt.Sprintf("%s/%dKiB", name, length>>10), func(b *testing.B) {
				p := NewParser(LargestMaxLength)
				b.ReportAllocs()
				for b.Loop() {
					t, err := p.Parse(token)
					if err != nil {
						b.Fatal(err)
					}
					ParseClaims(t.Payload)
				}
			})
		}
	}
}

// hostileClaims make claim sets of about so many bytes that are expensive to read.
func hostileClaims() map[string]func(length int) string {
	repeated := func(open, element, shut string) func(int) string {
		return func(length int) string { return open + strings.Repeat(element, length/len(element)) + shut }
	}
	return map[string]func(int) string{
		"one-string":       repeated(`{"a":"`, "a", `"}`),
		"audiences":        repeated(`{"aud":["a"`, `,"a"`, `]}`),
		"scopes":           repeated(`{"scope":["a"`, `,"a"`, `]}`),
		"escapes":          repeated(`{"sub":"`, `\n`, `"}`),
		"subnormals":       repeated(`{"a":[0`, `,1e-310`, `]}`),
		"midway":           repeated(`{"a":[0`, `,8.9884656743362191851e307`, `]}`),
		"one-number":       repeated(`{"exp":1`, `0`, `}`),
		"objects":          repeated(`{"a":[0`, `,{"a":1}`, `]}`),
		"nested-and-short": repeated(`{"a":[0`, `,[[[[[[[]]]]]]]`, `]}`),
		"names": func(length int) string {
			var b strings.Builder
			b.WriteString(`{"a":0`)
			for i := 0; b.Len() < length; i++ {
				fmt.Fprintf(&b, `,"%d":0`, i)
			}
			return b.String() + "}"
		},
		"names-beyond-ascii": func(length int) string {
			var b strings.Builder
			b.WriteString(`{"a":0`)
			for i := 0; b.Len() < length; i++ {
				fmt.Fprintf(&b, `,"é%d":0`, i)
			}
			return b.String() + "}"
		},
	}
}

// Media types are ASCII (RFC 6838 section 4.2): no other letter is another case of one of theirs.
func TestAMediaTypeHasNoOtherSpellingBeyondASCII(t *testing.T) {
	for _, typ := range []string{"applİcation/at+jwt", "ａt+jwt", "at+jwt\u0000", "at+\u200bjwt", " at+jwt"} {
		if got := MediaType(typ); got == "at+jwt" || got == "jwt" || got == "" {
			t.Errorf("MediaType(%q) = %q", typ, got)
		}
	}
}

// The bits that stand for nothing: if they were skipped, one signature would have several spellings, and a list of
// refused tokens none that it can rely on.
func TestASignatureHasOneSpelling(t *testing.T) {
	for _, alg := range mint.Algorithms {
		t.Run(alg, func(t *testing.T) {
			key := mint.New(alg, "")
			verifies := newKey(t, key)
			token := key.Sign(mint.JSON(key.Header()), goodClaims)
			if !accepted(token, verifies) {
				t.Fatal("the token itself is refused")
			}
			last := len(token) - 1
			value := strings.IndexByte(alphabet, token[last])
			for spare := 1; spare < 1<<spareBits(token[strings.LastIndexByte(token, '.')+1:]); spare++ {
				if value&spare != 0 {
					t.Fatal("spare bits that are not zero")
				}
				if accepted(token[:last]+string(alphabet[value|spare]), verifies) {
					t.Errorf("accepted with spare bits %b", spare)
				}
			}
		})
	}
}

// mutants calls visit with tokens that differ from token in one byte, one more or one less. digits is how many other
// characters of base64url each byte is replaced with: those are what costs a verification.
func mutants(token string, digits int, random *rand.Rand, visit func(name string, i int, mutant string)) {
	step := 1
	if testing.Short() {
		step = 3
	}
	for i := 0; i < len(token); i += step {
		others := []byte(".=\n\x00")
		for range 3 {
			if c := byte(random.UintN(256)); strings.IndexByte(alphabet, c) < 0 {
				others = append(others, c)
			}
		}
		for range digits {
			others = append(others, alphabet[random.IntN(64)])
		}
		for _, c := range others {
			visit("replaced", i, token[:i]+string([]byte{c})+token[i+1:])
		}
		visit("deleted", i, token[:i]+token[i+1:])
		visit("inserted", i, token[:i]+string(alphabet[random.IntN(64)])+token[i:])
		visit("truncated", i, token[:i])
	}
	for i := range len(token) {
		if i+1 == len(token) || token[i+1] == '.' {
			for _, c := range []byte(alphabet) {
				visit("replaced", i, token[:i]+string([]byte{c})+token[i+1:])
			}
		}
	}
	visit("appended", len(token), token+"A")
	visit("appended to itself", len(token), token+token)
}

func TestNoMutantOfATokenIsAccepted(t *testing.T) {
	// The same places and bytes each time; the keys and signatures differ.
	random := rand.New(rand.NewPCG(1, 2))
	for _, alg := range mint.Algorithms {
		t.Run(alg, func(t *testing.T) {
			key := mint.New(alg, "k1")
			verifies := newKey(t, key)
			token := key.Sign(mint.JSON(key.Header()), `{"iss":"i","sub":"s","exp":9000000000}`)
			if !accepted(token, verifies) {
				t.Fatal("the token itself is refused")
			}
			digits := 3
			if alg == "ES384" || alg == "ES512" {
				digits = 1 // a verification takes milliseconds under the race detector
			}
			mutants(token, digits, random, func(name string, i int, mutant string) {
				if mutant != token && accepted(mutant, verifies) {
					t.Errorf("%s at %d: %q accepted for %q", name, i, mutant, token)
				}
			})
		})
	}
}

func TestARememberedHeaderIsReadAlike(t *testing.T) {
	known := NewParser(0)
	for name, row := range map[string]string{
		"with a kid": `{"alg":"HS256","kid":"a"}`, "with a type": `{"alg":"HS256","typ":"application/AT+jwt"}`,
		"with white space": ` { "alg" : "HS256" } `, "with thumbprints": `{"alg":"HS256","x5t":"a","x5t#S256":"b"}`,
	} {
		t.Run(name, func(t *testing.T) {
			key := mint.New("HS256", "")
			first := must(known.Parse(key.Sign(row, goodClaims)))
			if first.known {
				t.Fatal("remembered before")
			}
			known.Remember(&first)
			if known.known.Get(first.header) != nil {
				t.Fatal("remembered before it was verified")
			}
			if first.VerifiedBy(newKey(t, mint.New("HS256", ""))) {
				t.Fatal("verified by another key")
			}
			known.Remember(&first)
			if known.known.Get(first.header) != nil {
				t.Fatal("remembered though it is forged")
			}
			if !first.VerifiedBy(newKey(t, key)) {
				t.Fatal("not verified by its key")
			}
			known.Remember(&first)
			again := must(known.Parse(key.Sign(row, goodClaims)))
			if !again.known || again.Header != first.Header {
				t.Errorf("known: %v, %+v, want %+v", again.known, again.Header, first.Header)
			}
			// Another spelling is another segment, and the rest of the token is read as ever.
			if other := must(known.Parse(key.Sign(row+" ", goodClaims))); other.known || other.Header != first.Header {
				t.Errorf("known: %v, %+v", other.known, other.Header)
			}
			if _, err := known.Parse(again.header + ".!." + again.signature); err == nil {
				t.Error("a malformed payload behind a remembered header is accepted")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	// The same in each process that fuzzes, or the seeds would be signed by a key that is not there.
	key := &mint.Key{Alg: "HS256", Private: []byte(strings.Repeat("secret", 11))}
	verifies := newKey(f, key)
	for _, row := range refusedTokens(key) {
		if len(row.token) <= DefaultMaxLength+1 {
			f.Add(row.token)
		}
	}
	for _, row := range acceptedHeaders {
		f.Add(key.Sign(row.text, goodClaims))
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := Parse(token)
		if err != nil {
			if got != (Token{}) {
				t.Fatalf("%q: refused, and yet %+v", token, got)
			}
			return
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 || len(token) > DefaultMaxLength || slices.Contains(parts, "") {
			t.Fatalf("%q: accepted", token)
		}
		if mint.Base64([]byte(got.Payload)) != parts[1] {
			t.Fatalf("%q: another spelling of the payload %q", token, got.Payload)
		}
		// Whatever of it is verified was signed like this: the key's own signature has one spelling.
		if got.VerifiedBy(verifies) && mint.Base64(key.Signature(parts[0]+"."+parts[1])) != parts[2] {
			t.Fatalf("%q: verified", token)
		}
	})
}
