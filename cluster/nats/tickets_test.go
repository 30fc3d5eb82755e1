package wsauthnats

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const ttl = 30 * time.Second

func newTickets(t testing.TB, s *server.Server) *Tickets {
	return NewTickets(connect(t, s.ClientURL()), name)
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

// streamOf asks for the stream, and what it has now.
func streamOf(t testing.TB, store *Tickets) jetstream.Stream {
	t.Helper()
	stream, err := store.js.Stream(t.Context(), store.name)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func size(t testing.TB, store *Tickets) uint64 { return streamOf(t, store).CachedInfo().State.Msgs }

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
	store := newTickets(t, newServer(t, t.TempDir(), -1))
	for name, value := range map[string]string{
		"text": "a token", "nothing": "", "bytes": "\x00\r\n+OK\r\n\xff", "100 KB": strings.Repeat("x", 100<<10),
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
	store, key := newTickets(t, newServer(t, t.TempDir(), -1)), newKey()
	put(t, store, key, "first", true)
	put(t, store, key, "second", false)
	take(t, store, key, "first")
	put(t, store, key, "third", true)
	take(t, store, key, "third")
}

func TestTheStreamHasTheBytesOfATicketAndNothingElse(t *testing.T) {
	store, key := newTickets(t, newServer(t, t.TempDir(), -1)), newKey()
	put(t, store, key, "sealed", true)
	message, err := streamOf(t, store).GetMsg(t.Context(), 1)
	if err != nil || message.Subject != "wsauth-tickets."+key || string(message.Data) != "sealed" {
		t.Fatalf("got %v, %v, want the bytes that were put", message, err)
	}
	if got := message.Header.Get(jetstream.MsgTTLHeader); got != "30s" {
		t.Errorf("got a time of %q, want 30s", got)
	}
	take(t, store, key, "sealed")
	if n := size(t, store); n != 0 {
		t.Errorf("got %d messages after Take, want none", n)
	}
}

func TestATicketLeavesTheStreamWhenItsTimeIsUp(t *testing.T) {
	for name, row := range map[string]struct {
		ttl  time.Duration
		want string
	}{
		"a second":           {time.Second, "1s"},
		"a fraction counts":  {1001 * time.Millisecond, "2s"},
		"less than a second": {time.Nanosecond, "1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, key := newTickets(t, newServer(t, t.TempDir(), -1)), newKey()
			if added, err := store.Put(t.Context(), key, []byte("v"), row.ttl); !added || err != nil {
				t.Fatal(added, err)
			}
			message, err := streamOf(t, store).GetMsg(t.Context(), 1)
			if err != nil || message.Header.Get(jetstream.MsgTTLHeader) != row.want {
				t.Fatalf("got %v, %v, want a time of %s", message, err, row.want)
			}
			until(t, "the message to leave", func() bool { return size(t, store) == 0 })
			if after := time.Since(message.Time); after < row.ttl {
				t.Errorf("got no message after %v, want it for %v", after, row.ttl)
			}
			takeNothing(t, store, key)
			put(t, store, key, "w", true)
		})
	}
}

func TestATicketCannotStayForEver(t *testing.T) {
	store := newTickets(t, newServer(t, t.TempDir(), -1))
	put(t, store, newKey(), "v", true)
	for _, ttl := range []time.Duration{0, -1, -time.Second, math.MinInt64, longest + 1, math.MaxInt64} {
		if added, err := store.Put(t.Context(), newKey(), []byte("v"), ttl); added || err == nil {
			t.Errorf("%v: got %t, %v, want an error", ttl, added, err)
		}
	}
	if n := size(t, store); n != 1 {
		t.Errorf("got %d messages, want the one that ends", n)
	}
	const ofProofs = 20*time.Minute + time.Second // those of the longest MaxAge
	if added, err := store.Put(t.Context(), newKey(), nil, ofProofs); !added || err != nil {
		t.Errorf("%v: got %t, %v, want true", ofProofs, added, err)
	}
}

func TestAKeyIsNeverAPattern(t *testing.T) {
	store := newTickets(t, newServer(t, t.TempDir(), -1))
	put(t, store, "there", "v", true)
	for _, key := range []string{"", "*", ">", "there.*", "a.b", ".", " ", "the re", "there\r\n", "thére"} {
		if value, found, err := store.Take(t.Context(), key); found || err == nil {
			t.Errorf("%q: got %q, %t, %v from Take, want an error", key, value, found, err)
		}
		if added, err := store.Put(t.Context(), key, nil, ttl); added || err == nil {
			t.Errorf("%q: got %t, %v from Put, want an error", key, added, err)
		}
	}
	take(t, store, "there", "v")
}

func TestAFloodOfAbsentKeysLeavesNothing(t *testing.T) {
	store := newTickets(t, newServer(t, t.TempDir(), -1))
	for range 10_000 {
		takeNothing(t, store, newKey())
	}
	if state := streamOf(t, store).CachedInfo().State; state.Msgs != 0 || state.LastSeq != 0 || state.Consumers != 0 {
		t.Errorf("got %+v, want an empty stream", state)
	}
}

func TestTicketsAreApartFromOthersAndFromALog(t *testing.T) {
	js := connect(t, newServer(t, t.TempDir(), -1).ClientURL())
	a, b, key := NewTickets(js, "a"), NewTickets(js, "b"), newKey()
	l := NewLog(js, "a", keep)
	add(t, l, "alice")
	put(t, a, key, "of a", true)
	takeNothing(t, b, key)
	put(t, b, key, "of b", true)
	take(t, a, key, "of a")
	take(t, b, key, "of b")
	if all, _ := readAll(t, l, ""); len(all) != 1 {
		t.Errorf("got %q from the log, want alice", all)
	}
}

func TestOneOf10000TakesFindsATicket(t *testing.T) {
	store, key := newTickets(t, newServer(t, t.TempDir(), -1)), newKey()
	put(t, store, key, "v", true)
	raceForOne(t, 100, 100, func() (bool, error) {
		_, found, err := store.Take(t.Context(), key)
		return found, err
	})
}

func TestOneOf10000PutsAdds(t *testing.T) {
	store, key := newTickets(t, newServer(t, t.TempDir(), -1)), newKey()
	raceForOne(t, 100, 100, func() (bool, error) { return store.Put(t.Context(), key, nil, ttl) })
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

// Of callers that have all found the message, one deletes it. The others are told that there is none.
func TestOneOfManyThatHaveReadATicketTakesIt(t *testing.T) {
	store := newTickets(t, newServer(t, t.TempDir(), -1))
	for range 100 {
		key := newKey()
		put(t, store, key, "v", true)
		raceForOne(t, 20, 1, func() (bool, error) {
			_, found, err := store.Take(t.Context(), key)
			return found, err
		})
	}
}

func TestAStoreThatIsAwayIsAnErrorInTime(t *testing.T) {
	away := newServer(t, t.TempDir(), -1)
	shutDown := newTickets(t, away)
	takeNothing(t, shutDown, newKey())
	away.Shutdown()
	away.WaitForShutdown()
	withoutStream, _ := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	withoutStream.Start()
	t.Cleanup(withoutStream.Shutdown)
	if !withoutStream.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	for name, store := range map[string]*Tickets{
		"shut down":         shutDown,
		"silent":            newTicketsOfSilence(t),
		"without JetStream": newTickets(t, withoutStream),
	} {
		for whose, within := range map[string]time.Duration{"the store's": time.Minute, "the context's": timeout / 20} {
			t.Run(name+", "+whose+" time", func(t *testing.T) {
				t.Parallel()
				isAway(t, store, within)
			})
		}
	}
}

// newTicketsOfSilence returns tickets in a server that has stopped to answer, on a connection that stays open.
func newTicketsOfSilence(t *testing.T) *Tickets {
	s := newServer(t, t.TempDir(), -1)
	wire := &silentWire{}
	conn, err := nats.Connect(s.ClientURL(), nats.SetCustomDialer(wire))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	store := NewTickets(js, name)
	takeNothing(t, store, newKey())
	wire.silent.Store(true)
	return store
}

// A silentWire swallows what is written once it is silent.
type silentWire struct{ silent atomic.Bool }

func (w *silentWire) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return silentConn{conn, w}, err
}

type silentConn struct {
	net.Conn
	wire *silentWire
}

func (c silentConn) Write(b []byte) (int, error) {
	if c.wire.silent.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
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
		if took, most := time.Since(began), min(within, timeout)+timeout; took > most {
			t.Errorf("got an error of %s after %v, want one within %v", name, took, most)
		}
	}
}

