// Package memory remembers values by token, in a bounded place and without a lock.
package memory

import (
	"hash/maphash"
	"math/bits"
	"strings"
	"sync/atomic"
)

// ways is in how many slots the value of a token may be: with one, two tokens of the same slot would drive each other
// out for ever.
const ways = 4

// A Memory is safe for concurrent use.
type Memory[V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[entry[V]]
}

type entry[V any] struct {
	token string
	value V
}

// New makes a Memory for size tokens, rounded up to a multiple of four.
func New[V any](size int) *Memory[V] {
	return &Memory[V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[entry[V]], (size+ways-1)/ways*ways)}
}

// Get returns the value that is remembered for the token; nil: none. It must not be changed.
func (m *Memory[V]) Get(token string) *V {
	slots := m.slotsOf(token)
	for i := range slots {
		if e := slots[i].Load(); e != nil && e.token == token {
			return &e.value
		}
	}
	return nil
}

// Put remembers a value, in place of one that is dead if there is one, else of any other.
func (m *Memory[V]) Put(token string, value V, dead func(*V) bool) {
	slots := m.slotsOf(token)
	place := int(maphash.String(m.seed, token) % ways)
	for i := range slots {
		if e := slots[i].Load(); e == nil || e.token == token || dead(&e.value) {
			place = i
			break
		}
	}
	// The token may be part of a longer text, which is not to stay in memory.
	slots[place].Store(&entry[V]{strings.Clone(token), value})
}

// Drop forgets a token.
func (m *Memory[V]) Drop(token string) {
	slots := m.slotsOf(token)
	for i := range slots {
		if e := slots[i].Load(); e != nil && e.token == token {
			slots[i].CompareAndSwap(e, nil)
		}
	}
}

// slotsOf returns where the token may be. Its end is the signature, as good as random.
func (m *Memory[V]) slotsOf(token string) []atomic.Pointer[entry[V]] {
	hash := maphash.String(m.seed, token[max(0, len(token)-64):])
	set, _ := bits.Mul64(hash, uint64(len(m.slots)/ways))
	return m.slots[set*ways:][:ways]
}
