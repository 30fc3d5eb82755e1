// Package redistest runs Redis servers on loopback, for tests and measurements.
package redistest

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

// A Server is a Redis server in a process of its own.
type Server struct {
	Addr string // host and port

	dir   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// New starts a Redis server, and ends it when the test is over. args are options of redis-server; without any, nothing is
// saved. Without redis-server in PATH the test is skipped, or fails if the environment variable WSAUTH_REDIS is
// "required".
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("WSAUTH_REDIS") == "required" {
			t.Fatal(err)
		}
		t.Skipf("%v; with WSAUTH_REDIS=required this is a failure", err)
	}
	s, err := Run(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Run starts a Redis server whose data and log are in dir. It returns when the server answers, or an error if it has
// ended instead; there is no deadline, since a busy machine may take long to start it. Kill ends the server.
func Run(dir string, args ...string) (*Server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: addr, dir: dir}
	return s, s.Start(args...)
}

// Start starts the server again that Kill has ended, with the data in its directory, if it has saved any.
func (s *Server) Start(args ...string) error {
	_, port, _ := net.SplitHostPort(s.Addr)
	log := filepath.Join(s.dir, "log")
	s.cmd = exec.Command("redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", log, "--save", "",
	}, args...)...)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	for client.Ping(context.Background()).Err() != nil {
		select {
		case <-ended:
			text, _ := os.ReadFile(log)
			return fmt.Errorf("redistest: the server does not start: %s", text)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// Kill ends the server without a word (SIGKILL).
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// freeAddr returns an address whose port is free, and so is the port that is 10,000 higher, where a server of a Redis
// Cluster talks to the others. Both are below the ports that clients get, one of which could take them before the server
// does.
func freeAddr() (addr string, err error) {
	for range 100 {
		var listener, bus net.Listener
		port := 10_000 + rand.N(12_000)
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			continue
		}
		defer listener.Close()
		if bus, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10_000)); err != nil {
			continue
		}
		defer bus.Close()
		return listener.Addr().String(), nil
	}
	return "", err
}
