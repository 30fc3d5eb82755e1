package jose

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"
)

// What crypto/ecdsa is given must be exactly what encoding/asn1 makes of the two numbers.
func FuzzDERSignature(f *testing.F) {
	for _, size := range []int{32, 48, 66} {
		for _, fill := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			f.Add(bytes.Repeat([]byte{fill}, 2*size))
			f.Add(append(make([]byte, 2*size-1), fill))
			f.Add(append([]byte{0, fill}, make([]byte, 2*size-2)...))
		}
	}
	f.Fuzz(func(t *testing.T, signature []byte) {
		size := len(signature) / 2
		if size > 66 {
			return
		}
		got, ok := derSignature(make([]byte, 0, maxDER), signature, size)
		if ok != (len(signature) == 2*size) {
			t.Fatalf("%d bytes: %v", len(signature), ok)
		}
		if !ok {
			return
		}
		want, err := asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]),
		})
		if err != nil || !bytes.Equal(got, want) || len(got) > maxDER {
			t.Errorf("%x: got %x, want %x, %v", signature, got, want, err)
		}
	})
}
