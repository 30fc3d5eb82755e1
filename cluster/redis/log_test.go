package wsauthredis

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

const keep = time.Hour

func clientOf(t testing.TB, s *redistest.Server) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func restart(t testing.TB, s *redistest.Server, args ...string) {
	t.Helper()
	s.Kill()
	if err := s.Start(args...); err != nil {
		t.Fatal(err)
	}
}

func newLog(t testing.TB, s *redistest.Server) *Log { return NewLog(clientOf(t, s), "wsauth", keep) }

func add(t testing.TB, l *Log, entries ...string) {
	t.Helper()
	if err := l.Append(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
}

// readAll reads from a cursor to the end of the log.
func readAll(t testing.TB, l *Log, after string) (all []string, next string) {
	t.Helper()
	for {
		entries, next, err := l.Read(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return all, next
		}
		all, after = append(all, entries...), next
	}
}

func numbered(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("subject all %d https://id.example.com/ user-%d", 1764230400+i, i))
	}
	return all
}

func TestWhatIsAppendedIsReadInOrder(t *testing.T) {
	l := newLog(t, redistest.New(t))
	if all, _ := readAll(t, l, ""); len(all) != 0 {
		t.Errorf("got %q from a new log, want nothing", all)
	}
	want := append(numbered(0, 2500), "", "with spaces, \"quotes\" and \xff bytes", "愛麗絲")
	for chunk := range slices.Chunk(want, 700) {
		add(t, l, chunk...)
	}
	for range 2 {
		if all, _ := readAll(t, l, ""); !slices.Equal(all, want) {
			t.Errorf("got %d entries, want the %d that were appended", len(all), len(want))
		}
	}
	add(t, l) // nothing
}

func TestACursorStandsBehindWhatWasRead(t *testing.T) {
	l := newLog(t, redistest.New(t))
	add(t, l, numbered(0, 1500)...)
	_, cursor := readAll(t, l, "")
	add(t, l, numbered(1500, 1503)...)
	if all, _ := readAll(t, l, cursor); !slices.Equal(all, numbered(1500, 1503)) {
		t.Errorf("got %q, want the three that came later", all)
	}
	first, _, err := l.Read(t.Context(), "")
	if err != nil || len(first) != page {
		t.Errorf("got %d entries, %v, want a page of %d", len(first), err, page)
	}
}

func TestAReadAtTheEndWaitsForWhatComes(t *testing.T) {
	l := newLog(t, redistest.New(t))
	_, cursor := readAll(t, l, "")
	type result struct {
		entries []string
		err     error
	}
	read := make(chan result)
	go func() {
		for { // it waits a quarter of a second, and is called again
			entries, next, err := l.Read(context.Background(), cursor)
			if len(entries) > 0 || err != nil {
				read <- result{entries, err}
				return
			}
			cursor = next
		}
	}()
	add(t, l, "alice")
	select {
	case got := <-read:
		if got.err != nil || !slices.Equal(got.entries, []string{"alice"}) {
			t.Errorf("got %q, %v, want alice", got.entries, got.err)
		}
	case <-time.After(30 * time.Second):
		t.Error("got nothing, want alice")
	}
}

