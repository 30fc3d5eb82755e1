// Command revoke measures revocations: in one process, and on three servers that share a log in Redis or NATS.
//
//	go -C internal/bench run ./revoke                  # all scenarios
//	go -C internal/bench run ./revoke -scenario tell
//
// The scenarios are:
//
//	lookup    whether a token is revoked, beside three plain maps
//	request   what a token costs while nothing is revoked
//	memory    what a revocation costs, here and in Redis, and what a live connection costs
//	one       one user among many connections is logged out
//	tell      from Revoke on one server to the client of another that reads 3000
//	recover   from a link that is back to the revocation of another server
//	start     a server that starts with many entries in the log
//
// Redis is the redis-server in PATH, and NATS runs in this process. All of it talks over loopback only.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/wsauth/wsauth/internal/bench/stats"
)

// A table has a row for each figure.
type table struct{ rows []string }

func (t *table) add(what, got, demand string) {
	t.rows = append(t.rows, stats.Row(what, got, demand))
	fmt.Fprintln(os.Stderr, what+": "+got)
}

func main() {
	only := flag.String("scenario", "all", "all, lookup, request, memory, one, tell, recover or start")
	n := flag.Int("n", 1_000_000, "`entries` of the log")
	users := flag.Int("users", 500, "`users` with a connection to each of three servers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t := new(table)
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"lookup", func() error { return lookup(t, *n) }},
		{"request", func() error { return request(ctx, t) }},
		{"memory", func() error { return memory(ctx, t, *n) }},
		{"one", func() error { return one(t) }},
		{"tell", func() error { return eachLog(t, func(l *logServer) error { return tell(ctx, t, l, *users) }) }},
		{"recover", func() error { return eachLog(t, func(l *logServer) error { return recovery(ctx, t, l) }) }},
		{"start", func() error { return eachLog(t, func(l *logServer) error { return start(ctx, t, l, *n) }) }},
	} {
		if *only != "all" && *only != s.name {
			continue
		}
		if err := s.run(); err != nil {
			fmt.Fprintf(os.Stderr, "revoke: %s: %v\n", s.name, err)
			os.Exit(1)
		}
	}
	fmt.Printf("%s, %s\n\n%s", stats.Machine(), runtime.Version(), stats.Header("", "measured", "demand"))
	for _, row := range t.rows {
		fmt.Print(row)
	}
}

// milliseconds is a duration with as many digits as count.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
