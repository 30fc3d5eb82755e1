// Package nginxtest runs nginx for tests.
package nginxtest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Listen returns a socket for [Start].
func Listen(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// Start runs nginx until the test ends. It returns when nginx is up, with the directory that relative paths of the
// configuration are below. The configuration listens at the listener's address, and its pid is nginx.pid.
//
// Without nginx the test is skipped; with the environment variable WSAUTH_NGINX=required it fails.
func Start(t *testing.T, listener *net.TCPListener, conf []byte) string {
	t.Helper()
	binary := find(t)
	// nginx takes sockets over that are there already, as it does when it replaces itself. So nobody else can get the port
	// in between, and who connects before nginx is up waits for it.
	socket, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context()) // no deadline: those of the clients say where it stands still
	nginx := exec.CommandContext(ctx, binary, "-p", dir, "-c", file, "-g", "daemon off;")
	nginx.Cancel = func() error { return nginx.Process.Signal(syscall.SIGTERM) } // it ends its workers first
	nginx.WaitDelay = 10 * time.Second
	nginx.ExtraFiles = []*os.File{socket}
	nginx.Env = append(os.Environ(), "NGINX=3;")
	var said bytes.Buffer
	nginx.Stderr = &said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	listener.Close()
	ended := make(chan struct{})
	go func() {
		nginx.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		if <-ended; t.Failed() {
			t.Logf("nginx said:\n%s\nerror.log:\n%s", &said, Log(t, dir, "error.log"))
		}
	})
	for Log(t, dir, "nginx.pid") == "" { // it is up: from here, the time of clients and tokens may count
		select {
		case <-ended:
			t.Fatal("nginx has ended instead of starting")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return dir
}

// Log returns a log below the directory of nginx. One that is not there yet is empty.
func Log(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func find(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} { // Debian's, which not every PATH has
		if binary, err := exec.LookPath(name); err == nil {
			return binary
		}
	}
	if os.Getenv("WSAUTH_NGINX") == "required" {
		t.Fatal("there is no nginx, and WSAUTH_NGINX says that it is required")
	}
	t.Skip("there is no nginx to test with: install one, e.g. by apt-get install nginx-light")
	return ""
}
