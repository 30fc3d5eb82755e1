package jose

import (
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// byteAt returns a byte of s, or 0 beyond the end: JSON never has a 0 between tokens.
func byteAt(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// skipSpace compares with ' ' first: most bytes are larger, and need no further comparison.
func skipSpace(s string, i int) int {
	for i < len(s) && s[i] <= ' ' && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

func scanLiteral(s string, i int, word string) (end int, err error) {
	if !strings.HasPrefix(s[i:], word) {
		return i, errSyntax
	}
	return i + len(word), nil
}

// name reads the name of a member, and returns it both decoded and in folded letter case.
func (sc *scanner) name(i int) (name, folded string, end int, err error) {
	s := sc.s
	if byteAt(s, i) != '"' {
		return "", "", i, errSyntax
	}
	end = lowerEnd(s, i+1)
	if byteAt(s, end) == '"' { // nearly always: nothing to decode or fold
		return s[i+1 : end], s[i+1 : end], end + 1, nil
	}
	end, plain, err := scanString(s, i)
	if err != nil {
		return "", "", end, err
	}
	name = decode(s[i+1:end-1], plain)
	if isASCII(name) {
		return name, strings.ToLower(name), end, nil
	}
	if sc.folded += len(name); sc.folded > maxFolded {
		return "", "", end, errNames
	}
	return name, fold(name), end, nil
}

// scanString reads a string; plain says that it has no escapes.
func scanString(s string, i int) (end int, plain bool, err error) {
	if byteAt(s, i) != '"' {
		return i, false, errSyntax
	}
	i++
	start := i
	if i = plainEnd(s, i); byteAt(s, i) == '"' { // nearly always
		return i + 1, true, nil
	}
	plain, ascii := true, true
	for {
		i = plainEnd(s, i)
		switch c := byteAt(s, i); {
		case c == '"':
			if !ascii && !utf8.ValidString(s[start:i]) {
				return i, false, errUnicode
			}
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			n, err := scanEscape(s[i:])
			if err != nil {
				return i, false, err
			}
			i += n
		case c < ' ':
			return i, false, errSyntax
		default:
			ascii = false
			for i++; i < len(s) && s[i] >= utf8.RuneSelf; i++ {
			}
		}
	}
}

// plainEnd returns the end of the bytes of s, from i on, that stand for themselves within a string: ASCII except
// quotes, backslashes and control characters. Reading JSON spends most of its time here, so plainEnd takes eight bytes
// at once.
func plainEnd(s string, i int) int {
	for ; i >= 0 && i <= len(s)-8; i += 8 {
		if special := specialBytes(word(s, i)); special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for i < len(s) && plainByte[s[i]] {
		i++
	}
	return i
}

// lowerEnd is like plainEnd, except that it also ends before a letter from A to Z, and ignores the last bytes of s that
// do not fill a group of eight.
func lowerEnd(s string, i int) int {
	for ; i >= 0 && i <= len(s)-8; i += 8 {
		w := word(s, i)
		if stop := specialBytes(w) | upperBytes(w); stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	return i
}

// word returns the eight bytes of s from i on, the first one lowest. It is a single load if the compiler knows that i
// is neither negative nor too large: hence the conditions of the loops that call it.
func word(s string, i int) uint64 {
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

// specialBytes sets the highest bit of the first byte of w that is a quote, a backslash, a control character or not
// ASCII, and no bit below that. The bits above mean nothing, since the subtractions borrow.
func specialBytes(w uint64) uint64 {
	const each = 0x0101010101010101
	quote := (w ^ '"'*each) - each
	backslash := (w ^ '\\'*each) - each
	control := w - ' '*each
	return (quote | backslash | control | w) & (0x80 * each)
}

// upperBytes is specialBytes for the letters A to Z.
func upperBytes(w uint64) uint64 {
	const each = 0x0101010101010101
	return (w + (0x80-'A')*each) &^ (w + (0x7f-'Z')*each) & (0x80 * each)
}

var plainByte = func() (plain [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// scanEscape returns the length of the escape at the beginning of s.
func scanEscape(s string) (int, error) {
	if len(s) < 2 {
		return 0, errSyntax
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	}
	r, ok := codeUnit(s)
	if !ok {
		return 0, errSyntax
	}
	if !utf16.IsSurrogate(r) {
		return 6, nil
	}
	low, ok := codeUnit(s[6:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 0, errUnicode
	}
	return 12, nil
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

// decode decodes the text between the quotes, which scanString has scanned.
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

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// fold maps all names that encoding/json takes for the same struct field to one string. It uses Unicode's simple
// folding: the long s (U+017F) is an s, and the Kelvin sign (U+212A) is a k.
func fold(name string) string { return strings.Map(foldRune, name) }

// foldRune returns the lower case of the least of all runes that differ only in case. So the capital I with a dot
// (U+0130) is an i, as other languages read it, though encoding/json does not.
func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return unicode.ToLower(least)
}
