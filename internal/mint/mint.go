// Package mint makes keys and tokens for tests and for wsauth-dev. It can make any bad token, too, since it signs
// header and payload as they are.
package mint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.Hash
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strconv"
	"time"
)

// Algorithms are all algorithms that a Key can have.
var Algorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA"}

// A Key signs tokens with one algorithm.
type Key struct {
	Alg     string
	ID      string // kid; empty: none
	Private any    // []byte, *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey
}

// New makes a key. It panics if there is no such algorithm.
func New(alg, kid string) *Key {
	var private any
	var err error
	switch alg {
	case "HS256", "HS384", "HS512":
		secret := make([]byte, 64)
		rand.Read(secret)
		private = secret
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		panic("mint: no algorithm " + alg)
	}
	if err != nil {
		panic(err)
	}
	return &Key{Alg: alg, ID: kid, Private: private}
}

// Public returns the public key; a secret has none.
func (k *Key) Public() crypto.PublicKey { return k.Private.(crypto.Signer).Public() }

// Header is the protected header that Token uses.
func (k *Key) Header() map[string]any {
	h := map[string]any{"alg": k.Alg, "typ": "JWT"}
	if k.ID != "" {
		h["kid"] = k.ID
	}
	return h
}

// Token signs a token with these claims. Unless they have an exp, it is in an hour. A nil value leaves the claim out.
func (k *Key) Token(claims map[string]any) string {
	all := map[string]any{"exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return k.Sign(JSON(k.Header()), JSON(all))
}

// Sign makes a compact JWS from any header and payload.
func (k *Key) Sign(header, payload string) string {
	signed := Base64([]byte(header)) + "." + Base64([]byte(payload))
	return signed + "." + Base64(k.Signature(signed))
}

// Signature signs the part of a token before its second dot.
func (k *Key) Signature(signed string) []byte {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.Alg[2:]]
	switch private := k.Private.(type) {
	case []byte:
		mac := hmac.New(hash.New, private)
		mac.Write([]byte(signed))
		return mac.Sum(nil)
	case ed25519.PrivateKey:
		return ed25519.Sign(private, []byte(signed))
	case crypto.Signer:
		h := hash.New()
		h.Write([]byte(signed))
		var opts crypto.SignerOpts = hash
		if k.Alg[0] == 'P' {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		der, err := private.Sign(rand.Reader, h.Sum(nil), opts)
		if err != nil {
			panic(err)
		}
		if ec, ok := private.(*ecdsa.PrivateKey); ok {
			return fixed(der, (ec.Curve.Params().BitSize+7)/8)
		}
		return der
	}
	panic(fmt.Sprintf("mint: a key of type %T", k.Private))
}

// fixed brings r and s from ASN.1 into the form of RFC 7518 section 3.4.
func fixed(der []byte, size int) []byte {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		panic(err)
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out
}

// JWK returns the public key as a JWK, with kid, alg and use; a secret becomes an oct.
func (k *Key) JWK() map[string]any {
	jwk := map[string]any{"alg": k.Alg, "use": "sig"}
	if k.ID != "" {
		jwk["kid"] = k.ID
	}
	if secret, ok := k.Private.([]byte); ok {
		jwk["kty"], jwk["k"] = "oct", Base64(secret)
		return jwk
	}
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", Base64(p.N.Bytes()), Base64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
		jwk["kty"], jwk["crv"] = "EC", "P-"+strconv.Itoa(p.Curve.Params().BitSize)
		jwk["x"], jwk["y"] = Base64(x), Base64(y)
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", Base64(p)
	}
	return jwk
}

// Set returns a JWK Set.
func Set(jwks ...map[string]any) []byte {
	if jwks == nil {
		jwks = []map[string]any{}
	}
	return []byte(JSON(map[string]any{"keys": jwks}))
}

// SetOf returns the JWK Set of keys.
func SetOf(keys ...*Key) []byte {
	var jwks []map[string]any
	for _, k := range keys {
		jwks = append(jwks, k.JWK())
	}
	return Set(jwks...)
}

// JSON marshals v.
func JSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Base64 is base64url without padding.
func Base64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Proof makes a DPoP proof with these claims. changes replace members of its header; a nil value leaves a member out.
func (k *Key) Proof(claims map[string]any, changes ...map[string]any) string {
	jwk := k.JWK()
	for _, name := range []string{"alg", "use", "kid"} {
		delete(jwk, name)
	}
	header := map[string]any{"typ": "dpop+jwt", "alg": k.Alg, "jwk": jwk}
	for _, c := range changes {
		maps.Copy(header, c)
	}
	maps.DeleteFunc(header, func(_ string, v any) bool { return v == nil })
	return k.Sign(JSON(header), JSON(claims))
}

// Thumbprint is the thumbprint of RFC 7638 of the public key.
func (k *Key) Thumbprint() string {
	jwk := k.JWK()
	for _, name := range []string{"alg", "use", "kid"} {
		delete(jwk, name)
	}
	return Hash(JSON(jwk)) // encoding/json sorts the members by name
}

// Hash is the base64url of the SHA-256 hash of a text.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return Base64(sum[:])
}
