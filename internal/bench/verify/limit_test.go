package verify

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"
)

func TestAppendDER(t *testing.T) {
	number := func(at int, b byte) []byte {
		n := make([]byte, 32)
		n[at] = b
		return n
	}
	numbers := [][]byte{number(0, 1), number(0, 0x80), number(1, 0x7f), number(1, 0xff), number(31, 1), make([]byte, 32)}
	for _, r := range numbers {
		for _, s := range numbers {
			want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
			if err != nil {
				t.Fatal(err)
			}
			if got := appendDER(nil, r, s); !bytes.Equal(got, want) {
				t.Errorf("%x and %x are %x, want %x", r, s, got, want)
			}
		}
	}
}
