// Command life puts wsauth under the load of many connections, beside servers of plain github.com/coder/websocket and
// github.com/gorilla/websocket that do the same, and prints what was measured beside what is demanded. It ends with
// status 1 if a demand is missed.
//
//	go -C internal/bench run ./life                                    # all scenarios, 10,000 connections
//	go -C internal/bench run ./life -n 100000 -docs ../../docs         # for docs/scale.md and its chart
//	go -C internal/bench run -race ./life -scenario races -n 2000 -rounds 50
//
// The scenarios are:
//
//	connect    what a handshake costs with a token
//	idle       what a connection costs that does nothing
//	renew      what tokens cost that end, and renewals, among few and many connections
//	expire     all tokens end at one instant
//	logout     one user after the other is logged out
//	deploy     the server shuts down
//	leftovers  what remains of connections that are gone
//	hostile    peers that never answer, never read, or stall within a frame; at most 10,000
//	races      renewals that arrive as the token ends; at most 10,000
//
// The servers are processes of their own, and so are the clients, unless they are few. All of it talks over loopback
// only, from the addresses 127.0.1.1 and up. Resident memory is known on Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	beChild()
	b := &bench{out: os.Stdout}
	flag.IntVar(&b.n, "n", 10_000, "`connections` at once")
	flag.IntVar(&b.rounds, "rounds", 10, "rounds of the races")
	flag.DurationVar(&b.grace, "grace", time.Second, "UpgradeOptions.Grace")
	flag.StringVar(&b.profiles, "profiles", "", "an existing `directory` for CPU and heap profiles of the servers")
	flag.DurationVar(&b.window, "window", time.Minute, "in which a tenth of all tokens end; less is compressed in time")
	flag.DurationVar(&b.spread, "spread", 30*time.Second, "in which a deploy ends all connections")
	names := flag.String("scenario", "all", "`names` of scenarios, with commas between them, or all")
	docs := flag.String("docs", "", "a `directory` whose scale.md gets the table, with a chart beside it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, *names, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "life:", err)
		os.Exit(1)
	}
}

// beChild does not return if this process is a server or clients.
func beChild() {
	switch {
	case isServer():
		os.Exit(serve())
	case isSwarm():
		os.Exit(swarmMain())
	}
}

// A bench is one run of the program.
type bench struct {
	out       io.Writer
	n, rounds int
	grace     time.Duration // wsauth's UpgradeOptions.Grace
	window    time.Duration // in which a tenth of all tokens end
	spread    time.Duration // of a deploy
	profiles  string        // a directory, or empty

	load         string // of the machine, before all that
	figures      []figure
	memory, ends []bar

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
	{"connect", (*bench).connect},
	{"idle", (*bench).idle},
	{"renew", (*bench).renew},
	{"expire", (*bench).expire},
	{"logout", (*bench).logout},
	{"deploy", (*bench).deploy},
	{"leftovers", (*bench).leftovers},
	{"hostile", (*bench).hostile},
	{"races", (*bench).races},
}

// run runs scenarios, and writes their report to the standard output and to the documentation.
func (b *bench) run(ctx context.Context, names, docs string) error {
	if b.n < 40 || b.rounds < 1 {
		return fmt.Errorf("-n must be at least 40 and -rounds at least 1")
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	b.load = load()
	for _, s := range chosen {
		if err := b.runOne(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if len(b.figures) > 0 {
		fmt.Fprintf(b.out, "\n%s", b.report())
	}
	if docs != "" {
		if err := b.document(docs); err != nil {
			return err
		}
	}
	if faults := append(b.broken, b.late...); len(faults) > 0 {
		return fmt.Errorf("broken:\n- %s", strings.Join(faults, "\n- "))
	}
	return nil
}

// choose finds scenarios by their names.
func choose(names string) ([]scenario, error) {
	if names == "all" {
		return scenarios, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q", name)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
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
func megabytes(n int64) string       { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
