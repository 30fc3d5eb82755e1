// Package wsauthredis keeps the revocations and the tickets of wsauth in Redis (or Valkey), for servers that share
// them. It works with a single server, with Sentinel and with Redis Cluster, of version 6.2 or later.
//
//	client := redis.NewClient(&redis.Options{Addr: "redis.example.com:6379", ContextTimeoutEnabled: true})
//	auth, err := wsauth.New(wsauth.Options{
//		…
//		Revocations: wsauth.Revocations{
//			Log: wsauthredis.NewLog(client, "wsauth", time.Hour), Keep: time.Hour, MaxStale: time.Minute,
//		},
//		Extractors: []wsauth.Extractor{
//			wsauth.FromHeader(), wsauth.FromTicket("ticket", wsauthredis.NewTickets(client, "wsauth")),
//		},
//	})
//
// Set ContextTimeoutEnabled: without it, a call that gets no answer holds a connection of the client's pool until its
// ReadTimeout has passed several times. ReadTimeout must be well above the 250 ms for which a Read waits.
//
// # The log
//
// The log is a stream, with a random id in a key of its own, which changes whenever the log begins anew. The servers
// append again what Redis loses, as long as one of them knows it. Redis needs to save to disk (appendonly) only so that
// revocations survive the end of all servers. Keys must not be evicted: maxmemory-policy must be noeviction or one of
// the volatile policies. The user of the log needs the commands XADD, XRANGE, XREAD, GET and SET on the keys "{name}"
// and "{name}:id".
//
// # The tickets
//
// Each ticket is a key of its own, which Redis removes when it is taken or when its time is up. Its value contains the
// bytes that wsauth stores. maxmemory-policy must be noeviction: the other policies may evict a ticket, or the record
// of a DPoP proof that was used, which could then be used again. Replicas must be read-only, as they are by default.
// The user of the tickets needs the commands SET and GETDEL on the keys "name:ticket:*".
package wsauthredis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	reserve = 10 * time.Minute       // how long entries stay beyond keep
	page    = 1000                   // entries that a Read returns at most
	wait    = 250 * time.Millisecond // how long a Read waits at the end
	timeout = 750 * time.Millisecond // of one round trip, beyond the wait
	field   = "r"                    // an entry's only field
)

// A Log is a log of revocations in Redis: a wsauth.RevocationLog. It is safe for concurrent use.
type Log struct {
	client redis.UniversalClient
	stream string
	id     string // the key of the log's id
	keep   time.Duration
	newest atomic.Int64 // the time in the id of an entry, by the clock of Redis, in milliseconds; 0: not known
}

// NewLog returns the log with this name, which becomes part of two keys. Servers that share a log use the same name and
// the same keep, the Keep of wsauth.Revocations. Entries stay for keep and ten minutes more, for leeway and clocks that
// differ. NewLog sends nothing. The caller closes the client.
func NewLog(client redis.UniversalClient, name string, keep time.Duration) *Log {
	stream := "{" + name + "}" // braces put both keys into one slot of a Redis Cluster
	return &Log{client: client, stream: stream, id: stream + ":id", keep: keep}
}

// Append adds entries. It returns nil when Redis has them. An error comes after a second at the latest.
func (l *Log) Append(ctx context.Context, entries ...string) error {
	var oldest string // "" removes nothing: Redis has not told its time yet
	if newest := l.newest.Load(); newest > 0 {
		oldest = strconv.FormatInt(max(newest-(l.keep+reserve).Milliseconds(), 0), 10)
	}
	_, err := within(ctx, timeout, func(ctx context.Context) (struct{}, error) {
		cmds, err := l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.SetNX(ctx, l.id, rand.Text(), 0)
			for _, entry := range entries {
				p.XAdd(ctx, &redis.XAddArgs{Stream: l.stream, MinID: oldest, Approx: true, Values: []string{field, entry}})
			}
			return nil
		})
		if err == nil && len(entries) > 0 {
			id := cmds[len(cmds)-1].(*redis.StringCmd).Val()
			ms, _, _ := strings.Cut(id, "-")
			if at, err := strconv.ParseInt(ms, 10, 64); err == nil {
				l.newest.Store(at)
			}
		}
		return struct{}{}, err
	})
	return err
}

