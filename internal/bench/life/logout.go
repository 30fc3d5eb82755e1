package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

const (
	logouts      = 200
	logoutDemand = time.Millisecond
)

// logout revokes one user after the other among all connections.
func (b *bench) logout(ctx context.Context) error {
	f, err := b.startFleet(ctx, "wsauth", b.n, settings{})
	if err != nil {
		return err
	}
	defer f.stop()
	if err := f.connect(b.n, opening{End: time.Now().Add(time.Hour)}); err != nil {
		return err
	}
	users := min(logouts, b.n/2)
	var took, told []time.Duration
	for i := range users {
		r, err := f.servers[i%len(f.servers)].revoke(ctx, userName(i))
		if err != nil {
			return err
		}
		took = append(took, r.Took)
		swarm := f.swarms[i%len(f.swarms)]
		at, err := swarm.nextEnd(ctx)
		if err != nil {
			return fmt.Errorf("%s was not logged out: %w", userName(i), err)
		}
		told = append(told, time.Unix(0, at).Sub(time.Unix(0, r.Begun)))
	}
	now, err := f.stats(ctx, false)
	if err != nil {
		return err
	}
	if want := b.n - users; now.Open != int64(want) {
		b.breaks("logout: %d connections are open, want %d", now.Open, want)
	}
	what := "one user is logged out: "
	b.compare(what+"Revoke", fmt.Sprintf("median %s, p99 %s", milliseconds(percentile(took, 50)),
		milliseconds(percentile(took, 99))), milliseconds(logoutDemand), percentile(took, 99) <= logoutDemand)
	b.measured(what+"the client reads 3000 after", fmt.Sprintf("median %s, p99 %s", milliseconds(percentile(told, 50)),
		milliseconds(percentile(told, 99))))
	return nil
}

// nextEnd waits for a connection that is revoked, and returns when it was, in Unix nanoseconds.
func (s *swarm) nextEnd(ctx context.Context) (int64, error) {
	limit := time.Now().Add(30 * time.Second)
	for ; time.Now().Before(limit); sleepUntil(ctx, time.Now().Add(time.Millisecond)) {
		a, err := s.order(order{Watch: time.Now()})
		if err != nil {
			return 0, err
		}
		if a.Codes["3000 token revoked"] == 1 && len(a.At) == 1 {
			return a.At[0], nil
		}
		if len(a.At) > 0 {
			return 0, fmt.Errorf("ended otherwise: %v", a.Codes)
		}
	}
	return 0, fmt.Errorf("it is still open after 30 s")
}

func (c *child) revoke(ctx context.Context, subject string) (r revoked, err error) {
	err = c.control(ctx, "/revoke?sub="+subject, func(body io.Reader) error { return json.NewDecoder(body).Decode(&r) })
	return r, err
}
