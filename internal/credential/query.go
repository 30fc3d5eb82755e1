package credential

import (
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// queryToken scans a raw query for the parameter name; url.ParseQuery would build a map of everything first.
func queryToken(query, name string) (string, error) {
	token, found := "", false
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if !isParameter(pair, name) {
			continue
		}
		if found {
			return "", errTwice
		}
		found = true
		if strings.Contains(pair, ";") {
			return "", errMalformed
		}
		_, value, _ := strings.Cut(pair, "=")
		token = value
		if strings.ContainsAny(value, "%+") {
			var err error
			if token, err = url.QueryUnescape(value); err != nil {
				return "", errMalformed
			}
		}
	}
	if found && token == "" {
		return "", errMalformed
	}
	return token, nil
}

// isParameter reports whether a pair of a raw query is the parameter name, even if name is spelled with escapes or
// follows a semicolon. It allocates nothing and reads a pair three times at most, whatever is in it: for a semicolon,
// for the ends of the parts between semicolons, and for an equals sign. It unescapes at most three bytes for each byte
// of the name.
func isParameter(pair, name string) bool {
	if len(pair) < len(name) {
		return false
	}
	if strings.Contains(pair, ";") {
		for part := range strings.SplitSeq(pair, ";") {
			if isParameter(part, name) {
				return true
			}
		}
		return false
	}
	key, _, _ := strings.Cut(pair, "=")
	return len(key) <= 3*len(name) && len(key)-2*strings.Count(key, "%") == len(name) && unescapesTo(key, name)
}

// unescapesTo reports whether url.QueryUnescape would turn key into name, without allocating. If url.QueryUnescape
// would fail, url.ParseQuery drops the pair.
func unescapesTo(key, name string) bool {
	for i := range len(name) {
		c := key[0]
		key = key[1:]
		switch c {
		case '+':
			c = ' '
		case '%':
			var decoded [1]byte
			if _, err := hex.Decode(decoded[:], []byte(key[:2])); err != nil {
				return false
			}
			c, key = decoded[0], key[2:]
		}
		if c != name[i] {
			return false
		}
	}
	return key == ""
}

func hideParameter(r *http.Request, name string) {
	before := r.URL.RawQuery
	after := withoutParameter(before, name)
	if len(after) != len(before) {
		u := *r.URL
		u.RawQuery = after
		r.URL = &u
	}
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		left := after
		if query != before { // for example, a middleware has rewritten one of them
			left = withoutParameter(query, name)
		}
		if len(left) != len(query) {
			if r.RequestURI = path; left != "" {
				r.RequestURI += "?" + left
			}
		}
	}
	if r.Form.Has(name) { // an outer middleware has parsed it
		r.Form = maps.Clone(r.Form)
		r.Form.Del(name)
	}
}

// withoutParameter allocates only if there is something to remove: a client without a token may send a megabyte of
// query.
func withoutParameter(query, name string) string {
	if !hasParameter(query, name) {
		return query
	}
	var left strings.Builder
	left.Grow(len(query))
	separator := ""
	for pair := range strings.SplitSeq(query, "&") {
		if !isParameter(pair, name) {
			left.WriteString(separator)
			left.WriteString(pair)
			separator = "&"
		}
	}
	return left.String()
}

func hasParameter(query, name string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if isParameter(pair, name) {
			return true
		}
	}
	return false
}
