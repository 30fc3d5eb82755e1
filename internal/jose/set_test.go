package jose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

// The keys of the tables below, made once: RSA keys take time.
var minted = sync.OnceValue(func() map[string]*mint.Key {
	keys := map[string]*mint.Key{}
	for _, alg := range mint.Algorithms {
		keys[alg] = mint.New(alg, alg)
	}
	return keys
})

// jwkOf is the JWK of a minted key with some members replaced; a nil value leaves the member out.
func jwkOf(alg string, members map[string]any) map[string]any {
	all := minted()[alg].JWK()
	maps.Copy(all, members)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// null is the JSON literal; nil leaves a member out.
type null struct{}

func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

type members = map[string]any

func b64(b []byte) string { return mint.Base64(b) }

// coordinates of the key of a curve, without leading zeros.
func coordinates(alg string) (x, y *big.Int) {
	p := minted()[alg].Public().(*ecdsa.PublicKey)
	return p.X, p.Y
}

func fill(n *big.Int, size int) string { return b64(n.FillBytes(make([]byte, size))) }

// whereX makes keys until the first byte of a coordinate x, of so many bytes, is zero or is not.
func whereX(alg string, size int, startsWithZero bool) *mint.Key {
	for {
		k := mint.New(alg, alg)
		if x := k.Public().(*ecdsa.PublicKey).X; (x.BitLen() <= 8*(size-1)) == startsWithZero {
			return k
		}
	}
}

// respelled is the JWK of a key with x in so many bytes, the first of them left out or zeros put before them.
func respelled(k *mint.Key, size int) members {
	all := k.JWK()
	x := k.Public().(*ecdsa.PublicKey).X.Bytes()
	all["x"] = b64(append(make([]byte, max(0, size-len(x))), x[max(0, len(x)-size):]...))
	return all
}

// emptyMembers are all members of a JWK that are not needed, each without a value.
func emptyMembers(value any, without ...string) members {
	all := members{}
	for _, name := range []string{"use", "key_ops", "alg", "kid", "x5u", "x5c", "x5t", "x5t#S256", "d", "p", "q", "dp",
		"dq",
		"qi", "oth", "k", "crv", "x", "y", "n", "e"} {
		if !slices.Contains(without, name) {
			all[name] = value
		}
	}
	return all
}

// broken puts a line break behind each 60 characters, as Ruby's Base64.encode64 does.
func broken(s string) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(s), 60) {
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

func zeroBefore(b []byte) string { return b64(append([]byte{0}, b...)) }

func modulusOf(alg string) []byte { return minted()[alg].Public().(*rsa.PublicKey).N.Bytes() }

// usableKeys are JWKs that serve, in any set.
func usableKeys() map[string]struct {
	jwk  members
	algs Algs
} {
	type row = struct {
		jwk  members
		algs Algs
	}
	rsaAll := algsOf("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
	rows := map[string]row{
		"RSA without alg":           {jwkOf("RS256", members{"alg": nil}), rsaAll},
		"RSA without use":           {jwkOf("RS256", members{"use": nil}), algsOf("RS256")},
		"bare RSA":                  {jwkOf("RS256", members{"use": nil, "alg": nil, "kid": nil}), rsaAll},
		"RSA with key_ops":          {jwkOf("RS256", members{"key_ops": []string{"verify"}}), algsOf("RS256")},
		"key_ops with others":       {jwkOf("RS256", members{"key_ops": []string{"sign", "verify"}}), algsOf("RS256")},
		"e 3":                       {jwkOf("RS256", members{"e": "Aw"}), algsOf("RS256")},
		"e with a leading zero":     {jwkOf("RS256", members{"e": "AAEAAQ"}), algsOf("RS256")},
		"n with a leading zero":     {jwkOf("RS256", members{"n": zeroBefore(modulusOf("RS256"))}), algsOf("RS256")},
		"RSA of 8192 bits":          {jwkOf("RS256", members{"n": b64(modulus(8192).Bytes())}), algsOf("RS256")},
		"an empty kid":              {jwkOf("ES256", members{"kid": ""}), algsOf("ES256")},
		"a kid in base64":           {jwkOf("ES256", members{"kid": "a+b/c="}), algsOf("ES256")},
		"EC without alg":            {jwkOf("ES384", members{"alg": nil}), algsOf("ES384")},
		"Ed25519 without alg":       {jwkOf("EdDSA", members{"alg": nil}), algsOf("EdDSA")},
		"the alg of RFC 9864":       {jwkOf("EdDSA", members{"alg": "Ed25519"}), algsOf("EdDSA")},
		"ext, and others":           {jwkOf("ES256", members{"ext": true, "iat": 1, "a": null{}}), algsOf("ES256")},
		"members of other types":    {jwkOf("ES256", members{"n": "AQAB", "e": "AQAB", "k": "AAAA"}), algsOf("ES256")},
		"each member null":          {jwkOf("RS256", emptyMembers(null{}, "n", "e")), rsaAll},
		"each member of EC null":    {jwkOf("ES256", emptyMembers(null{}, "crv", "x", "y")), algsOf("ES256")},
		"each member of OKP null":   {jwkOf("EdDSA", emptyMembers(null{}, "crv", "x")), algsOf("EdDSA")},
		"each member empty":         {jwkOf("RS256", emptyMembers("", "n", "e")), rsaAll},
		"each member an empty list": {jwkOf("ES384", emptyMembers([]int{}, "crv", "x", "y")), algsOf("ES384")},
		"d null":                    {jwkOf("RS256", members{"d": null{}}), algsOf("RS256")},
		"d empty":                   {jwkOf("ES256", members{"d": ""}), algsOf("ES256")},
		"oth null":                  {jwkOf("RS256", members{"oth": null{}}), algsOf("RS256")},
		"oth empty":                 {jwkOf("RS256", members{"oth": []int{}}), algsOf("RS256")},
		"use null":                  {jwkOf("RS256", members{"use": null{}}), algsOf("RS256")},
		"use empty":                 {jwkOf("RS256", members{"use": ""}), algsOf("RS256")},
		"use of SPIFFE":             {jwkOf("ES256", members{"use": "jwt-svid", "alg": nil}), algsOf("ES256")},
		"alg null":                  {jwkOf("RS256", members{"alg": null{}}), rsaAll},
		"alg empty":                 {jwkOf("RS256", members{"alg": ""}), rsaAll},
		"key_ops null":              {jwkOf("RS256", members{"key_ops": null{}}), algsOf("RS256")},
		"key_ops empty":             {jwkOf("RS256", members{"key_ops": []string{}}), algsOf("RS256")},
		"kid null":                  {jwkOf("RS256", members{"kid": null{}}), algsOf("RS256")},
		"n with padding": {jwkOf("RS256", members{"n": base64.URLEncoding.EncodeToString(modulusOf("RS256"))}),
			algsOf("RS256")},
		"n in standard base64": {jwkOf("RS256", members{"n": base64.RawStdEncoding.EncodeToString(modulusOf("RS256"))}),
			algsOf("RS256")},
		"n in standard base64 with padding": {jwkOf("RS256",
			members{"n": base64.StdEncoding.EncodeToString(modulusOf("RS256"))}),
			algsOf("RS256")},
		"n in lines": {jwkOf("RS256", members{"n": broken(base64.StdEncoding.EncodeToString(modulusOf("RS256")))}),
			algsOf("RS256")},
		"n with nine leading zeros": {jwkOf("RS256", members{"n": b64(append(make([]byte, 9), modulusOf("RS256")...))}),
			algsOf("RS256")},
		"e with padding":          {jwkOf("RS256", members{"e": "AAEAAQ=="}), algsOf("RS256")},
		"e of 64 bits":            {jwkOf("RS256", members{"e": b64([]byte{0, 0, 0, 0, 0, 1, 0, 1})}), algsOf("RS256")},
		"x with a zero before it": {respelled(minted()["ES256"], 33), algsOf("ES256")},
		"x with eight before it":  {respelled(minted()["ES384"], 56), algsOf("ES384")},
		"x without its zero":      {respelled(whereX("ES256", 32, true), 31), algsOf("ES256")},
		"x of P-521 in 65 bytes":  {respelled(whereX("ES512", 66, true), 65), algsOf("ES512")},
		"x of P-521 in 67 bytes":  {respelled(minted()["ES512"], 67), algsOf("ES512")},
		"x in standard base64 with padding": {jwkOf("ES256", members{"x": base64.StdEncoding.EncodeToString(
			minted()["ES256"].Public().(*ecdsa.PublicKey).X.FillBytes(make([]byte, 32)))}), algsOf("ES256")},
		"OKP in standard base64 with padding": {jwkOf("EdDSA", members{"x": base64.StdEncoding.EncodeToString(
			minted()["EdDSA"].Public().(ed25519.PublicKey))}), algsOf("EdDSA")},
		"x5c that is garbage":  {jwkOf("RS256", members{"x5c": []string{"garbage", ""}}), algsOf("RS256")},
		"x5c that is no array": {jwkOf("RS256", members{"x5c": 1}), algsOf("RS256")},
		"x5c of numbers":       {jwkOf("RS256", members{"x5c": []int{1}}), algsOf("RS256")},
		"x5c null":             {jwkOf("RS256", members{"x5c": null{}}), algsOf("RS256")},
		"x5t and x5u garbage":  {jwkOf("RS256", members{"x5t": 1, "x5t#S256": "?", "x5u": []int{}}), algsOf("RS256")},
	}
	for _, alg := range mint.Algorithms {
		if alg[:2] != "HS" {
			rows[alg] = row{jwkOf(alg, nil), algsOf(alg)}
		}
	}
	return rows
}

// uselessKeys are elements of a set that must not serve: text, so that they need not be objects.
func uselessKeys() map[string]string {
	x, _ := coordinates("ES256")
	one := big.NewInt(1)
	private := minted()["RS256"].Private.(*rsa.PrivateKey)
	edKey := minted()["EdDSA"].Private.(ed25519.PrivateKey)
	uncompressed := b64(must(minted()["ES256"].Public().(*ecdsa.PublicKey).Bytes()))
	rows := map[string]string{
		"null": `null`, "a string": `"RSA"`, "a number": `1`, "an array": `[]`, "an empty object": `{}`, "true": `true`,
	}
	for name, key := range map[string]members{
		"kty missing":       jwkOf("RS256", members{"kty": nil}),
		"kty null":          jwkOf("RS256", members{"kty": null{}}),
		"kty a number":      jwkOf("RS256", members{"kty": 1}),
		"kty empty":         jwkOf("RS256", members{"kty": ""}),
		"kty unknown":       {"kty": "AKP", "alg": "ML-DSA-44", "kid": "k", "pub": "AAAA"},
		"kty in lower case": jwkOf("RS256", members{"kty": "rsa"}),
		"kty Oct":           jwkOf("HS256", members{"kty": "Oct"}),
		"kty of another":    jwkOf("RS256", members{"kty": "EC"}),

		"a private RSA key":     jwkOf("RS256", members{"d": b64(private.D.Bytes())}),
		"a private EC key":      jwkOf("ES256", members{"d": b64(make([]byte, 32))}),
		"a private Ed25519 key": jwkOf("EdDSA", members{"d": b64(edKey.Seed())}),
		"a prime of RSA":        jwkOf("RS256", members{"p": b64(private.Primes[0].Bytes())}),
		"the other prime":       jwkOf("RS256", members{"q": b64(private.Primes[1].Bytes())}),
		"dp":                    jwkOf("RS256", members{"dp": "AQ"}),
		"dq":                    jwkOf("RS256", members{"dq": "AQ"}),
		"qi":                    jwkOf("RS256", members{"qi": "AQ"}),
		"oth":                   jwkOf("RS256", members{"oth": []any{members{"r": "AQ"}}}),
		"oth an empty object":   jwkOf("RS256", members{"oth": members{}}),
		"d a number":            jwkOf("RS256", members{"d": 0}),
		"d false":               jwkOf("RS256", members{"d": false}),
		"d an array":            jwkOf("ES256", members{"d": []any{null{}}}),
		"d among nulls":         jwkOf("ES256", members{"d": "AQ", "p": null{}, "q": null{}}),

		"use enc":                         jwkOf("RS256", members{"use": "enc"}),
		"use enc with an alg to match":    jwkOf("RS256", members{"use": "enc", "alg": "RSA-OAEP"}),
		"use in capitals":                 jwkOf("RS256", members{"use": "SIG"}),
		"use an array":                    jwkOf("RS256", members{"use": []string{"sig"}}),
		"key_ops without verify":          jwkOf("RS256", members{"key_ops": []string{"sign"}}),
		"key_ops for encryption":          jwkOf("RS256", members{"use": nil, "key_ops": []string{"encrypt", "wrapKey"}}),
		"key_ops without verify, use sig": jwkOf("ES256", members{"key_ops": []string{"deriveKey"}}),
		"use of SPIFFE for certificates":  jwkOf("RS256", members{"use": "x509-svid"}),
		"key_ops of null":                 jwkOf("RS256", members{"key_ops": []any{null{}}}),
		"key_ops an empty object":         jwkOf("RS256", members{"key_ops": members{}}),
		"key_ops a string":                jwkOf("RS256", members{"key_ops": "verify"}),
		"key_ops in another case":         jwkOf("RS256", members{"key_ops": []string{"Verify"}}),
		"key_ops of mixed types":          jwkOf("RS256", members{"key_ops": []any{"verify", 1}}),

		"alg of EC on RSA":           jwkOf("RS256", members{"alg": "ES256"}),
		"alg HS256 on RSA":           jwkOf("RS256", members{"alg": "HS256"}),
		"alg HS256 on EC":            jwkOf("ES256", members{"alg": "HS256"}),
		"alg HS256 on Ed25519":       jwkOf("EdDSA", members{"alg": "HS256"}),
		"alg ES384 on P-256":         jwkOf("ES256", members{"alg": "ES384"}),
		"alg ES256 on P-384":         jwkOf("ES384", members{"alg": "ES256"}),
		"alg ES256 on P-521":         jwkOf("ES512", members{"alg": "ES256"}),
		"alg ES256 on Ed25519":       jwkOf("EdDSA", members{"alg": "ES256"}),
		"alg EdDSA on P-256":         jwkOf("ES256", members{"alg": "EdDSA"}),
		"alg Ed448 on Ed25519":       jwkOf("EdDSA", members{"alg": "Ed448"}),
		"alg for encryption":         jwkOf("RS256", members{"alg": "RSA-OAEP-256"}),
		"alg none":                   jwkOf("RS256", members{"alg": "none"}),
		"alg unknown":                jwkOf("RS256", members{"alg": "RS1"}),
		"alg in lower case":          jwkOf("RS256", members{"alg": "rs256"}),
		"alg a number":               jwkOf("RS256", members{"alg": 256}),
		"kid a number":               jwkOf("RS256", members{"kid": 1}),
		"kid an array":               jwkOf("RS256", members{"kid": []string{"k"}}),
		"n missing":                  jwkOf("RS256", members{"n": nil}),
		"n empty":                    jwkOf("RS256", members{"n": ""}),
		"n a number":                 jwkOf("RS256", members{"n": 65537}),
		"n zero":                     jwkOf("RS256", members{"n": b64(make([]byte, 256))}),
		"n with spare bits":          jwkOf("RS256", members{"n": loose(b64(modulusOf("RS256")))}),
		"n with three times padding": jwkOf("RS256", members{"n": b64(modulusOf("RS256")) + "==="}),
		"n with padding inside":      jwkOf("RS256", members{"n": "AA==" + b64(modulusOf("RS256"))}),
		"n with a space":             jwkOf("RS256", members{"n": " " + b64(modulusOf("RS256"))}),
		"n of padding alone":         jwkOf("RS256", members{"n": "=="}),
		"n in hexadecimal, with 0x":  jwkOf("RS256", members{"n": fmt.Sprintf("0x%x:", modulusOf("RS256"))}),
		"n null":                     jwkOf("RS256", members{"n": null{}}),
		"n in x5c alone":             jwkOf("RS256", members{"n": nil, "e": nil, "x5c": []string{"MIIB"}}),
		"n that Infineon made":       jwkOf("RS256", members{"n": b64(rocaModulus(2048).Bytes())}),
		"n even":                     jwkOf("RS256", members{"n": b64(append(modulusOf("RS256"), 0))}),
		"RSA of 1024 bits":           jwkOf("RS256", members{"n": b64(modulus(1024).Bytes())}),
		"RSA of 2047 bits":           jwkOf("RS256", members{"n": b64(modulus(2047).Bytes())}),
		"RSA of 2047 bits, in 2048":  jwkOf("RS256", members{"n": fill(modulus(2047), 256)}),
		"RSA of 8193 bits":           jwkOf("RS256", members{"n": b64(modulus(8193).Bytes())}),
		"e missing":                  jwkOf("RS256", members{"e": nil}),
		"e empty":                    jwkOf("RS256", members{"e": ""}),
		"e a number":                 jwkOf("RS256", members{"e": 65537}),
		"e 0":                        jwkOf("RS256", members{"e": "AA"}),
		"e 1":                        jwkOf("RS256", members{"e": "AQ"}),
		"e 2":                        jwkOf("RS256", members{"e": "Ag"}),
		"e even":                     jwkOf("RS256", members{"e": "AQAA"}),
		"e of 32 bits":               jwkOf("RS256", members{"e": b64([]byte{0x80, 0, 0, 1})}),
		"e of 33 bits":               jwkOf("RS256", members{"e": b64([]byte{1, 0, 0, 0, 1})}),
		"e of 65 bits, 65537 in 64":  jwkOf("RS256", members{"e": b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})}),
		"e with spare bits":          jwkOf("RS256", members{"e": "AR"}),
		"crv missing":                jwkOf("ES256", members{"crv": nil}),
		"crv a number":               jwkOf("ES256", members{"crv": 256}),
		"crv empty":                  jwkOf("ES256", members{"crv": ""}),
		"crv unknown":                jwkOf("ES256", members{"crv": "P-257"}),
		"crv P-224":                  jwkOf("ES256", members{"crv": "P-224"}),
		"crv secp256k1":              jwkOf("ES256", members{"crv": "secp256k1", "alg": "ES256K"}),
		"crv secp256k1 without alg":  jwkOf("ES256", members{"crv": "secp256k1", "alg": nil}),
		"crv in lower case":          jwkOf("ES256", members{"crv": "p-256"}),
		"crv Ed25519 on EC":          jwkOf("ES256", members{"crv": "Ed25519", "alg": nil}),
		"crv P-256 on OKP":           jwkOf("EdDSA", members{"crv": "P-256", "alg": nil}),
		"P-256 that says P-384":      jwkOf("ES256", members{"crv": "P-384", "alg": nil}),
		"P-384 that says P-256":      jwkOf("ES384", members{"crv": "P-256", "alg": nil}),
		"x missing":                  jwkOf("ES256", members{"x": nil}),
		"y missing":                  jwkOf("ES256", members{"y": nil}),
		"y empty":                    jwkOf("ES256", members{"y": ""}),
		"x null":                     jwkOf("ES256", members{"x": null{}}),
		"x without its first byte":   respelled(whereX("ES256", 32, false), 31),
		"P-521 without its first":    respelled(whereX("ES512", 66, false), 65),
		"x with a one before it":     jwkOf("ES256", members{"x": b64(append([]byte{1}, x.FillBytes(make([]byte, 32))...))}),
		"x a number":                 jwkOf("ES256", members{"x": 1}),
		"x and y of one byte":        jwkOf("ES256", members{"x": "AQ", "y": "AQ"}),
		"x uncompressed, with y":     jwkOf("ES256", members{"x": uncompressed}),
		"off the curve":              jwkOf("ES256", members{"x": fill(new(big.Int).Xor(x, one), 32)}),
		"off the curve by y":         jwkOf("ES384", members{"y": jwkOf("ES384", nil)["x"]}),
		"x and y zero":               jwkOf("ES256", members{"x": fill(new(big.Int), 32), "y": fill(new(big.Int), 32)}),
		"x and y all ones":           jwkOf("ES256", members{"x": ones(32), "y": ones(32)}),
		"x of P-521 all ones":        jwkOf("ES512", members{"x": ones(66)}),
		"x the prime":                jwkOf("ES256", members{"x": fill(elliptic.P256().Params().P, 32)}),
		"X25519":                     jwkOf("EdDSA", members{"crv": "X25519", "alg": nil}),
		"X25519 that says EdDSA":     jwkOf("EdDSA", members{"crv": "X25519"}),
		"X448":                       jwkOf("EdDSA", members{"crv": "X448", "alg": nil, "x": b64(make([]byte, 56))}),
		"Ed448":                      jwkOf("EdDSA", members{"crv": "Ed448", "x": b64(make([]byte, 57))}),
		"OKP without crv":            jwkOf("EdDSA", members{"crv": nil}),
		"OKP without x":              jwkOf("EdDSA", members{"x": nil}),
		"OKP of 31 bytes":            jwkOf("EdDSA", members{"x": b64(make([]byte, 31))}),
		"OKP of 33 bytes":            jwkOf("EdDSA", members{"x": zeroBefore(edKey.Public().(ed25519.PublicKey))}),
		"OKP with spare bits":        jwkOf("EdDSA", members{"x": loose(jwkOf("EdDSA", nil)["x"].(string))}),
		"OKP of low order":           jwkOf("EdDSA", members{"x": b64(encoded(edOrder8, 0))}),
		"OKP of order 4":             jwkOf("EdDSA", members{"x": b64(make([]byte, 32))}),
		"OKP that is the identity":   jwkOf("EdDSA", members{"x": b64(encoded(one, 0))}),
		"OKP that is not canonical":  jwkOf("EdDSA", members{"x": b64(encoded(edP, 1))}),
		"OKP off the curve":          jwkOf("EdDSA", members{"x": b64(encoded(big.NewInt(2), 0))}),
		"oct in standard base64":     jwkOf("HS256", members{"k": strings.Repeat("+/", 32)}),
		"OKP null":                   jwkOf("EdDSA", members{"x": null{}}),
		"OKP without leading zeros":  jwkOf("EdDSA", members{"x": b64(make([]byte, 30))}),
		"oct without k":              jwkOf("HS256", members{"k": nil}),
		"oct with k empty":           jwkOf("HS256", members{"k": ""}),
		"oct of 31 bytes":            jwkOf("HS256", members{"k": b64(make([]byte, 31))}),
		"oct that is not base64url":  jwkOf("HS256", members{"k": strings.Repeat("+", 64)}),
		"oct with padding":           jwkOf("HS256", members{"k": b64(make([]byte, 32)) + "="}),
		"oct with spare bits":        jwkOf("HS256", members{"k": loose(b64(make([]byte, 32)))}),
		"oct too short for its alg":  jwkOf("HS512", members{"k": b64(make([]byte, 63))}),
		"oct with an alg of RSA":     jwkOf("HS256", members{"alg": "RS256"}),
		"oct for encryption":         jwkOf("HS256", members{"alg": "A256GCM", "use": "enc"}),
	} {
		rows[name] = mint.JSON(key)
	}
	return rows
}

