// Package origin reads and compares web origins (RFC 6454): scheme, host and port.
package origin

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// An Origin is what an Origin header names, or a pattern for such.
type Origin struct {
	scheme, host, port string // in lower case; the port is never empty for http and https
	subdomains         bool   // host is ".example.com" and stands for everything below it
}

// Parse reads an Origin header, which is no more than scheme, host and maybe port; "null" is none.
func Parse(text string) (Origin, error) {
	scheme, rest, ok := strings.Cut(lower(text), "://")
	if !ok || scheme == "" || rest == "" {
		return Origin{}, errors.New("not of the form scheme://host")
	}
	for _, b := range []byte(scheme + rest) {
		if !('a' <= b && b <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("+-._:[]*", b) >= 0) {
			hint := ""
			if b == '/' {
				hint = ": leave out the slash, and what is behind it"
			}
			return Origin{}, errors.New("has more than scheme, host and port, or a character that none of them has" + hint)
		}
	}
	host, port, ok := splitPort(rest)
	if !ok {
		return Origin{}, errors.New("malformed host or port")
	}
	return Origin{scheme: scheme, host: host, port: defaultPort(scheme, port)}, nil
}

// ParsePattern reads an origin that may have "*." before its host, which stands for one or more whole labels.
func ParsePattern(text string) (Origin, error) {
	o, err := Parse(text)
	if err != nil {
		return o, err
	}
	if rest, ok := strings.CutPrefix(o.host, "*."); ok {
		if _, err := netip.ParseAddr(rest); err == nil {
			return o, errors.New("an IP address has no subdomains")
		}
		o.host, o.subdomains = "."+rest, true
	}
	if o.scheme == "ws" || o.scheme == "wss" {
		return o, errors.New("the origin of a page is https:// or http://, also where it opens a WebSocket")
	}
	if strings.Contains(o.scheme+o.host, "*") || strings.Contains(o.host, "..") || strings.HasSuffix(o.host, ".") {
		return o, errors.New(`"*" may only stand for whole labels before the rest of a host name, as in https://*.example.com`)
	}
	return o, nil
}

// Matches reports whether other is o, or one of those that the pattern o stands for.
func (o Origin) Matches(other Origin) bool {
	if o.scheme != other.scheme || o.port != other.port {
		return false
	}
	if o.subdomains {
		label, ok := strings.CutSuffix(other.host, o.host)
		return ok && label != "" && !strings.HasPrefix(label, ".") && !strings.HasSuffix(label, ".")
	}
	return o.host == other.host
}

// IsAt reports whether o is the origin of a server that was asked for host, the Host of a request. A server behind
// a proxy that ends TLS does not see which scheme its visitors use; one that does TLS itself takes https only.
func (o Origin) IsAt(hostport string, overTLS bool) bool {
	if o.scheme != "https" && (o.scheme != "http" || overTLS) {
		return false
	}
	host, port, ok := splitPort(lower(hostport))
	return ok && host == o.host && defaultPort(o.scheme, port) == o.port
}

// splitPort splits a host, maybe an IPv6 address in brackets, from its port, if there is one.
func splitPort(hostport string) (host, port string, ok bool) {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 || strings.HasSuffix(hostport, "]") {
		host = hostport
	} else {
		host, port = hostport[:i], hostport[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
			return "", "", false
		}
	}
	inner, v6 := strings.CutPrefix(host, "[")
	if v6 {
		inner, v6 = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return host, port, v6 && err == nil && addr.Is6()
	}
	return host, port, host != "" && !strings.ContainsAny(host, ":[]")
}

func defaultPort(scheme, port string) string {
	switch {
	case port != "":
		return port
	case scheme == "https":
		return "443"
	case scheme == "http":
		return "80"
	}
	return ""
}

// lower is strings.ToLower for ASCII only: to that, the Kelvin sign is a k.
func lower(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return s // as nearly always, without a copy
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
