package jose

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// A Source finds the keys that may have signed a token with header h. Its error is an [ErrUnknownKey] where the token
// is at fault, and any other where the keys are not available. No keys and no error are an [ErrUnknownKey], too.
type Source interface {
	Keys(ctx context.Context, h Header) ([]*Key, error)
}

// Keys is Find: a Set is a [Source] that never waits.
func (s *Set) Keys(_ context.Context, h Header) ([]*Key, error) { return s.Find(h) }

// ErrSignature says that the keys are known, and none of them made the token's signature.
var ErrSignature = errors.New("the signature is not valid")

// VerifyFrom returns the key of the source that made the signature of t. The error is that of the source, or
// [ErrSignature].
func VerifyFrom(ctx context.Context, source Source, t *Token) (*Key, error) {
	if several, ok := source.(*AnyOf); ok {
		return several.verify(ctx, t)
	}
	keys, err := source.Keys(ctx, t.Header)
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, ErrUnknownKey
	}
	if k := Verify(t, keys); k != nil {
		return k, nil
	}
	if remote, ok := source.(interface {
		Newer(context.Context, Header) ([]*Key, error)
	}); ok && !t.Header.namesAny(keys) {
		return verifyNewer(ctx, remote.Newer, t, keys)
	}
	return nil, ErrSignature
}

// verifyNewer tries a token that names none of the keys it was tried with: the issuer may have a new one. A token that
// does name its key is told by the name.
func verifyNewer(
	ctx context.Context, newer func(context.Context, Header) ([]*Key, error), t *Token, tried []*Key,
) (*Key, error) {
	keys, err := newer(ctx, t.Header)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, ErrSignature
	case err != nil:
		return nil, err
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k *Key) bool { return slices.Contains(tried, k) })
	if k := Verify(t, keys); k != nil {
		return k, nil
	}
	return nil, ErrSignature
}

// namesAny reports whether a kid or a thumbprint of the header is one of the keys'.
func (h Header) namesAny(keys []*Key) bool {
	return slices.ContainsFunc(keys, func(k *Key) bool {
		return h.KeyID != "" && h.KeyID == k.ID || h.X5T != "" && h.X5T == k.X5T ||
			h.X5TS256 != "" && h.X5TS256 == k.X5TS256
	})
}

// A Part is a source and the algorithms that it is asked for.
type Part struct {
	Source Source
	Algs   Algs
}

// AnyOf is several sources of one issuer. A key keeps the algorithms that fit its type wherever it comes from: a token
// that names an HMAC algorithm is never tried with a public key, nor the other way round.
type AnyOf struct {
	sets  sets
	parts []Part // the other sources
}

// NewAnyOf combines sources. A token is tried with those that know its key before any is asked that may have to fetch:
// otherwise each token of one issuer's set would be an unknown kid to the other.
func NewAnyOf(parts ...Part) *AnyOf {
	a := &AnyOf{}
	for _, p := range parts {
		if set, ok := p.Source.(*Set); ok {
			a.sets = append(a.sets, narrowed{set, p.Algs})
		} else {
			a.parts = append(a.parts, p)
		}
	}
	return a
}

// sets are asked together, so that the secrets of all of them are tried in the same time.
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

// inOrder returns the sources to ask for a token with header h: those that know a key for it at once, and the others.
func (a *AnyOf) inOrder(h Header) (known, others []Source) {
	if a.sets != nil {
		known = append(known, a.sets)
	}
	for _, p := range a.parts {
		if !p.Algs.Has(h.Alg) {
			continue
		}
		if remote, ok := p.Source.(interface{ Knows(Header) bool }); ok && remote.Knows(h) {
			known = append(known, p.Source)
		} else {
			others = append(others, p.Source)
		}
	}
	return known, others
}

func (a *AnyOf) verify(ctx context.Context, t *Token) (*Key, error) {
	known, others := a.inOrder(t.Header)
	err := error(ErrUnknownKey)
	for _, source := range slices.Concat(known, others) {
		k, fault := VerifyFrom(ctx, source, t)
		if fault == nil {
			return k, nil
		}
		err = moreTelling(err, fault)
	}
	return nil, err
}

// moreTelling chooses between the errors of two sources. An outage is no fault of a token: the source that is not
// available may have its key. A signature that is not valid says more than a key that another source does not have.
func moreTelling(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == ErrUnknownKey:
			return 0
		case errors.Is(err, ErrUnknownKey):
			return 1
		case errors.Is(err, ErrSignature):
			return 2
		}
		return 3
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// Keys returns the keys of all sources that know some for h at once; only where there are none, the others are asked.
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
