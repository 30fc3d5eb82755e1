package wsauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/ticket"
	"github.com/wsauth/wsauth/internal/verify"
)

// DPoP says which DPoP proofs are accepted ([RFC 9449]). A token that is bound
// to a key (cnf.jkt) is accepted only with a proof of that key:
//
//	Authorization: DPoP <token>
//	DPoP: <proof>
//
// The proof must be for the method, the URL and the token of the request, and
// each proof is good once. A bound token sent with the scheme Bearer is
// refused, and so is an unbound token sent with the scheme DPoP.
//
// A browser cannot set these headers on a WebSocket: there, fetch a ticket with
// token and proof ([Authenticator.Tickets]).
//
// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
type DPoP struct {
	// BaseURL is the public URL of the server, without query or final slash:
	// "https://api.example.com". The path of the request is appended. A proof
	// must name this URL (htu), so set BaseURL if a proxy ends TLS or changes
	// Host or the path. Set it, too, if the server answers for any Host: the
	// client writes the Host header, so another server to which the client sent
	// a proof could use the proof here. Default: the scheme and the Host of the
	// request.
	BaseURL string

	// MaxAge is how far the time of a proof (iat) may be from now, in the past
	// or in the future. Proofs are remembered for twice as long. At most 10
	// minutes. Default: 1 minute.
	MaxAge time.Duration

	// Algorithms restricts the algorithms of proofs, by their names in RFC 7518
	// and "EdDSA" (or "Ed25519"). Default: all except the HMAC algorithms, which
	// no proof may have.
	Algorithms []string

	// NonceSecret, of at least 32 random bytes, makes the server demand a nonce
	// of its own in each proof (RFC 9449 section 9): then a client cannot make
	// proofs in advance. A proof without such a nonce gets 401 with
	// use_dpop_nonce and a nonce, which is good for at least MaxAge. Servers
	// that share their clients must share the secret. Default: no nonce is
	// demanded.
	NonceSecret []byte

	// Replays remembers which proofs were used. If there are several servers,
	// they must share it. If it is unavailable or full, requests get 503.
	// Default: memory for about 300,000 proofs.
	Replays TicketStore
}

const (
	defaultProofAge = time.Minute
	maxProofAge     = 10 * time.Minute
)

// proofs checks the options, and adds the place of bound tokens to places.
func (c *checker) proofs(d *DPoP, places *[]credential.Place) *verify.Proofs {
	if d == nil {
		return nil
	}
	p := &verify.Proofs{BaseURL: d.BaseURL, MaxAge: d.MaxAge, Replays: d.Replays}
	if !hasSource(*places, credential.FromHeader) {
		c.fault("DPoP", "needs FromHeader among Extractors")
	}
	*places = append(*places, credential.Place{Source: credential.FromDPoP})
	if fault := baseURLFault(d.BaseURL); fault != "" {
		c.fault("DPoP.BaseURL", "%s", fault)
	}
	if d.MaxAge < 0 || d.MaxAge > maxProofAge {
		c.fault("DPoP.MaxAge", "negative, or more than %s", maxProofAge)
	}
	if d.MaxAge == 0 {
		p.MaxAge = defaultProofAge
	}
	p.Reader = jose.NewProofReader(c.algorithms("DPoP.Algorithms", d.Algorithms))
	if p.Reader.Algs() == 0 {
		c.fault("DPoP.Algorithms", "none is for public keys")
	}
	if n := len(d.NonceSecret); n > 0 && n < 32 {
		c.fault("DPoP.NonceSecret", "shorter than 32 bytes")
	} else if n > 0 && p.MaxAge > 0 {
		p.Nonces = verify.NewNonces(d.NonceSecret, p.MaxAge)
	}
	if d.Replays == nil {
		p.Replays = ticket.NewMemory(replayMemory)
	} else if isNil(d.Replays) {
		c.fault("DPoP.Replays", "a nil pointer")
	}
	return p
}

func baseURLFault(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return "not a URL with https or http and a host"
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return "has a user, a query or a fragment"
	case strings.HasSuffix(text, "/"):
		return "ends in a slash"
	}
	return ""
}

// verifyRequest verifies the token of a request, whether it is a bearer token
// or bound to its sender.
func (a *Authenticator) verifyRequest(r *http.Request, cred credential.Credential, out *verify.Verified) error {
	out.Source = cred.Source.String()
	holder := verify.Holder{Certificate: a.certificateOf(r)}
	if cred.Source == credential.FromDPoP {
		return out.On(a.verifyProven(r, cred, holder, out))
	}
	if cred.Source == credential.FromTicket {
		key, err := a.redeem(r.Context(), &cred)
		if err != nil {
			return out.On(err)
		}
		holder.Key = verify.Proven(key)
	}
	return out.On(a.verifyToken(r.Context(), cred, holder, out))
}

// verifyProven verifies a token and its DPoP proof.
func (a *Authenticator) verifyProven(
	r *http.Request, cred credential.Credential, holder verify.Holder, out *verify.Verified,
) error {
	if before := a.provenIn(r.Context()); before != nil {
		holder.Key = verify.Proven(before.binding().Key)
		err := a.verifyToken(r.Context(), cred, holder, out)
		if err == nil && out.Claims.Raw != before.raw {
			err = refusal.New(ErrInvalidProof, errors.New("a second token, without a proof of its own"))
		}
		return err
	}
	var proof jose.Proof
	holder.Key = func() (_ string, err error) {
		proof, err = a.proofOf(r, cred.Token)
		return proof.Key, err
	}
	if err := a.verifyToken(r.Context(), cred, holder, out); err != nil {
		return err
	}
	return a.policy.proofs.Once(r.Context(), &proof)
}

