package verify

import (
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/revocation"
)

const (
	caep  = "https://schemas.openid.net/secevent/caep/event-type/"
	risc  = "https://schemas.openid.net/secevent/risc/event-type/"
	oauth = "https://schemas.openid.net/secevent/oauth/event-type/"

	sessionRevoked = caep + "session-revoked"
)

// revokes are the events after which a user must log in again. token-claims-change is not one of them: the next token
// has the new claims.
var revokes = map[string]bool{
	sessionRevoked:             true,
	caep + "credential-change": true,
	risc + "account-disabled":  true,
	risc + "account-purged":    true,
	risc + "sessions-revoked":  true,
	oauth + "tokens-revoked":   true,
	risc + "tokens-revoked":    true,
}

// An Incident is an event after which somebody must log in again.
type Incident struct {
	Type    string
	Subject string    // who, as JSON text; empty: the event does not say
	At      time.Time // the tokens from before then count no longer
}

// Incidents returns the incidents in a security event token.
func Incidents(e *jose.Event) (all []Incident) {
	for _, o := range e.All {
		if !revokes[o.Type] {
			continue
		}
		subject, at := o.Members()
		if e.SubjectID != "" {
			subject = e.SubjectID
		}
		if at.IsZero() || at.After(e.IssuedAt) { // a time to come would log out who logs in afterwards
			at = e.IssuedAt
		}
		all = append(all, Incident{o.Type, subject, at})
	}
	return all
}

// Names returns what of an issuer's tokens the subject of the incident names.
func (in *Incident) Names(issuer string) []revocation.Revocation {
	if in.Subject == "" {
		return nil
	}
	all := in.names(in.Subject, issuer)
	for i := range all {
		all[i].Issuer, all[i].At = issuer, in.At.Unix()
	}
	return all
}

func (in *Incident) names(subject, issuer string) []revocation.Revocation {
	s, err := jose.ParseSubjectID(subject)
	if err != nil {
		return nil
	}
	name := func(kind revocation.Kind, name string) []revocation.Revocation {
		if name == "" {
			return nil
		}
		return []revocation.Revocation{{Kind: kind, Name: name}}
	}
	switch isOwn := issuer == "" || sameIssuer(s.Issuer, issuer); {
	case s.User != "":
		return in.names(s.User, issuer)
	case s.Session != "":
		session, err := jose.ParseSubjectID(s.Session)
		if err != nil {
			return nil
		}
		return name(revocation.Session, session.ID)
	case len(s.Identifiers) > 0:
		return in.aliases(s.Identifiers, issuer)
	case s.Format == "iss_sub" || s.Format == "iss-sub" || s.Format == "id_token_claims":
		if isOwn {
			return name(revocation.Subject, s.Subject)
		}
	case s.Format == "jwt_id" || s.Format == "jwt-id":
		if isOwn {
			return name(revocation.ID, s.JTI)
		}
	case s.Format == "opaque":
		all := name(revocation.Subject, s.ID)
		if in.Type == sessionRevoked { // CAEP 1.0 section 3.1.2 has sessions by their id
			all = append(all, name(revocation.Session, s.ID)...)
		}
		return all
	}
	return nil
}

func (in *Incident) aliases(identifiers []string, issuer string) (all []revocation.Revocation) {
	for _, id := range identifiers {
		s, err := jose.ParseSubjectID(id)
		if err == nil && len(s.Identifiers) == 0 && s.User == "" { // RFC 9493 section 3.2.8 allows no nesting
			all = append(all, in.names(id, issuer)...)
		}
	}
	return all
}

// sameIssuer overlooks a final slash, which Google writes in events and not in tokens.
func sameIssuer(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }
