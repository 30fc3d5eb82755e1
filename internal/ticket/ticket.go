// Package ticket makes single-use tickets: short strings that stand for a token in a URL, once. What a store keeps of a
// ticket is sealed with a key that only the ticket gives, so whoever reads the store has neither ticket nor token.
package ticket

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

// Lifetime is how long a ticket can be used: a page fetches it and connects at once.
const Lifetime = 30 * time.Second

// A Store keeps values for a time, in one process or for several servers.
type Store interface {
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error)
	Take(ctx context.Context, key string) (value []byte, found bool, err error)
}

// Content is what a ticket stands for.
type Content struct {
	Token string `json:"token"`
	Key   string `json:"key,omitempty"` // the thumbprint of the DPoP key that whoever fetched the ticket has proven to have
}

// size is the number of random bytes in a ticket.
const size = 32

// length is the number of characters in a ticket.
const length = 43

var encoding = base64.RawURLEncoding.Strict()

// storeTimeout bounds a call of the store.
const storeTimeout = 5 * time.Second

// Issue puts the content into the store and returns the ticket for it. An error is a refusal.
func Issue(ctx context.Context, store Store, c Content) (string, error) {
	secret := make([]byte, size)
	rand.Read(secret) // never fails, says crypto/rand
	name, aead := derive(secret)
	plain, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	added, err := store.Put(ctx, name, aead.Seal(nil, nil, plain, nil), Lifetime)
	if err != nil || !added { // a name that is there already was made with these 32 bytes, which cannot be
		return "", refusal.Outage(ctx, errStore)
	}
	return encoding.EncodeToString(secret), nil
}

var (
	errStore     = errors.New("the store of tickets is unavailable or full")
	errMalformed = errors.New("not a ticket")
	errUnknown   = errors.New("the ticket was used before, has expired, or is unknown")
)

// Redeem takes the content of a ticket out of the store: it can be redeemed once. An error is a refusal.
func Redeem(ctx context.Context, store Store, ticket string) (Content, error) {
	if len(ticket) != length {
		return Content{}, refusal.New(refusal.ErrInvalidTicket, errMalformed)
	}
	secret, err := encoding.DecodeString(ticket)
	if err != nil || len(secret) != size {
		return Content{}, refusal.New(refusal.ErrInvalidTicket, errMalformed)
	}
	name, aead := derive(secret)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sealed, found, err := store.Take(ctx, name)
	switch {
	case err != nil:
		return Content{}, refusal.Outage(ctx, errStore)
	case !found:
		return Content{}, refusal.New(refusal.ErrInvalidTicket, errUnknown)
	}
	plain, err := aead.Open(nil, nil, sealed, nil)
	var c Content
	if err != nil || json.Unmarshal(plain, &c) != nil { // not what Issue has put there
		return Content{}, refusal.New(refusal.ErrInvalidTicket, errUnknown)
	}
	return c, nil
}

// derive returns the name of a ticket in the store and the key that seals its content. Neither gives the other, or the
// ticket, away (RFC 5869). The ticket is random already, so there is nothing to extract. A key seals one message only, so
// the nonce need not vary; it does because FIPS 140-3 allows no other use of GCM.
func derive(secret []byte) (name string, aead cipher.AEAD) {
	derived, err := hkdf.Expand(sha256.New, secret, "wsauth ticket", 2*size)
	if err != nil {
		panic(err) // only if the length were too large
	}
	block, err := aes.NewCipher(derived[size:])
	if err != nil {
		panic(err) // only if the length were wrong
	}
	if aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		panic(err)
	}
	return encoding.EncodeToString(derived[:size]), aead
}
