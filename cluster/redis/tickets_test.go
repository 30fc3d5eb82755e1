package wsauthredis

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

const ttl = 30 * time.Second

func newTickets(t testing.TB, s *redistest.Server) *Tickets {
	return NewTickets(clientOf(t, s), "wsauth")
}

// newKey is a key as wsauth makes them: 43 characters.
func newKey() string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

func put(t testing.TB, store *Tickets, key, value string, want bool) {
	t.Helper()
	if added, err := store.Put(t.Context(), key, []byte(value), ttl); added != want || err != nil {
		t.Fatalf("got %t, %v from Put, want %t", added, err, want)
	}
}

func take(t testing.TB, store *Tickets, key, want string) {
	t.Helper()
	if value, found, err := store.Take(t.Context(), key); !found || string(value) != want || err != nil {
		t.Fatalf("got %d bytes, %t, %v from Take, want the %d bytes that were put", len(value), found, err, len(want))
	}
}

func takeNothing(t testing.TB, store *Tickets, key string) {
	t.Helper()
	if value, found, err := store.Take(t.Context(), key); found || value != nil || err != nil {
		t.Fatalf("got %q, %t, %v from Take, want nothing", value, found, err)
	}
}

func size(t testing.TB, client *redis.Client) int64 {
	t.Helper()
	n, err := client.DBSize(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// until calls done again and again, and fails the test after a minute.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for a minute in vain: %s", what)
		}
	}
}

func TestATicketIsTakenOnceAsItWasPut(t *testing.T) {
	store := newTickets(t, redistest.New(t))
	for name, value := range map[string]string{
		"text": "a token", "nothing": "", "bytes": "\x00\r\n$-1\r\n\xff", "100 KB": strings.Repeat("x", 100<<10),
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey()
			takeNothing(t, store, key)
			put(t, store, key, value, true)
			take(t, store, key, value)
			takeNothing(t, store, key)
		})
	}
}

func TestPutChangesNothingWhereAKeyIsThere(t *testing.T) {
	s := redistest.New(t)
	store, key := newTickets(t, s), newKey()
	put(t, store, key, "first", true)
	client := clientOf(t, s)
	before := client.PExpireTime(t.Context(), store.prefix+key).Val()
	if added, err := store.Put(t.Context(), key, []byte("second"), time.Hour); added || err != nil {
		t.Errorf("got %t, %v from the second Put, want false", added, err)
	}
	if after := client.PExpireTime(t.Context(), store.prefix+key).Val(); after != before {
		t.Errorf("got an end at %v, want the first one, %v", after, before)
	}
	take(t, store, key, "first")
	put(t, store, key, "third", true)
}

func TestRedisHasTheBytesOfATicketAndNothingElse(t *testing.T) {
	s := redistest.New(t)
	store, client, key := newTickets(t, s), clientOf(t, s), newKey()
	put(t, store, key, "sealed", true)
	keys := client.Keys(t.Context(), "*").Val()
	if len(keys) != 1 || keys[0] != "wsauth:ticket:"+key {
		t.Fatalf("got the keys %q, want that of the ticket alone", keys)
	}
	if value := client.Get(t.Context(), keys[0]).Val(); value != "sealed" {
		t.Errorf("got %q, want the bytes that were put", value)
	}
	if left := client.PTTL(t.Context(), keys[0]).Val(); left <= ttl-10*time.Second || left > ttl {
		t.Errorf("got %v to the end, want %v", left, ttl)
	}
	take(t, store, key, "sealed")
	if n := size(t, client); n != 0 {
		t.Errorf("got %d keys after Take, want none", n)
	}
}

func TestATicketLeavesRedisWhenItsTimeIsUp(t *testing.T) {
	s := redistest.New(t)
	store, client, key := newTickets(t, s), clientOf(t, s), newKey()
	if added, err := store.Put(t.Context(), key, []byte("v"), time.Second); !added || err != nil {
		t.Fatal(added, err)
	}
	until(t, "the key to leave", func() bool { return size(t, client) == 0 })
	takeNothing(t, store, key)
	put(t, store, key, "w", true)
}

