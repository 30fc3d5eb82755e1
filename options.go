package wsauth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/origin"
	"github.com/wsauth/wsauth/internal/revocation"
	"github.com/wsauth/wsauth/internal/verify"
)

// Options is the whole policy of an [Authenticator]. The zero value of a field
// means its default. [New] reports every fault in it.
type Options struct {
	// Issuers says who may sign tokens. At least one is needed, unless
	// FindIssuer is set. A token is verified by the issuer whose Name equals
	// the token's iss, and by no other issuer.
	Issuers []Issuer

	// FindIssuer finds an issuer that New cannot know, such as a tenant's, or
	// one that was added while the server runs. It is called with the iss of a
	// token if no entry of Issuers has that Name. Nobody has verified this iss:
	// look it up in a list of your own. Do not build a URL from it, or whoever
	// sends tokens can make your server send requests (SSRF).
	//
	// The issuer that FindIssuer returns is checked as New checks Issuers, and
	// its Name must be that iss. Up to 1,024 issuers are kept. After 5 minutes
	// FindIssuer is called again, in the background; while it fails, the issuer
	// is used for up to an hour. An error that is [ErrInvalidToken] means that
	// there is no such issuer; any other error is an outage (503). ctx ends
	// after 5 seconds. However many tokens of unknown issuers come, FindIssuer
	// is called at most 20 times a second after a burst of up to 100, and at
	// most 64 calls run at one time; further tokens of unknown issuers get 503.
	FindIssuer func(ctx context.Context, iss string) (Issuer, error)

	// Extractors says where a request may carry its token. They replace the
	// default, so name every place. Default: FromHeader(),
	// FromQuery("access_token"), FromCookie("access_token").
	Extractors []Extractor

	// Origins are the origins, in addition to the server's own, that may open
	// WebSockets and send requests with a cookie. An origin is a scheme and a
	// host, with the port if it is not the default: "https://app.example.com".
	// A leading "*." stands for one or more labels, but not for none:
	// "https://*.example.com". Any scheme is allowed, for clients that are not
	// pages: "app://.", "file://". "*" is any host or any port:
	// "moz-extension://*", "http://localhost:*".
	//
	// A pattern that anybody can match, such as those with "*" for a host or
	// port, or "https://*.github.io", counts for explicit tokens but never for
	// a cookie. If cookies are among Extractors, New logs such a pattern at
	// Warn.
	Origins []string

	// AllowOrigin decides about the origin of a WebSocket handshake that is
	// neither the server's own nor one of Origins, such as a customer's domain
	// that is known only at run time, or a browser extension. origin is the
	// Origin header as the client sent it, even "null". A header that is
	// repeated or has more than one origin is refused without a call. The URL
	// of r shows no token.
	//
	// AllowOrigin counts only for tokens that the client has put there on
	// purpose. A browser sends the tokens of [FromCookie], [FromCookieFunc] and
	// [FromProxy] from any page, so for these an origin must be one of Origins.
	// [Authenticator.Upgrade] calls AllowOrigin before it verifies the token,
	// so anybody can cause a call. Default: no other origin is allowed.
	AllowOrigin func(r *http.Request, origin string) bool

	// Leeway is the clock skew allowed for exp, nbf and iat. A token expires at
	// exp + Leeway, for a request and for a connection alike. Default (0): 30
	// s. Negative: none.
	Leeway time.Duration

	// CacheSize is how many verified tokens are remembered, at about 1.5 KB
	// each. When a token is seen again, its signature and whatever cannot have
	// changed are not checked again; its times, whether it is revoked and
	// whether its key still belongs to the issuer are checked every time.
	// Tokens whose key comes from a [KeyFunc] are not remembered. Default:
	// none.
	//
	// Set it to two to four times the number of tokens in use: 96 to 99 % of
	// them are then found, and 80 % if CacheSize is only that number. It pays
	// for RS*, PS*, ES* and EdDSA, whose signatures take 20 to 100 µs to check.
	// With HS* and a hundred tokens in use, finding a token takes a third of
	// the time of a check; with 10,000, which no longer fit into the
	// processor's caches, it takes three quarters.
	CacheSize int

	// MaxTokenLength is how many bytes a token may have, up to 65536. A longer
	// token is refused before it is read. A proxy in front may need larger
	// buffers, too. Default (0): 8192.
	MaxTokenLength int

	// Revocations says how long revoked tokens are remembered, and with which
	// other servers they are shared. [Authenticator.Revoke] revokes tokens.
	Revocations Revocations

	// ClientCertificate returns the certificate that the client has shown to a
	// proxy in front of this server, or nil if the client has shown none. Set it
	// if the proxy ends TLS and passes the certificate on in a header. It is
	// called for tokens that are bound to a certificate (cnf.x5t#S256, RFC
	// 8705), and for handshakes that bring no token yet
	// ([UpgradeOptions.FirstMessage]). If it returns an error, a token that is
	// bound to a certificate is refused. The certificate must be that of the
	// client's TLS handshake with the proxy, which proves that the client has
	// the private key. The proxy must remove the header if a client sends it.
	// Default: the certificate of the request's own TLS connection.
	ClientCertificate func(r *http.Request) (*x509.Certificate, error)

	// DPoP accepts tokens that are bound to a key of the client (cnf.jkt), each
	// with a proof that is signed with the key. Default (nil): such tokens are
	// refused.
	DPoP *DPoP

	// Realm is the realm of WWW-Authenticate (RFC 9110 section 11.5). Default: "wsauth".
	Realm string

	// OnRefuse writes the response to every refused request. It must write a
	// response. The request's URL no longer contains the token, unless a
	// [FromFunc] extractor found it there. Default: [Authenticator.Refuse].
	OnRefuse func(w http.ResponseWriter, r *http.Request, err error)

	// Logger gets one record for each refusal, at level Info, or Warn for
	// ErrUnavailable. The attributes are reason, source, issuer and kid; those
	// not known are left out. For a foreign origin, the reason includes Origin
	// and Host. Each connection that ends is logged at Info, with issuer, code,
	// cause and duration, and each success at Debug. The logger's handler gets
	// the context of the request or connection. No token is ever logged, and no
	// other claim. Default: nothing is logged.
	Logger *slog.Logger

	// Observe is called synchronously for each event, for metrics and traces.
	// It must be fast and safe for concurrent use. ctx is the context of the
	// request or connection. A fetch of keys has a context of its own, and a
	// panic of Observe there ends the process. Default: no calls.
	Observe func(ctx context.Context, e Event)
}

