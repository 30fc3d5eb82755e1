package jose

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// maxKeys bounds a remote set.
	maxKeys = 100

	// maxCandidates bounds the work that one token can cause: its signature is checked with at most so many keys. While
	// certificates roll over, two or three keys fit a token that names none.
	maxCandidates = 4
)

// ErrUnknownKey says that a set has no key for a token. Errors that say more match it with errors.Is.
var ErrUnknownKey = errors.New("no key of the issuer fits the token's kid and algorithm")

const errTooMany = unknownKey("more than four keys of the issuer fit the token, and it does not say which")

// An unknownKey is an ErrUnknownKey with another text.
type unknownKey string

func (e unknownKey) Error() string      { return string(e) }
func (unknownKey) Is(target error) bool { return target == ErrUnknownKey }

// A Set holds the keys of one issuer. It is immutable.
type Set struct {
	byAlg     [numAlgs]fitting
	algs      Algs
	size      int
	anonymous bool // no key has a kid, and the token's kid is ignored
	leftOut   []LeftOut
}

// fitting are the keys of a set that fit one algorithm.
type fitting struct {
	all      []*Key
	byKid    map[string][]*Key
	nameless []*Key // the keys without a kid
}

// A LeftOut is a key of a published set that is not used.
type LeftOut struct {
	KeyID  string // empty: the key has no kid, or one that no token could have
	Reason string
}

func leftOut(kid, reason string) LeftOut {
	if len(kid) > maxKeyID {
		kid = ""
	}
	return LeftOut{kid, reason}
}

// NewSet makes a set of keys that have no kid: each key that fits a token's algorithm is tried, and more than four for
// one algorithm are an error.
func NewSet(keys []*Key) (*Set, error) {
	s := newSet(keys)
	s.anonymous = true
	for a := range s.byAlg {
		if n := len(s.byAlg[a].all); n > maxCandidates {
			return nil, tooManyNameless(n, Alg(a))
		}
	}
	return s, nil
}

func tooManyNameless(n int, alg Alg) error {
	return fmt.Errorf("%d keys without a kid that serve %s: a token is tried with four at most", n, alg)
}

func newSet(keys []*Key) *Set {
	s := &Set{size: len(keys)}
	for a := range numAlgs {
		fit := &s.byAlg[a]
		fit.byKid = map[string][]*Key{}
		for _, k := range keys {
			if !k.Algs.Has(a) {
				continue
			}
			fit.all = append(fit.all, k)
			if k.ID == "" {
				fit.nameless = append(fit.nameless, k)
			} else {
				fit.byKid[k.ID] = append(fit.byKid[k.ID], k)
			}
		}
	}
	for _, k := range keys {
		s.algs |= k.Algs
	}
	return s
}

// Algs returns the algorithms that fit at least one key of the set.
func (s *Set) Algs() Algs { return s.algs }

// Len returns the number of keys.
func (s *Set) Len() int { return s.size }

// LeftOut returns the published keys that are not used, and why.
func (s *Set) LeftOut() []LeftOut { return s.leftOut }

// Find returns the keys that may have signed a token with this header. If there are none, the error is an
// [ErrUnknownKey].
//
// A kid chooses the keys that have this kid, and those that have none. Without a kid, a thumbprint chooses in the same
// way. A token that names no key is tried with all keys that fit, if they are few.
func (s *Set) Find(h Header) ([]*Key, error) {
	fit := &s.byAlg[h.Alg]
	found := fit.all
	switch {
	case s.anonymous:
	case h.KeyID != "":
		found = choose(fit.byKid[h.KeyID], byThumbprint(fit.nameless, h))
	default:
		found = byThumbprint(fit.all, h)
	}
	if len(found) == 0 {
		return nil, s.unknown(h)
	}
	if len(found) > maxCandidates {
		return nil, errTooMany
	}
	return found, nil
}

func (s *Set) unknown(h Header) error {
	for _, out := range s.leftOut {
		if h.KeyID != "" && out.KeyID == h.KeyID {
			return unknownKey("the issuer's key with this kid cannot be used: " + out.Reason)
		}
	}
	return ErrUnknownKey
}

// choose returns the keys that a token names, followed by those without a name unless that would be too many.
func choose(named, nameless []*Key) []*Key {
	switch {
	case len(named) == 0:
		return nameless
	case len(nameless) == 0, len(named)+len(nameless) > maxCandidates:
		return named
	}
	return slices.Concat(named, nameless)
}

