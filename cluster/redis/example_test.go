package wsauthredis_test

import (
	"time"

	"github.com/redis/go-redis/v9"

	wsauthredis "github.com/wsauth/wsauth/cluster/redis"
)

// The log of servers that share their revocations. Each also calls Follow.
func ExampleNewLog() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "redis.example.com:6379",
		ContextTimeoutEnabled: true,
	})
	const keep = time.Hour // no token lives longer
	log := wsauthredis.NewLog(client, "wsauth", keep)

	// Revocations: wsauth.Revocations{Log: log, Keep: keep, MaxStale: time.Minute}, in wsauth.Options
	_ = log
}

// The tickets of servers that share them, in Redis Cluster.
func ExampleNewTickets() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                 []string{"redis.example.com:6379"},
		ContextTimeoutEnabled: true,
	})
	tickets := wsauthredis.NewTickets(client, "wsauth")

	// Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", tickets)}, in wsauth.Options
	// DPoP: &wsauth.DPoP{Replays: tickets}, in wsauth.Options
	_ = tickets
}
