package jose

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/internal/mint"
)

// A fetched source knows the keys of its set only once it was asked for them.
type fetched struct {
	set     *Set
	knows   bool
	outage  error
	fetches int
}

func (f *fetched) Known(h Header) []*Key {
	if !f.knows {
		return nil
	}
	keys, _ := f.set.Find(h)
	return keys
}

func (f *fetched) Keys(_ context.Context, h Header) ([]*Key, error) {
	if known := f.Known(h); known != nil {
		return known, nil
	}
	f.fetches++
	if f.outage != nil {
		return nil, f.outage
	}
	f.knows = true
	return f.set.Find(h)
}

func (f *fetched) Ready(context.Context) error { return f.outage }

type noKeys struct{}

func (noKeys) Keys(context.Context, Header) ([]*Key, error) { return nil, nil }

const publicAlgs = AllAlgs &^ HMACAlgs

func remoteOf(keys ...*mint.Key) *fetched {
	return &fetched{set: must(ParseRemote(mint.SetOf(keys...)))}
}

func secretOf(k *mint.Key) *Set { return must(NewSet([]*Key{must(NewSecret(k.Private.([]byte)))})) }

func publicOf(k *mint.Key) *Set { return must(NewSet([]*Key{must(NewPublicKey(k.Public()))})) }

func TestATokenIsVerifiedByTheSourceThatHasItsKey(t *testing.T) {
	secret, secret2, pair, other, pem := mint.New("HS256", ""), mint.New("HS256", "s"), mint.New("ES256", "a"),
		mint.New("ES256", "b"), mint.New("ES256", "")
	down := errors.New("no route to host")
	type sources = []Part
	for name, row := range map[string]struct {
		parts sources
		token string
		want  error // nil: verified
	}{
		"a secret beside a set": {sources{{secretOf(secret), HMACAlgs}, {remoteOf(pair), publicAlgs}}, secret.Token(nil),
			nil},
		"a pair beside secrets": {sources{{secretOf(secret), HMACAlgs}, {remoteOf(pair), publicAlgs}}, pair.Token(nil), nil},
		"another secret": {sources{{secretOf(secret), HMACAlgs}, {remoteOf(pair), publicAlgs}}, secret2.Token(nil),
			ErrSignature},
		"another pair": {sources{{secretOf(secret), HMACAlgs}, {remoteOf(pair), publicAlgs}}, other.Token(nil),
			ErrUnknownKey},
		"the second of two secrets": {sources{{secretOf(secret), HMACAlgs}, {secretOf(secret2), HMACAlgs}},
			secret2.Token(nil), nil},
		"the second of two sets": {sources{{remoteOf(pair), publicAlgs}, {remoteOf(other), publicAlgs}}, other.Token(nil),
			nil},
		"a set behind a public key": {sources{{publicOf(pem), publicAlgs}, {remoteOf(pair), publicAlgs}}, pair.Token(nil),
			nil},
		"a public key behind a set": {sources{{remoteOf(pair), publicAlgs}, {publicOf(pem), publicAlgs}}, pem.Token(nil),
			nil},
		"an algorithm of none": {sources{{secretOf(secret), HMACAlgs}, {remoteOf(pair), publicAlgs}},
			minted()["RS256"].Token(nil), ErrUnknownKey},
		"an algorithm that is not asked of its source": {sources{{secretOf(secret), algsOf("HS512")}, {remoteOf(pair),
			publicAlgs}},
			secret.Token(nil), ErrUnknownKey},
		"a set that is not asked for its algorithm": {sources{{secretOf(secret), HMACAlgs}, {remoteOf(pair),
			algsOf("RS256")}},
			pair.Token(nil), ErrUnknownKey},
		"a secret while the set is down": {sources{{secretOf(secret), HMACAlgs}, {&fetched{set: remoteOf(pair).set,
			outage: down}, publicAlgs}},
			secret.Token(nil), nil},
		"a pair while its set is down": {sources{{secretOf(secret), HMACAlgs}, {&fetched{set: remoteOf(pair).set,
			outage: down}, publicAlgs}},
			pair.Token(nil), down},
		"a pair while the other set is down": {sources{{&fetched{set: remoteOf(other).set, outage: down}, publicAlgs},
			{remoteOf(pair), publicAlgs}}, pair.Token(nil), nil},
		"a forged one while a set is down": {sources{{publicOf(pem), publicAlgs}, {&fetched{set: remoteOf(pair).set,
			outage: down}, publicAlgs}},
			other.Token(nil), down},
		"a forged one": {sources{{publicOf(pem), publicAlgs}, {remoteOf(pair), publicAlgs}},
			other.Token(nil), ErrSignature},
		"a source that has none":      {sources{{noKeys{}, AllAlgs}, {remoteOf(pair), publicAlgs}}, pair.Token(nil), nil},
		"only a source that has none": {sources{{noKeys{}, AllAlgs}}, pair.Token(nil), ErrUnknownKey},
		"no source":                   {nil, pair.Token(nil), ErrUnknownKey},
		"sources within another": {sources{{must(NewAnyOf(Part{secretOf(secret), HMACAlgs})), AllAlgs}}, secret.Token(nil),
			nil},
		"sources within, by their own": {sources{{must(NewAnyOf(Part{secretOf(secret), HMACAlgs})), publicAlgs}},
			secret.Token(nil), ErrUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			a := must(NewAnyOf(row.parts...))
			token := must(Parse(row.token))
			for range 2 { // before the fetch, and after it
				key, err := VerifyFrom(t.Context(), a, &token)
				if !errors.Is(err, row.want) || (err == nil) != (key != nil) {
					t.Fatalf("got %v, %v, want %v", key, err, row.want)
				}
				keys, err := a.Keys(t.Context(), token.Header)
				if key != nil && (err != nil || !slices.Contains(keys, key)) {
					t.Errorf("the key that verified it is none of %v, %v", keys, err)
				}
				if row.want == down && name != "a forged one while a set is down" && !errors.Is(err, down) {
					t.Errorf("Keys: got %v, want %v", err, down)
				}
			}
		})
	}
}

