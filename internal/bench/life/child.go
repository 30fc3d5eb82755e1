package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// A child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  addresses
	key   *mint.Key
	http  *http.Client
}

// startServer starts this program as a server with these settings, and a secret. It is killed when ctx ends, and ends by
// itself with this process.
func (b *bench) startServer(ctx context.Context, set settings) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, exe, serverArg), key: mint.New("HS256", "")}
	c.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1") // or nobody would notice
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.stdin = stdin
	c.http = &http.Client{Transport: &http.Transport{}}
	set.Secret, set.Grace = c.key.Private.([]byte), b.grace
	err = json.NewEncoder(stdin).Encode(set)
	if err == nil {
		err = json.NewDecoder(stdout).Decode(&c.addr)
	}
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("the server does not start: %w", err)
	}
	return c, nil
}

func (c *child) stop() {
	c.http.CloseIdleConnections()
	c.stdin.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// stats asks the server how it is. collected: after its garbage was collected.
func (c *child) stats(ctx context.Context, collected bool) (s serverStats, err error) {
	path := "/stats"
	if collected {
		path += "?gc=1"
	}
	err = c.control(ctx, path, func(body io.Reader) error { return json.NewDecoder(body).Decode(&s) })
	return s, err
}

func (c *child) control(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr.Control+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	if err := read(resp.Body); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return err
}

// profile saves a profile of the server, if there is a place for it.
func (b *bench) profile(ctx context.Context, c *child, name, path string) error {
	if b.profiles == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(b.profiles, name+".pb.gz"))
	if err != nil {
		return err
	}
	err = c.control(ctx, path, func(body io.Reader) error {
		_, err := io.Copy(f, body)
		return err
	})
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// profileCPU profiles the server around an instant; the function that it returns waits until that is done.
func (b *bench) profileCPU(ctx context.Context, c *child, name string, at time.Time) func() error {
	done := make(chan error, 1)
	go func() {
		sleepUntil(ctx, at.Add(-100*time.Millisecond))
		done <- b.profile(ctx, c, name, "/debug/pprof/profile?seconds=3")
	}()
	return func() error { return <-done }
}

// token makes a token that ends at exp, to the millisecond.
func (c *child) token(exp time.Time) string {
	return c.key.Token(map[string]any{
		"iss": issuer, "aud": audience, "sub": "peer", "iat": time.Now().Unix(), "exp": float64(exp.UnixMilli()) / 1e3,
	})
}

// url is where a kind of server runs a serve function. A plain one has the end of the token from there.
func (c *child) url(kind, work string, exp time.Time) *url.URL {
	u := &url.URL{Scheme: "http", Host: c.addr.WebSocket, Path: "/" + kind + "/" + work}
	if !exp.IsZero() {
		u.RawQuery = "exp=" + strconv.FormatInt(exp.UnixMilli(), 10)
	}
	return u
}

func sleepUntil(ctx context.Context, t time.Time) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
