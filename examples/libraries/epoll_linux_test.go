package libraries_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wsauth/wsauth"
)

// descriptor returns the file descriptor of the socket below a guarded connection, to wait on. Reading from it instead
// of from the connection would bypass the guard.
func descriptor(conn net.Conn) (fd int, err error) {
	below, ok := conn.(interface{ NetConn() net.Conn })
	if !ok {
		return 0, errors.New("no connection below")
	}
	raw, err := below.NetConn().(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(f uintptr) { fd = int(f) })
	return fd, err
}

// waitReadable waits until any watched descriptor is readable. It returns false after a second in vain.
func waitReadable(epoll int) (bool, error) {
	for {
		var events [1]syscall.EpollEvent
		n, err := syscall.EpollWait(epoll, events[:], 1000)
		if err == syscall.EINTR {
			continue
		}
		return n > 0, err
	}
}

// A server that waits by epoll and reads from the connection that Hijack returns ends with its token, though nothing
// wakes it: it must watch the context.
func TestAnEpollServerOnGobwasEndsWithItsToken(t *testing.T) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(epoll)
	w := new(world)
	w.prepare(t)
	type upgraded struct {
		conn net.Conn
		ctx  context.Context
	}
	opened := make(chan upgraded, 1)
	w.serve(t, w.auth.Guard(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, rw)
		if err == nil {
			opened <- upgraded{conn, r.Context()}
		}
	}), &wsauth.UpgradeOptions{Grace: grace}))

	p := w.mustDial(t, library{}, w.token(2*time.Second))
	up := <-opened
	fd, err := descriptor(up.conn)
	if err != nil {
		t.Fatal(err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"one", "two"} {
		if err := p.send(opText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if ready, err := waitReadable(epoll); !ready || err != nil {
			t.Fatalf("%s: epoll says %v, %v, want it to be readable", message, ready, err)
		}
		if got, _, err := wsutil.ReadClientData(up.conn); err != nil || string(got) != message {
			t.Fatalf("got %q, %v, want %q", got, err, message)
		}
	}
	p.wantEnd(t, 3000, "token expired")
	<-up.ctx.Done()
	if cause := context.Cause(up.ctx); !errors.Is(cause, wsauth.ErrExpired) {
		t.Errorf("the context's cause is %v", cause)
	}
	if _, _, err := wsutil.ReadClientData(up.conn); !errors.Is(err, wsauth.ErrExpired) {
		t.Errorf("a Read after the end returned %v", err)
	}
	w.wantClosed(t, 3000, wsauth.ErrExpired)
}

// The gate reads ahead, as a bufio.Reader does, and no descriptor reports what it holds. So after a wake-up, read until
// a deadline says that there is no more.
func TestAnEpollServerFindsAllMessagesThatCameAtOnceByReadingOn(t *testing.T) {
	w := new(world)
	w.prepare(t)
	opened := make(chan net.Conn, 1)
	w.serve(t, w.auth.Guard(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if conn, _, _, err := ws.UpgradeHTTP(r, rw); err == nil {
			opened <- conn
		}
	}), &wsauth.UpgradeOptions{Grace: grace}))
	p := w.mustDial(t, library{}, w.token(time.Hour))
	conn := <-opened
	const messages = 20
	var all []byte
	for range messages {
		all = append(all, p.build(opText, []byte("at once"))...)
	}
	if err := p.put(all); err != nil {
		t.Fatal(err)
	}
	got := 0
	conn.SetReadDeadline(time.Now().Add(patience))
	for got < messages {
		message, _, err := wsutil.ReadClientData(conn)
		if err != nil || string(message) != "at once" {
			t.Fatalf("message %d: %q, %v", got, message, err)
		}
		got++
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, _, err := wsutil.ReadClientData(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("behind the last message: got %v, want a deadline's error", err)
	}
}
