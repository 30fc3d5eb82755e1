package jose

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// nest wraps inner in n arrays or objects.
func nest(n int, open, inner, shut string) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
}

// membersOf writes n members a0, a1, … and then the last.
func membersOf(n int, last string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"a%d":%d,`, i, i)
	}
	return b.String() + last
}

// objectRows are texts with the error of walkObject, or nil if it accepts them.
var objectRows = []struct {
	name, text string
	err        error
}{
	{"an object without members", `{}`, nil},
	{"white space wherever RFC 8259 allows it", " \t\r\n{ \t\r\n\"a\" : [ 1 , { } , [ ] ] , \"b\"\n:\ttrue } \r\n", nil},
	{"a value of each type", `{"a":null,"b":true,"c":false,"d":1,"e":"s","f":[],"g":{}}`, nil},
	{"each escape", `{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC"}`, nil},
	{"a surrogate pair", `{"a":"\uD83D\uDE00","\ud83d\ude00":1}`, nil},
	{"U+FFFD itself, escaped and literal", "{\"a\":\"\\ufffd\",\"b\":\"\uFFFD\"}", nil},
	{"a noncharacter", `{"a":"\uFFFF"}`, nil},
	{"NUL by escape", `{"a\u0000b":"\u0000"}`, nil},
	{"DEL and U+2028, which need no escape", "{\"a\":\"\x7f\u2028\"}", nil},
	{"UTF-8 of each length", `{"é":"é","€":"€","😀":"😀"}`, nil},
	{"UTF-8 beside an escape", `{"a":"é\n€"}`, nil},
	{"an empty name", `{"":""}`, nil},
	{"an escaped name", `{"\u0061b\u0063":1}`, nil},
	{"a name that ends in a backslash", `{"a\\":"\\"}`, nil},
	{"numbers of each form", `{"a":0,"b":-0,"c":0.0,"d":10,"e":1e5,"f":1E+5,"g":-1.5e-3,"h":0e0,"i":1e007}`, nil},
	{"the largest float64", `{"a":1.7976931348623157e308}`, nil},
	{"a number that rounds to zero", `{"a":1e-400,"b":0e400}`, nil},
	{"an integer over 2^53", `{"a":9007199254740993}`, nil},
	{"an integer of 308 digits", `{"a":` + strings.Repeat("1", 308) + `}`, nil},
	{"objects nested 32 deep", nest(31, `{"a":`, `{}`, `}`), nil},
	{"arrays nested 32 deep", `{"a":` + nest(31, `[`, ``, `]`) + `}`, nil},
	{"objects and arrays nested 32 deep", nest(15, `{"a":[`, `{"a":[]}`, `]}`), nil},
	{"depth used again and again", `{"a":` + nest(31, `[`, ``, `]`) + `,"b":` + nest(31, `[`, ``, `]`) + `}`, nil},
	{"one name in objects side by side", `{"a":{"x":1},"b":{"x":2},"x":[{"x":3},{"x":4}]}`, nil},
	{"one name in an object and its member", `{"a":{"a":{"a":1}}}`, nil},
	{"24 members", `{` + membersOf(23, `"z":1`) + `}`, nil},
	{"25 members", `{` + membersOf(24, `"z":1`) + `}`, nil},
	{"200 members, with as many inside", `{` + membersOf(199, `"z":{`+membersOf(199, `"z":1`)+`}`) + `}`, nil},
	{"names that no simple folding makes one", `{"ss":1,"ß":2,"i":3,"ı":4}`, nil},

	{"nothing", ``, errSyntax},
	{"white space alone", ` `, errSyntax},
	{"null", `null`, errSyntax},
	{"an array", `[{"a":1}]`, errSyntax},
	{"a string", `"a"`, errSyntax},
	{"a number", `1`, errSyntax},
	{"an object that does not end", `{`, errSyntax},
	{"an object that does not end after a member", `{"a":1`, errSyntax},
	{"an object that does not end after a comma", `{"a":1,`, errSyntax},
	{"an object that does not begin", `}`, errSyntax},
	{"a member without a value", `{"a"}`, errSyntax},
	{"a member with nothing for a value", `{"a":}`, errSyntax},
	{"a value that does not come", `{"a":`, errSyntax},
	{"a comma behind the last member", `{"a":1,}`, errSyntax},
	{"a comma alone", `{,}`, errSyntax},
	{"two commas", `{"a":1,,"b":2}`, errSyntax},
	{"no comma", `{"a":1 "b":2}`, errSyntax},
	{"two colons", `{"a"::1}`, errSyntax},
	{"a name without quotes", `{a:1}`, errSyntax},
	{"a name in single quotes", `{'a':1}`, errSyntax},
	{"a number for a name", `{1:1}`, errSyntax},
	{"trailing text", `{"a":1}x`, errSyntax},
	{"a trailing NUL", "{\"a\":1}\x00", errSyntax},
	{"two objects", `{"a":1}{"a":2}`, errSyntax},
	{"two objects on two lines", "{\"a\":1}\n{\"a\":2}", errSyntax},
	{"a byte order mark", "\uFEFF{}", errSyntax},
	{"a byte order mark of UTF-16", "\xff\xfe{\x00}\x00", errSyntax},
	{"a comment", `{/**/}`, errSyntax},
	{"a comment at the end", `{}//`, errSyntax},
	{"white space that JSON does not know: NBSP", "{\u00a0}", errSyntax},
	{"white space that JSON does not know: form feed", "{\f}", errSyntax},
	{"white space that JSON does not know: vertical tab", "{\"a\":\v1}", errSyntax},
	{"a comma behind the last element", `{"a":[1,]}`, errSyntax},
	{"a comma before the first element", `{"a":[,1]}`, errSyntax},
	{"no comma between elements", `{"a":[1 2]}`, errSyntax},
	{"an array that does not end", `{"a":[1}`, errSyntax},
	{"an array that ends like an object", `{"a":[}]`, errSyntax},
	{"an object that ends like an array", `{"a":{]}`, errSyntax},
	{"half a literal", `{"a":tru}`, errSyntax},
	{"a literal in another case", `{"a":True}`, errSyntax},
	{"a literal with more behind it", `{"a":truex}`, errSyntax},
	{"half of null", `{"a":nul`, errSyntax},
	{"false that is not", `{"a":falsy}`, errSyntax},
	{"NaN", `{"a":NaN}`, errSyntax},
	{"Infinity", `{"a":-Infinity}`, errSyntax},
	{"a leading zero", `{"a":01}`, errSyntax},
	{"a leading zero behind a minus", `{"a":-01}`, errSyntax},
	{"a leading plus", `{"a":+1}`, errSyntax},
	{"a leading point", `{"a":.5}`, errSyntax},
	{"a trailing point", `{"a":1.}`, errSyntax},
	{"a point before the exponent", `{"a":1.e5}`, errSyntax},
	{"a minus alone", `{"a":-}`, errSyntax},
	{"two minus", `{"a":--1}`, errSyntax},
	{"an exponent without digits", `{"a":1e}`, errSyntax},
	{"an exponent with a sign alone", `{"a":1e+}`, errSyntax},
	{"an exponent with a fraction", `{"a":1e5.5}`, errSyntax},
	{"a number in hexadecimal", `{"a":0x10}`, errSyntax},
	{"a number with underscores", `{"a":1_000}`, errSyntax},
	{"a number that does not end the object", `{"a":1`, errSyntax},
	{"a string that does not end", `{"a":"b}`, errSyntax},
	{"a name that does not end", `{"a`, errSyntax},
	{"a string that ends in its escape", `{"a":"\`, errSyntax},
	{"a line break in a string", "{\"a\":\"\n\"}", errSyntax},
	{"a tab in a string", "{\"a\":\"\t\"}", errSyntax},
	{"a NUL in a string", "{\"a\":\"\x00\"}", errSyntax},
	{"U+001F in a name", "{\"\x1f\":1}", errSyntax},
	{"an escape that JSON does not know", `{"a":"\x41"}`, errSyntax},
	{"an escaped single quote", `{"a":"\'"}`, errSyntax},
	{"a capital U", `{"a":"\U0041"}`, errSyntax},
	{"an escape with two digits", `{"a":"\u12"}`, errSyntax},
	{"an escape with a letter beyond f", `{"a":"\u12g4"}`, errSyntax},
	{"an escape that the text cuts off", `{"a":"\u00`, errSyntax},

	{"a lone high surrogate", `{"a":"\uD800"}`, errUnicode},
	{"a lone low surrogate", `{"a":"\uDC00"}`, errUnicode},
	{"a lone surrogate in a name", `{"\uD800":1}`, errUnicode},
	{"a lone surrogate deep inside", `{"a":[{"b":["\uDfFf"]}]}`, errUnicode},
	{"two high surrogates", `{"a":"\uD800\uD800"}`, errUnicode},
	{"a low surrogate before a high one", `{"a":"\uDC00\uD800"}`, errUnicode},
	{"a high surrogate and a letter", `{"a":"\uD800a"}`, errUnicode},
	{"a high surrogate and another escape", `{"a":"\uD800\n"}`, errUnicode},
	{"a high surrogate and an escaped letter", `{"a":"\uD800\u0041"}`, errUnicode},
	{"a byte that UTF-8 never has", "{\"a\":\"\xff\"}", errUnicode},
	{"the same in a name", "{\"\xff\":1}", errUnicode},
	{"the same beside an escape", "{\"a\":\"\\n\xff\"}", errUnicode},
	{"a continuation byte alone", "{\"a\":\"\x80\"}", errUnicode},
	{"a character cut off", "{\"a\":\"\xe2\x82\"}", errUnicode},
	{"an overlong form", "{\"a\":\"\xc0\xaf\"}", errUnicode},
	{"a surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", errUnicode},
	{"a surrogate pair in UTF-8", "{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}", errUnicode},
	{"beyond U+10FFFF", "{\"a\":\"\xf4\x90\x80\x80\"}", errUnicode},

	{"the largest that rounds to it", `{"a":1.797693134862315807e308}`, nil},
	{"the same with its exponent elsewhere", `{"a":0.0001797693134862315807e+312}`, nil},
	{"one less than what rounds to infinity", `{"a":` + lessThanTooLarge + `}`, nil},
	{"the same and a fraction", `{"a":` + lessThanTooLarge + `.99e0}`, nil},
	{"a subnormal number", `{"a":4.9e-324}`, nil},
	{"what rounds to zero", `{"a":-1e-99999999999999999999}`, nil},
	{"zero with an exponent that no int holds", `{"a":0.00e99999999999999999999}`, nil},
	{"many zeros before the point", `{"a":1` + strings.Repeat("0", 308) + `}`, nil},
	{"many zeros behind the point", `{"a":0.` + strings.Repeat("0", 400) + `1e708}`, nil},

	{"what rounds to infinity", `{"a":` + tooLarge + `}`, errNumber},
	{"the same with an exponent", `{"a":0.` + tooLarge + `e309}`, errNumber},
	{"the same, negative, in two parts", `{"a":-` + tooLarge[:200] + `.` + tooLarge[200:] + `0e109}`, errNumber},
	{"many digits and an exponent of two", `{"a":` + strings.Repeat("1", 250) + `e99}`, errNumber},
	{"one more digit", `{"a":1` + strings.Repeat("0", 309) + `}`, errNumber},
	{"many zeros behind the point and a large exponent", `{"a":0.` + strings.Repeat("0", 400) + `1e710}`, errNumber},
	{"1e400", `{"a":1e400}`, errNumber},
	{"-1e400", `{"a":-1e400}`, errNumber},
	{"1.8e308", `{"a":1.8e308}`, errNumber},
	{"1e400 deep inside", `{"a":[{"b":1e400}]}`, errNumber},
	{"an exponent that no int holds", `{"a":1e99999999999999999999}`, errNumber},
	{"an integer of 400 digits", `{"a":` + strings.Repeat("1", 400) + `}`, errNumber},

	{"objects nested 33 deep", nest(32, `{"a":`, `{}`, `}`), errDepth},
	{"arrays nested 33 deep", `{"a":` + nest(32, `[`, ``, `]`) + `}`, errDepth},
	{"objects and arrays nested 33 deep", nest(16, `{"a":[`, `{}`, `]}`), errDepth},
	{"arrays that never end", `{"a":` + strings.Repeat(`[`, 10_000), errDepth},

	{"2048 bytes of names beyond ASCII", `{"` + strings.Repeat("é", 512) + `":{"` + strings.Repeat("É", 512) + `":1}}`, nil},
	{"and one more", `{"` + strings.Repeat("é", 512) + `":{"` + strings.Repeat("É", 512) + `":1},"ç":1}`, errNames},
	{"long names of ASCII and long values", `{"` + strings.Repeat("A", 4096) + `":"` + strings.Repeat("é", 4096) + `"}`, nil},

	{"a name twice", `{"a":1,"a":2}`, errDuplicate},
	{"a name twice with the same value", `{"a":1,"a":1}`, errDuplicate},
	{"an empty name twice", `{"":1,"":1}`, errDuplicate},
	{"a name twice, once escaped", `{"a":1,"\u0061":2}`, errDuplicate},
	{"a name twice, escaped in two ways", `{"\/":1,"\u002F":2}`, errDuplicate},
	{"a name twice, once as a surrogate pair", `{"😀":1,"\ud83d\ude00":2}`, errDuplicate},
	{"a name twice, not side by side", `{"a":1,"b":2,"c":3,"a":4}`, errDuplicate},
	{"a name twice deep inside", `{"a":[1,{"b":{"c":1,"d":2,"c":3}}]}`, errDuplicate},
	{"a name twice around an object that has it too", `{"a":1,"b":{"a":1},"a":2}`, errDuplicate},
	{"a name in two cases", `{"sub":1,"SUB":2}`, errDuplicate},
	{"a name in two cases, escaped", `{"sub":1,"\u0053ub":2}`, errDuplicate},
	{"a name in two cases, neither lower", `{"Sub":1,"SUB":2}`, errDuplicate},
	{"an s and a long s", `{"sub":1,"ſub":2}`, errDuplicate},
	{"a k and a Kelvin sign", "{\"kid\":1,\"\u212Aid\":2}", errDuplicate},
	{"a sigma of each kind", `{"σ":1,"ς":2}`, errDuplicate},
	{"an i and a capital I with a dot", `{"iss":1,"İss":2}`, errDuplicate},
	{"a name in two cases beyond ASCII", `{"é":1,"É":2}`, errDuplicate},
	{"the 24th name again", `{` + membersOf(23, `"a22":1`) + `}`, errDuplicate},
	{"the first name again as the 25th", `{` + membersOf(24, `"a0":1`) + `}`, errDuplicate},
	{"the first name again as the 26th", `{` + membersOf(25, `"a0":1`) + `}`, errDuplicate},
	{"the 25th name again as the 26th", `{` + membersOf(25, `"a24":1`) + `}`, errDuplicate},
	{"the 101st name is the 100th in another case", `{` + membersOf(100, `"A99":1`) + `}`, errDuplicate},
	{"a name twice inside the last of 30 members", `{` + membersOf(29, `"z":{"b":1,"b":2}`) + `}`, errDuplicate},
	{"a name twice around 30 members inside", `{"b":{` + membersOf(29, `"z":1`) + `},"b":1}`, errDuplicate},
}

var lessThanTooLarge = tooLarge[:len(tooLarge)-1] + string(tooLarge[len(tooLarge)-1]-1)

func TestTheScannerAcceptsOnlyWhatEveryParserReadsTheSameWay(t *testing.T) {
	for _, row := range objectRows {
		t.Run(row.name, func(t *testing.T) {
			if err := walkObject(row.text, nil); !errors.Is(err, row.err) {
				t.Errorf("walkObject = %v, want %v", err, row.err)
			}
			if err := CheckObject([]byte(row.text)); !errors.Is(err, row.err) {
				t.Errorf("CheckObject = %v, want %v", err, row.err)
			}
		})
	}
}

func TestTheScannerStopsAtTheErrorOfItsVisitor(t *testing.T) {
	want := errors.New("enough")
	visited := 0
	err := walkObject(`{"a":1,"b":2,"c":3}`, func(m member) error {
		visited++
		if m.name == "b" {
			return want
		}
		return nil
	})
	if err != want || visited != 2 {
		t.Errorf("walkObject = %v after %d members", err, visited)
	}
}

func TestTheVisitorSeesTheNameDecodedAndTheValueAsItCame(t *testing.T) {
	var got []string
	text := `{"A\u0042" : [1, 2 ] ,"c":"\u0064", "\uD83D\uDE00":{ } }`
	err := walkObject(text, func(m member) error {
		got = append(got, m.name, m.folded, m.value)
		return nil
	})
	want := []string{"AB", "ab", "[1, 2 ]", "c", "c", `"\u0064"`, "😀", "😀", "{ }"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("visited %q, %v; want %q", got, err, want)
	}
}

func TestStringMemberReadsOneStringOfAnObject(t *testing.T) {
	for _, row := range []struct {
		name, text, want string // want "": refused
	}{
		{"the member alone", `{"token":"a.b.c"}`, "a.b.c"},
		{"the member among others", `{"type":"auth","token":"a","x":{"token":"b"}}`, "a"},
		{"escaped", `{"\u0074oken":"\u0061"}`, "a"},
		{"missing", `{"type":"auth"}`, ""},
		{"of another object", `{"x":{"token":"a"}}`, ""},
		{"in another case", `{"Token":"a"}`, ""},
		{"in two cases", `{"token":"a","TOKEN":"b"}`, ""},
		{"twice", `{"token":"a","token":"b"}`, ""},
		{"null", `{"token":null}`, ""},
		{"a number", `{"token":1}`, ""},
		{"an array", `{"token":["a"]}`, ""},
		{"an array of objects", `[{"token":"a"}]`, ""},
		{"with a lone surrogate", `{"token":"\uD800"}`, ""},
		{"with trailing data", `{"token":"a"}x`, ""},
		{"cut off", `{"token":"a"`, ""},
		{"nothing", ``, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := StringMember([]byte(row.text), "token")
			if (err == nil) != (row.want != "") || err == nil && got != row.want {
				t.Errorf("got %q, %v; want %q", got, err, row.want)
			}
		})
	}
}

// encoding/json takes two names for the same field if unicode.SimpleFold leads from one to the other.
func TestFoldMapsEachRuneAndItsOtherCasesToOneName(t *testing.T) {
	for r := range rune(0x20000) { // no letter beyond has another case
		if !utf8.ValidRune(r) {
			continue
		}
		a, b := fold(string(r)), fold(string(unicode.SimpleFold(r)))
		if a != b {
			t.Errorf("fold(%U) = %q, and in its other case %q", r, a, b)
		}
		if a != fold(a) {
			t.Errorf("fold(%U) = %q, folded again %q", r, a, fold(a))
		}
	}
}

func TestFitsFloat64AgreesWithParseFloat(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		digits := []byte(tooLarge[:r.IntN(len(tooLarge)+1)]) // often the beginning of what is just too large
		for range r.IntN(4) {
			digits = append(digits, byte('0'+r.IntN(10)))
		}
		digits = append(digits, strings.Repeat("0", r.IntN(3)*r.IntN(200))...)
		point := r.IntN(len(digits) + 1)
		number := fmt.Sprintf("0%s.%s0e%+d", digits[:point], digits[point:], 309-point+r.IntN(3)-1)
		if _, err := strconv.ParseFloat(number, 64); (err == nil) != parseDecimal(number).fitsFloat64() {
			t.Errorf("%s: %v", number, err)
		}
	}
}

// securityFields are what an application might decode by encoding/json, which folds letter case.
type securityFields struct {
	Sub any `json:"sub"`
	Exp any `json:"exp"`
	Iss any `json:"iss"`
}

func (f securityFields) byName() map[string]any {
	return map[string]any{"sub": f.Sub, "exp": f.Exp, "iss": f.Iss}
}

func FuzzObjectAgainstEncodingJSON(f *testing.F) {
	for _, row := range objectRows {
		f.Add(row.text)
	}
	for _, row := range claimsRows {
		f.Add(row.claims)
	}
	f.Add(`{"SUB":"a","ExP":1,"iſs":"b"}`)
	f.Add(`{"İss":0}`)
	f.Fuzz(func(t *testing.T, text string) {
		var members []member
		err := walkObject(text, func(m member) error {
			members = append(members, m)
			return nil
		})
		var theirs map[string]any
		theirErr := json.Unmarshal([]byte(text), &theirs)
		if err != nil {
			// Stricter for the reasons that have a name, and for no other.
			named := err == errUnicode || err == errDepth || err == errDuplicate || err == errNames
			if !named && theirErr == nil && theirs != nil {
				t.Fatalf("%q: refused with %v, but encoding/json accepts it", text, err)
			}
			return
		}
		if !json.Valid([]byte(text)) || theirErr != nil {
			t.Fatalf("%q: accepted, but encoding/json says %v", text, theirErr)
		}
		if len(members) != len(theirs) {
			t.Fatalf("%q: %d members, encoding/json has %d", text, len(members), len(theirs))
		}
		folded := map[string]string{} // to the exact name
		for _, m := range members {
			want, ok := theirs[m.name]
			if !ok {
				t.Fatalf("%q: member %q, which encoding/json does not have", text, m.name)
			}
			got, isString := stringValue(m.value)
			wantString, wantIsString := want.(string)
			if isString != wantIsString || got != wantString {
				t.Fatalf("%q: %q is %q, encoding/json has %q", text, m.name, got, want)
			}
			var value any
			if err := json.Unmarshal([]byte(m.value), &value); err != nil || !reflect.DeepEqual(value, want) {
				t.Fatalf("%q: the text of %q is %q, which is %v, %v; encoding/json has %v",
					text, m.name, m.value, value, err, want)
			}
			folded[m.folded] = m.name
		}
		var fields securityFields
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatal(err)
		}
		for name, got := range fields.byName() {
			// The value of the exact name; or of a name in another case, which ParseClaims refuses and encoding/json may
			// not take for it (U+0130); or none.
			exact, ok := folded[name]
			if want := theirs[exact]; ok && !reflect.DeepEqual(got, want) && (exact == name || got != nil) || !ok && got != nil {
				t.Fatalf("%q: encoding/json fills %s with %v, ours with %v", text, name, got, want)
			}
			if _, err := ParseClaims(text); ok && exact != name && err == nil {
				t.Fatalf("%q: ParseClaims accepts %q, which encoding/json takes for %s", text, exact, name)
			}
		}
	})
}