// Read returns up to 1,000 entries after a cursor and the cursor behind them; the empty cursor is the beginning. It
// returns none if there are none; if it is called again with that cursor, it waits up to a quarter of a second for some.
// The error says that Redis does not answer, or that the log is not the one that the cursor belongs to.
func (l *Log) Read(ctx context.Context, after string) (entries []string, next string, err error) {
	from, err := parseCursor(after)
	if err != nil {
		return nil, "", err
	}
	got, err := within(ctx, wait+timeout, func(ctx context.Context) (*answer, error) { return l.ask(ctx, from) })
	if err != nil {
		return nil, "", err
	}
	if err := got.follows(from); err != nil {
		return nil, "", err
	}
	position, sum := from.position, from.sum
	for _, message := range got.messages {
		entry, _ := message.Values[field].(string) // "", if it is not a log's: none at all would say that the log ends
		entries = append(entries, entry)
		position, sum = message.ID, sumOf(entry)
	}
	return entries, cursor{got.id, position, sum, len(got.messages) == 0}.String(), nil
}

// An answer is what Redis says in one round trip.
type answer struct {
	messages []redis.XMessage
	id       string
	hasLast  bool // the entry at the cursor is there, and is not another one with the same number
}

// ask asks for the id after the messages, on the same connection: so messages of a server that came back without the
// log are never taken for entries of the log, even if the client has reconnected and repeated the request.
func (l *Log) ask(ctx context.Context, from cursor) (*answer, error) {
	p := l.client.Pipeline()
	made := p.SetNX(ctx, l.id, rand.Text(), 0)
	read := l.read(ctx, p, from)
	last := p.XRange(ctx, l.stream, from.position, from.position)
	id := p.Get(ctx, l.id)
	var reply redis.Error // of one command, which returns it itself
	if _, err := p.Exec(ctx); err != nil && !errors.As(err, &reply) {
		return nil, err // perhaps no command was sent at all
	}
	if err := made.Err(); redis.HasErrorPrefix(err, "READONLY") || redis.HasErrorPrefix(err, "NOREPLICAS") {
		return nil, err // a replica, or a master cut off from its replicas, may lack what others append
	}
	messages, err := read()
	if err != nil && err != redis.Nil {
		return nil, err
	}
	if id.Err() != nil {
		return nil, id.Err()
	}
	return &answer{messages: messages, id: id.Val(), hasLast: isAt(last.Val(), from.sum)}, nil
}

// read adds the command that reads to a pipeline, and returns a function for its result.
func (l *Log) read(ctx context.Context, p redis.Pipeliner, from cursor) func() ([]redis.XMessage, error) {
	if !from.wait {
		return p.XRangeN(ctx, l.stream, "("+from.position, "+", page).Result
	}
	cmd := p.XRead(ctx, &redis.XReadArgs{Streams: []string{l.stream, from.position}, Count: page, Block: wait})
	return func() (all []redis.XMessage, err error) {
		streams, err := cmd.Result()
		for _, s := range streams {
			all = append(all, s.Messages...)
		}
		return all, err
	}
}

// follows reports whether the answer comes from the log that the cursor belongs to. A replica that lagged behind when
// it took over lacks the newest entries; if this reader has read any of them, the entry at the cursor is missing.
func (a *answer) follows(from cursor) error {
	switch {
	case from.id != "" && from.id != a.id:
		return errors.New("wsauthredis: the log has begun anew")
	case from.position != zero && !a.hasLast:
		return errors.New("wsauthredis: the log has lost the entry at the cursor")
	}
	return nil
}

const zero = "0-0" // the position before the first entry

// A cursor is a position in a log: the empty text, or the log's id, a position, and whether the log was found to end
// there.
type cursor struct {
	id, position string
	sum          string // of the entry at the position: a server whose clock is behind may give its number to another one
	wait         bool
}

func (c cursor) String() string { return fmt.Sprintf("%s %s %s %t", c.id, c.position, c.sum, c.wait) }

func parseCursor(text string) (cursor, error) {
	if text == "" {
		return cursor{position: zero, sum: "-"}, nil
	}
	parts := strings.Split(text, " ")
	if len(parts) != 4 {
		return cursor{}, errors.New("wsauthredis: not a cursor of this log")
	}
	return cursor{id: parts[0], position: parts[1], sum: parts[2], wait: parts[3] == "true"}, nil
}

func sumOf(entry string) string {
	h := fnv.New64a()
	h.Write([]byte(entry))
	return strconv.FormatUint(h.Sum64(), 16)
}

func isAt(messages []redis.XMessage, sum string) bool {
	if len(messages) == 0 {
		return false
	}
	entry, _ := messages[0].Values[field].(string)
	return sumOf(entry) == sum
}

// within calls f, and returns in time even if the client waits on: go-redis heeds contexts only if it is told to.
func within[T any](ctx context.Context, d time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer cancel()
		value, err := f(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		select {
		case r := <-done: // f has ended, which ends ctx, too
			return r.value, r.err
		default:
		}
		var none T
		return none, context.Cause(ctx)
	}
}
