package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// limit is what nobody can do without: find the token, take it apart, check the signature with the standard library,
// and put something into the context. It looks at no claim, so it is no way to authenticate anybody.
func limit(k *mint.Key) (Check, error) {
	verify := standard(k)
	return func(r *http.Request) (*http.Request, error) {
		payload, err := verified(r, verify)
		if err != nil {
			return nil, err
		}
		return pass(r, payload), nil
	}, nil
}

// byHand is limit as one writes it down at first, with nothing pooled.
func byHand(k *mint.Key) (Check, error) {
	verify := standard(k)
	if secret, ok := k.Private.([]byte); ok {
		verify = func(signed, signature []byte) bool {
			mac := hmac.New(sha256.New, secret)
			mac.Write(signed)
			return hmac.Equal(mac.Sum(nil), signature)
		}
	}
	return func(r *http.Request) (*http.Request, error) {
		token, err := bearer(r)
		if err != nil {
			return nil, err
		}
		segments := strings.Split(token, ".")
		if len(segments) != 3 {
			return nil, errRejected
		}
		var decoded [3][]byte
		for i, segment := range segments {
			if decoded[i], err = encoding.DecodeString(segment); err != nil {
				return nil, err
			}
		}
		if !verify([]byte(segments[0]+"."+segments[1]), decoded[2]) {
			return nil, errRejected
		}
		return r.WithContext(context.WithValue(r.Context(), identityKey{}, decoded[1])), nil
	}, nil
}

// limitWithJSON reads the claims, too, as one would with encoding/json, and checks those that matter.
func limitWithJSON(k *mint.Key) (Check, error) {
	verify := standard(k)
	return func(r *http.Request) (*http.Request, error) {
		payload, err := verified(r, verify)
		if err != nil {
			return nil, err
		}
		c := new(claims)
		if err := json.Unmarshal(payload, c); err != nil {
			return nil, err
		}
		if now := time.Now().Unix(); c.Issuer != issuer || !slices.Contains(c.Audience, audience) ||
			now >= c.Expiry || now < c.NotBefore {
			return nil, errRejected
		}
		return pass(r, c), nil
	}, nil
}

type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  []string `json:"aud"`
	Expiry    int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	Scope     string   `json:"scope"`
}

// verified returns the payload of the request's token.
func verified(r *http.Request, verify func(signed, signature []byte) bool) ([]byte, error) {
	token, err := bearer(r)
	if err != nil {
		return nil, err
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	buf.token = append(buf.token[:0], token...)
	first, last := bytes.IndexByte(buf.token, '.'), bytes.LastIndexByte(buf.token, '.')
	if first == last {
		return nil, errRejected
	}
	if buf.decoded, err = encoding.AppendDecode(buf.decoded[:0], buf.token[:first]); err != nil {
		return nil, err
	}
	if buf.decoded, err = encoding.AppendDecode(buf.decoded[:0], buf.token[last+1:]); err != nil {
		return nil, err
	}
	if !verify(buf.token[:last], buf.decoded) {
		return nil, errRejected
	}
	encoded := buf.token[first+1 : last]
	return encoding.AppendDecode(make([]byte, 0, encoding.DecodedLen(len(encoded))), encoded)
}

var encoding = base64.RawURLEncoding

type buffer struct{ token, decoded []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// standard checks signatures with the standard library alone.
func standard(k *mint.Key) func(signed, signature []byte) bool {
	if secret, ok := k.Private.([]byte); ok {
		type state struct { // keyed once, and with room for the sum
			hash.Hash
			sum [sha256.Size]byte
		}
		states := sync.Pool{New: func() any { return &state{Hash: hmac.New(sha256.New, secret)} }}
		return func(signed, signature []byte) bool {
			mac := states.Get().(*state)
			defer states.Put(mac)
			mac.Reset()
			mac.Write(signed)
			return hmac.Equal(mac.Sum(mac.sum[:0]), signature)
		}
	}
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		return func(signed, signature []byte) bool {
			sum := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
		}
	case *ecdsa.PublicKey:
		return func(signed, signature []byte) bool {
			if len(signature) != 64 {
				return false
			}
			sum := sha256.Sum256(signed)
			var der [72]byte
			return ecdsa.VerifyASN1(p, sum[:], appendDER(der[:0], signature[:32], signature[32:]))
		}
	case ed25519.PublicKey:
		return func(signed, signature []byte) bool { return ed25519.Verify(p, signed, signature) }
	}
	panic(fmt.Sprintf("verify: a key of type %T", k.Public()))
}

// appendDER makes ASN.1 of r and s of P-256, which is all that crypto/ecdsa reads. That takes less than the big.Int
// that ecdsa.Verify is for.
func appendDER(der, r, s []byte) []byte {
	der = append(der, 0x30, 0) // a sequence; its length follows
	for _, n := range [...][]byte{r, s} {
		n = bytes.TrimLeft(n, "\x00")
		pad := len(n) == 0 || n[0] >= 0x80 // or it would be negative
		if pad {
			der = append(der, 0x02, byte(len(n)+1), 0)
		} else {
			der = append(der, 0x02, byte(len(n)))
		}
		der = append(der, n...)
	}
	der[1] = byte(len(der) - 2)
	return der
}
