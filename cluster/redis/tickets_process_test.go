package wsauthredis

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

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

// takerEnv has the address of a server, in a process that TestThreeProcessesFindEachTicketOnce starts.
const takerEnv = "WSAUTH_TAKE_ALL_OF"

const tickets = 1000

func TestMain(m *testing.M) {
	if addr := os.Getenv(takerEnv); addr != "" {
		takeAll(addr)
		return
	}
	os.Exit(m.Run())
}

// takeAll says that it is ready, waits for a line, and then takes all tickets, in any order. It prints those that it
// finds.
func takeAll(addr string) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	store := NewTickets(client, "wsauth")
	if err := client.Ping(context.Background()).Err(); err != nil {
		panic(err)
	}
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
	s := redistest.New(t)
	store := newTickets(t, s)
	for i := range tickets {
		put(t, store, fmt.Sprint("ticket-", i), fmt.Sprint("value-", i), true)
	}
	var start []io.WriteCloser
	var output []*bufio.Reader
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), takerEnv+"="+s.Addr)
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
