package wsauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// What the fuzz targets and the allocation test reach beyond the public surface.

func Extract(a *Authenticator, r *http.Request) (token string, err error) {
	c, err := credential.Find(r, a.policy.places, a.policy.origins)
	return c.Token, err
}

// findAlone finds a token where there is one place for it, and returns the cause of a refusal.
func findAlone(r *http.Request, x Extractor) (token string, err error) {
	cred, err := credential.Find(r, []credential.Place{x.place}, credential.Origins{})
	if refusal.IsNoToken(err) {
		return "", nil
	}
	var refused *refusal.Error
	if errors.As(err, &refused) {
		err = refused.Cause
	}
	return cred.Token, err
}

func handshakeWith(header http.Header, query string) *http.Request {
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	return &http.Request{Method: http.MethodGet, Header: header, URL: &url.URL{Path: "/", RawQuery: query}}
}

func QueryToken(query, name string) (string, error) {
	return findAlone(handshakeWith(http.Header{}, query), FromQuery(name))
}

func SubprotocolToken(values []string, prefix string) (string, error) {
	return findAlone(handshakeWith(http.Header{"Sec-Websocket-Protocol": values}, ""), FromSubprotocol(prefix))
}

// Cookie looks in a GET, from which no Origin is asked.
func Cookie(r *http.Request, name string) (string, error) {
	return findAlone(&http.Request{Method: http.MethodGet, Header: r.Header, URL: &url.URL{Path: "/"}}, FromCookie(name))
}

// Bearer also finds out what is found out only of a token that is refused.
func Bearer(values []string) (string, error) {
	cred, err := credential.Find(handshakeWith(http.Header{"Authorization": values}, ""), []credential.Place{FromHeader().place}, credential.Origins{})
	if refusal.IsNoToken(err) {
		return "", nil
	}
	if err == nil {
		if err = cred.Judge(refusal.New(ErrInvalidToken, jose.ErrForm)); errors.Is(err, ErrInvalidToken) {
			err = nil
		}
	}
	if err != nil {
		return "", err
	}
	return cred.Token, nil
}

func HideParameter(r *http.Request, name string) {
	credential.Hide(r, []credential.Place{FromQuery(name).place})
}

func HideProtocol(r *http.Request, prefix string) {
	credential.Hide(r, []credential.Place{FromSubprotocol(prefix).place})
}

// Check is what Upgrade does with a token.
func Check(a *Authenticator, token string) error {
	_, err := a.policy.verifier.Token(context.Background(), token)
	return err
}

// DelayTimer has the timer of a connection come in d, as it might on a busy machine.
func DelayTimer(ctx context.Context, d time.Duration) { identityOf(ctx).conn.DelayTimer(d) }

// Remembers reports whether the token is in the memory.
func Remembers(a *Authenticator, token string) bool { return a.policy.verifier.Remembers(token) }
