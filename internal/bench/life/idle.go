package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

func (b *bench) idle(ctx context.Context) error {
	b.table(fmt.Sprintf("Each of %d connections costs, while it waits in Read:", b.n),
		"server", "live heap", "heap in use", "stacks", "goroutines", "RSS", "RSS after an echo")
	for _, row := range []struct {
		name, kind string
		end        bool // of a token that a plain server is told of
	}{
		{name: "plain", kind: "plain"},
		{name: "plain, with a timer", kind: "plain", end: true},
		{name: "plain, with a timer, in a goroutine of its own", kind: "goroutine", end: true},
		{name: "wsauth", kind: "wsauth"},
		{name: "wsauth with Detach", kind: "detach"},
	} {
		var end time.Time
		if row.end {
			end = time.Now().Add(time.Hour)
		}
		if err := b.idleOn(ctx, row.name, row.kind, end); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	return nil
}

func (b *bench) idleOn(ctx context.Context, name, kind string, end time.Time) error {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	dial := func(int) (rawPeer, error) {
		return s.dialRaw(ctx, s.url(kind, "echo", end), s.token(time.Now().Add(time.Hour)))
	}
	if err := s.warmUp(ctx, dial); err != nil {
		return err
	}
	base, err := s.stats(ctx, true)
	if err != nil {
		return err
	}
	conns, err := connectAll(b.n, dial)
	defer closeAll(conns)
	if err != nil {
		return err
	}
	sleepUntil(ctx, time.Now().Add(time.Second)) // the last is not in Read yet
	now, err := s.stats(ctx, true)
	if err != nil {
		return err
	}
	if err := b.profile(ctx, s, fmt.Sprintf("idle-%s-%v", kind, !end.IsZero()), "/debug/pprof/heap"); err != nil {
		return err
	}
	// Buffers that were never used are not resident, and who never used them is not real.
	var failed atomic.Int64
	each(len(conns), 64, func(i int) {
		if conns[i].echo() != nil {
			failed.Add(1)
		}
	})
	sleepUntil(ctx, time.Now().Add(time.Second))
	used, err := s.stats(ctx, true)
	if err != nil {
		return err
	}
	if failed.Load() > 0 {
		return fmt.Errorf("%d of %d got no echo", failed.Load(), b.n)
	}
	b.row(name, perConn(now.Heap, base.Heap, b.n), perConn(now.InUse, base.InUse, b.n),
		perConn(now.Stack, base.Stack, b.n), fmt.Sprintf("%.2f", float64(now.Goroutines-base.Goroutines)/float64(b.n)),
		perConn(now.RSS, base.RSS, b.n), perConn(used.RSS, base.RSS, b.n))
	return nil
}

// warmUp opens and closes some connections, so that what the first of them needs is not counted.
func (c *child) warmUp(ctx context.Context, dial func(int) (rawPeer, error)) error {
	conns, err := connectAll(100, dial)
	closeAll(conns)
	if err != nil {
		return err
	}
	if _, gone, err := c.until(ctx, time.Minute, func(s stats) bool { return s.Open == 0 }); err != nil || !gone {
		return fmt.Errorf("the connections of the warm-up do not end: %v", err)
	}
	sleepUntil(ctx, time.Now().Add(200*time.Millisecond)) // their goroutines end
	return nil
}
