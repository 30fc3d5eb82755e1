package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

// algsOf makes a set of algorithms from their names.
func algsOf(names ...string) Algs {
	var algs Algs
	for _, name := range names {
		a, ok := ParseAlg(name)
		if !ok {
			panic(name)
		}
		algs = algs.With(a)
	}
	return algs
}

func TestASecretServesTheHashesThatAreNotLongerThanIt(t *testing.T) {
	for _, row := range []struct {
		name string
		size int
		want Algs
	}{
		{"empty", 0, 0},
		{"1 byte", 1, 0},
		{"31 bytes", 31, 0},
		{"32 bytes", 32, algsOf("HS256")},
		{"47 bytes", 47, algsOf("HS256")},
		{"48 bytes", 48, algsOf("HS256", "HS384")},
		{"63 bytes", 63, algsOf("HS256", "HS384")},
		{"64 bytes", 64, HMACAlgs},
		{"200 bytes, more than a block", 200, HMACAlgs},
	} {
		t.Run(row.name, func(t *testing.T) {
			secret := make([]byte, row.size)
			rand.Read(secret)
			k, err := NewSecret(secret)
			if row.want == 0 {
				if err == nil {
					t.Fatal("accepted")
				}
				return
			}
			if err != nil || k.Algs != row.want || !k.IsSecret() {
				t.Fatalf("got %+v, %v", k, err)
			}
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				token := (&mint.Key{Alg: alg, Private: secret}).Token(nil)
				if got := accepted(token, k); got != row.want.Has(algByName(alg)) {
					t.Errorf("%s: %v", alg, got)
				}
			}
		})
	}
}

func algByName(name string) Alg {
	a, _ := ParseAlg(name)
	return a
}

// modulus makes an odd number of so many bits. Nothing can be signed with it.
func modulus(bits int) *big.Int { return new(big.Int).SetBit(big.NewInt(1), bits-1, 1) }

func TestRSAKeysAreBounded(t *testing.T) {
	for _, row := range []struct {
		name string
		n    *big.Int
		e    int64
		ok   bool
	}{
		{"2048 bits", modulus(2048), 65537, true},
		{"3072 bits", modulus(3072), 65537, true},
		{"8192 bits", modulus(8192), 65537, true},
		{"512 bits", modulus(512), 65537, false},
		{"1024 bits", modulus(1024), 65537, false},
		{"2047 bits", modulus(2047), 65537, false},
		{"8193 bits", modulus(8193), 65537, false},
		{"16384 bits", modulus(16384), 65537, false},
		{"n nil", nil, 65537, false},
		{"n 0", new(big.Int), 65537, false},
		{"n 1", big.NewInt(1), 65537, false},
		{"n even", new(big.Int).Lsh(big.NewInt(1), 2047), 65537, false},
		{"n negative", new(big.Int).Neg(modulus(2048)), 65537, false},
		{"e 3", modulus(2048), 3, true},
		{"e of 31 bits", modulus(2048), 1<<31 - 1, true},
		{"e 0", modulus(2048), 0, false},
		{"e 1", modulus(2048), 1, false},
		{"e 2", modulus(2048), 2, false},
		{"e even", modulus(2048), 65536, false},
		{"e negative", modulus(2048), -65537, false},
		{"e of 32 bits", modulus(2048), 1<<31 + 1, false},
		{"e of 33 bits", modulus(2048), 1<<32 + 1, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			k, err := NewPublicKey(&rsa.PublicKey{N: row.n, E: int(row.e)})
			if (err == nil) != row.ok {
				t.Fatal(err)
			}
			want := algsOf("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
			if row.ok && (k.Algs != want || k.IsSecret()) {
				t.Errorf("got %+v", k)
			}
		})
	}
}

// rocaModulus makes a modulus as the library of Infineon did: modulo each of the primes, it is a power of 65537.
func rocaModulus(bits int) *big.Int {
	product := big.NewInt(2)
	for _, p := range rocaPrimes {
		product.Mul(product, big.NewInt(p))
	}
	exponent := must(rand.Int(rand.Reader, product))
	power := new(big.Int).Exp(big.NewInt(65537), exponent, product)
	n := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1))))
	n.SetBit(n, bits-1, 1)
	return n.Sub(n, new(big.Int).Mod(n, product)).Add(n, power)
}

