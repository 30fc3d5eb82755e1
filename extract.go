package wsauth

import (
	"net/http"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/ticket"
)

// An Extractor is one place where a request may carry its token. [New] refuses
// the zero value.
//
// # Explicit tokens
//
// A token in the Authorization header, the query, the subprotocol or a place of
// [FromFunc], or a ticket, is explicit: the client put it there for this request. A request
// with two explicit tokens, or with the same token twice, is refused with 400
// ([RFC 6750 section 2]). If a token fails, no other token is tried.
//
// # Ambient tokens
//
// A browser adds cookies unasked, and some proxies turn a cookie into a header.
// So the tokens of [FromCookie], [FromCookieFunc] and [FromProxy] count only if
// there is no explicit token. If a request has several of them, the first in
// the order of [Options.Extractors] counts.
//
// [RFC 6750 section 2]: https://www.rfc-editor.org/rfc/rfc6750#section-2
type Extractor struct {
	place   credential.Place
	tickets TicketStore // of FromTicket
}

// FromHeader takes the token from "Authorization: Bearer <token>" ([RFC 6750
// section 2.1]), with the scheme in any letter case. A header with another
// scheme carries no token. A header with Bearer but without a well-formed token
// is refused with 400. With [Options.DPoP], the scheme may also be DPoP.
//
// [RFC 6750 section 2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
func FromHeader() Extractor { return Extractor{place: credential.Place{Source: credential.FromHeader}} }

// FromQuery takes the token from the query parameter name, and removes the
// parameter from the request that the handler gets. Query strings end up in
// logs, in histories and in Referer headers, so FromQuery accepts a token on
// WebSocket handshakes only, where browsers have no better place. Elsewhere a
// request with such a parameter is refused with 400.
func FromQuery(name string) Extractor {
	return Extractor{place: credential.Place{Source: credential.FromQuery, Name: name}}
}

// FromTicket takes a ticket of [Authenticator.Tickets] from the query parameter
// name, in place of a token. A ticket can be used once, within 30 seconds, so it
// is worthless in a log. The token is verified again when the ticket is used,
// and the connection ends when the token expires.
//
// store keeps the tickets. Several servers must share it, so that a ticket from
// one of them is good on all. If store is nil, this process keeps the tickets in
// memory, about 60,000 at a time.
//
// FromTicket accepts a ticket on WebSocket handshakes. Since EventSource cannot
// set headers either, FromTicket also accepts a ticket behind
// [Authenticator.Guard], on a GET that accepts text/event-stream. Do not put
// [Authenticator.Middleware] around that Guard: it refuses the ticket first.
// Elsewhere, a request with a ticket is refused with 400.
//
// A ticket that was used, has expired or is unknown is refused with 401
// ([ErrInvalidTicket]); if the store is unavailable, the response is 503. The
// parameter is removed from the request that the handler gets. A ticket counts
// as an explicit token. There can be only one FromTicket among the Extractors.
func FromTicket(name string, store TicketStore) Extractor {
	if store == nil {
		store = ticket.NewMemory(ticketMemory)
	}
	return Extractor{credential.Place{Source: credential.FromTicket, Name: name}, store}
}

// FromCookie takes the token from the cookie name. An empty cookie is the same
// as none. A browser sends cookies with requests that any site can cause. So on
// a WebSocket handshake the Origin header must name this server or one of
// [Options.Origins], and other unsafe requests must pass
// [http.CrossOriginProtection]. Otherwise the error is [ErrOrigin].
func FromCookie(name string) Extractor {
	return Extractor{place: credential.Place{Source: credential.FromCookie, Name: name}}
}

// FromCookieFunc takes the token from the cookie name if the cookie's value
// contains more than the token, such as the session of Supabase or Auth.js:
// read finds the token in the value. The rules of [FromCookie] apply.
//
// If the value is split into cookies name.0, name.1 and so on, FromCookieFunc
// joins them first. It refuses pieces with more than one reading with 400: a
// piece that occurs twice or is missing, more than 16 pieces, or pieces
// together with a whole cookie of that name.
//
// read gets the value as the browser sent it, percent-escapes included, and
// never an empty one. If read returns an empty token, the request has no token,
// as for a session without a login. If read returns an error, the request is
// refused with 400; the text of the error is not passed on. Nobody has verified
// the value. read must be fast and safe for concurrent use.
func FromCookieFunc(name string, read func(value string) (token string, err error)) Extractor {
	return Extractor{place: credential.Place{Source: credential.FromCookieFunc, Name: name, Read: read}}
}

// FromProxy takes the token from a header that a proxy in front of this server
// adds for visitors who are logged in at the proxy: "Authorization"
// (oauth2-proxy), "Cf-Access-Jwt-Assertion" (Cloudflare Access),
// "X-Goog-Iap-Jwt-Assertion" (Google). The header's value is the token or
// "Bearer <token>"; in Authorization, only the latter. An empty value is the
// same as no token. As with cookies, the header stays in the request that the
// handler gets.
//
// The proxy recognizes its visitors by a cookie, so any page can make their
// browsers send the token. That is why the rules of [FromCookie] apply, and a
// repeated header is refused with 400. Do not use [FromHeader] for such a
// header, not even for Authorization: FromHeader assumes that the client put
// the token there on purpose. The proxy must remove any header of this name
// that a client sends.
func FromProxy(header string) Extractor {
	return Extractor{place: credential.Place{Source: credential.FromProxy, Name: http.CanonicalHeaderKey(header)}}
}

// FromSubprotocol takes the token from Sec-WebSocket-Protocol, in one of two
// forms. In both, the token may also be encoded in base64url.
//
// A name with a final dot is the prefix of the token's entry.
// FromSubprotocol("bearer.") takes the token of
//
//	new WebSocket(url, ["chat.v1", "bearer." + token])
//
// A name without a final dot is an entry of its own, and the next entry is the
// token. FromSubprotocol("access_token") takes the token of
//
//	new WebSocket(url, ["access_token", token])
//
// FromSubprotocol accepts a token on WebSocket handshakes only; elsewhere the
// request is refused with 400. It removes the token's entry from the request
// that the handler gets.
//
// A browser drops a connection if the server selects none of the protocols that
// the browser offered, and the token's entry is never selected. With the first
// form, the client must therefore offer another protocol: one of yours, or
// "wsauth". With the second form, the entry in front of the token stays in the
// request, moved to the end of the list, and the server can select it.
func FromSubprotocol(name string) Extractor {
	return Extractor{place: credential.Place{Source: credential.FromSubprotocol, Name: name}}
}

// FromFunc takes the token that f finds. If f returns an empty token, the
// request has no token there. If f returns an error, the request is refused
// with 400; the text of the error is not passed on. A token that f finds counts
// as explicit, so f must read it from a place that other sites cannot make a
// browser send. The token stays in the request that the handler gets.
func FromFunc(f func(*http.Request) (token string, err error)) Extractor {
	return Extractor{place: credential.Place{Source: credential.FromFunc, Func: f}}
}
