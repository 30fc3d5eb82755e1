package credential

import (
	"net/http"
	"net/textproto"
	"strings"
)

// cookie finds a cookie as net/http does (http.Request.Cookie), but without reading all the others, and refuses
// one that is there twice: a sibling domain can set a second one, and which comes first is the browser's choice.
func cookie(r *http.Request, name string) (string, error) {
	value, found := "", false
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			key, v, _ := strings.Cut(textproto.TrimString(part), "=")
			if textproto.TrimString(key) != name {
				continue
			}
			if found {
				return "", errTwice
			}
			found, value = true, v
		}
	}
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return value, nil
}
