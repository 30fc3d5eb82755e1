package life

import (
	"fmt"
	"testing"
)

// BenchmarkAll is how long Disconnect and Shutdown hold the lock that every new connection needs.
func BenchmarkAll(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		g := NewRegistry[string](nil, nil)
		for range n {
			g.add(new(Conn[string]))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if got := len(g.all()); got != n {
					b.Fatalf("got %d connections, want %d", got, n)
				}
			}
		})
	}
}

func BenchmarkAddAndRemove(b *testing.B) {
	g := NewRegistry[string](nil, nil)
	for range 10_000 {
		g.add(new(Conn[string]))
	}
	c := new(Conn[string])
	for b.Loop() {
		g.add(c)
		g.remove(c)
	}
}
