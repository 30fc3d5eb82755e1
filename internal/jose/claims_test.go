package jose

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

const logoutURI = "http://schemas.openid.net/event/backchannel-logout"

func at(seconds, nanos int64) time.Time { return time.Unix(seconds, nanos).UTC() }

// claimsRows are claim sets with what ParseClaims reads, or nil if it refuses them.
var claimsRows = []struct {
	name, claims string
	want         *Claims // without Raw
}{
	{"exp alone", `{"exp":1800000600}`, &Claims{Expiry: at(1800000600, 0)}},
	{"every registered claim",
		`{"iss":"i","sub":"s","aud":["a","b"],"exp":1800000600,"nbf":1800000000,"iat":1800000001,"jti":"j","scope":"x y"}`,
		&Claims{Issuer: "i", HasIssuer: true, Subject: "s", audience: [2]string{"a", "b"}, inAll: 2, Expiry: at(1800000600, 0),
			NotBefore: at(1800000000, 0), IssuedAt: at(1800000001, 0), ID: "j", Scope: "x y"}},
	{"white space around claims", " {\n\"exp\" :\t1800000600 } ", &Claims{Expiry: at(1800000600, 0)}},
	{"a claim whose name is escaped", `{"\u0065xp":1800000600,"sub":"\u0073"}`,
		&Claims{Expiry: at(1800000600, 0), Subject: "s"}},
	{"claims of its own, of any type", `{"exp":1800000600,"a":null,"b":[{"exp":"x"}],"Roles":{"sub":1,"SCOPE":2}}`,
		&Claims{Expiry: at(1800000600, 0)}},

	{"exp missing", `{"sub":"s"}`, nil},
	{"no claims", `{}`, nil},
	{"exp of another object", `{"a":{"exp":1800000600}}`, nil},
	{"exp 0", `{"exp":0}`, nil},
	{"exp 0.0", `{"exp":0.0}`, nil},
	{"exp -0", `{"exp":-0}`, nil},
	{"exp -0.0", `{"exp":-0.0}`, nil},
	{"exp 0e0", `{"exp":0e0}`, nil},
	{"exp 0e99999999999999999999", `{"exp":0e99999999999999999999}`, nil},
	{"exp 0.5", `{"exp":0.5}`, nil},
	{"exp just below 1", `{"exp":0.9999999999999999999}`, nil},
	{"exp 5e-1", `{"exp":5e-1}`, nil},
	{"exp that rounds to zero", `{"exp":1e-400}`, nil},
	{"exp with a tiny exponent", `{"exp":1800000600e-99999}`, nil},
	{"exp with an exponent below every int", `{"exp":1800000600e-99999999999999999999}`, nil},
	{"exp negative", `{"exp":-1}`, nil},
	{"exp negative and far", `{"exp":-1800000600}`, nil},
	{"exp 1", `{"exp":1}`, &Claims{Expiry: at(1, 0)}},
	{"exp a string", `{"exp":"1800000600"}`, nil},
	{"exp a bool", `{"exp":true}`, nil},
	{"exp false", `{"exp":false}`, nil},
	{"exp null", `{"exp":null}`, nil},
	{"exp null, beside an exp", `{"exp":null,"exp":1800000600}`, nil},
	{"every claim that may be null",
		`{"exp":1800000600,"iss":null,"sub":null,"aud":null,"nbf":null,"iat":null,"jti":null,"scope":null,"scp":null,` +
			`"azp":null,"client_id":null,"sid":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"null with white space around it", `{"exp":1800000600,"sub": null }`, &Claims{Expiry: at(1800000600, 0)}},
	{"null as a string is a string", `{"exp":1800000600,"sub":"null"}`,
		&Claims{Expiry: at(1800000600, 0), Subject: "null"}},
	{"null in another case", `{"exp":1800000600,"sub":Null}`, nil},
	{"a claim in another letter case, null", `{"exp":1800000600,"SUB":null}`, nil},
	{"a claim twice, once null", `{"exp":1800000600,"sub":null,"sub":"s"}`, nil},
	{"exp an array", `{"exp":[1800000600]}`, nil},
	{"exp an object", `{"exp":{}}`, nil},
	{"nbf a string", `{"exp":1800000600,"nbf":"1800000000"}`, nil},
	{"nbf a bool", `{"exp":1800000600,"nbf":false}`, nil},
	{"nbf null is absent", `{"exp":1800000600,"nbf":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"nbf an array", `{"exp":1800000600,"nbf":[]}`, nil},
	{"nbf negative", `{"exp":1800000600,"nbf":-1}`, nil},
	{"nbf beyond year 9999", `{"exp":1800000600,"nbf":253402300800}`, nil},
	{"nbf 0", `{"exp":1800000600,"nbf":0}`, &Claims{Expiry: at(1800000600, 0), NotBefore: at(0, 0)}},
	{"nbf after exp", `{"exp":1800000600,"nbf":1800000601}`,
		&Claims{Expiry: at(1800000600, 0), NotBefore: at(1800000601, 0)}},
	{"iat a string", `{"exp":1800000600,"iat":"1800000000"}`, nil},
	{"iat a bool", `{"exp":1800000600,"iat":true}`, nil},
	{"iat null is absent", `{"exp":1800000600,"iat":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"iat an array", `{"exp":1800000600,"iat":[1]}`, nil},
	{"iat negative", `{"exp":1800000600,"iat":-0.5}`, nil},
	{"iat beyond year 9999", `{"exp":1800000600,"iat":1e12}`, nil},
	{"iat 0", `{"exp":1800000600,"iat":0}`, &Claims{Expiry: at(1800000600, 0), IssuedAt: at(0, 0)}},
	{"iat equal to exp", `{"exp":1800000600,"iat":1800000600}`,
		&Claims{Expiry: at(1800000600, 0), IssuedAt: at(1800000600, 0)}},
	{"iat after exp", `{"exp":1800000600,"iat":1800000601}`, nil},
	{"iat after exp, and before it in the text", `{"iat":1800000601,"exp":1800000600}`, nil},
	{"iat a nanosecond after exp", `{"exp":1800000600,"iat":1800000600.000000001}`, nil},

	{"the last second of year 9999", `{"exp":253402300799}`, &Claims{Expiry: at(253402300799, 0)}},
	{"the last nanosecond of year 9999", `{"exp":253402300799.999999999}`,
		&Claims{Expiry: at(253402300799, 999999999)}},
	{"less than a nanosecond before year 10000", `{"exp":253402300799.9999999999}`,
		&Claims{Expiry: at(253402300799, 999999999)}},
	{"the first second of year 10000", `{"exp":253402300800}`, nil},
	{"the first second of year 10000 by exponent", `{"exp":2.534023008e11}`, nil},
	{"milliseconds", `{"exp":1800000600000}`, nil},
	{"milliseconds by exponent", `{"exp":1.8000006e12}`, nil},
	{"exp 999999999999", `{"exp":999999999999}`, nil},
	{"exp 1000000000000", `{"exp":1000000000000}`, nil},
	{"exp 1e18", `{"exp":1e18}`, nil},
	{"exp one above int64", `{"exp":9223372036854775808}`, nil},
	{"exp one above uint64", `{"exp":18446744073709551616}`, nil},
	{"exp that wraps around int64 to 1800000600", `{"exp":18446744075509552216}`, nil},
	{"exp 1e308", `{"exp":1e308}`, nil},
	{"exp 1e400", `{"exp":1e400}`, nil},
	{"1e400 in a claim of its own", `{"exp":1800000600,"a":[1e400]}`, nil},

	{"a fraction", `{"exp":1800000600.25}`, &Claims{Expiry: at(1800000600, 250000000)}},
	{"a fraction to the nanosecond", `{"exp":1800000600.123456789}`, &Claims{Expiry: at(1800000600, 123456789)}},
	{"a fraction that a float64 would round", `{"exp":1800000600.000000001}`, &Claims{Expiry: at(1800000600, 1)}},
	{"a fraction finer than a nanosecond is cut", `{"exp":1800000600.0000000019}`, &Claims{Expiry: at(1800000600, 1)}},
	{"a fraction with leading zeros", `{"exp":1800000600.05}`, &Claims{Expiry: at(1800000600, 50000000)}},
	{"exponent form", `{"exp":1.8000006e9}`, &Claims{Expiry: at(1800000600, 0)}},
	{"exponent form with a plus", `{"exp":1.8000006E+9}`, &Claims{Expiry: at(1800000600, 0)}},
	{"exponent form with a minus", `{"exp":18000006000e-1}`, &Claims{Expiry: at(1800000600, 0)}},
	{"exponent form with leading zeros", `{"exp":1.8000006e0009}`, &Claims{Expiry: at(1800000600, 0)}},
	{"exponent form to the nanosecond", `{"exp":1.800000600123456789e9}`, &Claims{Expiry: at(1800000600, 123456789)}},
	{"exponent form of a small fraction", `{"exp":0.0000018e15}`, &Claims{Expiry: at(1800000000, 0)}},
	{"exponent form that cuts within the digits", `{"exp":18000006001234567899e-10}`,
		&Claims{Expiry: at(1800000600, 123456789)}},
	{"exponent form of the last second", `{"exp":2.53402300799e11}`, &Claims{Expiry: at(253402300799, 0)}},
	{"a long tail of zeros brought back", `{"exp":18` + strings.Repeat("0", 208) + `e-200}`,
		&Claims{Expiry: at(1800000000, 0)}},
	{"a long head of zeros brought back", `{"exp":0.` + strings.Repeat("0", 200) + `18e210}`,
		&Claims{Expiry: at(1800000000, 0)}},

	{"iss not a string", `{"exp":1800000600,"iss":1}`, nil},
	{"iss null is absent", `{"exp":1800000600,"iss":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"iss an array", `{"exp":1800000600,"iss":["i"]}`, nil},
	{"iss empty", `{"exp":1800000600,"iss":""}`, &Claims{Expiry: at(1800000600, 0), HasIssuer: true}},
	{"iss as it is, case and final slash", `{"exp":1800000600,"iss":"HTTPS://Id.example.com/"}`,
		&Claims{Expiry: at(1800000600, 0), HasIssuer: true, Issuer: "HTTPS://Id.example.com/"}},

	{"aud a string", `{"exp":1800000600,"aud":"a"}`, &Claims{Expiry: at(1800000600, 0), audience: [2]string{"a"}, inAll: 1}},
	{"aud an empty string", `{"exp":1800000600,"aud":""}`, &Claims{Expiry: at(1800000600, 0), inAll: 1}},
	{"aud an array of one", `{"exp":1800000600,"aud":["a"]}`,
		&Claims{Expiry: at(1800000600, 0), audience: [2]string{"a"}, inAll: 1}},
	{"aud with escapes and white space", `{"exp":1800000600,"aud":[ "\u0061" , "b\n" ]}`,
		&Claims{Expiry: at(1800000600, 0), audience: [2]string{"a", "b\n"}, inAll: 2}},
	{"aud an empty array is none", `{"exp":1800000600,"aud":[]}`, &Claims{Expiry: at(1800000600, 0)}},
	{"aud an empty array with white space", `{"exp":1800000600,"aud":[ ]}`, &Claims{Expiry: at(1800000600, 0)}},
	{"aud an empty object", `{"exp":1800000600,"aud":{}}`, nil},
	{"aud false", `{"exp":1800000600,"aud":false}`, nil},
	{"aud of mixed types", `{"exp":1800000600,"aud":["a",1]}`, nil},
	{"aud with a null", `{"exp":1800000600,"aud":[null,"a"]}`, nil},
	{"aud nested", `{"exp":1800000600,"aud":[["a"]]}`, nil},
	{"aud null is absent", `{"exp":1800000600,"aud":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"aud a number", `{"exp":1800000600,"aud":1}`, nil},
	{"aud an object", `{"exp":1800000600,"aud":{"a":true}}`, nil},

	{"sub missing", `{"exp":1800000600,"jti":"j"}`, &Claims{Expiry: at(1800000600, 0), ID: "j"}},
	{"sub with a surrogate pair", `{"exp":1800000600,"sub":"\uD83D\uDE00\u0000"}`,
		&Claims{Expiry: at(1800000600, 0), Subject: "😀\x00"}},
	{"sub an integer", `{"exp":1800000600,"sub":4711}`, &Claims{Expiry: at(1800000600, 0), Subject: "4711"}},
	{"sub 0", `{"exp":1800000600,"sub":0}`, &Claims{Expiry: at(1800000600, 0), Subject: "0"}},
	{"sub an integer over 2^53", `{"exp":1800000600,"sub":9007199254740993}`,
		&Claims{Expiry: at(1800000600, 0), Subject: "9007199254740993"}},
	{"sub of 19 digits, over int64", `{"exp":1800000600,"sub":9999999999999999999}`,
		&Claims{Expiry: at(1800000600, 0), Subject: "9999999999999999999"}},
	{"sub of 20 digits", `{"exp":1800000600,"sub":10000000000000000000}`, nil},
	{"sub with a leading zero", `{"exp":1800000600,"sub":04711}`, nil},
	{"sub 00", `{"exp":1800000600,"sub":00}`, nil},
	{"sub -0", `{"exp":1800000600,"sub":-0}`, nil},
	{"sub negative", `{"exp":1800000600,"sub":-1}`, nil},
	{"sub with a plus", `{"exp":1800000600,"sub":+1}`, nil},
	{"sub with a fraction of zero", `{"exp":1800000600,"sub":4711.0}`, nil},
	{"sub with a fraction", `{"exp":1800000600,"sub":47.11}`, nil},
	{"sub with an exponent", `{"exp":1800000600,"sub":1e3}`, nil},
	{"sub with an exponent of zero", `{"exp":1800000600,"sub":4711E0}`, nil},
	{"sub in hexadecimal", `{"exp":1800000600,"sub":0x10}`, nil},
	{"sub false", `{"exp":1800000600,"sub":false}`, nil},
	{"sub an integer in an array", `{"exp":1800000600,"sub":[1]}`, nil},
	{"jti an integer", `{"exp":1800000600,"jti":4711}`, nil},
	{"iss an integer", `{"exp":1800000600,"iss":4711}`, nil},
	{"aud an integer", `{"exp":1800000600,"aud":4711}`, nil},
	{"sub null is absent", `{"exp":1800000600,"sub":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"sub an array", `{"exp":1800000600,"sub":["s"]}`, nil},
	{"sub an object", `{"exp":1800000600,"sub":{}}`, nil},
	{"sub true", `{"exp":1800000600,"sub":true}`, nil},
	{"sub with a lone surrogate", `{"exp":1800000600,"sub":"\uD800"}`, nil},
	{"sub with invalid UTF-8", "{\"exp\":1800000600,\"sub\":\"\xff\"}", nil},
	{"jti a number", `{"exp":1800000600,"jti":1}`, nil},
	{"jti null is absent", `{"exp":1800000600,"jti":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"jti an object", `{"exp":1800000600,"jti":{}}`, nil},

	{"scope empty", `{"exp":1800000600,"scope":""}`, &Claims{Expiry: at(1800000600, 0)}},
	{"scope an array", `{"exp":1800000600,"scope":["openid","chat"]}`,
		&Claims{Expiry: at(1800000600, 0), Scope: "openid chat"}},
	{"scope an array of one", `{"exp":1800000600,"scope":["x"]}`, &Claims{Expiry: at(1800000600, 0), Scope: "x"}},
	{"scope an empty array", `{"exp":1800000600,"scope":[]}`, &Claims{Expiry: at(1800000600, 0)}},
	{"scope an array with escapes and white space", `{"exp":1800000600,"scope":[ "\u0078" , "y" ]}`,
		&Claims{Expiry: at(1800000600, 0), Scope: "x y"}},
	{"scope an array with a space in a scope", `{"exp":1800000600,"scope":["chat admin"]}`, nil},
	{"scope an array with an escaped space in a scope", `{"exp":1800000600,"scope":["chat\u0020admin"]}`, nil},
	{"scope of mixed types", `{"exp":1800000600,"scope":["x",1]}`, nil},
	{"scope with a null", `{"exp":1800000600,"scope":["x",null]}`, nil},
	{"scope nested", `{"exp":1800000600,"scope":[["x"]]}`, nil},
	{"scope an object", `{"exp":1800000600,"scope":{"x":true}}`, nil},
	{"scope true", `{"exp":1800000600,"scope":true}`, nil},
	{"scope null is absent", `{"exp":1800000600,"scope":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"scope a number", `{"exp":1800000600,"scope":1}`, nil},
	{"scp a string", `{"exp":1800000600,"scp":"x y"}`, &Claims{Expiry: at(1800000600, 0), Scope: "x y"}},
	{"scp an array", `{"exp":1800000600,"scp":["x","y"]}`, &Claims{Expiry: at(1800000600, 0), Scope: "x y"}},
	{"scp an empty array", `{"exp":1800000600,"scp":[]}`, &Claims{Expiry: at(1800000600, 0)}},
	{"scp an array with a space in a scope", `{"exp":1800000600,"scp":["x y"]}`, nil},
	{"scp of mixed types", `{"exp":1800000600,"scp":["x",1]}`, nil},
	{"scp null is absent", `{"exp":1800000600,"scp":null}`, &Claims{Expiry: at(1800000600, 0)}},
	{"scp an object", `{"exp":1800000600,"scp":{}}`, nil},
	{"scope wins over scp", `{"scope":"x","scp":["y"],"exp":1800000600}`,
		&Claims{Expiry: at(1800000600, 0), Scope: "x"}},
	{"an empty scope wins over scp", `{"scp":["y"],"scope":"","exp":1800000600}`, &Claims{Expiry: at(1800000600, 0)}},
	{"an empty array of scope wins over scp", `{"scp":["y"],"scope":[],"exp":1800000600}`,
		&Claims{Expiry: at(1800000600, 0)}},
	{"scope null leaves it to scp", `{"scp":["y"],"scope":null,"exp":1800000600}`,
		&Claims{Expiry: at(1800000600, 0), Scope: "y"}},
	{"scp null leaves it to scope", `{"scp":null,"scope":["x"],"exp":1800000600}`,
		&Claims{Expiry: at(1800000600, 0), Scope: "x"}},
	{"a malformed scp beside scope", `{"scope":"x","scp":1,"exp":1800000600}`, nil},

	{"sid, client_id and azp, as they came", `{"exp":1800000600,"sid":"\u0061","client_id": 1 ,"azp":["b", null]}`,
		&Claims{Expiry: at(1800000600, 0), SessionID: `"\u0061"`, ClientID: `1`, AuthorizedParty: `["b", null]`}},
	{"Sid", `{"exp":1800000600,"Sid":"a"}`, nil},
	{"Client_ID", `{"exp":1800000600,"Client_ID":"a"}`, nil},
	{"AZP", `{"exp":1800000600,"AZP":"a"}`, nil},
	{"azp twice", `{"exp":1800000600,"azp":"a","azp":"a"}`, nil},

	{"cnf", `{"exp":1800000600,"cnf":{"jkt":"x"}}`, nil},
	{"cnf empty", `{"exp":1800000600,"cnf":{}}`, nil},
	{"cnf null", `{"exp":1800000600,"cnf":null}`, nil},
	{"a logout token", `{"exp":1800000600,"events":{"` + logoutURI + `":{}}}`, nil},
	{"a security event", `{"exp":1800000600,"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{}}}`, nil},
	{"a security event by http", `{"exp":1800000600,"events":{"a":1,"http://schemas.openid.net/secevent/risc/event-type/a":null}}`, nil},
	{"a logout token beside other events", `{"exp":1800000600,"events":{"a":{},"` + logoutURI + `":null}}`, nil},
	{"a logout token with an escaped URI", `{"exp":1800000600,"events":{"` +
		strings.ReplaceAll(logoutURI, "/", `\/`) + `":{}}}`, nil},
	{"events of another kind", `{"exp":1800000600,"events":{"a":{}}}`, &Claims{Expiry: at(1800000600, 0)}},
	{"events that are an array", `{"exp":1800000600,"events":["a"]}`, nil},
	{"a logout token with its URI in an array", `{"exp":1800000600,"events":["` + logoutURI + `"]}`, nil},
	{"a logout token with its URI as a string", `{"exp":1800000600,"events":"` + logoutURI + `"}`, nil},
	{"events that are null", `{"exp":1800000600,"events":null}`, nil},

	{"EXP for exp", `{"EXP":1800000600}`, nil},
	{"Sub alone", `{"exp":1800000600,"Sub":"s"}`, nil},
	{"sub and SUB", `{"exp":1800000600,"sub":"s","SUB":"t"}`, nil},
	{"ISS", `{"exp":1800000600,"ISS":"i"}`, nil},
	{"Aud", `{"exp":1800000600,"Aud":"a"}`, nil},
	{"Nbf", `{"exp":1800000600,"Nbf":1}`, nil},
	{"iAt", `{"exp":1800000600,"iAt":1}`, nil},
	{"JTI", `{"exp":1800000600,"JTI":"j"}`, nil},
	{"Scope", `{"exp":1800000600,"Scope":"x"}`, nil},
	{"SCP", `{"exp":1800000600,"SCP":"x"}`, nil},
	{"CNF", `{"exp":1800000600,"CNF":{}}`, nil},
	{"Events", `{"exp":1800000600,"Events":{}}`, nil},
	{"sub with a long s, U+017F", `{"exp":1800000600,"ſub":"s"}`, nil},
	{"sub with a long s by escape", `{"exp":1800000600,"\u017Fub":"s"}`, nil},
	{"scope with a long s", `{"exp":1800000600,"ſcope":"x"}`, nil},
	{"iss with two", `{"exp":1800000600,"iſſ":"i"}`, nil},
	{"no registered name has a k: a Kelvin sign, U+212A, is as good as any other letter",
		"{\"exp\":1800000600,\"\u212A\":1}", &Claims{Expiry: at(1800000600, 0)}},
	{"but not beside a k", "{\"exp\":1800000600,\"\u212A\":1,\"k\":2}", nil},
	{"names of its own alike but for case", `{"exp":1800000600,"role":"a","Role":"b"}`, nil},
	{"a registered name in another case deep inside", `{"exp":1800000600,"a":{"SUB":1}}`,
		&Claims{Expiry: at(1800000600, 0)}},

	{"exp twice", `{"exp":1800000600,"exp":1800000600}`, nil},
	{"sub twice, once escaped", `{"exp":1800000600,"sub":"a","s\u0075b":"b"}`, nil},
	{"a claim of its own twice, once escaped", `{"exp":1800000600,"a":1,"\u0061":2}`, nil},
	{"duplicates deep inside", `{"exp":1800000600,"a":[{"b":{"c":1,"c":2}}]}`, nil},
	{"more than 24 members", `{"exp":1800000600,` + membersOf(30, `"sub":"s"`) + `}`,
		&Claims{Expiry: at(1800000600, 0), Subject: "s"}},
	{"more than 24 members, exp again at the end", `{"exp":1800000600,` + membersOf(30, `"exp":1800000600`) + `}`, nil},
	{"more than 24 members, sub twice at the end",
		`{"exp":1800000600,` + membersOf(30, `"sub":"a","sub":"b"`) + `}`, nil},
	{"nested 32 deep", `{"exp":1800000600,"a":` + nest(31, `[`, ``, `]`) + `}`, &Claims{Expiry: at(1800000600, 0)}},
	{"nested 33 deep", `{"exp":1800000600,"a":` + nest(32, `[`, ``, `]`) + `}`, nil},
	{"events nested 33 deep", `{"exp":1800000600,"events":` + nest(32, `{"a":`, `1`, `}`) + `}`, nil},

	{"trailing data", `{"exp":1800000600}x`, nil},
	{"two claim sets", `{"exp":1800000600}{"exp":1800000600}`, nil},
	{"a byte order mark", "\uFEFF{\"exp\":1800000600}", nil},
	{"an array of claims", `[{"exp":1800000600}]`, nil},
	{"a string", `"exp"`, nil},
	{"nothing", ``, nil},
	{"a lone surrogate in a claim of its own", `{"exp":1800000600,"a":"\uDC00"}`, nil},
	{"invalid UTF-8 in a name", "{\"exp\":1800000600,\"\xc0\xaf\":1}", nil},
	{"an integer over 2^53", `{"exp":1800000600,"n":9007199254740993}`, &Claims{Expiry: at(1800000600, 0)}},
}

func TestClaimsAreReadExactlyOrRefused(t *testing.T) {
	for _, row := range claimsRows {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseClaims(row.claims)
			if row.want == nil {
				if err == nil {
					t.Fatalf("accepted as %+v", got)
				}
				if got != (Claims{}) {
					t.Errorf("refused, and yet %+v", got)
				}
				checkLeak(t, err, row.claims)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := *row.want
			want.Raw = row.claims
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestRawKeepsAnIntegerThatAFloat64WouldRound(t *testing.T) {
	c, err := ParseClaims(`{"exp":1800000600,"n":9007199254740993}`)
	if err != nil {
		t.Fatal(err)
	}
	var own struct{ N int64 }
	if err := json.Unmarshal([]byte(c.Raw), &own); err != nil || own.N != 1<<53+1 {
		t.Errorf("n = %d, %v", own.N, err)
	}
}

// RFC 7519 section 5.2 lets a JWT be the payload of another. The outer signature says nothing about the inner claims.
func TestANestedTokenIsNoClaimSet(t *testing.T) {
	key := mint.New("HS256", "")
	inner := key.Token(nil)
	for name, token := range map[string]string{
		"with cty":         key.Sign(`{"alg":"HS256","cty":"JWT"}`, inner),
		"without cty":      key.Sign(`{"alg":"HS256"}`, inner),
		"as a JSON string": key.Sign(`{"alg":"HS256","cty":"JWT"}`, strconv.Quote(inner)),
		"as JSON serialization": key.Sign(`{"alg":"HS256"}`, mint.JSON(map[string]string{
			"protected": inner[:8], "payload": inner[8:16], "signature": inner[16:]})),
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseClaims(parsed.Payload); err == nil {
				t.Error("accepted")
			} else {
				checkLeak(t, err, token)
			}
		})
	}
}

func TestAnAudienceIsOneStringOrSeveral(t *testing.T) {
	for name, row := range map[string]struct {
		aud  string
		want []string
	}{
		"none":              {``, nil},
		"a string":          {`"a"`, []string{"a"}},
		"an empty string":   {`""`, []string{""}},
		"an escaped string": {`"\u0061\n"`, []string{"a\n"}},
		"null":              {`null`, nil},
		"an empty array":    {`[]`, nil},
		"an array of one":   {`["a"]`, []string{"a"}},
		"an array of two":   {`[ "\u0061" , "b" ]`, []string{"a", "b"}},
		"an array of three": {`["d", "e", "a"]`, []string{"d", "e", "a"}},
		"an array of four":  {`["d", "e", "a" , "\u0062"]`, []string{"d", "e", "a", "b"}},
		"an array of five":  {`["a", "e", "f", "g", "h"]`, []string{"a", "e", "f", "g", "h"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := `{"exp":1800000600}`
			if row.aud != "" {
				text = `{"exp":1800000600,"aud":` + row.aud + `}`
			}
			c, err := ParseClaims(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Audience(nil); !slices.Equal(got, row.want) || c.HasAudience() != (row.want != nil) {
				t.Errorf("Audience %q, HasAudience %v", got, c.HasAudience())
			}
			for _, ours := range [][]string{nil, {"c"}, {"a"}, {"c", "b"}, {""}, {"A", "a\n"}, {"e"}, {"h"}} {
				want := slices.ContainsFunc(ours, func(s string) bool { return slices.Contains(row.want, s) })
				if c.IsFor(ours) != want {
					t.Errorf("IsFor(%q) = %v", ours, !want)
				}
			}
		})
	}
}

func TestAClientOrSessionThatIsNullIsNone(t *testing.T) {
	for name, row := range map[string]struct{ claims, client, session, party string }{
		"absent":        {`{"exp":1800000600}`, "", "", ""},
		"null":          {`{"exp":1800000600,"client_id":null,"sid":null,"azp":null}`, "", "", ""},
		"strings":       {`{"exp":1800000600,"client_id":"c","sid":"s","azp":"a"}`, "c", `"s"`, `"a"`},
		"of other type": {`{"exp":1800000600,"client_id":1,"sid":2,"azp":[null]}`, "", `2`, `[null]`},
		"empty strings": {`{"exp":1800000600,"client_id":"","sid":"","azp":""}`, "", `""`, `""`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseClaims(row.claims)
			if err != nil {
				t.Fatal(err)
			}
			if c.Client() != row.client || c.SessionID != row.session || c.AuthorizedParty != row.party {
				t.Errorf("got client %q, session %q, party %q, want %q, %q, %q",
					c.Client(), c.SessionID, c.AuthorizedParty, row.client, row.session, row.party)
			}
		})
	}
}

func FuzzParseClaims(f *testing.F) {
	for _, row := range claimsRows {
		f.Add(row.claims)
	}
	for _, row := range objectRows {
		f.Add(row.text)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		if len(claims) > DefaultMaxLength {
			return // no token is that long
		}
		got, err := ParseClaims(claims)
		if err != nil {
			if got != (Claims{}) {
				t.Fatalf("%q: refused, and yet %+v", claims, got)
			}
			return
		}
		if got.Raw != claims {
			t.Fatalf("%q: Raw is %q", claims, got.Raw)
		}
		var want struct {
			Iss, Jti string
			Sub      any
			Exp      json.Number
			Nbf, Iat *json.Number
			Cnf      any
		}
		decoder := json.NewDecoder(strings.NewReader(claims))
		decoder.UseNumber()
		if err := decoder.Decode(&want); err != nil {
			t.Fatalf("%q: accepted, but encoding/json says %v", claims, err)
		}
		subject := ""
		if want.Sub != nil {
			subject = fmt.Sprint(want.Sub) // a string, or a number as it stands
		}
		if got.Issuer != want.Iss || got.Subject != subject || got.ID != want.Jti || want.Cnf != nil {
			t.Fatalf("%q: got %+v, encoding/json has %+v", claims, got, want)
		}
		checkDate(t, claims, got.Expiry, &want.Exp)
		checkDate(t, claims, got.NotBefore, want.Nbf)
		checkDate(t, claims, got.IssuedAt, want.Iat)
		if got.Expiry.Unix() < 1 || got.Expiry.Year() > 9999 || got.IssuedAt.After(got.Expiry) {
			t.Fatalf("%q: accepted with exp %v, iat %v", claims, got.Expiry, got.IssuedAt)
		}
	})
}

// checkDate compares a date with the exact value of the number that it was read from, cut to nanoseconds.
func checkDate(t *testing.T, claims string, got time.Time, number *json.Number) {
	t.Helper()
	if number == nil {
		if !got.IsZero() {
			t.Fatalf("%q: %v from nothing", claims, got)
		}
		return
	}
	text := string(*number)
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if e, err := strconv.Atoi(text[i+1:]); err != nil || e < -2*DefaultMaxLength || e > 2*DefaultMaxLength {
			text = "0" // as small as that, or a zero; big.Rat would take long over it
		}
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q: no number: %q", claims, *number)
	}
	nanos := exact.Mul(exact, big.NewRat(1e9, 1))
	cut := new(big.Int).Quo(nanos.Num(), nanos.Denom())
	ours := new(big.Int).Add(new(big.Int).Mul(big.NewInt(got.Unix()), big.NewInt(1e9)),
		big.NewInt(int64(got.Nanosecond())))
	if cut.Cmp(ours) != 0 {
		t.Fatalf("%q: %s read as %v", claims, *number, got)
	}
}
