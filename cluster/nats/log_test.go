package wsauthnats

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	keep = time.Hour
	name = "wsauth"
)

// newServer starts a NATS server with JetStream, whose data is in dir, and ends it when the test is over. A port of -1 is
// any.
func newServer(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}

// restart starts a server in the place of another one.
func restart(t testing.TB, s *server.Server, dir string) *server.Server {
	t.Helper()
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	return newServer(t, dir, port)
}

func connect(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func newLog(t testing.TB, s *server.Server) *Log {
	return NewLog(connect(t, s.ClientURL()), name, keep)
}

// add appends entries. After a restart it may have to wait for the connection.
func add(t testing.TB, l *Log, entries ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := l.Append(t.Context(), entries...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
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

// isSame reports whether these are the same entries, in any order: the entries of one Append have no order.
func isSame(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func numbered(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("subject all %d https://id.example.com/ user-%d", 1764230400+i, i))
	}
	return all
}

func TestWhatIsAppendedIsRead(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
	if all, _ := readAll(t, l, ""); len(all) != 0 {
		t.Errorf("got %q from a new log, want nothing", all)
	}
	want := append(numbered(0, 2500), "", "with spaces, \"quotes\" and \xff bytes", "愛麗絲")
	for chunk := range slices.Chunk(want, 700) {
		add(t, l, chunk...)
	}
	for range 2 {
		if all, _ := readAll(t, l, ""); !isSame(all, want) {
			t.Errorf("got %d entries, want the %d that were appended", len(all), len(want))
		}
	}
	add(t, l) // nothing
}

func TestALogIsCreatedByWhoeverAppendsFirst(t *testing.T) {
	s := newServer(t, t.TempDir(), -1)
	add(t, newLog(t, s), "alice")
	if all, _ := readAll(t, newLog(t, s), ""); !slices.Equal(all, []string{"alice"}) {
		t.Errorf("got %q, want alice", all)
	}
}

func TestAStreamThatExistsIsUsedAsItIs(t *testing.T) {
	s := newServer(t, t.TempDir(), -1)
	js := connect(t, s.ClientURL())
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: name, Subjects: []string{name}, MaxAge: 100 * time.Hour, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := NewLog(js, name, keep)
	add(t, l, "alice")
	if all, _ := readAll(t, l, ""); len(all) != 1 {
		t.Errorf("got %q, want alice", all)
	}
	stream, err := js.Stream(t.Context(), name)
	if err != nil || stream.CachedInfo().Config.MaxAge != 100*time.Hour {
		t.Errorf("got %v, %v, want the stream unchanged", stream.CachedInfo().Config, err)
	}
}

func TestACursorStandsBehindWhatWasRead(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
	add(t, l, numbered(0, 1500)...)
	_, cursor := readAll(t, l, "")
	add(t, l, numbered(1500, 1503)...)
	for range 2 { // with the consumer that was kept, and with a new one
		if all, _ := readAll(t, l, cursor); !isSame(all, numbered(1500, 1503)) {
			t.Errorf("got %q, want the three that came later", all)
		}
	}
	first, _, err := l.Read(t.Context(), "")
	if err != nil || len(first) != page {
		t.Errorf("got %d entries, %v, want a page of %d", len(first), err, page)
	}
}

func TestAReadAtTheEndWaitsForWhatComes(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
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
	for what, change := range map[string]func(t *testing.T, s *server.Server, l *Log){
		"the server comes back empty": func(t *testing.T, s *server.Server, l *Log) {
			newLog(t, restart(t, s, t.TempDir()))
		},
		"and is filled again": func(t *testing.T, s *server.Server, l *Log) {
			add(t, newLog(t, restart(t, s, t.TempDir())), numbered(0, 10)...)
		},
		"the stream is deleted": func(t *testing.T, s *server.Server, l *Log) { l.js.DeleteStream(t.Context(), name) },
		"and filled again": func(t *testing.T, s *server.Server, l *Log) {
			l.js.DeleteStream(t.Context(), name)
			add(t, newLog(t, s), numbered(0, 10)...)
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newServer(t, t.TempDir(), -1)
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
			add(t, l, "later")
			if all, _ := readAll(t, l, ""); !slices.Contains(all, "later") {
				t.Errorf("got %q from the beginning, want what came later", all)
			}
		})
	}
}

func TestACursorBeforeEntriesThatAreGoneIsAnError(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
	add(t, l, "one")
	_, cursor := readAll(t, l, "")
	add(t, l, "two", "three")
	stream, err := l.js.Stream(t.Context(), name)
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := l.Read(t.Context(), cursor); err == nil {
		t.Errorf("got %q, want an error", got)
	}
	if all, _ := readAll(t, l, ""); len(all) != 0 {
		t.Errorf("got %q from the beginning, want nothing", all)
	}
	add(t, l, "four")
	if all, _ := readAll(t, l, ""); !slices.Equal(all, []string{"four"}) {
		t.Errorf("got %q, want four", all)
	}
}

func TestALogSurvivesTheEndOfItsServer(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, -1)
	l := newLog(t, s)
	add(t, l, numbered(0, 5)...)
	_, cursor := readAll(t, l, "")
	restart(t, s, dir)
	add(t, l, "later")
	for _, after := range []string{"", cursor} { // JetStream may start after the server, and has forgotten the consumers
		for _, _, err := l.Read(t.Context(), after); err != nil && t.Context().Err() == nil; {
			_, _, err = l.Read(t.Context(), after)
		}
	}
	if all, _ := readAll(t, l, ""); len(all) < 6 { // more if add tried twice
		t.Errorf("got %d entries from the beginning, want all 6", len(all))
	}
	if all, _ := readAll(t, l, cursor); !slices.Contains(all, "later") {
		t.Errorf("got %q, want what came later", all)
	}
}

func TestWhatIsNoCursorIsAnError(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
	add(t, l, "alice")
	for _, cursor := range []string{"x", "1 2", "1 2 false", "1 2 maybe", " ", "1 2 true 3", "1  2 true"} {
		if got, _, err := l.Read(t.Context(), cursor); err == nil {
			t.Errorf("%q: got %q, want an error", cursor, got)
		}
	}
}

func TestAServerThatIsAwayIsAnErrorWithinSeconds(t *testing.T) {
	s := newServer(t, t.TempDir(), -1)
	l := newLog(t, s)
	_, cursor := readAll(t, l, "")
	s.Shutdown()
	s.WaitForShutdown()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Append(ctx, "alice"); err == nil || ctx.Err() != nil {
		t.Errorf("got %v from Append, want an error of its own", err)
	}
	for _, after := range []string{"", cursor} {
		if _, _, err := l.Read(ctx, after); err == nil || ctx.Err() != nil {
			t.Errorf("got %v from Read, want an error of its own", err)
		}
	}
}

func TestConsumersDoNotPileUp(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
	add(t, l, "alice")
	_, cursor := readAll(t, l, "")
	for range 20 {
		add(t, l, "alice")
		_, cursor = readAll(t, l, cursor)
	}
	stream, err := l.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n > 2 {
		t.Errorf("got %d consumers, want the one of the reader", n)
	}
}

func BenchmarkReadAll(b *testing.B) {
	const n = 100_000
	l := newLog(b, newServer(b, b.TempDir(), -1))
	for chunk := range slices.Chunk(numbered(0, n), 1000) {
		add(b, l, chunk...)
	}
	for b.Loop() {
		if all, _ := readAll(b, l, ""); len(all) != n {
			b.Fatalf("got %d entries, want %d", len(all), n)
		}
	}
}
