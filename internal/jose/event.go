package jose

import (
	"errors"
	"strconv"
	"time"
)

// An Event is the claim set of a Security Event Token (RFC 8417), of which a logout token (OpenID Connect Back-Channel
// Logout 1.0) is one.
type Event struct {
	Claims
	HasNonce  bool
	SubjectID string       // sub_id, an object, as JSON text; empty: none
	All       []Occurrence // events, in their order
}

// An Occurrence is one member of events: what has happened, and to whom.
type Occurrence struct {
	Type    string
	Payload string // an object, as JSON text
}

// Parse reads a claim set into e, which must be zero. It checks its form as [Claims.Parse] does; none of its claims
// need be present, except events.
func (e *Event) Parse(raw string) error {
	e.Raw = raw
	err := walkObject(raw, func(m member) error {
		switch {
		case m.name == "events":
			return e.readEvents(m)
		case m.name == "nonce":
			e.HasNonce = true
		case isAbsent(m), m.name == "scope", m.name == "scp":
		case m.name == "sub_id":
			if m.value == "null" {
				return nil
			}
			if m.value[0] != '{' {
				return errors.New("sub_id: not an object")
			}
			e.SubjectID = m.value
		case m.folded == "nonce", m.folded == "sub_id":
			return errors.New("a registered claim name in another letter case")
		default:
			return e.read(m)
		}
		return nil
	})
	switch {
	case err != nil:
	case len(e.All) == 0:
		err = errors.New("events: missing or empty")
	case e.HasExpiry() && e.IssuedAt.After(e.Expiry):
		err = errors.New("iat: after exp")
	}
	if err != nil {
		*e = Event{}
	}
	return err
}

// HasExpiry reports whether there is an exp. Most Security Event Tokens have none.
func (c *Claims) HasExpiry() bool { return !c.Expiry.IsZero() }

// readEvents reads events: an object whose members are objects (RFC 8417 section 2.2).
func (e *Event) readEvents(m member) error {
	if m.value[0] != '{' {
		return errors.New("events: not an object")
	}
	return walkObject(m.value, func(event member) error {
		if event.value[0] != '{' {
			return errors.New("events: an event is not an object")
		}
		e.All = append(e.All, Occurrence{event.name, event.value})
		return nil
	})
}

// A SubjectID is who an event is about (RFC 9493), as far as it may be somebody with a token.
type SubjectID struct {
	Format                   string
	Issuer, Subject, ID, JTI string
	User, Session            string   // of the format complex: identifiers within, as JSON text
	Identifiers              []string // of the format aliases: likewise
}

var errSubject = errors.New("a subject identifier that cannot be read")

// ParseSubjectID reads a subject identifier, in the words of RFC 9493 or of the drafts before it, which have
// subject_type and hyphens (as Google writes it). What it does not know, it leaves out.
func ParseSubjectID(raw string) (s SubjectID, err error) {
	text := func(m member, into *string) error {
		value, ok := m.str()
		if !ok {
			return errSubject
		}
		*into = value
		return nil
	}
	err = walkObject(raw, func(m member) (err error) {
		switch m.name {
		case "format", "subject_type":
			return text(m, &s.Format)
		case "iss":
			return text(m, &s.Issuer)
		case "sub":
			return text(m, &s.Subject)
		case "id":
			return text(m, &s.ID)
		case "jti":
			return text(m, &s.JTI)
		case "user":
			s.User = objectOrNone(m.value)
		case "session":
			s.Session = objectOrNone(m.value)
		case "identifiers":
			s.Identifiers, err = objects(m.value)
			return err
		}
		return nil
	})
	if err != nil {
		return SubjectID{}, err
	}
	return s, nil
}

func objectOrNone(value string) string {
	if value[0] != '{' {
		return ""
	}
	return value
}

// objects returns the objects in an array, as JSON text.
func objects(value string) (list []string, err error) {
	if value[0] != '[' {
		return nil, errSubject
	}
	err = walkArray(value, func(element string) error {
		if element[0] != '{' {
			return errSubject
		}
		list = append(list, element)
		return nil
	})
	return list, err
}

// Members returns the subject of an event, as JSON text, and its event_timestamp; empty and zero: it has none.
func (o *Occurrence) Members() (subject string, at time.Time) {
	walkObject(o.Payload, func(m member) error { // its form has been checked
		switch m.name {
		case "subject":
			subject = objectOrNone(m.value)
		case "event_timestamp":
			at = timestamp(m.value)
		}
		return nil
	})
	return subject, at
}

// firstMillis is where seconds end: drafts of CAEP, and those who built them, have milliseconds.
const firstMillis = 100_000_000_000

// timestamp reads event_timestamp (CAEP 1.0 section 2), a number of seconds; zero: it is something else.
func timestamp(value string) time.Time {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil || n < 1:
		return time.Time{}
	case n >= firstMillis:
		return time.UnixMilli(n).UTC()
	}
	return time.Unix(n, 0).UTC()
}
