// Command life puts wsauth under the load of many connections and prints what became of them, beside a server of
// plain github.com/coder/websocket that runs the same serve function. It ends with status 1 if a promise is broken.
//
//	go -C internal/bench run ./life                                   # all scenarios, 10,000 connections
//	go -C internal/bench run -race ./life -scenario races -n 2000 -rounds 50
//
// The scenarios are:
//
//	expire     polite clients whose tokens end at one instant
//	hostile    peers that never answer, never read, or stall within a frame
//	races      renewals that arrive as the token ends
//	idle       what a connection costs that does nothing
//	leftovers  what remains of connections that are gone
//
// Each row has a server of its own, in a process of its own: a process that may open 20,000 files can hold but one
// side of 10,000 connections. All of it talks over loopback only. Peak memory and resident memory are known on Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	if isServer() {
		os.Exit(serve())
	}
	b := &bench{out: os.Stdout}
	flag.IntVar(&b.n, "n", 10_000, "`connections` at once")
	flag.IntVar(&b.rounds, "rounds", 10, "rounds of the races")
	flag.DurationVar(&b.grace, "grace", time.Second, "UpgradeOptions.Grace")
	flag.StringVar(&b.profiles, "profiles", "", "an existing `directory` for CPU and heap profiles of the servers")
	name := flag.String("scenario", "all", "all, expire, hostile, races, idle or leftovers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, *name); err != nil {
		fmt.Fprintln(os.Stderr, "life:", err)
		os.Exit(1)
	}
}

// A bench is one run of the program.
type bench struct {
	out       io.Writer
	n, rounds int
	grace     time.Duration // wsauth's UpgradeOptions.Grace
	profiles  string        // a directory, or empty

	broken []string // promises that hold under any load
	late   []string // promises in seconds, which a busy machine can miss
	notes  []string // for below the table
}

// names are those of the kinds of servers in tables.
var names = map[string]string{"plain": "plain", "wsauth": "wsauth", "detach": "wsauth with Detach"}

type scenario struct {
	name string
	run  func(*bench, context.Context) error
}

var scenarios = []scenario{
	{"expire", (*bench).expire},
	{"hostile", (*bench).hostile},
	{"races", (*bench).races},
	{"idle", (*bench).idle},
	{"leftovers", (*bench).leftovers},
}

func (b *bench) run(ctx context.Context, name string) error {
	if b.n < 10 || b.rounds < 1 {
		return fmt.Errorf("-n must be at least 10 and -rounds at least 1")
	}
	found := false
	for _, s := range scenarios {
		if name != s.name && name != "all" {
			continue
		}
		found = true
		if err := b.runOne(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if !found {
		return fmt.Errorf("no scenario %q", name)
	}
	if faults := append(b.broken, b.late...); len(faults) > 0 {
		return fmt.Errorf("broken:\n- %s", strings.Join(faults, "\n- "))
	}
	return nil
}

const maxNotes = 10

// runOne bounds a scenario: whatever hangs fails.
func (b *bench) runOne(ctx context.Context, s scenario) error {
	limit := 10*time.Minute + time.Duration(b.rounds)*time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	err := s.run(b, ctx)
	for i, note := range b.notes {
		if i == maxNotes {
			fmt.Fprintf(b.out, "\n… and %d more.\n", len(b.notes)-i)
			break
		}
		fmt.Fprintf(b.out, "\n%s\n", note)
	}
	b.notes = nil
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (b *bench) breaks(format string, args ...any) {
	b.broken = append(b.broken, fmt.Sprintf(format, args...))
}
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}
func (b *bench) isLate(format string, args ...any) {
	b.late = append(b.late, fmt.Sprintf(format, args...))
}

// table begins a Markdown table.
func (b *bench) table(title string, columns ...any) {
	fmt.Fprintf(b.out, "\n%s\n\n", title)
	b.row(columns...)
	for range columns {
		fmt.Fprint(b.out, "|---")
	}
	fmt.Fprintln(b.out, "|")
}

func (b *bench) row(cells ...any) {
	for _, c := range cells {
		fmt.Fprintf(b.out, "| %v ", c)
	}
	fmt.Fprintln(b.out, "|")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
func megabytes(n int64) string       { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// perConn is what each of n connections added.
func perConn(after, before int64, n int) string {
	return fmt.Sprintf("%.1f KB", float64(after-before)/float64(n)/1e3)
}