func TestATicketCannotStayForEver(t *testing.T) {
	s := redistest.New(t)
	store, client := newTickets(t, s), clientOf(t, s)
	for _, ttl := range []time.Duration{0, -1, -time.Second, time.Microsecond, math.MinInt64} {
		if added, err := store.Put(t.Context(), newKey(), []byte("v"), ttl); added || err == nil {
			t.Errorf("%v: got %t, %v, want an error", ttl, added, err)
		}
	}
	if n := size(t, client); n != 0 {
		t.Errorf("got %d keys, want none", n)
	}
}

func TestAFloodOfAbsentKeysLeavesNothing(t *testing.T) {
	s := redistest.New(t)
	store, client := newTickets(t, s), clientOf(t, s)
	for range 10_000 {
		takeNothing(t, store, newKey())
	}
	if n := size(t, client); n != 0 {
		t.Errorf("got %d keys, want none", n)
	}
}

func TestTicketsAreApartFromOthersAndFromALog(t *testing.T) {
	s := redistest.New(t)
	a, b, key := NewTickets(clientOf(t, s), "a"), NewTickets(clientOf(t, s), "b"), newKey()
	l := NewLog(clientOf(t, s), "a", keep)
	add(t, l, "alice")
	put(t, a, key, "of a", true)
	takeNothing(t, b, key)
	put(t, b, key, "of b", true)
	for _, of := range []string{"", ":id", ":ticket:"} {
		takeNothing(t, a, of)
	}
	take(t, a, key, "of a")
	take(t, b, key, "of b")
	if all, _ := readAll(t, l, ""); len(all) != 1 {
		t.Errorf("got %q from the log, want alice", all)
	}
}

func TestOneOf100000TakesFindsATicket(t *testing.T) {
	store, key := newTickets(t, redistest.New(t)), newKey()
	put(t, store, key, "v", true)
	raceForOne(t, 250, 400, func() (bool, error) {
		_, found, err := store.Take(t.Context(), key)
		return found, err
	})
}

func TestOneOf10000PutsAdds(t *testing.T) {
	store, key := newTickets(t, redistest.New(t)), newKey()
	raceForOne(t, 250, 40, func() (bool, error) { return store.Put(t.Context(), key, nil, ttl) })
}

// race calls f in n goroutines that start at one time.
func race(n int, f func()) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	all.Wait()
}

// raceForOne calls try each times in callers goroutines that start at one time. One call must succeed, and none fail.
func raceForOne(t *testing.T, callers, each int, try func() (bool, error)) {
	t.Helper()
	var succeeded, failed atomic.Int64
	race(callers, func() {
		for range each {
			ok, err := try()
			if ok {
				succeeded.Add(1)
			}
			if err != nil {
				failed.Add(1)
			}
		}
	})
	if succeeded.Load() != 1 || failed.Load() != 0 {
		t.Errorf("got %d that succeeded and %d errors, want 1 and none", succeeded.Load(), failed.Load())
	}
}

func TestAStoreThatIsAwayIsAnErrorInTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	killed := redistest.New(t)
	killed.Kill()
	addrs := map[string]string{"killed": killed.Addr, "silent": listener.Addr().String()}
	clients := map[string]bool{"a client that heeds contexts": true, "a client that does not": false}
	times := map[string]time.Duration{"the store's": time.Minute, "the context's": patience / 20}
	for name, addr := range addrs {
		for how, heeds := range clients {
			client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: heeds})
			t.Cleanup(func() { listener.Close(); client.Close() }) // go-redis's Close waits for reads
			for whose, within := range times {
				t.Run(name+", "+how+", "+whose+" time", func(t *testing.T) {
					t.Parallel()
					isAway(t, NewTickets(client, "wsauth"), within)
				})
			}
		}
	}
}

