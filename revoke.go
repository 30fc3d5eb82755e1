package wsauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
	"github.com/wsauth/wsauth/internal/verify"
)

// Revocations says how revocations are remembered, and with whom they are
// shared. The zero value remembers what [Authenticator.Revoke] is told in this
// process.
type Revocations struct {
	// Log is what the servers of a cluster have in common, such as those of the
	// modules cluster/redis and cluster/nats. With it, [Authenticator.Follow]
	// must run: until Follow has read the whole log for the first time, every
	// token gets 503 ([ErrUnavailable]). Default: this process alone.
	Log RevocationLog

	// Keep is the longest life of a token, from iat to exp. A revocation is
	// remembered for that long. So a token that lives longer, or that has no iat,
	// is refused: it could outlive the memory of its revocation. All servers need
	// the same value. Default without a Log: the largest MaxTTL of the issuers,
	// plus Leeway; a token is then refused for its length only if it was issued
	// before something was revoked.
	Keep time.Duration

	// MaxStale is how long tokens are accepted after the last complete read of
	// the log. Then every token gets 503 until the log can be read again; open
	// connections stay. With a short MaxStale, an outage of the log soon becomes
	// an outage of the server. With a long one, a user who was logged out on
	// another server can get in during the outage. Negative: tokens are always
	// accepted. A Log needs a MaxStale: there is no default.
	MaxStale time.Duration
}

// A Revocation says which tokens are revoked: those of a user, those of a
// session, or a single token. Set one of Subject, Session and ID. If all three
// are empty, the whole issuer is meant, and Before must be set.
type Revocation struct {
	Issuer  string // its Name in Options; may be empty if there is only one issuer
	Subject string // sub
	Session string // the claim that Issuer.Session names, by default sid
	ID      string // jti

	// Before revokes only tokens whose iat is not later than Before, in whole
	// seconds, and tokens without iat. So a token that is issued within the same
	// second, by a login right after a logout, is revoked, too. Zero: all tokens
	// are revoked, including those that are issued while the revocation is
	// remembered.
	Before time.Time
}

// A RevocationLog keeps entries for some time, and shows them to every server
// that reads it. It must be safe for concurrent use. It must keep an entry for
// [Revocations].Keep, and some minutes more for clocks that differ.
//
// Whoever can write to the log can log out anybody, and nothing else.
type RevocationLog interface {
	// Append adds entries at the end. It returns nil when the log has them, for
	// readers now and later. Entries may be repeated.
	Append(ctx context.Context, entries ...string) error

	// Read returns entries that come after a cursor, the oldest first, and the
	// cursor behind them. It returns no more than a fixed number at one time; if
	// there are none, it returns none, at once or after it has waited for some.
	// That says that the log has been read to its end. A Read after one that
	// returned entries should not wait. The empty cursor stands for the
	// beginning.
	//
	// A cursor belongs to one log: if the log was lost and began anew, Read
	// returns an error. After an error, the log is read from its beginning.
	Read(ctx context.Context, after string) (entries []string, next string, err error)
}

// Revoke revokes tokens. They are refused from now on, wherever they are
// presented: in a request, in a first message, or to [Renew] or
// [Authenticator.Verify]. Live connections that they opened are closed with
// [StatusUnauthorized] and the reason "token revoked"; the cause of their
// contexts is [ErrRevoked]. Revocations are remembered for [Revocations].Keep
// and cannot be taken back: a user who may return needs a token that was issued
// later than Before, and a user who must stay out needs a check of [Require].
//
// Without a [Revocations].Log, this process alone remembers, until it ends. With
// a log, nil means that the log has the revocations, for all servers that read
// it and for those that start later. [ErrUnavailable] means that they count here
// at once, and that [Authenticator.Follow] goes on trying to append them.
//
// Any other error means that nothing was revoked: a Revocation that names
// nothing or two things, an unknown Issuer, a Before in the time before 1970 or
// later than Keep from now, or an issuer for whose tokens no longest life is
// known ([Revocations].Keep).
func (a *Authenticator) Revoke(ctx context.Context, what ...Revocation) error {
	if a.isZero() {
		return refusal.New(ErrUnavailable, errZero)
	}
	now := time.Now()
	all := make([]revocation.Revocation, len(what))
	for i := range what {
		r, err := a.policy.revocation(&what[i], now)
		if err != nil {
			return fmt.Errorf("wsauth: revocation %d: %w", i, err)
		}
		all[i] = r
	}
	return a.revoke(ctx, all)
}

