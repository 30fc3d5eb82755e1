package memory

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func never(*int) bool  { return false }
func always(*int) bool { return true }

func TestWhatWasPutIsFoundByTheWholeToken(t *testing.T) {
	m := New[int](64)
	const token = "header.payload.signature-of-some-length-that-is-longer-than-what-chooses-the-slot-0123456789"
	if m.Get(token) != nil {
		t.Fatal("found before it was put")
	}
	m.Put(token, 1, never)
	if v := m.Get(token); v == nil || *v != 1 {
		t.Fatalf("got %v", v)
	}
	// They are looked for in the same place.
	for _, other := range []string{"", "x", "y" + token[1:], token[1:], "h" + token, token + "0", token[:len(token)-1]} {
		if m.Get(other) != nil {
			t.Errorf("found for %q", other)
		}
	}
	m.Put(token, 2, never)
	if v := m.Get(token); v == nil || *v != 2 {
		t.Errorf("put again: %v", v)
	}
	m.Drop("y" + token[1:])
	if m.Get(token) == nil {
		t.Error("dropped with another")
	}
	m.Drop(token)
	if m.Get(token) != nil {
		t.Error("not dropped")
	}
}

func TestAMemoryIsBounded(t *testing.T) {
	for _, size := range []int{1, 4, 5, 64, 1000} {
		m := New[int](size)
		for i := range 20 * size {
			token := fmt.Sprint(i)
			m.Put(token, i, never)
			if v := m.Get(token); v == nil || *v != i {
				t.Fatalf("size %d: the newest is not there", size)
			}
		}
		kept := 0
		for i := range 20 * size {
			if m.Get(fmt.Sprint(i)) != nil {
				kept++
			}
		}
		if most := (size + ways - 1) / ways * ways; kept > most || kept < most/2 {
			t.Errorf("size %d: %d are kept", size, kept)
		}
	}
}

func TestTheDeadMakeRoomFirst(t *testing.T) {
	m := New[int](ways) // one set
	for i := range ways {
		m.Put(fmt.Sprint(i), i, never)
	}
	m.Put("new", 100, func(v *int) bool { return *v == 2 })
	for i := range ways {
		if got := m.Get(fmt.Sprint(i)) != nil; got != (i != 2) {
			t.Errorf("%d: there: %v", i, got)
		}
	}
	m.Put("newer", 101, always)
	if m.Get("newer") == nil {
		t.Error("not put")
	}
}

func TestAMemoryIsSafeForConcurrentUse(t *testing.T) {
	m := New[int](16)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5000 {
				n := rand.IntN(100)
				token := fmt.Sprint(n)
				switch rand.IntN(4) {
				case 0:
					m.Put(token, n, never)
				case 1:
					m.Drop(token)
				default:
					if v := m.Get(token); v != nil && *v != n {
						t.Errorf("%d for %d", *v, n)
					}
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkGet looks for one token after another in an order that no cache foresees. With as many tokens as there is room
// for, about one in five is not found.
func BenchmarkGet(b *testing.B) {
	type claims [50]uint64 // about as large as those that are remembered
	for _, tokens := range []int{1_000, 10_000, 100_000} {
		for _, room := range []int{1, 2, 4} {
			m := New[claims](room * tokens)
			all := make([]string, tokens)
			for i := range all {
				all[i] = strings.Repeat("h", 400) + fmt.Sprintf(".%043d", rand.Uint64())
				m.Put(all[i], claims{}, func(*claims) bool { return false })
			}
			b.Run(fmt.Sprintf("tokens=%d/room=%d", tokens, room*tokens), func(b *testing.B) {
				hits, sum := 0, uint64(0)
				for b.Loop() {
					if v := m.Get(all[rand.IntN(tokens)]); v != nil {
						hits++
						sum += v[0] + v[len(v)-1]
					}
				}
				b.ReportMetric(100*float64(hits)/float64(b.N), "%hits")
			})
		}
	}
}
