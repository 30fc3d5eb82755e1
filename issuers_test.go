package wsauth_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestAnyIssuerIsForKeysWhoseOwnerSignsNoIss(t *testing.T) {
	key := mint.New("RS256", "")
	auth := newAuthOf(t, wsauth.Issuer{AnyIssuer: true, Audience: []string{"chat"}, Keys: wsauth.PublicKeys{key.Public()}})
	for name, row := range map[string]struct {
		claims map[string]any
		signer *mint.Key
		want   error
	}{
		"no iss":              {map[string]any{"aud": "chat"}, key, nil},
		"some iss":            {map[string]any{"aud": "chat", "iss": "passport"}, key, nil},
		"another audience":    {map[string]any{"aud": "mail"}, key, wsauth.ErrInvalidToken},
		"another key":         {map[string]any{"aud": "chat"}, mint.New("RS256", ""), wsauth.ErrInvalidToken},
		"an iss of no string": {map[string]any{"aud": "chat", "iss": 1}, key, wsauth.ErrInvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			verify(t, auth, row.signer.Token(row.claims), row.want)
		})
	}
}

func TestIssuersAreFoundWhileTheServerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := mint.New("HS256", ""), mint.New("HS256", "")
		var tenants atomic.Pointer[map[string]*mint.Key]
		tenants.Store(&map[string]*mint.Key{"https://one": one, "https://two": two})
		auth := newAuth(t, func(o *wsauth.Options) {
			o.CacheSize = 100
			o.FindIssuer = func(_ context.Context, iss string) (wsauth.Issuer, error) {
				switch key := (*tenants.Load())[iss]; {
				case iss == "https://faulty":
					return wsauth.Issuer{Name: iss, Keys: wsauth.HMAC([]byte("short"))}, nil
				case iss == "https://other":
					return wsauth.Issuer{Name: "https://one", Keys: wsauth.HMAC(secretOf(one))}, nil
				case iss == "https://down":
					return wsauth.Issuer{}, errors.New("the database is down")
				case key == nil:
					return wsauth.Issuer{}, wsauth.ErrInvalidToken
				default:
					return wsauth.Issuer{Name: iss, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(key))}, nil
				}
			}
		})
		token := func(key *mint.Key, iss string) string {
			return key.Token(map[string]any{"iss": iss, "aud": "chat", "exp": time.Now().Add(time.Hour).Unix()})
		}
		first := token(one, "https://one")
		for name, row := range map[string]struct {
			token string
			want  error
		}{
			"a tenant's":                         {first, nil},
			"another tenant's":                   {token(two, "https://two"), nil},
			"one tenant's in the other's name":   {token(one, "https://two"), wsauth.ErrInvalidToken},
			"a configured issuer's":              {testToken(nil), nil},
			"a tenant's in a configured one's":   {token(one, testIssuer), wsauth.ErrInvalidToken},
			"nobody's":                           {token(one, "https://nobody"), wsauth.ErrInvalidToken},
			"without iss":                        {one.Token(map[string]any{"aud": "chat"}), wsauth.ErrInvalidToken},
			"of an Issuer that New would refuse": {token(one, "https://faulty"), wsauth.ErrUnavailable},
			"of an Issuer of another name":       {token(one, "https://other"), wsauth.ErrUnavailable},
			"while the lookup fails":             {token(one, "https://down"), wsauth.ErrUnavailable},
		} {
			if _, err := auth.Verify(t.Context(), row.token); !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
				t.Errorf("%s: got %v, want %v", name, err, row.want)
			}
		}
		if !wsauth.Remembers(auth, first) {
			t.Error("got a tenant's token forgotten, want it remembered")
		}

		tenants.Store(&map[string]*mint.Key{})
		time.Sleep(5 * time.Minute)
		auth.Verify(t.Context(), first) // asks in the background
		synctest.Wait()
		verify(t, auth, first, wsauth.ErrInvalidToken)
	})
}