// rocaOfWycheproof is the modulus of the JWK that Wycheproof's json_web_key_test.json has as its test 7, with a zero
// before it as it stands there.
const rocaOfWycheproof = "AanFpofbj7KjD4Lf-N2hVMKR7yewSyXhhbirIMTGpfYEhZ_lnt5UoK98DnKIgArXGTu3MaW_HhFw16HGaTDUHqPrId7fe4r11CqR" +
	"w09yBFuW79V8sYIwHdzCaWflUI6auImYbVfoN9_nD5n8N8SY9DwXw7mwZM9wREPXoDPgOoIWl6q_MPsp7n0zs3Z5ZaiQWOOzl1S9" +
	"OhwAfSiiOwz6efnXEaxuTEtPd7BjSx7NaFka8Dx9U7YqXy2RFj1O9PjyaDGuRh7YXsX3iMUSP_wSyHQg_c_qHRtKUsNSGCT7OZg0" +
	"hzm2KphtjnayKJvC64vAbROBR4Ubg6Bxg9IQVZ-QYyE"

func TestAModulusThatInfineonMadeIsRefused(t *testing.T) {
	for i := range 50 {
		for _, bits := range []int{2048, 3072, 4096} {
			n := rocaModulus(bits)
			if n.BitLen() != bits {
				continue // as rarely as the highest bits are all zero
			}
			if _, err := NewPublicKey(&rsa.PublicKey{N: n, E: 65537}); err == nil || !strings.Contains(err.Error(), "ROCA") {
				t.Errorf("%d bits: got %v, want the reason", bits, err)
			}
			// The next odd numbers are no powers of 65537 modulo all of the primes.
			for _, more := range []int64{2, 4, 6, int64(2 * (i + 4))} {
				other := new(big.Int).Add(n, big.NewInt(more))
				if _, err := NewPublicKey(&rsa.PublicKey{N: other, E: 65537}); err != nil {
					t.Errorf("%d bits, and %d more: %v", bits, more, err)
				}
			}
		}
	}
	for _, p := range rocaPrimes {
		powers := map[int64]bool{}
		for x := int64(1); !powers[x]; x = x * 65537 % p {
			powers[x] = true
		}
		for n := range p {
			if got := isPowerOf65537(n, p); got != powers[n] {
				t.Errorf("%d modulo %d: got %v, want %v", n, p, got, powers[n])
			}
		}
	}
}

// tryPublic is NewPublicKey; a panic fails the test, but not those after it.
func tryPublic(t *testing.T, public any) (*Key, error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	return NewPublicKey(public)
}

// point makes an ECDSA key without asking whether there is such a point.
func point(c elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey {
	return &ecdsa.PublicKey{Curve: c, X: x, Y: y}
}

func TestECDSAKeysArePointsOfTheCurveTheyName(t *testing.T) {
	good := func(c elliptic.Curve) *ecdsa.PublicKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &k.PublicKey
	}
	p := good(elliptic.P256())
	prime := elliptic.P256().Params().P
	one := big.NewInt(1)
	sum := func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
	for _, row := range []struct {
		name string
		key  *ecdsa.PublicKey
		want Algs
	}{
		{"P-256", p, algsOf("ES256")},
		{"P-384", good(elliptic.P384()), algsOf("ES384")},
		{"P-521", good(elliptic.P521()), algsOf("ES512")},
		{"P-256, the other y", point(elliptic.P256(), p.X, new(big.Int).Sub(prime, p.Y)), algsOf("ES256")},
		{"P-224", good(elliptic.P224()), 0},
		{"the parameters of P-256, not the curve itself", point(elliptic.P256().Params(), p.X, p.Y), 0},
		{"no curve", point(nil, p.X, p.Y), 0},
		{"off the curve", point(elliptic.P256(), sum(p.X, one), p.Y), 0},
		{"a point of another curve", point(elliptic.P384(), p.X, p.Y), 0},
		{"a point of a larger curve", point(elliptic.P256(), good(elliptic.P521()).X, p.Y), 0},
		{"0, 0", point(elliptic.P256(), new(big.Int), new(big.Int)), 0},
		{"x nil", point(elliptic.P256(), nil, p.Y), 0},
		{"y nil", point(elliptic.P256(), p.X, nil), 0},
		{"x negative", point(elliptic.P256(), new(big.Int).Neg(p.X), p.Y), 0},
		{"y negative", point(elliptic.P256(), p.X, new(big.Int).Sub(p.Y, prime)), 0},
		{"x plus the prime", point(elliptic.P256(), sum(p.X, prime), p.Y), 0},
		{"y plus the prime", point(elliptic.P256(), p.X, sum(p.Y, prime)), 0},
		{"x as large as 32 bytes can be", point(elliptic.P256(), sum(modulus(257), big.NewInt(-2)), p.Y), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			k, err := tryPublic(t, row.key)
			if t.Failed() {
				return
			}
			if (err == nil) != (row.want != 0) {
				t.Fatal(err)
			}
			if row.want != 0 && k.Algs != row.want {
				t.Errorf("serves %b, want %b", k.Algs, row.want)
			}
		})
	}
}

