package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"strings"
	"sync"
)

// An Alg is a signature algorithm of RFC 7518 section 3.1 or RFC 8037.
type Alg uint8

// The algorithms that are supported. "none" is not one of them.
const (
	HS256 Alg = iota
	HS384
	HS512
	RS256
	RS384
	RS512
	PS256
	PS384
	PS512
	ES256
	ES384
	ES512
	EdDSA
	numAlgs
)

var algNames = [numAlgs]string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA",
}

var algHashes = [numAlgs]crypto.Hash{
	crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA256, crypto.SHA384, crypto.SHA512,
	crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA256, crypto.SHA384, crypto.SHA512,
	0, // Ed25519 hashes by itself
}

// ParseAlg finds an algorithm by its exact name. Ed25519 is the name that RFC 9864 gives to EdDSA with that curve.
func ParseAlg(name string) (Alg, bool) {
	if name == "Ed25519" {
		return EdDSA, true
	}
	for a, n := range algNames {
		if n == name {
			return Alg(a), true
		}
	}
	return 0, false
}

func (a Alg) String() string { return algNames[a] }

// Algs is a set of algorithms.
type Algs uint16

// The algorithms of each kind of key, and all of them.
const (
	HMACAlgs Algs = 1<<HS256 | 1<<HS384 | 1<<HS512
	rsaAlgs  Algs = 1<<RS256 | 1<<RS384 | 1<<RS512 | 1<<PS256 | 1<<PS384 | 1<<PS512
	AllAlgs  Algs = 1<<numAlgs - 1
)

// Has reports whether a is in the set.
func (s Algs) Has(a Alg) bool { return s&(1<<a) != 0 }

// With returns the set and a.
func (s Algs) With(a Alg) Algs { return s | 1<<a }

// String returns the names of the algorithms with spaces between them.
func (s Algs) String() string {
	var names []string
	for a := range numAlgs {
		if s.Has(a) {
			names = append(names, a.String())
		}
	}
	return strings.Join(names, " ")
}

// A Key verifies signatures. It is immutable, checked when it is made, and works only with the algorithms that fit its
// type: that is what stops a public key from being taken for an HMAC secret (RFC 8725 section 2.1).
type Key struct {
	ID           string // kid; empty: none
	X5T, X5TS256 string // of its certificate, as its JWK says; empty: the JWK does not say
	Algs         Algs

	macs   [3]*sync.Pool // of *mac, for HS256, HS384, HS512
	public any           // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey; nil: a secret
}

// A mac is a hash keyed with a secret. Keying a hash costs two blocks; Reset restores the keyed state.
type mac struct {
	hash.Hash
	sum [sha512.Size]byte // room for Sum, which would be allocated on each call
}

// IsSecret reports whether k is an HMAC secret.
func (k *Key) IsSecret() bool { return k.public == nil }

// isSame reports whether two keys are the same public key, whatever their names. A secret is the same key only as
// itself.
func (k *Key) isSame(other *Key) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return k == other || ok && public.Equal(other.public)
}

// NewSecret makes a key from an HMAC secret. It works with the algorithms whose hash is not longer than the secret (RFC
// 7518 section 3.2); a secret shorter than 32 bytes fits none and is an error.
func NewSecret(secret []byte) (*Key, error) {
	secret = bytes.Clone(secret)
	k := &Key{}
	for a, newHash := range []func() hash.Hash{sha256.New, sha512.New384, sha512.New} {
		if len(secret) >= newHash().Size() {
			k.Algs = k.Algs.With(Alg(a))
			k.macs[a] = &sync.Pool{New: func() any { return &mac{Hash: hmac.New(newHash, secret)} }}
		}
	}
	if k.Algs == 0 {
		if len(secret) == 0 {
			return nil, errors.New("an HMAC secret that is empty: it needs at least 32 bytes")
		}
		return nil, errors.New("an HMAC secret shorter than 32 bytes")
	}
	return k, nil
}

// NewPublicKey makes a key from an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, and refuses one whose
// signatures anybody could forge.
func NewPublicKey(public crypto.PublicKey) (*Key, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		if err := checkRSA(p); err != nil {
			return nil, err
		}
		return &Key{Algs: rsaAlgs, public: &rsa.PublicKey{N: new(big.Int).Set(p.N), E: p.E}}, nil
	case *ecdsa.PublicKey:
		alg, point, err := checkECDSA(p)
		if err != nil {
			return nil, err
		}
		own, err := ecdsa.ParseUncompressedPublicKey(p.Curve, point)
		return &Key{Algs: Algs(0).With(alg), public: own}, err
	case ed25519.PublicKey:
		p = bytes.Clone(p)
		return &Key{Algs: Algs(0).With(EdDSA), public: p}, checkEd25519(p)
	case crypto.Signer, []byte:
		return nil, fmt.Errorf("a secret or private key (%T) where a public one belongs", public)
	default:
		return nil, fmt.Errorf("%T is no public key that is supported", public)
	}
}

