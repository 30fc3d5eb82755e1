package credential

import (
	"bytes"
	"fmt"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// InMessage takes the token from a first message: {"access_token":"…"}, or the bare token. An error is a refusal.
func InMessage(message []byte) (string, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(message, " \t\r\n"), []byte("{")) {
		return string(message), nil
	}
	token, err := jose.StringMember(message, "access_token")
	if err != nil {
		return "", refusal.New(refusal.ErrMalformedRequest, fmt.Errorf("the first message: %w", err))
	}
	return token, nil
}
