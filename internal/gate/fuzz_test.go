package gate

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// pieces cuts p into pieces of random sizes, most of them small.
func pieces(random *rand.Rand, p []byte) (all [][]byte) {
	for len(p) > 0 {
		n := min(len(p), 1+random.IntN(1<<random.IntN(14)))
		all, p = append(all, p[:n]), p[n:]
	}
	return all
}

// bounds returns where the frame that holds the byte at the end of p begins and ends in all; both are len(p) if p ends
// with a frame.
func bounds(all []byte, size int) (begin, end int) {
	var s stream
	for at := 0; at < size; {
		at += s.advance(all[at:size])
		if !s.within() {
			begin = at
		}
	}
	if !s.within() {
		return size, size
	}
	for end = size; end < len(all) && s.within(); {
		end += s.advance(all[end:])
	}
	if s.within() {
		end = len(all) + 1 // never
	}
	return begin, end
}

// Whatever passes, in pieces of any size, is what passes without a gate: until Shut, and up to a close frame within a
// compressed message. After Shut, the rest of the frame in progress and one close frame are written, and nothing else.
func FuzzBothWays(f *testing.F) {
	data, closing := frameOf(1, true, []byte("data")), frameOf(8, true, []byte{3, 232})
	f.Add(data, uint64(1), uint32(3))
	f.Add(join(data, frameOf(2, true, make([]byte, 300)), frameOf(9, true, nil), closing), uint64(2), uint32(20))
	f.Add(join(unfinished(compressed(data)), closing, data), uint64(3), uint32(100))
	f.Add(join(unfinished(compressed(data)), frameOf(0, true, nil), closing, data), uint64(4), uint32(100))
	long, longer := frameOf(2, false, make([]byte, 20000)), frameOf(2, true, make([]byte, 70000))
	f.Add(join(longer, long, data), uint64(5), uint32(69000))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3}, uint64(6), uint32(16))
	f.Add(bytes.Repeat(data, 500), uint64(7), uint32(2000))
	f.Add([]byte("0\x8400000000Z\x00"), uint64(4), uint32(100)) // a pong in fragments, while Poke looks
	f.Fuzz(func(t *testing.T, all []byte, seed uint64, until uint32) {
		random := rand.New(rand.NewPCG(seed, 0))
		t.Run("in", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { passIn(t, all, random) })
		})
		t.Run("out", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { passOut(t, all, int(until), random) })
		})
	})
}

func passIn(t *testing.T, all []byte, random *rand.Rand) {
	c, peer, _ := pipe(t)
	sizes := rand.New(rand.NewPCG(random.Uint64(), 0))
	go func() {
		for _, p := range pieces(sizes, all) {
			if _, err := peer.Write(p); err != nil {
				return
			}
		}
		peer.Close()
	}()
	var got []byte
	var err error
	for err == nil {
		var n int
		p := make([]byte, 1+random.IntN(1<<random.IntN(16)))
		n, err = c.Read(p)
		got = append(got, p[:n]...)
		if random.IntN(20) == 0 && bytes.IndexByte(all, finalBit|opPong) < 0 {
			c.Poke()
		}
	}
	want := all
	if err == errWithin {
		want = all[:len(got)]
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes and %v, want %d", len(got), err, len(want))
	}
	var s stream
	s.follow(got)
	switch {
	case err == errWithin && (s.within() || !s.open || !s.compressed || all[len(got)]&0xf != opClose):
		t.Fatalf("got %v behind %+v", err, s)
	case err == io.EOF && s.withinMessage():
		t.Fatalf("got %v behind %+v", err, s)
	}
	c.Close()
	<-c.Closed()
}

func passOut(t *testing.T, all []byte, until int, random *rand.Rand) {
	c, peer, _ := pipe(t)
	received := received(peer)
	accepted, shut := 0, false
	for _, p := range pieces(random, all) {
		if !shut && accepted+len(p) > until {
			c.Shut(ending)
			go c.Finish()
			synctest.Wait()
			shut = true
		}
		n, err := c.Write(p)
		if !shut && (n != len(p) || err != nil) {
			t.Fatalf("got %d, %v, want %d", n, err, len(p))
		}
		if shut && err != nil {
			if err != errShut {
				t.Fatalf("got %v, want %v", err, errShut)
			}
			break
		}
		if !shut {
			accepted += n
		}
	}
	c.Shut(ending)
	c.Finish()
	got := <-received

	begin, end := bounds(all, accepted) // of the frame in progress, which was perhaps held
	body, told := bytes.CutSuffix(got, goodbye)
	var s stream
	s.follow(body)
	switch size := len(body); {
	case !bytes.Equal(body, all[:min(size, len(all))]):
		t.Fatalf("got other bytes than were written")
	case told && s.within():
		t.Fatalf("got a close frame within a frame")
	case told && s.closed:
		t.Fatalf("got a second close frame")
	case !told && !s.within() && !s.closed:
		t.Fatalf("got no close frame behind %d bytes of %d", size, len(all))
	case told && size != begin && size != end:
		t.Fatalf("got %d bytes, want %d or %d", size, begin, end)
	case !told && size != begin && size != end && size != len(all):
		t.Fatalf("got %d bytes, want %d, %d or %d", size, begin, end, len(all))
	}
}
