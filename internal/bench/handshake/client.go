package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/coder/websocket"
)

// A server is the other process.
type server struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	greeted greeting
	dialler *http.Client
	control *http.Client
}

// startServer starts this program as a server. It is killed when ctx ends, and ends by itself with this process.
func startServer(ctx context.Context) (*server, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, exe, serverArg)}
	s.cmd.Stderr = os.Stderr
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.stdin = stdin
	s.dialler = &http.Client{Transport: &http.Transport{DialContext: dialAbortive}}
	s.control = &http.Client{Transport: &http.Transport{}}
	if err := json.NewDecoder(stdout).Decode(&s.greeted); err != nil {
		s.stop()
		return nil, fmt.Errorf("the server does not start: %w", err)
	}
	return s, nil
}

func (s *server) stop() {
	s.control.CloseIdleConnections()
	s.stdin.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// dialAbortive makes connections that are reset when they are closed. Others would keep their ports for a minute, and
// there are not enough of them.
func dialAbortive(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	return conn, err
}

// measure dials a kind of handler for a while. It returns handshakes per second, and CPU seconds of the server per
// handshake.
func (s *server) measure(ctx context.Context, path string, turn time.Duration, workers int) (rate, cost float64, err error) {
	before, err := s.cpu(ctx)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	n, err := s.dialFor(ctx, path, turn, workers)
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	after, err := s.cpu(ctx)
	return float64(n) / took.Seconds(), (after - before).Seconds() / float64(n), err
}

// dialFor has workers that each dial for a while, at least once, and returns how many handshakes there were.
func (s *server) dialFor(ctx context.Context, path string, turn time.Duration, workers int) (int, error) {
	type result struct {
		n   int
		err error
	}
	results := make(chan result, workers)
	end := time.Now().Add(turn)
	for range workers {
		go func() {
			n := 0
			for {
				if err := s.dial(ctx, path); err != nil {
					results <- result{n, err}
					return
				}
				if n++; !time.Now().Before(end) {
					results <- result{n, nil}
					return
				}
			}
		}()
	}
	n := 0
	var faults []error
	for range workers {
		r := <-results
		n += r.n
		faults = append(faults, r.err)
	}
	return n, errors.Join(faults...)
}

// dial makes a connection and drops it. A plain handler gets a token, too, so that all requests are of about one
// length.
func (s *server) dial(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.greeted.WebSocket+path, &websocket.DialOptions{
		HTTPClient: s.dialler,
		HTTPHeader: http.Header{"Authorization": {"Bearer " + s.greeted.Tokens[path]}},
	})
	if err != nil {
		return err
	}
	return conn.CloseNow()
}

// cpu asks the server for its CPU time, after it has let all connections go.
func (s *server) cpu(ctx context.Context) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.greeted.Control, nil)
	if err != nil {
		return 0, err
	}
	resp, err := s.control.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New("the server does not know its CPU time: " + resp.Status)
	}
	var cpu time.Duration
	return cpu, json.NewDecoder(resp.Body).Decode(&cpu)
}
