package jose

import (
	"strings"
	"testing"
)

// TestEachByteOfAStringIsLookedAt tries each byte at each place, and each pair of bytes: where eight bytes are looked at
// as one number, those above must not change what is found below.
func TestEachByteOfAStringIsLookedAt(t *testing.T) {
	isPlain := func(c byte) bool { return c >= ' ' && c < 0x80 && c != '"' && c != '\\' }
	isLower := func(c byte) bool { return isPlain(c) && (c < 'A' || c > 'Z') }
	end := func(s []byte, from int, is func(byte) bool) int {
		for from < len(s) && is(s[from]) {
			from++
		}
		return from
	}
	check := func(s []byte) {
		for _, from := range []int{0, min(3, len(s))} {
			if got, want := plainEnd(string(s), from), end(s, from, isPlain); got != want {
				t.Fatalf("plainEnd(%q, %d): got %d, want %d", s, from, got, want)
			}
			groups := from + (len(s)-from)/8*8
			if got, want := lowerEnd(string(s), from), end(s[:groups], from, isLower); got != want {
				t.Fatalf("lowerEnd(%q, %d): got %d, want %d", s, from, got, want)
			}
		}
	}
	for size := range 20 {
		s := []byte(strings.Repeat("a", size))
		check(s)
		for i := range s {
			for c := range 256 {
				s[i] = byte(c)
				check(s)
				if size != 8 || i == 7 {
					continue
				}
				for next := range 256 {
					s[i+1] = byte(next)
					check(s)
				}
				s[i+1] = 'a'
			}
			s[i] = 'a'
		}
	}
}
