package jose

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ParsePEM reads the public keys in PEM blocks (RFC 7468): SubjectPublicKeyInfo, PKCS #1, or a certificate. Text around
// the blocks is a comment, as openssl writes it.
func ParsePEM(text []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	blocks := 0
	for rest := text; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", blocks, err)
		}
		keys = append(keys, key)
	}
	if strings.Count(string(text), "-----BEGIN") != blocks { // pem.Decode skips malformed blocks
		return nil, errors.New("a PEM block that is malformed")
	}
	if blocks == 0 {
		return nil, errors.New("no PEM block: this is the text of the keys, not the name of a file")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (key crypto.PublicKey, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("a private key: give the public one")
		}
		return nil, errors.New("neither PUBLIC KEY, RSA PUBLIC KEY nor CERTIFICATE")
	}
	if err != nil {
		return nil, errors.New("not a key that can be read")
	}
	return key, nil
}
