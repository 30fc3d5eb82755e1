// Package verify turns a token into its claims: who may have signed it, whether they did, and whether what it claims
// holds now. It knows nothing about requests.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/memory"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// A Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	issuers   []Issuer
	byName    map[string]*Issuer
	anyIssuer *Issuer    // accepts whatever iss says, and none
	directory *directory // nil: all issuers are known
	leeway    time.Duration
	parser    *jose.Parser
	tokens    *memory.Memory[remembered] // nil: none are remembered
	revoked   *revocation.Set            // nil: nothing can be revoked
}

// A Config has the options of a Verifier.
type Config struct {
	Issuers   []Issuer // one without a name accepts any iss
	Find      Find     // nil: all issuers are known
	Leeway    time.Duration
	CacheSize int // how many verified tokens are remembered
	MaxLength int // of a token in bytes; 0: 8192
	Revoked   *revocation.Set
}

// New returns a Verifier.
func New(cfg Config) *Verifier {
	v := &Verifier{
		issuers: cfg.Issuers, byName: map[string]*Issuer{}, leeway: cfg.Leeway, parser: jose.NewParser(cfg.MaxLength),
		revoked: cfg.Revoked,
	}
	for i := range v.issuers {
		if iss := &v.issuers[i]; iss.Name == "" {
			v.anyIssuer = iss
		} else {
			v.byName[iss.Name] = iss
		}
	}
	if cfg.Find != nil {
		v.directory = newDirectory(cfg.Find)
	}
	if cfg.CacheSize > 0 {
		v.tokens = memory.New[remembered](cfg.CacheSize)
	}
	return v
}

// MaxLength returns how many bytes a token may have.
func (v *Verifier) MaxLength() int { return v.parser.MaxLength() }

// Verified is a token that was verified.
type Verified struct {
	Claims jose.Claims
	refusal.Trail
}

// Token verifies a token. Nothing that it says counts before its signature does: the unverified iss and kid only choose
// which keys are asked. An error is a refusal that says, as far as it is known, whose token it was.
//
// A token that is bound to a key or a certificate is refused, unless holder has proven to have it. The proof is verified
// last: anybody can sign one, with a key that takes long to check, but only few have a valid token.
//
// What was verified goes into out, which nobody has used before: returned by value it is copied from frame to frame, and the
// stack of a connection's goroutine, which stays as large as it once was, grows from 8 to 16 KB.
func (v *Verifier) Token(ctx context.Context, token string, holder Holder, out *Verified) error {
	err := v.token(ctx, token, out)
	if err == nil {
		err = holder.checkBinding(out.Claims.Binding)
	}
	if err != nil {
		out.Claims = jose.Claims{}
		return out.On(err)
	}
	return nil
}

// token verifies everything about a token except its binding.
func (v *Verifier) token(ctx context.Context, token string, out *Verified) error {
	if err := v.revoked.IsFresh(); err != nil { // before any verdict: a client that gets a 401 logs its user out
		return err
	}
	if known := v.remembered(token); known != nil {
		out.Issuer, out.KeyID = known.issuer.Name, known.header.KeyID
		current, err := v.checkRemembered(ctx, known)
		if current && err == nil {
			out.Claims = known.claims
			return nil
		}
		if !current || errors.Is(err, refusal.ErrInvalidToken) {
			v.tokens.Drop(token)
		}
		if err != nil {
			return err
		}
	}
	return v.verifyToken(ctx, token, out)
}

// verifyToken verifies a token that is not remembered.
func (v *Verifier) verifyToken(ctx context.Context, token string, out *Verified) error {
	t, err := v.parser.Parse(token)
	if err != nil {
		return refusal.New(refusal.ErrInvalidToken, err)
	}
	out.KeyID = t.Header.KeyID
	if err := out.Claims.Parse(t.Payload); err != nil {
		return refusal.New(refusal.ErrInvalidToken, err)
	}
	iss, err := v.issuerOf(ctx, &out.Claims)
	if err != nil {
		return err
	}
	out.Issuer = iss.Name
	if err := iss.checkHeader(t.Header); err != nil {
		return refusal.New(refusal.ErrInvalidToken, err)
	}
	key, err := iss.verifySignature(ctx, &t)
	if err != nil {
		return err
	}
	v.parser.Remember(&t)
	if v.revoked != nil {
		out.Claims.Session = out.Claims.Text(iss.Session)
	}
	if err := v.checkClaims(iss, &out.Claims, time.Now()); err != nil {
		return err
	}
	if v.tokens != nil && iss.Lasting {
		v.remember(token, &remembered{issuer: iss, header: t.Header, key: key, claims: out.Claims})
	}
	return nil
}

