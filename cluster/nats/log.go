// Package wsauthnats keeps the revocations and the tickets of wsauth in streams of NATS JetStream, for servers that
// share them.
//
//	conn, err := nats.Connect("nats://nats.example.com:4222", nats.MaxReconnects(-1))
//	…
//	js, err := jetstream.New(conn)
//	…
//	auth, err := wsauth.New(wsauth.Options{
//		…
//		Revocations: wsauth.Revocations{
//			Log: wsauthnats.NewLog(js, "wsauth", time.Hour), Keep: time.Hour, MaxStale: time.Minute,
//		},
//		Extractors: []wsauth.Extractor{
//			wsauth.FromHeader(), wsauth.FromTicket("ticket", wsauthnats.NewTickets(js, "wsauth")),
//		},
//	})
//
// Connect with MaxReconnects(-1): by default, NATS gives up for good after two minutes without a server.
//
// # The log
//
// The stream is created when it is missing, even after NATS has come back without it; the servers then append again
// what they know. A stream that exists is used as it is, so its subjects, its age and its replicas can be chosen
// beforehand; its retention must be limits. The user of the log may publish to the subject of its name, and needs the
// API of JetStream for this stream: STREAM.INFO, STREAM.CREATE, CONSUMER.CREATE and CONSUMER.MSG.NEXT.
//
// # The tickets
//
// Tickets need NATS 2.11 or later, which removes each when its time is up. Their stream, "name-tickets", is created
// when it is missing. A stream that exists is used as it is if it is fit for tickets: allow_msg_ttl is on, discard is
// new, and deny_delete and allow_direct are off. Its messages contain the bytes that wsauth stores, and whoever may
// subscribe to their subjects sees them arrive: keep the tickets in an account that has no other users. The user of the
// tickets may publish to "name-tickets.*", and needs the API of JetStream for this stream: STREAM.INFO, STREAM.CREATE,
// STREAM.MSG.GET and STREAM.MSG.DELETE.
package wsauthnats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	reserve = 10 * time.Minute       // how long entries stay beyond keep
	page    = 1000                   // entries that a Read returns at most
	wait    = 250 * time.Millisecond // how long a Read waits at the end
	timeout = 2 * time.Second        // of Append, and of Read beyond the wait
	idle    = 10 * time.Second       // after which NATS drops a consumer that nobody uses
	most    = 4                      // consumers that are kept for the next Read
	atOnce  = 64                     // entries that are on their way
)

// A Log is a log of revocations in a stream: a wsauth.RevocationLog. It is safe for concurrent use.
type Log struct {
	// Replicas is how many servers of a NATS cluster keep the stream, if Log creates it. Default: one. Set it before the
	// Log is used.
	Replicas int

	js   jetstream.JetStream
	name string
	keep time.Duration

	mu    sync.Mutex
	ready map[cursor]*reader // consumers by the cursor at which they stand
}

// NewLog returns the log with this name: the name of its stream, and the subject of its entries. It must not contain
// characters that NATS excludes (spaces, dots, *, >, slashes). Servers that share a log use the same name and the same
// keep, the Keep of wsauth.Revocations. Entries stay for keep and ten minutes more, for leeway and clocks that differ.
// NewLog sends nothing. The caller closes the connection.
func NewLog(js jetstream.JetStream, name string, keep time.Duration) *Log {
	return &Log{js: js, name: name, keep: keep, ready: map[cursor]*reader{}}
}

// Append adds entries, in any order. It returns nil when the stream has them. An error comes after two seconds at the
// latest.
func (l *Log) Append(ctx context.Context, entries ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if !l.js.Conn().IsConnected() {
		return nats.ErrDisconnected // the connection would otherwise keep the entries and send them all later
	}
	err := l.publish(ctx, entries)
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		if _, err := l.stream(ctx); err != nil {
			return err
		}
		err = l.publish(ctx, entries)
	}
	return err
}