// Names that only look alike to a hash, and names of an object that has ended, are no duplicates.
func TestNamesOfOtherObjectsAndHashesAreNoDuplicates(t *testing.T) {
	many := ""
	for i := range fewNames {
		many += fmt.Sprintf(`"name-%d":0,`, i)
	}
	for text, accepted := range map[string]bool{
		`{"x1y":{"x2y":0},"x2y":0}`:                       true,
		`{"x1y":{"x2y":0,"x1y":0}}`:                       true,
		`{"x1y":0,"x2y":0,"x3y":0}`:                       true,
		`{"x1y":0,"x2y":0,"x1y":0}`:                       false,
		`{` + many + `"a":{"a":0},"b":[{"a":0},{"a":0}]}`: true,
		`{` + many + `"a":{"b":{"c":0,"b":0}},"d":0}`:     true,
		`{` + many + `"a":{"b":0,"b":0}}`:                 false,
		`{` + many + `"a":{"b":{"c":0,"c":0}}}`:           false,
		`{` + many + `"a":{` + many + `"a":{"a":0}}}`:     true,
		`{` + many + `"a":{` + many + `"name-0":0}}`:      false,
		`{` + many + `"a":{},"name-23":0}`:                false,
		`{"o":{` + many + `"a":0},"a":0,"b":{"a":0}}`:     true,
	} {
		if err := CheckObject([]byte(text)); (err == nil) != accepted {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Claims are read before their signature is checked: what anybody can send must cost little.
func TestManyNamesCostLittle(t *testing.T) {
	names := func(n int) string {
		text := ""
		for i := range n {
			text += fmt.Sprintf(`"%d":0,`, i)
		}
		return text
	}
	for name, text := range map[string]string{
		"small objects in a large one":  `{` + names(2*fewNames) + `"z":[` + strings.Repeat(`{"":0},`, 700) + `0]}`,
		"one object":                    `{` + names(700) + `"z":0}`,
		"one object, its last twice":    `{` + names(700) + `"699":0}`,
		"large objects in a large one":  `{` + names(2*fewNames) + `"z":[` + strings.Repeat(`{`+names(2*fewNames)+`"z":0},`, 10) + `0]}`,
		"large objects, the last ill":   `{` + names(2*fewNames) + `"z":[` + strings.Repeat(`{`+names(2*fewNames)+`"z":0},`, 10) + `{` + names(100),
		"large objects, one in another": strings.Repeat(`{`+names(2*fewNames)+`"z":`, 16) + `0` + strings.Repeat(`}`, 16),
	} {
		if got := testing.AllocsPerRun(100, func() { _ = CheckObject([]byte(text)) }); got > 40 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
