package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"time"
)

// filesLeft are those that a process opens beside its connections, generously.
const filesLeft = 500

// A fleet is one kind of server with many connections, and the clients at their other ends. A process holds no more
// connections than it may open files, so there are several of both. What is measured is the sum of the servers.
type fleet struct {
	servers []*child
	swarms  []*swarm // as many: each dials the server with the same index
	kind    string
}

// shards returns how many processes n connections need at either end.
func shards(n int) int {
	files := maxFiles() - filesLeft
	return (n + files - 1) / files
}

// startFleet starts servers and clients for n connections. Everything is killed when ctx ends.
func (b *bench) startFleet(ctx context.Context, kind string, n int, opts settings) (*fleet, error) {
	f := &fleet{kind: kind}
	for i := range shards(n) {
		server, err := b.startServer(ctx, opts)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.servers = append(f.servers, server)
		clients, err := startSwarm(ctx, i)
		if err != nil {
			f.stop()
			return nil, err
		}
		f.swarms = append(f.swarms, clients)
	}
	return f, nil
}

func (f *fleet) stop() {
	for _, s := range f.swarms {
		s.stop()
	}
	for _, s := range f.servers {
		s.stop()
	}
}

// connect opens n connections, in turn from each swarm.
func (f *fleet) connect(n int, o opening) error {
	return f.each(func(i int) error {
		s, o := f.servers[i], o
		o.First, o.Stride = i, len(f.swarms)
		o.N = (n - i + o.Stride - 1) / o.Stride
		o.To = (&url.URL{Scheme: "http", Host: s.addr.WebSocket, Path: "/" + f.kind + "/echo"}).String()
		o.Secret = s.key.Private.([]byte)
		_, err := f.swarms[i].order(order{Open: &o})
		return err
	})
}

// connectBefore opens n connections, at least a part of a second and the lead of a renewal before the first of their
// tokens ends, and returns when that is. A machine that is too slow for that gets more time.
func (f *fleet) connectBefore(ctx context.Context, n int, o opening) (time.Time, error) {
	early := o.Renew + 500*time.Millisecond
	for lead := early + time.Second + time.Duration(n)*600*time.Microsecond; ; lead *= 2 {
		o.End = time.Now().Add(lead).Truncate(time.Millisecond) // as exact as in the token
		err := f.connect(n, o)
		if time.Until(o.End) > early {
			return o.End, err
		}
		if lead > 3*time.Minute || ctx.Err() != nil {
			return o.End, fmt.Errorf("cannot connect %d clients within %v: %w", n, lead, err)
		}
		if err := f.drop(ctx); err != nil {
			return o.End, err
		}
	}
}

// each calls f for each swarm, at the same time, and returns the errors.
func (f *fleet) each(do func(i int) error) error {
	faults := make([]error, len(f.swarms))
	var all sync.WaitGroup
	for i := range f.swarms {
		all.Go(func() { faults[i] = do(i) })
	}
	all.Wait()
	return errors.Join(faults...)
}

// order gives all swarms an order and returns their answers as one.
func (f *fleet) order(o order) (answer, error) {
	answers := make([]answer, len(f.swarms))
	err := f.each(func(i int) (err error) {
		answers[i], err = f.swarms[i].order(o)
		return err
	})
	var sum answer
	for _, a := range answers {
		sum.add(a)
	}
	return sum, err
}

// stats is the sum of the servers, where a sum has a meaning. collected: after their garbage was collected.
func (f *fleet) stats(ctx context.Context, collected bool) (sum serverStats, err error) {
	all := make([]serverStats, len(f.servers))
	faults := make([]error, len(f.servers))
	var waiting sync.WaitGroup
	for i, s := range f.servers {
		waiting.Go(func() { all[i], faults[i] = s.stats(ctx, collected) })
	}
	waiting.Wait()
	for _, s := range all {
		sum.add(s)
	}
	return sum, errors.Join(faults...)
}

// until waits for a condition of one server, or of a fleet.
func until(ctx context.Context, limit time.Duration, ask func(context.Context, bool) (serverStats, error),
	ok func(serverStats) bool) (serverStats, bool, error) {
	deadline := time.Now().Add(limit)
	for {
		s, err := ask(ctx, false)
		if err != nil || ok(s) || time.Now().After(deadline) {
			return s, err == nil && ok(s), err
		}
		sleepUntil(ctx, time.Now().Add(100*time.Millisecond))
	}
}

// warmUp opens and closes some connections, so that what the first of them needs is not counted, and returns what the
// servers are like without any.
func (f *fleet) warmUp(ctx context.Context) (serverStats, error) {
	if err := f.connect(100*len(f.swarms), opening{End: time.Now().Add(time.Hour)}); err != nil {
		return serverStats{}, err
	}
	if err := f.drop(ctx); err != nil {
		return serverStats{}, err
	}
	return f.stats(ctx, true)
}

// drop resets all connections, and waits until the servers know.
func (f *fleet) drop(ctx context.Context) error {
	if _, err := f.order(order{Drop: true}); err != nil {
		return err
	}
	_, gone, err := until(ctx, time.Minute, f.stats, func(s serverStats) bool { return s.Open == 0 })
	if err != nil || !gone {
		return fmt.Errorf("connections that were reset do not end: %v", err)
	}
	sleepUntil(ctx, time.Now().Add(300*time.Millisecond)) // their goroutines end
	return nil
}

// A swarm is a process of clients.
type swarm struct {
	cmd   *exec.Cmd
	stdin io.Closer
	send  *json.Encoder
	get   *json.Decoder
}

// startSwarm starts this program as clients with the i-th net of the loopback. It is killed when ctx ends, and ends by
// itself with this process.
func startSwarm(ctx context.Context, i int) (*swarm, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, swarmArg, fmt.Sprintf("127.0.%d.0", 1+i))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &swarm{cmd: cmd, stdin: stdin, send: json.NewEncoder(stdin), get: json.NewDecoder(stdout)}, nil
}

// order waits for the answer, or for the end of the process.
func (s *swarm) order(o order) (a answer, err error) {
	if err := s.send.Encode(o); err != nil {
		return a, err
	}
	if err := s.get.Decode(&a); err != nil {
		return a, fmt.Errorf("the clients are gone: %w", err)
	}
	if a.Fault != "" {
		return a, errors.New(a.Fault)
	}
	return a, nil
}

func (s *swarm) stop() {
	s.stdin.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
}