func ones(n int) string { return b64(bytes.Repeat([]byte{0xff}, n)) }

// brokenSets are no JWK Sets, or not ones that every parser reads the same way.
func brokenSets() map[string]string {
	key := mint.JSON(jwkOf("ES256", nil))
	with := func(more string) string { return key[:len(key)-1] + "," + more + "}" }
	return map[string]string{
		"nothing":                           ``,
		"null":                              `null`,
		"an array of keys":                  `[` + key + `]`,
		"a key without a set":               key,
		"HTML":                              `<!DOCTYPE html><html><body>502 Bad Gateway</body></html>`,
		"an error in JSON":                  `{"error":"temporarily_unavailable"}`,
		"an object without members":         `{}`,
		"keys null":                         `{"keys":null}`,
		"keys an object":                    `{"keys":` + key + `}`,
		"keys an object of keys":            `{"keys":{"a":` + key + `}}`,
		"keys a string":                     `{"keys":"` + strings.Repeat("A", 40) + `"}`,
		"keys a number":                     `{"keys":1}`,
		"keys empty":                        `{"keys":[]}`,
		"Keys in another case":              `{"Keys":[` + key + `]}`,
		"keys twice":                        `{"keys":[` + key + `],"keys":[` + key + `]}`,
		"keys twice, once empty":            `{"keys":[],"keys":[` + key + `]}`,
		"keys twice, once escaped":          `{"keys":[` + key + `],"\u006beys":[]}`,
		"keys and KEYS":                     `{"keys":[` + key + `],"KEYS":[]}`,
		"kid twice in a key":                `{"keys":[` + with(`"kid":"b"`) + `]}`,
		"kid twice in a key, once escaped":  `{"keys":[` + with(`"\u006bid":"b"`) + `]}`,
		"x and X in a key":                  `{"keys":[` + with(`"X":"AAAA"`) + `]}`,
		"a member twice deep inside":        `{"keys":[` + with(`"a":[{"b":1,"b":2}]`) + `]}`,
		"a member twice beside the keys":    `{"keys":[` + key + `],"a":{"b":1,"b":2}}`,
		"a member twice in a useless key":   `{"keys":[` + key + `,{"kty":"AKP","a":1,"a":2}]}`,
		"a key cut off":                     `{"keys":[` + key[:len(key)-1] + `]}`,
		"a set cut off":                     `{"keys":[` + key,
		"trailing data":                     `{"keys":[` + key + `]}x`,
		"two sets":                          `{"keys":[` + key + `]}{"keys":[` + key + `]}`,
		"a byte order mark":                 "\uFEFF" + `{"keys":[` + key + `]}`,
		"a comma behind the last key":       `{"keys":[` + key + `,]}`,
		"a comment":                         `{"keys":[` + key + `/**/]}`,
		"nested 33 deep":                    `{"keys":[` + key + `],"a":` + nest(32, `[`, ``, `]`) + `}`,
		"nested 33 deep in a key":           `{"keys":[` + with(`"a":`+nest(30, `[`, ``, `]`)) + `]}`,
		"invalid UTF-8":                     `{"keys":[` + with("\"a\":\"\xff\"") + `]}`,
		"a lone surrogate":                  `{"keys":[` + with(`"a":"\uD800"`) + `]}`,
		"1e400":                             `{"keys":[` + with(`"a":1e400`) + `]}`,
		"a set in base64":                   b64([]byte(`{"keys":[` + key + `]}`)),
		"a signed set":                      minted()["ES256"].Sign(`{"alg":"ES256"}`, `{"keys":[`+key+`]}`),
		"a PEM file":                        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"certificates by kid, as of Google": `{"a1b2":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}`,
	}
}

