package verify

import (
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func withWsauth(k *mint.Key) (Check, error) { return authenticate(wsauth.Options{}, k) }

func withWsauthRemembered(k *mint.Key) (Check, error) {
	return authenticate(wsauth.Options{CacheSize: 1024}, k)
}

// authenticate is wsauth with these options and k's issuer.
func authenticate(opts wsauth.Options, k *mint.Key) (Check, error) {
	var keys wsauth.Keys = wsauth.KeySet(mint.SetOf(k))
	if secret, ok := k.Private.([]byte); ok {
		keys = wsauth.HMAC(secret)
	}
	opts.Issuers = []wsauth.Issuer{{Name: issuer, Audience: []string{audience}, Keys: keys}}
	auth, err := wsauth.New(opts)
	if err != nil {
		return nil, err
	}
	return auth.Authenticate, nil
}
