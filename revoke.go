package wsauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/push"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
	"github.com/wsauth/wsauth/internal/verify"
)

// Revocations says how revocations are remembered, and with which servers they
// are shared. The zero value remembers what this process revokes
// ([Authenticator.Revoke]).
type Revocations struct {
	// Log is what the servers of a cluster have in common, such as those of the
	// modules cluster/redis and cluster/nats. With it, [Authenticator.Follow]
	// must run: until Follow has read the whole log for the first time, every
	// token gets 503 ([ErrUnavailable]). Default: this process alone.
	Log RevocationLog

	// Keep is the longest life of a token, from iat to exp. A revocation is
	// remembered for that long. So a token that lives longer, or that has no
	// iat, is refused: it could outlive the memory of its revocation. All
	// servers need the same value. Default without a Log: the largest MaxTTL of
	// the issuers, plus Leeway; a token is then refused for its long life only
	// if it was issued before something was revoked, and tokens without iat are
	// accepted.
	Keep time.Duration

	// MaxStale is how long tokens are accepted after the last complete read of
	// the log. After that, every token gets 503 until the log can be read
	// again; open connections stay. With a short MaxStale, an outage of the log
	// soon becomes an outage of the server. With a long one, a user who was
	// logged out on another server can get in during the outage. Negative:
	// tokens are always accepted. A Log needs a MaxStale: there is no default.
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
// Whoever can write to the log can log out anybody, and can keep revocations
// from other servers.
type RevocationLog interface {
	// Append adds entries at the end. It returns nil when the log has them, for
	// readers now and later. Entries may be repeated.
	Append(ctx context.Context, entries ...string) error

	// Read returns entries that come after a cursor, the oldest first, and the
	// cursor behind them. It returns at most a fixed number at one time, and
	// fewer only if the log ends there. If there are no more entries, it
	// returns none, either at once or after waiting for some; that means that
	// the log has been read to its end. A Read after one that returned entries
	// should not wait. The empty cursor stands for the beginning.
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
// nothing or two things, an unknown Issuer, a Before earlier than 1970 or later
// than Keep from now, or an issuer whose tokens have no known longest life
// ([Revocations].Keep).
func (a *Authenticator) Revoke(ctx context.Context, what ...Revocation) error {
	if a.isZero() {
		return refusalOfZero()
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
	}
	for _, r := range all {
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
	out := revocation.Revocation{Kind: revocation.Issuer}
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
	}
	var err error
	if out.Issuer, err = p.nameOf(in.Issuer); err != nil {
		return out, err
	}
	if !p.keeps(out.Issuer) {
		return out, errNoKeep
	}
	if in.Before.IsZero() {
		out.All, out.At = true, now.Unix()
		return out, nil
	}
	out.At = in.Before.Unix()
	if out.At < 1 || in.Before.After(now.Add(p.keep).Add(p.leeway)) {
		return out, errBefore
	}
	return out, nil
}

// nameOf returns the name of an issuer whose tokens can be revoked. An empty name is that of the only issuer.
func (p *policy) nameOf(issuer string) (string, error) {
	switch {
	case issuer == "" && !p.hasOneIssuer():
		return "", errNoIssuer
	case issuer == "":
		return p.issuers[0].Name, nil
	case !p.trusts(issuer):
		return "", errNotTrusted
	}
	return issuer, nil
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

// Follow reads the log of [Revocations] until ctx ends, and returns the cause.
// Run it in a goroutine of its own, for as long as the server accepts requests:
//
//	go auth.Follow(ctx)
//
// It ends the connections whose tokens other servers have revoked, reads the
// whole log after every error and once a minute, and appends whatever this
// server knows and the log has lost. When the log becomes unavailable, Follow
// logs that once at Warn, and once at Info when it is back; no error of the log
// makes Follow return. Follow returns an error at once if there is no log, or
// if another call of Follow is running.
func (a *Authenticator) Follow(ctx context.Context) error {
	if a.isZero() {
		return refusalOfZero()
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
// provider sends to its clients when a user logs out ([OpenID Connect
// Back-Channel Logout 1.0]). Its URL is the client's
// backchannel_logout_uri:
//
//	mux.Handle("POST /logout", auth.BackChannelLogout("my-client"))
//
// The token's aud must contain one of clientIDs. The token's iss must be the
// Name of one of the Options' issuers, or of one that FindIssuer finds, and the
// signature is verified with that issuer's keys and Algorithms.
//
// A logout token with a sid revokes the tokens whose session ([Issuer].Session,
// by default their own sid) has this value, even if the logout token also has a
// sub: other sessions of the user stay. A logout token with only a sub revokes
// all tokens of the user. Only tokens that were issued at or before the iat of
// the logout token are revoked, so the user can log in again, and a logout
// token that comes twice does no harm. Everything else works as in
// [Authenticator.Revoke].
//
// Many providers put no sid into access tokens. Then a logout token with a sid
// revokes nothing: the record "wsauth: revoked" says kind=session and
// connections=0. Make the provider put the sid into access tokens, or make it
// send logout tokens without sid (backchannel_logout_session_required false).
//
// The handler answers 200; 400 if the token is not a valid logout token; and
// 503 if the issuer's keys or the log of [Revocations] are unavailable, so that
// the provider tries again. An access token is not accepted as a logout token,
// nor a logout token as an access token.
//
// BackChannelLogout panics if there are no clientIDs or an empty one, and if
// there is no issuer whose tokens have a known longest life
// ([Revocations].Keep).
//
// [OpenID Connect Back-Channel Logout 1.0]: https://openid.net/specs/openid-connect-backchannel-1_0.html
func (a *Authenticator) BackChannelLogout(clientIDs ...string) http.Handler {
	if len(clientIDs) == 0 || slices.Contains(clientIDs, "") {
		panic("wsauth: BackChannelLogout without a client ID, or with an empty one")
	}
	if !a.isZero() && a.policy.revoked == nil {
		panic("wsauth: BackChannelLogout without Revocations.Keep, and no issuer has a MaxTTL")
	}
	clientIDs = slices.Clone(clientIDs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !push.IsPost(w, r) {
			return
		}
		if err := a.logout(w, r, clientIDs); err != nil {
			a.reportRefusal(r.Context(), refusal.Trail{Source: "logout"}.On(err))
			push.Logout.Refuse(w, Status(err) == http.StatusServiceUnavailable, "invalid_request", refusal.ResponseTo(err).Text)
		}
	})
}

func (a *Authenticator) logout(w http.ResponseWriter, r *http.Request, clientIDs []string) error {
	if a.isZero() {
		return refusalOfZero()
	}
	token, err := push.LogoutToken(w, r, a.policy.verifier.MaxLength())
	if err != nil {
		return refusal.New(ErrMalformedRequest, err)
	}
	what, err := a.policy.verifier.Logout(r.Context(), token, clientIDs)
	if err != nil {
		return err
	}
	if !a.policy.keeps(what.Issuer) {
		return refusal.Trail{Issuer: what.Issuer}.On(refusal.New(ErrUnavailable, errNoKeep))
	}
	return a.revoke(r.Context(), []revocation.Revocation{what})
}

// A Transmitter sends security events (Shared Signals Framework): an identity
// provider, or a service that watches devices. It may revoke tokens of one
// issuer, but tokens that it signs let nobody in.
type Transmitter struct {
	// Name must equal the iss of its security event tokens exactly. It often
	// differs from the issuer's, even at the same provider:
	// https://accounts.google.com/ for Google, whose tokens have no final
	// slash.
	Name string

	// Audience: the aud of its tokens must contain one of these. It is what the
	// stream was registered with.
	Audience []string

	// Keys verify the signature, as for an [Issuer]. JWKS{} finds the key set by
	// the transmitter's SSF configuration, which it publishes below its Name at
	// /.well-known/ssf-configuration. Set URL if it publishes none, or
	// DiscoveryURL if it is elsewhere, such as Google's
	// https://accounts.google.com/.well-known/risc-configuration.
	Keys Keys

	// Issuer says whose tokens it may revoke: the Name of one of the Options'
	// issuers. It may be empty if there is only one.
	Issuer string

	// Authorization is the whole Authorization header that each request must
	// have, such as "Bearer …" with a random token that you gave the
	// transmitter. The signature is what protects you; this header keeps
	// strangers from making your server verify signatures. Default: no header
	// is needed.
	Authorization string

	// Map says what an event revokes here. It is called for each event that
	// revokes, and nothing else is revoked. It is needed where users have other
	// names in the events than in the tokens: an email address, or an ID of the
	// directory. For each token that it returns, set Subject, Session or ID;
	// Issuer and Before are filled in, and a Revocation without a name is
	// skipped, so a user who is not known here does no harm:
	//
	//	Map: func(ctx context.Context, who wsauth.EventSubject) ([]wsauth.Revocation, error) {
	//		sub, err := users.SubjectByEmail(ctx, who.Email)
	//		return []wsauth.Revocation{{Subject: sub}}, err
	//	},
	//
	// An error is an outage: the transmitter gets 503 and sends the event again.
	//
	// Default: the sub of an iss_sub subject (or the jti of a jwt_id) whose iss is
	// Name or Issuer; if there is none, the opaque ID of the session.
	Map func(ctx context.Context, who EventSubject) ([]Revocation, error)
}

// An EventSubject is whom a security event is about. A subject may have several
// names; the fields for the others are empty.
type EventSubject struct {
	Event   string // the event's type, a URI
	Issuer  string // iss and sub of the user: format iss_sub
	Subject string
	Email   string
	Phone   string
	ID      string // format opaque
	Session string // of a session, format opaque

	// Raw is the whole subject as JSON, for other formats and for the device or
	// tenant of a complex subject. It is empty if the token names its user by sub.
	Raw json.RawMessage
}

// SecurityEvents returns a handler for the events that a transmitter pushes
// ([RFC 8935], OpenID Shared Signals Framework 1.0), such as those of CAEP and
// RISC. Its URL is the stream's delivery endpoint:
//
//	mux.Handle("POST /events", auth.SecurityEvents(wsauth.Transmitter{
//		Name:     "https://id.example.com/",
//		Audience: []string{"https://chat.example.com/events"},
//		Keys:     wsauth.JWKS{},
//	}))
//
// These events revoke the tokens of the user: session-revoked and
// credential-change (CAEP); sessions-revoked, account-disabled and
// account-purged (RISC); tokens-revoked (OAuth); and Apple's consent-revoked
// and account-deleted. Only tokens that were issued at or before the event's
// own time (event_timestamp, else toe, else iat) are revoked, so an event that
// comes twice does no harm. An event that names a user and a session revokes
// all tokens of the user, since the session's ID need not be the sid of tokens;
// one that names a session alone revokes that session. Everything else works as
// in [Authenticator.Revoke].
//
// Other events (token-claims-change, account-enabled, verification, …), and events
// about somebody who cannot be named here, are accepted and change nothing; the
// record "wsauth: security event ignored" says why.
//
// The handler answers 202, or 200 to Apple; 400 with an error code of RFC 8935
// if the token is not a valid security event token of the transmitter; and 503
// if keys, Map or the log of [Revocations] are unavailable, so that the
// transmitter tries again. The typ must be secevent+jwt, and there must be no
// exp. Apple's server-to-server notifications, which have another form, are
// accepted too. An access token or a logout token is not accepted as a security
// event, nor a security event as one of these.
//
// SecurityEvents panics if there is a mistake in from, and if the issuer's
// tokens have no known longest life ([Revocations].Keep).
//
// [RFC 8935]: https://www.rfc-editor.org/rfc/rfc8935
func (a *Authenticator) SecurityEvents(from Transmitter) http.Handler {
	t := &transmitter{auth: a, authorization: from.Authorization, mapping: from.Map}
	if !a.isZero() {
		if err := t.init(&from); err != nil {
			panic("wsauth: SecurityEvents: " + err.Error())
		}
	}
	return t
}

// A transmitter is a Transmitter without faults.
type transmitter struct {
	auth          *Authenticator
	from          verify.Transmitter
	authorization string // empty: none is needed
	mapping       func(context.Context, EventSubject) ([]Revocation, error)
}

func (t *transmitter) init(from *Transmitter) error {
	a, c := t.auth, new(checker)
	issuer, err := a.policy.nameOf(from.Issuer)
	if err == nil && !a.policy.keeps(issuer) {
		err = errNoKeep
	}
	if err != nil {
		c.faults = append(c.faults, err)
	}
	if from.Name == "" {
		c.fault("Transmitter.Name", "empty: the iss that its tokens have")
	}
	if len(from.Audience) == 0 {
		c.fault("Transmitter.Audience", "missing: the aud that its tokens have")
	}
	sender := Issuer{Name: from.Name, Audience: from.Audience, AnyAudience: len(from.Audience) == 0, Keys: bySSF(from.Keys, from.Name)}
	t.from.Revokes = issuer
	t.from.Sender = c.issuer("Transmitter", &sender, &Options{Logger: a.log, Observe: a.observe})
	return errors.Join(c.faults...)
}

// bySSF makes JWKS{} look for the SSF configuration of a transmitter, which is between the host and the path of its name
// (SSF 1.0 section 7.2.1), and not for that of an OpenID provider.
func bySSF(keys Keys, name string) Keys {
	switch k := keys.(type) {
	case anyOf:
		out := make(anyOf, len(k))
		for i := range k {
			out[i] = bySSF(k[i], name)
		}
		return out
	case *JWKS:
		if k != nil {
			return bySSF(*k, name)
		}
	case JWKS:
		u, err := url.Parse(strings.TrimSuffix(name, "/"))
		if err == nil && u.Host != "" && k.URL == "" && k.DiscoveryURL == "" {
			k.DiscoveryURL = u.Scheme + "://" + u.Host + "/.well-known/ssf-configuration" + u.EscapedPath()
		}
		return k
	}
	return keys
}

func (t *transmitter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !push.IsPost(w, r) {
		return
	}
	if err := t.receive(w, r); err != nil {
		t.auth.reportRefusal(r.Context(), refusal.Trail{Source: "event"}.On(err))
		push.Event.Refuse(w, Status(err) == http.StatusServiceUnavailable, eventErrorCode(err), refusal.ResponseTo(err).Text)
		return
	}
	push.Accept(w, r)
}

var errAuthorization = errors.New("another Authorization than the transmitter's")

// eventErrorCode returns the code of RFC 8935 section 2.4 for a refusal.
func eventErrorCode(err error) string {
	switch {
	case errors.Is(err, errAuthorization):
		return "authentication_failed"
	case errors.Is(err, verify.ErrSender):
		return "invalid_issuer"
	case errors.Is(err, verify.ErrReceiver):
		return "invalid_audience"
	case errors.Is(err, verify.ErrAlg), errors.Is(err, jose.ErrUnknownKey), errors.Is(err, jose.ErrSignature):
		return "invalid_key"
	}
	return "invalid_request"
}

// receive verifies all events of a token before it acts on any of them.
func (t *transmitter) receive(w http.ResponseWriter, r *http.Request) error {
	a := t.auth
	if a.isZero() {
		return refusalOfZero()
	}
	if t.authorization != "" && !push.IsAuthorized(r, t.authorization) {
		return refusal.New(ErrMalformedRequest, errAuthorization)
	}
	token, err := push.EventToken(w, r, a.policy.verifier.MaxLength())
	if err != nil {
		return refusal.New(ErrMalformedRequest, err)
	}
	events, err := a.policy.verifier.Events(r.Context(), token, &t.from)
	if err != nil {
		return err
	}
	var all []revocation.Revocation
	for i := range events {
		some, err := t.revocations(r.Context(), &events[i])
		if err != nil {
			return refusal.Trail{Issuer: t.from.Sender.Name}.On(err)
		}
		if len(some) == 0 {
			t.reportIgnored(r.Context(), &events[i])
		}
		all = append(all, some...)
	}
	return a.revoke(r.Context(), all)
}

func (t *transmitter) revocations(ctx context.Context, e *verify.Event) ([]revocation.Revocation, error) {
	switch {
	case !e.Revokes:
		return nil, nil
	case t.mapping == nil:
		return e.Revocations(&t.from), nil
	}
	mapped, err := t.mapping(ctx, eventSubject(e))
	if err != nil {
		return nil, &refusal.Error{Kind: ErrUnavailable, Cause: err, Checked: true}
	}
	var out []revocation.Revocation
	for _, r := range mapped {
		if r.Subject == "" && r.Session == "" && r.ID == "" {
			continue // nobody was found: it must not be the whole issuer
		}
		r.Issuer, r.Before = t.from.Revokes, e.Before
		checked, err := t.auth.policy.revocation(&r, time.Now())
		if err != nil {
			return nil, refusal.New(ErrUnavailable, err)
		}
		out = append(out, checked)
	}
	return out, nil
}

func eventSubject(e *verify.Event) EventSubject {
	s := EventSubject{
		Event: e.Type, Email: e.Subject.Email, Phone: e.Subject.Phone, ID: e.Subject.ID, Session: e.Subject.Session,
		Raw: json.RawMessage(e.Subject.Raw),
	}
	if len(e.Subject.Users) > 0 {
		s.Issuer, s.Subject = e.Subject.Users[0].Issuer, e.Subject.Users[0].Name
	}
	return s
}

func (t *transmitter) reportIgnored(ctx context.Context, e *verify.Event) {
	reason := "an event that revokes nothing"
	if e.Revokes {
		reason = "its subject has no name that tokens of the issuer could have"
	}
	t.auth.log.LogAttrs(ctx, slog.LevelInfo, "wsauth: security event ignored", slog.String("reason", reason),
		slog.String("issuer", t.from.Sender.Name), slog.String("event", e.Name))
}
