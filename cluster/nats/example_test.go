package wsauthnats_test

import (
	"time"

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
