package verify

import (
	"context"
	"errors"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// A Transmitter says whose security events are accepted, with which keys, and whose tokens they may revoke. Its keys
// are used for nothing else: it cannot issue access tokens.
type Transmitter struct {
	Sender  Issuer // Name, Audience, Keys and Algs
	Revokes string // the name of an issuer
}

// These causes of a refusal have names of their own in an answer (RFC 8935 section 2.4).
var (
	ErrSender   = errors.New("iss: not the transmitter")
	ErrReceiver = errors.New("aud: not one of the transmitter's Audience")
)

// An Event is a security event that is verified.
type Event struct {
	Type    string // a URI; of Apple's, a word
	Name    string // for the log: the name of the type if it is known here, otherwise "unknown"
	Revokes bool   // the user's tokens
	Subject jose.Subject
	Before  time.Time // tokens that were issued later are not revoked
}

// revoking has the known events, by the end of their types, and whether they revoke the tokens of the subject. After
// token-claims-change, the claims of valid tokens may be out of date: a revocation could not correct that.
var revoking = map[string]bool{
	"caep/event-type/session-revoked":   true,
	"caep/event-type/credential-change": true,
	"risc/event-type/sessions-revoked":  true,
	"risc/event-type/account-disabled":  true,
	"risc/event-type/account-purged":    true,
	"oauth/event-type/tokens-revoked":   true, // all refresh tokens of the user

	"caep/event-type/token-claims-change":                false,
	"caep/event-type/assurance-level-change":             false,
	"caep/event-type/device-compliance-change":           false,
	"caep/event-type/session-established":                false,
	"caep/event-type/session-presented":                  false,
	"caep/event-type/risk-level-change":                  false,
	"risc/event-type/account-enabled":                    false,
	"risc/event-type/account-credential-change-required": false,
	"risc/event-type/credential-compromise":              false,
	"risc/event-type/identifier-changed":                 false,
	"risc/event-type/identifier-recycled":                false,
	"risc/event-type/recovery-activated":                 false,
	"risc/event-type/recovery-information-changed":       false,
	"risc/event-type/opt-in":                             false,
	"risc/event-type/opt-out-initiated":                  false,
	"risc/event-type/opt-out-cancelled":                  false,
	"risc/event-type/opt-out-effective":                  false,
	"risc/event-type/verification":                       false, // Google's
	"oauth/event-type/token-revoked":                     false, // one refresh token, by a hash
	"ssf/event-type/verification":                        false,
	"ssf/event-type/stream-updated":                      false,
	"sse/event-type/verification":                        false,
	"sse/event-type/stream-updated":                      false,
}

// applesRevoking is like revoking, for the types of Apple's server-to-server notifications.
var applesRevoking = map[string]bool{
	"consent-revoked": true, "account-delete": true, "account-deleted": true, "email-enabled": false, "email-disabled": false,
}

const sessionRevoked = "caep/event-type/session-revoked"

// Events verifies a security event token of a transmitter (RFC 8417, and Shared Signals Framework 1.0 section 4), and
// returns its events. An error is a refusal. What the events revoke is bounded by their own time, so nobody has to remember
// the token's jti.
func (v *Verifier) Events(ctx context.Context, token string, from *Transmitter) ([]Event, error) {
	trail := refusal.Trail{Issuer: from.Sender.Name}
	all, err := v.events(ctx, token, from, &trail)
	return all, trail.On(err)
}

func (v *Verifier) events(ctx context.Context, token string, from *Transmitter, trail *refusal.Trail) ([]Event, error) {
	t, c, err := v.parseEvents(token, trail)
	if err != nil {
		return nil, err
	}
	if c.Issuer != from.Sender.Name {
		return nil, refusal.New(refusal.ErrInvalidToken, ErrSender)
	}
	if err := checkEventType(t.Header, &c); err != nil {
		return nil, refusal.New(refusal.ErrInvalidToken, err)
	}
	if err := from.Sender.verifyEvents(ctx, &t); err != nil {
		return nil, err
	}
	latest := time.Now().Add(v.leeway)
	if err := from.checkEvents(&c, latest); err != nil {
		return nil, refusal.New(refusal.ErrInvalidToken, err)
	}
	if c.IsApples && !c.Expiry.IsZero() && !time.Now().Before(v.End(c.Expiry)) {
		return nil, refusal.New(refusal.ErrExpired, nil)
	}
	all := make([]Event, len(c.Events))
	for i, e := range c.Events {
		if all[i], err = readEvent(e, &c, latest); err != nil {
			return nil, refusal.New(refusal.ErrInvalidToken, err)
		}
	}
	return all, nil
}

// checkEventType applies RFC 8417 section 4.5 and SSF 1.0 section 4.1: the typ tells a security event from every other
// token. Apple's tokens have no typ; but no other token has events that is a string.
func checkEventType(h jose.Header, c *jose.EventClaims) error {
	if h.Type == "secevent+jwt" || c.IsApples && (h.Type == "" || h.Type == "jwt") {
		return nil
	}
	return errors.New("typ: not that of a security event")
}

func (from *Transmitter) checkEvents(c *jose.EventClaims, latest time.Time) error {
	switch {
	case !c.IsFor(from.Sender.Audience):
		return ErrReceiver
	case c.IssuedAt.After(latest):
		return errors.New("iat: token not valid yet")
	case c.NotBefore.After(latest):
		return errors.New("nbf: token not valid yet")
	case !c.Expiry.IsZero() && !c.IsApples: // SSF 1.0 section 4.1.7: so that it cannot pass for another token
		return errors.New("exp: a security event has none")
	}
	for _, e := range c.Events {
		switch {
		case !e.IsObject():
			return errors.New("events: an event that is not an object")
		case e.Type == jose.LogoutEvent:
			return errors.New("events: a logout token is not a security event")
		}
	}
	return nil
}

func readEvent(e jose.Event, c *jose.EventClaims, latest time.Time) (out Event, err error) {
	out.Type, out.Name = e.Type, jose.SharedSignal(e.Type)
	known := revoking
	if c.IsApples {
		out.Name, known = e.Type, applesRevoking
	}
	revokes, isKnown := known[out.Name]
	if out.Revokes = revokes; !isKnown {
		out.Name = "unknown" // the log must not contain a name that anybody may have written
	}
	raw, at, err := e.SubjectAndTime()
	if err != nil {
		return out, err
	}
	for _, at := range []time.Time{at, c.Happened, c.IssuedAt} {
		if at.Unix() > 0 { // 0 means that it is not known
			out.Before = at
			break
		}
	}
	if out.Before.After(latest) {
		return out, errors.New("event_timestamp, toe: in the future")
	}
	if !out.Revokes {
		return out, nil
	}
	out.Subject, err = subjectOf(e, c, raw)
	if out.Subject.IsSimple && out.Name == sessionRevoked { // CAEP 1.0 section 3.1.2 names the session so
		out.Subject.Session = out.Subject.ID
	}
	return out, err
}

// subjectOf returns the subject of an event: sub_id or, as in drafts, the subject in the event or the sub of the token.
func subjectOf(e jose.Event, c *jose.EventClaims, raw string) (jose.Subject, error) {
	switch {
	case c.IsApples:
		sub, err := e.ApplesUser()
		return jose.Subject{Format: "iss_sub", Users: []jose.Pair{{Name: sub}}}, err
	case c.SubjectID != "":
		return jose.ParseSubject(c.SubjectID)
	case raw != "":
		return jose.ParseSubject(raw)
	case c.Subject != "":
		return jose.Subject{Format: "iss_sub", Users: []jose.Pair{{Name: c.Subject}}}, nil
	}
	return jose.Subject{}, errors.New("sub_id: missing")
}

// Revocations returns what an event of a transmitter revokes by itself: the user, else a token, else a session. Names count
// if they were given by the transmitter, or by the issuer whose tokens it may revoke.
func (e *Event) Revocations(from *Transmitter) (out []revocation.Revocation) {
	add := func(kind revocation.Kind, pairs []jose.Pair) {
		for _, p := range pairs {
			if p.Issuer == "" || p.Issuer == from.Sender.Name || p.Issuer == from.Revokes || from.Revokes == "" {
				out = append(out, e.revocation(from, kind, p.Name))
			}
		}
	}
	add(revocation.Subject, e.Subject.Users)
	if len(out) == 0 {
		add(revocation.ID, e.Subject.Tokens)
	}
	if e.Subject.Session != "" && len(out) == 0 {
		out = append(out, e.revocation(from, revocation.Session, e.Subject.Session))
	}
	return out
}

func (e *Event) revocation(from *Transmitter, kind revocation.Kind, name string) revocation.Revocation {
	return revocation.Revocation{Issuer: from.Revokes, Kind: kind, Name: name, At: e.Before.Unix()}
}
