package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/wsauth/wsauth/internal/memory"
)

// A Proof is a DPoP proof (RFC 9449 section 4.2) whose signature is verified with the key that it contains. That shows
// only that its maker has the key: the caller must check everything else.
type Proof struct {
	Key       string // the thumbprint of its key (RFC 7638)
	ID        string // jti
	Method    string // htm
	URL       string // htu
	IssuedAt  time.Time
	Expiry    time.Time // exp; zero: missing
	NotBefore time.Time // nbf; zero: missing
	TokenHash string    // ath; empty: missing
	Nonce     string    // empty: missing

	header string // the segment that has the key
	own    ownKey
}

// An ownKey is the key in the header of a proof.
type ownKey struct {
	key        *Key
	thumbprint string
}

// A ProofReader reads DPoP proofs. It remembers the keys of accepted proofs: a client always signs with the same key,
// and reading a key takes a large part of the time of a signature check.
type ProofReader struct {
	algs  Algs
	known *memory.Memory[ownKey] // by the segment of the header
}

// NewProofReader returns a reader for proofs that are signed with one of the algorithms. It remembers 1,024 keys.
func NewProofReader(algs Algs) *ProofReader {
	return &ProofReader{algs & ProofAlgs, memory.New[ownKey](1024)}
}

// Algs returns the algorithms that a proof may be signed with.
func (r *ProofReader) Algs() Algs { return r.algs }

// Remember remembers the key of an accepted proof: other proofs must not fill the memory.
func (r *ProofReader) Remember(p *Proof) {
	if r.known.Get(p.header) == nil {
		r.known.Put(p.header, p.own, func(*ownKey) bool { return false })
	}
}

// ProofAlgs are the algorithms that a proof may be signed with. HMAC is not among them: it has no public key.
const ProofAlgs = AllAlgs &^ HMACAlgs

// Verify reads a proof and checks its signature. Errors contain no part of it.
func (r *ProofReader) Verify(text string) (Proof, error) {
	t, err := Parse(text)
	if err != nil {
		return Proof{}, err
	}
	own, err := r.keyOf(&t)
	if err != nil {
		return Proof{}, err
	}
	p, err := parseProof(t.Payload)
	if err != nil {
		return Proof{}, err
	}
	if !t.VerifiedBy(own.key) {
		return Proof{}, ErrSignature
	}
	p.Key, p.header, p.own = own.thumbprint, t.header, own
	return p, nil
}

// keyOf returns the key in the header of a proof.
func (r *ProofReader) keyOf(t *Token) (ownKey, error) {
	if known := r.known.Get(t.header); known != nil {
		return *known, nil
	}
	if t.Header.Type != "dpop+jwt" {
		return ownKey{}, errors.New("typ: not dpop+jwt")
	}
	if !r.algs.Has(t.Header.Alg) {
		return ownKey{}, errors.New("alg: not one that is allowed for a proof")
	}
	key, thumbprint, err := t.ownKey()
	return ownKey{key, thumbprint}, err
}

// maxProofID is the length in bytes of the longest jti that a proof may have. A UUID has 36.
const maxProofID = 256

// proofClaims are the claims of a proof, in the only letter case that is accepted.
var proofClaims = map[string]bool{
	"jti": true, "htm": true, "htu": true, "iat": true, "ath": true, "nonce": true, "exp": true, "nbf": true,
}

func parseProof(payload string) (p Proof, err error) {
	err = walkObject(payload, func(m member) (err error) {
		switch m.name {
		case "jti":
			p.ID, err = stringClaim(m)
		case "htm":
			p.Method, err = stringClaim(m)
		case "htu":
			p.URL, err = stringClaim(m)
		case "ath":
			p.TokenHash, err = stringClaim(m)
		case "nonce":
			p.Nonce, err = stringClaim(m)
		case "iat":
			p.IssuedAt, err = numericDate(m.name, m.value)
		case "exp": // RFC 9449 requires neither exp nor nbf, but a client that adds one means it
			p.Expiry, err = numericDate(m.name, m.value)
		case "nbf":
			p.NotBefore, err = numericDate(m.name, m.value)
		default:
			if m.name != m.folded && proofClaims[m.folded] {
				err = errors.New("a claim of a proof in another letter case")
			}
		}
		return err
	})
	switch {
	case err != nil:
	case p.ID == "" || len(p.ID) > maxProofID:
		err = errors.New("jti: missing, empty, or longer than 256 bytes")
	case p.Method == "":
		err = errors.New("htm: missing or empty")
	case p.URL == "":
		err = errors.New("htu: missing or empty")
	case p.IssuedAt.IsZero():
		err = errors.New("iat: missing")
	}
	if err != nil {
		return Proof{}, err
	}
	return p, nil
}

// ownKey returns the key in the header of a proof, and its thumbprint. This is the only place where a key comes from a
// token: such a key proves nothing about who made the token, and only its thumbprint counts.
func (t *Token) ownKey() (*Key, string, error) {
	buf := getScratch(len(t.header))
	defer putScratch(buf)
	header, err := decodeSegment(buf, t.header)
	if err != nil {
		return nil, "", err
	}
	jwk := ""
	if err := walkObject(header, func(m member) error {
		if m.name == "jwk" {
			jwk = m.value
		}
		return nil
	}); err != nil {
		return nil, "", err
	}
	if jwk == "" || jwk[0] != '{' {
		return nil, "", errors.New("jwk: missing, or not an object")
	}
	return proofKey(jwk, t.Header.Alg)
}

