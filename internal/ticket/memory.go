package ticket

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Memory is a store for one process. It is bounded, and it has no goroutine: Put removes what has expired.
type Memory struct {
	maxBytes int

	mu      sync.Mutex
	entries map[string]entry
	queue   []queued // in the order in which they were put there; the first of them may have been taken
	bytes   int
}

type entry struct {
	value   []byte
	expires time.Time
}

type queued struct {
	key     string
	expires time.Time
	bytes   int
}

// overhead is about what an entry needs in addition to its key and its value.
const overhead = 160

// NewMemory returns a Memory of about so many bytes.
func NewMemory(maxBytes int) *Memory { return &Memory{maxBytes: maxBytes, entries: map[string]entry{}} }

var errFull = errors.New("the memory for it is full")

// Put implements [Store]. When the memory is full, it returns an error rather than forget an entry that has not
// expired: forgetting a used proof would allow a replay.
func (m *Memory) Put(_ context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetExpired(now)
	if e, ok := m.entries[key]; ok && now.Before(e.expires) {
		return false, nil
	}
	size := len(key) + len(value) + overhead
	if m.bytes+size > m.maxBytes {
		return false, errFull
	}
	expires := now.Add(ttl)
	m.entries[key] = entry{value, expires}
	m.queue = append(m.queue, queued{key, expires, size})
	m.bytes += size
	return true, nil
}

// Take implements [Store].
func (m *Memory) Take(_ context.Context, key string) ([]byte, bool, error) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok || !now.Before(e.expires) {
		return nil, false, nil
	}
	delete(m.entries, key)
	return e.value, true, nil
}

// forgetExpired makes room. All entries of one Memory live equally long, so the first in the queue expire first; one that
// would live longer keeps those behind it.
func (m *Memory) forgetExpired(now time.Time) {
	n := 0
	for _, q := range m.queue {
		if now.Before(q.expires) {
			break
		}
		if e, ok := m.entries[q.key]; ok && e.expires.Equal(q.expires) {
			delete(m.entries, q.key)
		}
		m.bytes -= q.bytes
		n++
	}
	if n == len(m.queue) {
		m.queue, m.bytes = nil, 0
		return
	}
	m.queue = m.queue[n:]
}