func TestACursorOfAnotherLogIsAnError(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *redistest.Server, l *Log){
		"the server comes back empty": func(t *testing.T, s *redistest.Server, l *Log) { restart(t, s) },
		"and is filled again": func(t *testing.T, s *redistest.Server, l *Log) {
			restart(t, s)
			add(t, newLog(t, s), numbered(0, 10)...)
		},
		"everything is deleted": func(t *testing.T, s *redistest.Server, l *Log) { clientOf(t, s).FlushAll(t.Context()) },
		"and filled again": func(t *testing.T, s *redistest.Server, l *Log) {
			clientOf(t, s).FlushAll(t.Context())
			add(t, newLog(t, s), numbered(0, 10)...)
		},
		"the id is deleted":     func(t *testing.T, s *redistest.Server, l *Log) { clientOf(t, s).Del(t.Context(), l.id) },
		"the stream is deleted": func(t *testing.T, s *redistest.Server, l *Log) { clientOf(t, s).Del(t.Context(), l.stream) },
		"a replica that lagged behind takes over": func(t *testing.T, s *redistest.Server, l *Log) {
			entries := clientOf(t, s).XRange(t.Context(), l.stream, "-", "+").Val()
			clientOf(t, s).Del(t.Context(), l.stream)
			for _, e := range entries[:3] {
				clientOf(t, s).XAdd(t.Context(), &redis.XAddArgs{Stream: l.stream, ID: e.ID, Values: []any{field, e.Values[field]}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.New(t)
			l := newLog(t, s)
			add(t, l, numbered(0, 5)...)
			first, middle, err := l.Read(t.Context(), "")
			if err != nil || len(first) != 5 {
				t.Fatal(len(first), err)
			}
			_, end := readAll(t, l, middle)
			change(t, s, l)
			for _, cursor := range []string{middle, end} {
				if got, _, err := l.Read(t.Context(), cursor); err == nil || len(got) > 0 {
					t.Errorf("got %q, %v for %q, want an error", got, err, cursor)
				}
			}
			readAll(t, l, "")
		})
	}
}

func TestALogSurvivesTheEndOfAServerThatSaves(t *testing.T) {
	s := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	l := newLog(t, s)
	add(t, l, numbered(0, 5)...)
	_, cursor := readAll(t, l, "")
	restart(t, s, "--appendonly", "yes", "--appendfsync", "always")
	add(t, l, "later")
	if all, _ := readAll(t, l, cursor); !slices.Equal(all, []string{"later"}) {
		t.Errorf("got %q, want what came later", all)
	}
	if all, _ := readAll(t, l, ""); len(all) != 6 {
		t.Errorf("got %d entries from the beginning, want all 6", len(all))
	}
}

func TestWhatIsNoCursorIsAnError(t *testing.T) {
	l := newLog(t, redistest.New(t))
	add(t, l, "alice")
	for _, cursor := range []string{"x", "a b", "another-id 0-0 false", " ", "a b c d"} {
		if got, _, err := l.Read(t.Context(), cursor); err == nil {
			t.Errorf("%q: got %q, want an error", cursor, got)
		}
	}
}

// A server that swallows everything holds nobody for longer than a second.
func TestASilentServerIsAnErrorWithinASecond(t *testing.T) {
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "a client that does not": false} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), ContextTimeoutEnabled: heeds})
			defer client.Close()
			defer listener.Close() // first: go-redis's Close waits for reads
			l := NewLog(client, "wsauth", keep)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := l.Append(ctx, "alice"); err == nil || ctx.Err() != nil {
				t.Errorf("got %v from Append, want an error of its own", err)
			}
			if _, _, err := l.Read(ctx, ""); err == nil || ctx.Err() != nil {
				t.Errorf("got %v from Read, want an error of its own", err)
			}
		})
	}
}

func TestEntriesLeaveSomeTimeAfterKeep(t *testing.T) {
	s := redistest.New(t)
	l := newLog(t, s)
	old := time.Now().Add(-keep - reserve - time.Minute).UnixMilli()
	client := clientOf(t, s)
	client.SetNX(t.Context(), l.id, "id", 0)
	for i := range 1000 {
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: l.stream, ID: fmt.Sprintf("%d-%d", old, i+1), Values: []string{field, "old"}})
	}
	client.XAdd(t.Context(), &redis.XAddArgs{
		Stream: l.stream, ID: fmt.Sprint(time.Now().Add(-keep-time.Minute).UnixMilli(), "-1"), Values: []string{field, "kept"},
	})
	add(t, l, "newer") // only now the log knows the time of Redis
	add(t, l, "new")
	all, _ := readAll(t, l, "")
	if !slices.Contains(all, "kept") || !slices.Contains(all, "new") {
		t.Errorf("got neither of what is still kept: %d entries", len(all))
	}
	if len(all) > 200 { // Redis removes whole blocks, of 100 entries
		t.Errorf("got %d entries, want nearly all old ones gone", len(all))
	}
}

func TestTwoLogsOfOneServerAreApart(t *testing.T) {
	s := redistest.New(t)
	a, b := NewLog(clientOf(t, s), "a", keep), NewLog(clientOf(t, s), "b", keep)
	add(t, a, "alice")
	if all, _ := readAll(t, b, ""); len(all) != 0 {
		t.Errorf("got %q in the other log, want nothing", all)
	}
	for _, key := range []string{a.stream, a.id} {
		if !strings.HasPrefix(key, "{a}") {
			t.Errorf("got the key %q, want one slot for both keys", key)
		}
	}
}

func BenchmarkReadAll(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := redistest.New(b)
			l := newLog(b, s)
			client := clientOf(b, s)
			empty := memory(b, client)
			for chunk := range slices.Chunk(numbered(0, n), 1000) {
				add(b, l, chunk...)
			}
			full := memory(b, client)
			for b.Loop() {
				if all, _ := readAll(b, l, ""); len(all) != n {
					b.Fatalf("got %d entries, want %d", len(all), n)
				}
			}
			b.ReportMetric(float64(full-empty)/float64(n), "B/entry")
		})
	}
}

// memory is how much memory Redis has in use, in bytes.
func memory(b *testing.B, client *redis.Client) (bytes int64) {
	b.Helper()
	for line := range strings.Lines(client.Info(b.Context(), "memory").Val()) {
		fmt.Sscanf(line, "used_memory:%d", &bytes)
	}
	return bytes
}
