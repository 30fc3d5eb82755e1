package credential

import (
	"net/http"
	"strings"
)

// IsHandshake reports whether r opens a WebSocket (RFC 6455 section 4.2.1).
func IsHandshake(r *http.Request) bool {
	return r.Method == http.MethodGet && headerContains(r.Header["Connection"], "upgrade") && headerContains(r.Header["Upgrade"], "websocket")
}

// MayUpgrade reports whether any handler could treat r as a handshake: it has an Upgrade header or a WebSocket key, or
// is the CONNECT of RFC 8441. A wrong answer would let a cookie in without its Origin.
func MayUpgrade(r *http.Request) bool {
	return len(r.Header["Upgrade"]) > 0 || len(r.Header["Sec-Websocket-Key"]) > 0 || r.Method == http.MethodConnect
}

func headerContains(values []string, token string) bool {
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(entry, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// wantsEvents reports whether r asks for server-sent events, as EventSource does (HTML section 9.2.2).
func wantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && headerContains(r.Header["Accept"], "text/event-stream") && !MayUpgrade(r)
}
