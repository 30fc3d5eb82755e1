package jose

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// A Binding says what a token is bound to (RFC 7800 section 3): whoever sends the token must prove that they have the
// key or the certificate. Both members may be set, and then both must be proven. A bearer token has the zero Binding.
type Binding struct {
	Key         string // cnf.jkt: thumbprint of the key of a DPoP proof (RFC 9449 section 6.1); empty: not bound
	Certificate string // cnf.x5t#S256: thumbprint of a client certificate (RFC 8705 section 3.1); empty: not bound
}

// readBinding reads cnf. It refuses an unknown confirmation method: if wsauth ignored a binding, the token would lose
// the protection that its issuer gave it.
func readBinding(cnf string) (b Binding, err error) {
	if cnf[0] != '{' {
		return b, errors.New("cnf: not an object")
	}
	err = walkObject(cnf, func(m member) (err error) {
		switch m.name {
		case "jkt":
			b.Key, err = sha256Thumbprint(m)
		case "x5t#S256":
			b.Certificate, err = sha256Thumbprint(m)
		default:
			err = errors.New("cnf: bound by a method that is not supported")
		}
		return err
	})
	if err == nil && b == (Binding{}) {
		err = errors.New("cnf: empty")
	}
	return b, err
}

// sha256Thumbprint reads the base64url of a SHA-256 hash, in its only spelling.
func sha256Thumbprint(m member) (string, error) {
	s, ok := m.str()
	if !ok || !IsSHA256(s) {
		return "", fmt.Errorf("cnf: %s is not the base64url of a SHA-256 hash", m.name)
	}
	return s, nil
}

// IsSHA256 reports whether s is the canonical base64url of 32 bytes.
func IsSHA256(s string) bool {
	var room [sha256Text]byte
	if len(s) != sha256Text {
		return false
	}
	_, ok := decodeBase64url(room[:], s)
	return ok
}

// SHA256 returns the base64url of the SHA-256 hash of data, the form of all thumbprints here.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return encode(sum[:])
}

// sha256Text is the length of the base64url of a SHA-256 hash.
const sha256Text = 43
