package jose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Claims are the registered members of a claim set. Everything else stays in Raw.
type Claims struct {
	Raw                         string // the whole claim set, strictly checked JSON
	Issuer, Subject, ID, Scope  string
	Expiry, NotBefore, IssuedAt time.Time
	HasIssuer                   bool

	audience [2]string // the first two of aud, which seldom has more
	others   string    // aud as JSON text, if it has more
	inAll    int       // how many aud has

	// Other claims that say whose token it is, as JSON text; empty: missing or null.
	SessionID, ClientID, AuthorizedParty string // sid, client_id, azp

	Binding Binding // cnf; nobody has proven it yet
	Session string  // what Text returns for the claim that names the session; the caller sets it
}

// HasAudience reports whether there is an aud.
func (c *Claims) HasAudience() bool { return c.inAll > 0 }

// Audience appends aud to list.
func (c *Claims) Audience(list []string) []string {
	if c.inAll <= len(c.audience) {
		return append(list, c.audience[:c.inAll]...)
	}
	walkStrings("aud", c.others, func(s string) { list = append(list, s) }) // the form was checked before
	return list
}

// IsFor reports whether one of these is in aud.
func (c *Claims) IsFor(audience []string) bool {
	for _, s := range c.audience[:min(c.inAll, len(c.audience))] {
		if slices.Contains(audience, s) {
			return true
		}
	}
	return c.others != "" && slices.ContainsFunc(c.Audience(nil), func(s string) bool { return slices.Contains(audience, s) })
}

// readAudience reads aud: a string, or an array of strings (RFC 7519 section 4.1.3). An empty array counts as no aud:
// Ory Hydra writes one if no audience was requested.
func (c *Claims) readAudience(value string) error {
	if s, ok := stringValue(value); ok {
		c.audience[0], c.inAll = s, 1
		return nil
	}
	err := walkStrings("aud", value, func(s string) {
		if c.inAll < len(c.audience) {
			c.audience[c.inAll] = s
		}
		c.inAll++
	})
	if c.inAll > len(c.audience) {
		c.others = value
	}
	return err
}

// Text returns a claim that is a string or an integer, as text; empty: the claim is missing, or is of another type.
func (c *Claims) Text(name string) (text string) {
	read := func(value string) string {
		if s, ok := stringValue(value); ok {
			return s
		}
		if value != "" && skipDigits(value, 0) == len(value) {
			return value
		}
		return ""
	}
	if name == "sid" {
		return read(c.SessionID)
	}
	walkObject(c.Raw, func(m member) error { // the form was checked before
		if m.name == name {
			text = read(m.value)
		}
		return nil
	})
	return text
}

// Client returns client_id; empty: it is missing, or is not a string.
func (c *Claims) Client() string {
	s, _ := stringValue(c.ClientID)
	return s
}

// registered are the claims that this library acts on, in the only letter case that is accepted.
var registered = map[string]bool{
	"iss": true, "sub": true, "aud": true, "exp": true, "nbf": true, "iat": true, "jti": true,
	"scope": true, "scp": true, "cnf": true, "events": true, "sid": true, "client_id": true, "azp": true,
}

// ParseClaims reads a JWT claim set (RFC 7519 section 4). It checks the form of the claims and nothing about
// whether they hold now; only the presence of exp is required.
func ParseClaims(raw string) (c Claims, err error) {
	err = c.Parse(raw)
	return c, err
}

// Parse is [ParseClaims] into c, which must be zero. After an error it is zero again.
func (c *Claims) Parse(raw string) error {
	err := c.parse(raw)
	if err != nil {
		*c = Claims{}
	}
	return err
}

// isAbsent reports whether a claim has no value. RFC 7519 does not define null, and the serializers that write it
// (devise-jwt, older .NET) mean a missing claim. A null cnf or events does not count as missing: these must not be
// ignored in any form.
func isAbsent(name, value string) bool {
	return value == "null" && registered[name] && name != "cnf" && name != "events"
}

