package wsauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

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

	// Keep is the longest life of a token. A revocation is remembered for so
	// long, so a token is refused if its exp is later than its iat + Keep, or if
	// it has no iat: it could outlive what is remembered of it. All servers need
	// the same value. Default without a Log: the largest MaxTTL of the issuers,
	// plus leeway; then only tokens are refused for their length that were
	// issued before something was revoked.
	Keep time.Duration

	// MaxStale is how old the last complete read of the log may be. After that,
	// every token gets 503 until the log can be read again; open connections
	// stay. A short time keeps nobody in who was logged out on another server
	// while the log is away; a long one keeps everybody else in. Negative:
	// tokens are accepted however long the log is away. A Log needs a MaxStale:
	// there is no default.
	MaxStale time.Duration
}

// A Revocation names tokens that count no longer: those of a user, of a session,
// or one token. At most one of Subject, Session and ID may be set. If none is,
// all tokens of the issuer are revoked that were issued at or before Before.
type Revocation struct {
	Issuer  string // its Name in Options; may be empty if there is only one issuer
	Subject string // sub
	Session string // the claim that Issuer.Session names, by default sid
	ID      string // jti

	// Before revokes only tokens whose iat is not later, in whole seconds, and
	// tokens without iat. A user who logs in again within the same second needs
	// another token a second later. Zero: all tokens, also those that are issued
	// while the revocation is remembered.
	Before time.Time
}

// A RevocationLog keeps entries for some time, and shows them to every server
// that reads it. It must be safe for concurrent use. What it keeps must be kept
// for [Revocations].Keep, plus a few minutes for clocks that differ.
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
// Any other error means that nothing was revoked: a Revocation that names no
// token or names two things, an unknown Issuer, a Before without meaning, or an
// issuer for whose tokens no longest life is known ([Revocations].Keep).
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
	if out.At < 1 || in.Before.After(now.Add(p.keep)) {
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
