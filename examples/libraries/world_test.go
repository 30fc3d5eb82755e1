package libraries_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// patience is how long to wait for what comes at once or never.
const patience = 30 * time.Second

// wait is how long this world waits for it.
func (w *world) wait() time.Duration {
	if w.bubble {
		return 48 * time.Hour
	}
	return patience
}

// A world is one server with its clients: over pipes in a bubble of synctest, where no time is lost waiting, or on
// loopback.
type world struct {
	bubble  bool
	host    string
	path    string // of handshakes; empty: /ws
	connect func() (net.Conn, error)

	issuer *wsauthtest.Issuer
	auth   *wsauth.Authenticator
	app    *probe
	events chan wsauth.Event
	log    records
	life   time.Duration // of a token
}

const grace = 500 * time.Millisecond

// inWorld serves the library and runs the test there.
func inWorld(t *testing.T, l library, opts wsauth.UpgradeOptions, test func(*testing.T, *world)) {
	t.Helper()
	run := func(t *testing.T) {
		w := &world{bubble: !l.loops, life: 600 * time.Millisecond}
		if w.bubble {
			w.life = 5 * time.Second
		}
		w.prepare(t)
		if opts.Grace == 0 {
			opts.Grace = grace
		}
		w.serve(t, l.protect(t, w.auth, w.app, &opts))
		test(t, w)
	}
	if l.loops {
		t.Parallel()
		run(t)
		return
	}
	synctest.Test(t, run)
}

func (w *world) prepare(t *testing.T) {
	t.Helper()
	w.issuer = wsauthtest.NewHMACIssuer(t)
	w.events, w.log = make(chan wsauth.Event, 1<<14), make(records, 1<<12)
	w.app = &probe{reads: make(chan error, 64), causes: make(chan error, 64)}
	opts := w.issuer.Options()
	opts.Leeway = -1
	opts.Revocations.Keep = 10_000 * time.Hour
	opts.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	opts.Observe = func(_ context.Context, e wsauth.Event) { w.events <- e }
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	w.auth = auth
}

// serve runs a handler on the network of this world.
func (w *world) serve(t *testing.T, handler http.Handler) {
	quiet := log.New(io.Discard, "", 0)
	if !w.bubble {
		srv := httptest.NewUnstartedServer(handler)
		srv.Config.ErrorLog = quiet
		srv.Config.ConnState = func(conn net.Conn, state http.ConnState) {
			if state == http.StateNew {
				narrow(conn)
			}
		}
		srv.Start()
		t.Cleanup(srv.Close)
		w.host = strings.TrimPrefix(srv.URL, "http://")
		w.connect = func() (net.Conn, error) {
			conn, err := net.Dial("tcp", w.host)
			if err == nil {
				narrow(conn)
			}
			return conn, err
		}
		return
	}
	pipes := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: handler, ErrorLog: quiet}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(pipes)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-served
	})
	w.host, w.connect = "memory.invalid", pipes.dial
}

// narrow makes the buffers small: by default, a flood of a thousand connections fills gigabytes of the kernel's memory,
// and nobody gets as far as the close frame behind it.
func narrow(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetReadBuffer(32 << 10)
		tcp.SetWriteBuffer(32 << 10)
	}
}

// A pipeListener accepts net.Pipes. They have no buffer: a peer that does not read is stuck at once.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// settle gives the library time to return to its Read: a Read that begins after the end may fail with another error.
func (w *world) settle() {
	if w.bubble {
		synctest.Wait()
	}
}

// token returns a token of alice that lives for d.
func (w *world) token(d time.Duration) string {
	return w.issuer.Token(wsauthtest.Claims{"exp": time.Now().Add(d)})
}

// event waits for an event of this kind.
func (w *world) event(t *testing.T, kind wsauth.EventKind) wsauth.Event {
	t.Helper()
	late := time.After(w.wait())
	for {
		select {
		case e := <-w.events:
			if e.Kind == kind {
				return e
			}
		case <-late:
			t.Fatalf("no event %q", kind)
		}
	}
}

// wantEnded checks that the library and the request's context say why the connection has ended.
func (w *world) wantEnded(t *testing.T, l library, is func(error) bool) {
	t.Helper()
	late := time.After(w.wait())
	select {
	case err := <-w.app.reads:
		if l.reports && !is(err) && !(l.cancels && errors.Is(err, context.Canceled)) {
			t.Errorf("the library's Read returned %v", err)
		}
	case <-late:
		t.Fatal("the library does not return")
	}
	select {
	case cause := <-w.app.causes:
		if !is(cause) {
			t.Errorf("the context's cause is %v", cause)
		}
	case <-late:
		t.Fatal("the request's context does not end")
	}
}

// record waits for a record with this text.
func (w *world) record(t *testing.T, text string) string {
	t.Helper()
	late := time.After(w.wait())
	for {
		select {
		case r := <-w.log:
			if strings.Contains(r, text) {
				return r
			}
		case <-late:
			t.Fatalf("no record with %q", text)
		}
	}
}

// wantAt wants it to be this long after start: exactly so in a bubble, not before on a busy machine.
func (w *world) wantAt(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	took := time.Since(start)
	if w.bubble && took != want || took < want-5*time.Millisecond || took > want+patience {
		t.Errorf("ended after %v, want %v", took, want)
	}
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

// A probe is an application that notes how its connections end. It serves nobody without claims.
type probe struct {
	reads, causes chan error
	last          atomic.Int64 // when a message came, in nanoseconds
}

func (p *probe) answer(ctx context.Context, message []byte) ([]byte, bool) {
	if token, ok := bytes.CutPrefix(message, []byte("renew ")); ok {
		if _, err := wsauth.Renew(ctx, string(token)); err != nil {
			return []byte("refused"), true
		}
		return []byte("renewed"), true
	}
	p.last.Store(time.Now().UnixNano())
	_, ok := wsauth.ClaimsFromContext(ctx)
	return message, ok
}

func (p *probe) over(ctx context.Context, err error) {
	select {
	case p.reads <- err:
	default:
		return // melody says so of each message that it drops
	}
	go func() {
		<-ctx.Done()
		p.causes <- context.Cause(ctx)
	}()
}

// Records are what was logged, each when it comes.
type records chan string

func (r records) Write(p []byte) (int, error) {
	select {
	case r <- string(p):
	default: // nobody asks for so many
	}
	return len(p), nil
}
