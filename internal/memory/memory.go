// Package memory remembers values by token, in a bounded place and without a lock.
package memory

import (
	"hash/maphash"
	"math/bits"
	"strings"
	"sync/atomic"
)

// ways is how many slots the value of a token may be in: with one, two tokens of the same slot would keep replacing
// each other.
const ways = 4

// A Memory is safe for concurrent use.
type Memory[V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[entry[V]]
}

// An entry has the hash of its token, so that Get need not look at the tokens of the other entries in the same place:
// if many tokens are remembered, each such look waits for memory. A copy of the hash beside the pointer to the entry
// was not faster, since fewer pointers then fit into a cache line.
type entry[V any] struct {
	hash  uint64
	token string
	value V
}

// New makes a Memory for size tokens, rounded up to a multiple of four.
func New[V any](size int) *Memory[V] {
	return &Memory[V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[entry[V]], (size+ways-1)/ways*ways)}
}

// Get returns the value that is remembered for the token, or nil. The value must not be changed.
func (m *Memory[V]) Get(token string) *V {
	hash := m.hash(token)
	slots := m.slotsOf(hash)
	for i := range slots {
		if e := slots[i].Load(); e.is(hash, token) {
			return &e.value
		}
	}
	return nil
}

func (e *entry[V]) is(hash uint64, token string) bool {
	return e != nil && e.hash == hash && e.token == token
}

// Put remembers a value. If there is no room, it replaces a dead value, or any other if none is dead.
func (m *Memory[V]) Put(token string, value V, dead func(*V) bool) {
	hash := m.hash(token)
	slots := m.slotsOf(hash)
	place := int(hash % ways)
	for i := range slots {
		if e := slots[i].Load(); e == nil || e.is(hash, token) || dead(&e.value) {
			place = i
			break
		}
	}
	// The token may be part of a longer text, which must not stay in memory.
	slots[place].Store(&entry[V]{hash, strings.Clone(token), value})
}

// Drop forgets a token.
func (m *Memory[V]) Drop(token string) {
	hash := m.hash(token)
	slots := m.slotsOf(hash)
	for i := range slots {
		if e := slots[i].Load(); e.is(hash, token) {
			slots[i].CompareAndSwap(e, nil)
		}
	}
}

// hash returns the hash of the token's end, which is part of the signature and as good as random.
func (m *Memory[V]) hash(token string) uint64 {
	return maphash.String(m.seed, token[max(0, len(token)-64):])
}

// slotsOf returns where the tokens with a hash may be. It uses the upper bits of the hash, and Put uses the lowest
// ones.
func (m *Memory[V]) slotsOf(hash uint64) []atomic.Pointer[entry[V]] {
	set, _ := bits.Mul64(hash, uint64(len(m.slots)/ways))
	return m.slots[set*ways:][:ways]
}