// isAway calls Put and Take, whose errors must come within their own timeout, or within that of the context.
func isAway(t *testing.T, store *Tickets, within time.Duration) {
	t.Helper()
	for name, call := range map[string]func(context.Context) (bool, error){
		"Put": func(ctx context.Context) (bool, error) { return store.Put(ctx, newKey(), []byte("v"), ttl) },
		"Take": func(ctx context.Context) (bool, error) {
			_, found, err := store.Take(ctx, newKey())
			return found, err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		began := time.Now()
		ok, err := call(ctx)
		if ok || err == nil {
			t.Errorf("got %t, %v from %s, want an error", ok, err, name)
		}
		if took, most := time.Since(began), min(within, patience)+patience; took > most {
			t.Errorf("got an error of %s after %v, want one within %v", name, took, most)
		}
	}
}

func TestAServerThatMustNotAnswerIsAnError(t *testing.T) {
	for name, row := range map[string]struct {
		change func(t *testing.T, client *redis.Client)
		takes  bool // Take still works
	}{
		"a replica": {change: func(t *testing.T, client *redis.Client) {
			primary := redistest.New(t)
			host, port, _ := net.SplitHostPort(primary.Addr)
			client.ReplicaOf(t.Context(), host, port)
		}},
		"a replica whose primary is away": {change: func(t *testing.T, client *redis.Client) {
			primary := redistest.New(t)
			host, port, _ := net.SplitHostPort(primary.Addr)
			primary.Kill()
			client.ReplicaOf(t.Context(), host, port)
		}},
		"a primary that is cut off": {change: func(t *testing.T, client *redis.Client) {
			client.ConfigSet(t.Context(), "min-replicas-to-write", "1")
		}},
		"a server that is full": {takes: true, change: func(t *testing.T, client *redis.Client) {
			client.ConfigSet(t.Context(), "maxmemory", "1")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.New(t)
			store := newTickets(t, s)
			put(t, store, "there", "v", true)
			row.change(t, clientOf(t, s))
			if _, found, err := store.Take(t.Context(), "there"); found != row.takes || (err == nil) != row.takes {
				t.Errorf("got %t, %v from Take, want an error: %t", found, err, !row.takes)
			}
			if added, err := store.Put(t.Context(), newKey(), []byte("v"), ttl); added || err == nil {
				t.Errorf("got %t, %v from Put, want an error", added, err)
			}
		})
	}
}

func TestAServerThatCameBackAnswersAtOnce(t *testing.T) {
	s := redistest.New(t)
	store := newTickets(t, s)
	race(50, func() { store.Take(t.Context(), newKey()) }) // fills the pool with connections
	restart(t, s)
	for range 100 {
		put(t, store, newKey(), "v", true)
	}
}

// A replica that has not heard of a Take has the ticket once more: see Tickets. Not for longer than it lasts.
func TestATicketThatAReplicaBringsBackEndsWhenItWould(t *testing.T) {
	primary, replica := redistest.New(t), redistest.New(t)
	store, key := newTickets(t, primary), newKey()
	host, port, _ := net.SplitHostPort(primary.Addr)
	admin := clientOf(t, replica)
	admin.ReplicaOf(t.Context(), host, port)
	put(t, store, key, "v", true)
	until(t, "the ticket to reach the replica", func() bool { return size(t, admin) == 1 })
	want := clientOf(t, primary).PExpireTime(t.Context(), store.prefix+key).Val()
	admin.ReplicaOf(t.Context(), "NO", "ONE") // the primary is cut off
	take(t, store, key, "v")
	if got := admin.PExpireTime(t.Context(), store.prefix+key).Val(); got != want || got <= 0 {
		t.Errorf("got an end at %v, want that of the primary, %v", got, want)
	}
	take(t, newTickets(t, replica), key, "v")
}

func BenchmarkPutAndTake(b *testing.B) {
	store, value := newTickets(b, redistest.New(b)), bytes.Repeat([]byte("v"), 1000)
	for b.Loop() {
		key := newKey()
		if added, err := store.Put(b.Context(), key, value, ttl); !added || err != nil {
			b.Fatal(added, err)
		}
		if _, found, err := store.Take(b.Context(), key); !found || err != nil {
			b.Fatal(found, err)
		}
	}
}

// What a ticket needs in the memory of Redis, in addition to its value.
func BenchmarkMemory(b *testing.B) {
	for _, length := range []int{0, 1000} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			const n = 100_000
			s := redistest.New(b)
			store, client, value := newTickets(b, s), clientOf(b, s), make([]byte, length)
			empty := memory(b, client)
			for b.Loop() {
				_, err := client.Pipelined(b.Context(), func(p redis.Pipeliner) error {
					for range n {
						p.Set(b.Context(), store.prefix+newKey(), value, time.Hour)
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(memory(b, client)-empty)/float64(size(b, client)), "B/ticket")
		})
	}
}
