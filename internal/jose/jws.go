// Package jose reads compact JSON Web Signatures and JSON Web Keys, strictly, and checks signatures.
//
// It is the only package that imports jwx, which here turns key material into Go's own key types and nothing
// else. Tokens are taken apart here: jwx accepts serializations, encodings and members that RFC 8725 would
// have refused, and what it accepts depends on settings that any package of the process may change.
package jose

import (
	"errors"
	"strings"
	"sync"

	"github.com/wsauth/wsauth/internal/memory"
)

// MaxLength is the length in bytes of the longest token that is read at all.
const MaxLength = 8192

const maxKeyID = 256

var errLength = errors.New("longer than 8192 bytes")

// ErrForm is the error of what is no compact JWS by its characters. All others have none but those of base64url and
// dots, or are too long to be looked at.
var ErrForm = errors.New("not three canonical base64url segments with two dots")

// A Header is what the protected header of a token says, as far as it matters here. Members that would bring a
// key along (jwk, jku, x5u, x5c) are ignored: the key comes from the issuer's set, never from the token.
type Header struct {
	Alg   Alg
	KeyID string // kid; empty: none
	Type  string // typ in lower case and without "application/"; empty: none
}

// A Token is a compact JWS (RFC 7515 section 7.1) taken apart. Nothing in it is verified.
type Token struct {
	Header  Header
	Payload string

	header    string // its segment
	known     bool   // the header was remembered
	signed    string // header and payload with the dot between them, as they came
	signature string // as it came, in base64url
	verified  bool   // by some key
}

// Parse takes a token apart. Errors never contain any part of it.
func Parse(token string) (Token, error) { return (*Headers)(nil).Parse(token) }

// Parse is [Parse], but does not read a header that h remembers.
func (h *Headers) Parse(token string) (Token, error) {
	if len(token) > MaxLength {
		return Token{}, errLength
	}
	header, rest, ok := strings.Cut(token, ".")
	if !ok {
		return Token{}, ErrForm
	}
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || payload == "" || !isBase64url(signature) {
		return Token{}, ErrForm
	}
	t := Token{header: header, signed: token[:len(header)+1+len(payload)], signature: signature}

	buf := getScratch()
	defer putScratch(buf)
	var err error
	text := ""
	if t.Header, t.known = h.find(header); !t.known {
		if text, err = decodeSegment(buf, header); err != nil {
			return Token{}, err
		}
	}
	if t.Payload, err = decodeSegment(buf, payload); err != nil {
		return Token{}, err
	}
	if !t.known {
		if t.Header, err = parseHeader(text); err != nil {
			return Token{}, err
		}
	}
	return t, nil
}

// VerifiedBy reports whether k, used with the algorithm that the header names, made the signature.
func (t *Token) VerifiedBy(k *Key) bool {
	buf := getScratch()
	defer putScratch(buf)
	n, ok := decodeBase64url(buf.raw[:], t.signature)
	ok = ok && k.verify(t.Header.Alg, append(buf.text[:0], t.signed...), buf.raw[:n])
	t.verified = t.verified || ok
	return ok
}

// Headers remembers what the header segments of verified tokens say: an issuer's tokens have a few different ones, and
// reading JSON again for each token would cost about as much as an HMAC.
type Headers struct{ known *memory.Memory[Header] }

// NewHeaders makes a memory for 64 headers.
func NewHeaders() *Headers { return &Headers{memory.New[Header](64)} }

func (h *Headers) find(segment string) (Header, bool) {
	if h == nil {
		return Header{}, false
	}
	if known := h.known.Get(segment); known != nil {
		return *known, true
	}
	return Header{}, false
}

// Remember remembers the header of t, if it is verified: nobody else may fill the memory.
func (h *Headers) Remember(t *Token) {
	if t.known || !t.verified {
		return
	}
	header := t.Header
	header.KeyID, header.Type = strings.Clone(header.KeyID), strings.Clone(header.Type)
	h.known.Put(t.header, header, func(*Header) bool { return false })
}

func decodeSegment(buf *scratch, segment string) (string, error) {
	n, ok := decodeBase64url(buf.raw[:], segment)
	if !ok {
		return "", ErrForm
	}
	return string(buf.raw[:n]), nil
}

// scratch has room for a token and for what one of its segments decodes to. It is pooled, so that taking a
// token apart allocates no more than what is kept of it.
type scratch struct {
	text [MaxLength]byte
	raw  [MaxLength]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func getScratch() *scratch  { return scratches.Get().(*scratch) }
func putScratch(s *scratch) { scratches.Put(s) }

// knownHeaders are the header names that mean something here, in the only letter case they may have.
var knownHeaders = map[string]bool{
	"alg": true, "kid": true, "typ": true, "cty": true, "crit": true, "b64": true, "zip": true, "enc": true,
	"jwk": true, "jku": true, "x5u": true, "x5c": true, "x5t": true,
}

func parseHeader(text string) (Header, error) {
	var h Header
	hasAlg := false
	err := walkObject(text, func(m member) error {
		switch m.name {
		case "alg":
			s, ok := m.str()
			if h.Alg, hasAlg = ParseAlg(s); !ok || !hasAlg {
				return errors.New("alg: not an algorithm that is supported")
			}
		case "kid":
			s, ok := m.str()
			if !ok || len(s) > maxKeyID {
				return errors.New("kid: not a string of at most 256 bytes")
			}
			h.KeyID = s
		case "typ":
			s, ok := m.str()
			if h.Type = MediaType(s); !ok || s == "" || h.Type == "application/" {
				return errors.New("typ: not a media type")
			}
		case "crit", "b64", "zip", "enc":
			// RFC 7515 section 4.1.11: what crit names must be understood, and nothing is. RFC 7797 (b64) and
			// zip change what is signed or read; enc says that this is no JWS.
			return errors.New(m.name + ": not supported")
		default:
			if knownHeaders[m.folded] && m.name != m.folded {
				return errors.New("a registered header name in another letter case")
			}
		}
		return nil
	})
	if err == nil && !hasAlg {
		err = errors.New("alg: missing")
	}
	return h, err
}

// MediaType brings a typ into the form in which types are compared: RFC 7515 section 4.1.9 lets "application/" be left
// out, and media types know no letter case. Only ASCII letters are folded: no other spelling is the same type.
func MediaType(typ string) string {
	lower := []byte(typ)
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	short := strings.TrimPrefix(string(lower), "application/")
	if short == "" {
		return string(lower)
	}
	return short
}
