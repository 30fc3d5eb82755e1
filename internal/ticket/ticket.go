// Package ticket makes single-use tickets: short strings that stand for a token in a URL, once. What a store keeps is
// sealed with a key that can be derived only from the ticket, so whoever reads the store learns neither ticket nor
// token.
package ticket

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
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
	Token string
	Key   string // the thumbprint of the DPoP key that whoever fetched the ticket has proven to have; empty: none
}

// text is what is sealed. Neither a number nor a thumbprint has a space in it.
func (c Content) text(issued time.Time) []byte {
	return []byte(strconv.FormatInt(issued.Unix(), 10) + " " + c.Key + " " + c.Token)
}

func readContent(text []byte) (c Content, issued time.Time, ok bool) {
	number, rest, _ := strings.Cut(string(text), " ")
	c.Key, c.Token, ok = strings.Cut(rest, " ")
	seconds, err := strconv.ParseInt(number, 10, 64)
	return c, time.Unix(seconds, 0), ok && err == nil
}

// skew is how far the clocks of two servers may be apart.
const skew = 30 * time.Second

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
	rand.Read(secret) // never fails, as crypto/rand documents
	name, aead := derive(secret)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	added, err := store.Put(ctx, name, aead.Seal(nil, nil, c.text(time.Now()), nil), Lifetime)
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
	c, issued, ok := readContent(plain)
	if err != nil || !ok { // not what Issue has put there
		return Content{}, refusal.New(refusal.ErrInvalidTicket, errUnknown)
	}
	if time.Since(issued) > Lifetime+skew { // the store has kept it for too long
		return Content{}, refusal.New(refusal.ErrInvalidTicket, errUnknown)
	}
	return c, nil
}

// derive returns the name of a ticket in the store and the key that seals its content. Neither reveals the other, or
// the ticket: they are halves of one hash of a secret that nobody can guess (the one-step key derivation of NIST SP
// 800-56C). HKDF takes several times as long, and helps only with secrets that are not random. A key seals one message
// only, so the nonce need not vary; it does because FIPS 140-3 allows no other use of GCM.
func derive(secret []byte) (name string, aead cipher.AEAD) {
	derived := sha512.Sum512(append([]byte("wsauth ticket "), secret...))
	block, err := aes.NewCipher(derived[size:])
	if err == nil {
		aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil {
		panic(err) // only if the length of the key were wrong
	}
	return encoding.EncodeToString(derived[:size]), aead
}
