package wsauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/ticket"
	"github.com/wsauth/wsauth/internal/verify"
)

// DPoP says which DPoP proofs are accepted ([RFC 9449]). A token that is bound
// to a key (cnf.jkt) is accepted only with a proof that is signed with that key:
//
//	Authorization: DPoP <token>
//	DPoP: <proof>
//
// The proof must be for the method, the URL and the token of the request, and
// can be used once. The method of a WebSocket handshake is GET, and its URL may
// have the scheme wss or https. A bound token is refused with the scheme Bearer,
// and a token that is not bound is refused with the scheme DPoP.
//
// A browser cannot set these headers on a WebSocket. A page fetches a ticket
// instead, with the token and a proof for that POST ([Authenticator.Tickets]).
// The first message of [UpgradeOptions.FirstMessage] cannot bring a bound token
// to [Authenticator.Upgrade], since it has no proof; behind
// [Authenticator.Guard], pass both to [RenewBound].
//
// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
type DPoP struct {
	// BaseURL is the public URL of the server, without a query or a final slash:
	// "https://api.example.com". A proof must name this URL (htu), followed by
	// the path of the request as it reached this server. Set BaseURL if a proxy
	// ends TLS or changes Host or the path. Also set it if the server answers
	// for any Host: otherwise, another server to which a client sends its proofs
	// could use them here, since the sender of a request writes the Host header.
	// Default: the scheme and the Host of the request.
	BaseURL string

	// MaxAge is how far the time of a proof (iat) may be from now, in the past
	// or in the future, up to 10 minutes. Used proofs are remembered for a little
	// more than twice as long. Default: 1 minute.
	MaxAge time.Duration

	// Algorithms restricts the algorithms of proofs. Their names are those of RFC
	// 7518, and "EdDSA" (or "Ed25519"). HMAC algorithms are never accepted.
	// Default: all others.
	Algorithms []string

	// NonceSecret makes the server demand a nonce of its own in each proof (RFC
	// 9449 section 9), so that a client cannot make proofs in advance. It has at
	// least 32 random bytes, the same on all servers that a client may reach. A
	// proof without a current nonce gets 401 with use_dpop_nonce. A nonce is good
	// for at least MaxAge.
	//
	// Each response to a request with a proof has the current nonce in its header
	// DPoP-Nonce. Before [RenewBound], a client may have to send a request to get
	// one. Default: no nonce is demanded.
	NonceSecret []byte

	// Replays records which proofs were used. Several servers must share it; it
	// can be the store of [FromTicket]. Two Authenticators through which one
	// request passes need a store each. If it is unavailable or full, requests
	// with a proof get 503; whoever has a valid token and its key can fill it, so
	// limit the rate of requests. Default: this process remembers about 300,000
	// proofs.
	Replays TicketStore
}

const (
	defaultProofAge = time.Minute
	maxProofAge     = 10 * time.Minute
)

// proofs checks the options, and adds the place of bound tokens, the
// Authorization header with the scheme DPoP, to places.
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

func hasSource(places []credential.Place, s credential.Source) bool {
	return slices.ContainsFunc(places, func(p credential.Place) bool { return p.Source == s })
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
		if a.policy.proofs != nil { // otherwise no token that is bound to a key is accepted, wherever the ticket is from
			holder.Key = verify.Proven(key)
		}
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
	verifyProof := func() (jose.Proof, error) { return a.proofOf(r, cred.Token) }
	return a.verifyWithProof(r.Context(), cred, holder, verifyProof, out)
}

// verifyWithProof verifies a token, then the proof that verifyProof verifies,
// and records that the proof was used.
func (a *Authenticator) verifyWithProof(
	ctx context.Context, cred credential.Credential, holder verify.Holder, verifyProof func() (jose.Proof, error),
	out *verify.Verified,
) error {
	var proof jose.Proof
	holder.Key = func() (_ string, err error) {
		proof, err = verifyProof()
		return proof.Key, err
	}
	if err := a.verifyToken(ctx, cred, holder, out); err != nil {
		return err
	}
	return a.policy.proofs.Once(ctx, &proof)
}

