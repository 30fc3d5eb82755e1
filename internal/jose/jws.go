// Package jose reads compact JSON Web Signatures and JSON Web Keys, strictly, and checks signatures.
//
// It is the only package that imports jwx, which here turns key material into Go's own key types and nothing
// else. Tokens are taken apart here: jwx accepts serializations, encodings and members that RFC 8725 would
// have refused, and what it accepts depends on settings that any package of the process may change.
package jose

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/wsauth/wsauth/internal/memory"
)

// The operator may choose up to which length, in bytes, tokens are read. The work that anybody can cause grows with it.
const (
	DefaultMaxLength = 8 << 10
	LargestMaxLength = 64 << 10
)

// maxKeyID is the length in bytes of the longest kid or thumbprint that is read.
const maxKeyID = 256

// ErrForm says that a text does not have the form of a compact JWS. If Parse returns another error, the text consists
// of base64url characters and dots only, or is too long to be examined.
var ErrForm = errors.New("not three canonical base64url segments with two dots")

// A Header is what the protected header of a token says, as far as it matters here. Members that would bring a key
// along (jwk, jku, x5u, x5c) are ignored: the key comes from the issuer's set, never from the token. A thumbprint does
// not bring a key, but names one of the set.
type Header struct {
	Alg     Alg
	KeyID   string // kid; empty: none
	Type    string // typ in lower case and without "application/"; empty: none
	X5T     string // x5t, as thumbprint returns it; empty: none
	X5TS256 string // x5t#S256, in the same way
}

// A Token is a compact JWS (RFC 7515 section 7.1), split and decoded. Nothing in it is verified.
type Token struct {
	Header  Header
	Payload string

	header    string // the segment
	known     bool   // the Parser remembered the header
	signed    string // header and payload with the dot between them, as sent
	signature string // as sent, in base64url
	verified  bool   // by some key
}

// A Parser reads tokens. It remembers the headers of verified tokens: an issuer's tokens have only a few different
// headers, and reading their JSON again for each token would cost about as much as an HMAC.
type Parser struct {
	maxLength int
	tooLong   error
	known     *memory.Memory[Header] // nil: nothing is remembered
}

// NewParser returns a Parser that remembers 64 headers and reads tokens of at most maxLength bytes. Zero means
// DefaultMaxLength; more than LargestMaxLength counts as LargestMaxLength.
func NewParser(maxLength int) *Parser {
	p := newParser(min(cmp.Or(maxLength, DefaultMaxLength), LargestMaxLength))
	p.known = memory.New[Header](64)
	return p
}

func newParser(maxLength int) *Parser {
	return &Parser{maxLength: maxLength, tooLong: fmt.Errorf("longer than %d bytes", maxLength)}
}

// MaxLength returns the length in bytes of the longest token that p reads.
func (p *Parser) MaxLength() int { return p.maxLength }

var forgetful = newParser(DefaultMaxLength)

// Parse reads a token of at most DefaultMaxLength bytes. Errors never contain any part of it.
func Parse(token string) (Token, error) { return forgetful.Parse(token) }

