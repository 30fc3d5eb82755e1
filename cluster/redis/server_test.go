package wsauthredis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server is a Redis server of a test.
type server struct {
	addr string
	dir  string
	cmd  *exec.Cmd
}

// newServer starts a Redis server, and ends it when the test is over. Without redis-server the test is skipped, or fails
// if WSAUTH_REDIS=required.
func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("WSAUTH_REDIS") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := &server{addr: freeAddr(t), dir: t.TempDir()}
	s.start(t, args...)
	t.Cleanup(s.kill)
	return s
}

// freeAddr is below the ports that clients get, one of which could take it before the server does.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.N(12000)))
		if err == nil {
			defer listener.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts the server, with the data in its directory, if there is any.
func (s *server) start(t testing.TB, args ...string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	log := filepath.Join(s.dir, "log")
	s.cmd = exec.Command("redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", log, "--save", "", "--daemonize", "no",
	}, args...)...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		if client.Ping(context.Background()).Err() == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log)
			t.Fatalf("the server does not start: %s", text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) client(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}