// revoke counts here first, so that the log, whatever becomes of it, delays no
// end of a connection.
func (a *Authenticator) revoke(ctx context.Context, all []revocation.Revocation) error {
	if len(all) == 0 {
		return nil
	}
	for _, r := range all {
		a.policy.revoked.Add(r)
		a.reportRevoked(ctx, r, a.live.Revoke(r, endingRevoked))
	}
	if err := a.policy.revoked.Append(ctx, all); err != nil {
		return refusal.New(ErrUnavailable, err)
	}
	return nil
}

func (a *Authenticator) reportRevoked(ctx context.Context, r revocation.Revocation, connections int) {
	if a.observe != nil {
		a.observe(ctx, Event{Kind: EventRevoked, Issuer: r.Issuer, Connections: connections})
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "wsauth: revoked", slog.String("issuer", r.Issuer), slog.String("kind", r.Kind.String()),
		slog.Int("connections", connections))
}

var (
	errTwoNames   = errors.New("more than one of Subject, Session and ID")
	errNoName     = errors.New("a whole issuer needs Before")
	errNoIssuer   = errors.New("Issuer: missing, and there is not just one")
	errNotTrusted = errors.New("Issuer: not one of Options.Issuers")
	errNoKeep     = errors.New("Revocations.Keep: missing, and no MaxTTL says how long tokens of the issuer live")
	errBefore     = errors.New("a Before that is not between 1970 and Revocations.Keep from now")
)

// revocation checks what an application revokes.
func (p *policy) revocation(in *Revocation, now time.Time) (revocation.Revocation, error) {
	out := revocation.Revocation{Issuer: in.Issuer, Kind: revocation.Issuer}
	names := 0
	for kind, name := range map[revocation.Kind]string{
		revocation.Subject: in.Subject, revocation.Session: in.Session, revocation.ID: in.ID,
	} {
		if name != "" {
			out.Kind, out.Name = kind, name
			names++
		}
	}
	switch {
	case names > 1:
		return out, errTwoNames
	case names == 0 && in.Before.IsZero():
		return out, errNoName
	case in.Issuer == "" && !p.hasOneIssuer():
		return out, errNoIssuer
	case in.Issuer == "":
		out.Issuer = p.issuers[0].Name
	case !p.trusts(in.Issuer):
		return out, errNotTrusted
	}
	if !p.keeps(out.Issuer) {
		return out, errNoKeep
	}
	if in.Before.IsZero() {
		out.All, out.At = true, now.Unix()
		return out, nil
	}
	out.At = in.Before.Unix()
	if out.At < 1 || in.Before.After(now.Add(p.keep+p.leeway)) {
		return out, errBefore
	}
	return out, nil
}

func (p *policy) hasOneIssuer() bool { return len(p.issuers) == 1 && !p.finds }

// trusts reports whether this is the name of an issuer, or may be one that is still to be found.
func (p *policy) trusts(issuer string) bool {
	return p.finds || slices.ContainsFunc(p.issuers, func(iss verify.Issuer) bool { return iss.Name == issuer })
}

// keeps reports whether it is known how long tokens of the issuer live at most.
func (p *policy) keeps(issuer string) bool {
	return p.strict || slices.ContainsFunc(p.issuers, func(iss verify.Issuer) bool { return iss.Name == issuer && iss.MaxTTL > 0 })
}