// mixedSets are sets of several keys with how many of them serve; -1: the set is refused.
func mixedSets() map[string]struct {
	set            []byte
	static, remote int
} {
	type row = struct {
		set            []byte
		static, remote int
	}
	es, ed := jwkOf("ES256", nil), jwkOf("EdDSA", nil)
	a := func(more members) members { // one RSA key
		maps.Copy(more, members{"n": b64(modulusOf("RS256"))})
		return jwkOf("RS256", more)
	}
	b := func(more members) members { // another one
		maps.Copy(more, members{"n": b64(modulusOf("RS384"))})
		return jwkOf("RS256", more)
	}
	leadingZero := jwkOf("RS256", members{"n": zeroBefore(modulusOf("RS256"))})
	otherSecret := jwkOf("HS256", members{"k": b64(make([]byte, 32))})
	kid := func(m members, id string) members { m = maps.Clone(m); m["kid"] = id; return m }
	deep := nest(31, `[`, ``, `]`)
	rows := map[string]row{
		"two keys":                         {mint.Set(es, ed), 2, 2},
		"members beside the keys":          {[]byte(`{"a":[1],"keys":[` + mint.JSON(es) + `],"next":null}`), 1, 1},
		"white space":                      {[]byte(" \n{ \"keys\" : [ " + mint.JSON(es) + "\r\n] }\t"), 1, 1},
		"nested 32 deep":                   {[]byte(`{"keys":[` + mint.JSON(es) + `],"a":` + deep + `}`), 1, 1},
		"a secret alone":                   {mint.Set(jwkOf("HS256", nil)), 1, -1},
		"a secret among others":            {mint.Set(es, jwkOf("HS512", nil), ed), 3, 2},
		"a secret without alg":             {mint.Set(es, jwkOf("HS256", members{"alg": nil, "use": nil})), 2, 1},
		"a secret with the kid of a pair":  {mint.Set(es, kid(jwkOf("HS256", nil), "ES256")), 2, 1},
		"each algorithm":                   {mint.SetOf(slices.Collect(maps.Values(minted()))...), 13, 10},
		"no key has a kid":                 {mint.Set(a(members{"kid": nil}), b(members{"kid": nil})), 2, 2},
		"each kid is empty":                {mint.Set(a(members{"kid": ""}), b(members{"kid": ""})), 2, 2},
		"kids that differ in case":         {mint.Set(a(members{"kid": "k"}), b(members{"kid": "K"})), 2, 2},
		"one kid, types differ":            {mint.Set(kid(es, "k"), kid(ed, "k"), a(members{"kid": "k"})), 3, 3},
		"one kid, curves differ":           {mint.Set(kid(es, "k"), kid(jwkOf("ES384", nil), "k")), 2, 2},
		"one kid, algs differ":             {mint.Set(a(members{"kid": "k"}), b(members{"kid": "k", "alg": "PS256"})), 2, 2},
		"one kid, one alg":                 {mint.Set(a(members{"kid": "k"}), b(members{"kid": "k"})), -1, -1},
		"one kid, one alg, beside another": {mint.Set(a(members{"kid": "k"}), es, b(members{"kid": "k"})), -1, 1},
		"one kid, one without alg":         {mint.Set(a(members{"kid": "k"}), es, b(members{"kid": "k", "alg": nil})), -1, 1},
		"one kid, none with alg":           {mint.Set(a(members{"alg": nil}), es, b(members{"alg": nil})), -1, 1},
		"one kid, three keys":              {mint.Set(a(members{}), b(members{}), es, a(members{})), -1, 1},
		"one kid, spelled in two ways": {[]byte(`{"keys":[` + mint.JSON(a(members{"kid": "k"})) + `,` +
			strings.Replace(mint.JSON(b(members{"kid": "k"})), `"kid":"k"`, `"kid":"\u006b"`, 1) + `]}`), -1, -1},
		"the same key twice":          {mint.Set(es, es), -1, 1},
		"the same key three times":    {mint.Set(es, ed, es, es), -1, 2},
		"the same key by two kids":    {mint.Set(es, kid(es, "k")), 2, 2},
		"a kid again on a useless":    {mint.Set(a(members{"kid": "k"}), b(members{"kid": "k", "use": "enc"})), -1, 1},
		"a kid again on a secret":     {mint.Set(jwkOf("HS256", nil), otherSecret), -1, -1},
		"100 keys":                    {manyKeys(100), 100, 100},
		"101 keys":                    {manyKeys(101), 101, -1},
		"101 elements, one usable":    {[]byte(`{"keys":[` + strings.Repeat(`{},`, 100) + mint.JSON(es) + `]}`), -1, -1},
		"100 elements, one usable":    {[]byte(`{"keys":[` + strings.Repeat(`{},`, 99) + mint.JSON(es) + `]}`), -1, 1},
		"100 times null, one usable":  {[]byte(`{"keys":[` + strings.Repeat(`null,`, 99) + mint.JSON(es) + `]}`), -1, 1},
		"unusable ones only":          {mint.Set(jwkOf("RS256", members{"use": "enc"}), members{"kty": "AKP"}), -1, -1},
		"a leading zero, and without": {mint.Set(a(members{}), leadingZero), -1, 1},
	}
	return rows
}