// publish sends entries, many at one time, in any order. It does not use the client's asynchronous calls: those that got
// no answer would count against a limit that the application shares.
func (l *Log) publish(ctx context.Context, entries []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan string)
	var all sync.WaitGroup
	for range min(atOnce, len(entries)) {
		all.Go(func() {
			for entry := range next {
				// No retries: one could succeed in addition to our own, after the stream is created.
				_, err := l.js.Publish(ctx, l.name, []byte(entry), jetstream.WithRetryAttempts(0), jetstream.WithExpectStream(l.name))
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, entry := range entries {
		next <- entry // whoever takes it fails at once when ctx has ended
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// stream returns the stream with its current state. It creates the stream if it is missing.
func (l *Log) stream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := l.js.Stream(ctx, l.name)
	if err == nil && stream.CachedInfo().Config.Retention != jetstream.LimitsPolicy {
		return nil, errors.New("wsauthnats: the stream drops entries that were read: its retention must be limits")
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	return l.js.CreateStream(ctx, jetstream.StreamConfig{ // no error if another server has created it meanwhile
		Name: l.name, Subjects: []string{l.name}, MaxAge: l.keep + reserve, Replicas: l.Replicas,
		Description: "revocations of wsauth",
	})
}

// Read returns up to 1,000 entries after a cursor and the cursor behind them; the empty cursor is the beginning. It
// returns none if there are none; if it is called again with that cursor, it waits up to a quarter of a second for some.
// The error says that NATS does not answer, or that the stream is not the one that the cursor belongs to.
func (l *Log) Read(ctx context.Context, after string) (entries []string, next string, err error) {
	at, err := parseCursor(after)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if !l.js.Conn().IsConnected() {
		return nil, "", nats.ErrDisconnected
	}
	stream, err := l.stream(ctx)
	if err != nil {
		return nil, "", err
	}
	info := stream.CachedInfo()    // asked for just now
	if info.State.NumDeleted > 0 { // single entries were deleted: do not wait for their numbers
		if info, err = stream.Info(ctx, jetstream.WithDeletedDetails(true)); err != nil {
			return nil, "", err
		}
	}
	if err := at.enter(info); err != nil {
		return nil, "", err
	}
	left := info.State.LastSeq - at.position
	for _, number := range info.State.Deleted {
		if number > at.position {
			left--
		}
	}
	atEnd := left == 0
	if atEnd {
		at.position = info.State.LastSeq
	}
	if atEnd && !at.wait {
		at.wait = true
		return nil, at.String(), nil
	}
	at.wait = false
	r, err := l.reader(ctx, stream, at)
	if err != nil {
		return nil, "", err
	}
	if atEnd {
		entries, err = r.read(1, jetstream.FetchMaxWait(wait))
	} else {
		n := int(min(page, left))
		entries, err = r.read(n, jetstream.FetchContext(ctx))
		if err == nil && len(entries) < n { // a short page would say that the log ends
			err = errors.New("wsauthnats: the stream has entries, and does not send them")
		}
	}
	if err != nil {
		return nil, "", err
	}
	at.position = r.position
	l.keepReader(at, r)
	at.wait = len(entries) == 0
	return entries, at.String(), nil
}

// A cursor is a position in a stream: the number of an entry, and when the stream was created, which distinguishes the
// stream from a later one of the same name.
type cursor struct {
	created  int64 // nanoseconds since 1970; 0: any stream
	position uint64
	wait     bool // the log was found to end here
}

func (c cursor) String() string { return fmt.Sprintf("%d %d %t", c.created, c.position, c.wait) }

func parseCursor(text string) (c cursor, err error) {
	if text == "" {
		return cursor{}, nil
	}
	if _, err := fmt.Sscanf(text, "%d %d %t", &c.created, &c.position, &c.wait); err != nil || c.String() != text {
		return cursor{}, errors.New("wsauthnats: not a cursor of this log")
	}
	return c, nil
}

// enter makes the cursor one of this stream, or says why it is not.
func (c *cursor) enter(info *jetstream.StreamInfo) error {
	created, state := info.Created.UnixNano(), info.State
	before := state.FirstSeq - 1 // the last entry that was removed
	if state.FirstSeq == 0 {
		before = 0
	}
	switch {
	case c.created == 0:
		*c = cursor{created: created, position: before}
		return nil
	case c.created != created:
		return errors.New("wsauthnats: the log has begun anew")
	case c.position > state.LastSeq:
		return errors.New("wsauthnats: the log ends before the cursor")
	case c.position < before:
		return errors.New("wsauthnats: entries behind the cursor are gone")
	}
	return nil
}

// A reader is a consumer that stands at a position.
type reader struct {
	consumer  jetstream.Consumer
	position  uint64 // of the last entry that was read
	delivered uint64 // how many the consumer has delivered
}

// reader returns a consumer that stands at the cursor: the one of the previous Read, or a new one.
func (l *Log) reader(ctx context.Context, stream jetstream.Stream, at cursor) (*reader, error) {
	l.mu.Lock()
	r := l.ready[at]
	delete(l.ready, at)
	l.mu.Unlock()
	if r != nil {
		return r, nil
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at.position + 1,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: idle, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return nil, err
	}
	return &reader{consumer: consumer, position: at.position}, nil
}

// keepReader keeps a consumer for the next Read. NATS drops consumers that are not kept.
func (l *Log) keepReader(at cursor, r *reader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) >= most {
		clear(l.ready)
	}
	l.ready[at] = r
}

// read returns up to n entries. It returns an error if an entry was delivered but did not arrive.
func (r *reader) read(n int, until jetstream.FetchOpt) (entries []string, err error) {
	batch, err := r.consumer.Fetch(n, until)
	if err != nil {
		return nil, err
	}
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.delivered+1 {
			return nil, errors.New("wsauthnats: an entry was lost on its way")
		}
		r.delivered, r.position = meta.Sequence.Consumer, meta.Sequence.Stream
		entries = append(entries, string(msg.Data()))
	}
	return entries, batch.Error()
}