// Follow reads the log of [Revocations] until ctx ends, and returns the cause of
// that. Run it in a goroutine of its own, for as long as the server accepts
// requests:
//
//	go auth.Follow(ctx)
//
// It ends the connections whose tokens other servers have revoked, reads the
// whole log after every error and once a minute, and appends to the log what
// this server knows and the log has lost. While the log is away, Follow logs
// that once at Warn, and once at Info when it is back; it returns for no error
// of the log. Follow returns an error at once if there is no log, or if another
// call of Follow is running.
func (a *Authenticator) Follow(ctx context.Context) error {
	if a.isZero() {
		return refusal.New(ErrUnavailable, errZero)
	}
	return a.policy.revoked.Follow(ctx)
}

// A listener hears of the revocation log what concerns an Authenticator.
type listener struct{ *Authenticator }

func (l listener) Learned(all []revocation.Revocation) {
	for _, r := range all {
		if n := l.live.Revoke(r, endingRevoked); n > 0 {
			l.reportRevoked(context.Background(), r, n)
		}
	}
}

func (l listener) LogChanged(err error) {
	ctx := context.Background()
	if err == nil {
		l.log.LogAttrs(ctx, slog.LevelInfo, "wsauth: the revocation log is there again")
		return
	}
	if l.observe != nil {
		l.observe(ctx, Event{Kind: EventLogFailed, Err: refusal.New(ErrUnavailable, err)})
	}
	l.log.LogAttrs(ctx, slog.LevelWarn, "wsauth: the revocation log fails", slog.String("reason", err.Error()))
}

func (l listener) Garbled(err error) {
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "wsauth: the revocation log has something else in it", slog.String("reason", err.Error()))
}

// BackChannelLogout returns a handler for the logout tokens that an OpenID
// provider sends ([OpenID Connect Back-Channel Logout 1.0]). Register its URL
// with the provider as the backchannel_logout_uri of the clients. A logout token
// must be signed by one of [Options].Issuers, with the same keys as its access
// tokens, and be for one of the clients.
//
// A logout token with a sid revokes the tokens of that session, by the claim
// that [Issuer].Session names; one with only a sub revokes the tokens of that
// user. Tokens issued after the logout are accepted, so a logout token that is
// sent again changes nothing. Many providers put no sid into access tokens.
// Then the log record says that a session was revoked and 0 connections ended:
// configure the provider to add sid to access tokens, or to send logout tokens
// without it.
//
// The handler answers a POST with 200; with 400 if the logout token is refused;
// and with 503 if keys or the log are unavailable, so that the provider tries
// again.
//
// BackChannelLogout panics if clientIDs is empty or has an empty string, or if
// nothing can be revoked because neither [Revocations].Keep nor a MaxTTL is set.
//
// [OpenID Connect Back-Channel Logout 1.0]: https://openid.net/specs/openid-connect-backchannel-1_0.html
func (a *Authenticator) BackChannelLogout(clientIDs ...string) http.Handler {
	if len(clientIDs) == 0 || slices.Contains(clientIDs, "") {
		panic("wsauth: BackChannelLogout without the IDs of clients")
	}
	a.mustRevoke("BackChannelLogout")
	clients := slices.Clone(clientIDs)
	return a.receiver("logout", func(w http.ResponseWriter, r *http.Request) (refusal.Trail, error) {
		token, err := credential.LogoutToken(w, r, a.policy.verifier.MaxLength())
		if err != nil {
			return refusal.Trail{}, err
		}
		e, trail, err := a.policy.verifier.Logout(r.Context(), token, clients)
		if err != nil {
			return trail, err
		}
		what := Revocation{Issuer: trail.Issuer, Session: e.Text("sid"), Before: e.IssuedAt}
		if what.Session == "" {
			what.Subject = e.Subject
		}
		return trail, a.Revoke(r.Context(), what)
	}, respondToLogout)
}