// An Issuer says whose tokens are accepted, for whom, and with which keys. A
// key of one issuer never verifies a token of another.
type Issuer struct {
	// Name must equal the token's iss exactly, including a final slash. An
	// empty Name accepts any iss and none; this is allowed only for a single
	// issuer, with HMAC keys or AnyIssuer.
	Name string

	// AnyIssuer accepts any iss and none. It is allowed only for a single
	// issuer with an empty Name. Use it for public keys whose owner puts no iss
	// into its tokens (Laravel Passport, Symfony's Lexik bundle, SPIFFE): then
	// the keys alone say who signed a token.
	AnyIssuer bool

	// Audience: the token's aud must contain one of these (RFC 7519 section
	// 4.1.3). If Audience is empty, a token that names an audience is refused,
	// because it is meant for somebody else. An issuer with public keys signs
	// for many audiences, so it must have Audience, ClientIDs or AnyAudience
	// set.
	Audience []string

	// ClientIDs are for issuers whose access tokens have client_id in place of
	// aud, such as Amazon Cognito: a token without aud must have one of these
	// as its client_id. For a token with aud, only Audience counts.
	ClientIDs []string

	// Keys verify the signature: [HMAC], [JWKS], [KeySet], [PublicKeys],
	// [PublicKeysPEM], [KeyFunc], or several of these combined by [AnyOf].
	Keys Keys

	// Algorithms restricts the algorithms, by their names in RFC 7518 and
	// "EdDSA" (or "Ed25519"). Default: all that fit the keys.
	Algorithms []string

	// AnyAudience accepts a token whatever its aud says, so a token meant for
	// any other service of the issuer gets in.
	AnyAudience bool

	// Type is the typ that tokens must have, for example "at+jwt" (RFC 9068).
	// Letter case and a leading "application/" do not matter. Default: JWT,
	// at+jwt or none.
	Type string

	// MaxTTL refuses tokens that expire later than this from now, without
	// leeway. Default: no bound, except the year 9999.
	MaxTTL time.Duration

	// Session is the claim that names the session of a token, a string or an
	// integer, so that [Revocation].Session can revoke it: origin_jti for
	// Amazon Cognito, session_id for Supabase. Default: sid.
	Session string
}

