package jose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// A Source finds the keys that may have signed a token with header h. Its error is an [ErrUnknownKey] if the token is
// at fault, and any other error if the keys are unavailable. No keys and no error also mean [ErrUnknownKey].
type Source interface {
	Keys(ctx context.Context, h Header) ([]*Key, error)
}

// Keys is Find: a Set is a [Source] that never waits.
func (s *Set) Keys(_ context.Context, h Header) ([]*Key, error) { return s.Find(h) }

// ErrSignature says that the keys are known, and none of them made the token's signature.
var ErrSignature = errors.New("the signature is not valid")

// VerifyFrom returns the key of the source that made the signature of t. The error is the error of the source, or
// [ErrSignature]. However many keys there are, the signature is checked at most four times.
func VerifyFrom(ctx context.Context, source Source, t *Token) (*Key, error) {
	a := attempt{t, maxCandidates}
	if several, ok := source.(*AnyOf); ok {
		return several.verify(ctx, &a)
	}
	return a.from(ctx, source)
}

// An attempt tries a token with the keys of one source after another.
type attempt struct {
	token *Token
	left  int // how many more keys the signature may be checked with
}

func (a *attempt) from(ctx context.Context, source Source) (*Key, error) {
	keys, err := source.Keys(ctx, a.token.Header)
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, ErrUnknownKey
	}
	k, err := a.with(keys)
	if err != ErrSignature {
		return k, err
	}
	if remote, ok := source.(interface {
		Newer(context.Context, Header) ([]*Key, error)
	}); ok && !a.token.Header.namesAny(keys) {
		return a.newer(ctx, remote.Newer, keys)
	}
	return nil, err
}

// with checks the signature with the keys, or with the likeliest of them if only fewer checks are left.
func (a *attempt) with(keys []*Key) (*Key, error) {
	likely := keys
	if len(keys) > a.left {
		likely = a.token.Header.likeliest(keys, a.left)
	}
	a.left -= len(likely)
	if k := Verify(a.token, likely); k != nil {
		return k, nil
	}
	if len(likely) < len(keys) {
		return nil, errTooMany
	}
	return nil, ErrSignature
}

// errChanged is an outage, not a verdict: the issuer's newest key may have signed the token. When the token comes
// again, the signature is checked with the new keys first.
var errChanged = errors.New("the issuer's keys have changed while a token was checked that does not name its key")

// newer tries a token again that names none of the keys it was tried with: the issuer may have a new key. If a token
// names its key, the name tells whether the key is new.
func (a *attempt) newer(
	ctx context.Context, newer func(context.Context, Header) ([]*Key, error), tried []*Key,
) (*Key, error) {
	keys, err := newer(ctx, a.token.Header)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, ErrSignature
	case err != nil:
		return nil, err
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k *Key) bool { return slices.ContainsFunc(tried, k.isSame) })
	k, err := a.with(keys)
	if err == errTooMany {
		return nil, errChanged
	}
	return k, err
}

// namesAny reports whether the header names one of the keys, by its kid or a thumbprint.
func (h Header) namesAny(keys []*Key) bool {
	return slices.ContainsFunc(keys, h.names)
}

func (h Header) names(k *Key) bool {
	return h.KeyID != "" && h.KeyID == k.ID || h.X5T != "" && h.X5T == k.X5T ||
		h.X5TS256 != "" && h.X5TS256 == k.X5TS256
}

// likeliest returns at most so many of the keys. As long as there are too many, it leaves out those with a name that is
// not in the header, then those without a name, and then those that the header names.
func (h Header) likeliest(keys []*Key, most int) (likely []*Key) {
	var named, nameless, others []*Key
	for _, k := range keys {
		switch {
		case h.names(k):
			named = append(named, k)
		case k.ID == "":
			nameless = append(nameless, k)
		default:
			others = append(others, k)
		}
	}
	for _, group := range [][]*Key{named, nameless, others} {
		if len(likely)+len(group) > most {
			break
		}
		likely = append(likely, group...)
	}
	return likely
}

// A Part is a source, and the algorithms for which it is asked.
type Part struct {
	Source Source
	Algs   Algs
}

// AnyOf combines several sources of one issuer. A key keeps the algorithms that fit its type wherever it comes from: a
// token that names an HMAC algorithm is never tried with a public key, nor the other way round.
type AnyOf struct {
	sets  sets
	parts []Part // the other sources
}