// A Transmitter sends security events to [Authenticator.SecurityEvents]. It may
// revoke the tokens of one issuer and nothing else, and no token of its own is
// accepted anywhere else.
type Transmitter struct {
	// Name must equal the iss of its Security Event Tokens.
	Name string

	// Audience: the aud of its tokens must contain one of these.
	Audience []string

	// Keys verify its tokens. A JWKS with neither URL nor DiscoveryURL is found
	// by OpenID discovery from Name; for a transmitter that publishes only the
	// document of the Shared Signals Framework, set DiscoveryURL to it:
	// https://…/.well-known/ssf-configuration.
	Keys Keys

	// Issuer is the Name of the issuer in [Options] whose tokens it may revoke.
	// It may be empty if there is only one.
	Issuer string

	// Authorization is what the Authorization header of each request must be, as
	// agreed with the transmitter: "Bearer …". Default: the header is ignored.
	Authorization string

	// Map returns what an event revokes, for transmitters that name users in
	// another way than the sub of your tokens, such as by an email address. event
	// is the URI of its type, and subject what it is about, a JSON object: sub_id,
	// or the subject of the event itself; nil if there is neither. A Revocation
	// without Issuer is one of the transmitter's Issuer; another Issuer is an
	// error. Without Before, it has the time of the event. For an error, the
	// transmitter gets 503 and tries again. Default: see SecurityEvents.
	Map func(ctx context.Context, event string, subject json.RawMessage) ([]Revocation, error)
}

// SecurityEvents returns a handler for the security events that a transmitter of
// the [Shared Signals Framework] pushes ([RFC 8935]), with the events of CAEP and
// RISC. These revoke all tokens that the user has at the time of the event:
//
//   - session-revoked, credential-change (CAEP);
//   - account-disabled, account-purged, sessions-revoked (RISC);
//   - tokens-revoked (Google).
//
// All others are acknowledged and change nothing, such as token-claims-change
// and the event of a verification.
//
// The user is the sub of a subject of the format iss_sub whose iss is the
// issuer's Name, apart from a final slash, or the id of an opaque subject. Of a
// complex subject, the user counts, and the session only if there is no user:
// its session need not be the one of your tokens. For session-revoked, an opaque
// subject may be a user or a session, and stands for both. Of aliases, each
// counts. A subject of the format jwt_id names one token. An event about anything
// else is acknowledged, logged with 0 connections, and revokes nothing, unless
// Map knows better.
//
// The handler answers a POST with 202; with 400 and a JSON body as RFC 8935
// defines it if the token is refused; and with 503 if keys or the log are
// unavailable, so that the transmitter tries again.
//
// SecurityEvents panics if from lacks Name, Audience or Keys, if its Keys have a
// fault, if its Issuer is none of [Options], or if nothing can be revoked because
// neither [Revocations].Keep nor a MaxTTL is set.
//
// [Shared Signals Framework]: https://openid.net/specs/openid-sharedsignals-framework-1_0.html
// [RFC 8935]: https://www.rfc-editor.org/rfc/rfc8935
func (a *Authenticator) SecurityEvents(from Transmitter) http.Handler {
	a.mustRevoke("SecurityEvents")
	sender := a.transmitter(&from)
	return a.receiver("event", func(w http.ResponseWriter, r *http.Request) (refusal.Trail, error) {
		token, err := credential.EventToken(w, r, from.Authorization, a.policy.verifier.MaxLength())
		if err != nil {
			return refusal.Trail{Issuer: from.Name}, err
		}
		e, trail, err := a.policy.verifier.SecurityEvent(r.Context(), token, sender)
		if err != nil {
			return trail, err
		}
		all, err := from.revocations(r.Context(), a.policy, e)
		if err != nil {
			return trail, err
		}
		a.log.LogAttrs(r.Context(), slog.LevelInfo, "wsauth: security event", slog.String("transmitter", from.Name),
			slog.Int("events", len(e.All)), slog.Int("revocations", len(all)))
		return trail, a.revoke(r.Context(), all)
	}, respondToEvent)
}

// mustRevoke panics where a handler could do nothing.
func (a *Authenticator) mustRevoke(handler string) {
	if !a.isZero() && a.policy.revoked == nil {
		panic("wsauth: " + handler + " needs Options.Revocations.Keep, or a MaxTTL of the issuer")
	}
}