// Parse reads a token, except a header that p remembers. Errors never contain any part of it.
func (p *Parser) Parse(token string) (Token, error) {
	if len(token) > p.maxLength {
		return Token{}, p.tooLong
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

	buf := getScratch(len(token))
	defer putScratch(buf)
	var err error
	text := ""
	if t.Header, t.known = p.find(header); !t.known {
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
	buf := getScratch(len(t.signed) + len(t.signature))
	defer putScratch(buf)
	n, ok := decodeBase64url(buf.raw, t.signature)
	ok = ok && k.verify(t.Header.Alg, append(buf.text[:0], t.signed...), buf.raw[:n])
	t.verified = t.verified || ok
	return ok
}

func (p *Parser) find(segment string) (Header, bool) {
	if p.known == nil {
		return Header{}, false
	}
	if known := p.known.Get(segment); known != nil {
		return *known, true
	}
	return Header{}, false
}

// Remember remembers the header of t if t is verified: unverified tokens must not fill the memory.
func (p *Parser) Remember(t *Token) {
	if p.known == nil || t.known || !t.verified {
		return
	}
	header := t.Header
	header.KeyID, header.Type = strings.Clone(header.KeyID), strings.Clone(header.Type)
	header.X5T, header.X5TS256 = strings.Clone(header.X5T), strings.Clone(header.X5TS256)
	p.known.Put(t.header, header, func(*Header) bool { return false })
}

func decodeSegment(buf *scratch, segment string) (string, error) {
	n, ok := decodeBase64url(buf.raw, segment)
	if !ok {
		return "", ErrForm
	}
	return string(buf.raw[:n]), nil
}

// scratch has room for a token and for one of its segments, decoded. It is pooled, so that reading a token allocates no
// more than what is kept of the token.
type scratch struct{ text, raw []byte }

// scratches are pools for tokens of up to 8, 16, 32 and 64 KiB: a short token need not take the room of the longest.
var scratches [4]sync.Pool

func getScratch(length int) *scratch {
	class := scratchClass(length)
	if buf, ok := scratches[class].Get().(*scratch); ok {
		return buf
	}
	size := DefaultMaxLength << class
	return &scratch{make([]byte, size), make([]byte, size)}
}

func putScratch(buf *scratch) { scratches[scratchClass(len(buf.raw))].Put(buf) }

func scratchClass(length int) int {
	class := 0
	for DefaultMaxLength<<class < length {
		class++
	}
	return class
}

// knownHeaders are the header names that mean something here, by their folded names: only one letter case of each is
// accepted.
var knownHeaders = map[string]string{
	"alg": "alg", "kid": "kid", "typ": "typ", "cty": "cty", "crit": "crit", "b64": "b64", "zip": "zip", "enc": "enc",
	"jwk": "jwk", "jku": "jku", "x5u": "x5u", "x5c": "x5c", "x5t": "x5t", "x5t#s256": "x5t#S256",
}

func parseHeader(text string) (Header, error) {
	var h Header
	hasAlg := false
	err := walkObject(text, func(m member) error {
		if m.value == "null" && mayBeNull(m.name) {
			return nil
		}
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
		case "x5t":
			h.X5T = thumbprint(m)
		case "x5t#S256":
			h.X5TS256 = thumbprint(m)
		case "crit", "b64", "zip", "enc":
			// RFC 7515 section 4.1.11: what crit names must be understood, and this library understands no extension.
			// RFC 7797 (b64) and zip change what is signed or read; enc says that the token is not a JWS.
			return errors.New(m.name + ": not supported")
		default:
			if known := knownHeaders[m.folded]; known != "" && known != m.name {
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

// mayBeNull reports whether a header parameter counts as absent if it is null, as some serializers write it. crit, b64,
// zip and enc do not: they must not be there in any form.
func mayBeNull(name string) bool {
	return name == "alg" || name == "kid" || name == "typ" || name == "x5t" || name == "x5t#S256"
}

// thumbprint reads an x5t or x5t#S256 (RFC 7515 section 4.1.7) in the form in which they are compared: without padding,
// and with the characters of base64url. It is compared and never decoded: some issuers write something other than the
// base64url of a hash (the base64url of its hexadecimal form, or a name), and a thumbprint only chooses among keys that
// are trusted anyway. For the same reason, a value that is not a string, or is too long, counts as no thumbprint.
func thumbprint(m member) string {
	s, ok := m.str()
	if !ok || len(s) > maxKeyID {
		return ""
	}
	return standardToURL.Replace(strings.TrimRight(s, "="))
}

var standardToURL = strings.NewReplacer("+", "-", "/", "_")

// MediaType brings a typ into the form in which types are compared: RFC 7515 section 4.1.9 allows leaving
// "application/" out, and the letter case of media types does not matter. Only ASCII letters are folded: no other
// spelling is the same type.
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
