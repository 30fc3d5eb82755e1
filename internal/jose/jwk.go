package jose

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// jwkMembers are the members of a JWK that have a value: for a missing member, some serializers write null, an empty
// string or an empty array.
type jwkMembers map[string]member

// parseKey reads one JWK (RFC 7517 section 4). It returns the kid even if the key cannot be used.
func parseKey(text string) (k *Key, kid string, err error) {
	if text[0] != '{' {
		return nil, "", errors.New("not an object")
	}
	members := jwkMembers{}
	err = walkObject(text, func(m member) error {
		if !isEmpty(m.value) {
			members[m.name] = m
		}
		return nil // such as x5c: the JWK has the key itself, and a certificate is not needed to trust it
	})
	if err != nil {
		return nil, "", err
	}
	kid, err = members.text("kid")
	if err == nil {
		err = members.checkPurpose()
	}
	if err != nil {
		return nil, kid, err
	}
	if k, err = members.material(); err != nil {
		return nil, kid, err
	}
	k.ID, k.X5T, k.X5TS256 = kid, thumbprint(members["x5t"]), thumbprint(members["x5t#S256"])
	if name, err := members.text("alg"); err != nil {
		return nil, kid, err
	} else if name != "" {
		alg, known := ParseAlg(name)
		if !known || !k.Algs.Has(alg) {
			return nil, kid, errors.New("alg: not supported, or does not fit the key")
		}
		k.Algs = Algs(0).With(alg)
	}
	return k, kid, nil
}

// isEmpty reports whether the text of a JSON value is null, "" or [].
func isEmpty(value string) bool {
	return value == "null" || value == `""` || value[0] == '[' && value[skipSpace(value, 1)] == ']'
}

// text returns a member that must be a string; empty: the member is missing.
func (j jwkMembers) text(name string) (string, error) {
	m, ok := j[name]
	if !ok {
		return "", nil
	}
	s, ok := m.str()
	if !ok {
		return "", errors.New(name + ": not a string")
	}
	return s, nil
}

// checkPurpose refuses a key whose purpose is not to verify signatures.
func (j jwkMembers) checkPurpose() error {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, ok := j[name]; ok {
			return errors.New("a private key where a public one belongs")
		}
	}
	// SPIFFE's bundles have their own value of use for the keys of JWT-SVIDs (SPIFFE Trust Domain and Bundle, section
	// 4.2.2).
	if use, err := j.text("use"); err != nil || use != "" && use != "sig" && use != "jwt-svid" {
		return cmp.Or(err, errors.New("use: not for signatures"))
	}
	if ops, ok := j["key_ops"]; ok {
		list, err := stringList("key_ops", ops.value)
		if err != nil || !slices.Contains(list, "verify") {
			return cmp.Or(err, errors.New("key_ops: not for verifying"))
		}
	}
	return nil
}

// coordinateSizes has the number of bytes of a coordinate on each curve (RFC 7518 section 6.2.1.2).
var coordinateSizes = map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}

// material makes the key itself. jwx gets only the members that make up the key, in the form of RFC 7518: an unexpected
// member (such as x5c or use) could make jwx reject the key, or change what the key is.
func (j jwkMembers) material() (*Key, error) {
	kty, err := j.text("kty")
	if err != nil {
		return nil, err
	}
	bare := map[string]string{"kty": kty}
	switch kty {
	case "RSA":
		err = j.rsa(bare)
	case "EC":
		err = j.ec(bare)
	case "OKP":
		err = j.okp(bare)
	case "oct":
		err = j.oct(bare)
	default:
		err = errors.New("kty: missing or not supported")
	}
	if err != nil {
		return nil, err
	}
	return fromJWX(bare)
}

func (j jwkMembers) rsa(bare map[string]string) error {
	if _, ok := j["n"]; !ok {
		if _, ok := j["x5c"]; ok {
			return errors.New("n: missing, and a certificate (x5c) is not read in its place")
		}
	}
	n, err := j.integer("n")
	if err != nil {
		return err
	}
	e, err := j.integer("e")
	if err != nil {
		return err
	}
	if len(e) > 4 { // jwx would keep the low 64 bits
		return errors.New("e: longer than 4 bytes")
	}
	bare["n"], bare["e"] = encode(n), encode(e)
	return nil
}

func (j jwkMembers) ec(bare map[string]string) error {
	crv, err := j.text("crv")
	if err != nil {
		return err
	}
	size := coordinateSizes[crv]
	if size == 0 {
		return errors.New("crv: missing or not supported")
	}
	bare["crv"] = crv
	for _, name := range []string{"x", "y"} {
		n, err := j.integer(name)
		if err != nil {
			return err
		}
		if len(n) > size {
			return errors.New(name + ": longer than a coordinate of its curve")
		}
		bare[name] = encode(append(make([]byte, size-len(n)), n...))
	}
	return nil
}

// okp reads a key of RFC 8037, whose x is a string of bytes and not an integer.
func (j jwkMembers) okp(bare map[string]string) error {
	crv, err := j.text("crv")
	if err != nil {
		return err
	}
	if crv != "Ed25519" {
		return errors.New("crv: missing or not supported")
	}
	x, err := j.bytes("x")
	bare["crv"], bare["x"] = crv, encode(x)
	return err
}

// oct reads a secret. It tolerates no other spelling than base64url: any other text may be the secret itself.
func (j jwkMembers) oct(bare map[string]string) error {
	k, err := j.text("k")
	if err != nil {
		return err
	}
	if n, ok := decodeBase64url(make([]byte, len(k)), k); !ok || n == 0 {
		return errors.New("k: missing, or not canonical base64url")
	}
	bare["k"] = k
	return nil
}

// integer reads a positive integer, without leading zeros. RFC 7518 allows one spelling, and some serializers write
// others: a sign byte before n, or a coordinate without the leading zeros that give it its length. Accepting them is
// safe: a set comes from a trusted source, and each spelling can mean only one integer.
func (j jwkMembers) integer(name string) ([]byte, error) {
	b, err := j.bytes(name)
	if err != nil {
		return nil, err
	}
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b, nil
}

// lineBreaks removes what encoders of RFC 2045 insert into base64; standardToURL replaces their alphabet.
var lineBreaks = strings.NewReplacer("\r", "", "\n", "")

// bytes reads base64url, even with padding, in the alphabet with + and /, or broken into lines. Unused bits must still
// be zero: no encoder sets them.
func (j jwkMembers) bytes(name string) ([]byte, error) {
	s, err := j.text(name)
	if err != nil {
		return nil, err
	}
	s = standardToURL.Replace(lineBreaks.Replace(s))
	if unpadded := strings.TrimRight(s, "="); len(s)-len(unpadded) <= 2 {
		s = unpadded
	}
	b := make([]byte, len(s))
	n, ok := decodeBase64url(b, s)
	if !ok || n == 0 {
		return nil, errors.New(name + ": missing, or not base64url")
	}
	return b[:n], nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// fromJWX makes a key from the members that jwx needs for it.
func fromJWX(bare map[string]string) (*Key, error) {
	text, err := json.Marshal(bare)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("not a key")
	}
	if err := parsed.Validate(); err != nil {
		return nil, errors.New("a coordinate that is missing or of the wrong length")
	}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, errors.New("a curve that is not supported")
	}
	if secret, ok := raw.([]byte); ok {
		return NewSecret(secret)
	}
	return NewPublicKey(raw)
}
