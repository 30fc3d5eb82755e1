package wsauthredis

import (
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

// newCluster starts a Redis Cluster of two primaries, the first of which has a replica.
func newCluster(t *testing.T) (first, second, replica *redistest.Server) {
	t.Helper()
	var all []*redistest.Server
	for range 3 {
		all = append(all, redistest.New(t, "--cluster-enabled", "yes"))
	}
	first, second, replica = all[0], all[1], all[2]
	for s, slots := range map[*redistest.Server][2]int{first: {0, 8191}, second: {8192, 16383}} {
		if err := clientOf(t, s).ClusterAddSlotsRange(t.Context(), slots[0], slots[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	admin := clientOf(t, first)
	for _, s := range all[1:] {
		host, port, _ := net.SplitHostPort(s.Addr)
		admin.ClusterMeet(t.Context(), host, port)
	}
	id := admin.ClusterMyID(t.Context()).Val()
	until(t, "the replica to be one", func() bool {
		return clientOf(t, replica).ClusterReplicate(t.Context(), id).Err() == nil
	})
	for _, s := range all {
		client := clientOf(t, s)
		until(t, "the cluster to be complete", func() bool {
			info, nodes := client.ClusterInfo(t.Context()).Val(), client.ClusterNodes(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") &&
				strings.Contains(nodes, "slave "+id)
		})
	}
	until(t, "the replica to follow", func() bool {
		return strings.Contains(clientOf(t, replica).Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	return first, second, replica
}

func TestTheServersOfAClusterShareTheTickets(t *testing.T) {
	first, second, replica := newCluster(t)
	for name, change := range map[string]func(*redis.ClusterOptions){
		"primaries are asked":        func(*redis.ClusterOptions) {},
		"any server may be asked":    func(o *redis.ClusterOptions) { o.RouteRandomly = true },
		"the nearest one is":         func(o *redis.ClusterOptions) { o.RouteByLatency = true },
		"replicas are where to read": func(o *redis.ClusterOptions) { o.ReadOnly = true },
	} {
		t.Run(name, func(t *testing.T) {
			options := &redis.ClusterOptions{Addrs: []string{replica.Addr}}
			change(options)
			client := redis.NewClusterClient(options)
			defer client.Close()
			store := NewTickets(client, "wsauth")
			var keys []string
			for range 100 {
				keys = append(keys, newKey())
				put(t, store, keys[len(keys)-1], "v", true)
				put(t, store, keys[len(keys)-1], "w", false)
			}
			for _, s := range []*redistest.Server{first, second} {
				if n := size(t, clientOf(t, s)); n == 0 || n == 100 {
					t.Errorf("got %d of 100 tickets on one server, want some on each", n)
				}
			}
			for _, key := range keys {
				take(t, store, key, "v")
				takeNothing(t, store, key)
			}
		})
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{first.Addr}, RouteRandomly: true})
	defer client.Close()
	store := NewTickets(client, "wsauth")
	const key = "{06S}" // of slot 0, which the first server has
	takeNothing(t, store, key)
	first.Kill() // its replica is there, and must not answer
	for range 20 {
		if value, found, err := store.Take(t.Context(), key); found || err == nil {
			t.Fatalf("got %q, %t, %v from Take, want an error", value, found, err)
		}
	}
}