// An edPoint is a point of Ed25519 as RFC 8032 section 5.1 has it, in affine coordinates: slow, and simple enough to
// check the constants of the code against.
type edPoint struct{ x, y *big.Int }

func hexInt(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic(s)
	}
	return n
}

// As RFC 8032 prints them, not as the code computes them.
var (
	prime25519 = hexInt("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed")
	d25519     = hexInt("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3")
)

func mod(n *big.Int) *big.Int { return n.Mod(n, prime25519) }

func mul(ns ...*big.Int) *big.Int {
	product := big.NewInt(1)
	for _, n := range ns {
		mod(product.Mul(product, n))
	}
	return product
}

func quotient(a, b *big.Int) *big.Int { return mul(a, new(big.Int).ModInverse(b, prime25519)) }

func (p edPoint) onCurve() bool {
	left := mod(new(big.Int).Sub(mul(p.y, p.y), mul(p.x, p.x)))
	right := mod(new(big.Int).Add(big.NewInt(1), mul(d25519, p.x, p.x, p.y, p.y)))
	return left.Cmp(right) == 0
}

func (p edPoint) double() edPoint {
	one := big.NewInt(1)
	t := mul(d25519, p.x, p.x, p.y, p.y)
	return edPoint{
		quotient(mul(big.NewInt(2), p.x, p.y), mod(new(big.Int).Add(one, t))),
		quotient(mod(new(big.Int).Add(mul(p.y, p.y), mul(p.x, p.x))), mod(new(big.Int).Sub(one, t))),
	}
}

func (p edPoint) isIdentity() bool { return p.x.Sign() == 0 && p.y.Cmp(big.NewInt(1)) == 0 }

// order of a point of low order; 0: not of low order.
func (p edPoint) order() int {
	for order := 1; order <= 8; order *= 2 {
		if p.isIdentity() {
			return order
		}
		p = p.double()
	}
	return 0
}

// edPointAt finds the point with this y, if there is one.
func edPointAt(y *big.Int) (edPoint, bool) {
	yy := mul(y, y)
	u := mod(new(big.Int).Sub(yy, big.NewInt(1)))
	v := mod(new(big.Int).Add(mul(d25519, yy), big.NewInt(1)))
	x := new(big.Int).ModSqrt(quotient(u, v), prime25519)
	if x == nil {
		return edPoint{}, false
	}
	return edPoint{x, mod(new(big.Int).Set(y))}, true
}

// encoded is y in 32 bytes, the least first, with the sign bit of x.
func encoded(y *big.Int, sign byte) ed25519.PublicKey {
	b := make([]byte, 32)
	y.FillBytes(b)
	slices.Reverse(b)
	b[31] |= sign << 7
	return b
}

// order8 finds the y of the points of order 8: those whose double has the y of order 4, which is 0. By the curve's
// equation that is where dy⁴ + 2y² = 1.
func order8(t *testing.T) []*big.Int {
	root := new(big.Int).ModSqrt(mod(new(big.Int).Add(d25519, big.NewInt(1))), prime25519)
	if root == nil {
		t.Fatal("d + 1 has no root")
	}
	var ys []*big.Int
	for _, r := range []*big.Int{root, new(big.Int).Sub(prime25519, root)} {
		yy := quotient(mod(new(big.Int).Sub(r, big.NewInt(1))), d25519)
		if y := new(big.Int).ModSqrt(yy, prime25519); y != nil {
			ys = append(ys, y, new(big.Int).Sub(prime25519, y))
		}
	}
	return ys
}