func manyKeys(n int) []byte {
	var jwks []map[string]any
	for i := range n {
		public, _, _ := ed25519.GenerateKey(rand.Reader)
		jwks = append(jwks, members{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "kid": fmt.Sprint(i)})
	}
	return mint.Set(jwks...)
}

// count is how many keys a parser finds; -1: it refuses the set.
func count(t *testing.T, s *Set, err error, text []byte) int {
	t.Helper()
	if err == nil {
		return s.Len()
	}
	// A secret in a key set must not end up in a log.
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		secret := minted()[alg].JWK()["k"].(string)
		if bytes.Contains(text, []byte(secret)) {
			checkLeak(t, err, secret)
		}
	}
	return -1
}

func remoteCount(t *testing.T, text []byte) int {
	t.Helper()
	s, err := ParseRemote(text)
	return count(t, s, err, text)
}

func staticCount(t *testing.T, text []byte) int {
	t.Helper()
	s, err := ParseStatic(text)
	return count(t, s, err, text)
}

func TestAKeyThatIsFitForItServesItsAlgorithmsOnly(t *testing.T) {
	for name, row := range usableKeys() {
		t.Run(name, func(t *testing.T) {
			for parser, parse := range map[string]func([]byte) (*Set, error){"static": ParseStatic, "remote": ParseRemote} {
				s, err := parse(mint.Set(row.jwk))
				if err != nil || s.Len() != 1 || s.Algs() != row.algs {
					t.Fatalf("%s: %+v, %v", parser, s, err)
				}
				kid, _ := row.jwk["kid"].(string)
				for a := range numAlgs {
					found, _ := s.Find(Header{Alg: a, KeyID: kid})
					if row.algs.Has(a) != (len(found) == 1) {
						t.Errorf("%s: %d keys for %s", parser, len(found), algNames[a])
					}
				}
			}
		})
	}
}

