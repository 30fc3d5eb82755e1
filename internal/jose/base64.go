package jose

import "encoding/binary"

// base64urlValue has the value of each base64url character in each of the four places of a group, and notBase64url for
// all other bytes.
var base64urlValue = func() (values [4][256]uint32) {
	for place := range values {
		for c := range values[place] {
			values[place][c] = notBase64url
		}
		for v, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			values[place][c] = uint32(v) << (18 - 6*place)
		}
	}
	return values
}()

const notBase64url = 1 << 31

// decodeBase64url decodes s into dst, which is at least as long as s, and returns the number of bytes. It accepts only
// the spelling of RFC 4648 section 5 without padding, with unused bits zero: otherwise one signature would have several
// spellings. It takes two thirds of the time of encoding/base64, whose strict decoder would also skip line breaks.
func decodeBase64url(dst []byte, s string) (n int, ok bool) {
	var bad uint32
	for ; len(s) >= 8; s = s[8:] {
		first := base64urlValue[0][s[0]] | base64urlValue[1][s[1]] | base64urlValue[2][s[2]] | base64urlValue[3][s[3]]
		second := base64urlValue[0][s[4]] | base64urlValue[1][s[5]] | base64urlValue[2][s[6]] | base64urlValue[3][s[7]]
		bad |= first | second
		binary.BigEndian.PutUint64(dst[n:], uint64(first)<<40|uint64(second)<<16) // 2 bytes too many, overwritten next
		n += 6
	}
	for len(s) > 0 {
		group, size := uint32(0), min(len(s), 4)
		for place := range size {
			group |= base64urlValue[place][s[place]]
		}
		unused := uint32(0xffffff) >> (8 * (size - 1))
		if size == 1 || group&unused != 0 {
			return 0, false
		}
		bad |= group
		for i := range size - 1 {
			dst[n+i] = byte(group >> (16 - 8*i))
		}
		n, s = n+size-1, s[size:]
	}
	return n, bad < notBase64url
}

// isBase64url reports whether s is not empty and consists of base64url characters only.
func isBase64url(s string) bool {
	for i := range len(s) {
		if base64urlValue[0][s[i]] == notBase64url {
			return false
		}
	}
	return s != ""
}
