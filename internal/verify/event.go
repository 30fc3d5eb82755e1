package verify

import (
	"context"
	"errors"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// logoutEvent is the event of a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Logout verifies a logout token for one of these clients, in a way that shares nothing with that of access tokens
// except the issuers and their keys.
func (v *Verifier) Logout(ctx context.Context, token string, clients []string) (*jose.Event, refusal.Trail, error) {
	var trail refusal.Trail
	t, e, err := v.parseEvent(token, "logout+jwt", "jwt", "") // Keycloak writes JWT, and others nothing
	if err != nil {
		return nil, trail, err
	}
	trail.KeyID = t.Header.KeyID
	iss, err := v.issuerOf(ctx, &e.Claims)
	if err != nil {
		return nil, trail, err
	}
	trail.Issuer = iss.Name
	if err := iss.checkEvent(ctx, t, e, clients, v.leeway); err != nil {
		return nil, trail, err
	}
	if reason := checkLogout(e, v.leeway); reason != "" {
		return nil, trail, refusal.New(refusal.ErrInvalidToken, errors.New(reason))
	}
	return e, trail, nil
}

// checkLogout checks what only a logout token must have.
func checkLogout(e *jose.Event, leeway time.Duration) (reason string) {
	isLogout := false
	for _, o := range e.All {
		isLogout = isLogout || o.Type == logoutEvent
	}
	switch {
	case !isLogout:
		return "events: not a logout"
	case e.HasNonce:
		return "nonce: a logout token has none"
	case !e.HasExpiry():
		return "exp: missing"
	case !time.Now().Before(e.Expiry.Add(leeway)):
		return "exp: the logout token has expired"
	case e.Subject == "" && e.SessionID == "":
		return "sub and sid: both missing"
	case e.SessionID != "" && e.Text("sid") == "":
		return "sid: neither a string nor an integer, or empty"
	}
	return ""
}

// SecurityEvent verifies a Security Event Token of a transmitter, which is trusted for nothing else.
func (v *Verifier) SecurityEvent(ctx context.Context, token string, transmitter *Issuer) (*jose.Event, refusal.Trail, error) {
	trail := refusal.Trail{Issuer: transmitter.Name}
	t, e, err := v.parseEvent(token, "secevent+jwt") // RFC 8417 section 2.3; SSF 1.0 section 4.1.1
	if err != nil {
		return nil, trail, err
	}
	trail.KeyID = t.Header.KeyID
	if !e.HasIssuer || e.Issuer != transmitter.Name {
		return nil, trail, eventError("invalid_issuer", errIssuer)
	}
	if err := transmitter.checkEvent(ctx, t, e, transmitter.Audience, v.leeway); err != nil {
		return nil, trail, err
	}
	if e.HasExpiry() { // SSF 1.0 section 4.1.7; an access token has one
		return nil, trail, refusal.New(refusal.ErrInvalidToken, errors.New("exp: a security event token has none"))
	}
	return e, trail, nil
}

func eventError(code string, cause error) error {
	return &refusal.EventError{Code: code, Err: refusal.New(refusal.ErrInvalidToken, cause)}
}

func (v *Verifier) parseEvent(token string, types ...string) (*jose.Token, *jose.Event, error) {
	t, err := v.parser.Parse(token)
	if err != nil {
		return nil, nil, refusal.New(refusal.ErrInvalidToken, err)
	}
	isType := false
	for _, typ := range types {
		isType = isType || t.Header.Type == typ
	}
	if !isType {
		return nil, nil, refusal.New(refusal.ErrInvalidToken, errors.New("typ: not that of such an event"))
	}
	e := new(jose.Event)
	if err := e.Parse(t.Payload); err != nil {
		return nil, nil, refusal.New(refusal.ErrInvalidToken, err)
	}
	return &t, e, nil
}

// checkEvent checks the signature of an event, and that it is for one of these receivers.
func (iss *Issuer) checkEvent(ctx context.Context, t *jose.Token, e *jose.Event, receivers []string, leeway time.Duration) error {
	if !iss.Algs.Has(t.Header.Alg) {
		return eventError("invalid_key", errAlg)
	}
	if _, err := iss.verifySignature(ctx, t); err != nil {
		if errors.Is(err, refusal.ErrInvalidToken) {
			err = &refusal.EventError{Code: "invalid_key", Err: err}
		}
		return err
	}
	if !e.IsFor(receivers) {
		return eventError("invalid_audience", errors.New("aud: the event is for another receiver"))
	}
	latest, reason := time.Now().Add(leeway), ""
	switch {
	case e.ID == "":
		reason = "jti: missing"
	case e.IssuedAt.Unix() < 1: // 0 would be a time at which nothing was issued
		reason = "iat: missing"
	case e.IssuedAt.After(latest):
		reason = "iat: token not valid yet"
	case e.NotBefore.After(latest):
		reason = "nbf: token not valid yet"
	default:
		return nil
	}
	return refusal.New(refusal.ErrInvalidToken, errors.New(reason))
}
