package wsauthnats

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// takerEnv has the URL of a server, in a process that TestThreeProcessesFindEachTicketOnce starts.
const takerEnv = "WSAUTH_TAKE_ALL_OF"

const tickets = 1000

func TestMain(m *testing.M) {
	if url := os.Getenv(takerEnv); url != "" {
		takeAll(url)
		return
	}
	os.Exit(m.Run())
}

// takeAll says that it is ready, waits for a line, and then takes all tickets, in any order. It prints those that it
// finds.
func takeAll(url string) {
	conn, err := nats.Connect(url)
	if err != nil {
		panic(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		panic(err)
	}
	store := NewTickets(js, name)
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	var mu sync.Mutex
	next := rand.Perm(tickets)
	race(20, func() {
		for {
			mu.Lock()
			if len(next) == 0 {
				mu.Unlock()
				return
			}
			key := fmt.Sprint("ticket-", next[0])
			next = next[1:]
			mu.Unlock()
			value, found, err := store.Take(context.Background(), key)
			if err != nil {
				panic(err)
			}
			if found {
				fmt.Println(key + " " + string(value))
			}
		}
	})
}

func TestThreeProcessesFindEachTicketOnce(t *testing.T) {
	s := newServer(t, t.TempDir(), -1)
	store := newTickets(t, s)
	for i := range tickets {
		put(t, store, fmt.Sprint("ticket-", i), fmt.Sprint("value-", i), true)
	}
	var start []io.WriteCloser
	var output []*bufio.Reader
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), takerEnv+"="+s.ClientURL())
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); cmd.Wait() })
		reader := bufio.NewReader(out)
		if line, err := reader.ReadString('\n'); line != "ready\n" {
			t.Fatal(line, err)
		}
		start, output = append(start, in), append(output, reader)
	}
	for _, in := range start {
		fmt.Fprintln(in, "go")
	}
	found := map[string]int{}
	for i, out := range output {
		all, err := io.ReadAll(out)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(all)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.TrimPrefix(value, "value-") != strings.TrimPrefix(key, "ticket-") {
				t.Errorf("got %q for %q", value, key)
			}
			found[key]++
			n++
		}
		t.Logf("process %d found %d", i, n)
	}
	for key, n := range found {
		if n != 1 {
			t.Errorf("got %s %d times, want once", key, n)
		}
	}
	if len(found) != tickets {
		t.Errorf("got %d tickets, want all %d", len(found), tickets)
	}
}