// provenIn returns the claims of a request that has passed this Authenticator's
// Middleware or Guard with a DPoP proof, or nil. The proof is good only once.
func (a *Authenticator) provenIn(ctx context.Context) *Claims {
	own := a.identityIn(ctx)
	switch {
	case own == nil:
		return nil
	case own.conn != nil && own.conn.source == credential.FromDPoP:
		return own.conn.Claims()
	case own.source == credential.FromDPoP:
		return own.claims
	}
	return nil
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

// giveNonce gives a client that sends proofs the nonce for its next one.
// Otherwise the client would get a 401 whenever its nonce has run out (RFC 9449
// section 8.2).
func (a *Authenticator) giveNonce(w http.ResponseWriter, r *http.Request) {
	if a.isZero() || a.policy.proofs == nil || a.policy.proofs.Nonces == nil || len(r.Header["Dpop"]) == 0 {
		return
	}
	h := w.Header()
	h.Set("DPoP-Nonce", a.policy.proofs.Nonces.Current(time.Now()))
	h.Set("Cache-Control", "no-store") // RFC 9449 section 8.2: a nonce from a cache is stale; a handler may know better
}

// certificateOf returns a function that returns the thumbprint of the client's
// certificate. Call that function only for a token that is bound to one.
func (a *Authenticator) certificateOf(r *http.Request) func() (string, error) {
	if read := a.policy.clientCertificate; read != nil {
		return func() (string, error) {
			hidden := r.WithContext(r.Context()) // read may log the URL
			credential.Hide(hidden, a.policy.places)
			cert, err := read(hidden)
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
	return jose.SHA256(certificate), nil
}

// RenewBound is [Renew] for a token that is bound to a key ([DPoP]). The client
// makes the proof as for a GET request to the URL of the WebSocket, with the
// hash of the new token (ath), and may send both in a message. If the current
// token is bound, the new one must be bound to the same key.
//
// The errors are those of Renew, and [ErrInvalidProof] if the proof is not
// valid, if it was used before, or if [Options.DPoP] is not set.
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
	url         string // that a proof must name; empty: DPoP is off
	certificate string // the client's, if the connection was opened without a token; empty: none
}

// handshakeOf returns nil if a renewal needs nothing from the request. claims is
// nil if the token comes with the first message.
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

// verifyRenewal verifies a token that came over the connection, with a DPoP proof
// if proof is not empty.
func (c *connection) verifyRenewal(ctx context.Context, token, proof string, out *verify.Verified) error {
	cred, holder := credential.Credential{Token: token}, verify.Holder{Certificate: c.certificate}
	if proof == "" {
		return c.auth.verifyToken(ctx, cred, holder, out)
	}
	if c.bound == nil || c.bound.url == "" {
		return refusal.New(ErrInvalidProof, errors.New("Options.DPoP is not set"))
	}
	call := verify.Call{Method: http.MethodGet, URL: c.bound.url, Token: token}
	verifyProof := func() (jose.Proof, error) { return c.auth.policy.proofs.Verify(proof, call) }
	return c.auth.verifyWithProof(ctx, cred, holder, verifyProof, out)
}

// certificate returns the thumbprint of the certificate that the peer has shown
// in its handshake: the one that the current token is bound to, or the one that
// was kept for the first token.
func (c *connection) certificate() (string, error) {
	if claims := c.Claims(); claims != nil {
		return claims.binding().Certificate, nil
	}
	if c.bound == nil {
		return "", nil
	}
	return c.bound.certificate, nil
}

// binding reads from the token what it is bound to. That the client has it was
// proven when the token was accepted.
func (c *Claims) binding() jose.Binding {
	read, err := jose.ParseClaims(c.raw)
	if err != nil {
		return jose.Binding{}
	}
	return read.Binding
}
