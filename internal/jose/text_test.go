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
	prefix := func(s []byte, is func(byte) bool) int {
		for i, c := range s {
			if !is(c) {
				return i
			}
		}
		return len(s)
	}
	check := func(s []byte) {
		if got, want := plainPrefix(string(s)), prefix(s, isPlain); got != want {
			t.Fatalf("plainPrefix(%q) = %d, want %d", s, got, want)
		}
		if got, want := lowerPrefix(string(s)), prefix(s[:len(s)/8*8], isLower); got != want {
			t.Fatalf("lowerPrefix(%q) = %d, want %d", s, got, want)
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
