package main

import (
	"errors"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth"
	wsauthnats "github.com/wsauth/wsauth/cluster/nats"
	wsauthredis "github.com/wsauth/wsauth/cluster/redis"
)

// openLog returns the log that the servers share, and a function that closes it.
func openLog(redisURL string) (wsauth.RevocationLog, func(), error) {
	if redisURL == "" {
		return openNATS()
	}
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		return nil, nil, errors.New("REDIS_URL is not the URL of a Redis server") // its own error has the password
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(opts)
	return wsauthredis.NewLog(client, "wsauth", keep), func() { client.Close() }, nil
}

// openNATS runs a NATS server in this process, so that the example needs nothing else. Its data is lost when it ends.
func openNATS() (wsauth.RevocationLog, func(), error) {
	dir, err := os.MkdirTemp("", "wsauth-cluster")
	if err != nil {
		return nil, nil, err
	}
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop := func() {
		srv.Shutdown()
		srv.WaitForShutdown()
		os.RemoveAll(dir)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		stop()
		return nil, nil, errors.New("the NATS server does not start")
	}
	conn, err := nats.Connect(srv.ClientURL(), nats.MaxReconnects(-1))
	if err != nil {
		stop()
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		stop()
		return nil, nil, err
	}
	return wsauthnats.NewLog(js, "wsauth", keep), func() { conn.Close(); stop() }, nil
}