func TestASetVerifiesTheTokensOfItsKeys(t *testing.T) {
	for _, alg := range mint.Algorithms {
		s, err := ParseStatic(mint.Set(jwkOf(alg, nil)))
		if alg[0] != 'H' {
			s, err = ParseRemote(mint.Set(jwkOf(alg, nil)))
		}
		if err != nil {
			t.Fatal(alg, err)
		}
		token, err := Parse(minted()[alg].Token(nil))
		if err != nil {
			t.Fatal(alg, err)
		}
		if found, err := s.Find(token.Header); len(found) != 1 || !token.VerifiedBy(found[0]) {
			t.Errorf("%s: not verified by %d keys, %v", alg, len(found), err)
		}
	}
}

func TestAUselessKeyIsIgnoredWhenPublishedAndAnErrorWhenConfigured(t *testing.T) {
	good := mint.JSON(jwkOf("PS512", members{"kid": "good"}))
	for name, key := range uselessKeys() {
		t.Run(name, func(t *testing.T) {
			alone := []byte(`{"keys":[` + key + `]}`)
			if s, r := staticCount(t, alone), remoteCount(t, alone); s != -1 || r != -1 {
				t.Errorf("alone: %d keys if configured, %d if published", s, r)
			}
			for _, keys := range []string{good + "," + key, key + "," + good, key + "," + good + "," + key} {
				set := []byte(`{"keys":[` + keys + `]}`)
				if s, r := staticCount(t, set), remoteCount(t, set); s != -1 || r != 1 {
					t.Errorf("beside a good one: %d keys if configured, %d if published", s, r)
				}
				if s, err := ParseRemote(set); err == nil {
					if _, err := s.Find(Header{Alg: PS512, KeyID: "good"}); err != nil {
						t.Errorf("the good one is not found: %v", err)
					}
				}
			}
		})
	}
}

func TestABrokenSetIsRefusedAsAWhole(t *testing.T) {
	for name, set := range brokenSets() {
		t.Run(name, func(t *testing.T) {
			if s, r := staticCount(t, []byte(set)), remoteCount(t, []byte(set)); s != -1 || r != -1 {
				t.Errorf("%d keys if configured, %d if published", s, r)
			}
		})
	}
}

func TestOfSeveralKeysThoseServeThatNothingConfuses(t *testing.T) {
	for name, row := range mixedSets() {
		t.Run(name, func(t *testing.T) {
			if s, r := staticCount(t, row.set), remoteCount(t, row.set); s != row.static || r != row.remote {
				t.Errorf("%d keys if configured, want %d; %d if published, want %d", s, row.static, r, row.remote)
			}
		})
	}
}

func TestEachFaultOfAConfiguredSetIsReported(t *testing.T) {
	_, err := ParseStatic(mint.Set(jwkOf("RS256", members{"use": "enc"}), jwkOf("ES256", nil),
		jwkOf("EdDSA", members{"x": nil}), jwkOf("ES256", nil)))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"keys[0]: use", "keys[2]: x", "one kid"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestASecretOfAConfiguredSetIsFoundByItsKid(t *testing.T) {
	s, err := ParseStatic(mint.Set(jwkOf("HS256", members{"kid": "a"}),
		jwkOf("HS512", members{"kid": "b"}), jwkOf("HS512", members{"kid": "c", "alg": nil})))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		alg  Alg
		kid  string
		want int
	}{{HS256, "a", 1}, {HS256, "c", 1}, {HS512, "b", 1}, {HS512, "c", 1}, {HS512, "a", 0}, {HS384, "c", 1}, {HS512, "", 2},
		{HS384, "", 1}, {RS256, "a", 0}} {
		found, _ := s.Find(Header{Alg: row.alg, KeyID: row.kid})
		if len(found) != row.want || row.want == 1 && row.kid != "" && found[0].ID != row.kid {
			t.Errorf("%s, kid %q: %d keys", algNames[row.alg], row.kid, len(found))
		}
	}
}

