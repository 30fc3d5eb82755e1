package wsauthredis

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

// A thief stands between a client and its server, and hands everything on. When it is told to, it keeps one answer, and
// cuts the connection instead.
type thief struct {
	addr  string
	steal atomic.Bool
}

func newThief(t *testing.T, server string) *thief {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	between := &thief{addr: listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go between.serve(client, server)
		}
	}()
	return between
}

func (between *thief) serve(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, client)
		server.Close()
	}()
	for buffer := make([]byte, 32<<10); ; {
		n, err := server.Read(buffer)
		if err != nil || between.steal.CompareAndSwap(true, false) {
			return
		}
		client.Write(buffer[:n])
	}
}

func TestACommandIsSentOnceEvenIfItsAnswerIsLost(t *testing.T) {
	for name, connect := range map[string]func(addr string) redis.UniversalClient{
		"a client": func(addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr})
		},
		"with many retries": func(addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr, MaxRetries: 20, ContextTimeoutEnabled: true})
		},
		"of a cluster": func(addr string) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
					return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
				},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.New(t)
			between, admin := newThief(t, s.Addr), clientOf(t, s)
			client := connect(between.addr)
			defer client.Close()
			store := NewTickets(client, "wsauth")
			takeNothing(t, store, newKey())
			put(t, store, "there", "v", true)
			admin.ConfigResetStat(t.Context())
			between.steal.Store(true)
			if value, found, err := store.Take(t.Context(), "there"); found || err == nil {
				t.Errorf("got %q, %t, %v from Take, want an error", value, found, err)
			}
			takeNothing(t, store, newKey()) // connects again
			between.steal.Store(true)
			if added, err := store.Put(t.Context(), "new", []byte("v"), ttl); added || err == nil {
				t.Errorf("got %t, %v from Put, want an error", added, err)
			}
			stats := admin.Info(t.Context(), "commandstats").Val()
			for _, want := range []string{"cmdstat_getdel:calls=2,", "cmdstat_set:calls=1,"} {
				if !strings.Contains(stats, want) {
					t.Errorf("got no %q, want it in\n%s", want, stats)
				}
			}
			if keys := admin.Keys(t.Context(), "*").Val(); len(keys) != 1 || keys[0] != store.prefix+"new" {
				t.Errorf("got the keys %q, want the one that was put without an answer", keys)
			}
		})
	}
}

// Why Tickets does not use the methods of go-redis: they repeat a command, and take the second answer for the first.
func TestGoRedisAsksAgainForAnAnswerThatIsLost(t *testing.T) {
	s := redistest.New(t)
	between := newThief(t, s.Addr)
	client := redis.NewClient(&redis.Options{Addr: between.addr})
	defer client.Close()
	client.Set(t.Context(), "there", "v", ttl)
	between.steal.Store(true)
	if value, err := client.GetDel(t.Context(), "there").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("got %q, %v from GETDEL, want that there is nothing", value, err)
	}
	between.steal.Store(true)
	if added, err := client.SetNX(t.Context(), "new", "v", ttl).Result(); added || err != nil {
		t.Errorf("got %t, %v from SET NX, want that the key was there before", added, err)
	}
}