func TestTheConstantsOfEd25519AreThoseOfTheCurve(t *testing.T) {
	if edP.Cmp(prime25519) != 0 || edD.Cmp(d25519) != 0 {
		t.Errorf("p = %x, d = %x", edP, edD)
	}
	found, ok := edPointAt(edOrder8)
	if !ok || !found.onCurve() || found.order() != 8 {
		t.Fatalf("the point at %x is of order %d, on the curve: %v", edOrder8, found.order(), ok)
	}
	negative := new(big.Int).Sub(prime25519, edOrder8)
	ys := order8(t)
	if len(ys) != 2 || !slices.ContainsFunc(ys, func(y *big.Int) bool { return y.Cmp(edOrder8) == 0 }) ||
		!slices.ContainsFunc(ys, func(y *big.Int) bool { return y.Cmp(negative) == 0 }) {
		t.Errorf("the points of order 8 are at %x; the code has %x and its negative", ys, edOrder8)
	}
	for y, want := range map[int64]int{1: 1, -1: 2, 0: 4} {
		if p, ok := edPointAt(mod(big.NewInt(y))); !ok || p.order() != want {
			t.Errorf("the point at %d is of order %d, want %d", y, p.order(), want)
		}
	}
}

// lowOrder are all encodings of points of low order, as lenient decoders read them: each of the five y with either
// sign bit, and those of the y + p that still fit.
func lowOrder(t *testing.T) map[string]ed25519.PublicKey {
	ys := order8(t)
	keys := map[string]ed25519.PublicKey{}
	for name, y := range map[string]*big.Int{
		"y = 0": new(big.Int), "y = 1": big.NewInt(1), "y = -1": new(big.Int).Sub(prime25519, big.NewInt(1)),
		"y of order 8": ys[0], "the other y of order 8": ys[1],
		"y = p": prime25519, "y = p + 1": new(big.Int).Add(prime25519, big.NewInt(1)),
	} {
		for sign := range byte(2) {
			keys[fmt.Sprintf("%s, sign bit %d", name, sign)] = encoded(y, sign)
		}
	}
	return keys
}

