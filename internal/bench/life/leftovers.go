package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coder/websocket"
)

// leftovers does it twice: the runtime keeps what the goroutines of the first time were made of, some 500 bytes each,
// for those of the second.
func (b *bench) leftovers(ctx context.Context) error {
	b.table(fmt.Sprintf("%d connections come and go, twice: half are closed by the client, half by the end of the token.",
		b.n), "server", "goroutines before", "after", "again", "live heap before", "after", "again")
	for _, kind := range []string{"plain", "wsauth", "detach"} {
		if err := b.leftoversOf(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) leftoversOf(ctx context.Context, kind string) error {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.warmUp(ctx, func(int) (rawPeer, error) {
		end := time.Now().Add(time.Hour)
		return s.dialRaw(ctx, s.url(kind, "echo", end), s.token(end))
	}); err != nil {
		return err
	}
	base, err := s.stats(ctx, true)
	if err != nil {
		return err
	}
	goroutines, heaps := []any{base.Goroutines}, []any{kilobytes(base.Heap)}
	for range 2 {
		if err := b.comeAndGo(ctx, s, kind); err != nil {
			return err
		}
		left, gone, err := s.until(ctx, 15*time.Second, func(s stats) bool {
			return s.Open == 0 && s.Goroutines <= base.Goroutines
		})
		if err != nil {
			return err
		}
		if !gone && kind != "plain" {
			b.breaks("leftovers, %s: %d connections, %d goroutines", kind, left.Open, left.Goroutines-base.Goroutines)
		}
		now, err := s.stats(ctx, true)
		if err != nil {
			return err
		}
		goroutines, heaps = append(goroutines, now.Goroutines), append(heaps, kilobytes(now.Heap))
	}
	b.row(slices.Concat([]any{names[kind]}, goroutines, heaps)...)
	return b.profile(ctx, s, "leftovers-"+kind, "/debug/pprof/heap")
}

func (b *bench) comeAndGo(ctx context.Context, s *child, kind string) error {
	conns, end, err := connect(ctx, b.n, func(_ int, end time.Time) (*websocket.Conn, error) {
		return s.dial(ctx, s.url(kind, "echo", end), s.token(end))
	})
	if err != nil {
		return err
	}
	half := b.n / 2
	each(half, 64, func(i int) { conns[i].Close(websocket.StatusNormalClosure, "") })
	b.watch(ctx, conns[half:], end)
	return nil
}

func kilobytes(n int64) string { return fmt.Sprintf("%.0f KB", float64(n)/1e3) }
