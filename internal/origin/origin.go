// Package origin reads and compares web origins (RFC 6454): scheme, host and port.
package origin

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// An Origin is what an Origin header names.
type Origin struct {
	scheme, host, port string // in lower case; the port is never empty for http and https
	ofClient           bool   // it came as ws:// or wss://
}

// Parse reads an Origin header, which consists of a scheme, a host and perhaps a port; "null" is not an origin. Apps
// and extensions have schemes of their own, some of them without a host (file://). A client that is not a browser may
// name the scheme with which it connects: wss counts as https, and ws as http.
func Parse(text string) (Origin, error) {
	o, err := parse(text)
	if err == nil && strings.Contains(o.host+o.port, "*") {
		err = errCharacter("")
	}
	if err != nil {
		return Origin{}, err
	}
	switch o.scheme {
	case "wss":
		o.scheme, o.ofClient = "https", true
	case "ws":
		o.scheme, o.ofClient = "http", true
	}
	return o, nil
}

// parse reads an origin or a pattern: it allows "*" in the host and as the port.
func parse(text string) (Origin, error) {
	scheme, rest, ok := strings.Cut(lower(text), "://")
	if !ok || !isScheme(scheme) || rest == "" && isWeb(scheme) {
		return Origin{}, errors.New("not of the form scheme://host")
	}
	for _, b := range []byte(rest) {
		if !('a' <= b && b <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("+-._:[]*", b) >= 0) {
			if b == '/' {
				return Origin{}, errCharacter(": leave out the slash, and what is behind it")
			}
			return Origin{}, errCharacter("")
		}
	}
	if rest == "" {
		return Origin{scheme: scheme}, nil
	}
	host, port, ok := splitPort(rest)
	if !ok {
		return Origin{}, errors.New("malformed host or port")
	}
	return Origin{scheme: scheme, host: host, port: defaultPort(scheme, port)}, nil
}

func errCharacter(hint string) error {
	return errors.New("has more than scheme, host and port, or a character that none of them has" + hint)
}

// isWeb reports whether an origin with this scheme must have a host.
func isWeb(scheme string) bool {
	return scheme == "https" || scheme == "http" || scheme == "wss" || scheme == "ws"
}

// isScheme applies RFC 3986 section 3.1.
func isScheme(s string) bool {
	for i, b := range []byte(s) {
		if !('a' <= b && b <= 'z' || i > 0 && ('0' <= b && b <= '9' || strings.IndexByte("+-.", b) >= 0)) {
			return false
		}
	}
	return s != ""
}

// IsPage reports whether o may be the origin of a page, which has the scheme of the page and never that of a WebSocket.
// A client that sends wss:// is a program: it can send a token on purpose, so the rules for cookies need not be
// loosened for it.
func (o Origin) IsPage() bool { return !o.ofClient }

// IsAt reports whether o is the origin of a server that was asked for host, the Host of a request. A server behind a
// proxy that ends TLS does not see which scheme its visitors use; a server that does TLS itself accepts https only.
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
		if n, err := strconv.ParseUint(port, 10, 16); port != "*" && (err != nil || port != strconv.FormatUint(n, 10)) {
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
	case scheme == "https", scheme == "wss":
		return "443"
	case scheme == "http", scheme == "ws":
		return "80"
	}
	return ""
}

// lower is strings.ToLower for ASCII only: strings.ToLower would turn the Kelvin sign into a k.
func lower(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return s // nearly always; it saves a copy
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