func TestAKidChoosesTheKey(t *testing.T) {
	key := func(alg, kid string) members { return jwkOf(alg, members{"kid": kid}) }
	open := func(alg, kid string) members { return jwkOf(alg, members{"kid": kid, "alg": nil}) }
	for _, row := range []struct {
		name   string
		keys   []members
		header Header
		want   string // the kids found, with spaces between them; "-": a key without
	}{
		{"the one of two that has it", []members{key("RS256", "a"), open("RS384", "b")}, Header{Alg: RS256, KeyID: "b"}, "b"},
		{"the only key has it", []members{key("RS256", "a")}, Header{Alg: RS256, KeyID: "a"}, "a"},
		{"the only key has another", []members{key("RS256", "a")}, Header{Alg: RS256, KeyID: "b"}, ""},
		{"the only key that fits has another", []members{key("RS256", "a"), key("ES256", "b")},
			Header{Alg: RS256, KeyID: "b"}, ""},
		{"none has it", []members{key("RS256", "a"), open("RS384", "b")}, Header{Alg: RS256, KeyID: "c"}, ""},
		{"case tells kids apart", []members{key("RS256", "a"), open("RS384", "A")}, Header{Alg: RS256, KeyID: "A"}, "A"},
		{"the one that has it serves another alg", []members{key("RS256", "a"), key("RS256", "b")},
			Header{Alg: PS256, KeyID: "a"}, ""},
		{"one kid, alg tells them apart", []members{key("RS256", "a"), key("PS256", "a")},
			Header{Alg: PS256, KeyID: "a"}, "a"},
		{"one kid, type tells them apart", []members{key("ES256", "a"), key("EdDSA", "a")},
			Header{Alg: EdDSA, KeyID: "a"}, "a"},
		{"no kid and one key", []members{key("RS256", "a")}, Header{Alg: RS256}, "a"},
		{"no kid and one key that fits", []members{key("RS256", "a"), key("ES256", "b"), key("PS256", "c")},
			Header{Alg: ES256}, "b"},
		{"no kid and two that fit", []members{key("RS256", "a"), open("RS384", "b")}, Header{Alg: RS256}, "a b"},
		{"no kid and two that fit, one without", []members{key("RS256", "a"), open("RS384", "")}, Header{Alg: RS256}, "a -"},
		{"no kid and two that fit, both without", []members{key("RS256", ""), open("RS384", "")}, Header{Alg: RS256}, "- -"},
		{"no kid and four that fit", rsaKeys(4, 5), Header{Alg: RS256}, "0 1 2 3"},
		{"no kid and five that fit", rsaKeys(5, 5), Header{Alg: RS256}, ""},
		{"no kid and five, of which four fit", append(rsaKeys(4, 5), key("ES256", "e")), Header{Alg: RS256}, "0 1 2 3"},
		{"a kid among five that fit", rsaKeys(5, 5), Header{Alg: RS256, KeyID: "3"}, "3"},
		{"a kid and four keys without", rsaKeys(4, 0), Header{Alg: RS256, KeyID: "x"}, "- - - -"},
		{"a kid and five keys without", rsaKeys(5, 0), Header{Alg: RS256, KeyID: "x"}, ""},
		{"the one of five, beside three without", rsaKeys(5, 2), Header{Alg: RS256, KeyID: "1"}, "1 - - -"},
		{"the one of five, beside four without", rsaKeys(5, 1), Header{Alg: RS256, KeyID: "0"}, "0"},
		{"no kid and none that fits", []members{key("RS256", "a")}, Header{Alg: ES256}, ""},
		{"a key without kid is for any", []members{key("RS256", "")}, Header{Alg: RS256, KeyID: "c"}, "-"},
		{"a key without kid beside others", []members{key("RS256", "a"), open("RS384", "")},
			Header{Alg: RS256, KeyID: "c"}, "-"},
		{"a key without kid beside the one", []members{key("RS256", "a"), open("RS384", "")},
			Header{Alg: RS256, KeyID: "a"}, "a -"},
		{"keys without kid are all tried", []members{key("RS256", ""), open("RS384", "")},
			Header{Alg: RS256, KeyID: "c"}, "- -"},
		{"a secret is no key of a published set", []members{key("HS256", "a"), key("RS256", "b")},
			Header{Alg: HS256, KeyID: "a"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := ParseRemote(mint.Set(row.keys...))
			if err != nil {
				t.Fatal(err)
			}
			var kids []string
			found, err := s.Find(row.header)
			if (err == nil) != (row.want != "") || err != nil && !errors.Is(err, ErrUnknownKey) {
				t.Errorf("error %v", err)
			}
			for _, k := range found {
				if !k.Algs.Has(row.header.Alg) {
					t.Errorf("%q does not serve %s", k.ID, algNames[row.header.Alg])
				}
				kids = append(kids, map[bool]string{true: "-", false: k.ID}[k.ID == ""])
			}
			if got := strings.Join(kids, " "); got != row.want {
				t.Errorf("found %q, want %q", got, row.want)
			}
		})
	}
}

// rsaKeys are JWKs of different RSA keys that fit RS256, the first of which have the kids 0, 1, 2…
func rsaKeys(n, named int) []members {
	var keys []members
	for i, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}[:n] {
		kid := any(nil)
		if i < named {
			kid = fmt.Sprint(i)
		}
		keys = append(keys, jwkOf(alg, members{"alg": "RS256", "kid": kid}))
	}
	return keys
}

func TestAThumbprintChoosesTheKeyWhereThereIsNoKid(t *testing.T) {
	const none = "-"
	key := func(alg, kid string, more members) members {
		all := jwkOf(alg, more)
		all["alg"], all["kid"] = "RS256", kid
		return all
	}
	x5t := func(s string) members { return members{"x5t": s} }
	s256 := func(s string) members { return members{"x5t#S256": s} }
	two := []members{key("RS256", "thumb-one", x5t("thumb-one")), key("RS384", "thumb-two", x5t("thumb-two"))}
	for _, row := range []struct {
		name   string
		keys   []members
		header Header
		want   string // the kids found; "-": none
	}{
		{"the first of two", two, Header{X5T: "thumb-one"}, "thumb-one"},
		{"the second of two", two, Header{X5T: "thumb-two"}, "thumb-two"},
		{"none has it", two, Header{X5T: "thumb-three"}, none},
		{"in other letters", two, Header{X5T: "Thumb-One"}, none},
		{"the one key has another", two[:1], Header{X5T: "thumb-two"}, none},
		{"the other kind of thumbprint", two, Header{X5TS256: "thumb-one"}, "thumb-one thumb-two"},
		{"a kid goes before it", two, Header{KeyID: "thumb-two", X5T: "thumb-one"}, "thumb-two"},
		{"a kid that none has", two, Header{KeyID: "c", X5T: "thumb-one"}, none},
		{"the S256 goes before it", []members{key("RS256", "a", members{"x5t": "1", "x5t#S256": "2"}),
			key("RS384", "b", members{"x5t": "3", "x5t#S256": "4"})}, Header{X5T: "1", X5TS256: "4"}, "b"},
		{"each key has another kind", []members{key("RS256", "a", x5t("1")), key("RS384", "b", s256("2"))},
			Header{X5T: "1", X5TS256: "2"}, "a b"},
		{"each key has another kind, one of them wrong", []members{key("RS256", "a", x5t("1")), key("RS384", "b", s256("2"))},
			Header{X5T: "1", X5TS256: "3"}, "a"},
		{"a key without is a candidate", []members{key("RS256", "a", nil), key("RS384", "b", x5t("1"))}, Header{X5T: "1"},
			"b a"},
		{"no key has one", []members{key("RS256", "a", nil), key("RS384", "b", nil)}, Header{X5T: "1"}, "a b"},
		{"more than four keys, and no key has one", rsaKeys(5, 5), Header{X5T: "1"}, none},
		{"more than four keys, and one has it", append(rsaKeys(5, 5), key("PS512", "b", x5t("1"))), Header{X5T: "1"}, "b"},
		{"keys without a kid", []members{key("RS256", "", x5t("1")), key("RS384", "", x5t("2"))},
			Header{KeyID: "c", X5T: "2"}, ""},
		{"in standard base64 with padding", []members{key("RS256", "a", x5t("_-8")), key("RS384", "b", x5t("AAA"))},
			Header{X5T: "_-8"}, "a"},
		{"of a key in standard base64 with padding", []members{key("RS256", "a", x5t("/+8=")), key("RS384", "b",
			x5t("AAA="))},
			Header{X5T: "_-8"}, "a"},
		{"of a key that is no string", []members{key("RS256", "a", members{"x5t": 1}), key("RS384", "b", x5t("2"))},
			Header{X5T: "1"}, "a"},
		{"for another algorithm", two, Header{Alg: PS256, X5T: "thumb-one"}, none},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := ParseRemote(mint.Set(row.keys...))
			if err != nil {
				t.Fatal(err)
			}
			if row.header.Alg == HS256 {
				row.header.Alg = RS256
			}
			found, err := s.Find(row.header)
			if (err != nil) != (row.want == none) || err != nil && !errors.Is(err, ErrUnknownKey) {
				t.Fatalf("got %d keys, %v, want %q", len(found), err, row.want)
			}
			var kids []string
			for _, k := range found {
				kids = append(kids, k.ID)
			}
			if got := strings.Join(kids, " "); err == nil && got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestWhyNoKeyIsFoundIsSaid(t *testing.T) {
	const unknown, tooMany = "no key of the issuer fits the token's kid and algorithm",
		"more than four keys of the issuer fit the token, and it does not say which"
	s := must(ParseRemote(mint.Set(append(rsaKeys(5, 5), jwkOf("ES256", members{"kid": "off", "x": jwkOf("ES256",
		nil)["y"]}),
		jwkOf("HS256", members{"kid": "secret"}), jwkOf("EdDSA", members{"kid": "sealing", "use": "enc"}),
		jwkOf("ES384", members{"kid": "twice"}), jwkOf("ES384", members{"kid": "twice", "x": jwkOf("ES384", nil)["x"]}),
		jwkOf("ES512", members{"kid": "0", "d": "AQ"}))...)))
	for name, row := range map[string]struct {
		header Header
		want   string
	}{
		"a kid that no key has":           {Header{Alg: RS256, KeyID: "x"}, unknown},
		"no kid, and no key that fits":    {Header{Alg: EdDSA}, unknown},
		"no kid, and too many":            {Header{Alg: RS256}, tooMany},
		"a kid, and another algorithm":    {Header{Alg: PS256, KeyID: "1"}, unknown},
		"the kid of a key off its curve":  {Header{Alg: ES256, KeyID: "off"}, "a point that is not on its curve"},
		"the kid of a secret":             {Header{Alg: HS256, KeyID: "secret"}, "a secret"},
		"the kid of a key for encryption": {Header{Alg: EdDSA, KeyID: "sealing"}, "use: not for signatures"},
		"of two keys, one cannot be used": {Header{Alg: ES512, KeyID: "0"}, "a private key"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := s.Find(row.header)
			if keys != nil || !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, %v, want %q", keys, err, row.want)
			}
			if row.want != unknown && row.want != tooMany &&
				!strings.HasPrefix(err.Error(), "the issuer's key with this kid cannot be used: ") {
				t.Errorf("got %q", err)
			}
		})
	}
	if found, err := s.Find(Header{Alg: RS256, KeyID: "0"}); len(found) != 1 {
		t.Errorf("the key whose kid another has that cannot be used: %v", err)
	}
	if found, err := s.Find(Header{Alg: ES384, KeyID: "twice"}); len(found) != 1 {
		t.Errorf("the same key twice: %v", err)
	}
}

