package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/wsauth/wsauth"
	wsauthnats "github.com/wsauth/wsauth/cluster/nats"
	wsauthredis "github.com/wsauth/wsauth/cluster/redis"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
	"github.com/wsauth/wsauth/internal/revocation"
)

// A logServer is a server of logs.
type logServer struct {
	name    string
	addr    string
	open    func(addr string) (wsauth.RevocationLog, func(), error) // a client of its own
	stop    func()
	demands map[string]string
}

// eachLog runs a scenario with each kind of log.
func eachLog(t *table, run func(*logServer) error) error {
	for _, start := range []func() (*logServer, error){startRedis, startNATS} {
		l, err := start()
		if err != nil {
			return err
		}
		err = run(l)
		l.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

func startRedis() (*logServer, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	srv, err := redistest.Run(dir)
	if err != nil {
		return nil, err
	}
	l := &logServer{name: "Redis", addr: srv.Addr, stop: func() { srv.Kill(); os.RemoveAll(dir) },
		demands: map[string]string{"tell": "p99 50 ms", "recover": "1 s", "100000": "1 s", "1000000": "3 s"}}
	l.open = func(addr string) (wsauth.RevocationLog, func(), error) {
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
		return wsauthredis.NewLog(client, "wsauth", keep), func() { client.Close() }, nil
	}
	return l, l.wait()
}

func startNATS() (*logServer, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, err
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("NATS does not start")
	}
	l := &logServer{name: "NATS", addr: srv.Addr().String(),
		stop:    func() { srv.Shutdown(); srv.WaitForShutdown(); os.RemoveAll(dir) },
		demands: map[string]string{"tell": "p99 250 ms", "recover": "5 s"}}
	l.open = func(addr string) (wsauth.RevocationLog, func(), error) {
		conn, err := nats.Connect("nats://"+addr, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
		if err != nil {
			return nil, nil, err
		}
		js, err := jetstream.New(conn)
		return wsauthnats.NewLog(js, "wsauth", keep), conn.Close, err
	}
	return l, l.wait()
}

// wait waits until the server takes entries.
func (l *logServer) wait() error {
	log, closeLog, err := l.open(l.addr)
	if err != nil {
		return err
	}
	defer closeLog()
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, _, err := log.Read(context.Background(), "")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// fill appends n entries, and returns how many bytes they take in Redis.
func (l *logServer) fill(ctx context.Context, n int) (bytes float64, err error) {
	log, closeLog, err := l.open(l.addr)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	before := l.used(ctx)
	entries := make([]string, n)
	for i := range entries {
		r := revocation.Revocation{Kind: revocation.Subject, Issuer: issuer, Name: name("revoked", i), All: true, At: time.Now().Unix()}
		entries[i] = r.String()
	}
	for chunk := range slices.Chunk(entries, 1000) {
		if err := log.Append(ctx, chunk...); err != nil {
			return 0, err
		}
	}
	return l.used(ctx) - before, nil
}

func (l *logServer) used(ctx context.Context) (bytes float64) {
	if l.name != "Redis" {
		return 0
	}
	client := redis.NewClient(&redis.Options{Addr: l.addr})
	defer client.Close()
	for line := range strings.Lines(client.Info(ctx, "memory").Val()) {
		fmt.Sscanf(line, "used_memory:%g", &bytes)
	}
	return bytes
}
