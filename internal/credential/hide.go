package credential

import (
	"maps"
	"net/http"
	"strings"
)

// Hide removes from r whatever could be found at places in the URL, RequestURI, Form and Sec-WebSocket-Protocol,
// whether it is valid or not. r is a shallow copy of the server's request, which does not change.
func Hide(r *http.Request, places []Place) {
	for _, p := range places {
		if p.isInQuery() {
			hideParameter(r, p.Name)
		}
	}
	hideProtocols(r, places)
}

// Hidden is what [Hide] removes from a request.
type Hidden struct {
	query     string   // the parameters
	protocols []string // the whole header, if an entry of it is removed
}

// HiddenIn returns what Hide would remove from r; false: nothing. It allocates nothing then.
func HiddenIn(r *http.Request, places []Place) (h Hidden, ok bool) {
	for _, p := range places {
		if p.isInQuery() && r.URL.RawQuery != "" && hasParameter(r.URL.RawQuery, p.Name) {
			h.query = parametersOf(r.URL.RawQuery, places)
			ok = true
			break
		}
	}
	if lines := r.Header[protocolHeader]; offersToken(lines, places) {
		h.protocols, ok = lines, true
	}
	return h, ok
}

// parametersOf returns the parameters that Hide removes from a query.
func parametersOf(query string, places []Place) string {
	var hidden []string
	for pair := range strings.SplitSeq(query, "&") {
		for _, p := range places {
			if p.isInQuery() && isParameter(pair, p.Name) {
				hidden = append(hidden, pair)
				break
			}
		}
	}
	return strings.Join(hidden, "&")
}

// ShowIn puts what was hidden back into r, a shallow copy of a request, for [Find]. A parameter that r has by now is a
// second one. The subprotocols are again those that the client has sent: what Hide left of them is among them.
func (h Hidden) ShowIn(r *http.Request) {
	if h.query != "" {
		u := *r.URL
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += h.query
		r.URL = &u
	}
	if h.protocols != nil {
		r.Header = maps.Clone(r.Header)
		r.Header[protocolHeader] = h.protocols
	}
}
