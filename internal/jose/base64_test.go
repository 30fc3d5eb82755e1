package jose

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// decodeWithStdlib is what decodeBase64url must do. The strict decoder of encoding/base64 alone would skip line breaks.
func decodeWithStdlib(s string) ([]byte, bool) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return decoded, err == nil && !strings.ContainsAny(s, "\r\n")
}

func checkBase64url(t *testing.T, s string) {
	t.Helper()
	dst := make([]byte, len(s))
	want, wantOK := decodeWithStdlib(s)
	n, ok := decodeBase64url(dst, s)
	if ok != wantOK || ok && !bytes.Equal(dst[:n], want) {
		t.Fatalf("decodeBase64url(%q) = %x, %v, want %x, %v", s, dst[:n], ok, want, wantOK)
	}
	if all := strings.Trim(s, alphabet) == "" && s != ""; isBase64url(s) != all {
		t.Fatalf("isBase64url(%q) = %v", s, !all)
	}
}

func TestBase64urlIsReadAsTheStandardLibraryReadsItStrictly(t *testing.T) {
	text := strings.Repeat("-_AZaz09bY8", 3)
	for size := range len(text) {
		checkBase64url(t, text[:size])
		for i := range size {
			for c := range 256 {
				checkBase64url(t, text[:i]+string([]byte{byte(c)})+text[i+1:size])
			}
		}
	}
}

func FuzzBase64url(f *testing.F) {
	for _, s := range []string{"", "A", "AA", "AQ", "AB", "AAA", "AAE", "AAAA", "AA==", "A-_9", "A+/9", "AA\nAA", "AAAAAAA\xff"} {
		f.Add(s)
		f.Add("AbCdEfGh" + s)
	}
	f.Fuzz(checkBase64url)
}
