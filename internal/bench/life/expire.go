package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

const (
	expireDemand    = 1.3 // of plain
	unrelatedDemand = 50 * time.Millisecond
	clockSlew       = 100 * time.Millisecond // between the clock of the token and that of the timer, generously
)

// expire ends the tokens of all connections at one instant, while other requests come to the same server, and to one
// without connections.
func (b *bench) expire(ctx context.Context) error {
	var plainLast time.Duration
	for _, kind := range []string{"plain", "wsauth", "detach"} {
		e, err := b.expireOn(ctx, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		name := "all tokens end at one instant, " + names[kind] + ": "
		b.measured(name+"CPU of the servers for each end", microseconds(e.cpu/time.Duration(b.n)))
		if kind == "plain" {
			plainLast = e.last
			b.measured(name+"peers that saw 3000", fmt.Sprintf("%d of %d", e.saw, b.n))
			b.measured(name+"the last of them", milliseconds(e.last))
			b.measured(name+"p99 of another request", milliseconds(e.p99)+e.besides())
			continue
		}
		b.counted(name+"peers that saw 3000", e.saw, b.n)
		b.compare(name+"the last of them", milliseconds(e.last)+", "+ofPlain(e.last.Seconds(), plainLast.Seconds()),
			fmt.Sprintf("%.1f×", expireDemand), e.last.Seconds() <= expireDemand*plainLast.Seconds())
		b.compare(name+"p99 of another request", milliseconds(e.p99)+e.besides(), milliseconds(unrelatedDemand),
			e.p99 <= unrelatedDemand)
	}
	return nil
}

// An expiry is what was seen when all tokens ended.
type expiry struct {
	saw       int           // peers that saw 3000
	last      time.Duration // after the tokens ended
	p99       time.Duration // of another request
	bystander time.Duration // p99 of a request to a server without connections
	cpu       time.Duration // of the servers, other requests included
}

// besides puts beside p99 what the busy machine alone costs, since all servers and clients wait for its cores.
func (e expiry) besides() string {
	return "; to a server without connections, meanwhile: " + milliseconds(e.bystander)
}

func (b *bench) expireOn(ctx context.Context, kind string) (e expiry, err error) {
	f, err := b.startFleet(ctx, kind, b.n, settings{})
	if err != nil {
		return e, err
	}
	defer f.stop()
	bystander, err := b.startServer(ctx, settings{})
	if err != nil {
		return e, err
	}
	defer bystander.stop()
	end, err := f.connectBefore(ctx, b.n, opening{Tell: kind == "plain"})
	if err != nil {
		return e, err
	}
	profiled := b.profileCPU(ctx, f.servers[0], "expire-"+kind, end)
	probing, stop := context.WithCancel(ctx)
	defer stop()
	latency, bystanderLatency := f.servers[0].probeFrom(probing, end), bystander.probeFrom(probing, end)
	before, err := f.stats(ctx, false)
	if err != nil {
		return e, err
	}
	seen, err := f.order(order{Watch: end.Add(time.Minute)})
	if err != nil {
		return e, err
	}
	stop()
	after, err := f.stats(ctx, false)
	if err != nil {
		return e, err
	}
	e.cpu = after.CPU - before.CPU
	e.p99, e.bystander = percentile(<-latency, 99), percentile(<-bystanderLatency, 99)
	e.saw = seen.Codes[expired]
	if first := time.Unix(0, slices.Min(append(seen.At, end.UnixNano()))); first.Before(end.Add(-clockSlew)) {
		b.breaks("expire, %s: one ended %v too early", kind, end.Sub(first))
	}
	e.last = time.Unix(0, slices.Max(append(seen.At, end.UnixNano()))).Sub(end)
	for how, n := range seen.Codes {
		if how != expired {
			b.note("%s: %d clients saw: %s", kind, n, how)
		}
	}
	return e, profiled()
}

// probeFrom probes from the instant at until ctx ends.
func (c *child) probeFrom(ctx context.Context, at time.Time) <-chan []time.Duration {
	latency := make(chan []time.Duration, 1)
	go func() {
		c.unrelated() // opens the connection, as others have long since
		sleepUntil(ctx, at)
		latency <- c.probe(ctx)
	}()
	return latency
}

// probe sends requests that have nothing to do with WebSockets until ctx ends, at least 20.
func (c *child) probe(ctx context.Context) []time.Duration {
	var all []time.Duration
	for len(all) < 20 || ctx.Err() == nil {
		begun := time.Now()
		if err := c.unrelated(); err != nil {
			return append(all, time.Hour) // so that a failure looks like no good figure
		}
		all = append(all, time.Since(begun))
		time.Sleep(2 * time.Millisecond)
	}
	return all
}

func (c *child) unrelated() error {
	resp, err := c.http.Get("http://" + c.addr.WebSocket + "/unrelated")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return err
}

// percentile is the figure that p percent of all do not exceed.
func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)*p+99)/100-1]
}
