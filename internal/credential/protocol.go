package credential

import (
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
)

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

func hideProtocol(r *http.Request, prefix string) {
	const key = "Sec-Websocket-Protocol"
	if !offersPrefix(r.Header[key], prefix) {
		return
	}
	var left []string
	for _, v := range r.Header[key] {
		for entry := range strings.SplitSeq(v, ",") {
			if entry = strings.TrimSpace(entry); entry != "" && !strings.HasPrefix(entry, prefix) {
				left = append(left, entry)
			}
		}
	}
	r.Header = maps.Clone(r.Header)
	delete(r.Header, key)
	if len(left) > 0 {
		r.Header[key] = []string{strings.Join(left, ", ")}
	}
}

func offersPrefix(values []string, prefix string) bool {
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			if strings.HasPrefix(strings.TrimSpace(entry), prefix) {
				return true
			}
		}
	}
	return false
}

// Protocols are the entries of Sec-WebSocket-Protocol, those that carry a token included.
func Protocols(r *http.Request) []string {
	var all []string
	for _, v := range r.Header["Sec-Websocket-Protocol"] {
		for entry := range strings.SplitSeq(v, ",") {
			if entry = strings.TrimSpace(entry); entry != "" {
				all = append(all, entry)
			}
		}
	}
	return all
}
