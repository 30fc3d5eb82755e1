package credential

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wsauth/wsauth/internal/origin"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Origins are the origins that may connect, in addition to the server's own. For ambient tokens only the listed ones
// count.
type Origins struct {
	Listed []origin.Pattern
	Allow  func(r *http.Request, origin string) bool // of Options.AllowOrigin, for explicit tokens; may be nil
}

var (
	errForeign    = errors.New("the Origin is neither the server's own, which is its Host, nor one of Options.Origins")
	errNotAllowed = errors.New("the Origin is neither the server's own, which is its Host, nor one of Options.Origins, " +
		"and AllowOrigin does not allow it")
	errNoOrigin      = errors.New("a cookie without one Origin")
	errNoOriginProxy = errors.New("a token that a proxy added, without one Origin")
)

// checkAmbient stands between a cookie and cross-site WebSocket hijacking (RFC 6455 section 10.2). SameSite is not a
// substitute: a sibling domain is the same site. AllowOrigin is not asked: it is written for clients that send a token
// on purpose, such as any browser extension, and an origin that it allows must not be able to use a visitor's cookie.
func (os Origins) checkAmbient(r *http.Request, from Source) error {
	o, ok := originOf(r)
	if ok && o.IsPage() && os.listsOwned(o) {
		return nil
	}
	if MayUpgrade(r) {
		switch {
		case !ok && from == FromProxy:
			return foreign(r, errNoOriginProxy)
		case !ok:
			return foreign(r, errNoOrigin)
		case !o.IsPage(), !o.IsAt(r.Host, r.TLS != nil):
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

// NotForCookies returns the indices of the patterns that anybody can match, if any of places is ambient: such patterns
// do not count there.
func (os Origins) NotForCookies(places []Place) (open []int) {
	if !slices.ContainsFunc(places, func(p Place) bool { return p.Source.isAmbient() }) {
		return nil
	}
	for i, listed := range os.Listed {
		if listed.IsOpen() {
			open = append(open, i)
		}
	}
	return open
}

// foreign returns a refusal with the Origin and the Host, so that an operator can tell an attack from a missing option.
func foreign(r *http.Request, why error) error {
	origins := r.Header["Origin"]
	return refusal.New(refusal.ErrOrigin, fmt.Errorf("%w: Origin %.200q, Host %.200q", why, origins[:min(len(origins), 2)], r.Host))
}

// Check refuses a handshake from a foreign origin, wherever its token is. A client without an Origin is not a browser.
func (os Origins) Check(r *http.Request) error {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return nil
	}
	if o, ok := originOf(r); ok && (o.IsAt(r.Host, r.TLS != nil) || os.lists(o)) {
		return nil
	}
	if os.Allow == nil {
		return foreign(r, errForeign)
	}
	if len(values) == 1 && isOneOrigin(values[0]) && os.Allow(r, values[0]) {
		return nil
	}
	return foreign(r, errNotAllowed)
}

// isOneOrigin reports whether AllowOrigin can be asked about an Origin header. A list (RFC 6454 section 7.1) has two
// readings: "https://evil.example https://a.example.com" ends in .example.com. The function is asked about "null",
// though, which pages in files and sandboxed frames send: such a page has a token only if somebody gave it one.
func isOneOrigin(text string) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b >= 0x7f || b == ',' {
			return false
		}
	}
	return text != ""
}

// originOf reads the Origin header. "null" counts as none, and so does a repeated header.
func originOf(r *http.Request) (origin.Origin, bool) {
	values := r.Header["Origin"]
	if len(values) != 1 {
		return origin.Origin{}, false
	}
	o, err := origin.Parse(values[0])
	return o, err == nil
}

func (os Origins) lists(o origin.Origin) bool {
	return slices.ContainsFunc(os.Listed, func(listed origin.Pattern) bool { return listed.Matches(o) })
}

// listsOwned is lists without the patterns that anybody can match: a cookie counts only for sites that are named.
func (os Origins) listsOwned(o origin.Origin) bool {
	return slices.ContainsFunc(os.Listed, func(listed origin.Pattern) bool { return !listed.IsOpen() && listed.Matches(o) })
}
