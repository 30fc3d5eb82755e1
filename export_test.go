package wsauth

import (
	"context"
	"net/http"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/verify"
)

// What the allocation tests reach beyond the public surface.

func Extract(a *Authenticator, r *http.Request) (token string, err error) {
	c, err := credential.Find(r, a.policy.places, a.policy.origins, false)
	return c.Token, err
}

// Check is what Upgrade does with a token.
func Check(a *Authenticator, token string) error {
	return a.policy.verifier.Token(context.Background(), token, verify.Holder{}, new(verify.Verified))
}

// DelayTimer schedules the connection anew, in d, as if the timer were late on a busy machine.
func DelayTimer(ctx context.Context, d time.Duration) { identityOf(ctx).conn.DelayTimer(d) }

// Remembers reports whether the token is in the memory.
func Remembers(a *Authenticator, token string) bool { return a.policy.verifier.Remembers(token) }