func TestAnEd25519KeyUnderWhichAnyoneCanSignIsRefused(t *testing.T) {
	identity := encoded(big.NewInt(1), 0)
	for name, public := range lowOrder(t) {
		t.Run(name, func(t *testing.T) {
			// R = identity and S = 0 verify wherever the hash is a multiple of the order: one message in eight.
			forged := append(bytes.Clone(identity), make([]byte, 32)...)
			messages := 0
			for !ed25519.Verify(public, []byte(strconv.Itoa(messages)), forged) {
				if messages++; messages > 1000 {
					t.Fatal("crypto/ed25519 is not fooled: this is no point of low order, or it refuses them by now")
				}
			}
			if _, err := NewPublicKey(public); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestEd25519KeysAreCanonicalPoints(t *testing.T) {
	for i := range int64(19) { // all that is left between p and 2^255
		for sign := range byte(2) {
			y := new(big.Int).Add(prime25519, big.NewInt(i))
			if _, err := NewPublicKey(encoded(y, sign)); err == nil {
				t.Errorf("p + %d, sign bit %d: accepted", i, sign)
			}
		}
	}
	on, off := 0, 0
	for i := int64(2); on < 20 || off < 20; i++ {
		y := big.NewInt(i)
		p, ok := edPointAt(y)
		if ok != (ok && p.onCurve() && p.order() == 0) {
			t.Fatalf("y = %d: a point that is not on the curve, or of low order", i)
		}
		for sign := range byte(2) {
			if _, err := NewPublicKey(encoded(y, sign)); (err == nil) != ok {
				t.Errorf("y = %d, sign bit %d: %v; on the curve: %v", i, sign, err, ok)
			}
		}
		if ok {
			on++
		} else {
			off++
		}
	}
	for range 50 {
		public, _, _ := ed25519.GenerateKey(rand.Reader)
		k, err := NewPublicKey(public)
		if err != nil || k.Algs != algsOf("EdDSA") {
			t.Errorf("%x: %+v, %v", []byte(public), k, err)
		}
		for _, size := range []int{0, 1, 31} {
			if _, err := NewPublicKey(public[:size]); err == nil {
				t.Errorf("%d bytes: accepted", size)
			}
		}
		for _, size := range []int{33, 64} {
			if _, err := NewPublicKey(append(bytes.Clone(public), make([]byte, size-32)...)); err == nil {
				t.Errorf("%d bytes: accepted", size)
			}
		}
	}
}

func TestWhatIsNoPublicKeyIsRefused(t *testing.T) {
	rsaKey := mint.New("RS256", "").Private.(*rsa.PrivateKey)
	ecKey := mint.New("ES256", "").Private.(*ecdsa.PrivateKey)
	edKey := mint.New("EdDSA", "").Private.(ed25519.PrivateKey)
	ecdhKey, _ := ecdh.X25519().GenerateKey(rand.Reader)
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{
		"a private RSA key":               rsaKey,
		"a private ECDSA key":             ecKey,
		"a private Ed25519 key":           edKey,
		"a pointer to a private Ed25519":  &edKey,
		"a secret":                        make([]byte, 64),
		"DER":                             der,
		"a string":                        strings.Repeat("s", 64),
		"nil":                             nil,
		"a nil RSA key":                   (*rsa.PublicKey)(nil),
		"a nil ECDSA key":                 (*ecdsa.PublicKey)(nil),
		"a nil Ed25519 key":               ed25519.PublicKey(nil),
		"a nil private RSA key":           (*rsa.PrivateKey)(nil),
		"an empty RSA key":                &rsa.PublicKey{},
		"an empty ECDSA key":              &ecdsa.PublicKey{},
		"an RSA key that is no pointer":   rsaKey.PublicKey,
		"an ECDSA key that is no pointer": ecKey.PublicKey,
		"an X25519 key":                   ecdhKey.PublicKey(),
		"a P-256 key for ECDH":            must(ecKey.PublicKey.ECDH()),
		"a certificate":                   &x509.Certificate{PublicKey: &rsaKey.PublicKey},
		"a Key of this package":           &Key{},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tryPublic(t, key); err == nil && !t.Failed() {
				t.Error("accepted")
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAKeyDoesNotChangeWithWhatItWasMadeOf(t *testing.T) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			minted := mint.New(alg, "")
			token := minted.Token(nil)
			var k *Key
			var err error
			switch private := minted.Private.(type) {
			case []byte:
				given := bytes.Clone(private)
				k, err = NewSecret(given)
				clear(given)
			case *rsa.PrivateKey:
				given := &rsa.PublicKey{N: new(big.Int).Set(private.N), E: private.E}
				k, err = NewPublicKey(given)
				*given = *mint.New(alg, "").Public().(*rsa.PublicKey)
			case *ecdsa.PrivateKey:
				given := point(private.Curve, new(big.Int).Set(private.X), new(big.Int).Set(private.Y))
				k, err = NewPublicKey(given)
				*given = *mint.New(alg, "").Public().(*ecdsa.PublicKey)
			case ed25519.PrivateKey:
				given := bytes.Clone(minted.Public().(ed25519.PublicKey))
				k, err = NewPublicKey(ed25519.PublicKey(given))
				copy(given, mint.New(alg, "").Public().(ed25519.PublicKey))
			}
			if err != nil {
				t.Fatal(err)
			}
			if !accepted(token, k) {
				t.Error("its token is refused, once the bytes that it was made of are others")
			}
		})
	}
}

// RFC 8725 section 2.1: what everybody knows about a key must not work as a secret.
func TestAPublicKeyIsNotAnHMACSecret(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		pair := mint.New(alg, "k1")
		der := must(x509.MarshalPKIXPublicKey(pair.Public()))
		armored := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		known := map[string][]byte{
			"DER":                      der,
			"PEM":                      armored,
			"PEM without line end":     bytes.TrimSpace(armored),
			"PEM with CRLF":            bytes.ReplaceAll(armored, []byte("\n"), []byte("\r\n")),
			"JWK":                      []byte(mint.JSON(pair.JWK())),
			"JWK Set":                  mint.SetOf(pair),
			"the kid":                  []byte("k1"),
			"nothing":                  {},
			"the member n":             []byte(fmt.Sprint(pair.JWK()["n"])),
			"the member x":             []byte(fmt.Sprint(pair.JWK()["x"])),
			"32 bytes that are zero":   make([]byte, 32),
			"the key as fmt prints it": fmt.Append(nil, pair.Public()),
		}
		switch p := pair.Public().(type) {
		case *rsa.PublicKey:
			known["PKCS #1"] = x509.MarshalPKCS1PublicKey(p)
			known["PKCS #1 in PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY",
				Bytes: x509.MarshalPKCS1PublicKey(p)})
			known["the modulus"] = p.N.Bytes()
		case *ecdsa.PublicKey:
			known["the point"] = must(p.Bytes())
		case ed25519.PublicKey:
			known["the point"] = p
		}
		whole := must(NewPublicKey(pair.Public()))
		narrow := newKey(t, pair)
		for name, secret := range known {
			for _, hs := range []string{"HS256", "HS384", "HS512"} {
				t.Run(alg+"/"+name+"/"+hs, func(t *testing.T) {
					forger := &mint.Key{Alg: hs, ID: "k1", Private: secret}
					if token := forger.Token(nil); accepted(token, whole) || accepted(token, narrow) {
						t.Error("accepted as HMAC")
					}
					if token := forger.Sign(mint.JSON(pair.Header()), goodClaims); accepted(token, whole) {
						t.Error("accepted as " + alg)
					}
				})
			}
		}
	}
}

func TestAKeyServesNoOtherAlgorithmThanItsOwn(t *testing.T) {
	// One private key wherever two algorithms can share one: only the name then tells the keys apart.
	shared := map[byte]any{}
	private := map[string]any{}
	for _, alg := range mint.Algorithms {
		family := alg[0]
		if family == 'P' {
			family = 'R'
		}
		private[alg] = shared[family]
		if private[alg] == nil || family == 'E' {
			private[alg] = mint.New(alg, "").Private
			shared[family] = private[alg]
		}
	}
	for _, keyAlg := range mint.Algorithms {
		own := &mint.Key{Alg: keyAlg, Private: private[keyAlg]}
		narrow := newKey(t, own)
		whole := narrow
		if !narrow.IsSecret() {
			whole = must(NewPublicKey(own.Public()))
		}
		if token := own.Token(nil); !accepted(token, narrow) || !accepted(token, whole) {
			t.Errorf("%s: its own token is refused", keyAlg)
		}
		for _, alg := range mint.Algorithms {
			if alg == keyAlg {
				continue
			}
			other := &mint.Key{Alg: alg, Private: private[alg]}
			if accepted(other.Token(nil), narrow) {
				t.Errorf("%s: a token of %s accepted", keyAlg, alg)
			}
			if token := own.Sign(mint.JSON(other.Header()), goodClaims); accepted(token, narrow) || accepted(token, whole) {
				t.Errorf("%s: a token of its own accepted whose header says %s", keyAlg, alg)
			}
			if token := other.Sign(mint.JSON(own.Header()), goodClaims); accepted(token, narrow) || accepted(token, whole) {
				t.Errorf("%s: a token accepted that %s signed in its name", keyAlg, alg)
			}
		}
	}
}

// resigned brings a signature under a token's first two segments.
func resigned(token string, signature []byte) string {
	return token[:strings.LastIndexByte(token, '.')+1] + mint.Base64(signature)
}

func TestAnECDSASignatureIsTwoNumbersOfItsCurveAndNothingElse(t *testing.T) {
	for alg, size := range map[string]int{"ES256": 32, "ES384": 48, "ES512": 66} {
		key := mint.New(alg, "")
		verifies := newKey(t, key)
		token := key.Sign(mint.JSON(key.Header()), goodClaims)
		signature := key.Signature(token[:strings.LastIndexByte(token, '.')])
		if !accepted(resigned(token, signature), verifies) {
			t.Fatalf("%s: the signature itself is refused", alg)
		}
		n := key.Public().(*ecdsa.PublicKey).Params().N
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		pair := func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
		zero := new(big.Int)
		most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*size)), big.NewInt(1))
		rows := map[string][]byte{
			"r zero":                  pair(zero, s),
			"s zero":                  pair(r, zero),
			"both zero":               pair(zero, zero),
			"r = n":                   pair(n, s),
			"s = n":                   pair(r, n),
			"both n":                  pair(n, n),
			"r = n + 1":               pair(new(big.Int).Add(n, big.NewInt(1)), s),
			"s = n + 1":               pair(r, new(big.Int).Add(n, big.NewInt(1))),
			"r as large as can be":    pair(most, s),
			"s as large as can be":    pair(r, most),
			"r and s changed places":  pair(s, r),
			"in DER":                  must(asn1.Marshal(struct{ R, S *big.Int }{r, s})),
			"a byte less":             signature[:2*size-1],
			"the first byte missing":  signature[1:],
			"a zero before it":        append([]byte{0}, signature...),
			"a zero behind it":        append(bytes.Clone(signature), 0),
			"two zeros behind it":     append(bytes.Clone(signature), 0, 0),
			"a zero before r and s":   slices.Concat([]byte{0}, signature[:size], []byte{0}, signature[size:]),
			"a zero before s":         slices.Concat(signature[:size], []byte{0}, signature[size:]),
			"two zeros before s":      slices.Concat(signature[:size], []byte{0, 0}, signature[size:]),
			"two zeros before it":     append([]byte{0, 0}, signature...),
			"r alone":                 signature[:size],
			"one byte":                {0},
			"twice":                   append(bytes.Clone(signature), signature...),
			"in hexadecimal":          fmt.Appendf(nil, "%x", signature),
			"the size of P-256":       make([]byte, 64),
			"the size of P-521":       make([]byte, 132),
			"the size of P-521, ones": bytes.Repeat([]byte{1}, 132),
		}
		if alg == "ES512" { // 521 bits leave room for the same number once more, modulo n
			rows["r + n"] = pair(new(big.Int).Add(r, n), s)
			rows["s + n"] = pair(r, new(big.Int).Add(s, n))
		}
		for name, signature := range rows {
			t.Run(alg+"/"+name, func(t *testing.T) {
				if accepted(resigned(token, signature), verifies) {
					t.Error("accepted")
				}
			})
		}
	}
}

