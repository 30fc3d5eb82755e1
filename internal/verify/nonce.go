package verify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// Nonces makes the nonces that a server demands in DPoP proofs (RFC 9449 section 8). A nonce is a MAC of the period in
// which it is given out, so nothing has to be stored, and servers that share the secret accept each other's.
type Nonces struct {
	secret []byte
	period time.Duration
}

// NewNonces returns nonces that are accepted for at least one period and at most two.
func NewNonces(secret []byte, period time.Duration) *Nonces {
	return &Nonces{append([]byte("wsauth dpop nonce "), secret...), period}
}

// Current returns the nonce to give out now.
func (n *Nonces) Current(now time.Time) string { return n.of(n.number(now)) }

// Has reports whether nonce is one of this period or the last, or of the next: the clock of the server that gave it out
// may be ahead.
func (n *Nonces) Has(nonce string, now time.Time) bool {
	number, found := n.number(now), false
	for _, i := range []int64{number, number - 1, number + 1} {
		found = hmac.Equal([]byte(nonce), []byte(n.of(i))) || found
	}
	return found
}

func (n *Nonces) number(now time.Time) int64 { return now.UnixNano() / int64(n.period) }

func (n *Nonces) of(number int64) string {
	mac := hmac.New(sha256.New, n.secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(number)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
