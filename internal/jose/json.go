package jose

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may nest; the outermost object is 1.
const maxDepth = 32

var (
	errSyntax    = errors.New("not a JSON object, or malformed JSON")
	errUnicode   = errors.New("invalid UTF-8 or a lone surrogate in a JSON string")
	errNumber    = errors.New("a number beyond what a float64 holds")
	errDepth     = errors.New("nested deeper than 32")
	errDuplicate = errors.New("two members of one object have the same name, letter case aside")
)

// walkObject reads s as exactly one JSON object and calls visit for each of its members, with the decoded
// name, the name in folded letter case, and the value's own text, which is valid JSON. visit may be nil.
//
// It is stricter than encoding/json, because what two parsers read differently is an attack on one of them:
// duplicate members are refused at any depth (RFC 8259 section 4 leaves open which one wins), and so are two
// names that differ in letter case only, since encoding/json takes either for the same field; invalid UTF-8
// and lone surrogates are refused, since encoding/json turns them all into U+FFFD and so makes two subjects one.
func walkObject(s string, visit func(name, folded, value string) error) error {
	sc := scanner{s: s}
	o := sc.open()
	for sc.member(&o) {
		if visit == nil {
			continue
		}
		if err := visit(o.name, o.folded, o.value); err != nil {
			return err
		}
	}
	return sc.end(&o)
}

// CheckObject refuses what is not strictly one JSON object, as walkObject does.
func CheckObject(data []byte) error { return walkObject(string(data), nil) }

