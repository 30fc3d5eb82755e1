package wsauthredis

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

func TestAReplicaWhosePrimaryIsAwayIsNotReadToItsEnd(t *testing.T) {
	primary, replica := redistest.New(t), redistest.New(t)
	add(t, newLog(t, primary), numbered(0, 5)...)
	admin := clientOf(t, replica)
	host, port, _ := net.SplitHostPort(primary.Addr)
	admin.ReplicaOf(t.Context(), host, port)
	l := newLog(t, replica)
	for deadline := time.Now().Add(time.Minute); admin.XLen(t.Context(), l.stream).Val() != 5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the replica has no entries")
		}
	}
	primary.Kill()
	if got, _, err := l.Read(t.Context(), ""); err == nil {
		t.Errorf("got %d entries, want an error", len(got))
	}
}

func TestAPrimaryThatIsCutOffIsNotReadToItsEnd(t *testing.T) {
	s := redistest.New(t)
	l := newLog(t, s)
	add(t, l, numbered(0, 5)...)
	clientOf(t, s).ConfigSet(t.Context(), "min-replicas-to-write", "1")
	if got, _, err := l.Read(t.Context(), ""); err == nil {
		t.Errorf("got %d entries, want an error", len(got))
	}
}

func TestAPageOfForeignEntriesIsNotTheEnd(t *testing.T) {
	s := redistest.New(t)
	l := newLog(t, s)
	add(t, l, numbered(0, 5)...)
	_, cursor := readAll(t, l, "")
	_, err := clientOf(t, s).Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for range page {
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: l.stream, Values: []string{"other", "x"}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	add(t, l, "alice")
	if all, _ := readAll(t, l, cursor); !slices.Contains(all, "alice") {
		t.Errorf("got %d entries to the end, want alice among them", len(all))
	}
}

// A replica that lagged behind takes over, and its clock is behind, too.
func TestAnotherEntryWithTheNumberOfTheCursorIsAnError(t *testing.T) {
	s := redistest.New(t)
	l, client := newLog(t, s), clientOf(t, s)
	add(t, l, "one", "two")
	_, cursor := readAll(t, l, "")
	entries := client.XRange(t.Context(), l.stream, "-", "+").Val()
	client.Del(t.Context(), l.stream)
	for i, text := range []string{"one", "three"} {
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: l.stream, ID: entries[i].ID, Values: []string{field, text}})
	}
	if got, _, err := l.Read(t.Context(), cursor); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}
