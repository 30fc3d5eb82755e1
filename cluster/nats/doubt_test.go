package wsauthnats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestADeletedEntryIsNotWaitedFor(t *testing.T) {
	l := newLog(t, newServer(t, t.TempDir(), -1))
	add(t, l, numbered(0, 5)...)
	stream, err := l.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := readAll(t, l, "")
	for _, number := range []uint64{3, 5} { // the last one keeps its number
		if err := stream.DeleteMsg(t.Context(), number); err != nil {
			t.Fatal(err)
		}
	}
	if all, _ := readAll(t, l, ""); len(all) != len(before)-2 {
		t.Errorf("got %d entries of %d, want all but two", len(all), len(before))
	}
}

func TestAnEntryThatAnotherStreamTookIsAnError(t *testing.T) {
	js := connect(t, newServer(t, t.TempDir(), -1).ClientURL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "audit", Subjects: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	if err := NewLog(js, name, keep).Append(t.Context(), "alice"); err == nil {
		t.Error("got no error, want one: the log does not have alice")
	}
}

func TestWhatCannotBeSentIsNotKeptForLater(t *testing.T) {
	s := newServer(t, t.TempDir(), -1)
	l := newLog(t, s)
	add(t, l, "alice")
	s.Shutdown()
	s.WaitForShutdown()
	for l.js.Conn().IsConnected() && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := l.Append(t.Context(), numbered(0, 1000)...); err == nil {
		t.Error("got no error, want one")
	}
	if n, _ := l.js.Conn().Buffered(); n > 0 {
		t.Errorf("got %d bytes that wait to be sent, want none", n)
	}
}
