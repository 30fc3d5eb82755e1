// Package credential finds the one token of a request, hides it, and knows what its place requires: a WebSocket
// handshake, or an Origin.
package credential

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// A Place is where a request may carry its token. The zero value is no place.
type Place struct {
	Source Source
	Name   string // of the query parameter, cookie or header, the latter in canonical form, or what marks the subprotocol
	Func   func(*http.Request) (string, error)
	Read   func(cookie string) (string, error)
}

// A Source is a kind of Place.
type Source uint8

// The sources. All but the ambient ones are explicit: somebody put the token there for this request.
const (
	FromNowhere Source = iota
	FromHeader
	FromQuery
	FromCookie
	FromSubprotocol
	FromFunc
	FromProxy
	FromCookieFunc
	FromTicket // the token of a ticket, which is in the query
	FromDPoP   // the Authorization header, with the scheme of RFC 9449
)

func (s Source) String() string {
	return [...]string{"", "header", "query", "cookie", "subprotocol", "func", "proxy", "cookie", "ticket", "dpop"}[s]
}

// isAmbient reports whether a browser sends a token from here unasked, whichever page it shows: it adds the cookie, or
// the cookie that a proxy turns into the token.
func (s Source) isAmbient() bool { return s == FromCookie || s == FromCookieFunc || s == FromProxy }

// Fault says what is wrong with a place as an option, or "".
func (p Place) Fault() string {
	switch p.Source {
	case FromNowhere:
		return "the zero Extractor"
	case FromQuery:
		if p.Name == "" {
			return "FromQuery without a name"
		}
	case FromTicket:
		if p.Name == "" {
			return "FromTicket without a name"
		}
	case FromCookie, FromCookieFunc, FromSubprotocol:
		if p.Source == FromCookieFunc && p.Read == nil {
			return "FromCookieFunc without a function"
		}
		if !isHTTPToken(p.Name) {
			return "a name that is empty, or has a character that no cookie name or subprotocol has"
		}
		if p.Source == FromSubprotocol {
			return protocolFault(p.Name)
		}
	case FromFunc:
		if p.Func == nil {
			return "FromFunc(nil)"
		}
	case FromProxy:
		if !isHTTPToken(p.Name) {
			return "a header name that is empty, or has a character that no header name has"
		}
		if slices.Contains(headersOfOthers, p.Name) {
			return "a header that browsers or net/http use for something else"
		}
	}
	return ""
}

// headersOfOthers are headers that a page controls, or that net/http removes from the header.
var headersOfOthers = []string{
	"Connection", "Cookie", "Host", "Origin", "Sec-Websocket-Protocol", "Trailer", "Transfer-Encoding", "Upgrade",
}

// Is reports whether two places are the same.
func (p Place) Is(other Place) bool {
	if p.header() != "" || other.header() != "" {
		return p.header() == other.header()
	}
	if p.isInQuery() || other.isInQuery() {
		return p.isInQuery() && other.isInQuery() && p.Name == other.Name
	}
	return p.Source != FromFunc && other.Source.String() == p.Source.String() && other.Name == p.Name
}

func (p Place) isInQuery() bool { return p.Source == FromQuery || p.Source == FromTicket }

// header returns the name of the header that contains nothing except the token, or "".
func (p Place) header() string {
	switch p.Source {
	case FromHeader, FromDPoP:
		return authorization
	case FromProxy:
		return p.Name
	}
	return ""
}

const authorization = "Authorization"

// isHTTPToken reports whether s is a token of RFC 9110 section 5.6.2.
func isHTTPToken(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return false
		}
	}
	return s != ""
}

// A Credential is a token and where it was.
type Credential struct {
	Token  string
	Source Source
}

var (
	errTwice     = errors.New("more than one token")
	errMalformed = errors.New("a token that is malformed")
	errPlace     = errors.New("a token in the query or a subprotocol of a request that is not a WebSocket handshake: " +
		"GET with Connection: Upgrade and Upgrade: websocket")
	errTicketPlace = errors.New("a ticket on a request that is neither a WebSocket handshake nor, behind Guard, a GET that accepts " +
		"text/event-stream")
)

