package revocation

import (
	"sync"
	"sync/atomic"
)

// An index finds revocations by their marks. Nearly all tokens are not revoked, so a filter, which is read without a
// lock, answers for them. The index is in parts, so that no request waits while all of it is gone through.
type index struct {
	parts  [parts]part
	counts [kinds]atomic.Int64 // no lookup for a kind of which there is none
}

// parts is how many parts the index has: the first 8 bits of a mark say which.
const parts = 256

type part struct {
	filter  atomic.Pointer[filter] // nil: the part is empty
	mu      sync.Mutex
	entries map[uint64]entry // by mark
}

// An entry has the newest revocation of each of the two sorts.
type entry struct {
	issuer, name string
	all, before  int64     // Revocation.At; 0: none
	inLog        [2]uint32 // the whole read of the log that has met all and before
	kind         Kind
}

func (x *index) part(mark uint64) *part { return &x.parts[mark>>56] }

// add adds a revocation, and reports whether it says anything new. read is the number of the whole read of the log that
// has met it; 0: it did not come from the log.
func (x *index) add(mark uint64, r *Revocation, read uint32) (isNew bool) {
	p := x.part(mark)
	p.mu.Lock()
	defer p.mu.Unlock()
	e, known := p.entries[mark]
	if !known {
		e = entry{issuer: r.Issuer, name: r.Name, kind: r.Kind}
		x.counts[r.Kind].Add(1)
	}
	at, inLog := &e.before, &e.inLog[0]
	if r.All {
		at, inLog = &e.all, &e.inLog[1]
	}
	switch {
	case r.At > *at:
		*at, *inLog, isNew = r.At, read, true
	case r.At == *at && read > *inLog:
		*inLog = read
	}
	if p.entries == nil {
		p.entries = map[uint64]entry{}
	}
	p.entries[mark] = e
	if !known {
		p.addToFilter(mark)
	}
	return isNew
}

// find returns the entry with a mark.
func (x *index) find(kind Kind, mark uint64) (entry, bool) {
	if x.counts[kind].Load() == 0 {
		return entry{}, false
	}
	p := x.part(mark)
	if f := p.filter.Load(); f == nil || !f.has(mark) {
		return entry{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries[mark]
	return e, ok
}

func (x *index) len() (n int64) {
	for i := range x.counts {
		n += x.counts[i].Load()
	}
	return n
}

// drop removes what is over: revocations of before this time.
func (x *index) drop(before int64) {
	for i := range x.parts {
		x.dropFrom(&x.parts[i], before)
	}
}

func (x *index) dropFrom(p *part, before int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	over := func(e entry) bool { return max(e.all, e.before) < before }
	dropped := 0
	for _, e := range p.entries {
		if over(e) {
			x.counts[e.kind].Add(-1)
			dropped++
		}
	}
	if dropped == 0 {
		return
	}
	kept := make(map[uint64]entry, len(p.entries)-dropped) // a map never gets smaller by itself
	for mark, e := range p.entries {
		if !over(e) {
			kept[mark] = e
		}
	}
	p.entries = kept
	p.makeFilter()
}

// lacking calls visit with the revocations that this whole read of the log has not met, and that are not over. visit may
// call index.
func (x *index) lacking(read uint32, since int64, first int, visit func(*Revocation)) {
	for i := range x.parts {
		for _, r := range x.parts[(i+first)%parts].lacking(read, since) {
			visit(&r)
		}
	}
}

func (p *part) lacking(read uint32, since int64) (out []Revocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.before >= since && e.before > 0 && e.inLog[0] < read {
			out = append(out, Revocation{Kind: e.kind, Issuer: e.issuer, Name: e.name, At: e.before})
		}
		if e.all >= since && e.all > 0 && e.inLog[1] < read {
			out = append(out, Revocation{Kind: e.kind, Issuer: e.issuer, Name: e.name, At: e.all, All: true})
		}
	}
	return out
}

// A filter is a Bloom filter whose two bits for a mark are in one word: a lookup reads one word of memory.
type filter struct {
	words []atomic.Uint64 // a power of two
	room  int             // for how many marks
}

const marksPerWord = 4 // one lookup in about 70 of marks that are not there goes on to the map

func newFilter(marks int) *filter {
	size := 1
	for size*marksPerWord < marks {
		size *= 2
	}
	return &filter{make([]atomic.Uint64, size), size * marksPerWord}
}

// bits and word take parts of the mark that do not depend on each other, nor on which part of the index it is in.
func (f *filter) word(mark uint64) *atomic.Uint64 { return &f.words[int(mark>>12)&(len(f.words)-1)] }
func bitsOf(mark uint64) uint64                   { return 1<<(mark&63) | 1<<(mark>>6&63) }

func (f *filter) has(mark uint64) bool { return f.word(mark).Load()&bitsOf(mark) == bitsOf(mark) }
func (f *filter) add(mark uint64)      { f.word(mark).Or(bitsOf(mark)) }

func (p *part) addToFilter(mark uint64) {
	if f := p.filter.Load(); f != nil && len(p.entries) <= f.room {
		f.add(mark)
		return
	}
	p.makeFilter()
}

func (p *part) makeFilter() {
	if len(p.entries) == 0 {
		p.filter.Store(nil)
		return
	}
	f := newFilter(2 * len(p.entries))
	for mark := range p.entries {
		f.add(mark)
	}
	p.filter.Store(f)
}
