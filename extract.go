package wsauth

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/origin"
)

// An Extractor is one place where a request may carry its token. The zero value is none, and an error of [New].
//
// All extractors but [FromCookie] are explicit: somebody put the token there for this request. A request with two
// explicit tokens, or with one twice, is refused with 400 (RFC 6750 section 2), and no token is tried after one
// that failed. A cookie is what a browser adds unasked: it counts only where there is no explicit token.
type Extractor struct {
	from source
	name string // of the query parameter or cookie, or the subprotocol's prefix
	f    func(*http.Request) (string, error)
}

type source uint8

const (
	fromNowhere source = iota
	fromHeader
	fromQuery
	fromCookie
	fromSubprotocol
	fromFunc
)

func (s source) String() string {
	return [...]string{"", "header", "query", "cookie", "subprotocol", "func"}[s]
}

// FromHeader takes the token from "Authorization: Bearer <token>" (RFC 6750 section 2.1), the scheme in any letter
// case. Another scheme is no token; Bearer with nothing or rubbish behind it is refused with 400.
func FromHeader() Extractor { return Extractor{from: fromHeader} }

// FromQuery takes the token from the query parameter name. Since query strings end up in logs, in histories and in
// Referer headers, it does so on WebSocket handshakes only, where browsers have no better place, and refuses such
// a parameter with 400 elsewhere. The request handed on does not have it any more.
func FromQuery(name string) Extractor { return Extractor{from: fromQuery, name: name} }

// FromCookie takes the token from the cookie name. An empty one is none. A browser sends cookies with whatever any
// site makes it request, so on a WebSocket handshake the Origin header must name this server or one of
// [Options.Origins], and other unsafe requests must pass [http.CrossOriginProtection]: [ErrOrigin] otherwise.
func FromCookie(name string) Extractor { return Extractor{from: fromCookie, name: name} }

// FromSubprotocol takes the token from the entry of Sec-WebSocket-Protocol that begins with prefix, its final dot
// included: with "bearer.", the token of
//
//	new WebSocket(url, ["chat.v1", "bearer." + token])
//
// What follows the prefix is the token, or its base64url form. It counts on WebSocket handshakes only and is
// refused with 400 elsewhere; the request handed on does not have the entry any more. A browser gives a connection
// up if none of the protocols it offered is selected: have it offer another one, one of yours or "wsauth".
func FromSubprotocol(prefix string) Extractor { return Extractor{from: fromSubprotocol, name: prefix} }

// FromFunc takes the token that f finds. An empty token is none; an error refuses the request with 400, and its
// text goes nowhere. What f finds is explicit: other sites must not be able to make a browser send it. It stays where it
// was in the request that is handed on.
func FromFunc(f func(*http.Request) (token string, err error)) Extractor {
	return Extractor{from: fromFunc, f: f}
}

// fault says what is wrong with an extractor as an option.
func (x Extractor) fault() string {
	switch x.from {
	case fromNowhere:
		return "the zero Extractor"
	case fromQuery:
		if x.name == "" {
			return "FromQuery without a name"
		}
	case fromCookie, fromSubprotocol:
		if !isToken(x.name) {
			return "a name that is empty, or has a character that no cookie name or subprotocol has"
		}
	case fromFunc:
		if x.f == nil {
			return "FromFunc(nil)"
		}
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return false
		}
	}
	return s != ""
}

// A credential is a token and where it was.
type credential struct {
	token string
	from  source
}

var (
	errTwice     = errors.New("more than one token")
	errMalformed = errors.New("a token that is malformed")
	errPlace     = errors.New("a token in the query or a subprotocol of what is no WebSocket handshake: " +
		"GET with Connection: Upgrade and Upgrade: websocket")

	errForeign  = errors.New("the Origin is neither the server's own, which is its Host, nor one of Options.Origins")
	errNoOrigin = errors.New("a cookie without one Origin")
)

// extract finds the one token of a request and checks what its source demands. Its errors are refusals.
func (p *policy) extract(r *http.Request) (credential, error) {
	var found credential
	for _, x := range p.extractors {
		if x.from == fromCookie {
			continue
		}
		token, err := x.find(r)
		if err == nil && token != "" && found.token != "" {
			err = errTwice
		}
		if err != nil {
			return credential{from: x.from}, refuse(ErrMalformedRequest, err)
		}
		if token != "" {
			found = credential{token, x.from}
		}
	}
	if found.token != "" {
		return found, nil
	}
	for _, x := range p.extractors {
		if x.from != fromCookie {
			continue
		}
		token, err := cookie(r, x.name)
		if err != nil {
			return credential{from: fromCookie}, refuse(ErrMalformedRequest, err)
		}
		if token != "" {
			return credential{token, fromCookie}, p.checkCookieOrigin(r)
		}
	}
	return credential{}, refuse(ErrNoToken, nil)
}

// find returns the token of an explicit extractor; empty: there is none.
func (x Extractor) find(r *http.Request) (string, error) {
	var token string
	var err error
	switch x.from {
	case fromHeader:
		return bearer(r.Header["Authorization"])
	case fromFunc:
		if token, err = x.f(r); err != nil {
			return "", errMalformed
		}
		return token, nil
	case fromQuery:
		token, err = queryToken(r.URL.RawQuery, x.name)
	case fromSubprotocol:
		token, err = subprotocolToken(r.Header["Sec-Websocket-Protocol"], x.name)
	}
	if err == nil && token != "" && !isHandshake(r) {
		err = errPlace
	}
	return token, err
}

