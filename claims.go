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
	"github.com/wsauth/wsauth/internal/revocation"
	"github.com/wsauth/wsauth/internal/verify"
)

// An identity is what a request's context knows about the sender. It is a
// context itself, which saves an allocation.
type identity struct {
	context.Context
	auth   *Authenticator // nil: made by ContextWithClaims
	claims *Claims        // nil: no token, behind Optional
	checks []func(context.Context, *Claims) error
	conn   *connection       // once there is a connection, it has the claims
	source credential.Source // of the token
	keyID  string            // of the token
	epoch  uint32            // the epoch of the registry when it was admitted
}

// newIdentity allocates the identity and its claims together, which saves an
// allocation.
func newIdentity(ctx context.Context, a *Authenticator, from credential.Source, epoch uint32, v *verify.Verified) *identity {
	id := new(struct {
		identity
		set claimSet
	})
	// A composite literal would be made on the stack first, and then copied.
	id.Context, id.auth, id.claims = ctx, a, id.set.fill(&v.Claims)
	id.source, id.keyID, id.epoch = from, v.KeyID, epoch
	return &id.identity
}

// A claimSet is Claims with room for the audience of nearly every token.
type claimSet struct {
	Claims
	audience [2]string
}

// fill copies the claims: the application may change its copy, and must not
// change anybody else's.
func (s *claimSet) fill(c *jose.Claims) *Claims {
	s.Issuer, s.Subject, s.ID, s.Scope = c.Issuer, c.Subject, c.ID, c.Scope
	s.Expiry, s.NotBefore, s.IssuedAt = c.Expiry, c.NotBefore, c.IssuedAt
	s.raw, s.session = c.Raw, c.Session
	if c.HasAudience() {
		s.Audience = c.Audience(s.audience[:0])
	}
	return &s.Claims
}

func claimsOf(c *jose.Claims) *Claims { return new(claimSet).fill(c) }

type identityKey struct{}

func (id *identity) Value(key any) any {
	switch key {
	case identityKey{}:
		return id
	case concealedKey{id.auth}: // the token has been verified, and is hidden from now on
		return nil
	}
	return id.Context.Value(key)
}

func identityOf(ctx context.Context) *identity {
	id, _ := ctx.Value(identityKey{}).(*identity)
	return id
}

// pass runs one check of Require. A nil identity fails every check.
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
	// Clipped, so that the checks that two handlers append do not share memory.
	next := *id
	next.Context, next.checks = ctx, append(slices.Clip(id.checks), check)
	return &next
}

// trail returns what may be logged about the token.
func (id *identity) trail() refusal.Trail {
	if id == nil || id.auth == nil || id.claims == nil {
		return refusal.Trail{}
	}
	return refusal.Trail{
		Source: id.source.String(), Issuer: id.auth.policy.verifier.NameOf(id.claims.Issuer), KeyID: id.keyID,
	}
}

// authenticator may return nil; a nil Authenticator refuses with the defaults.
func (id *identity) authenticator() *Authenticator {
	if id == nil {
		return nil
	}
	return id.auth
}

// ClaimsFromContext returns the verified claims of the request or connection
// that ctx belongs to, or false if there are none. After [Renew], it returns
// the claims of the new token.
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

// ContextWithClaims returns a context with claims that nobody has verified, for
// tests of handlers and of [Require]. [Authenticator.Upgrade],
// [Authenticator.Guard] and [Authenticator.Middleware] ignore such claims.
func ContextWithClaims(ctx context.Context, c *Claims) context.Context {
	return &identity{Context: ctx, claims: c}
}

// Claims are what a verified token says ([RFC 7519 section 4]). Times are exact
// to the nanosecond. A time that the token does not have is zero, and a missing
// string is empty. All handlers of a request share its Claims, so do not modify
// them.
//
// [RFC 7519 section 4]: https://www.rfc-editor.org/rfc/rfc7519#section-4
type Claims struct {
	Issuer   string   // iss
	Subject  string   // sub
	ID       string   // jti
	Scope    string   // scope or scp: the scopes, separated by spaces
	Audience []string // aud

	Expiry    time.Time // exp; every token has one
	NotBefore time.Time // nbf
	IssuedAt  time.Time // iat

	raw     string // the whole claim set; empty: the claims were not read from a token
	session string // the claim that Issuer.Session names
}

// Decode reads the whole claim set into v, as [json.Unmarshal] does, except
// that a number stored in an interface becomes a [json.Number], so that
// integers over 2^53 keep their exact value.
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

// describe names the field of a decoding error. It leaves out the value, which
// the error text of encoding/json contains.
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

// marshal encodes claims that a test has put together.
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

// HasScope reports whether the token has the scope ([RFC 6749 section 3.3]).
// The token's scopes are those of its scope claim or, if it has none, of its
// scp claim, each a string or an array.
//
// [RFC 6749 section 3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
func (c *Claims) HasScope(scope string) bool {
	for s := range strings.SplitSeq(c.Scope, " ") {
		if s == scope && s != "" {
			return true
		}
	}
	return false
}

// samePerson checks that a new token does not hand the connection to somebody
// else.
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
	case differs(first.SessionID, second.SessionID), differs(c.session, next.session):
		return errors.New("sid: another session than the connection's")
	case differs(first.ClientID, second.ClientID), differs(first.AuthorizedParty, second.AuthorizedParty):
		return errors.New("client_id or azp: another client than the connection's")
	case first.Binding != second.Binding:
		return errors.New("cnf: bound to something else than the connection's token")
	case !next.Expiry.After(c.Expiry):
		return errors.New("exp: not later than the connection's")
	}
	return nil
}

// revocable returns what of a token can be revoked; false: these are not the
// claims of a token any more. It is read from the token
// again: Claims are in the hands of the application, which may have modified
// them.
func (p *policy) revocable(c *Claims) (t revocation.Token, ok bool) {
	read, err := jose.ParseClaims(c.raw)
	if err != nil {
		return revocation.Token{}, false
	}
	read.Session = c.session
	return p.verifier.Revocable(&read), true
}