func TestEachKeyThatIsLeftOutIsSaidWithItsReason(t *testing.T) {
	s := must(ParseRemote([]byte(`{"keys":[` + strings.Join([]string{
		mint.JSON(jwkOf("ES256", members{"kid": "good"})), `null`, `{"kid":"what","kty":"AKP"}`, `{"kid":1,"kty":"RSA"}`,
		mint.JSON(jwkOf("RS256", members{"kid": "x5c", "n": nil, "e": nil, "x5c": []string{"MIIB"}})),
		mint.JSON(jwkOf("RS256", members{"kid": "roca", "n": rocaOfWycheproof})),
		mint.JSON(jwkOf("RS256", members{"kid": strings.Repeat("k", 256), "use": "enc"})),
		mint.JSON(jwkOf("RS256", members{"kid": strings.Repeat("k", 257), "use": "enc"})),
		mint.JSON(jwkOf("ES384", members{"kid": "one"})), mint.JSON(jwkOf("ES384", members{"kid": "same"})),
		mint.JSON(whereX("ES384", 48, false).JWK()), mint.JSON(whereX("ES384", 48, false).JWK()),
	}, ",") + `]}`)))
	want := []LeftOut{
		{"", "not an object"}, {"what", "kty: missing or not supported"}, {"", "kid: not a string"},
		{"x5c", "n: missing, and a certificate (x5c) is not read in its place"},
		{"roca", "an RSA modulus that can be factored (ROCA, CVE-2017-15361)"},
		{strings.Repeat("k", 256), "use: not for signatures"},
		{"", "use: not for signatures"},
		{"ES384", "another key of the set has the same kid and algorithm"},
		{"ES384", "another key of the set has the same kid and algorithm"},
	}
	if got := s.LeftOut(); !slices.Equal(got, want) || s.Len() != 3 {
		t.Errorf("got %d keys, and %q, want 3 and %q", s.Len(), got, want)
	}
	_, err := ParseRemote(mint.Set(jwkOf("RS256", members{"kid": "a", "use": "enc"}), jwkOf("HS256", members{"kid": "b"}),
		members{"kty": "c"}, jwkOf("ES256", members{"y": nil}), jwkOf("ES384", members{"alg": "ES256"})))
	const reason = `a key set without a usable key: kid "a": use: not for signatures; ` +
		`kid "b": a secret, which is none once it is published; kid "": kty: missing or not supported; and 2 more`
	if err == nil || err.Error() != reason {
		t.Errorf("got %v, want %s", err, reason)
	}
}

func TestMoreThanFourKeysWithoutAKidAreAFaultOfTheirConfiguration(t *testing.T) {
	secret := func(size int) *Key { return must(NewSecret(bytes.Repeat([]byte{1}, size))) }
	public := func(alg string) *Key { return must(NewPublicKey(minted()[alg].Public())) }
	four := []*Key{public("RS256"), public("RS384"), public("PS256"), public("PS384")}
	for name, row := range map[string]struct {
		keys []*Key
		want string // empty: no fault
	}{
		"none":         {nil, ""},
		"four secrets": {[]*Key{secret(64), secret(65), secret(66), secret(67)}, ""},
		"five secrets": {[]*Key{secret(64), secret(65), secret(66), secret(67), secret(32)},
			"5 keys without a kid that serve HS256"},
		"four public keys":       {four, ""},
		"four of RSA and others": {append(four[:4:4], public("ES256"), public("EdDSA"), public("ES384")), ""},
		"five of RSA":            {append(four[:4:4], public("RS512")), "5 keys without a kid that serve RS256"},
		"two times four of two curves": {slices.Concat(slices.Repeat([]*Key{public("ES256")}, 4),
			slices.Repeat([]*Key{public("ES384")}, 4)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewSet(row.keys)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			if err == nil && s.Len() != len(row.keys) {
				t.Errorf("got %d keys, want %d", s.Len(), len(row.keys))
			}
		})
	}
	if _, err := ParseStatic(mint.Set(rsaKeys(5, 0)...)); err == nil || !strings.Contains(err.Error(),
		"5 keys without a kid") {
		t.Errorf("a set of five keys without a kid: got %v", err)
	}
	if s, err := ParseStatic(mint.Set(rsaKeys(6, 2)...)); err != nil || s.Len() != 6 {
		t.Errorf("a set of four keys without a kid, and two more: got %v", err)
	}
}

// counting is a secret that counts how often it is used.
func counting(secret []byte, used *int) *Key {
	k := must(NewSecret(secret))
	for a := range k.macs {
		if k.macs[a] != nil {
			newMAC := k.macs[a].New
			k.macs[a] = &sync.Pool{New: func() any { *used++; return newMAC() }}
		}
	}
	return k
}

