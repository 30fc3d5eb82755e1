package jose

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// maxKeys bounds a remote set (and with it, the work that one token can cause).
const maxKeys = 100

// A Set holds the keys of one issuer. It is immutable.
type Set struct {
	byAlg     [numAlgs][]*Key // the keys that fit each algorithm
	algs      Algs
	anonymous bool // no key has a kid, and the token's is ignored
}

// NewSet makes a set of keys that have no kid: each key that fits a token's algorithm is tried.
func NewSet(keys []*Key) *Set { return newSet(keys, true) }

func newSet(keys []*Key, anonymous bool) *Set {
	s := &Set{anonymous: anonymous}
	for a := range numAlgs {
		for _, k := range keys {
			if k.Algs.Has(a) {
				s.byAlg[a] = append(s.byAlg[a], k)
			}
		}
	}
	for _, k := range keys {
		s.algs |= k.Algs
	}
	return s
}

// Algs returns the algorithms that at least one key of the set serves.
func (s *Set) Algs() Algs { return s.algs }

// Len returns the number of keys.
func (s *Set) Len() int {
	seen := map[*Key]bool{}
	for _, keys := range s.byAlg {
		for _, k := range keys {
			seen[k] = true
		}
	}
	return len(seen)
}

// Find returns the keys that may have signed a token with this header; none: the key is unknown.
//
// A kid chooses the keys that have it, and those that have none. A token without kid is accepted only where
// there is nothing to choose: more would let it be tried on keys that it was never meant for.
func (s *Set) Find(h Header) []*Key {
	fit := s.byAlg[h.Alg]
	if s.anonymous || len(fit) == 1 && (h.KeyID == "" || matches(fit[0], h.KeyID)) {
		return fit
	}
	if h.KeyID == "" {
		return nil
	}
	i := slices.IndexFunc(fit, func(k *Key) bool { return matches(k, h.KeyID) })
	if i < 0 {
		return nil
	}
	found := fit[i : i+1 : i+1] // nearly always all of it, and then nothing is allocated
	for _, k := range fit[i+1:] {
		if matches(k, h.KeyID) {
			found = append(found, k)
		}
	}
	return found
}

func matches(k *Key, kid string) bool { return k.ID == kid || k.ID == "" }

// ParseRemote reads the JWK Set (RFC 7517 section 5) that an issuer publishes. Keys that cannot or must not be
// used are left out: a provider adds key types before its verifiers know them. Secrets and private keys are
// among those, since what is published is no secret. A set without one usable key is an error.
func ParseRemote(data []byte) (*Set, error) {
	raw, err := splitSet(data)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxKeys {
		return nil, errors.New("a key set with more than 100 keys")
	}
	var keys []*Key
	for _, text := range raw {
		if k, err := parseKey(text); err == nil && !k.IsSecret() {
			keys = append(keys, k)
		}
	}
	if keys = dropAmbiguous(keys); len(keys) == 0 {
		return nil, errors.New("a key set without a usable key")
	}
	return newSet(keys, false), nil
}

// ParseStatic reads a JWK Set that the operator gives: it may hold secrets, and each key in it must be usable.
func ParseStatic(data []byte) (*Set, error) {
	raw, err := splitSet(data)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	var faults []error
	for i, text := range raw {
		k, err := parseKey(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(other *Key) bool { return confusable(k, other) }) {
			faults = append(faults, errors.New("two keys with one kid that serve the same algorithm"))
		}
	}
	if len(raw) == 0 {
		faults = append(faults, errors.New("no keys"))
	}
	return newSet(keys, false), errors.Join(faults...)
}

// confusable reports whether a kid and an algorithm could mean either key.
func confusable(a, b *Key) bool { return a.ID != "" && a.ID == b.ID && a.Algs&b.Algs != 0 }

// dropAmbiguous leaves out the keys that a kid does not tell apart; the same key twice is one key.
func dropAmbiguous(keys []*Key) []*Key {
	var clear []*Key
	for i, k := range keys {
		ambiguous := false
		for j, other := range keys {
			if i == j || !confusable(k, other) {
				continue
			}
			same := k.public.(interface{ Equal(crypto.PublicKey) bool }).Equal(other.public)
			if !same || j < i && k.Algs == other.Algs {
				ambiguous = true
			}
		}
		if !ambiguous {
			clear = append(clear, k)
		}
	}
	return clear
}

// splitSet returns the text of each key of a JWK Set, all of it strictly read JSON.
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

// parseKey reads one JWK (RFC 7517 section 4).
func parseKey(text string) (*Key, error) {
	if text[0] != '{' {
		return nil, errors.New("not an object")
	}
	members := map[string]string{} // strings, decoded
	err := walkObject(text, func(m member) error {
		switch m.name {
		case "key_ops":
			return checkKeyOps(m.value)
		case "d", "p", "q", "dp", "dq", "qi", "oth":
			return errors.New("a private key where a public one belongs")
		case "kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "k":
			s, ok := m.str()
			if !ok {
				return fmt.Errorf("%s: not a string", m.name)
			}
			members[m.name] = s
		}
		return nil // x5c and the like: the key itself is here, and no certificate vouches for it
	})
	if err != nil {
		return nil, err
	}
	if use, ok := members["use"]; ok && use != "sig" {
		return nil, errors.New("use: not for signatures")
	}
	k, err := material(members)
	if err != nil {
		return nil, err
	}
	k.ID = members["kid"]
	if name, ok := members["alg"]; ok {
		alg, known := ParseAlg(name)
		if !known || !k.Algs.Has(alg) {
			return nil, errors.New("alg: not supported, or does not fit the key")
		}
		k.Algs = Algs(0).With(alg)
	}
	return k, nil
}

func checkKeyOps(value string) error {
	ops, err := stringList("key_ops", value)
	if err == nil && !slices.Contains(ops, "verify") {
		err = errors.New("key_ops: not for verifying")
	}
	return err
}

// material makes the key itself. jwx is shown the members that make it up and no others: one that it does not
// expect (an x5c, a use) would make it reject the key, or change what it is.
func material(members map[string]string) (*Key, error) {
	names := map[string][]string{"RSA": {"n", "e"}, "EC": {"x", "y"}, "OKP": {"x"}, "oct": {"k"}}[members["kty"]]
	if names == nil {
		return nil, errors.New("kty: missing or not supported")
	}
	for _, name := range names {
		if n, ok := decodeBase64url(make([]byte, len(members[name])), members[name]); !ok || n == 0 {
			return nil, fmt.Errorf("%s: missing, or not canonical base64url", name)
		}
	}
	if members["kty"] == "RSA" && len(members["e"]) > 6 { // jwx would keep the low 64 bits
		return nil, errors.New("e: longer than 4 bytes")
	}
	bare := map[string]string{"kty": members["kty"]}
	for _, name := range append(names, "crv") {
		if v, ok := members[name]; ok {
			bare[name] = v
		}
	}
	text, err := json.Marshal(bare)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("not a key")
	}
	if err := parsed.Validate(); err != nil {
		return nil, errors.New("a coordinate that is missing or of the wrong length")
	}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, errors.New("a curve that is not supported")
	}
	if secret, ok := raw.([]byte); ok {
		return NewSecret(secret)
	}
	return NewPublicKey(raw)
}