func (c *Claims) parse(raw string) error {
	c.Raw = raw
	scp, hasScope := "", false
	err := walkObject(raw, func(m member) (err error) {
		if isAbsent(m.name, m.value) {
			return nil
		}
		switch m.name {
		case "scope":
			hasScope = true
			c.Scope, err = scopes(m)
		case "scp":
			scp, err = scopes(m)
		default:
			err = c.read(m)
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.Expiry.IsZero() {
		return errors.New("exp: missing")
	}
	if !c.IssuedAt.IsZero() && c.IssuedAt.After(c.Expiry) {
		return errors.New("iat: after exp")
	}
	if !hasScope {
		c.Scope = scp
	}
	return nil
}

// read reads one member. parse reads scope and scp itself, since only one of them counts.
func (c *Claims) read(m member) (err error) {
	switch m.name {
	case "iss":
		c.HasIssuer = true
		c.Issuer, err = stringClaim(m)
	case "sub":
		c.Subject, err = subject(m)
	case "jti":
		c.ID, err = stringClaim(m)
	case "sid":
		c.SessionID = m.value
	case "client_id":
		c.ClientID = m.value
	case "azp":
		c.AuthorizedParty = m.value
	case "aud":
		err = c.readAudience(m.value)
	case "exp":
		c.Expiry, err = numericDate(m.name, m.value)
		if err == nil && c.Expiry.Unix() < 1 {
			err = errors.New("exp: not after 1970") // 0 means "never" to some
		}
	case "nbf":
		c.NotBefore, err = numericDate(m.name, m.value)
	case "iat":
		c.IssuedAt, err = numericDate(m.name, m.value)
	case "cnf":
		c.Binding, err = readBinding(m.value)
	case "events":
		err = refuseEvents(m.value)
	default:
		if m.name != m.folded && registered[m.folded] {
			err = errors.New("a registered claim name in another letter case")
		}
	}
	return err
}

func stringClaim(m member) (string, error) {
	s, ok := m.str()
	if !ok {
		return "", fmt.Errorf("%s: not a string", m.name)
	}
	return s, nil
}

// maxSubjectDigits is the number of digits of the largest 64-bit integer.
const maxSubjectDigits = 19

// subject reads sub. RFC 7519 section 4.1.2 says that it is a string; frameworks that number their users (Flask,
// Django) write the number. Then its digits are the subject, without a fraction, an exponent or a sign: 4711.0 is the
// same number as 4711 to some parsers, so one user would have two subjects.
func subject(m member) (string, error) {
	if s, ok := m.str(); ok {
		return s, nil
	}
	if len(m.value) > maxSubjectDigits || skipDigits(m.value, 0) != len(m.value) {
		return "", errors.New("sub: neither a string nor an integer of at most 19 digits")
	}
	return m.value, nil
}

// scopes reads scope or scp. RFC 8693 section 4.2 defines a string of scopes separated by spaces; many issuers write an
// array (Spring Authorization Server, Duende, Okta).
func scopes(m member) (string, error) {
	if s, ok := m.str(); ok {
		return s, nil
	}
	var joined strings.Builder
	spaced := false
	err := walkStrings(m.name, m.value, func(s string) {
		spaced = spaced || strings.Contains(s, " ")
		if joined.Len() > 0 {
			joined.WriteByte(' ')
		}
		joined.WriteString(s)
	})
	if err == nil && spaced { // a scope with a space would become two when joined
		err = errors.New(m.name + ": a space within a scope")
	}
	if err != nil {
		return "", err
	}
	return joined.String(), nil
}

func stringList(name, value string) (list []string, err error) {
	err = walkStrings(name, value, func(s string) { list = append(list, s) })
	return list, err
}

// walkStrings calls visit with each element of value, which must be an array of strings.
func walkStrings(name, value string, visit func(string)) error {
	if value[0] != '[' {
		return fmt.Errorf("%s: neither a string nor an array of strings", name)
	}
	for i := skipSpace(value, 1); value[i] != ']'; {
		end, plain, err := scanString(value, i)
		if err != nil {
			return fmt.Errorf("%s: not all strings", name)
		}
		visit(decode(value[i+1:end-1], plain))
		if i = skipSpace(value, end); value[i] == ',' {
			i = skipSpace(value, i+1)
		}
	}
	return nil
}

// refuseEvents refuses a logout token and a security event, which an issuer may sign with the same keys and whose other
// claims look like those of an access token (OpenID Connect Back-Channel Logout 1.0 section 2.4, RFC 8417 section 4.5).
// RFC 8417 section 2.2 allows only an object; for any other value, this library does not guess what is meant.
func refuseEvents(events string) error {
	if events[0] != '{' {
		return errors.New("events: not an object")
	}
	return walkObject(events, func(m member) error {
		switch {
		case m.name == LogoutEvent:
			return errors.New("events: a logout token is not an access token")
		case SharedSignal(m.name) != "":
			return errors.New("events: a security event is not an access token")
		}
		return nil
	})
}

// maxDate is the end of the year 9999. Later dates are milliseconds mistaken for seconds, or would overflow, and the
// JSON form of time.Time cannot express them.
const maxDate = 253402300799

// numericDate reads a NumericDate (RFC 7519 section 2) exactly, to the nanosecond.
func numericDate(name, value string) (time.Time, error) {
	if c := value[0]; c == '-' {
		return time.Time{}, fmt.Errorf("%s: before 1970", name)
	} else if c < '0' || c > '9' {
		return time.Time{}, fmt.Errorf("%s: not a number", name)
	}
	whole, nanos, ok := seconds(value)
	if !ok || whole > maxDate {
		return time.Time{}, fmt.Errorf("%s: beyond the year 9999", name)
	}
	return time.Unix(whole, nanos).UTC(), nil
}
