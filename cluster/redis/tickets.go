package wsauthredis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long Put and Take wait for Redis, whatever their context: a request waits with them.
const patience = 2 * time.Second

// Tickets is a wsauth.TicketStore in Redis. It keeps tickets, each of which can be taken once, and records which DPoP
// proofs were used. It is safe for concurrent use.
//
// Each call sends one command, about one key, and sends it once, whatever MaxRetries of the client is. If the answer is
// lost, the call returns an error, and what it asked for may have happened: a ticket may be lost, and a proof may be
// recorded without having been accepted. The client of the server then needs a new one. By default, go-redis would ask
// again, and the second answer would say that the ticket is not there, or that the proof was used before.
//
// Redis replicates after it has answered. If a primary fails, and a replica takes over that has not heard of the last
// calls, then a ticket that was taken in that moment can be taken once more, and a proof can be used once more, until
// their time is up: a replica keeps the time at which a key expires. The same is true of a server that comes back from
// what it had saved before, or with nothing. min-replicas-to-write bounds how long a primary that is cut off still
// answers. Tickets does not send WAIT: it would make every handshake wait for a replica, another replica could still be
// the one that takes over, and a client of Redis Cluster cannot send it to the right server.
type Tickets struct {
	client redis.UniversalClient
	prefix string
}

// NewTickets returns the store with this name, which begins its keys: "name:ticket:…". Servers that share tickets use
// the same name; a log may have it, too. The client must not be a Ring, which asks another server while one is away.
// NewTickets sends nothing. The caller closes the client.
func NewTickets(client redis.UniversalClient, name string) *Tickets {
	// No braces, unlike the keys of a log: in a Redis Cluster, tickets are spread over all servers.
	return &Tickets{client: client, prefix: name + ":ticket:"}
}

// Put keeps value under key for ttl and reports true. It reports false, and changes nothing, if key is there already.
// An error comes when ctx ends, and after two seconds at the latest; the value may then have been kept.
func (t *Tickets) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	// The string is a copy, since ask may return before value is sent. Redis refuses a time of zero or less.
	_, added, err = t.ask(ctx, "set", t.prefix+key, string(value), "px", ttl.Milliseconds(), "nx")
	return added, err
}

// Take removes key and returns its value; found is false if there is none. If several calls take the same key at once,
// exactly one finds it. An error comes when ctx ends, and after two seconds at the latest; the value may then be lost.
func (t *Tickets) Take(ctx context.Context, key string) (value []byte, found bool, err error) {
	text, found, err := t.ask(ctx, "getdel", t.prefix+key)
	if !found || err != nil {
		return nil, false, err
	}
	return []byte(text), true, nil
}

// ask sends a command. ok is false if Redis answers nil: there is no value, or the key is there already.
func (t *Tickets) ask(ctx context.Context, command ...any) (text string, ok bool, err error) {
	text, err = within(ctx, patience, func(ctx context.Context) (string, error) {
		cmd := once{redis.NewCmd(ctx, command...)}
		if err := t.client.Process(ctx, cmd); err != nil {
			return "", err
		}
		return cmd.Text()
	})
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	return text, err == nil, err
}

// A once is a command that go-redis does not send again.
type once struct{ *redis.Cmd }

// NoRetry is asked by go-redis.
func (once) NoRetry() bool { return true }