// receiver returns a handler for what a provider sends. accept reads a request, acts on it, and says whose it was.
func (a *Authenticator) receiver(source string, accept func(http.ResponseWriter, *http.Request) (refusal.Trail, error),
	respond func(http.ResponseWriter, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if a.isZero() {
			respond(w, refusal.New(ErrUnavailable, errZero))
			return
		}
		trail, err := accept(w, r)
		if err != nil {
			trail.Source = source
			var refused *refusal.Error
			if !errors.As(err, &refused) {
				refused = &refusal.Error{Kind: ErrUnavailable, Cause: err, Checked: true} // what Map said, or a fault of the options
			}
			a.reportRefusal(r.Context(), trail.On(refused))
		}
		respond(w, err)
	})
}

// pushStatus is the status that tells a provider whether to try again.
func pushStatus(w http.ResponseWriter, err error) int {
	if errors.Is(err, ErrMalformedRequest) || errors.Is(err, ErrInvalidToken) {
		return http.StatusBadRequest
	}
	w.Header().Set("Retry-After", "2")
	return http.StatusServiceUnavailable
}

// respondToLogout writes the response of OpenID Connect Back-Channel Logout 1.0 section 2.8.
func respondToLogout(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	status := pushStatus(w, err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, `{"error":"invalid_request","error_description":"`+pushText(status, "logout token")+`"}`+"\n")
}

// respondToEvent writes the response of RFC 8935 sections 2.2 to 2.4.
func respondToEvent(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	status, code := pushStatus(w, err), "invalid_request"
	var event *refusal.EventError
	if errors.As(err, &event) {
		code = event.Code
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(status)
	io.WriteString(w, `{"err":"`+code+`","description":"`+pushText(status, "security event token")+`"}`+"\n")
}

func pushText(status int, what string) string {
	if status == http.StatusServiceUnavailable {
		return "not available now"
	}
	return "the " + what + " was refused"
}

// transmitter checks a Transmitter, and returns what verifies its tokens.
func (a *Authenticator) transmitter(from *Transmitter) *verify.Issuer {
	if a.isZero() {
		return nil // every event is refused
	}
	switch {
	case from.Name == "":
		panic("wsauth: a Transmitter without Name")
	case len(from.Audience) == 0 || slices.Contains(from.Audience, ""):
		panic("wsauth: a Transmitter without Audience")
	case isNilKeys(from.Keys):
		panic("wsauth: a Transmitter without Keys")
	case from.Issuer == "" && !a.policy.hasOneIssuer():
		panic("wsauth: a Transmitter without Issuer, and there is not just one")
	case from.Issuer == "":
		from.Issuer = a.policy.issuers[0].Name
	case !a.policy.trusts(from.Issuer):
		panic("wsauth: a Transmitter whose Issuer is not one of Options.Issuers")
	}
	source, algs, err := from.Keys.source(setting{from.Name, jose.AllAlgs, a.log, a.observe})
	if err != nil {
		panic("wsauth: the Keys of a Transmitter: " + err.Error())
	}
	return &verify.Issuer{Name: from.Name, Audience: slices.Clone(from.Audience), Keys: source, Algs: algs}
}

var errForeign = errors.New("Transmitter.Map: a revocation of another issuer's tokens")

// revocations returns what the events of a verified token revoke.
func (from *Transmitter) revocations(ctx context.Context, p *policy, e *jose.Event) (all []revocation.Revocation, err error) {
	for _, incident := range verify.Incidents(e) {
		if from.Map == nil {
			all = append(all, incident.Names(from.Issuer)...)
			continue
		}
		var subject json.RawMessage
		if incident.Subject != "" {
			subject = json.RawMessage(incident.Subject)
		}
		mapped, err := from.Map(ctx, incident.Type, subject)
		if err != nil {
			return nil, err
		}
		for _, what := range mapped {
			what.Issuer = cmp.Or(what.Issuer, from.Issuer)
			if what.Issuer != from.Issuer {
				return nil, errForeign
			}
			if what.Before.IsZero() {
				what.Before = incident.At
			}
			r, err := p.revocation(&what, time.Now())
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	return all, nil
}
