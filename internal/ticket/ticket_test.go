package ticket

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

// A counter is a store that counts its calls, and fails if it has an error.
type counter struct {
	*Memory
	takes, puts int
	err         error
}

func newCounter() *counter { return &counter{Memory: NewMemory(1 << 20)} }

func (c *counter) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if c.puts++; c.err != nil {
		return false, c.err
	}
	return c.Memory.Put(ctx, key, value, ttl)
}

func (c *counter) Take(ctx context.Context, key string) ([]byte, bool, error) {
	if c.takes++; c.err != nil {
		return nil, false, c.err
	}
	return c.Memory.Take(ctx, key)
}

func issue(t testing.TB, store Store, c Content) string {
	t.Helper()
	ticket, err := Issue(t.Context(), store, c)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func wantKind(t testing.TB, err, want error) {
	t.Helper()
	var got error
	if r := (*refusal.Error)(nil); errors.As(err, &r) {
		got = r.Kind
	}
	if got != want || (err == nil) != (want == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestATicketIsGoodOnce(t *testing.T) {
	for name, content := range map[string]Content{
		"of a bearer token": {Token: "header.payload.signature"},
		"of a bound token":  {Token: "header.payload.signature", Key: "thumbprint"},
		"of a long token":   {Token: strings.Repeat("x", 64<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			store := NewMemory(1 << 20)
			ticket := issue(t, store, content)
			got, err := Redeem(t.Context(), store, ticket)
			if err != nil || got != content {
				t.Errorf("got %v, %v, want what it was issued for", got, err)
			}
			got, err = Redeem(t.Context(), store, ticket)
			wantKind(t, err, refusal.ErrInvalidTicket)
			if got != (Content{}) {
				t.Errorf("got %v the second time, want nothing", got)
			}
		})
	}
}

// In this mode, the standard library panics where an algorithm is used as FIPS 140-3 does not allow.
func TestTicketsAreMadeAsFIPSAllows(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestATicketIsGoodOnce$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("got %v, want tickets: %s", err, out)
	}
}

func TestATicketIsGoodFor30Seconds(t *testing.T) {
	for name, row := range map[string]struct {
		after time.Duration
		want  error
	}{
		"after 29 s": {29 * time.Second, nil},
		"after 30 s": {30 * time.Second, refusal.ErrInvalidTicket},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory(1 << 20)
				ticket := issue(t, store, Content{Token: "x"})
				time.Sleep(row.after)
				_, err := Redeem(t.Context(), store, ticket)
				wantKind(t, err, row.want)
			})
		})
	}
}

// A store that forgets to forget.
func TestATicketEndsEvenIfTheStoreKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := keeper{NewMemory(1 << 20)}
		early, late := issue(t, store, Content{Token: "x"}), issue(t, store, Content{Token: "x"})
		time.Sleep(Lifetime + skew)
		if _, err := Redeem(t.Context(), store, early); err != nil {
			t.Errorf("while clocks may differ: got %v, want it accepted", err)
		}
		time.Sleep(2 * time.Second)
		_, err := Redeem(t.Context(), store, late)
		wantKind(t, err, refusal.ErrInvalidTicket)
	})
}

// A keeper keeps everything for an hour.
type keeper struct{ *Memory }

func (k keeper) Put(ctx context.Context, key string, value []byte, _ time.Duration) (bool, error) {
	return k.Memory.Put(ctx, key, value, time.Hour)
}

func TestOnlyAWellFormedTicketReachesTheStore(t *testing.T) {
	good := issue(t, newCounter(), Content{Token: "x"})
	for name, row := range map[string]struct {
		ticket string
		takes  int
	}{
		"unknown":             {good, 1},
		"empty":               {"", 0},
		"too short":           {good[1:], 0},
		"too long":            {good + "A", 0},
		"padded":              {good[:42] + "=", 0},
		"with a line break":   {good[:41] + "\n" + good[41:42], 0},
		"unused bits are set": {strings.Repeat("A", 42) + "B", 0},
		"standard base64":     {strings.Repeat("+", 43), 0},
		"a megabyte":          {strings.Repeat("A", 1<<20), 0},
	} {
		t.Run(name, func(t *testing.T) {
			store := newCounter()
			_, err := Redeem(t.Context(), store, row.ticket)
			wantKind(t, err, refusal.ErrInvalidTicket)
			if store.takes != row.takes || store.puts != 0 {
				t.Errorf("got %d takes and %d puts, want %d and 0", store.takes, store.puts, row.takes)
			}
		})
	}
}