// StringMember returns a member of data, which must be strictly one JSON object that has it, as a string.
func StringMember(data []byte, member string) (string, error) {
	found, s := false, ""
	err := walkObject(string(data), func(name, _, value string) error {
		if name == member {
			s, found = stringValue(value)
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New(member + ": missing, or not a string")
	}
	return s, err
}

// walkArray calls visit with the text of each element of s, which must be a JSON array that a scanner has read
// before, as part of an object.
func walkArray(s string, visit func(value string) error) error {
	sc := scanner{s: s}
	return sc.array(visit)
}

// A scanner reads one JSON text from left to right.
type scanner struct {
	s     string
	i     int
	depth int
	// The n folded names seen so far in each object being read, the innermost object's last. The first of them are in
	// an array, and not in a slice, so that they stay on the stack.
	names [fewNames]string
	more  []string
	n     int
}

// fewNames are as many as are compared each with each.
const fewNames = 24

// An object is one that a scanner is reading, at one of its members.
type object struct {
	name, folded, value string // of the member: its name decoded, the same in folded letter case, the value's own text
	plain               bool   // the value is a string without escapes

	first int             // of the scanner's names
	seen  uint64          // a bit for each of them: where a name's is not set, it was not there before
	many  map[string]bool // the names, once there are too many to compare each with each
	begun bool
	err   error
}

func (sc *scanner) space() {
	for sc.i < len(sc.s) && sc.s[sc.i] <= ' ' {
		switch sc.s[sc.i] {
		case ' ', '\t', '\n', '\r':
			sc.i++
		default:
			return
		}
	}
}

// next skips white space and takes c, if that is what comes.
func (sc *scanner) next(c byte) bool {
	sc.space()
	if sc.i < len(sc.s) && sc.s[sc.i] == c {
		sc.i++
		return true
	}
	return false
}

func (sc *scanner) value() error {
	sc.space()
	if sc.i == len(sc.s) {
		return errSyntax
	}
	switch sc.s[sc.i] {
	case '{':
		return sc.object()
	case '[':
		return sc.array(nil)
	case '"':
		_, _, err := sc.str()
		return err
	case 't':
		return sc.literal("true")
	case 'f':
		return sc.literal("false")
	case 'n':
		return sc.literal("null")
	default:
		return sc.number()
	}
}

func (sc *scanner) literal(word string) error {
	if !strings.HasPrefix(sc.s[sc.i:], word) {
		return errSyntax
	}
	sc.i += len(word)
	return nil
}

func (sc *scanner) object() error {
	o := sc.open()
	for sc.member(&o) {
	}
	return o.err
}

// open begins to read an object, whose members [scanner.member] then reads.
func (sc *scanner) open() object {
	o := object{first: sc.n}
	if !sc.next('{') {
		o.err = errSyntax
	} else if sc.depth++; sc.depth > maxDepth {
		o.err = errDepth
	}
	return o
}

// member reads the next member of o; false: there is none, or o.err says what is wrong.
func (sc *scanner) member(o *object) bool {
	if o.err != nil {
		return false
	}
	if sc.next('}') {
		sc.n = o.first
		sc.depth--
		return false
	}
	if o.begun && !sc.next(',') {
		o.err = errSyntax
		return false
	}
	o.begun = true
	o.err = sc.readMember(o)
	return o.err == nil
}

func (sc *scanner) readMember(o *object) error {
	sc.space()
	raw, plain, err := sc.str()
	if err != nil {
		return err
	}
	o.name = decode(raw, plain)
	o.folded = fold(o.name)
	if err := sc.addName(o); err != nil {
		return err
	}
	if !sc.next(':') {
		return errSyntax
	}
	sc.space()
	start := sc.i
	if o.plain = false; sc.peek() == '"' {
		_, o.plain, err = sc.str()
	} else {
		err = sc.value()
	}
	o.value = sc.s[start:sc.i]
	return err
}

// str decodes the member's value; ok says that it is a string.
func (o *object) str() (s string, ok bool) {
	if o.plain {
		return o.value[1 : len(o.value)-1], true
	}
	return stringValue(o.value)
}

// end finds what is wrong with o, or behind it.
func (sc *scanner) end(o *object) error {
	if o.err != nil {
		return o.err
	}
	if sc.space(); sc.i != len(sc.s) {
		return errSyntax
	}
	return nil
}

// addName remembers the name of a member, or refuses one that is there already.
func (sc *scanner) addName(o *object) error {
	if o.many == nil && sc.n-o.first < fewNames {
		bit := uint64(1) << (bitOf(o.folded) % 64)
		if o.seen&bit != 0 && sc.hasName(o) {
			return errDuplicate
		}
		o.seen |= bit
		if beyond := sc.n - fewNames; beyond < 0 {
			sc.names[sc.n] = o.folded
		} else {
			sc.more = append(sc.more[:beyond], o.folded)
		}
		sc.n++
		return nil
	}
	if o.many == nil {
		o.many = make(map[string]bool, 2*fewNames)
		for i := o.first; i < sc.n; i++ {
			o.many[sc.name(i)] = true
		}
	}
	if o.many[o.folded] {
		return errDuplicate
	}
	o.many[o.folded] = true
	return nil
}

func (sc *scanner) hasName(o *object) bool {
	for i := o.first; i < sc.n; i++ {
		if sc.name(i) == o.folded {
			return true
		}
	}
	return false
}

func (sc *scanner) name(i int) string {
	if i < fewNames {
		return sc.names[i]
	}
	return sc.more[i-fewNames]
}

// bitOf is a cheap hash: it tells the names of claims apart, which differ in length or at an end.
func bitOf(name string) int {
	if name == "" {
		return 0
	}
	return len(name) + 3*int(name[0]) + 7*int(name[len(name)-1])
}

func (sc *scanner) array(visit func(value string) error) error {
	if !sc.next('[') {
		return errSyntax
	}
	if sc.depth++; sc.depth > maxDepth {
		return errDepth
	}
	defer func() { sc.depth-- }()
	if sc.next(']') {
		return nil
	}
	for {
		sc.space()
		start := sc.i
		if err := sc.value(); err != nil {
			return err
		}
		if visit != nil {
			if err := visit(sc.s[start:sc.i]); err != nil {
				return err
			}
		}
		if sc.next(']') {
			return nil
		}
		if !sc.next(',') {
			return errSyntax
		}
	}
}

// plainByte has what stands for itself within a string: ASCII but for quotes, backslashes and control characters.
var plainByte = func() (plain [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// str reads a string and returns what is between the quotes; plain says that it has no escapes.
func (sc *scanner) str() (raw string, plain bool, err error) {
	if sc.i == len(sc.s) || sc.s[sc.i] != '"' {
		return "", false, errSyntax
	}
	sc.i++
	start := sc.i
	plain, ascii := true, true
	for {
		sc.i += plainPrefix(sc.s[sc.i:])
		if sc.i == len(sc.s) {
			return "", false, errSyntax
		}
		switch c := sc.s[sc.i]; {
		case c == '"':
			raw = sc.s[start:sc.i]
			sc.i++
			if !ascii && !utf8.ValidString(raw) {
				return "", false, errUnicode
			}
			return raw, plain, nil
		case c == '\\':
			plain = false
			if err := sc.escape(); err != nil {
				return "", false, err
			}
		case c < 0x20:
			return "", false, errSyntax
		default:
			ascii = false
			sc.i++
		}
	}
}

// plainPrefix is a loop of its own because most of the time goes into it.
func plainPrefix(s string) int {
	for i := range len(s) {
		if !plainByte[s[i]] {
			return i
		}
	}
	return len(s)
}

func (sc *scanner) escape() error {
	rest := sc.s[sc.i:]
	if len(rest) < 2 {
		return errSyntax
	}
	if rest[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, rest[1]) < 0 {
			return errSyntax
		}
		sc.i += 2
		return nil
	}
	r, ok := codeUnit(rest)
	if !ok {
		return errSyntax
	}
	sc.i += 6
	if !utf16.IsSurrogate(r) {
		return nil
	}
	low, ok := codeUnit(rest[6:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return errUnicode
	}
	sc.i += 6
	return nil
}

// codeUnit reads the \uXXXX at the beginning of s.
func codeUnit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[2:6]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// decode turns what str returned into the string it stands for.
func decode(raw string, plain bool) string {
	if plain {
		return raw
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'u':
			r, _ := codeUnit(raw[i-1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := codeUnit(raw[i+1:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			b.WriteRune(r)
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		default:
			b.WriteByte(raw[i])
		}
	}
	return b.String()
}

// stringValue decodes the text of a value that a scanner has read; ok says that it is a string.
func stringValue(value string) (s string, ok bool) {
	if value == "" || value[0] != '"' {
		return "", false
	}
	raw := value[1 : len(value)-1]
	return decode(raw, strings.IndexByte(raw, '\\') < 0), true
}

// fold maps all names that encoding/json takes for the same struct field to one string. That is Unicode's
// simple folding: the long s (U+017F) is an s, the Kelvin sign (U+212A) a k.
func fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, name)
		}
	}
	return name
}

func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return unicode.ToLower(least)
}

// number reads a number of RFC 8259 section 6 that a float64 can hold.
func (sc *scanner) number() error {
	start := sc.i
	if sc.peek() == '-' {
		sc.i++
	}
	if sc.peek() == '0' {
		sc.i++
	} else if !sc.digits() {
		return errSyntax
	}
	if sc.peek() == '.' {
		sc.i++
		if !sc.digits() {
			return errSyntax
		}
	}
	exponent := sc.peek() == 'e' || sc.peek() == 'E'
	if exponent {
		sc.i++
		if c := sc.peek(); c == '+' || c == '-' {
			sc.i++
		}
		if !sc.digits() {
			return errSyntax
		}
	}
	// Below 10^308 there is nothing to check: the largest float64 is about 1.8e308.
	if text := sc.s[start:sc.i]; exponent || len(text) > 300 {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return errNumber
		}
	}
	return nil
}

func (sc *scanner) peek() byte {
	if sc.i < len(sc.s) {
		return sc.s[sc.i]
	}
	return 0
}

func (sc *scanner) digits() bool {
	start := sc.i
	for c := sc.peek(); '0' <= c && c <= '9'; c = sc.peek() {
		sc.i++
	}
	return sc.i > start
}
