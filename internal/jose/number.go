package jose

import (
	"math/big"
	"strconv"
	"strings"
)

// scanNumber reads a number of RFC 8259 section 6 that a float64 can hold.
func scanNumber(s string, i int) (end int, err error) {
	if byteAt(s, i) == '-' {
		i++
	}
	start := i
	if i = skipDigits(s, i); i == start || s[start] == '0' && i > start+1 {
		return i, errSyntax
	}
	if byteAt(s, i) == '.' {
		digits := i + 1
		if i = skipDigits(s, digits); i == digits {
			return i, errSyntax
		}
	}
	long := i-start >= len(tooLarge)
	if byteAt(s, i) == 'e' || byteAt(s, i) == 'E' {
		i++
		if c := byteAt(s, i); c == '+' || c == '-' {
			i++
		}
		digits := i
		if i = skipDigits(s, digits); i == digits {
			return i, errSyntax
		}
		long = long || i-digits > 2 || digits-start > 200 // less is below 10^300
	}
	if long && !parseDecimal(s[start:i]).fitsFloat64() {
		return i, errNumber
	}
	return i, nil
}

func skipDigits(s string, i int) int {
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return i
}

// A decimal is a number that is not negative: 0.digits times ten to the power of point.
type decimal struct {
	whole, fraction string // the digits, of which the first is not zero; both empty: the number is zero
	point           int
}

// maxExponent is more than the length of anything that is read, and far from overflowing an int.
const maxExponent = 1 << 30

// parseDecimal takes the text of a JSON number without a sign.
func parseDecimal(number string) decimal {
	mantissa, exponent := number, 0
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa = number[:i]
		exponent, _ = strconv.Atoi(number[i+1:]) // out of range: the largest or smallest int
		exponent = max(-maxExponent, min(exponent, maxExponent))
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole = strings.TrimLeft(whole, "0"); whole != "" {
		return decimal{whole, fraction, exponent + len(whole)}
	}
	digits := strings.TrimLeft(fraction, "0")
	return decimal{"", digits, exponent - (len(fraction) - len(digits))}
}

func (d decimal) digit(i int) byte {
	switch fraction := i - len(d.whole); {
	case i < 0:
		return '0'
	case fraction < 0:
		return d.whole[i]
	case fraction < len(d.fraction):
		return d.fraction[fraction]
	default:
		return '0'
	}
}

func (d decimal) isZero() bool { return d.whole == "" && d.fraction == "" }

// tooLarge is 2^1024 - 2^970: smaller numbers round to a float64, and all others to infinity.
var tooLarge = func() string {
	one := big.NewInt(1)
	return new(big.Int).Sub(new(big.Int).Lsh(one, 1024), new(big.Int).Lsh(one, 970)).String()
}()

// fitsFloat64 reports whether strconv.ParseFloat would succeed. ParseFloat takes 12 µs for some numbers of a few bytes
// (1e-310), and a token, which anybody can send, has room for hundreds of them.
func (d decimal) fitsFloat64() bool {
	if d.isZero() || d.point != len(tooLarge) {
		return d.isZero() || d.point < len(tooLarge)
	}
	for i := range len(tooLarge) {
		if c := d.digit(i); c != tooLarge[i] {
			return c < tooLarge[i]
		}
	}
	return false
}

// seconds reads a JSON number that is not negative, exactly to the nanosecond; finer digits are cut off. A float64
// would round. 1.8000006e9 and 1800000600 are the same instant. ok is false from 10^12 on.
func seconds(number string) (whole, nanos int64, ok bool) {
	for i := range min(len(number), 12) { // nearly all numbers are whole seconds
		c := number[i]
		if c < '0' || c > '9' {
			break
		}
		if whole = whole*10 + int64(c-'0'); i == len(number)-1 {
			return whole, 0, true
		}
	}
	d := parseDecimal(number)
	if d.isZero() || d.point > 12 {
		return 0, 0, d.isZero()
	}
	whole = 0
	for i := range 12 {
		whole = whole*10 + int64(d.digit(i-12+d.point)-'0')
	}
	for i := range 9 {
		nanos = nanos*10 + int64(d.digit(i+d.point)-'0')
	}
	return whole, nanos, true
}
