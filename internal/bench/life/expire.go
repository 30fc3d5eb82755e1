package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	politeLimit = 2 * time.Second        // for the last polite client to know
	clockSlew   = 100 * time.Millisecond // between the clock of the token and that of the timer, generously
)

func (b *bench) expire(ctx context.Context) error {
	b.table(fmt.Sprintf("The tokens of %d polite clients end at one instant.", b.n),
		"server", `saw 3000 "token expired"`, "the last", "server's peak RSS")
	for _, kind := range []string{"plain", "wsauth", "detach"} {
		if err := b.expireOn(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) expireOn(ctx context.Context, kind string) error {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	conns, end, err := connect(ctx, b.n, func(_ int, end time.Time) (*websocket.Conn, error) {
		return s.dial(ctx, s.url(kind, "echo", end), s.token(end))
	})
	if err != nil {
		return err
	}
	profiled := b.profileCPU(ctx, s, "expire-"+kind, end)
	saw, last := b.watch(ctx, conns, end)
	now, err := s.stats(ctx, false)
	if err != nil {
		return err
	}
	b.row(names[kind], fmt.Sprintf("%d of %d", saw, b.n), seconds(last), megabytes(now.HWM))
	if kind == "plain" {
		return profiled()
	}
	if saw != b.n {
		b.breaks("expire, %s: %d polite clients did not see 3000", kind, b.n-saw)
	}
	if last > politeLimit {
		b.isLate("expire, %s: the last saw it after %v", kind, last)
	}
	return profiled()
}

// watch waits for the ends of all connections and returns how many were as promised, and when the last was.
func (b *bench) watch(ctx context.Context, conns []*websocket.Conn, end time.Time) (saw int, last time.Duration) {
	ctx, cancel := context.WithDeadline(ctx, end.Add(time.Minute))
	defer cancel()
	var mu sync.Mutex
	others := map[string]int{}
	each(len(conns), len(conns), func(i int) {
		_, _, err := conns[i].Read(ctx)
		after := time.Since(end)
		conns[i].CloseNow()
		mu.Lock()
		defer mu.Unlock()
		last = max(last, after)
		if isExpired(err) && after > -clockSlew {
			saw++
		} else {
			others[fmt.Sprintf("%v (after %v)", err, after.Round(100*time.Millisecond))]++
		}
	})
	for what, n := range others {
		b.note("%d clients saw: %s", n, what)
	}
	return saw, last
}
