// Command handshake measures what authentication adds to a WebSocket handshake: clients of github.com/coder/websocket
// dial a server over loopback, each one connection after the other, and it prints handshakes and the server's CPU time
// as multiples of those of plain websocket.Accept.
//
//	go -C internal/bench run ./handshake
//
// The server is a process of its own, so that its CPU time is known. It makes tickets and proofs before each turn, which
// does not count. The kinds of handlers take turns, in an order that
// changes from round to round.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
)

func main() {
	if isServer() {
		os.Exit(serve())
	}
	rounds := flag.Int("rounds", 40, "`rounds`, of a turn for each kind")
	turn := flag.Duration("turn", 400*time.Millisecond, "how `long` one kind of handler is dialled in each round")
	workers := flag.Int("workers", 4, "`clients` that dial at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *rounds, *turn, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "handshake:", err)
		os.Exit(1)
	}
}

// kinds are those of handlers; the first is what the others are compared to.
var kinds = []struct{ path, name string }{
	{"/plain", "websocket.Accept, no authentication"},
	{"/HS256", "wsauth, HS256"},
	{"/ES256", "wsauth, ES256"},
	{"/ES256-remembered", "wsauth, ES256, the token remembered"},
	{"/query", "wsauth, HS256, the token in the query"},
	{"/ticket", "wsauth, HS256, by a ticket"},
	{"/dpop", "wsauth, ES256, with a DPoP proof (ES256)"},
}

func run(ctx context.Context, out io.Writer, rounds int, turn time.Duration, workers int) error {
	if rounds < 1 || turn <= 0 || workers < 1 {
		return fmt.Errorf("-rounds and -workers must be at least 1, and -turn more than 0")
	}
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	rates, costs := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	for round := range rounds + 1 {
		for _, k := range rand.Perm(len(kinds)) {
			rate, cost, err := s.measure(ctx, kinds[k].path, turn, workers)
			if err != nil {
				return fmt.Errorf("%s: %w", kinds[k].path, err)
			}
			if round == 0 {
				continue // to warm up
			}
			rates[k], costs[k] = append(rates[k], rate), append(costs[k], cost)
		}
	}
	fmt.Fprint(out, stats.Header("", "handshakes/s", "of plain", "server's CPU time for one", "of plain"))
	for k, kind := range kinds {
		fmt.Fprint(out, stats.Row(kind.name,
			fmt.Sprintf("%.0f", stats.Sum(rates[k]).Median), stats.Sum(stats.Ratios(rates[k], rates[0])).Spread(),
			fmt.Sprintf("%.0f µs", stats.Sum(costs[k]).Median*1e6), stats.Sum(stats.Ratios(costs[k], costs[0])).Spread()))
	}
	fmt.Fprintf(out, "\n%d rounds, %d clients at once, on %s.\n", rounds, workers, stats.Machine())
	return nil
}
