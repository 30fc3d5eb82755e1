package wsauthnats_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	wsauthnats "github.com/wsauth/wsauth/cluster/nats"
)

// The log of servers that share their revocations. Each also calls Follow.
func ExampleNewLog() {
	conn, err := nats.Connect("nats://nats.example.com:4222", nats.MaxReconnects(-1))
	if err != nil {
		panic(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		panic(err)
	}
	const keep = time.Hour // no token lives longer
	log := wsauthnats.NewLog(js, "wsauth", keep)
	log.Replicas = 3

	// Revocations: wsauth.Revocations{Log: log, Keep: keep, MaxStale: time.Minute}, in wsauth.Options
	_ = log
}

// The tickets of servers that share them.
func ExampleNewTickets() {
	conn, err := nats.Connect("nats://nats.example.com:4222", nats.MaxReconnects(-1))
	if err != nil {
		panic(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		panic(err)
	}
	tickets := wsauthnats.NewTickets(js, "wsauth")
	tickets.Replicas = 3

	// Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", tickets)}, in wsauth.Options
	// DPoP: &wsauth.DPoP{Replays: tickets}, in wsauth.Options
	_ = tickets
}

// What wsauth does with a store: of two who show a ticket, one gets what it stands for.
func ExampleTickets() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		panic(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		panic("the server does not start")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	tickets := wsauthnats.NewTickets(js, "wsauth")
	const key = "6cGqC9PpmZOBk9gJ0hjWvVJqLHyqzlkmYxKqVwJ0sdw"
	fmt.Println(tickets.Put(ctx, key, []byte("a token"), 30*time.Second))
	for range 2 {
		value, found, err := tickets.Take(ctx, key)
		fmt.Printf("%q %t %v\n", value, found, err)
	}
	// Output:
	// true <nil>
	// "a token" true <nil>
	// "" false <nil>
}