func checkRSA(p *rsa.PublicKey) error {
	if p == nil || p.N == nil || p.N.Sign() <= 0 {
		return errors.New("an RSA key without a modulus")
	}
	// crypto/rsa accepts no exponent over 31 bits. Without this check, each token would fail instead of New.
	if p.E < 3 || p.E%2 == 0 || p.E > 1<<31-1 {
		return errors.New("an RSA exponent that is even, less than 3 or over 31 bits")
	}
	if bits := p.N.BitLen(); bits < 2048 || bits > 8192 || p.N.Bit(0) == 0 {
		return errors.New("an RSA modulus below 2048 or above 8192 bits, or even")
	}
	if isROCA(p.N) {
		return errors.New("an RSA modulus that can be factored (ROCA, CVE-2017-15361)")
	}
	return nil
}

// isROCA recognizes the moduli that a library of Infineon generated, which can be factored in hours. Both primes are
// powers of 65537 modulo the product of many small primes, so the modulus is one, too; of other moduli, one in 2^27 is
// (Nemec et al., The Return of Coppersmith's Attack, CCS 2017, sections 2.1 and 3.1; Wycheproof has such a JWK).
func isROCA(n *big.Int) bool {
	for _, p := range rocaPrimes {
		rest := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		if !isPowerOf65537(rest, p) {
			return false
		}
	}
	return true
}

// rocaPrimes are the small primes, except 2, that the library used for keys of every length.
var rocaPrimes = []int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167}

// isPowerOf65537 reports whether n is a power of 65537 modulo the prime p.
func isPowerOf65537(n, p int64) bool {
	power := int64(1)
	for range p - 1 { // then the powers repeat
		if power == n {
			return true
		}
		power = power * 65537 % p
	}
	return false
}

// checkECDSA returns the key's algorithm and its point, encoded.
func checkECDSA(p *ecdsa.PublicKey) (Alg, []byte, error) {
	if p == nil || p.Curve == nil {
		return 0, nil, errors.New("an ECDSA key that is nil")
	}
	var alg Alg
	switch p.Curve {
	case elliptic.P256():
		alg = ES256
	case elliptic.P384():
		alg = ES384
	case elliptic.P521():
		alg = ES512
	default:
		return 0, nil, errors.New("an elliptic curve that is not supported")
	}
	if p.X == nil || p.Y == nil { // Bytes would panic
		return 0, nil, errors.New("an ECDSA key without a point")
	}
	point, err := p.Bytes()
	if err != nil {
		return 0, nil, errors.New("a point that is not on its curve")
	}
	return alg, point, nil
}

// Ed25519 is the curve -x² + y² = 1 + dx²y² over the integers modulo p = 2^255 - 19 (RFC 8032 section 5.1).
var (
	edP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edD = new(big.Int).Mod(new(big.Int).Mul(big.NewInt(-121665),
		new(big.Int).ModInverse(big.NewInt(121666), edP)), edP)
	// A y of a point of order 8; the other one is its negative. -1 and 1 have order 2 and 1, 0 order 4.
	edOrder8, _ = new(big.Int).SetString("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)
)

// checkEd25519 refuses what is not the encoding of a point, and points of low order. The standard library has no public
// function that decodes a point, hence the arithmetic.
func checkEd25519(p ed25519.PublicKey) error {
	if len(p) != ed25519.PublicKeySize {
		return errors.New("an Ed25519 key that is not 32 bytes")
	}
	if err := checkEd25519Order(p); err != nil {
		return err
	}
	y, one := edY(p), big.NewInt(1)
	// x² = u/v with u = y² - 1 and v = dy² + 1 has a root exactly if uv is a square.
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, one)
	v := new(big.Int).Add(new(big.Int).Mul(edD, yy), one)
	uv := u.Mul(u, v)
	if big.Jacobi(uv.Mod(uv, edP), edP) != 1 {
		return errors.New("an Ed25519 key that is not on the curve")
	}
	return nil
}

