package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkix(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return block("PUBLIC KEY", der)
}

func pkcs8(t *testing.T, private any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

// certificate is one of long ago, that k has signed itself.
func certificate(t *testing.T, k *mint.Key) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der)
}

func TestPublicKeysAreReadFromPEM(t *testing.T) {
	rs, es, ed := mint.New("RS256", ""), mint.New("ES384", ""), mint.New("EdDSA", "")
	pkcs1 := block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(rs.Public().(*rsa.PublicKey)))
	for name, row := range map[string]struct {
		text string
		want []*mint.Key
	}{
		"RSA":                   {pkix(t, rs.Public()), []*mint.Key{rs}},
		"RSA, PKCS #1":          {pkcs1, []*mint.Key{rs}},
		"ECDSA":                 {pkix(t, es.Public()), []*mint.Key{es}},
		"Ed25519":               {pkix(t, ed.Public()), []*mint.Key{ed}},
		"a certificate":         {certificate(t, es), []*mint.Key{es}},
		"several":               {pkix(t, ed.Public()) + pkcs1 + certificate(t, es), []*mint.Key{ed, rs, es}},
		"text around":           {"the key:\n" + pkix(t, ed.Public()) + "\nthat was it\n", []*mint.Key{ed}},
		"line ends of Windows":  {strings.ReplaceAll(pkix(t, ed.Public()), "\n", "\r\n"), []*mint.Key{ed}},
		"no newline at the end": {strings.TrimSpace(pkix(t, ed.Public())), []*mint.Key{ed}},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParsePEM([]byte(row.text))
			if err != nil || len(keys) != len(row.want) {
				t.Fatalf("%d keys, %v", len(keys), err)
			}
			for i, k := range keys {
				if !k.(interface{ Equal(crypto.PublicKey) bool }).Equal(row.want[i].Public()) {
					t.Errorf("key %d is another", i)
				}
			}
		})
	}
}

func TestWhatIsNoPublicKeyInPEMIsRefusedWhole(t *testing.T) {
	ed := mint.New("EdDSA", "")
	good := pkix(t, ed.Public())
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                     "",
		"the name of a file":          "/etc/keys/public.pem",
		"a private key":               pkcs8(t, ed.Private),
		"a private key among others":  good + pkcs8(t, ed.Private),
		"a private key called public": strings.ReplaceAll(pkcs8(t, ed.Private), "PRIVATE", "PUBLIC"),
		"a key called a certificate":  strings.ReplaceAll(good, "PUBLIC KEY", "CERTIFICATE"),
		"a certificate request":       strings.ReplaceAll(good, "PUBLIC KEY", "CERTIFICATE REQUEST"),
		"cut off":                     good[:len(good)-30],
		"the second cut off":          good + good[:len(good)-30],
		"the first one malformed":     strings.Replace(good, "M", "*", 1) + good,
		"another line at the end":     strings.Replace(good, "-----END PUBLIC", "-----END PRIVATE", 1),
		"nothing in it":               block("PUBLIC KEY", nil),
		"rubbish in it":               block("PUBLIC KEY", []byte("rubbish")),
		"something behind the key":    block("PUBLIC KEY", append(der(t, good), 0)),
		"RSA behind the wrong name":   strings.ReplaceAll(good, "PUBLIC KEY", "RSA PUBLIC KEY"),
	} {
		t.Run(name, func(t *testing.T) {
			if keys, err := ParsePEM([]byte(text)); err == nil {
				t.Errorf("%d keys", len(keys))
			}
		})
	}
	// It is a public key, but not one that signs: NewPublicKey refuses it.
	keys, err := ParsePEM([]byte(pkix(t, x25519.PublicKey())))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if _, err := NewPublicKey(keys[0]); err == nil {
		t.Error("X25519 is taken for a key that signs")
	}
}

func der(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	return bytes.Clone(block.Bytes)
}