// Find finds the one token of a request and checks what its source requires. Its errors are refusals. It accepts a ticket
// on a request for a stream only if streams is set: whoever serves the stream must end it with the token.
func Find(r *http.Request, places []Place, origins Origins, streams bool) (Credential, error) {
	var found Credential
	for i := range places {
		p := &places[i] // a Place is large, and each request would copy all of them
		if p.Source.isAmbient() {
			continue
		}
		token, err := p.find(r, streams)
		if err == nil && token != "" && found.Token != "" {
			err = errTwice
		}
		if err != nil {
			return Credential{Source: p.Source}, refusal.New(refusal.ErrMalformedRequest, err)
		}
		if token != "" {
			found = Credential{token, p.Source}
		}
	}
	if found.Token != "" {
		return found, nil
	}
	for i := range places {
		p := &places[i]
		if !p.Source.isAmbient() {
			continue
		}
		token, err := p.find(r, streams)
		if err != nil {
			return Credential{Source: p.Source}, refusal.New(refusal.ErrMalformedRequest, err)
		}
		if token != "" {
			return Credential{token, p.Source}, origins.checkAmbient(r, p.Source)
		}
	}
	return Credential{}, refusal.New(refusal.ErrNoToken, nil)
}

// find returns the token of a place, or "".
func (p *Place) find(r *http.Request, streams bool) (string, error) {
	var token string
	var err error
	switch p.Source {
	case FromHeader:
		return ofScheme("Bearer", r.Header[authorization])
	case FromDPoP:
		return ofScheme("DPoP", r.Header[authorization])
	case FromProxy:
		return proxied(r.Header[p.Name], p.Name)
	case FromCookie:
		return cookie(r, p.Name)
	case FromCookieFunc:
		return readCookie(r, p.Name, p.Read)
	case FromFunc:
		if token, err = p.Func(r); err != nil {
			return "", errMalformed
		}
		return token, nil
	case FromTicket:
		token, err = queryToken(r.URL.RawQuery, p.Name)
		if err == nil && token != "" && !IsHandshake(r) && !(streams && wantsEvents(r)) {
			err = errTicketPlace
		}
		return token, err
	case FromQuery:
		token, err = queryToken(r.URL.RawQuery, p.Name)
	case FromSubprotocol:
		token, err = subprotocolToken(r.Header[protocolHeader], *p)
	}
	if err == nil && token != "" && !IsHandshake(r) {
		err = errPlace
	}
	return token, err
}

// ofScheme reads the Authorization header (RFC 6750 section 2.1, RFC 9449 section 7.1): the scheme, one space, a token68.
// It compares the usual spelling of the scheme first, which is faster than folding the letter case.
func ofScheme(scheme string, values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errTwice
	}
	v := values[0]
	if len(v) < len(scheme) || v[:len(scheme)] != scheme && !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", nil
	}
	v = v[len(scheme):]
	if v != "" && v[0] != ' ' && isHTTPToken(v[:1]) {
		return "", nil // the name of a longer scheme
	}
	if len(v) < 2 || v[0] != ' ' {
		return "", errMalformed
	}
	return v[1:], nil
}

// proxied reads a header that a proxy adds. It contains the token alone. In Authorization it must be "Bearer <token>"
// (RFC 9110 section 11.6.2); another scheme is somebody else's credential. If a client sends the header, too, and the
// proxy appends its own, there are two, and the request is refused.
func proxied(values []string, name string) (string, error) {
	token, err := ofScheme("Bearer", values)
	if err != nil || token != "" || len(values) == 0 || name == authorization {
		return token, err
	}
	return values[0], nil
}

// Judge makes the refusal of a token that is not a b64token a malformed request. A token that could be read is a
// b64token. A token that is too long is not examined: the distinction is not worth reading a megabyte.
func (c Credential) Judge(err error) error {
	if (c.Source == FromHeader || c.Source == FromDPoP) && errors.Is(err, jose.ErrForm) && !isB64Token(c.Token) {
		return refusal.New(refusal.ErrMalformedRequest, errMalformed)
	}
	return err
}

func isB64Token(s string) bool {
	for i := range len(s) {
		if !b64TokenByte[s[i]] {
			return false
		}
	}
	return true
}

var b64TokenByte = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") {
		is[c] = true
	}
	return is
}()
