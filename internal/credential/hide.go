package credential

import (
	"maps"
	"net/http"
	"strings"
)

// Hide takes out of r whatever could be found at places in URL, RequestURI, Form and Sec-WebSocket-Protocol, be it
// valid or not. r is a shallow copy of the server's request, which does not change.
func Hide(r *http.Request, places []Place) {
	for _, p := range places {
		switch p.Source {
		case FromQuery:
			hideParameter(r, p.Name)
		case FromSubprotocol:
			hideProtocol(r, p.Name)
		}
	}
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
		if query != before { // as behind a middleware that rewrote one of them
			left = withoutParameter(query, name)
		}
		if len(left) != len(query) {
			if r.RequestURI = path; left != "" {
				r.RequestURI += "?" + left
			}
		}
	}
	if r.Form.Has(name) { // a middleware outside has parsed it
		r.Form = maps.Clone(r.Form)
		r.Form.Del(name)
	}
}

// withoutParameter takes memory only where there is something to take out: nobody has to have a token to send a
// megabyte of query.
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

func hideProtocol(r *http.Request, prefix string) {
	const key = "Sec-Websocket-Protocol"
	if !offersPrefix(r.Header[key], prefix) {
		return
	}
	var left []string
	for _, v := range r.Header[key] {
		for entry := range strings.SplitSeq(v, ",") {
			if entry = strings.TrimSpace(entry); entry != "" && !strings.HasPrefix(entry, prefix) {
				left = append(left, entry)
			}
		}
	}
	r.Header = maps.Clone(r.Header)
	delete(r.Header, key)
	if len(left) > 0 {
		r.Header[key] = []string{strings.Join(left, ", ")}
	}
}

func offersPrefix(values []string, prefix string) bool {
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			if strings.HasPrefix(strings.TrimSpace(entry), prefix) {
				return true
			}
		}
	}
	return false
}
