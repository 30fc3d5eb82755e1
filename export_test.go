package wsauth

import (
	"context"
	"net/http"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
)

// What the fuzz targets and the allocation test reach beyond the public surface.
var (
	QueryToken       = queryToken
	Cookie           = cookie
	SubprotocolToken = subprotocolToken
	HideParameter    = hideParameter
	HideProtocol     = hideProtocol
)

func Extract(a *Authenticator, r *http.Request) (token string, err error) {
	c, err := a.policy.extract(r)
	return c.token, err
}

// Bearer is bearer with what is found out only of a token that is refused.
func Bearer(values []string) (string, error) {
	token, err := bearer(values)
	if err == nil && token != "" && !isB64Token(token) {
		return "", errMalformed
	}
	return token, err
}

// Check is what Upgrade does with a token.
func Check(a *Authenticator, token string) error {
	_, err := a.check(context.Background(), token, new(trail), new(jose.Claims))
	return err
}

// DelayTimer has the timer of a connection come in d, as it might on a busy machine.
func DelayTimer(ctx context.Context, d time.Duration) { identityOf(ctx).conn.timer.Reset(d) }

// Remembers reports whether the token is in the memory.
func Remembers(a *Authenticator, token string) bool { return a.tokens.Get(token) != nil }
