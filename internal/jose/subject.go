package jose

import (
	"errors"
	"strings"
	"time"
)

// A Subject is whom an event is about (RFC 9493; Shared Signals Framework 1.0 section 3). For a complex subject, it
// names the user and the session.
type Subject struct {
	Raw      string // as JSON text
	Format   string // of the user; empty: there is no user
	Users    []Pair // iss and sub; several if the subject has aliases
	Tokens   []Pair // iss and jti
	Email    string
	Phone    string
	ID       string // an opaque identifier
	Session  string // the opaque identifier of the session
	IsSimple bool   // not a complex subject
}

// A Pair is a name and the issuer that gave it; an empty Issuer means the issuer of the event.
type Pair struct{ Issuer, Name string }

var errSubject = errors.New("the subject of an event lacks what its format needs, or is not an object")

// ParseSubject reads a subject, strictly. Of a subject with an unknown format, only Raw and Format are set.
func ParseSubject(raw string) (s Subject, err error) {
	s.Raw = raw
	all, err := readFields(raw)
	if err != nil {
		return Subject{}, err
	}
	if s.IsSimple, err = s.readComplex(all); err == nil && s.IsSimple {
		err = s.readUser(all, true)
	}
	if err != nil {
		return Subject{}, err
	}
	return s, nil
}

// fields are the members of an object, as JSON text, without those that are null.
type fields map[string]string

func readFields(object string) (fields, error) {
	all := fields{}
	err := walkObject(object, func(m member) error {
		if m.value != "null" {
			all[m.name] = m.value
		}
		return nil
	})
	if err != nil {
		return nil, errSubject
	}
	return all, nil
}

// text returns a string that must be there and must not be empty.
func (all fields) text(name string) (string, error) {
	if s, ok := stringValue(all[name]); ok && s != "" {
		return s, nil
	}
	return "", errSubject
}

// format returns the format. Drafts call it subject_type, and write iss-sub for iss_sub.
func (all fields) format() (string, error) {
	name := "format"
	if _, ok := all[name]; !ok {
		name = "subject_type"
	}
	if _, ok := all[name]; !ok {
		return "", nil
	}
	s, err := all.text(name)
	return strings.ReplaceAll(s, "-", "_"), err
}

// readComplex reads a complex subject. It may lack a format, and has members that are subjects. Only the user and the
// session are read: a device or a tenant beside them narrows the subject down, but never makes it another user.
func (s *Subject) readComplex(all fields) (isSimple bool, err error) {
	format, err := all.format()
	if err != nil {
		return false, err
	}
	user, hasUser := all["user"]
	session, hasSession := all["session"]
	if format != "" && format != "complex" && format != "user_device_session" { // then user and session mean nothing
		return true, nil
	}
	if hasUser {
		fields, err := readFields(user)
		if err != nil {
			return false, err
		}
		if err := s.readUser(fields, true); err != nil {
			return false, err
		}
	}
	if hasSession {
		fields, err := readFields(session)
		if err != nil {
			return false, err
		}
		if format, err := fields.format(); err != nil || format != "opaque" {
			return false, err // a session with another kind of name is not known here
		}
		s.Session, err = fields.text("id")
		return false, err
	}
	return false, nil
}

// readUser reads the identifier of a user or a token. Each alias of a user adds the names that it has.
func (s *Subject) readUser(all fields, mayHaveAliases bool) (err error) {
	format, err := all.format()
	if err != nil || format == "" {
		return errSubject
	}
	if s.Format == "" {
		s.Format = format
	}
	switch format {
	case "iss_sub":
		s.Users, err = all.pair(s.Users, "sub")
	case "id_token_claims": // of RISC's drafts, as Google sends it
		s.Users, err = all.idToken(s.Users)
		s.Email, _ = all.text("email")
	case "jwt_id":
		s.Tokens, err = all.pair(s.Tokens, "jti")
	case "email":
		s.Email, err = all.text("email")
	case "phone_number":
		s.Phone, err = all.text("phone_number")
	case "opaque":
		s.ID, err = all.text("id")
	case "aliases":
		if !mayHaveAliases { // RFC 9493 section 3.2.8: they must not nest
			return errSubject
		}
		err = s.readAliases(all["identifiers"])
	}
	return err
}

func (s *Subject) readAliases(list string) error {
	if list == "" || list[0] != '[' {
		return errSubject
	}
	return walkArray(list, func(value string) error {
		fields, err := readFields(value)
		if err != nil {
			return err
		}
		return s.readUser(fields, false)
	})
}

func (all fields) pair(list []Pair, name string) ([]Pair, error) {
	iss, err := all.text("iss")
	if err != nil {
		return nil, err
	}
	value, err := all.name(name)
	return append(list, Pair{iss, value}), err
}

// name is text for a name that tokens have, too: if an issuer writes a number into sub, it writes a number here.
func (all fields) name(name string) (string, error) {
	if value := all[name]; value != "" && len(value) <= maxSubjectDigits && skipDigits(value, 0) == len(value) {
		return value, nil
	}
	return all.text(name)
}

func (all fields) idToken(list []Pair) ([]Pair, error) {
	if _, ok := all["iss"]; ok {
		return all.pair(list, "sub")
	}
	sub, err := all.name("sub")
	return append(list, Pair{"", sub}), err
}

// SubjectAndTime returns what an event says in the places that drafts define: its subject, as JSON text, and when it
// happened. They are empty and zero if the event does not say.
func (e Event) SubjectAndTime() (subject string, at time.Time, err error) {
	all, err := readFields(e.Body)
	if err != nil {
		return "", time.Time{}, err
	}
	for _, name := range []string{"event_timestamp", "event_time"} { // event_time is Apple's
		if value, ok := all[name]; ok {
			at, err = eventTime(name, value)
			if err != nil {
				return "", time.Time{}, err
			}
			break
		}
	}
	return all["subject"], at, nil
}

// ApplesUser returns the sub of an event of Apple's.
func (e Event) ApplesUser() (string, error) {
	all, err := readFields(e.Body)
	if err != nil {
		return "", err
	}
	return all.name("sub")
}

// eventTime reads the time of an event. CAEP uses seconds; drafts of it, Okta and Apple use milliseconds. They cannot
// be confused: read as seconds, milliseconds would be after the year 9999.
func eventTime(name, value string) (time.Time, error) {
	at, err := numericDate(name, value)
	if err == nil || len(value) > 15 || skipDigits(value, 0) != len(value) {
		return at, err
	}
	return numericDate(name, value[:len(value)-3]+"."+value[len(value)-3:])
}