func TestAnECDSASignatureWithLeadingZerosIsAccepted(t *testing.T) {
	for alg, size := range map[string]int{"ES256": 32, "ES512": 66} {
		t.Run(alg, func(t *testing.T) {
			key := mint.New(alg, "")
			verifies := newKey(t, key)
			r, s := false, false
			for i := 0; !r || !s; i++ {
				token := key.Sign(mint.JSON(key.Header()), `{"exp":9000000000,"n":`+strconv.Itoa(i)+`}`)
				signature := key.Signature(token[:strings.LastIndexByte(token, '.')])
				if signature[0] != 0 && signature[size] != 0 {
					continue
				}
				if !accepted(resigned(token, signature), verifies) {
					t.Fatalf("%x refused", signature)
				}
				r, s = r || signature[0] == 0, s || signature[size] == 0
			}
		})
	}
}

func TestAnRSASignatureHasOneFormOnly(t *testing.T) {
	private := mint.New("PS256", "").Private.(*rsa.PrivateKey)
	ps := &mint.Key{Alg: "PS256", Private: private}
	rs := &mint.Key{Alg: "RS256", Private: private}
	whole := must(NewPublicKey(ps.Public()))
	for name, salt := range map[string]int{
		"no salt": -2, "a salt of 1 byte": 1, "a salt of 20 bytes": 20, "a salt of 31 bytes": 31, "a salt of 33 bytes": 33,
		"a salt of 64 bytes": 64, "the longest salt": rsa.PSSSaltLengthAuto,
	} {
		t.Run("PS256/"+name, func(t *testing.T) {
			token := ps.Token(nil)
			hash := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')]))
			var signature []byte
			if salt == -2 { // 0 means something else to crypto/rsa
				signature = saltless(private, hash[:])
			} else {
				signature = must(rsa.SignPSS(rand.Reader, private, crypto.SHA256, hash[:], &rsa.PSSOptions{SaltLength: salt}))
			}
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}
			if err := rsa.VerifyPSS(&private.PublicKey, crypto.SHA256, hash[:], signature, opts); err != nil {
				t.Fatal("not a signature of any salt:", err)
			}
			if accepted(resigned(token, signature), whole) {
				t.Error("accepted")
			}
		})
	}
	t.Run("PS256/a salt of 32 bytes", func(t *testing.T) {
		if !accepted(ps.Token(nil), whole) {
			t.Error("refused")
		}
	})
	for _, key := range []*mint.Key{rs, ps} {
		// A signature to which the modulus can be added within its length: the same number to whoever reduces it.
		var token string
		var signature, larger []byte
		for i := 0; larger == nil; i++ {
			token = key.Sign(mint.JSON(key.Header()), `{"exp":9000000000,"n":`+strconv.Itoa(i)+`}`)
			signature = key.Signature(token[:strings.LastIndexByte(token, '.')])
			if sum := new(big.Int).Add(new(big.Int).SetBytes(signature), private.N); sum.BitLen() <= 2048 {
				larger = sum.FillBytes(make([]byte, 256))
			}
		}
		if !accepted(resigned(token, signature), whole) {
			t.Fatalf("%s: the signature itself is refused", key.Alg)
		}
		for name, other := range map[string][]byte{
			"plus the modulus":       larger,
			"minus the modulus":      new(big.Int).Sub(private.N, new(big.Int).SetBytes(signature)).FillBytes(make([]byte, 256)),
			"the first byte missing": signature[1:],
			"the last byte missing":  signature[:255],
			"a zero before it":       append([]byte{0}, signature...),
			"a zero behind it":       append(bytes.Clone(signature), 0),
			"zero":                   make([]byte, 256),
			"one":                    append(make([]byte, 255), 1),
			"the modulus":            private.N.Bytes(),
			"one byte":               {1},
		} {
			t.Run(key.Alg+"/"+name, func(t *testing.T) {
				if accepted(resigned(token, other), whole) {
					t.Error("accepted")
				}
			})
		}
	}
}

