package wsauthnats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// longest is how long a ticket may stay. wsauth asks for less: for a DPoP proof, for twice the MaxAge of proofs.
const longest = time.Hour

// Tickets is a wsauth.TicketStore in a stream. It keeps tickets, each of which can be taken once, and records which
// DPoP proofs were used. It is safe for concurrent use.
//
// A ticket is one message, on a subject of its own. Whoever deletes the message has taken the ticket: in a cluster of
// NATS, the deletes of a stream have one order, which a majority agrees on, and the first one removes the message.
// Nothing is sent twice. If an answer is lost, the call returns an error, and what it asked for may have happened: a
// ticket may be lost, and a proof may be recorded without having been accepted. The client of the server then needs a
// new one.
//
// A leader that is cut off from the others answers for some seconds more. It cannot hand out a ticket, since it cannot
// delete it, but it may say that there is none although the others have one.
//
// With one replica, a server that crashes with its machine may come back with a ticket that was taken in its last
// minutes, or without the record of a proof, since NATS does not write each message to the disk at once. With three,
// this takes a crash of two machines.
//
// NATS counts the time of a ticket in whole seconds, so a ticket stays for up to a second longer than wsauth asks for.
type Tickets struct {
	// Replicas is how many servers of a NATS cluster keep the stream, if Tickets creates it. Default: one. Set it
	// before Tickets is used.
	Replicas int

	js     jetstream.JetStream
	name   string
	stream atomic.Pointer[jetstream.Stream] // nil: it must be looked for, or created
}

// NewTickets returns the store with this name. Its stream is "name-tickets", with the subjects "name-tickets.*". The
// name must have none of the characters that NATS excludes (spaces, dots, *, >, slashes). Servers that share tickets
// use the same name; a log may have it, too. NewTickets sends nothing. The caller closes the connection.
func NewTickets(js jetstream.JetStream, name string) *Tickets {
	return &Tickets{js: js, name: name + "-tickets"}
}

// Put keeps value under key for ttl and reports true. It reports false, and changes nothing, if key is there already.
// An error comes when ctx ends, and after two seconds at the latest; the value may then have been kept.
func (t *Tickets) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	if ttl <= 0 || ttl > longest { // NATS would keep a message without a time forever
		return false, fmt.Errorf("wsauthnats: a ticket cannot stay for %v", ttl)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := t.find(ctx, key); err != nil {
		return false, err
	}
	// Up to the next second: NATS cuts fractions off, and a proof must not be forgotten too early.
	seconds := (ttl + time.Second - 1).Truncate(time.Second)
	_, err = t.js.Publish(ctx, t.name+"."+key, value, jetstream.WithExpectLastSequencePerSubject(0),
		jetstream.WithMsgTTL(seconds), jetstream.WithExpectStream(t.name), jetstream.WithRetryAttempts(0))
	if isThere(err) {
		return false, nil
	}
	return err == nil, t.forgetIfGone(err)
}

// Take removes key and returns its value; found is false if there is none. If several calls take the same key at once,
// exactly one finds it. An error comes when ctx ends, and after two seconds at the latest; the value may then be lost.
func (t *Tickets) Take(ctx context.Context, key string) (value []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stream, err := t.find(ctx, key)
	if err != nil {
		return nil, false, err
	}
	message, err := t.last(ctx, stream, key)
	if message == nil || err != nil {
		return nil, false, err
	}
	failed := stream.DeleteMsg(ctx, message.Sequence)
	if failed == nil {
		return message.Data, true, nil
	}
	if !errors.Is(failed, jetstream.ErrMsgDeleteUnsuccessful) {
		return nil, false, failed // no answer: it may have been deleted
	}
	// The client does not say why NATS has not deleted it: because somebody else has, or because it cannot.
	now, err := t.last(ctx, stream, key)
	if err == nil && now != nil && now.Sequence == message.Sequence {
		err = failed
	}
	return nil, false, err
}

// last returns the message of a key, or nil if there is none. It asks the stream's leader. Another replica, which may lag
// behind, answers only if the stream allows direct access, and it does not.
func (t *Tickets) last(ctx context.Context, stream jetstream.Stream, key string) (*jetstream.RawStreamMsg, error) {
	message, err := stream.GetLastMsgForSubject(ctx, t.name+"."+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return message, t.forgetIfGone(err)
}

// find returns the stream, if the key is one.
func (t *Tickets) find(ctx context.Context, key string) (jetstream.Stream, error) {
	if !isKey(key) {
		return nil, errors.New("wsauthnats: not a key of a ticket")
	}
	if !t.js.Conn().IsConnected() {
		return nil, nats.ErrDisconnected // the connection would otherwise keep the request and send it later
	}
	if known := t.stream.Load(); known != nil {
		return *known, nil
	}
	stream, err := t.js.Stream(ctx, t.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = t.js.CreateStream(ctx, t.config()) // no error if another server has created it meanwhile
	}
	if err != nil {
		return nil, err
	}
	if err := fault(stream.CachedInfo().Config); err != nil {
		return nil, err
	}
	t.stream.Store(&stream)
	return stream, nil
}

func (t *Tickets) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: t.name, Subjects: []string{t.name + ".*"}, Replicas: t.Replicas, Description: "tickets of wsauth",
		AllowMsgTTL: true, MaxMsgsPerSubject: 1,
		// If somebody limits the stream and it is full, it refuses a ticket rather than dropping another one. But not
		// DiscardNewPerSubject: each replica removes expired messages by its own clock. One that is late would refuse
		// the next message of the subject, and would number all later messages differently from the leader.
		Discard: jetstream.DiscardNew,
	}
}

// fault says why a stream cannot keep tickets. It may have been created by somebody else.
func fault(c jetstream.StreamConfig) error {
	switch {
	case !c.AllowMsgTTL:
		return errors.New("wsauthnats: the stream needs allow_msg_ttl, and NATS 2.11 or later")
	case c.DenyDelete || c.Sealed:
		return errors.New("wsauthnats: the stream does not let messages be deleted: deny_delete must be off")
	case c.AllowDirect:
		return errors.New("wsauthnats: replicas that lag behind may answer: allow_direct must be off")
	case c.Discard != jetstream.DiscardNew || c.DiscardNewPerSubject:
		return errors.New("wsauthnats: the stream must have discard new, and discard_new_per_subject off")
	case c.MaxAge > 0 && c.MaxAge < longest+time.Second:
		return errors.New("wsauthnats: the stream drops tickets before their time is up: max_age is too short")
	case c.Retention != jetstream.LimitsPolicy || c.Mirror != nil || len(c.Sources) > 0:
		return errors.New("wsauthnats: the stream must have messages of its own, and retention by limits")
	}
	return nil
}

// forgetIfGone makes the next call look for the stream, and create it again, if an error says that the stream is gone.
func (t *Tickets) forgetIfGone(err error) error {
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) {
		t.stream.Store(nil)
	}
	return err
}

// isThere reports whether an error of Put says that the key is there, or that another Put of the key is in progress.
func isThere(err error) bool {
	const underWay = 10164 // the error of a cluster, since NATS 2.12
	var of *jetstream.APIError
	if !errors.As(err, &of) {
		return false
	}
	return of.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || of.ErrorCode == underWay
}

// isKey reports whether a key can be the last token of a subject. A key with * would match any ticket.
func isKey(key string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return key != "" && strings.Trim(key, allowed) == ""
}
