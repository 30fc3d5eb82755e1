package verify

import (
	"errors"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// A Holder is what the sender of a token has proven to have. With the zero Holder, which has proven nothing, a bound
// token is refused.
type Holder struct {
	Key         func() (string, error) // verifies a DPoP proof and returns the thumbprint of its key; nil: there is none
	Certificate func() (string, error) // returns the thumbprint of the client's certificate; nil: it has shown none
}

// Proven returns the Key of a Holder whose proof is already verified; an empty thumbprint: there was no proof.
func Proven(key string) func() (string, error) {
	if key == "" {
		return nil
	}
	return func() (string, error) { return key, nil }
}

// checkBinding refuses a bound token whose sender has not proven to have the key or the certificate. It also refuses an
// unbound token with a proof: RFC 9449 section 7.1 allows the scheme DPoP for bound tokens only, and a client that
// sends a proof relies on its token being useless without one.
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
