package wsauthnats

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// newCluster starts three servers of one NATS cluster, and waits until it can keep streams.
func newCluster(t *testing.T) (all []*server.Server) {
	t.Helper()
	var routes []*url.URL
	var ports []int
	var listeners []net.Listener
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, listener)
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: listener.Addr().String()})
	}
	for _, listener := range listeners { // all at one time, lest two servers get the same port
		listener.Close()
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("server-", i), Host: "127.0.0.1", Port: -1,
			JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
			Cluster: server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s)
	}
	for _, s := range all {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the server does not start")
		}
	}
	until(t, "the cluster to have a leader", func() bool {
		js := connect(t, all[0].ClientURL())
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ready", Replicas: 3})
		return err == nil
	})
	return all
}

// Takers on each server race for tickets, while the leader of the stream is shut down. Its client goes elsewhere.
func TestTheServersOfAClusterFindEachTicketOnce(t *testing.T) {
	servers := newCluster(t)
	var stores []*Tickets
	for _, s := range servers {
		store := newTickets(t, s)
		store.Replicas = 3
		stores = append(stores, store)
	}
	const n = 600
	keys := make([]string, n)
	for i := range keys {
		keys[i] = newKey()
		put(t, stores[i%3], keys[i], keys[i], true)
		put(t, stores[(i+1)%3], keys[i], "again", false)
	}
	leader := streamOf(t, stores[0]).CachedInfo().Cluster.Leader
	var mu sync.Mutex
	found, lost := map[string]int{}, map[string]int{}
	var all, half sync.WaitGroup
	half.Add(len(stores))
	for _, store := range stores {
		all.Go(func() {
			for i, key := range keys {
				value, ok, err := store.Take(t.Context(), key)
				mu.Lock()
				if ok {
					found[key]++
				}
				if ok && string(value) != key {
					t.Errorf("got %q for %s", value, key)
				}
				if err != nil {
					lost[key]++
				}
				mu.Unlock()
				if i == n/2 {
					half.Done()
				}
			}
		})
	}
	half.Wait()
	for _, s := range servers {
		if s.Name() == leader {
			s.Shutdown()
		}
	}
	all.Wait()
	t.Logf("%d found, %d with an error to somebody", len(found), len(lost))
	for _, key := range keys {
		if found[key] > 1 || found[key] == 0 && lost[key] == 0 {
			t.Errorf("got %s %d times with %d errors, want it once", key, found[key], lost[key])
		}
	}
}
