package revocation

import (
	"strings"
	"sync"
	"sync/atomic"
)

// An index finds revocations by their marks. Nearly all tokens are not revoked, so a filter, which is read without a
// lock, answers for them. The index is divided into parts, so that no request waits while the whole index is searched.
type index struct {
	parts  [parts]part
	counts [kinds]atomic.Int64 // a kind with no revocations needs no lookup

	naming  sync.Mutex
	issuers []string
	numbers map[string]uint32 // of the issuers, which save memory where names would be repeated
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
	name        string
	all, before int64     // Revocation.At; 0: none
	inLog       [2]uint32 // the whole read of the log that has found before and all
	issuer      uint32
	kind        Kind
}

// newest returns the time of the newest revocation of one sort, and the read that has found it.
func (e *entry) newest(all bool) (at *int64, inLog *uint32) {
	if all {
		return &e.all, &e.inLog[1]
	}
	return &e.before, &e.inLog[0]
}

func (x *index) part(mark uint64) *part { return &x.parts[mark>>56] }

// add adds a revocation, and reports whether it is new. read is the number of the whole read of the log that has found
// it; 0: it did not come from the log.
func (x *index) add(mark uint64, r *Revocation, read uint32) (isNew bool) {
	issuer := x.number(r.Issuer)
	p := x.part(mark)
	p.mu.Lock()
	defer p.mu.Unlock()
	e, known := p.entries[mark]
	if !known {
		// The name may be part of a token or of a page of the log, which would stay in memory with it.
		e = entry{issuer: issuer, name: strings.Clone(r.Name), kind: r.Kind}
		x.counts[r.Kind].Add(1)
	}
	at, inLog := e.newest(r.All)
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

// number returns the number of an issuer.
func (x *index) number(issuer string) uint32 {
	x.naming.Lock()
	defer x.naming.Unlock()
	n, known := x.numbers[issuer]
	if !known {
		if x.numbers == nil {
			x.numbers = map[string]uint32{}
		}
		issuer = strings.Clone(issuer)
		n = uint32(len(x.issuers))
		x.issuers = append(x.issuers, issuer)
		x.numbers[issuer] = n
	}
	return n
}

// names returns the issuers by their numbers. None of them ever changes.
func (x *index) names() []string {
	x.naming.Lock()
	defer x.naming.Unlock()
	return x.issuers
}

// find returns the entry with a mark.
func (x *index) find(mark uint64) (entry, bool) {
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

// drop removes revocations that no longer count: those from before this time.
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
	kept := make(map[uint64]entry, len(p.entries)-dropped) // a map never shrinks by itself
	for mark, e := range p.entries {
		if !over(e) {
			kept[mark] = e
		}
	}
	p.entries = kept
	p.makeFilter()
}

// lacking calls visit with the revocations that still count and that this whole read of the log has not found. visit
// may call methods of the index.
func (x *index) lacking(read uint32, since int64, first int, visit func(*Revocation)) {
	for i := range x.parts {
		p := &x.parts[(i+first)%parts]
		list := p.lacking(read, since)
		names := x.names()
		for _, e := range list {
			r := Revocation{Kind: e.kind, Issuer: names[e.issuer], Name: e.name}
			if e.before > 0 {
				r.At = e.before
				visit(&r)
			}
			if e.all > 0 {
				r.At, r.All = e.all, true
				visit(&r)
			}
		}
	}
}

// lacking returns the entries that must be appended.
func (p *part) lacking(read uint32, since int64) (out []entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.inLog[0] >= read || e.before < since {
			e.before = 0
		}
		if e.inLog[1] >= read || e.all < since {
			e.all = 0
		}
		if e.before > 0 || e.all > 0 {
			out = append(out, e)
		}
	}
	return out
}

// A filter is a Bloom filter whose two bits for a mark are in one word: a lookup reads one word of memory.
type filter struct {
	words []atomic.Uint64 // a power of two
	room  int             // in marks
}

const marksPerWord = 4 // about one in 70 lookups of an absent mark goes on to the map

func newFilter(marks int) *filter {
	size := 1
	for size*marksPerWord < marks {
		size *= 2
	}
	return &filter{make([]atomic.Uint64, size), size * marksPerWord}
}

// bits and word use parts of the mark that do not overlap with each other, nor with the bits that choose the part of
// the index.
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
