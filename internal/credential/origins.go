package credential

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/wsauth/wsauth/internal/origin"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Origins are those that may connect, besides the server's own.
type Origins []origin.Origin

var (
	errForeign  = errors.New("the Origin is neither the server's own, which is its Host, nor one of Options.Origins")
	errNoOrigin = errors.New("a cookie without one Origin")
)

// checkCookie is what stands between a cookie and cross-site WebSocket hijacking (RFC 6455 section 10.2).
// SameSite is no substitute: a sibling domain is the same site.
func (listed Origins) checkCookie(r *http.Request) error {
	o, ok := originOf(r)
	if ok && listed.has(o) {
		return nil
	}
	if MayUpgrade(r) {
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
	return refusal.New(refusal.ErrOrigin, fmt.Errorf("%w: Origin %.200q, Host %.200q", why, origins[:min(len(origins), 2)], r.Host))
}

// Check refuses a handshake from a foreign origin, whatever carries its token. No Origin is no browser.
func (listed Origins) Check(r *http.Request) error {
	if len(r.Header["Origin"]) == 0 {
		return nil
	}
	if o, ok := originOf(r); ok && (o.IsAt(r.Host, r.TLS != nil) || listed.has(o)) {
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

func (listed Origins) has(o origin.Origin) bool {
	for _, pattern := range listed {
		if pattern.Matches(o) {
			return true
		}
	}
	return false
}