// An OptionError is one fault in [Options]. [New] returns all faults, joined;
// [errors.As] finds the first.
type OptionError struct {
	Field  string // the path of the field, e.g. Issuers[0].Keys
	Reason string
}

// Error returns the field and the reason. It contains no secret.
func (e *OptionError) Error() string { return "wsauth: " + e.Field + ": " + e.Reason }

// policy is Options without faults, with the defaults filled in.
type policy struct {
	verifier *verify.Verifier
	issuers  []verify.Issuer
	finds    bool            // there is a FindIssuer
	revoked  *revocation.Set // nil: nothing can be revoked, since nobody knows how long tokens live
	strict   bool            // Keep is set
	keep     time.Duration
	leeway   time.Duration
	places   []credential.Place
	origins  credential.Origins
	realm    string         // with quotes
	tickets  TicketStore    // nil: there are no tickets
	proofs   *verify.Proofs // nil: DPoP is off

	clientCertificate func(*http.Request) (*x509.Certificate, error) // nil: the request's own
}

// checker collects the faults of Options.
type checker struct{ faults []error }

func (c *checker) fault(field, format string, args ...any) {
	c.faults = append(c.faults, &OptionError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

func (o *Options) check() (*policy, error) {
	c, p := new(checker), new(policy)
	leeway := max(o.Leeway, 0)
	if o.Leeway == 0 {
		leeway = 30 * time.Second
	}
	if len(o.Issuers) == 0 && o.FindIssuer == nil {
		c.fault("Issuers", "at least one is needed, or FindIssuer")
	}
	issuers := make([]verify.Issuer, 0, len(o.Issuers))
	first := make(map[string]int, len(o.Issuers)) // the first issuer of each name
	for i := range o.Issuers {
		field := fmt.Sprintf("Issuers[%d]", i)
		issuers = append(issuers, c.issuer(field, &o.Issuers[i], o))
		c.name(field, o, i, first)
	}
	p.places, p.tickets = c.places(o.Extractors)
	p.proofs, p.clientCertificate = c.proofs(o.DPoP, &p.places), o.ClientCertificate
	p.origins = credential.Origins{Listed: c.origins(o.Origins), Allow: hidingTokens(o.AllowOrigin, p.places)}
	if o.CacheSize < 0 || o.CacheSize > maxCacheSize {
		c.fault("CacheSize", "negative, or more than %d", maxCacheSize)
	}
	if o.MaxTokenLength < 0 || o.MaxTokenLength > jose.LargestMaxLength {
		c.fault("MaxTokenLength", "negative, or more than %d", jose.LargestMaxLength)
	}
	c.revocations(&o.Revocations, leeway)
	p.realm = c.realm(o.Realm)
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	p.issuers, p.finds = issuers, o.FindIssuer != nil
	p.keepRevocations(&o.Revocations, leeway)
	p.verifier = verify.New(verify.Config{
		Issuers: issuers, Find: o.find(), Leeway: leeway, CacheSize: o.CacheSize, MaxLength: o.MaxTokenLength,
		Revoked: p.revoked,
	})
	return p, nil
}

// maxLeewayWithLog is what the logs of cluster/redis and cluster/nats have room
// for.
const maxLeewayWithLog = 3 * time.Minute

func (c *checker) revocations(r *Revocations, leeway time.Duration) {
	if r.Keep < 0 {
		c.fault("Revocations.Keep", "negative")
	}
	if r.Log == nil {
		if r.MaxStale != 0 {
			c.fault("Revocations.MaxStale", "needs a Log")
		}
		return
	}
	if isNil(r.Log) {
		c.fault("Revocations.Log", "a nil pointer")
	}
	if leeway > maxLeewayWithLog { // a revocation counts for Keep + 3 × Leeway
		c.fault("Leeway", "more than 3 minutes, and a Log keeps entries for Keep and ten minutes")
	}
	if r.Keep == 0 {
		c.fault("Revocations.Keep", "missing, and a Log needs it: the longest life of a token")
	}
	if r.MaxStale == 0 {
		c.fault("Revocations.MaxStale", "missing, and a Log needs it: how long tokens are accepted while the log is away. "+
			"Until then, a user who was logged out on another server can come back; after it, every token gets 503. Negative: for ever")
	}
}

// keepRevocations prepares what is needed to revoke, if it is known how long tokens live.
func (p *policy) keepRevocations(r *Revocations, leeway time.Duration) {
	p.strict, p.keep, p.leeway = r.Keep > 0, r.Keep, leeway
	if !p.strict {
		for _, iss := range p.issuers {
			if iss.MaxTTL > 0 {
				p.keep = max(p.keep, min(iss.MaxTTL, math.MaxInt64-leeway)+leeway)
			}
		}
	}
	if p.keep == 0 {
		return
	}
	cfg := revocation.Config{Keep: p.keep, Strict: p.strict, Leeway: leeway, MaxStale: r.MaxStale}
	if r.Log != nil {
		cfg.Log = r.Log
	}
	p.revoked = revocation.New(cfg)
}

const maxCacheSize = 1 << 24

// name checks that each token can belong to one issuer at most.
func (c *checker) name(issuer string, o *Options, i int, first map[string]int) {
	in, field := &o.Issuers[i], issuer+".Name"
	if in.Name == "" {
		if len(o.Issuers) > 1 || o.FindIssuer != nil {
			c.fault(field, "empty: an issuer without a name must be the only one, and accepts any iss")
		} else if _, ok := in.Keys.(hmacKeys); !ok && in.Keys != nil && !in.AnyIssuer {
			c.fault(field, "empty: the iss that tokens must have; set AnyIssuer where they have none, or any will do")
		}
		return
	}
	if in.AnyIssuer {
		c.fault(issuer+".AnyIssuer", "contradicts Name")
	}
	if j, known := first[in.Name]; known {
		c.fault(field, "the same as that of Issuers[%d]; for tokens of one iss with several kinds of keys, use AnyOf", j)
		return
	}
	first[in.Name] = i
}

// find returns a lookup for issuers, which reports the faults in an issuer that
// New would have reported.
func (o *Options) find() verify.Find {
	if o.FindIssuer == nil {
		return nil
	}
	opts := *o
	return func(ctx context.Context, iss string, before *verify.Issuer) (*verify.Issuer, error) {
		in, err := opts.FindIssuer(ctx, iss)
		if err != nil {
			return nil, err
		}
		c := new(checker)
		if in.Name != iss {
			c.fault("FindIssuer", "it has returned an Issuer whose Name is not the iss that was asked for")
		}
		if in.AnyIssuer {
			c.fault("FindIssuer", "it has returned an Issuer with AnyIssuer")
		}
		out := c.issuer("FindIssuer", &in, &opts)
		if len(c.faults) > 0 {
			return nil, errors.Join(c.faults...)
		}
		if set, ok := in.Keys.(JWKS); ok && before != nil && before.Source == any(set) {
			out.Keys = before.Keys // including the keys that were fetched
		}
		return &out, nil
	}
}

func (c *checker) issuer(field string, in *Issuer, o *Options) verify.Issuer {
	out := verify.Issuer{
		Name: in.Name, Audience: slices.Clone(in.Audience), ClientIDs: slices.Clone(in.ClientIDs),
		AnyAudience: in.AnyAudience, Type: jose.MediaType(in.Type), MaxTTL: in.MaxTTL,
		Session: cmp.Or(in.Session, "sid"),
	}
	narrow := c.algorithms(field+".Algorithms", in.Algorithms)
	if isNilKeys(in.Keys) {
		c.fault(field+".Keys", "missing")
	} else if source, algs, err := in.Keys.source(setting{in.Name, narrow, o.Logger, o.Observe}); err != nil {
		for _, fault := range unjoin(err) {
			c.fault(field+".Keys", "%v", fault)
		}
	} else {
		out.Keys, out.Source, out.Algs = source, in.Keys, algs&narrow
		out.Lasting = !asks(in.Keys)
		c.fit(field, in, algs, narrow)
		public, anybody := out.Algs&^jose.HMACAlgs != 0, len(in.Audience)+len(in.ClientIDs) == 0
		if public && anybody && !in.AnyAudience {
			c.fault(field+".Audience", "missing: public keys sign for many audiences; name yours, or set AnyAudience")
		}
	}
	c.notEmpty(field+".Audience", in.Audience)
	c.notEmpty(field+".ClientIDs", in.ClientIDs)
	if in.AnyAudience && len(in.Audience)+len(in.ClientIDs) > 0 {
		c.fault(field+".AnyAudience", "contradicts Audience and ClientIDs")
	}
	if in.MaxTTL < 0 {
		c.fault(field+".MaxTTL", "negative")
	}
	return out
}

// unjoin is the reverse of errors.Join.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (c *checker) notEmpty(field string, values []string) {
	for i, v := range values {
		if v == "" {
			c.fault(fmt.Sprintf("%s[%d]", field, i), "empty")
		}
	}
}

func (c *checker) algorithms(field string, names []string) jose.Algs {
	if len(names) == 0 {
		return jose.AllAlgs
	}
	var algs jose.Algs
	for i, name := range names {
		alg, ok := jose.ParseAlg(name)
		if !ok {
			c.fault(fmt.Sprintf("%s[%d]", field, i), "%q is not supported; names are case-sensitive, as RS256 or EdDSA", name)
			algs = jose.AllAlgs
			continue
		}
		algs = algs.With(alg)
	}
	return algs
}

// fit checks that the algorithms fit the keys. HS* together with public keys
// would allow a public key to be used as a secret.
func (c *checker) fit(field string, in *Issuer, algs, narrow jose.Algs) {
	if len(in.Algorithms) == 0 {
		return
	}
	for _, name := range in.Algorithms {
		if _, ok := jose.ParseAlg(name); !ok {
			return
		}
	}
	switch hmac := jose.HMACAlgs; {
	case algs&narrow == 0:
		c.fault(field+".Algorithms", "none fits the keys")
	case algs&hmac == 0 && narrow&hmac != 0:
		c.fault(field+".Algorithms", "HMAC algorithms beside public keys")
	case algs&^hmac == 0 && narrow&^hmac != 0:
		c.fault(field+".Algorithms", "public-key algorithms beside HMAC secrets")
	}
}

// places also returns the store of tickets, or nil.
func (c *checker) places(in []Extractor) (out []credential.Place, tickets TicketStore) {
	if len(in) == 0 {
		in = []Extractor{FromHeader(), FromQuery("access_token"), FromCookie("access_token")}
	}
	for i, x := range in {
		field := fmt.Sprintf("Extractors[%d]", i)
		if reason := x.place.Fault(); reason != "" {
			c.fault(field, "%s", reason)
		}
		if j := slices.IndexFunc(out, x.place.Is); j >= 0 {
			c.fault(field, "the same as Extractors[%d]", j)
		} else if j := slices.IndexFunc(out, x.place.Overlaps); j >= 0 {
			c.fault(field, "a subprotocol of Extractors[%d] could be taken for one of these", j)
		}
		if x.tickets != nil {
			if tickets != nil {
				c.fault(field, "a second FromTicket")
			}
			if isNil(x.tickets) {
				c.fault(field, "FromTicket with a store that is a nil pointer")
			}
			tickets = x.tickets
		}
		out = append(out, x.place)
	}
	return out, tickets
}

func (c *checker) origins(in []string) (out []origin.Pattern) {
	for i, text := range in {
		parsed, err := origin.ParsePattern(text)
		if err != nil {
			c.fault(fmt.Sprintf("Origins[%d]", i), "%v", err)
		}
		out = append(out, parsed)
	}
	return out
}

// hidingTokens makes allow see a request that no longer shows its token: allow
// may log the URL of what it refuses.
func hidingTokens(allow func(*http.Request, string) bool, places []credential.Place) func(*http.Request, string) bool {
	if allow == nil {
		return nil
	}
	return func(r *http.Request, origin string) bool {
		r = r.WithContext(r.Context())
		credential.Hide(r, places)
		return allow(r, origin)
	}
}

func (c *checker) realm(realm string) string {
	if realm == "" {
		realm = "wsauth"
	}
	for _, b := range []byte(realm) {
		if b < 0x20 || b == 0x7f {
			c.fault("Realm", "has a control character")
			break
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`
}
