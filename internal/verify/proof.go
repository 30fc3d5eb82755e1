package verify

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// Proofs checks DPoP proofs (RFC 9449 section 4.3).
type Proofs struct {
	BaseURL string        // the public URL of the server, without a final slash; empty: as the request says
	MaxAge  time.Duration // how far a proof's iat may be from now, in both directions
	Reader  *jose.ProofReader
	Nonces  *Nonces // nil: none are demanded
	Replays Replays
}

// Replays remembers the proofs that were used.
type Replays interface {
	// Put keeps value under key for ttl and returns true, or returns false if key is there already.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
}

// A Call is the request for which a proof must have been made.
type Call struct {
	Method string
	URL    string // as URLOf returns it
	Token  string
}

// URLOf returns the URL that a proof for r must name, without query and fragment. A middleware may have changed r.URL,
// for example http.StripPrefix, so the path is that of the request line. It is read as the server has read it: in a
// request line, "#" does not begin a fragment, and the absolute form of RFC 9112 section 3.2.2 has a path, too.
func (p *Proofs) URLOf(r *http.Request) string {
	target, err := url.ParseRequestURI(r.RequestURI)
	if err != nil { // a request that a test made
		target = r.URL
	}
	path := target.EscapedPath()
	switch {
	case p.BaseURL != "":
		return p.BaseURL + path
	case r.TLS != nil:
		return "https://" + r.Host + path
	}
	return "http://" + r.Host + path
}

// Verify verifies a proof for a call, except that it was not used before. An error is a refusal.
func (p *Proofs) Verify(text string, call Call) (jose.Proof, error) {
	proof, err := p.Reader.Verify(text)
	if err == nil {
		err = p.check(&proof, call, time.Now())
	}
	switch {
	case err == errNonce:
		return jose.Proof{}, refusal.New(refusal.ErrNonce, err)
	case err != nil:
		return jose.Proof{}, refusal.New(refusal.ErrInvalidProof, err)
	}
	return proof, nil
}

var errOld = errors.New("iat: older than MaxAge")

var errNonce = errors.New("nonce: missing, or not one that this server has given lately")

func (p *Proofs) check(proof *jose.Proof, call Call, now time.Time) error {
	switch age := now.Sub(proof.IssuedAt); {
	case proof.Method != call.Method:
		return errors.New("htm: not the method of the request")
	case !isSameURL(proof.URL, call.URL):
		return errors.New("htu: not the URL of the request, as this server knows it (Options.DPoP.BaseURL)")
	case proof.TokenHash != jose.SHA256([]byte(call.Token)):
		return errors.New("ath: missing, or of another token")
	case age > p.MaxAge:
		return errOld
	case age < -p.MaxAge:
		return errors.New("iat: too far in the future")
	case proof.NotBefore.After(now.Add(p.MaxAge)):
		return errors.New("nbf: not valid yet")
	case !proof.Expiry.IsZero() && !now.Before(proof.Expiry):
		return errors.New("exp: expired")
	case p.Nonces != nil && !p.Nonces.Has(proof.Nonce, now):
		return errNonce
	}
	return nil
}

// Once refuses a proof that was used before. Call it last: only proofs for valid tokens are worth remembering, and a proof
// for a token that is refused otherwise is not used up.
func (p *Proofs) Once(ctx context.Context, proof *jose.Proof) error {
	// Between Verify and here, a key may have been fetched for the token. If the proof has become too old meanwhile, the
	// store may have forgotten it.
	if time.Since(proof.IssuedAt) > p.MaxAge {
		return refusal.New(refusal.ErrInvalidProof, errOld)
	}
	// The record includes the key: another client may choose the same jti. The hash has the same length whatever jti
	// is.
	record := jose.SHA256([]byte("dpop " + proof.Key + " " + proof.ID))
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	// A proof from the future is accepted twice as long as one from now, and the store may take its time.
	ttl := 2*p.MaxAge + replayTimeout + time.Second
	first, err := p.Replays.Put(ctx, record, nil, ttl)
	switch {
	case err != nil:
		return refusal.Outage(ctx, errReplays)
	case !first:
		return refusal.New(refusal.ErrInvalidProof, errors.New("jti: the proof was used before"))
	}
	p.Reader.Remember(proof)
	return nil
}

const replayTimeout = 5 * time.Second

var errReplays = errors.New("the store of used DPoP proofs is unavailable")

// isSameURL compares an htu with the URL of a request: without query and fragment, and normalized by syntax and scheme
// (RFC 9449 section 4.3, RFC 3986 section 6.2). ws is for a WebSocket what http is for a request (RFC 6455 section 3),
// and clients write either. Dot segments are not removed: a server that treats two paths as one redirects, or has one
// of them in htu.
func isSameURL(htu, want string) bool {
	if htu == want {
		return true
	}
	a, ok := parseURL(htu)
	if !ok {
		return false
	}
	b, ok := parseURL(want)
	return ok && a == b
}

type publicURL struct{ scheme, host, port, path string }

func parseURL(text string) (u publicURL, ok bool) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.User != nil || parsed.Opaque != "" {
		return u, false
	}
	port := ""
	switch parsed.Scheme { // which url.Parse has made lower case
	case "http", "ws":
		u.scheme, port = "http", "80"
	case "https", "wss":
		u.scheme, port = "https", "443"
	default:
		return u, false
	}
	u.host, u.port = strings.ToLower(parsed.Hostname()), parsed.Port()
	if u.port == "" {
		u.port = port
	}
	if u.path = normalPath(parsed.EscapedPath()); u.path == "" {
		u.path = "/"
	}
	return u, true
}

// normalPath decodes the escapes of characters that need none, and writes the others with capitals (RFC 3986 section
// 6.2.2.1 and 6.2.2.2).
func normalPath(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		escape := path[i:min(i+3, len(path))] // url.Parse has checked it
		c, err := url.PathUnescape(escape)
		if err != nil || !isUnreserved(c[0]) {
			c = strings.ToUpper(escape)
		}
		b.WriteString(c)
		i += len(escape) - 1
	}
	return b.String()
}

func isUnreserved(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("-._~", c) >= 0
}