// byThumbprint returns the keys that have the header's thumbprint, and the keys without a thumbprint to compare.
func byThumbprint(keys []*Key, h Header) []*Key {
	if h.X5T == "" && h.X5TS256 == "" {
		return keys
	}
	var named, nameless []*Key
	for _, k := range keys {
		switch {
		case h.X5TS256 != "" && k.X5TS256 != "":
			if h.X5TS256 == k.X5TS256 {
				named = append(named, k)
			}
		case h.X5T != "" && k.X5T != "":
			if h.X5T == k.X5T {
				named = append(named, k)
			}
		default:
			nameless = append(nameless, k)
		}
	}
	return choose(named, nameless)
}

// Verify returns the key that made the signature of t; nil: none of these did. It stops at the first public key that
// fits. All secrets are tried, so that the time does not tell which one fits.
func Verify(t *Token, keys []*Key) *Key {
	var by *Key
	for _, k := range keys {
		if t.VerifiedBy(k) && by == nil {
			by = k
		}
		if by != nil && !by.IsSecret() {
			return by
		}
	}
	return by
}

// ParseRemote reads the JWK Set (RFC 7517 section 5) that an issuer publishes. Keys that cannot or must not be used are
// left out: a provider adds key types before its verifiers know them. Secrets and private keys are left out, too, since
// a published secret is not secret. A set without one usable key is an error, which says why.
func ParseRemote(data []byte) (*Set, error) {
	raw, err := splitSet(data)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxKeys {
		return nil, errors.New("a key set with more than 100 keys")
	}
	var keys []*Key
	var out []LeftOut
	for _, text := range raw {
		k, kid, err := parseKey(text)
		if err == nil && k.IsSecret() {
			err = errors.New("a secret, which is none once it is published")
		}
		if err != nil {
			out = append(out, leftOut(kid, err.Error()))
			continue
		}
		keys = append(keys, k)
	}
	keys, ambiguous := dropAmbiguous(keys)
	out = append(out, ambiguous...)
	if len(keys) == 0 {
		return nil, noUsableKey(out)
	}
	s := newSet(keys)
	s.leftOut = out
	return s, nil
}

// noUsableKey says why none of the first few keys can be used.
func noUsableKey(out []LeftOut) error {
	const few = 3
	text := "a key set without a usable key"
	for i, left := range out[:min(len(out), few)] {
		text += fmt.Sprintf("%s kid %q: %s", []string{":", ";"}[min(i, 1)], left.KeyID, left.Reason)
	}
	if len(out) > few {
		text += fmt.Sprintf("; and %d more", len(out)-few)
	}
	return errors.New(text)
}

// ParseStatic reads a JWK Set from the operator: it may contain secrets, and each key in it must be usable.
func ParseStatic(data []byte) (*Set, error) {
	raw, err := splitSet(data)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	var faults []error
	for i, text := range raw {
		k, _, err := parseKey(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	byKid := map[string][]*Key{}
	for _, k := range keys {
		if slices.ContainsFunc(byKid[k.ID], func(other *Key) bool { return confusable(k, other) }) {
			faults = append(faults, errors.New("two keys with one kid that serve the same algorithm"))
		}
		byKid[k.ID] = append(byKid[k.ID], k)
	}
	if len(raw) == 0 {
		faults = append(faults, errors.New("no keys"))
	}
	nameless := slices.DeleteFunc(slices.Clone(keys), func(k *Key) bool { return k.ID != "" })
	if _, err := NewSet(nameless); err != nil {
		faults = append(faults, err)
	}
	return newSet(keys), errors.Join(faults...)
}

// confusable reports whether a kid and an algorithm could mean either key.
func confusable(a, b *Key) bool { return a.ID != "" && a.ID == b.ID && a.Algs&b.Algs != 0 }

// dropAmbiguous leaves out different keys that a kid does not tell apart. The same key twice counts as one.
func dropAmbiguous(keys []*Key) (clear []*Key, out []LeftOut) {
	for i, k := range keys {
		ambiguous, again := false, false
		for j, other := range keys {
			if i == j || !confusable(k, other) {
				continue
			}
			ambiguous = ambiguous || !k.isSame(other)
			again = again || j < i && k.Algs == other.Algs
		}
		switch {
		case ambiguous:
			out = append(out, leftOut(k.ID, "another key of the set has the same kid and algorithm"))
		case !again:
			clear = append(clear, k)
		}
	}
	return clear, out
}

// splitSet returns the text of each key of a JWK Set, which it reads as strict JSON.
func splitSet(data []byte) ([]string, error) {
	var keys []string
	found := false
	err := walkObject(string(data), func(m member) error {
		if m.name != "keys" {
			return nil
		}
		found = true
		if m.value[0] != '[' {
			return errors.New("keys: not an array")
		}
		return walkArray(m.value, func(element string) error {
			keys = append(keys, element)
			return nil
		})
	})
	if err == nil && !found {
		err = errors.New(`keys: missing: a set is {"keys":[…]}`)
	}
	return keys, err
}
