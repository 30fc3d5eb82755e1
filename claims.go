package wsauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/verify"
)

// An identity is what a request's context says of who sent it. It is a context itself, which spares an allocation.
type identity struct {
	context.Context
	auth   *Authenticator // nil: made by ContextWithClaims
	claims *Claims        // nil: no token, behind Optional
	checks []func(context.Context, *Claims) error
	conn   *connection       // has the claims, once there is a connection
	source credential.Source // of the token
	keyID  string            // of the token
	seen   uint32            // the epoch in which it was admitted
}

// newIdentity makes one with the claims in the same piece of memory.
func newIdentity(ctx context.Context, a *Authenticator, from credential.Source, epoch uint32, v *verify.Verified) *identity {
	id := new(struct {
		identity
		set claimSet
	})
	id.identity = identity{
		Context: ctx, auth: a, claims: id.set.fill(&v.Claims), source: from, keyID: v.KeyID, seen: epoch,
	}
	return &id.identity
}

// A claimSet is Claims with room for the audience of nearly all tokens.
type claimSet struct {
	Claims
	audience [2]string
}

// fill copies what c says: whoever gets Claims may change them, and must change nobody else's.
func (s *claimSet) fill(c *jose.Claims) *Claims {
	s.Claims = Claims{
		Issuer: c.Issuer, Subject: c.Subject, ID: c.ID, Scope: c.Scope,
		Expiry: c.Expiry, NotBefore: c.NotBefore, IssuedAt: c.IssuedAt, raw: c.Raw,
	}
	if c.HasAudience() {
		s.Audience = c.Audience(s.audience[:0])
	}
	return &s.Claims
}

func claimsOf(c *jose.Claims) *Claims { return new(claimSet).fill(c) }

type identityKey struct{}

func (id *identity) Value(key any) any {
	if key == (identityKey{}) {
		return id
	}
	return id.Context.Value(key)
}

func identityOf(ctx context.Context) *identity {
	id, _ := ctx.Value(identityKey{}).(*identity)
	return id
}

// pass runs one check of Require. A nil identity passes none.
func (id *identity) pass(ctx context.Context, check func(context.Context, *Claims) error) error {
	if id == nil || id.claims == nil {
		return refusal.New(ErrNoToken, nil)
	}
	if err := check(ctx, id.claims); err != nil {
		return refusal.Checked(err)
	}
	return nil
}

func (id *identity) admittedBy(ctx context.Context, check func(context.Context, *Claims) error) *identity {
	// Clipped: what two handlers append must not share memory.
	next := *id
	next.Context, next.checks = ctx, append(slices.Clip(id.checks), check)
	return &next
}

// trail is what may be logged of the token.
func (id *identity) trail() refusal.Trail {
	if id == nil || id.auth == nil || id.claims == nil {
		return refusal.Trail{}
	}
	return refusal.Trail{
		Source: id.source.String(), Issuer: id.auth.policy.verifier.NameOf(id.claims.Issuer), KeyID: id.keyID,
	}
}

// authenticator may return nil, which answers with the defaults.
func (id *identity) authenticator() *Authenticator {
	if id == nil {
		return nil
	}
	return id.auth
}

// ClaimsFromContext returns the verified claims of the request or connection that ctx belongs to; false: there are
// none. On a connection that [Renew] has renewed, they are the new token's.
func ClaimsFromContext(ctx context.Context) (*Claims, bool) {
	id := identityOf(ctx)
	if id == nil {
		return nil, false
	}
	claims := id.claims
	if id.conn != nil {
		claims = id.conn.Claims()
	}
	return claims, claims != nil
}

// ContextWithClaims returns a context with claims that nobody has verified, for tests of handlers and of [Require].
// [Authenticator.Upgrade] and Middleware take no notice of them.
func ContextWithClaims(ctx context.Context, c *Claims) context.Context {
	return &identity{Context: ctx, claims: c}
}

// Claims are what a verified token says (RFC 7519 section 4). Times are exact to the nanosecond and zero where the
// token has none; a missing string is empty. Claims of a request are shared by its handlers: read, do not change
// them.
type Claims struct {
	Issuer   string   // iss
	Subject  string   // sub
	ID       string   // jti
	Scope    string   // scope, or scp, as scopes with spaces between them
	Audience []string // aud

	Expiry    time.Time // exp; it always is there
	NotBefore time.Time // nbf
	IssuedAt  time.Time // iat

	raw string // the whole claim set; empty: the claims were not read from a token
}

// Decode reads the whole claim set into a value of yours, as json.Unmarshal does. Numbers that land in an interface
// are json.Number, so that integers over 2^53 stay what they are.
func (c *Claims) Decode(v any) error {
	raw := c.raw
	if raw == "" {
		made, err := c.marshal()
		if err != nil {
			return err
		}
		raw = made
	}
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return describe(err)
	}
	return nil
}

// describe names the field of a decoding error and leaves the value out, which json's own text has in it.
func describe(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("wsauth: claim %q cannot be a %s", wrong.Field, wrong.Type)
	}
	var target *json.InvalidUnmarshalError
	if errors.As(err, &target) {
		return fmt.Errorf("wsauth: claims: %w", err)
	}
	return errors.New("wsauth: claims: a value does not fit its type")
}

// marshal makes a claim set of claims that a test has put together.
func (c *Claims) marshal() (string, error) {
	set := map[string]any{}
	for name, s := range map[string]string{"iss": c.Issuer, "sub": c.Subject, "jti": c.ID, "scope": c.Scope} {
		if s != "" {
			set[name] = s
		}
	}
	for name, t := range map[string]time.Time{"exp": c.Expiry, "nbf": c.NotBefore, "iat": c.IssuedAt} {
		if !t.IsZero() {
			set[name] = t.Unix()
		}
	}
	if len(c.Audience) > 0 {
		set["aud"] = c.Audience
	}
	text, err := json.Marshal(set)
	return string(text), err
}

// HasScope reports whether scope is one of the token's (RFC 6749 section 3.3): from its scope claim, or where there
// is none from scp, a string or an array.
func (c *Claims) HasScope(scope string) bool {
	for s := range strings.SplitSeq(c.Scope, " ") {
		if s == scope && s != "" {
			return true
		}
	}
	return false
}

// samePerson checks that a connection does not change hands with its token.
func (c *Claims) samePerson(next *Claims) error {
	first, err := jose.ParseClaims(c.raw)
	if err != nil {
		return err
	}
	second, err := jose.ParseClaims(next.raw)
	if err != nil {
		return err
	}
	differs := func(first, next string) bool { return first != "" && first != next }
	switch {
	case next.Issuer != c.Issuer:
		return errors.New("iss: another issuer than the connection's")
	case next.Subject != c.Subject:
		return errors.New("sub: another subject than the connection's")
	case differs(first.SessionID, second.SessionID):
		return errors.New("sid: another session than the connection's")
	case differs(first.ClientID, second.ClientID), differs(first.AuthorizedParty, second.AuthorizedParty):
		return errors.New("client_id or azp: another client than the connection's")
	case !next.Expiry.After(c.Expiry):
		return errors.New("exp: not later than the connection's")
	}
	return nil
}