// saltless makes a signature of RFC 8017 section 8.1.1 with an empty salt, which crypto/rsa does not.
func saltless(private *rsa.PrivateKey, hash []byte) []byte {
	h := sha256.Sum256(append(make([]byte, 8), hash...))
	db := make([]byte, 256-len(h)-1)
	db[len(db)-1] = 1
	for i := 0; i*len(h) < len(db); i++ {
		mask := sha256.Sum256(append(h[:], 0, 0, 0, byte(i)))
		for j := range min(len(mask), len(db)-i*len(h)) {
			db[i*len(h)+j] ^= mask[j]
		}
	}
	db[0] &= 0x7f
	em := new(big.Int).SetBytes(append(append(db, h[:]...), 0xbc))
	return em.Exp(em, private.D, private.N).FillBytes(make([]byte, 256))
}

func TestAnEd25519SignatureHasOneFormOnly(t *testing.T) {
	key := mint.New("EdDSA", "")
	verifies := newKey(t, key)
	token := key.Token(nil)
	signature := key.Signature(token[:strings.LastIndexByte(token, '.')])
	// S plus the order of the group: the same number to whoever reduces it (RFC 8032 section 5.1.7).
	order := hexInt("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
	little := bytes.Clone(signature[32:])
	slices.Reverse(little)
	larger := new(big.Int).Add(new(big.Int).SetBytes(little), order).FillBytes(make([]byte, 32))
	slices.Reverse(larger)
	for name, other := range map[string][]byte{
		"S plus the order":       append(bytes.Clone(signature[:32]), larger...),
		"a byte less":            signature[:63],
		"a zero behind it":       append(bytes.Clone(signature), 0),
		"zero":                   make([]byte, 64),
		"R and S changed places": append(bytes.Clone(signature[32:]), signature[:32]...),
	} {
		t.Run(name, func(t *testing.T) {
			if accepted(resigned(token, other), verifies) {
				t.Error("accepted")
			}
		})
	}
	if !accepted(resigned(token, signature), verifies) {
		t.Error("the signature itself is refused")
	}
}

func TestATokenThatWasNotParsedIsVerifiedByNoKey(t *testing.T) {
	for _, alg := range mint.Algorithms {
		if new(Token).VerifiedBy(newKey(t, mint.New(alg, ""))) {
			t.Error(alg)
		}
	}
}

// Buffers and keyed hashes are pooled: one goroutine's must not show up in another's.
func TestAKeyIsSafeForConcurrentUse(t *testing.T) {
	secret, other := mint.New("HS256", ""), mint.New("HS256", "")
	k := newKey(t, secret)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				subject := fmt.Sprint(g, ".", i)
				token, err := Parse(secret.Token(map[string]any{"sub": subject}))
				if err != nil || !token.VerifiedBy(k) {
					t.Errorf("%s: refused, %v", subject, err)
				}
				if c, err := ParseClaims(token.Payload); err != nil || c.Subject != subject {
					t.Errorf("%s: %+v, %v", subject, c, err)
				}
				if accepted(other.Token(nil), k) {
					t.Errorf("%s: another key's token accepted", subject)
				}
			}
		})
	}
	wg.Wait()
}
