package gate

import (
	"bytes"
	"slices"
	"testing"
)

func TestACloseCodeIsReadFromFramesInPiecesOfAnySize(t *testing.T) {
	masked := func(code ...byte) []byte {
		f := frameOf(opClose, true, code)
		for i := range code {
			f[2+i], f[6+i] = byte(i+1), code[i]^byte(i+1)
		}
		return f
	}
	for name, row := range map[string]struct {
		stream []byte
		want   int32
	}{
		"no close frame":         {frameOf(1, true, []byte("data")), 0},
		"a code":                 {frameOf(opClose, false, []byte{11, 184}), 3000},
		"a code and a reason":    {frameOf(opClose, false, []byte("\x03\xe8bye")), 1000},
		"masked":                 {masked(3, 233, 'b', 'y'), 1001},
		"behind data":            {join(frameOf(1, true, make([]byte, 300)), masked(11, 184)), 3000},
		"no code":                {frameOf(opClose, true, nil), noCode},
		"half a code":            {frameOf(opClose, false, []byte{3}), noCode},
		"half a close frame":     {masked(3, 233, 'b', 'y')[:9], 0},
		"two: the first counts":  {join(masked(11, 184), masked(3, 232)), 3000},
		"two, the first without": {join(frameOf(opClose, true, nil), masked(3, 232)), noCode},
	} {
		for _, size := range []int{1, 3, 1000} {
			t.Run(name, func(t *testing.T) {
				var s stream
				for rest := row.stream; len(rest) > 0; {
					piece := rest[:min(size, len(rest))]
					s.follow(piece)
					rest = rest[len(piece):]
				}
				if got := s.closeCode(); got != row.want {
					t.Errorf("in pieces of %d: got %d, want %d", size, got, row.want)
				}
			})
		}
	}
}

func TestACloseFrameIsNeverTooLong(t *testing.T) {
	f := closeFrame(3000, string(bytes.Repeat([]byte("x"), 200)))
	if len(f) != 2+125 || f[1] != 125 {
		t.Errorf("got %d bytes, of which %d are payload, want 127 and 125", len(f), f[1])
	}
}

// However a stream of frames is cut into pieces, it is followed alike.
func FuzzAdvance(f *testing.F) {
	f.Add(frameOf(1, false, []byte("data")), uint8(1))
	f.Add(join(frameOf(2, true, make([]byte, 300)), frameOf(8, false, []byte{3, 232})), uint8(3))
	f.Add(frameOf(2, false, make([]byte, 70000)), uint8(200))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3}, uint8(5))
	f.Add(join(unfinished(compressed(frameOf(1, true, []byte("a")))), frameOf(0, true, []byte("b"))), uint8(2))
	f.Fuzz(func(t *testing.T, all []byte, size uint8) {
		follow := func(step int) (s stream, ends []int) {
			for at := 0; at < len(all); {
				piece := all[at:min(at+step, len(all))]
				n := s.advance(piece)
				if n <= 0 || n > len(piece) {
					t.Fatalf("advanced by %d of %d", n, len(piece))
				}
				at += n
				if !s.within() {
					ends = append(ends, at)
				}
			}
			s.head = [maxHeader]byte{} // holds what is left of earlier headers
			return s, ends
		}
		whole, ends := follow(len(all) + 1)
		pieces, endsInPieces := follow(int(size) + 1)
		if whole.have > 0 && pieces.have > 0 {
			whole.have, pieces.have = 0, 0
		}
		if whole != pieces || !slices.Equal(ends, endsInPieces) {
			t.Fatalf("got %+v, %v in pieces, %+v, %v as a whole", pieces, endsInPieces, whole, ends)
		}
	})
}
