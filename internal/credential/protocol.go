package credential

import (
	"encoding/base64"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const protocolHeader = "Sec-Websocket-Protocol"

// isPair reports whether a place among the subprotocols is an entry of its own, followed by the token, and not a prefix
// of the token's entry. A prefix ends in a dot.
func (p Place) isPair() bool { return p.Source == FromSubprotocol && !strings.HasSuffix(p.Name, ".") }

func (p Place) isPrefix() bool { return p.Source == FromSubprotocol && !p.isPair() }

// protocolFault says what is wrong with the name of a place among the subprotocols. A name like "bearer-" was meant as
// a prefix, and would be treated as an entry of its own.
func protocolFault(name string) string {
	last := name[len(name)-1]
	if last == '.' || '0' <= last && last <= '9' || 'a' <= last|0x20 && last|0x20 <= 'z' {
		return ""
	}
	return "a prefix that does not end in a dot"
}

// Overlaps reports whether an entry of Sec-WebSocket-Protocol could belong to either place: a client that means one of
// them would have offered two tokens.
func (p Place) Overlaps(other Place) bool {
	switch {
	case p.Source != FromSubprotocol || other.Source != FromSubprotocol:
		return false
	case p.isPrefix() && strings.HasPrefix(other.Name, p.Name):
		return true
	}
	return other.isPrefix() && strings.HasPrefix(p.Name, other.Name)
}

// Takes reports whether an entry of Sec-WebSocket-Protocol would be read as a token, wherever it is: a token is never
// selected. WebSocket libraries compare without regard to letter case.
func (p Place) Takes(protocol string) bool {
	return p.isPrefix() && strings.EqualFold(protocol[:min(len(protocol), len(p.Name))], p.Name)
}

// Selectable returns the subprotocols that a client offers and that a server may select, in the client's order: all
// except tokens, whether r still shows them or not. The marker is the one of them that announces a token, "" if none
// does.
//
// A browser drops a connection if it has offered subprotocols and none is selected. So whoever writes the response to a
// handshake selects the first of the application's protocols that is offered, or else the marker, or else what there is
// for applications without a protocol. A library that selects for itself gets the request as [Hide] leaves it.
func Selectable(r *http.Request, places []Place) (offered []string, marker string) {
	for entry, before := range protocols(r.Header[protocolHeader]) {
		if isToken(entry, before, places) || slices.ContainsFunc(places, func(p Place) bool { return p.Takes(entry) }) {
			continue
		}
		offered = append(offered, entry)
		if marker == "" && isMarker(entry, places) {
			marker = entry
		}
	}
	return offered, marker
}

// Markers returns the entries that announce a token, whether a client offers them or not.
func Markers(places []Place) []string {
	var all []string
	for _, p := range places {
		if p.isPair() {
			all = append(all, p.Name)
		}
	}
	return all
}

func isMarker(entry string, places []Place) bool {
	return slices.ContainsFunc(places, func(p Place) bool { return p.isPair() && p.Name == entry })
}

// protocols returns the entries of Sec-WebSocket-Protocol, each with the one before it. Several lines are one list, and
// empty entries do not count (RFC 9110 section 5.6.1).
func protocols(values []string) iter.Seq2[string, string] {
	return func(yield func(entry, before string) bool) {
		before := ""
		for _, v := range values {
			for v != "" {
				var entry string
				entry, v, _ = strings.Cut(v, ",")
				if entry = strings.TrimSpace(entry); entry == "" {
					continue
				}
				if !yield(entry, before) {
					return
				}
				before = entry
			}
		}
	}
}

// subprotocolToken finds the token of a place among the protocols that a client offers.
func subprotocolToken(values []string, p Place) (string, error) {
	token, found, last := "", false, ""
	for entry, before := range protocols(values) {
		last = entry
		rest, ok := p.tokenIn(entry, before)
		if !ok {
			continue
		}
		if found {
			return "", errTwice
		}
		found, token = true, rest
	}
	if p.isPair() && last == p.Name { // nothing follows it
		if found {
			return "", errTwice
		}
		return "", errMalformed
	}
	if !found || strings.Contains(token, ".") {
		return token, nil
	}
	// A JWT has dots, its base64url form has none. Kubernetes' API server takes tokens in this form.
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(decoded) == 0 {
		return "", errMalformed
	}
	return string(decoded), nil
}

// tokenIn returns the token, in either form, that an entry contains; before is the entry in front of it. The entry
// after the first of a pair counts as its token whatever it looks like, even if it repeats the first.
func (p Place) tokenIn(entry, before string) (string, bool) {
	if p.isPair() {
		return entry, before == p.Name
	}
	return strings.CutPrefix(entry, p.Name)
}

// isToken reports whether an entry is the token of one of the places.
func isToken(entry, before string, places []Place) bool {
	for _, p := range places {
		if p.Source != FromSubprotocol {
			continue
		}
		if _, ok := p.tokenIn(entry, before); ok {
			return true
		}
	}
	return false
}

// hideProtocols removes the tokens. It leaves the first entry of a pair for the server to select, but moves it to the
// end: otherwise the next reader would take the entry after it for a token. At the end it also comes after the
// application's own protocols.
func hideProtocols(r *http.Request, places []Place) {
	if !offersToken(r.Header[protocolHeader], places) {
		return
	}
	var left, markers []string
	for entry, before := range protocols(r.Header[protocolHeader]) {
		switch {
		case isToken(entry, before, places):
		case isMarker(entry, places):
			if !slices.Contains(markers, entry) { // a second one would be taken for the token of the first
				markers = append(markers, entry)
			}
		default:
			left = append(left, entry)
		}
	}
	r.Header = maps.Clone(r.Header)
	delete(r.Header, protocolHeader)
	if left = append(left, markers...); len(left) > 0 {
		r.Header[protocolHeader] = []string{strings.Join(left, ", ")}
	}
}

// offersToken allocates nothing: a client without a token may send a megabyte of commas.
func offersToken(values []string, places []Place) bool {
	for entry, before := range protocols(values) {
		if isToken(entry, before, places) {
			return true
		}
	}
	return false
}