// provenIn returns the claims of a request that has passed this Authenticator's
// Middleware with a DPoP proof, or nil. The proof is good only once.
func (a *Authenticator) provenIn(ctx context.Context) *Claims {
	own := a.identityIn(ctx)
	if own == nil || own.source != credential.FromDPoP {
		return nil
	}
	return own.claims
}

// proofOf verifies the DPoP proof of a request.
func (a *Authenticator) proofOf(r *http.Request, token string) (jose.Proof, error) {
	values := r.Header["Dpop"]
	if len(values) != 1 { // RFC 9449 section 4.3
		return jose.Proof{}, refusal.New(ErrInvalidProof, errors.New("no DPoP header, or more than one"))
	}
	proofs := a.policy.proofs
	return proofs.Verify(values[0], verify.Call{Method: r.Method, URL: proofs.URLOf(r), Token: token})
}

// useUp refuses a proof that was used before. The zero Proof is none.
func (a *Authenticator) useUp(ctx context.Context, proof *jose.Proof) error {
	if proof.Key == "" {
		return nil
	}
	return a.policy.proofs.Once(ctx, proof)
}

// giveNonce writes the nonce that the client's next proof needs, if it sends
// proofs: otherwise the nonce would run out now and then, and the client would
// get a 401 (RFC 9449 section 8.2).
func (a *Authenticator) giveNonce(w http.ResponseWriter, r *http.Request) {
	if a.isZero() || a.policy.proofs == nil || a.policy.proofs.Nonces == nil || len(r.Header["Dpop"]) == 0 {
		return
	}
	w.Header().Set("DPoP-Nonce", a.policy.proofs.Nonces.Current(time.Now()))
}

// certificateOf returns a function that returns the thumbprint of the client's
// certificate. It is called only for a token that is bound to one.
func (a *Authenticator) certificateOf(r *http.Request) func() (string, error) {
	if read := a.policy.clientCertificate; read != nil {
		return func() (string, error) {
			cert, err := read(r)
			if err != nil || cert == nil {
				return "", err
			}
			return thumbprint(cert.Raw)
		}
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	// RFC 8705 section 3: the TLS handshake has proven that the client has the key. Whether the certificate is valid
	// otherwise is for tls.Config.ClientAuth to say.
	return func() (string, error) { return thumbprint(r.TLS.PeerCertificates[0].Raw) }
}

func thumbprint(certificate []byte) (string, error) {
	if len(certificate) == 0 {
		return "", errors.New("a certificate that was not parsed")
	}
	sum := sha256.Sum256(certificate)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// RenewBound is [Renew] for a token that is bound to a key ([DPoP]). The proof
// is made like the proof of a GET request for the URL of the WebSocket, with the
// hash of the new token (ath). Both may come in a message of the connection. If
// the current token is bound, the new one must be bound to the same key.
//
// The error is also [ErrInvalidProof] if the proof is not valid or was used
// before. [Options.DPoP] must be set.
func RenewBound(ctx context.Context, token, proof string) (*Claims, error) {
	if proof == "" {
		id := identityOf(ctx)
		err := refusal.New(ErrInvalidProof, errors.New("RenewBound without a proof"))
		id.authenticator().reportRefusal(ctx, err)
		return nil, err
	}
	return renew(ctx, token, proof)
}

// A handshake is what a renewal needs to know about the request that opened the
// connection.
type handshake struct {
	url         string // of a proof; empty: DPoP is off
	certificate string // the client's, if the connection was opened without a token; empty: none
}

// handshakeOf returns nil if there is nothing to know. claims is nil if the
// token comes with the first message.
func (a *Authenticator) handshakeOf(r *http.Request, claims *Claims) *handshake {
	var h handshake
	if a.policy.proofs != nil {
		h.url = a.policy.proofs.URLOf(r)
	}
	if certificate := a.certificateOf(r); claims == nil && certificate != nil {
		h.certificate, _ = certificate() // an error: the client has shown none that counts
	}
	if h == (handshake{}) {
		return nil
	}
	return &h
}

// holder returns what the peer of a connection has proven to have, by the
// handshake and by a proof that came with the token.
func (c *connection) holder(token, proof string) (h verify.Holder, proven jose.Proof, err error) {
	h.Certificate = c.certificate
	if proof == "" {
		return h, proven, nil
	}
	if c.bound == nil || c.bound.url == "" {
		return h, proven, refusal.New(ErrInvalidProof, errors.New("Options.DPoP is not set"))
	}
	call := verify.Call{Method: http.MethodGet, URL: c.bound.url, Token: token}
	proven, err = c.auth.policy.proofs.Verify(proof, call)
	h.Key = verify.Proven(proven.Key)
	return h, proven, err
}

// certificate returns the thumbprint of the certificate that the peer has shown
// in its handshake: the current token is bound to it, or it was kept for the
// first token.
func (c *connection) certificate() (string, error) {
	if claims := c.Claims(); claims != nil {
		return claims.binding().Certificate, nil
	}
	if c.bound == nil {
		return "", nil
	}
	return c.bound.certificate, nil
}

// binding reads from the token what it is bound to. The binding was proven when
// the token was accepted.
func (c *Claims) binding() jose.Binding {
	read, err := jose.ParseClaims(c.raw)
	if err != nil {
		return jose.Binding{}
	}
	return read.Binding
}