// proofKey reads the key of a proof for one algorithm. A client wrote it, so only one spelling is accepted, without the
// tolerance for an issuer's set. It is built without jwx, which takes longer than some signature checks.
func proofKey(jwk string, alg Alg) (*Key, string, error) {
	members := jwkMembers{}
	err := walkObject(jwk, func(m member) error {
		members[m.name] = m // even a member without a value: a proof with "d":null is not a proof with a public key
		return nil
	})
	if err == nil {
		err = members.checkPurpose()
	}
	if err != nil {
		return nil, "", inJWK(err)
	}
	var k proofMaterial
	switch kty, _ := members.text("kty"); kty {
	case "EC":
		k, err = members.proofEC()
	case "OKP":
		k, err = members.proofOKP()
	case "RSA":
		k, err = members.proofRSA()
	default:
		err = errors.New("kty: missing, or not that of a public key that is supported")
	}
	if err != nil {
		return nil, "", inJWK(err)
	}
	if named, err := members.text("alg"); err != nil || named != "" && !isNameOf(alg, named) {
		return nil, "", inJWK(errors.New("alg: not that of the proof"))
	}
	if !k.algs.Has(alg) {
		return nil, "", inJWK(errors.New("kty or crv: does not fit the alg of the proof"))
	}
	return &Key{Algs: Algs(0).With(alg), public: k.public}, SHA256([]byte(k.canonical)), nil
}

func inJWK(err error) error { return fmt.Errorf("jwk: %w", err) }

func isNameOf(alg Alg, name string) bool {
	named, ok := ParseAlg(name)
	return ok && named == alg
}

// proofMaterial is the key of a proof, and the text whose hash is its thumbprint: the members that make up the key, in
// the order of their names and without spaces (RFC 7638 section 3).
type proofMaterial struct {
	algs      Algs
	public    any
	canonical string
}

func (j jwkMembers) proofEC() (k proofMaterial, err error) {
	crv, _ := j.text("crv")
	var curve elliptic.Curve
	switch crv {
	case "P-256":
		curve, k.algs = elliptic.P256(), k.algs.With(ES256)
	case "P-384":
		curve, k.algs = elliptic.P384(), k.algs.With(ES384)
	case "P-521":
		curve, k.algs = elliptic.P521(), k.algs.With(ES512)
	default:
		return k, errors.New("crv: missing or not supported")
	}
	size := coordinateSizes[crv]
	x, xText, err := j.canonical("x", size, size)
	if err != nil {
		return k, err
	}
	y, yText, err := j.canonical("y", size, size)
	if err != nil {
		return k, err
	}
	point := append(append([]byte{4}, x...), y...) // 4: uncompressed (SEC 1 section 2.3.3)
	if k.public, err = ecdsa.ParseUncompressedPublicKey(curve, point); err != nil {
		return k, errors.New("a point that is not on its curve")
	}
	k.canonical = `{"crv":"` + crv + `","kty":"EC","x":"` + xText + `","y":"` + yText + `"}`
	return k, nil
}

func (j jwkMembers) proofOKP() (k proofMaterial, err error) {
	if crv, _ := j.text("crv"); crv != "Ed25519" {
		return k, errors.New("crv: missing or not supported")
	}
	x, text, err := j.canonical("x", ed25519.PublicKeySize, ed25519.PublicKeySize)
	if err != nil {
		return k, err
	}
	if err := checkEd25519Order(x); err != nil { // the signature check finds out whether the point is on the curve
		return k, err
	}
	return proofMaterial{
		algs: Algs(0).With(EdDSA), public: ed25519.PublicKey(x), canonical: `{"crv":"Ed25519","kty":"OKP","x":"` + text + `"}`,
	}, nil
}

// maxProofModulus is the size in bytes of the largest RSA modulus of a proof, whose key anybody may choose. Checking a
// signature with 8192 bits, which an issuer may have, takes four times as long as with 4096.
const maxProofModulus = 4096 / 8

func (j jwkMembers) proofRSA() (k proofMaterial, err error) {
	n, nText, err := j.canonical("n", 2048/8, maxProofModulus)
	if err != nil {
		return k, err
	}
	e, eText, err := j.canonical("e", 1, 4)
	if err != nil {
		return k, err
	}
	if n[0] == 0 || e[0] == 0 { // RFC 7518 section 2: a Base64urlUInt has no leading zeros
		return k, errors.New("n or e: a leading zero")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if err := checkRSA(public); err != nil {
		return k, err
	}
	return proofMaterial{algs: rsaAlgs, public: public, canonical: `{"e":"` + eText + `","kty":"RSA","n":"` + nText + `"}`}, nil
}

// canonical decodes a member of shortest to longest bytes that is canonical base64url, and returns its text, too.
func (j jwkMembers) canonical(name string, shortest, longest int) ([]byte, string, error) {
	s, err := j.text(name)
	if err != nil {
		return nil, "", err
	}
	b := make([]byte, len(s))
	n, ok := decodeBase64url(b, s)
	if !ok || n < shortest || n > longest {
		return nil, "", errors.New(name + ": missing, not canonical base64url, or of a length that is not supported")
	}
	return b[:n], s, nil
}
