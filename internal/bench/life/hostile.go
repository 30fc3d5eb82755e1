package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// hostileLimit is how long a peer may outlive the grace.
const hostileLimit = 500 * time.Millisecond

// stalledHeader announces a binary message of 10,000 bytes and has one of them.
var stalledHeader = []byte{0x82, 0x80 | 126, 10_000 >> 8, 10_000 & 0xff, 0, 0, 0, 0, 'x'}

func (b *bench) hostile(ctx context.Context) error {
	b.table(fmt.Sprintf("The tokens of peers end that do not go by themselves. The grace is %v.", b.grace),
		"server", "peers", "connections at the end of the token", "the last was closed after", "after end and grace")
	for _, row := range []struct {
		kind, peers, work string
		n                 int
		send              []byte
	}{
		{kind: "plain", peers: "silent", work: "echo", n: b.few()},
		{kind: "wsauth", peers: "silent", work: "echo", n: b.few()},
		{kind: "detach", peers: "silent", work: "echo", n: b.few()},
		{kind: "wsauth", peers: "never reading", work: "flood", n: b.few() / 10},
		{kind: "wsauth", peers: "stalled in a frame", work: "echo", n: b.few() / 10, send: stalledHeader},
	} {
		if err := b.hostileOn(ctx, row.kind, row.peers, row.work, row.n, row.send); err != nil {
			return fmt.Errorf("%s, %s: %w", row.kind, row.peers, err)
		}
	}
	return nil
}

func (b *bench) hostileOn(ctx context.Context, kind, peers, work string, n int, send []byte) error {
	s, err := b.startServer(ctx, settings{})
	if err != nil {
		return err
	}
	defer s.stop()
	conns, end, err := connect(ctx, n, func(_ int, end time.Time) (rawPeer, error) {
		p, err := s.dialRaw(ctx, s.url(kind, work, end), s.token(end))
		if err == nil && send != nil {
			_, err = p.Write(send)
		}
		return p, err
	})
	if err != nil {
		return err
	}
	defer closeAll(conns)
	profiled := b.profileCPU(ctx, s, "hostile-"+kind+"-"+strings.ReplaceAll(peers, " ", "-"), end)
	sleepUntil(ctx, end.Add(-100*time.Millisecond))
	before, err := s.stats(ctx, false)
	if err != nil {
		return err
	}
	if time.Now().Before(end) && before.Open != int64(n) {
		b.breaks("hostile, %s, %s: %d of %d connections before the end", kind, peers, before.Open, n)
	}
	sleepUntil(ctx, end.Add(b.grace))
	after, gone, err := until(ctx, 30*time.Second, s.stats, func(s serverStats) bool { return s.Open == 0 })
	if err != nil {
		return err
	}
	last := time.Unix(0, after.LastClosed).Sub(end)
	over := last - b.grace
	took, late := seconds(last), fmt.Sprintf("%+.2f s", over.Seconds())
	if !gone {
		took, late = fmt.Sprintf("%d never", after.Open), "never"
	}
	b.row(names[kind], peers, before.Open, took, late)
	switch {
	case kind == "plain":
	case !gone:
		b.breaks("hostile, %s, %s: %d peers outlived their tokens", kind, peers, after.Open)
	case over > hostileLimit:
		b.isLate("hostile, %s, %s: the last was closed %v after end and grace", kind, peers, over)
	}
	return profiled()
}
