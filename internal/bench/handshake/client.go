package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
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
	once, err := s.credentials(ctx, path, int(turn.Seconds()*maxRate)+workers)
	if err != nil {
		return 0, 0, err
	}
	before, err := s.cpu(ctx)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	n, err := s.dialFor(ctx, path, once, turn, workers)
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	after, err := s.cpu(ctx)
	return float64(n) / took.Seconds(), (after - before).Seconds() / float64(n), err
}

// maxRate is more handshakes in a second than one machine makes.
const maxRate = 10_000

// credentials returns n credentials for handshakes; none: all handshakes have the same token.
func (s *server) credentials(ctx context.Context, path string, n int) (once chan credential, err error) {
	query := url.Values{"path": {path}, "n": {strconv.Itoa(n)}}
	var all []credential
	if err := s.ask(ctx, "/credentials?"+query.Encode(), &all); err != nil || len(all) == 0 {
		return nil, err
	}
	once = make(chan credential, len(all))
	for _, c := range all {
		once <- c
	}
	return once, nil
}

// dialFor has workers that each dial for a while, at least once, and returns how many handshakes there were.
func (s *server) dialFor(ctx context.Context, path string, once chan credential, turn time.Duration, workers int) (int, error) {
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
				if err := s.dial(ctx, path, s.next(path, once)); err != nil {
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

// next returns the credential for the next handshake. A plain handler gets a token, too, so that all requests are of about
// one length.
func (s *server) next(path string, once chan credential) credential {
	if once != nil {
		select {
		case c := <-once:
			return c
		default:
			return credential{} // which is refused
		}
	}
	return credential{Header: http.Header{"Authorization": {"Bearer " + s.greeted.Tokens[path]}}}
}

// dial makes a connection and drops it.
func (s *server) dial(ctx context.Context, path string, c credential) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.greeted.WebSocket+path+c.Query, &websocket.DialOptions{
		HTTPClient: s.dialler, HTTPHeader: c.Header,
	})
	if err != nil {
		return err
	}
	return conn.CloseNow()
}

// cpu asks the server for its CPU time, after it has let all connections go.
func (s *server) cpu(ctx context.Context) (cpu time.Duration, err error) {
	return cpu, s.ask(ctx, "/cpu", &cpu)
}

// ask asks the server's control.
func (s *server) ask(ctx context.Context, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.greeted.Control+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.control.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the server's control answers " + resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