// NewAnyOf combines sources. Sources that know a token's key are asked before any source that may have to fetch:
// otherwise each token of one set would be an unknown kid, and cause a fetch, at the other.
//
// It is an error if a token might have to be tried with more than four keys, where each source that is not a Set counts
// as one key.
func NewAnyOf(parts ...Part) (*AnyOf, error) {
	a := &AnyOf{}
	for _, p := range parts {
		a.add(p)
	}
	for alg := range numAlgs {
		if err := a.checkSize(alg); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *AnyOf) add(p Part) {
	switch source := p.Source.(type) {
	case *Set:
		a.sets = append(a.sets, narrowed{source, p.Algs})
	case *AnyOf:
		for _, inner := range source.sets {
			a.add(Part{inner.set, inner.algs & p.Algs})
		}
		for _, inner := range source.parts {
			a.add(Part{inner.Source, inner.Algs & p.Algs})
		}
	default:
		a.parts = append(a.parts, p)
	}
}

func (a *AnyOf) checkSize(alg Alg) error {
	nameless, others := 0, 0
	for _, each := range a.sets {
		if each.algs.Has(alg) {
			nameless += len(each.set.byAlg[alg].nameless)
		}
	}
	for _, p := range a.parts {
		if p.Algs.Has(alg) {
			others++
		}
	}
	switch {
	case nameless+others <= maxCandidates:
		return nil
	case others == 0:
		return tooManyNameless(nameless, alg)
	}
	const format = "keys without a kid that serve %s: %d, and one of each other source (%d): a token is tried with four at most"
	return fmt.Errorf(format, alg, nameless, others)
}

// sets are asked together, so that all their secrets are tried and the time does not tell which one fits.
type sets []narrowed

type narrowed struct {
	set  *Set
	algs Algs
}

func (s sets) Keys(_ context.Context, h Header) (all []*Key, err error) {
	err = ErrUnknownKey
	for _, each := range s {
		if !each.algs.Has(h.Alg) {
			continue
		}
		keys, fault := each.set.Find(h)
		if fault != nil {
			err = moreTelling(err, fault)
		}
		all = append(all, keys...)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, err
}

// inOrder returns the sources to ask for a token with header h: those that have a key for it without a fetch (first of
// all those with a key that the header names), and the others.
func (a *AnyOf) inOrder(h Header) (known, others []Source) {
	if a.sets != nil {
		known = append(known, a.sets)
	}
	for _, p := range a.parts {
		if !p.Algs.Has(h.Alg) {
			continue
		}
		switch keys := knownKeys(p.Source, h); {
		case len(keys) == 0:
			others = append(others, p.Source)
		case h.namesAny(keys):
			known = slices.Insert(known, 0, p.Source)
		default:
			known = append(known, p.Source)
		}
	}
	return known, others
}

// knownKeys returns the keys that a source has for h without a fetch.
func knownKeys(s Source, h Header) []*Key {
	if remote, ok := s.(interface{ Known(Header) []*Key }); ok {
		return remote.Known(h)
	}
	return nil
}

func (a *AnyOf) verify(ctx context.Context, try *attempt) (*Key, error) {
	known, others := a.inOrder(try.token.Header)
	err := error(ErrUnknownKey)
	for _, source := range slices.Concat(known, others) {
		k, fault := try.from(ctx, source)
		if fault == nil {
			return k, nil
		}
		err = moreTelling(err, fault)
	}
	return nil, err
}

// moreTelling chooses between the errors of two sources. An outage comes first: the unavailable source may have the
// token's key. An invalid signature says more than an unknown key, and keys that were not tried say more than keys that
// failed.
func moreTelling(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == ErrUnknownKey:
			return 0
		case err == errTooMany:
			return 3
		case errors.Is(err, ErrUnknownKey):
			return 1
		case errors.Is(err, ErrSignature):
			return 2
		}
		return 4
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// Keys returns the keys of all sources that have some for h without a fetch. It asks the others only if there are none.
func (a *AnyOf) Keys(ctx context.Context, h Header) ([]*Key, error) {
	known, others := a.inOrder(h)
	keys, err := keysOf(ctx, known, h)
	if len(keys) > 0 {
		return keys, nil
	}
	more, fault := keysOf(ctx, others, h)
	if len(more) > 0 {
		return more, nil
	}
	return nil, moreTelling(err, fault)
}

func keysOf(ctx context.Context, sources []Source, h Header) (all []*Key, err error) {
	err = ErrUnknownKey
	for _, source := range sources {
		keys, fault := source.Keys(ctx, h)
		if fault != nil {
			err = moreTelling(err, fault)
		}
		all = append(all, keys...)
	}
	return all, err
}

// Ready asks each source that fetches its keys whether it has them, and returns why not.
func (a *AnyOf) Ready(ctx context.Context) error {
	faults := make([]error, len(a.parts))
	var all sync.WaitGroup
	for i, p := range a.parts {
		if remote, ok := p.Source.(interface{ Ready(context.Context) error }); ok {
			all.Go(func() { faults[i] = remote.Ready(ctx) })
		}
	}
	all.Wait()
	return errors.Join(faults...)
}
