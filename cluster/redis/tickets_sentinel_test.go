package wsauthredis

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

// newSentinel starts a sentinel that watches a server, and returns its address.
func newSentinel(t *testing.T, primary *redistest.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	host, port, _ := net.SplitHostPort(primary.Addr)
	_, own, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	config := filepath.Join(dir, "sentinel.conf") // it writes to it, too
	err = os.WriteFile(config, fmt.Appendf(nil, `port %s
bind 127.0.0.1
dir %s
sentinel monitor tickets %s %s 1
sentinel down-after-milliseconds tickets 500
`, own, dir, host, port), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", config, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return addr
}

func TestAFailoverHandsTheTicketsToTheNextPrimary(t *testing.T) {
	primary, replica := redistest.New(t), redistest.New(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	admin := clientOf(t, replica)
	admin.ReplicaOf(t.Context(), host, port)
	sentinel := newSentinel(t, primary)
	watcher := redis.NewSentinelClient(&redis.Options{Addr: sentinel})
	t.Cleanup(func() { watcher.Close() })
	until(t, "the sentinel to know the replica", func() bool {
		return len(watcher.Replicas(t.Context(), "tickets").Val()) == 1
	})
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "tickets", SentinelAddrs: []string{sentinel}})
	t.Cleanup(func() { client.Close() })
	store := NewTickets(client, "wsauth")
	const n = 100
	var keys []string
	for range n {
		keys = append(keys, newKey())
		put(t, store, keys[len(keys)-1], "v", true)
	}
	until(t, "the tickets to reach the replica", func() bool { return size(t, admin) == n })
	primary.Kill()
	until(t, "the replica to take over", func() bool {
		_, found, err := store.Take(t.Context(), keys[0]) // an error until then, and no answer of the replica
		if !found && err == nil {
			t.Fatal("got nothing, want an error or the ticket")
		}
		return found
	})
	takeNothing(t, store, keys[0])
	for _, key := range keys[1:] {
		put(t, store, key, "w", false)
		take(t, store, key, "v")
		takeNothing(t, store, key)
	}
}