// bearer reads the Authorization header (RFC 6750 section 2.1): the scheme, one space, a b64token.
func bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errTwice
	}
	const scheme = "bearer"
	v := values[0]
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", nil
	}
	v = v[len(scheme):]
	if v != "" && v[0] != ' ' && isToken(v[:1]) {
		return "", nil // the name of a longer scheme
	}
	if len(v) < 2 || v[0] != ' ' {
		return "", errMalformed
	}
	return v[1:], nil
}

// judge says of a token that was refused if it is no b64token at all, which makes the request malformed. One that was
// read is a b64token, and one that is too long is not looked at: the answer is not worth reading a megabyte.
func (c credential) judge(err error) error {
	if c.from == fromHeader && errors.Is(err, jose.ErrForm) && !isB64Token(c.token) {
		return refuse(ErrMalformedRequest, errMalformed)
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

// queryToken scans a raw query for the parameter name; url.ParseQuery would build a map of everything first.
func queryToken(query, name string) (string, error) {
	token, found := "", false
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if !names(pair, name) {
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

// names reports whether a pair of a raw query is of the parameter name, also where that is spelled with escapes, or
// stands behind a semicolon.
func names(pair, name string) bool {
	if strings.Contains(pair, ";") {
		for part := range strings.SplitSeq(pair, ";") {
			if names(part, name) {
				return true
			}
		}
		return false
	}
	key, _, _ := strings.Cut(pair, "=")
	return len(key)-2*strings.Count(key, "%") == len(name) && unescapesTo(key, name)
}

// unescapesTo reports whether url.QueryUnescape would make name of key, without the memory that it takes. Where that
// says that key is malformed, url.ParseQuery drops the pair.
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

// subprotocolToken finds the entry with the prefix among the protocols that a client offers.
func subprotocolToken(values []string, prefix string) (string, error) {
	token, found := "", false
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			rest, ok := strings.CutPrefix(strings.TrimSpace(entry), prefix)
			if !ok {
				continue
			}
			if found {
				return "", errTwice
			}
			found, token = true, rest
		}
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

// isHandshake reports whether r opens a WebSocket (RFC 6455 section 4.2.1).
func isHandshake(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

// mayUpgrade reports whether any handler could take r for a handshake: whatever has an Upgrade header, a WebSocket
// key, or the CONNECT of RFC 8441. Being wrong here would let a cookie in without its Origin.
func mayUpgrade(r *http.Request) bool {
	return len(r.Header["Upgrade"]) > 0 || len(r.Header["Sec-Websocket-Key"]) > 0 || r.Method == http.MethodConnect
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(entry, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// checkCookieOrigin is what stands between a cookie and cross-site WebSocket hijacking (RFC 6455 section 10.2).
// SameSite is no substitute: a sibling domain is the same site.
func (p *policy) checkCookieOrigin(r *http.Request) error {
	o, ok := originOf(r)
	if ok && p.lists(o) {
		return nil
	}
	if mayUpgrade(r) {
		switch {
		case !ok:
			return foreign(r, errNoOrigin)
		case !o.IsAt(r.Host, r.TLS != nil):
			return foreign(r, errForeign)
		}
		return nil
	}
	var standard http.CrossOriginProtection
	if err := standard.Check(r); err != nil {
		return foreign(r, err)
	}
	return nil
}

// foreign is a refusal that says what there was, so that whoever reads the log can tell an attack from a missing option.
func foreign(r *http.Request, why error) error {
	origins := r.Header["Origin"]
	return refuse(ErrOrigin, fmt.Errorf("%w: Origin %.200q, Host %.200q", why, origins[:min(len(origins), 2)], r.Host))
}

// checkOrigin refuses a handshake from a foreign origin, whatever carries its token. No Origin is no browser.
func (p *policy) checkOrigin(r *http.Request) error {
	if len(r.Header["Origin"]) == 0 {
		return nil
	}
	if o, ok := originOf(r); ok && (o.IsAt(r.Host, r.TLS != nil) || p.lists(o)) {
		return nil
	}
	return foreign(r, errForeign)
}

// originOf reads the Origin header; "null" and two of them are none.
func originOf(r *http.Request) (origin.Origin, bool) {
	values := r.Header["Origin"]
	if len(values) != 1 {
		return origin.Origin{}, false
	}
	o, err := origin.Parse(values[0])
	return o, err == nil
}

func (p *policy) lists(o origin.Origin) bool {
	for _, listed := range p.origins {
		if listed.Matches(o) {
			return true
		}
	}
	return false
}

// hideToken takes out of r whatever an extractor looks for in URL, RequestURI, Form and Sec-WebSocket-Protocol, be it
// valid or not. r is a shallow copy of the server's request, which does not change.
func (p *policy) hideToken(r *http.Request) {
	for _, x := range p.extractors {
		switch x.from {
		case fromQuery:
			hideParameter(r, x.name)
		case fromSubprotocol:
			hideProtocol(r, x.name)
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
		if !names(pair, name) {
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