func (v *Verifier) remember(token string, r *remembered) {
	r.set = r.issuer.currentSetWith(r.header, r.key)
	r.from, r.until = r.issuer.accepts(&r.claims, v.leeway)
	v.tokens.Put(token, *r, v.isPast)
}

// A remembered token has a verified signature. Everything that can change is checked each time.
type remembered struct {
	issuer *Issuer
	header jose.Header
	key    *jose.Key
	claims jose.Claims

	set         *jose.Set // has the key; nil: it is looked up each time
	from, until int64     // in seconds of Unix time: within them checkClaims accepts the claims
}

func (r *remembered) isWithin(now time.Time) bool {
	seconds := now.Unix()
	return r.from <= seconds && seconds < r.until
}

func (v *Verifier) remembered(token string) *remembered {
	if v.tokens == nil {
		return nil
	}
	return v.tokens.Get(token)
}

// Remembers reports whether the token is in the memory.
func (v *Verifier) Remembers(token string) bool { return v.remembered(token) != nil }

// checkRemembered checks everything about a remembered token except its signature. The token is not current if the key
// that verified it no longer belongs to the issuer, because it was withdrawn or fetched again: then the signature must
// be checked again.
func (v *Verifier) checkRemembered(ctx context.Context, known *remembered) (current bool, err error) {
	if known.issuer.found {
		iss, err := v.directory.issuer(ctx, known.issuer.Name)
		if err != nil || iss != known.issuer {
			return false, err
		}
	}
	now := time.Now()
	if known.set == nil || known.set != known.issuer.currentSet(now) {
		keys, err := known.issuer.find(ctx, known.header)
		if err != nil {
			return true, err
		}
		if !slices.Contains(keys, known.key) {
			return false, nil
		}
		now = time.Now() // the lookup may have waited
	}
	if known.isWithin(now) {
		return true, v.checkRevoked(known.issuer, &known.claims, now)
	}
	return true, v.checkClaims(known.issuer, &known.claims, now)
}

// checkClaims checks the claims of a token whose signature is verified.
func (v *Verifier) checkClaims(iss *Issuer, c *jose.Claims, now time.Time) error {
	if err := iss.checkClaims(c, now, v.leeway); err != nil {
		return err
	}
	return v.checkRevoked(iss, c, now)
}

func (v *Verifier) checkRevoked(iss *Issuer, c *jose.Claims, now time.Time) error {
	if v.revoked.IsStrict() || iss.MaxTTL > 0 { // without either, nothing of this issuer can be revoked
		if err := v.revoked.Check(c.IssuedAt, c.Expiry); err != nil {
			return refusal.New(refusal.ErrInvalidToken, err)
		}
	}
	if v.revoked.IsEmpty() {
		return nil
	}
	if t := v.Revocable(c); v.revoked.IsRevoked(&t, now) {
		return refusal.New(refusal.ErrRevoked, nil)
	}
	return nil
}

// Revocable returns the names by which a verified token can be revoked.
func (v *Verifier) Revocable(c *jose.Claims) revocation.Token {
	return revocation.Token{
		Issuer: v.NameOf(c.Issuer), Subject: c.Subject, Session: c.Session, ID: c.ID, IssuedAt: c.IssuedAt,
	}
}

func (v *Verifier) isPast(k *remembered) bool {
	return !time.Now().Before(v.End(k.claims.Expiry))
}

// End returns when a token with this exp expires, leeway included, for requests and connections alike.
func (v *Verifier) End(expiry time.Time) time.Time { return expiry.Add(v.leeway) }

// issuerOf returns the issuer that the token names. Nobody has verified the name yet.
func (v *Verifier) issuerOf(ctx context.Context, c *jose.Claims) (*Issuer, error) {
	switch iss := v.byName[c.Issuer]; {
	case iss != nil && c.HasIssuer:
		return iss, nil
	case v.anyIssuer != nil:
		return v.anyIssuer, nil
	case v.directory != nil && c.HasIssuer:
		return v.directory.issuer(ctx, c.Issuer)
	}
	return nil, refusal.New(refusal.ErrInvalidToken, errIssuer)
}

// NameOf returns the name of the issuer of verified claims, as it is in the options: an issuer without a name accepts
// any iss.
func (v *Verifier) NameOf(iss string) string {
	if v.anyIssuer != nil {
		return ""
	}
	return iss
}

// Ready fetches keys that were never fetched. For each issuer that has no keys then, the error says why.
func (v *Verifier) Ready(ctx context.Context) error {
	faults := make([]error, len(v.issuers))
	var all sync.WaitGroup
	for i, iss := range v.issuers {
		remote, ok := iss.Keys.(interface{ Ready(context.Context) error })
		if !ok {
			continue
		}
		all.Go(func() {
			if err := remote.Ready(ctx); err != nil {
				faults[i] = fmt.Errorf("the keys of %s: %w", iss.Name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(faults...)
}