// checkEd25519Order refuses points of low order: for such a key, anyone can make signatures that verify. p has 32
// bytes.
func checkEd25519Order(p ed25519.PublicKey) error {
	y, one := edY(p), big.NewInt(1)
	if y.Cmp(edP) >= 0 {
		return errors.New("an Ed25519 key that is not canonical")
	}
	for _, low := range []*big.Int{new(big.Int), one, new(big.Int).Sub(edP, one),
		edOrder8, new(big.Int).Sub(edP, edOrder8)} {
		if y.Cmp(low) == 0 {
			return errors.New("an Ed25519 key of low order")
		}
	}
	return nil
}

// edY returns the y of an encoded point.
func edY(p ed25519.PublicKey) *big.Int {
	le := bytes.Clone(p)
	le[31] &= 0x7f // the sign of x
	slices.Reverse(le)
	return new(big.Int).SetBytes(le)
}

// verify reports whether signature is a signature of k over data. The algorithm must be one of the key's: the header of
// a token never makes a key do what it is not for (RFC 8725 section 3.1).
//
// The standard library checks the signatures, with the raw key. jwx's own verifiers were rejected: they accept any PSS
// salt length, and they come from a registry that any package can write to.
func (k *Key) verify(alg Alg, data, signature []byte) bool {
	if !k.Algs.Has(alg) {
		return false
	}
	if k.IsSecret() {
		return k.verifyMAC(alg, data, signature)
	}
	var sum [sha512.Size]byte
	switch p := k.public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(p, data, signature)
	case *ecdsa.PublicKey:
		var room [maxDER]byte
		der, ok := derSignature(room[:0], signature, (p.Curve.Params().BitSize+7)/8)
		return ok && ecdsa.VerifyASN1(p, digest(alg, data, &sum), der)
	case *rsa.PublicKey:
		if alg < PS256 {
			return rsa.VerifyPKCS1v15(p, algHashes[alg], digest(alg, data, &sum), signature) == nil
		}
		return verifyPSS(p, alg, data, signature)
	}
	return false
}

// verifyPSS is a function of its own because the sum that rsa.VerifyPSS gets escapes to the heap.
func verifyPSS(p *rsa.PublicKey, alg Alg, data, signature []byte) bool {
	var sum [sha512.Size]byte
	// RFC 7518 section 3.5: the salt is as long as the hash.
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return rsa.VerifyPSS(p, algHashes[alg], digest(alg, data, &sum), signature, opts) == nil
}

func (k *Key) verifyMAC(alg Alg, data, signature []byte) bool {
	m := k.macs[alg].Get().(*mac)
	defer k.macs[alg].Put(m)
	m.Reset()
	m.Write(data)
	return hmac.Equal(m.Sum(m.sum[:0]), signature)
}

// digest hashes data into sum.
func digest(alg Alg, data []byte, sum *[sha512.Size]byte) []byte {
	switch algHashes[alg] {
	case crypto.SHA256:
		*(*[sha256.Size]byte)(sum[:]) = sha256.Sum256(data)
		return sum[:sha256.Size]
	case crypto.SHA384:
		*(*[sha512.Size384]byte)(sum[:]) = sha512.Sum384(data)
		return sum[:sha512.Size384]
	default:
		*sum = sha512.Sum512(data)
		return sum[:]
	}
}

// maxDER is the length of the longest DER form of a signature: two integers of 66 bytes, for P-521, each with a sign
// byte and a header of two bytes, in a sequence with a header of three bytes.
const maxDER = 3 + 2*(2+1+66)

// derSignature turns r and s, each of exactly size bytes (RFC 7518 section 3.4), into the ASN.1 that crypto/ecdsa
// reads, appended to der. crypto/ecdsa checks whether they are zero or too large.
func derSignature(der, signature []byte, size int) ([]byte, bool) {
	if len(signature) != 2*size {
		return nil, false
	}
	r, s := derInteger(signature[:size]), derInteger(signature[size:])
	length := 2 + r.len() + 2 + s.len()
	der = append(der, 0x30) // SEQUENCE
	if length >= 0x80 {
		der = append(der, 0x81)
	}
	der = append(der, byte(length))
	return s.append(r.append(der)), true
}

// A derInteger is an unsigned big-endian number.
type derInteger []byte

// len is the length of its shortest two's complement form: without leading zeros, except one if the number would
// otherwise be negative.
func (n derInteger) len() int {
	n = bytes.TrimLeft(n, "\x00")
	if len(n) == 0 || n[0] >= 0x80 {
		return len(n) + 1
	}
	return len(n)
}

func (n derInteger) append(der []byte) []byte {
	der = append(der, 0x02, byte(n.len())) // INTEGER
	n, length := bytes.TrimLeft(n, "\x00"), n.len()
	if length > len(n) {
		der = append(der, 0)
	}
	return append(der, n...)
}
