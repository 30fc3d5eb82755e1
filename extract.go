package wsauth

import (
	"net/http"

	"github.com/wsauth/wsauth/internal/credential"
)

// An Extractor is one place where a request may carry its token. The zero value is none, and an error of [New].
//
// All extractors except [FromCookie], [FromCookieFunc] and [FromProxy] are explicit: somebody put the token there for
// this request. A request with two explicit tokens, or with the same token twice, is refused with 400 (RFC 6750 section
// 2), and no token is tried after one that failed. A cookie is what a browser adds unasked, and so is what a proxy
// makes of a cookie: such a token counts only where there is no explicit one, and of several the first in the order of
// [Options.Extractors].
type Extractor struct{ place credential.Place }

// FromHeader takes the token from "Authorization: Bearer <token>" (RFC 6750 section 2.1), the scheme in any letter
// case. Another scheme is no token; Bearer with nothing or rubbish behind it is refused with 400.
func FromHeader() Extractor { return Extractor{credential.Place{Source: credential.FromHeader}} }

// FromQuery takes the token from the query parameter name. Since query strings end up in logs, in histories and in
// Referer headers, it does so on WebSocket handshakes only, where browsers have no better place, and refuses such
// a parameter with 400 elsewhere. The request handed on does not have it any more.
func FromQuery(name string) Extractor {
	return Extractor{credential.Place{Source: credential.FromQuery, Name: name}}
}

// FromCookie takes the token from the cookie name. An empty one is none. A browser sends cookies with whatever any
// site makes it request, so on a WebSocket handshake the Origin header must name this server or one of
// [Options.Origins], and other unsafe requests must pass [http.CrossOriginProtection]: [ErrOrigin] otherwise.
func FromCookie(name string) Extractor {
	return Extractor{credential.Place{Source: credential.FromCookie, Name: name}}
}

// FromCookieFunc takes the token that read finds in the value of the cookie name, where that is not the token alone:
// the session of Supabase or Auth.js, for example. A value that browsers keep in pieces, as cookies name.0, name.1 and
// so on, is put together first. The rules of [FromCookie] hold. Pieces that have more than one reading are refused with
// 400: one of them twice, one that is missing, one beyond the 16th, or pieces beside a cookie that is whole.
//
// The value is as the browser sent it, percent-escapes included, and never empty. An empty token is none, as for a
// session without a login. An error refuses the request with 400, and its text goes nowhere. Nobody has verified the
// value: read must be quick, and safe for concurrent use.
func FromCookieFunc(name string, read func(value string) (token string, err error)) Extractor {
	return Extractor{credential.Place{Source: credential.FromCookieFunc, Name: name, Read: read}}
}

// FromProxy takes the token from a header that a proxy in front of this server adds for visitors who are logged in
// there: "Authorization" (oauth2-proxy), "Cf-Access-Jwt-Assertion" (Cloudflare Access), "X-Goog-Iap-Jwt-Assertion"
// (Google). Its value is the token or "Bearer <token>", in Authorization the latter only; an empty value is no token.
//
// The proxy knows its visitors by a cookie, so their browsers bring the token along from any page: the rules of
// [FromCookie] hold, and a repeated header is refused with 400. Do not use [FromHeader] for such a header, not even for
// Authorization: it takes the token for one that was put there on purpose. The proxy has to take out a header of this
// name that comes from a client. As with cookies, the header stays in the request that is handed on.
func FromProxy(header string) Extractor {
	return Extractor{credential.Place{Source: credential.FromProxy, Name: http.CanonicalHeaderKey(header)}}
}

// FromSubprotocol takes the token from Sec-WebSocket-Protocol. Name says in which of two forms clients send it. With a
// final dot it is the prefix of the token's entry: with "bearer.", the token of
//
//	new WebSocket(url, ["chat.v1", "bearer." + token])
//
// Without a final dot it is an entry of its own, and the entry behind it is the token: with "access_token", that of
//
//	new WebSocket(url, ["access_token", token])
//
// In both forms the token may also be in base64url. It counts on WebSocket handshakes only and is refused with 400
// elsewhere; the request handed on does not have the token's entry any more. A browser gives a connection up if none of
// the protocols that it offered is selected, and the token's entry never is. With the first form, have it offer another
// one, one of yours or "wsauth". In the second, the first entry stays in the request, behind all others, for the server
// to select.
func FromSubprotocol(name string) Extractor {
	return Extractor{credential.Place{Source: credential.FromSubprotocol, Name: name}}
}

// FromFunc takes the token that f finds. An empty token is none; an error refuses the request with 400, and its text
// goes nowhere. What f finds is explicit: other sites must not be able to make a browser send it. It stays where it was
// in the request that is handed on.
func FromFunc(f func(*http.Request) (token string, err error)) Extractor {
	return Extractor{credential.Place{Source: credential.FromFunc, Func: f}}
}
