package verify

import (
	"errors"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// A Holder is what the sender of a token has proven to have. The zero Holder has proven nothing, and a token that is bound
// is refused.
type Holder struct {
	Key         string                 // the thumbprint of the key of a DPoP proof that was verified
	Certificate func() (string, error) // returns the thumbprint of the client's certificate; nil: it has shown none
}

// checkBinding refuses a token that its sender has not proven to be bound to them. A token that is not bound is refused,
// too, if there is a proof: RFC 9449 section 7.1 has the scheme DPoP for bound tokens only, and a client that sends a proof
// has reason to think that its token is worth nothing without one.
func (h Holder) checkBinding(b jose.Binding) error {
	reason := ""
	switch {
	case b == (jose.Binding{}) && h.Key == "":
		return nil
	case b.Key == "" && h.Key != "":
		reason = "cnf: not bound to a key, and sent with a DPoP proof"
	case b.Key != "" && h.Key == "":
		reason = "cnf: bound to a key, and sent without a DPoP proof that is accepted here"
	case b.Key != h.Key:
		reason = "cnf: bound to another key than that of the DPoP proof"
	case b.Certificate == "":
		return nil
	case h.Certificate == nil:
		reason = "cnf: bound to a client certificate, and the client has shown none"
	default:
		return h.checkCertificate(b.Certificate)
	}
	return refusal.New(refusal.ErrInvalidToken, errors.New(reason))
}

func (h Holder) checkCertificate(bound string) error {
	shown, err := h.Certificate()
	switch {
	case err != nil:
		err = errors.New("cnf: bound to a client certificate, and Options.ClientCertificate could not read the client's")
	case shown == "":
		err = errors.New("cnf: bound to a client certificate, and the client has shown none")
	case shown != bound:
		err = errors.New("cnf: bound to another certificate than the client's")
	default:
		return nil
	}
	return refusal.New(refusal.ErrInvalidToken, err)
}