func TestVerifyTriesAllSecretsAndStopsAtThePublicKeyThatFits(t *testing.T) {
	for at := range 4 { // which secret signed; 3: none
		var secrets []*Key
		used := make([]int, 3)
		signing := make([]byte, 64)
		rand.Read(signing)
		for i := range 3 {
			secret := bytes.Repeat([]byte{byte(i)}, 64)
			if i == at {
				secret = signing
			}
			secrets = append(secrets, counting(secret, &used[i]))
		}
		token := must(Parse((&mint.Key{Alg: "HS512", Private: signing}).Token(nil)))
		by := Verify(&token, secrets)
		if at < 3 && by != secrets[at] || at == 3 && by != nil {
			t.Errorf("signed by secret %d: got %v", at, by)
		}
		if !slices.Equal(used, []int{1, 1, 1}) {
			t.Errorf("signed by secret %d: used %v times, want each once", at, used)
		}
	}
	pair := minted()["ES256"]
	token := must(Parse(pair.Token(nil)))
	good, again := must(NewPublicKey(pair.Public())), must(NewPublicKey(pair.Public()))
	wrong := must(NewPublicKey(mint.New("ES256", "").Public()))
	panics := &Key{Algs: algsOf("ES256"), public: (*ecdsa.PublicKey)(nil)}
	if by := Verify(&token, []*Key{wrong, good, panics, again}); by != good {
		t.Errorf("got %v, want the second key", by)
	}
	if by := Verify(&token, []*Key{wrong}); by != nil {
		t.Errorf("got %v, want none", by)
	}
	if by := Verify(&token, nil); by != nil {
		t.Errorf("got %v, want none", by)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		s := must(ParseRemote(manyKeys(n)))
		h := Header{Alg: EdDSA, KeyID: fmt.Sprint(n - 1)}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Find(h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The keys of HMAC and PublicKeys have no kid: a token's says nothing about them.
func TestKeysWithoutNamesAreTriedWhateverTheKid(t *testing.T) {
	var secrets []*mint.Key
	var keys []*Key
	for range 3 {
		secret := mint.New("HS256", "")
		secrets = append(secrets, secret)
		keys = append(keys, must(NewSecret(secret.Private.([]byte))))
	}
	keys = append(keys, must(NewPublicKey(minted()["ES256"].Public())))
	s := must(NewSet(keys))
	if s.Len() != 4 || s.Algs() != HMACAlgs|algsOf("ES256") {
		t.Errorf("%d keys for %b", s.Len(), s.Algs())
	}
	for i, secret := range secrets {
		for _, kid := range []string{"", "k1"} {
			secret.ID = kid
			token := must(Parse(secret.Token(nil)))
			found, _ := s.Find(token.Header)
			if len(found) != 3 {
				t.Fatalf("%d keys for kid %q", len(found), kid)
			}
			for j, k := range found {
				if token.VerifiedBy(k) != (i == j) {
					t.Errorf("the token of secret %d, verified by secret %d: %v", i, j, i != j)
				}
			}
		}
	}
	if found, _ := s.Find(Header{Alg: ES256, KeyID: "k1", X5T: "t"}); len(found) != 1 || found[0] != keys[3] {
		t.Errorf("ES256: %d keys", len(found))
	}
	if found, err := s.Find(Header{Alg: RS256}); len(found) != 0 || err != ErrUnknownKey {
		t.Errorf("RS256: %d keys, %v", len(found), err)
	}
	empty := must(NewSet(nil))
	if _, err := empty.Find(Header{}); empty.Len() != 0 || empty.Algs() != 0 || err != ErrUnknownKey {
		t.Error("a set of no keys has one")
	}
}

const providerSets = "../../testdata/jwks"

func TestTheKeySetsOfProvidersAreRead(t *testing.T) {
	rsaAll := algsOf("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
	want := map[string]struct {
		keys int // 0: the set is refused
		algs Algs
	}{
		"auth0.json":          {2, algsOf("RS256")},
		"authentik.json":      {1, algsOf("RS256")},
		"clerk.json":          {1, algsOf("RS256")},
		"cognito.json":        {2, algsOf("RS256")},
		"entra.json":          {4, rsaAll},
		"firebase.json":       {3, algsOf("RS256")},
		"google.json":         {2, algsOf("RS256")},
		"keycloak.json":       {3, algsOf("RS256", "ES256", "EdDSA")},
		"okta.json":           {2, algsOf("RS256")},
		"supabase.json":       {2, algsOf("ES256", "RS256")},
		"supabase-hs256.json": {0, 0},
		"zitadel.json":        {4, algsOf("RS256", "ES384", "ES512", "EdDSA")},
	}
	files, err := filepath.Glob(providerSets + "/*.json")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, %v; want %d", len(files), err, len(want))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, ok := want[filepath.Base(file)]
			if !ok {
				t.Fatal("a file that no row expects")
			}
			s, err := ParseRemote(text)
			if want.keys == 0 {
				if err == nil {
					t.Errorf("%d keys", s.Len())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Len() != want.keys || s.Algs() != want.algs {
				t.Errorf("%d keys for %b, want %d for %b", s.Len(), s.Algs(), want.keys, want.algs)
			}
			for a, fit := range s.byAlg {
				for _, k := range fit.all {
					if found, err := s.Find(Header{Alg: Alg(a), KeyID: k.ID}); k.ID == "" || len(found) != 1 || found[0] != k {
						t.Errorf("%d keys by the kid %q, %v", len(found), k.ID, err)
					}
				}
			}
		})
	}
}

func FuzzParseSet(f *testing.F) {
	for _, row := range usableKeys() {
		f.Add(mint.Set(row.jwk))
	}
	good := mint.JSON(jwkOf("ES256", members{"kid": "good"}))
	for _, key := range uselessKeys() {
		f.Add([]byte(`{"keys":[` + good + `,` + key + `]}`))
	}
	for _, set := range brokenSets() {
		f.Add([]byte(set))
	}
	for _, row := range mixedSets() {
		f.Add(row.set)
	}
	files, _ := filepath.Glob(providerSets + "/*.json")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		static, staticErr := ParseStatic(text)
		remote, remoteErr := ParseRemote(text)
		if staticErr == nil && remoteErr == nil && remote.Len() > static.Len() {
			t.Fatalf("%q: %d keys if configured, %d if published", text, static.Len(), remote.Len())
		}
		if staticErr == nil && static.Len() == 0 || remoteErr == nil && remote.Len() == 0 {
			t.Fatalf("%q: accepted without a key", text)
		}
		if (staticErr == nil || remoteErr == nil) && CheckObject(text) != nil {
			t.Fatalf("%q: accepted, and no object", text)
		}
		if remoteErr != nil {
			return
		}
		if remote.Len() > maxKeys || remote.Algs()&HMACAlgs != 0 || remote.Algs() == 0 {
			t.Fatalf("%q: %d keys for %b", text, remote.Len(), remote.Algs())
		}
		for a, fit := range remote.byAlg {
			for i, k := range fit.all {
				if k.IsSecret() || !k.Algs.Has(Alg(a)) {
					t.Fatalf("%q: %+v for %s", text, k, algNames[a])
				}
				same := func(other *Key) bool { return k.ID != "" && k.ID == other.ID }
				if other := slices.IndexFunc(fit.all[:i], same); other >= 0 && !samePublic(k, fit.all[other]) {
					t.Fatalf("%q: two keys by the kid %q for %s", text, k.ID, algNames[a])
				}
				k.verify(Alg(a), text, text) // must not panic, whatever the key
			}
		}
	})
}

func samePublic(a, b *Key) bool {
	switch p := a.public.(type) {
	case *rsa.PublicKey:
		return p.Equal(b.public)
	case *ecdsa.PublicKey:
		return p.Equal(b.public)
	case ed25519.PublicKey:
		return p.Equal(b.public)
	}
	return false
}
