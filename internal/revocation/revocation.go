// Package revocation remembers which tokens were revoked, until the last of them would have expired, and keeps what it
// remembers equal to a log that the servers of a cluster share.
package revocation

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Kind says what a revocation names.
type Kind uint8

// The kinds of revocation.
const (
	Issuer  Kind = iota // every token of the issuer
	Subject             // of a user
	Session             // of a session
	ID                  // one token
	kinds   = 4
)

var words = [kinds]string{"issuer", "subject", "session", "id"}

func (k Kind) String() string { return words[k] }

// A Revocation revokes the tokens of an issuer that have a name of this kind.
type Revocation struct {
	Kind   Kind
	Issuer string // its name in the options
	Name   string // of the user, the session or the token; empty for the whole issuer

	// If All is set, every token is revoked, whenever it was issued, and At is when the revocation was made. Otherwise
	// only tokens are revoked that were issued at or before At, and tokens that do not say when.
	All bool
	At  int64 // in seconds since 1970
}

// A Token is the part of a token by which it can be revoked. A name that the token does not have is empty.
type Token struct {
	Issuer, Subject, Session, ID string
	IssuedAt                     time.Time // zero: the token does not say
}

// Marks are hashes of a token's names, by which a connection can be found. The mark is 0 for a name that the token does
// not have.
type Marks struct {
	Names    [kinds]uint64
	IssuedAt int64
}

const never = math.MinInt64 // the token does not say when it was issued: any time may be meant

func issuedAt(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.Unix()
}

// covers reports whether a revocation is about tokens that were issued then.
func (r *Revocation) covers(issuedAt int64) bool { return r.All || issuedAt <= r.At }

// Covers reports whether the revocation, whose mark is mark, is about the token.
func (r *Revocation) Covers(m *Marks, mark uint64) bool {
	return m.Names[r.Kind] == mark && mark != 0 && r.covers(m.IssuedAt)
}

// marker makes the marks of one process. Its seed is random: nobody can choose names with equal marks.
type marker struct{ seed maphash.Seed }

func (m marker) issuer(name string) uint64 { return maphash.String(m.seed, name) }

// mark returns the mark of a name, given the hash of its issuer.
func (m marker) mark(issuer uint64, kind Kind, name string) uint64 {
	if name == "" && kind != Issuer {
		return 0
	}
	high, low := bits.Mul64(issuer+uint64(kind)+1, maphash.String(m.seed, name)|1)
	return max(high^low, 1)
}

func (m marker) marks(t *Token) Marks {
	issuer := m.issuer(t.Issuer)
	return Marks{IssuedAt: issuedAt(t.IssuedAt), Names: [kinds]uint64{
		m.mark(issuer, Issuer, ""), m.mark(issuer, Subject, t.Subject), m.mark(issuer, Session, t.Session), m.mark(issuer, ID, t.ID),
	}}
}

// String returns the revocation as an entry of a log: five words with one space between them, for example
//
//	subject before 1764230400 https://id.example.com/ alice
//
// The second word is "before", with the time of the newest token that is revoked, or "all", with the time at which the
// revocation was made. Spaces, control characters and percent signs within a word are percent-encoded; the last word is
// empty if the whole issuer is meant.
func (r *Revocation) String() string {
	which := "before"
	if r.All {
		which = "all"
	}
	return r.Kind.String() + " " + which + " " + strconv.FormatInt(r.At, 10) + " " + escape(r.Issuer) + " " + escape(r.Name)
}

func escape(s string) string {
	escaped := 0
	for i := range len(s) {
		if isEscaped(s[i]) {
			escaped++
		}
	}
	if escaped == 0 {
		return s
	}
	out := make([]byte, 0, len(s)+2*escaped)
	for i := range len(s) {
		if isEscaped(s[i]) {
			out = fmt.Appendf(out, "%%%02X", s[i])
		} else {
			out = append(out, s[i])
		}
	}
	return string(out)
}

// isEscaped is true for characters that would end a word, and for control characters, since a log may be shown on a
// terminal.
func isEscaped(b byte) bool { return b <= ' ' || b == '%' || b == 0x7f }

var errEntry = errors.New("an entry is not a revocation")

// Parse reads an entry of a log. The error does not contain it.
func Parse(entry string) (r Revocation, err error) {
	var w [5]string
	rest := entry
	for i := range 4 {
		word, after, ok := strings.Cut(rest, " ")
		if !ok {
			return Revocation{}, errEntry
		}
		w[i], rest = word, after
	}
	w[4] = rest
	if r.Kind, err = parseKind(w[0]); err != nil {
		return Revocation{}, err
	}
	if w[1] != "all" && w[1] != "before" {
		return Revocation{}, errEntry
	}
	r.All = w[1] == "all"
	if r.At, err = strconv.ParseInt(w[2], 10, 64); err != nil || r.At < 1 || r.At > maxTime {
		return Revocation{}, errEntry
	}
	if r.Issuer, err = url.PathUnescape(w[3]); err != nil {
		return Revocation{}, errEntry
	}
	if r.Name, err = url.PathUnescape(w[4]); err != nil || strings.Contains(w[4], " ") {
		return Revocation{}, errEntry
	}
	if (r.Name == "") != (r.Kind == Issuer) || r.Kind == Issuer && r.All {
		return Revocation{}, errEntry
	}
	return r, nil
}

// maxTime is the end of the year 9999, as for times in tokens.
const maxTime = 253402300799

func parseKind(word string) (Kind, error) {
	for k, w := range words {
		if w == word {
			return Kind(k), nil
		}
	}
	return 0, errEntry
}