// RFC 8725 section 2.1: with a secret and a public key for one issuer, the public key is not a secret.
func TestOfSeveralSourcesNoKeyServesTheAlgorithmsOfAnother(t *testing.T) {
	secret := mint.New("HS256", "a")
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		pair := mint.New(alg, "a")
		a := must(NewAnyOf(Part{secretOf(secret), AllAlgs}, Part{remoteOf(pair), AllAlgs}, Part{publicOf(pair), AllAlgs}))
		for name, known := range map[string][]byte{
			"the JWK": []byte(mint.JSON(pair.JWK())), "the set": mint.SetOf(pair), "nothing": {},
		} {
			for _, hs := range []string{"HS256", "HS384", "HS512"} {
				token := must(Parse((&mint.Key{Alg: hs, ID: "a", Private: known}).Token(nil)))
				if k, err := VerifyFrom(t.Context(), a, &token); k != nil || err == nil {
					t.Errorf("%s: a token of %s with %s for a secret is accepted", alg, hs, name)
				}
			}
		}
		token := must(Parse(secret.Sign(mint.JSON(pair.Header()), goodClaims)))
		if k, err := VerifyFrom(t.Context(), a, &token); k != nil || err == nil {
			t.Errorf("%s: a token that the secret signed in the name of the pair is accepted", alg)
		}
		keys, err := a.Keys(t.Context(), Header{Alg: HS256})
		if err != nil || len(keys) != 1 || !keys[0].IsSecret() {
			t.Errorf("%s: got %v, %v for HS256, want the secret", alg, keys, err)
		}
	}
}

func TestASetThatMustBeFetchedIsAskedLast(t *testing.T) {
	a, b := mint.New("ES256", "a"), mint.New("ES256", "b")
	first, second := remoteOf(a), remoteOf(b)
	second.knows = true
	pem := mint.New("ES256", "")
	any := must(NewAnyOf(Part{first, publicAlgs}, Part{second, publicAlgs}, Part{publicOf(pem), publicAlgs}))
	for range 3 {
		for _, key := range []*mint.Key{b, pem} {
			token := must(Parse(key.Token(nil)))
			if key == pem {
				token.Header.KeyID = "b" // the kid of another source's key
			}
			if _, err := VerifyFrom(t.Context(), any, &token); err != nil {
				t.Error(err)
			}
		}
	}
	if first.fetches != 0 {
		t.Errorf("got %d fetches, want none for tokens whose keys another source knows", first.fetches)
	}
	token := must(Parse(a.Token(nil)))
	if _, err := VerifyFrom(t.Context(), any, &token); err != nil || first.fetches != 1 {
		t.Errorf("got %d fetches, %v, want 1", first.fetches, err)
	}
}

func TestTheSecretsOfSeveralSourcesAreAllTried(t *testing.T) {
	signing := mint.New("HS256", "")
	for at := range 2 {
		used := make([]int, 2)
		secrets := [][]byte{slices.Repeat([]byte{1}, 64), slices.Repeat([]byte{2}, 64)}
		secrets[at] = signing.Private.([]byte)
		a := must(NewAnyOf(Part{must(NewSet([]*Key{counting(secrets[0], &used[0])})), HMACAlgs},
			Part{must(NewSet([]*Key{counting(secrets[1], &used[1])})), HMACAlgs}))
		token := must(Parse(signing.Token(nil)))
		if _, err := VerifyFrom(t.Context(), a, &token); err != nil {
			t.Error(err)
		}
		if !slices.Equal(used, []int{1, 1}) {
			t.Errorf("signed by the secret of source %d: used %v times, want each once", at, used)
		}
	}
}

func TestSeveralSourcesAreReadyWhenEachIs(t *testing.T) {
	pair := mint.New("ES256", "a")
	good := Part{remoteOf(pair), publicAlgs}
	if err := must(NewAnyOf(good, Part{secretOf(mint.New("HS256", "")), HMACAlgs}, good)).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	bad := func(text string) Part {
		return Part{&fetched{set: remoteOf(pair).set, outage: errors.New(text)}, publicAlgs}
	}
	err := must(NewAnyOf(bad("first down"), good, bad("second down"))).Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "first down") || !strings.Contains(err.Error(), "second down") {
		t.Errorf("got %v, want both reasons", err)
	}
}
