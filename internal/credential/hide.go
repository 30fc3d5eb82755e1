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
	if query := withoutParameter(r.URL.RawQuery, name); query != r.URL.RawQuery {
		u := *r.URL
		u.RawQuery = query
		r.URL = &u
	}
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		if left := withoutParameter(query, name); left != query {
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

func withoutParameter(query, name string) string {
	if query == "" {
		return ""
	}
	var left []string
	for pair := range strings.SplitSeq(query, "&") {
		if !isParameter(pair, name) {
			left = append(left, pair)
		}
	}
	return strings.Join(left, "&")
}

func hideProtocol(r *http.Request, prefix string) {
	const key = "Sec-Websocket-Protocol"
	var left []string
	found := false
	for _, v := range r.Header[key] {
		for entry := range strings.SplitSeq(v, ",") {
			if entry = strings.TrimSpace(entry); strings.HasPrefix(entry, prefix) {
				found = true
			} else if entry != "" {
				left = append(left, entry)
			}
		}
	}
	if !found {
		return
	}
	r.Header = maps.Clone(r.Header)
	delete(r.Header, key)
	if len(left) > 0 {
		r.Header[key] = []string{strings.Join(left, ", ")}
	}
}
