package credential

import (
	"errors"
	"iter"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// maxPieces bounds the pieces of a cookie. A browser keeps up to 4 KB in each, and no token is longer than 64 KB.
const maxPieces = 16

var errPieces = errors.New("a cookie in pieces, of which one is missing, or beyond the 16th, or that is also there whole")

// cookie finds a cookie as net/http does (http.Request.Cookie), but without reading the others. It refuses a cookie
// that occurs twice: a sibling domain can set a second one, and the browser chooses which comes first.
func cookie(r *http.Request, name string) (string, error) {
	value, found := "", false
	for key, v := range cookies(r) {
		if key != name {
			continue
		}
		if found {
			return "", errTwice
		}
		found, value = true, v
	}
	return value, nil
}

// readCookie calls read to find the token in the value of a cookie.
func readCookie(r *http.Request, name string, read func(string) (string, error)) (string, error) {
	value, err := joinedCookie(r, name)
	if err != nil || value == "" {
		return "", err
	}
	token, err := read(value)
	if err != nil {
		return "", errMalformed
	}
	return token, nil
}

// joinedCookie returns the value of a cookie, or of its pieces name.0, name.1 and so on, in this order. It refuses
// anything with more than one reading: a piece that occurs twice, a gap, or a whole cookie together with pieces of its
// name.
func joinedCookie(r *http.Request, name string) (string, error) {
	var whole string
	var pieces [maxPieces]string
	var hasWhole bool
	var hasPiece [maxPieces]bool
	count := 0
	for key, value := range cookies(r) {
		if key == name {
			if hasWhole {
				return "", errTwice
			}
			hasWhole, whole = true, value
			continue
		}
		i, ok := pieceNumber(key, name)
		if !ok {
			continue
		}
		if i >= maxPieces {
			return "", errPieces
		}
		if hasPiece[i] {
			return "", errTwice
		}
		hasPiece[i], pieces[i] = true, value
		count++
	}
	if count == 0 {
		return whole, nil
	}
	if hasWhole || slices.Contains(hasPiece[:count], false) {
		return "", errPieces
	}
	return strings.Join(pieces[:count], ""), nil
}

// pieceNumber returns the number at the end of a piece's name. "name.01" and "name.x" are other cookies.
func pieceNumber(key, name string) (int, bool) {
	digits, ok := strings.CutPrefix(key, name)
	if !ok || len(digits) < 2 || digits[0] != '.' {
		return 0, false
	}
	digits = digits[1:]
	if digits[0] == '0' && digits != "0" {
		return 0, false
	}
	number := 0
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0, false
		}
		number = min(10*number+int(d-'0'), maxPieces)
	}
	return number, true
}

// cookies returns the names and values of all cookies, including malformed ones, without the quotes around a value.
func cookies(r *http.Request) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range r.Header["Cookie"] {
			for line != "" {
				var part string
				part, line, _ = strings.Cut(line, ";")
				key, value, _ := strings.Cut(textproto.TrimString(part), "=")
				if !yield(textproto.TrimString(key), withoutQuotes(value)) {
					return
				}
			}
		}
	}
}

func withoutQuotes(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}
