package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// A tokenSpec says what a token has that differs from the issuer's usual tokens.
type tokenSpec struct {
	ttl    time.Duration              // zero: as usual
	claims map[string]json.RawMessage // null: the token does not have the claim
}

// usualSpec is what tokens have by default.
func usualSpec() tokenSpec {
	s := tokenSpec{ttl: time.Hour}
	s.claim("sub", "alice")
	s.claim("aud", "dev")
	return s
}

// addFlags adds a flag for each field.
func (s *tokenSpec) addFlags(flags *flag.FlagSet) {
	for field, usage := range map[string]string{
		"sub":   "the `subject`",
		"scope": "the `scopes`, separated by spaces",
		"aud":   "the `audience`; several are separated by spaces",
		"ttl":   "how long a token lives, a `duration` such as 5m; -1m makes a token that has expired",
		"claim": "any other claim, as `name=JSON`; may be repeated",
	} {
		flags.Func(field, usage, func(value string) error { return s.set(field, value) })
	}
}

// readForm reads the fields of a form. Several claims may also stand in one field, each on a line of its own.
func readForm(form url.Values) (tokenSpec, error) {
	var s tokenSpec
	var faults []error
	for field, values := range form {
		for _, value := range values {
			if field != "claim" {
				faults = append(faults, s.set(field, value))
				continue
			}
			for line := range strings.Lines(value) {
				faults = append(faults, s.set(field, strings.TrimSpace(line)))
			}
		}
	}
	return s, errors.Join(faults...)
}

// readJSON reads an object whose members are claims, except ttl.
func readJSON(text []byte) (tokenSpec, error) {
	var s tokenSpec
	if err := json.Unmarshal(text, &s.claims); err != nil || s.claims == nil {
		return s, errors.New("the body is not a JSON object")
	}
	ttl, ok := s.claims["ttl"]
	if !ok {
		return s, nil
	}
	delete(s.claims, "ttl")
	var value string
	if err := json.Unmarshal(ttl, &value); err != nil {
		return s, errors.New(`ttl: want a duration in quotes, such as "5m"`)
	}
	return s, s.set("ttl", value)
}

// toJSON is the reverse of readJSON.
func (s *tokenSpec) toJSON() []byte {
	members := map[string]any{}
	for name, value := range s.claims {
		members[name] = value
	}
	if s.ttl != 0 {
		members["ttl"] = s.ttl.String()
	}
	return []byte(mint.JSON(members))
}

// set sets one field. An empty value changes nothing, since a page sends each field of its form.
func (s *tokenSpec) set(field, value string) error {
	if value == "" {
		return nil
	}
	switch field {
	case "sub", "scope":
		s.claim(field, value)
	case "aud":
		return s.setAudience(value)
	case "ttl":
		return s.setTTL(value)
	case "claim":
		return s.setClaim(value)
	default:
		return fmt.Errorf("no field is named %q: want sub, scope, aud, ttl or claim", field)
	}
	return nil
}

func (s *tokenSpec) setAudience(value string) error {
	switch audience := strings.Fields(value); len(audience) {
	case 0:
		return errors.New("aud: want an audience")
	case 1:
		s.claim("aud", audience[0])
	default:
		s.claim("aud", audience)
	}
	return nil
}

func (s *tokenSpec) setTTL(value string) error {
	ttl, err := time.ParseDuration(value)
	if err != nil || ttl == 0 || ttl%time.Second != 0 {
		return fmt.Errorf("ttl %s: want a duration in whole seconds, such as 90s or 5m", value)
	}
	s.ttl = ttl
	return nil
}

func (s *tokenSpec) setClaim(value string) error {
	name, text, found := strings.Cut(value, "=")
	switch {
	case !found || name == "":
		return fmt.Errorf("claim %s: want name=JSON", value)
	case name == "ttl":
		return errors.New("claim ttl: ttl is a field of its own, and not a claim")
	case !json.Valid([]byte(text)):
		return fmt.Errorf(`claim %s: %s is not JSON; a string needs quotes: %s="…"`, name, text, name)
	}
	s.claim(name, json.RawMessage(text))
	return nil
}

// claim sets a claim to a value that JSON has a form for.
func (s *tokenSpec) claim(name string, value any) {
	if s.claims == nil {
		s.claims = map[string]json.RawMessage{}
	}
	s.claims[name] = json.RawMessage(mint.JSON(value))
}

// with returns s with the changes of another spec.
func (s *tokenSpec) with(change tokenSpec) tokenSpec {
	out := tokenSpec{ttl: s.ttl, claims: maps.Clone(s.claims)}
	if change.ttl != 0 {
		out.ttl = change.ttl
	}
	if out.claims == nil {
		out.claims = map[string]json.RawMessage{}
	}
	maps.Copy(out.claims, change.claims)
	return out
}