func TestWhoeverReadsTheStoreHasNothing(t *testing.T) {
	store := NewMemory(1 << 20)
	content := Content{Token: "header.payload.signature", Key: "the-thumbprint"}
	ticket := issue(t, store, content)
	secret, _ := encoding.DecodeString(ticket)
	for name, e := range store.entries {
		if len(name) != 43 || name == ticket {
			t.Errorf("got the name %q, want a hash", name)
		}
		stored := append([]byte(name), e.value...)
		for _, part := range []string{content.Token, content.Key, "payload", ticket, string(secret), string(secret[:8])} {
			if bytes.Contains(stored, []byte(part)) {
				t.Errorf("the store has %q in the clear", part)
			}
		}
		if _, err := Redeem(t.Context(), store, name); err == nil {
			t.Error("the name is as good as the ticket")
		}
	}
}

func TestAValueThatWasTamperedWithIsRefused(t *testing.T) {
	for name, change := range map[string]func(value []byte) []byte{
		"a bit":           func(v []byte) []byte { v[0] ^= 1; return v },
		"cut":             func(v []byte) []byte { return v[:len(v)-1] },
		"empty":           func([]byte) []byte { return nil },
		"of another name": func([]byte) []byte { return otherValue(t) },
	} {
		t.Run(name, func(t *testing.T) {
			store := NewMemory(1 << 20)
			ticket := issue(t, store, Content{Token: "x"})
			for key, e := range store.entries {
				store.entries[key] = entry{change(e.value), e.expires}
			}
			_, err := Redeem(t.Context(), store, ticket)
			wantKind(t, err, refusal.ErrInvalidTicket)
		})
	}
}

func otherValue(t testing.TB) []byte {
	store := NewMemory(1 << 20)
	issue(t, store, Content{Token: "y"})
	for _, e := range store.entries {
		return e.value
	}
	return nil
}

func TestAStoreThatIsAwayIsAnOutage(t *testing.T) {
	store := newCounter()
	ticket := issue(t, store, Content{Token: "x"})
	store.err = errors.New("connection refused: secret detail")
	_, err := Redeem(t.Context(), store, ticket)
	wantKind(t, err, refusal.ErrUnavailable)
	_, err = Issue(t.Context(), store, Content{Token: "x"})
	wantKind(t, err, refusal.ErrUnavailable)
	if strings.Contains(err.Error(), "detail") {
		t.Errorf("the error has the text of the store's: %v", err)
	}
}

func TestOfAllWhoRedeemATicketOneGetsIt(t *testing.T) {
	store := NewMemory(1 << 20)
	ticket := issue(t, store, Content{Token: "x"})
	var winners atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 1000 {
				if _, err := Redeem(context.Background(), store, ticket); err == nil {
					winners.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := winners.Load(); got != 1 {
		t.Errorf("got %d of 100,000 in, want 1", got)
	}
}

func TestTheMemoryIsBoundedAndForgetsWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 10
		m := NewMemory(room * (overhead + 1 + 8))
		put := func(i int) (bool, error) {
			return m.Put(t.Context(), strconv.Itoa(i%10), make([]byte, 8), time.Minute)
		}
		for i := range room {
			if added, err := put(i); !added || err != nil {
				t.Fatalf("entry %d: got %t, %v, want it added", i, added, err)
			}
		}
		if added, err := put(0); added || err != nil {
			t.Errorf("a key that is there: got %t, %v, want false, nil", added, err)
		}
		if added, err := m.Put(t.Context(), "x", make([]byte, 8), time.Minute); added || err == nil {
			t.Errorf("a full memory: got %t, %v, want an error", added, err)
		}
		if _, found, _ := m.Take(t.Context(), "3"); !found {
			t.Error("an entry is lost")
		}
		time.Sleep(time.Minute)
		if _, found, _ := m.Take(t.Context(), "4"); found {
			t.Error("an entry that has expired is found")
		}
		for i := range room {
			if added, err := put(i); !added || err != nil {
				t.Fatalf("entry %d, after the others have expired: got %t, %v, want it added", i, added, err)
			}
		}
		if len(m.entries) != room || len(m.queue) != room {
			t.Errorf("got %d entries and %d in the queue, want %d", len(m.entries), len(m.queue), room)
		}
	})
}

func FuzzRedeemAcceptsNothingButTickets(f *testing.F) {
	store := NewMemory(1 << 20)
	f.Add(issue(f, store, Content{Token: "x"})[1:])
	f.Add(strings.Repeat("A", 43))
	f.Add("")
	f.Fuzz(func(t *testing.T, ticket string) {
		if c, err := Redeem(context.Background(), store, ticket); err == nil || c != (Content{}) {
			t.Errorf("got %v, %v, want a refusal", c, err)
		}
	})
}

func BenchmarkIssueAndRedeem(b *testing.B) {
	store := NewMemory(64 << 20)
	content := Content{Token: strings.Repeat("x", 500)}
	for b.Loop() {
		ticket, err := Issue(b.Context(), store, content)
		if err == nil {
			_, err = Redeem(b.Context(), store, ticket)
		}
		if err != nil {
			store = NewMemory(64 << 20)
		}
	}
}
