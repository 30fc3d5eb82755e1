package jose

import (
	"errors"
	"strings"
	"time"
)

// LogoutEvent is the event of a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4).
const LogoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// sharedSignals is the beginning of the event types of the Shared Signals Framework, CAEP and RISC, without the scheme,
// which is http in drafts of RISC.
const sharedSignals = "://schemas.openid.net/secevent/"

// SharedSignal returns the rest of an event type of the OpenID Foundation after the common beginning, for example
// "caep/event-type/session-revoked"; empty: the type is not one of these.
func SharedSignal(eventType string) string {
	scheme, rest, _ := strings.Cut(eventType, sharedSignals)
	if scheme != "https" && scheme != "http" {
		return ""
	}
	return rest
}

// EventClaims are the claims of a security event token (RFC 8417), of which a logout token is one. They are read as
// strictly as those of an access token. events is required, exp is not.
type EventClaims struct {
	Claims
	Events    []Event
	SubjectID string    // sub_id as JSON text, an object; empty: missing or null
	Happened  time.Time // toe
	HasNonce  bool      // even if it is null

	// IsApples is set if events is a string with JSON in it, as in Apple's server-to-server notifications. The type of
	// the event is then a word, not a URI, and the body of the event has the sub.
	IsApples bool
}

// An Event is one of the events of a token.
type Event struct {
	Type string // a URI
	Body string // JSON text, and an object if IsObject says so
}

// IsObject reports whether the body is an object, as RFC 8417 requires.
func (e Event) IsObject() bool { return e.Body[0] == '{' }

// HasSession reports whether there is a sid.
func (c *EventClaims) HasSession() bool { return c.SessionID != "" }

// eventClaims are the claims that only tokens with events have, in the only letter case that is accepted.
var eventClaims = map[string]bool{"sub_id": true, "toe": true, "nonce": true}

// ParseEvents reads the claims of a security event token. It checks their form, and nothing about whether they hold now.
func ParseEvents(raw string) (c EventClaims, err error) {
	c.Raw = raw
	if err := walkObject(raw, c.readEvent); err != nil {
		return EventClaims{}, err
	}
	switch {
	case len(c.Events) == 0:
		err = errors.New("events: missing or empty")
	case c.ID == "":
		err = errors.New("jti: missing or empty")
	case c.IssuedAt.Unix() < 1:
		err = errors.New("iat: missing, or not after 1970")
	case c.HasSession() && c.Text("sid") == "":
		err = errors.New("sid: neither a string nor an integer, or empty")
	}
	if err != nil {
		return EventClaims{}, err
	}
	return c, nil
}

func (c *EventClaims) readEvent(m member) (err error) {
	if isAbsent(m.name, m.value) || m.value == "null" && eventClaims[m.name] && m.name != "nonce" {
		return nil
	}
	switch m.name {
	case "events":
		err = c.readEvents(m.value)
	case "sub_id":
		c.SubjectID = m.value
		if m.value[0] != '{' {
			err = errors.New("sub_id: not an object")
		}
	case "toe":
		c.Happened, err = numericDate(m.name, m.value)
	case "nonce":
		c.HasNonce = true
	case "cnf":
		err = errors.New("cnf: a token with events is not bound")
	default:
		if m.name != m.folded && eventClaims[m.folded] {
			return errors.New("a registered claim name in another letter case")
		}
		err = c.read(m)
	}
	return err
}

// readEvents reads events. RFC 8417 section 2.2 defines an object whose members are objects. Keycloak puts a bool next
// to the logout event (revoke_offline_access), so whoever looks for an event checks that it is an object.
func (c *EventClaims) readEvents(value string) (err error) {
	if quoted, ok := stringValue(value); ok {
		return c.readApples(quoted)
	}
	if value[0] != '{' {
		return errors.New("events: not an object")
	}
	return walkObject(value, func(m member) error {
		c.Events = append(c.Events, Event{m.name, m.value})
		return nil
	})
}

// readApples reads the text of Apple's events: a single event, which contains its type.
func (c *EventClaims) readApples(quoted string) error {
	event := Event{Body: quoted}
	err := walkObject(quoted, func(m member) (err error) {
		if m.name == "type" {
			event.Type, err = stringClaim(m)
		}
		return err
	})
	if err != nil || event.Type == "" {
		return errors.New("events: neither an object nor Apple's text of one")
	}
	c.Events, c.IsApples = []Event{event}, true
	return nil
}