func TestAStreamThatCannotKeepTicketsIsAnError(t *testing.T) {
	good := (&Tickets{name: "wsauth-tickets"}).config()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"no time to live":          func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false },
		"no deletes":               func(c *jetstream.StreamConfig) { c.DenyDelete = true },
		"replicas answer":          func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"old messages are dropped": func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"each replica refuses":     func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true },
		"an age that is too short": func(c *jetstream.StreamConfig) { c.MaxAge = longest },
		"a work queue":             func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"messages of another stream": func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{{Name: "other"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			js := connect(t, newServer(t, t.TempDir(), -1).ClientURL())
			config := good
			change(&config)
			if _, err := js.CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			store := NewTickets(js, "wsauth")
			if added, err := store.Put(t.Context(), newKey(), []byte("v"), ttl); added || err == nil {
				t.Errorf("got %t, %v from Put, want an error", added, err)
			}
			if _, found, err := store.Take(t.Context(), newKey()); found || err == nil {
				t.Errorf("got %t, %v from Take, want an error", found, err)
			}
		})
	}
}

func TestAStreamThatExistsKeepsTicketsAsItIs(t *testing.T) {
	js := connect(t, newServer(t, t.TempDir(), -1).ClientURL())
	store := NewTickets(js, name)
	config := store.config()
	config.Storage, config.MaxAge, config.MaxMsgs = jetstream.MemoryStorage, 2*longest, 2
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	key := newKey()
	put(t, store, key, "v", true)
	put(t, store, newKey(), "v", true)
	if added, err := store.Put(t.Context(), newKey(), []byte("v"), ttl); added || err == nil {
		t.Errorf("got %t, %v from Put into a stream that is full, want an error", added, err)
	}
	take(t, store, key, "v")
}

