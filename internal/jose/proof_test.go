package jose

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

// The proofs of RFC 9449, sections 4.1 and 7.1, and the thumbprint of their key in section 6.1.
const (
	proofOfRFC = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo" +
		"RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19." +
		"eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ." +
		"2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	proofForResource = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo" +
		"RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19." +
		"eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhd" +
		"CI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9." +
		"2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	tokenOfRFC = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	keyOfRFC   = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
)

// readProof reads a proof with any algorithm that a proof may have.
func readProof(text string) (Proof, error) { return NewProofReader(ProofAlgs).Verify(text) }

func TestTheProofsOfTheRFCAreRead(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want Proof
	}{
		"for a token": {proofOfRFC, Proof{
			Key: keyOfRFC, ID: "-BwC3ESc6acc2lTc", Method: "POST", URL: "https://server.example.com/token",
		}},
		"for a resource": {proofForResource, Proof{
			Key: keyOfRFC, ID: "e1j3V_bKic8-LAEB", Method: "GET", URL: "https://resource.example.org/protectedresource",
			TokenHash: mint.Hash(tokenOfRFC),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readProof(row.text)
			if err != nil {
				t.Fatal(err)
			}
			if unix := got.IssuedAt.Unix(); unix != 1562262616 && unix != 1562262618 {
				t.Errorf("got iat %d, want that of the RFC", unix)
			}
			row.want.IssuedAt, got.header, got.own = got.IssuedAt, "", ownKey{}
			if got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

// RFC 8037 appendix A.3 and RFC 7638 section 3.1.
func TestThumbprintsAreThoseOfTheRFCs(t *testing.T) {
	const modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst" +
		"n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-b" +
		"FTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	for name, row := range map[string]struct {
		jwk, want string
		alg       Alg
	}{
		"Ed25519": {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", EdDSA},
		"RSA": {`{"kty":"RSA","n":"` + modulus + `","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", RS256},
	} {
		t.Run(name, func(t *testing.T) {
			_, got, err := proofKey(row.jwk, row.alg)
			if err != nil || got != row.want {
				t.Errorf("got %q, %v, want %q", got, err, row.want)
			}
		})
	}
}

func proofClaimsOf(changes map[string]any) map[string]any {
	claims := map[string]any{"jti": "j1", "htm": "GET", "htu": "https://server.example.com/ws", "iat": 1562262616}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func TestAProofIsVerifiedWithTheKeyThatItBringsAlong(t *testing.T) {
	for _, alg := range mint.Algorithms {
		if strings.HasPrefix(alg, "HS") {
			continue
		}
		t.Run(alg, func(t *testing.T) {
			key, other := mint.New(alg, ""), mint.New(alg, "")
			got, err := readProof(key.Proof(proofClaimsOf(nil)))
			if err != nil || got.Key != key.Thumbprint() {
				t.Errorf("got %q, %v, want %q", got.Key, err, key.Thumbprint())
			}
			if _, err := readProof(key.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(other)})); err != ErrSignature {
				t.Errorf("with the key of somebody else: got %v, want %v", err, ErrSignature)
			}
		})
	}
}

// proofJWK returns the members that make up the public key, and change.
func proofJWK(key *mint.Key, changes ...map[string]any) map[string]any {
	jwk := key.JWK()
	for _, name := range []string{"alg", "use", "kid"} {
		delete(jwk, name)
	}
	for _, c := range changes {
		maps.Copy(jwk, c)
	}
	return jwk
}

// proofs are proofs that a server must refuse, or accept, whatever request they come with.
func proofs() map[string]struct {
	text string
	ok   bool
} {
	type row = struct {
		text string
		ok   bool
	}
	key, rs, ed, hs := mint.New("ES256", "k1"), mint.New("RS256", ""), mint.New("EdDSA", ""), mint.New("HS256", "")
	es384 := mint.New("ES384", "")
	header := func(changes map[string]any) string { return key.Proof(proofClaimsOf(nil), changes) }
	jwk := func(changes map[string]any) string { return header(map[string]any{"jwk": proofJWK(key, changes)}) }
	claims := func(changes map[string]any) string { return key.Proof(proofClaimsOf(changes)) }
	good := claims(nil)
	head, rest, _ := strings.Cut(good, ".")
	raw := func(header string) string { return key.Sign(header, mint.JSON(proofClaimsOf(nil))) }
	jwkText := mint.JSON(proofJWK(key))
	x, _ := proofJWK(key)["x"].(string)
	rsN, _ := proofJWK(rs)["n"].(string)
	return map[string]row{
		"good":                        {good, true},
		"RS256":                       {rs.Proof(proofClaimsOf(nil)), true},
		"EdDSA":                       {ed.Proof(proofClaimsOf(nil)), true},
		"typ with application/":       {header(map[string]any{"typ": "application/dpop+jwt"}), true},
		"typ in capitals":             {header(map[string]any{"typ": "DPoP+JWT"}), true},
		"a kid":                       {header(map[string]any{"kid": "k1"}), true},
		"jwk with alg, use, kid":      {header(map[string]any{"jwk": key.JWK()}), true},
		"jwk with ext, key_ops":       {jwk(map[string]any{"ext": true, "key_ops": []string{"verify"}}), true},
		"more claims":                 {claims(map[string]any{"azp": "x", "nested": map[string]any{"a": 1}}), true},
		"a nonce":                     {claims(map[string]any{"nonce": "n"}), true},
		"fractional iat":              {claims(map[string]any{"iat": 1562262616.25}), true},
		"jti of 256 bytes":            {claims(map[string]any{"jti": strings.Repeat("x", 256)}), true},
		"space in the header":         {raw(`{"typ":"dpop+jwt", "alg":"ES256","jwk": ` + jwkText + ` }`), true},
		"empty":                       {"", false},
		"no JWS":                      {"x", false},
		"padding":                     {good + "=", false},
		"a space in front":            {" " + good, false},
		"no signature":                {good[:strings.LastIndexByte(good, '.')+1], false},
		"the header of another":       {strings.Split(ed.Proof(proofClaimsOf(nil)), ".")[0] + "." + rest, false},
		"a changed payload":           {head + "." + strings.Split(claims(map[string]any{"jti": "j2"}), ".")[1] + "." + strings.Split(good, ".")[2], false},
		"JSON serialization":          {`{"payload":"` + strings.Split(good, ".")[1] + `"}`, false},
		"no typ":                      {header(map[string]any{"typ": nil}), false},
		"typ JWT":                     {header(map[string]any{"typ": "JWT"}), false},
		"typ at+jwt":                  {header(map[string]any{"typ": "at+jwt"}), false},
		"typ not a string":            {header(map[string]any{"typ": 1}), false},
		"typ null":                    {header(map[string]any{"typ": json.RawMessage("null")}), false},
		"alg none":                    {header(map[string]any{"alg": "none"}), false},
		"alg HS256":                   {hs.Proof(proofClaimsOf(nil)), false},
		"alg HS256, public key":       {hs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(key)}), false},
		"alg of another curve":        {header(map[string]any{"alg": "ES384"}), false},
		"alg of another type":         {header(map[string]any{"alg": "RS256"}), false},
		"alg twice":                   {raw(`{"typ":"dpop+jwt","alg":"ES256","alg":"ES256","jwk":` + jwkText + `}`), false},
		"alg in capitals":             {raw(`{"typ":"dpop+jwt","ALG":"ES256","jwk":` + jwkText + `}`), false},
		"crit":                        {header(map[string]any{"crit": []string{"exp"}}), false},
		"b64":                         {header(map[string]any{"b64": true}), false},
		"no jwk":                      {header(map[string]any{"jwk": nil}), false},
		"jwk null":                    {header(map[string]any{"jwk": json.RawMessage("null")}), false},
		"jwk a string":                {header(map[string]any{"jwk": "x"}), false},
		"jwk an array":                {header(map[string]any{"jwk": []any{proofJWK(key)}}), false},
		"jwk empty":                   {header(map[string]any{"jwk": map[string]any{}}), false},
		"jwk twice":                   {raw(`{"typ":"dpop+jwt","alg":"ES256","jwk":` + jwkText + `,"jwk":` + jwkText + `}`), false},
		"jwk and JWK":                 {raw(`{"typ":"dpop+jwt","alg":"ES256","jwk":` + jwkText + `,"JWK":` + jwkText + `}`), false},
		"x twice in jwk":              {raw(`{"typ":"dpop+jwt","alg":"ES256","jwk":` + strings.Replace(jwkText, "{", `{"x":"`+x+`",`, 1) + `}`), false},
		"jku in place of jwk":         {header(map[string]any{"jwk": nil, "jku": "https://evil.example/jwks"}), false},
		"a private key":               {jwk(map[string]any{"d": x}), false},
		"a private key that is null":  {jwk(map[string]any{"d": nil}), false},
		"a private key that is empty": {jwk(map[string]any{"d": ""}), false},
		"an RSA private key":          {rs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(rs, map[string]any{"p": rsN, "q": rsN})}), false},
		"kty oct":                     {header(map[string]any{"jwk": hs.JWK()}), false},
		"kty missing":                 {jwk(map[string]any{"kty": 1}), false},
		"crv of another":              {jwk(map[string]any{"crv": "P-384"}), false},
		"crv secp256k1":               {jwk(map[string]any{"crv": "secp256k1"}), false},
		"x with padding":              {jwk(map[string]any{"x": x + "="}), false},
		"x with a zero in front":      {jwk(map[string]any{"x": "AA" + x}), false},
		"a point off the curve":       {jwk(map[string]any{"x": mint.Base64(make([]byte, 32))}), false},
		"y missing":                   {header(map[string]any{"jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": x}}), false},
		"use enc":                     {jwk(map[string]any{"use": "enc"}), false},
		"key_ops sign":                {jwk(map[string]any{"key_ops": []string{"sign"}}), false},
		"alg of the jwk differs":      {jwk(map[string]any{"alg": "ES384"}), false},
		"P-384 key for ES256":         {es384.Proof(proofClaimsOf(nil), map[string]any{"alg": "ES256"}), false},
		"Ed25519 of low order": {ed.Proof(proofClaimsOf(nil), map[string]any{"jwk": map[string]any{
			"kty": "OKP", "crv": "Ed25519", "x": mint.Base64(make([]byte, 32))}}), false},
		"Ed25519 of 31 bytes": {ed.Proof(proofClaimsOf(nil), map[string]any{"jwk": map[string]any{
			"kty": "OKP", "crv": "Ed25519", "x": mint.Base64(make([]byte, 31))}}), false},
		"X25519": {ed.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(ed, map[string]any{"crv": "X25519"})}), false},
		"RSA of 1024 bits": {rs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(rs, map[string]any{
			"n": strings.Repeat("_", 170) + "w"})}), false},
		"RSA of 8192 bits": {rs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(rs, map[string]any{
			"n": strings.Repeat("_", 1364) + "8"})}), false},
		"RSA with e 1":                  {rs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(rs, map[string]any{"e": "AQ"})}), false},
		"RSA with a zero in front of e": {rs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(rs, map[string]any{"e": "AAEAAQ"})}), false},
		"RSA with standard base64":      {rs.Proof(proofClaimsOf(nil), map[string]any{"jwk": proofJWK(rs, map[string]any{"n": rsN + "=="})}), false},
		"jti missing":                   {claims(map[string]any{"jti": nil}), false},
		"jti empty":                     {claims(map[string]any{"jti": ""}), false},
		"jti a number":                  {claims(map[string]any{"jti": 1}), false},
		"jti of 257 bytes":              {claims(map[string]any{"jti": strings.Repeat("x", 257)}), false},
		"htm missing":                   {claims(map[string]any{"htm": nil}), false},
		"htm an array":                  {claims(map[string]any{"htm": []string{"GET"}}), false},
		"htu missing":                   {claims(map[string]any{"htu": nil}), false},
		"htu empty":                     {claims(map[string]any{"htu": ""}), false},
		"iat missing":                   {claims(map[string]any{"iat": nil}), false},
		"iat a string":                  {claims(map[string]any{"iat": "1562262616"}), false},
		"iat negative":                  {claims(map[string]any{"iat": -1}), false},
		"iat in milliseconds":           {claims(map[string]any{"iat": 1562262616000}), false},
		"ath a number":                  {claims(map[string]any{"ath": 1}), false},
		"nonce a number":                {claims(map[string]any{"nonce": 1}), false},
		"HTM":                           {claims(map[string]any{"HTM": "POST", "htm": nil}), false},
		"htm and HTM":                   {claims(map[string]any{"HTM": "POST"}), false},
		"exp a string":                  {claims(map[string]any{"exp": "x"}), false},
		"a claim twice":                 {key.Sign(mint.JSON(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": proofJWK(key)}), `{"jti":"a","jti":"b"}`), false},
		"longer than 8192 bytes":        {claims(map[string]any{"x": strings.Repeat("x", 8192)}), false},
		"nested too deep":               {claims(map[string]any{"x": json.RawMessage(strings.Repeat("[", 40) + strings.Repeat("]", 40))}), false},
	}
}

func TestAProofIsReadStrictly(t *testing.T) {
	for name, row := range proofs() {
		t.Run(name, func(t *testing.T) {
			got, err := readProof(row.text)
			if (err == nil) != row.ok {
				t.Errorf("got %v, want it accepted: %t", err, row.ok)
			}
			if err != nil && got != (Proof{}) {
				t.Errorf("got %+v beside an error", got)
			}
		})
	}
}

// What is remembered is the key, and nothing that a proof says.
func TestARememberedKeyChangesNoVerdict(t *testing.T) {
	for name, row := range proofs() {
		t.Run(name, func(t *testing.T) {
			r := NewProofReader(ProofAlgs)
			key := mint.New("ES256", "")
			good, err := r.Verify(key.Proof(proofClaimsOf(nil)))
			if err != nil {
				t.Fatal(err)
			}
			r.Remember(&good)
			if again, err := r.Verify(key.Proof(proofClaimsOf(nil))); err != nil || again.Key != key.Thumbprint() || again.own != good.own {
				t.Errorf("got %v, %v the second time, want the key that is remembered", again, err)
			}
			if got, err := r.Verify(row.text); (err == nil) != row.ok {
				t.Errorf("got %v, %v, want it accepted: %t", got, err, row.ok)
			}
			header, _, _ := strings.Cut(key.Proof(proofClaimsOf(nil)), ".")
			_, rest, _ := strings.Cut(mint.New("ES256", "").Proof(proofClaimsOf(nil)), ".")
			if _, err := r.Verify(header + "." + rest); err != ErrSignature {
				t.Errorf("the header of another: got %v, want %v", err, ErrSignature)
			}
		})
	}
}

func TestAProofHasOneOfTheAlgorithmsThatAreAllowed(t *testing.T) {
	text := mint.New("ES256", "").Proof(proofClaimsOf(nil))
	for name, row := range map[string]struct {
		algs Algs
		ok   bool
	}{
		"its own":       {Algs(0).With(ES256), true},
		"among others":  {Algs(0).With(ES256).With(EdDSA), true},
		"another":       {Algs(0).With(EdDSA), false},
		"none":          {0, false},
		"HMAC and none": {HMACAlgs, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewProofReader(row.algs).Verify(text); (err == nil) != row.ok {
				t.Errorf("got %v, want it accepted: %t", err, row.ok)
			}
		})
	}
	if _, err := NewProofReader(AllAlgs).Verify(mint.New("HS256", "").Proof(proofClaimsOf(nil))); err == nil {
		t.Error("an HMAC is accepted if the options allow all algorithms")
	}
}

func FuzzNoMutantOfAProofIsAccepted(f *testing.F) {
	key := mint.New("ES256", "")
	good := key.Proof(proofClaimsOf(nil))
	for _, row := range proofs() {
		f.Add(row.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := readProof(text)
		if err == nil && p.Key == key.Thumbprint() && text != good {
			t.Errorf("another proof of the same key is accepted: %q", text)
		}
		if err != nil && strings.Contains(err.Error(), "l8tFrhx") {
			t.Errorf("the error has a part of the proof: %v", err)
		}
	})
}

func TestABindingIsReadWholeOrRefused(t *testing.T) {
	hash := mint.Hash("x")
	for name, row := range map[string]struct {
		cnf  string
		want Binding
		ok   bool
	}{
		"to a key":               {`{"jkt":"` + hash + `"}`, Binding{Key: hash}, true},
		"to a certificate":       {`{"x5t#S256":"` + hash + `"}`, Binding{Certificate: hash}, true},
		"to both":                {`{"x5t#S256":"` + hash + `","jkt":"` + keyOfRFC + `"}`, Binding{keyOfRFC, hash}, true},
		"null":                   {`null`, Binding{}, false},
		"empty":                  {`{}`, Binding{}, false},
		"a string":               {`"` + hash + `"`, Binding{}, false},
		"an array":               {`[{"jkt":"` + hash + `"}]`, Binding{}, false},
		"a key by value":         {`{"jwk":{"kty":"EC"}}`, Binding{}, false},
		"a kid":                  {`{"kid":"x"}`, Binding{}, false},
		"to a key, and more":     {`{"jkt":"` + hash + `","kid":"x"}`, Binding{}, false},
		"x5t of SHA-1":           {`{"x5t":"` + hash + `"}`, Binding{}, false},
		"JKT":                    {`{"JKT":"` + hash + `"}`, Binding{}, false},
		"jkt twice":              {`{"jkt":"` + hash + `","jkt":"` + hash + `"}`, Binding{}, false},
		"jkt null":               {`{"jkt":null}`, Binding{}, false},
		"jkt empty":              {`{"jkt":""}`, Binding{}, false},
		"jkt too short":          {`{"jkt":"` + hash[1:] + `"}`, Binding{}, false},
		"jkt with padding":       {`{"jkt":"` + hash + `="}`, Binding{}, false},
		"jkt in hexadecimal":     {`{"jkt":"` + strings.Repeat("0f", 32) + `"}`, Binding{}, false},
		"jkt with unused bits":   {`{"jkt":"` + strings.Repeat("A", 42) + `B"}`, Binding{}, false},
		"a certificate, not one": {`{"x5t#S256":["` + hash + `"]}`, Binding{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseClaims(`{"exp":1800000000,"cnf":` + row.cnf + `}`)
			if (err == nil) != row.ok || c.Binding != row.want {
				t.Errorf("got %+v, %v, want %+v, accepted: %t", c.Binding, err, row.want, row.ok)
			}
		})
	}
}

func BenchmarkProof(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		key := mint.New(alg, "")
		text := key.Proof(proofClaimsOf(map[string]any{"ath": mint.Hash("x")}))
		t, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		k, _, err := t.ownKey()
		if err != nil {
			b.Fatal(err)
		}
		r := NewProofReader(ProofAlgs)
		b.Run(alg+"/proof", func(b *testing.B) {
			for b.Loop() {
				r.Verify(text)
			}
		})
		b.Run(alg+"/proof of a known key", func(b *testing.B) {
			p, err := r.Verify(text)
			if err != nil {
				b.Fatal(err)
			}
			r.Remember(&p)
			for b.Loop() {
				r.Verify(text)
			}
		})
		b.Run(alg+"/signature", func(b *testing.B) {
			for b.Loop() {
				t.VerifiedBy(k)
			}
		})
	}
}
