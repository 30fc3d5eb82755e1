// Package bench_test has the benchmarks of requests:
//
//	go -C internal/bench test -bench .
//
// What they compare is in package verify. Figures to be compared with one another come from the program in ./ratios,
// which measures the variants by turns.
package bench_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/bench/verify"
)

// suites has one for each algorithm.
func suites(t testing.TB) []*verify.Suite {
	t.Helper()
	var all []*verify.Suite
	for _, alg := range verify.Algorithms {
		all = append(all, newSuite(t, alg))
	}
	return all
}

func newSuite(t testing.TB, alg string) *verify.Suite {
	t.Helper()
	s, err := verify.New(alg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVariants makes sure that what is compared does the work: a benchmark of a check that accepts anything is worthless.
func TestVariants(t *testing.T) {
	for _, s := range suites(t) {
		good := s.Token(verify.Claims(nil))
		changed := func(name string, value any) string {
			return s.Token(verify.Claims(map[string]any{name: value}))
		}
		bad := map[string]string{ // in claims that are signed
			"expired":           changed("exp", time.Now().Add(-30*time.Minute).Unix()),
			"of another issuer": changed("iss", "https://id.example.org/"),
			"for another":       changed("aud", []string{"https://mail.example.com/"}),
		}
		for _, v := range s.Variants {
			t.Run(s.Alg+"/"+v.Name, func(t *testing.T) {
				r := verify.Request(good)
				passed, err := v.Check(r)
				if err != nil {
					t.Fatalf("a good token: %v", err)
				}
				if passed == r || passed.Context() == r.Context() {
					t.Error("the request does not say who sent it")
				}
				if _, err := v.Check(verify.Request(flip(t, good))); err == nil {
					t.Error("accepted a wrong signature")
				}
				for what, token := range bad {
					if _, err := v.Check(verify.Request(token)); (err == nil) != v.Blind {
						t.Errorf("a token %s: %v", what, err)
					}
				}
			})
		}
	}
}

// flip changes a bit in the middle of the signature.
func flip(t *testing.T, token string) string {
	t.Helper()
	at := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[at:])
	if err != nil {
		t.Fatal(err)
	}
	signature[len(signature)/2] ^= 1
	return token[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

func BenchmarkVerify(b *testing.B) {
	for _, s := range suites(b) {
		r := verify.Request(s.Token(verify.Claims(nil)))
		for _, v := range s.Variants {
			b.Run(s.Alg+"/"+v.Name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Check(r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkParallel shows what several processors get in each other's way.
func BenchmarkParallel(b *testing.B) {
	for _, s := range suites(b) {
		r := verify.Request(s.Token(verify.Claims(nil)))
		for _, name := range []string{verify.Limit, "wsauth"} {
			check := s.Variant(name).Check
			b.Run(s.Alg+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := check(r); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
