package verify

import (
	"errors"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// A Holder is what the sender of a token has proven to have. The zero Holder has proven nothing, and a token that is bound
// is refused.
type Holder struct {
	Key         func() (string, error) // verifies a DPoP proof and returns the thumbprint of its key; nil: there is none
	Certificate func() (string, error) // returns the thumbprint of the client's certificate; nil: it has shown none
}

// Proven is the Key of a Holder whose proof is verified already; an empty thumbprint: there was none.
func Proven(key string) func() (string, error) {
	if key == "" {
		return nil
	}
	return func() (string, error) { return key, nil }
}

// checkBinding refuses a token that its sender has not proven to be bound to them. A token that is not bound is refused,
// too, if there is a proof: RFC 9449 section 7.1 has the scheme DPoP for bound tokens only, and a client that sends a proof
// has reason to think that its token is worth nothing without one.
func (h Holder) checkBinding(b jose.Binding) error {
	switch {
	case b == (jose.Binding{}) && h.Key == nil:
		return nil
	case b.Key == "" && h.Key != nil:
		return unproven("cnf: not bound to a key, and sent with a DPoP proof")
	case b.Key != "" && h.Key == nil:
		return unproven("cnf: bound to a key, and sent without a DPoP proof that is accepted here")
	}
	if b.Key != "" {
		if err := h.checkKey(b.Key); err != nil {
			return err
		}
	}
	if b.Certificate != "" {
		return h.checkCertificate(b.Certificate)
	}
	return nil
}

func unproven(reason string) error { return refusal.New(refusal.ErrInvalidToken, errors.New(reason)) }

func (h Holder) checkKey(bound string) error {
	proven, err := h.Key()
	if err != nil {
		return err
	}
	if proven != bound {
		return unproven("cnf: bound to another key than that of the DPoP proof")
	}
	return nil
}

func (h Holder) checkCertificate(bound string) error {
	if h.Certificate == nil {
		return unproven("cnf: bound to a client certificate, and the client has shown none")
	}
	shown, err := h.Certificate()
	switch {
	case err != nil:
		return unproven("cnf: bound to a client certificate, and Options.ClientCertificate could not read the client's")
	case shown == "":
		return unproven("cnf: bound to a client certificate, and the client has shown none")
	case shown != bound:
		return unproven("cnf: bound to another certificate than the client's")
	}
	return nil
}
