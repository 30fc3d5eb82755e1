package wsauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// An unsteadyLog is a log that can be away.
type unsteadyLog struct {
	sharedLog
	mu  sync.Mutex
	err error
}

func (l *unsteadyLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *unsteadyLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *unsteadyLog) Append(ctx context.Context, entries ...string) error {
	if err := l.failure(); err != nil {
		return err
	}
	return l.sharedLog.Append(ctx, entries...)
}

func (l *unsteadyLog) Read(ctx context.Context, after string) ([]string, string, error) {
	if err := l.failure(); err != nil {
		return nil, "", err
	}
	return l.sharedLog.Read(ctx, after)
}

// sharing shares revocations by a log.
func sharing(log wsauth.RevocationLog) func(*wsauth.Options) {
	return func(o *wsauth.Options) {
		o.Revocations = wsauth.Revocations{Log: log, Keep: time.Hour, MaxStale: time.Minute}
	}
}

// follow calls Follow until the test is over.
func follow(t *testing.T, auth *wsauth.Authenticator) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- auth.Follow(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func TestARevocationOnOneServerEndsTheConnectionsOnAllOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(unsteadyLog)
		var ended atomic.Int32
		first := newAuth(t, sharing(log))
		second := newAuth(t, sharing(log), func(o *wsauth.Options) {
			o.Observe = func(_ context.Context, e wsauth.Event) { ended.Add(int32(e.Connections)) }
		})
		follow(t, first)
		follow(t, second)
		time.Sleep(time.Second)
		srv := newMemoryServer(t, second.Upgrade(echo, nil))
		conn := srv.dial(t, withToken(testToken(revocable())))
		exchange(t, conn, "hello")
		revoke(t, first, wsauth.Revocation{Subject: "alice"})
		start := time.Now()
		_, _, err := conn.Read(t.Context())
		if websocket.CloseStatus(err) != wsauth.StatusUnauthorized || time.Since(start) > 50*time.Millisecond {
			t.Errorf("got %v after %v, want 3000 within 50 ms", err, time.Since(start))
		}
		synctest.Wait() // the event comes after the close frame
		if got := ended.Load(); got != 1 {
			t.Errorf("got an event with %d connections, want 1", got)
		}
		third := newAuth(t, sharing(log)) // starts later
		follow(t, third)
		time.Sleep(time.Second)
		if _, err := third.Verify(t.Context(), testToken(revocable())); !errors.Is(err, wsauth.ErrRevoked) {
			t.Errorf("got %v from a server that was started later, want ErrRevoked", err)
		}
	})
}

func TestWhileTheLogIsAwayTokensGet503AndNever401(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, away := new(unsteadyLog), errors.New("connection refused")
		var records lockedBuffer
		var failed atomic.Int32
		auth := newAuth(t, sharing(log), func(o *wsauth.Options) {
			o.Logger = slog.New(slog.NewJSONHandler(&records, nil))
			o.Observe = func(_ context.Context, e wsauth.Event) {
				if e.Kind == wsauth.EventLogFailed {
					failed.Add(1)
				}
			}
		})
		token, expired := testToken(revocable(lasting(50*time.Minute))), testToken(revocable(lasting(-time.Hour), map[string]any{"iat": nil}))
		status := func() int {
			return serve(auth.Middleware(new(recorder)), readRequest(t, "GET /\nAuthorization: Bearer "+token)).Code
		}
		for _, what := range []string{"before Follow", "while it cannot be read"} {
			if got := status(); got != http.StatusServiceUnavailable || auth.Ready(t.Context()) == nil {
				t.Errorf("%s: got %d, Ready %v, want 503 and not ready", what, got, auth.Ready(t.Context()))
			}
			log.fail(away)
			if what == "before Follow" {
				follow(t, auth)
				time.Sleep(time.Hour / 60)
			}
		}
		log.fail(nil)
		time.Sleep(time.Second)
		srv := newMemoryServer(t, auth.Upgrade(renewing, nil))
		conn := srv.dial(t, withToken(token))
		defer conn.CloseNow()
		log.fail(away)
		for range 59 {
			time.Sleep(time.Second)
			if got := status(); got != http.StatusNoContent {
				t.Errorf("got %d before MaxStale, want 204", got)
			}
		}
		time.Sleep(2 * time.Second)
		for name, shown := range map[string]string{"good": token, "expired": expired, "rubbish": "rubbish"} {
			if _, err := auth.Verify(t.Context(), shown); !errors.Is(err, wsauth.ErrUnavailable) || errors.Is(err, wsauth.ErrInvalidToken) {
				t.Errorf("%s: got %v after MaxStale, want ErrUnavailable", name, err)
			}
		}
		if err := auth.Ready(t.Context()); !errors.Is(err, wsauth.ErrUnavailable) || !strings.Contains(err.Error(), "MaxStale") {
			t.Errorf("got %v from Ready, want ErrUnavailable and why", err)
		}
		if got := exchange(t, conn, testToken(revocable(lasting(55*time.Minute)))); !strings.Contains(got, "not available") {
			t.Errorf("got %q for a renewal, want it refused as not available", got)
		}
		if err := auth.Revoke(t.Context(), wsauth.Revocation{Subject: "bob"}); !errors.Is(err, wsauth.ErrUnavailable) {
			t.Errorf("got %v from Revoke, want ErrUnavailable", err)
		}
		log.fail(nil)
		time.Sleep(time.Second)
		if got := status(); got != http.StatusNoContent || auth.Ready(t.Context()) != nil {
			t.Errorf("got %d when it is back, Ready %v, want 204", got, auth.Ready(t.Context()))
		}
		if got := exchange(t, conn, testToken(revocable(lasting(58*time.Minute)))); got != "renewed" {
			t.Errorf("got %q for a renewal, want the connection still there", got)
		}
		other := newAuth(t, sharing(log))
		follow(t, other)
		time.Sleep(time.Second)
		bob := testToken(revocable(map[string]any{"sub": "bob"}))
		if _, err := other.Verify(t.Context(), bob); !errors.Is(err, wsauth.ErrRevoked) {
			t.Errorf("got %v for what was revoked meanwhile, want ErrRevoked", err)
		}
		lines := logLines(t, bytes.NewBufferString(records.String()))
		counts := map[string]int{}
		for _, line := range lines {
			counts[fmt.Sprint(line["level"], " ", line["msg"])]++
		}
		if counts["WARN wsauth: the revocation log fails"] != 2 || counts["INFO wsauth: the revocation log is there again"] != 2 || failed.Load() != 2 {
			t.Errorf("got %v and %d events, want one record and one event for each change", counts, failed.Load())
		}
	})
}