func TestAStreamThatIsGoneIsCreatedAgain(t *testing.T) {
	store := newTickets(t, newServer(t, t.TempDir(), -1))
	for name, call := range map[string]func() error{
		"Put":  func() error { _, err := store.Put(t.Context(), newKey(), []byte("v"), ttl); return err },
		"Take": func() error { _, _, err := store.Take(t.Context(), newKey()); return err },
	} {
		takeNothing(t, store, newKey())
		if err := store.js.DeleteStream(t.Context(), store.name); err != nil {
			t.Fatal(err)
		}
		if err := call(); err == nil {
			t.Errorf("got no error from %s, want one", name)
		}
		if err := call(); err != nil {
			t.Errorf("got %v from the next %s, want none", err, name)
		}
	}
}

func TestADeleteThatIsRefusedIsAnError(t *testing.T) {
	store, key := newTickets(t, newServer(t, t.TempDir(), -1)), newKey()
	put(t, store, key, "v", true)
	config := streamOf(t, store).CachedInfo().Config
	config.Sealed = true
	if _, err := store.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if value, found, err := store.Take(t.Context(), key); found || err == nil {
		t.Errorf("got %q, %t, %v, want an error", value, found, err)
	}
}

func TestTicketsSurviveTheEndOfTheirServer(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, -1)
	store := newTickets(t, s)
	put(t, store, "taken", "v", true)
	put(t, store, "there", "v", true)
	take(t, store, "taken", "v")
	restart(t, s, dir)
	until(t, "the server to be back", func() bool {
		_, _, err := store.Take(t.Context(), newKey())
		return err == nil
	})
	takeNothing(t, store, "taken")
	put(t, store, "there", "w", false)
	take(t, store, "there", "v")
}

func TestWhatCannotBePutIsNotKeptForLater(t *testing.T) {
	s := newServer(t, t.TempDir(), -1)
	store := newTickets(t, s)
	put(t, store, newKey(), "v", true)
	s.Shutdown()
	s.WaitForShutdown()
	until(t, "the connection to end", func() bool { return !store.js.Conn().IsConnected() })
	isAway(t, store, time.Minute)
	if n, _ := store.js.Conn().Buffered(); n > 0 {
		t.Errorf("got %d bytes that wait to be sent, want none", n)
	}
}

func BenchmarkPutAndTake(b *testing.B) {
	store, value := newTickets(b, newServer(b, b.TempDir(), -1)), bytes.Repeat([]byte("v"), 1000)
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
