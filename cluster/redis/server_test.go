package wsauthredis

import (
	"context"
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: listener.Addr().String(), dir: t.TempDir()}
	listener.Close()
	s.start(t, args...)
	t.Cleanup(s.kill)
	return s
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
