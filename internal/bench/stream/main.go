// Command stream measures what the gate costs a WebSocket library for each message: streams in, streams out and echo,
// plain and behind the gate, in one process over loopback. Slices of both take turns in random order, so that what
// else the machine does meets both alike.
//
//	go -C internal/bench run ./stream
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/bench/cpu"
	"github.com/wsauth/wsauth/internal/bench/stats"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 400, "slices of each kind")
	slice := flag.Duration("slice", 2*time.Millisecond, "how long a slice takes, about")
	procs := flag.Int("procs", 1, "GOMAXPROCS; with one, a socket and its peer take turns, and do not meet by chance")
	only := flag.String("only", "", "rows whose names contain this")
	idle := flag.Int("idle", 2000, "connections whose memory is measured; 0: none")
	flag.Parse()
	runtime.GOMAXPROCS(*procs)
	if err := run(*rounds, *slice, *only, *idle); err != nil {
		log.Fatal(err)
	}
}

func run(rounds int, slice time.Duration, only string, idle int) error {
	fmt.Printf("%s\n\n", stats.Machine())
	fmt.Print(stats.Row("library", "direction", "message", "plain, CPU", "gated, CPU", "CPU", "time"))
	fmt.Print(stats.Row("---", "---", "---", "---", "---", "---", "---"))
	for _, lib := range libraries {
		for _, dir := range directions {
			for _, size := range []int{16, 1 << 10, 64 << 10, 1 << 20} {
				row := []string{lib.name, dir.name, bytesOf(size)}
				if !strings.Contains(strings.Join(row, " "), only) {
					continue
				}
				cells, err := compare(lib, dir, size, rounds, slice)
				if err != nil {
					return fmt.Errorf("%s: %w", strings.Join(row, ", "), err)
				}
				fmt.Print(stats.Row(append(row, cells...)...))
			}
		}
	}
	if idle == 0 {
		return nil
	}
	fmt.Printf("\nMemory of an idle connection, the peer and net/http included\n\n")
	for _, lib := range libraries {
		for _, gated := range []bool{false, true} {
			n, err := idleMemory(lib, gated, idle)
			if err != nil {
				return err
			}
			fmt.Printf("- %s, %s: %.2f KB\n", lib.name, kind(gated), float64(n)/1e3)
		}
	}
	return nil
}

func bytesOf(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func kind(gated bool) string {
	if gated {
		return "gated"
	}
	return "plain"
}

// A cost is that of one message.
type cost struct{ cpu, wall float64 }

// compare measures both in turns, and returns the cells of a row.
func compare(lib library, dir direction, size, rounds int, slice time.Duration) ([]string, error) {
	var costs [2][]cost // plain, gated
	for left := rounds; left > 0; left -= perPair {
		if err := block(lib, dir, size, min(left, perPair), slice, &costs); err != nil {
			return nil, err
		}
	}
	var cpu, wall [2][]float64
	for i := range costs {
		for _, c := range costs[i] {
			cpu[i] = append(cpu[i], c.cpu)
			wall[i] = append(wall[i], c.wall)
		}
	}
	return []string{
		fmt.Sprintf("%.2f µs", stats.Sum(cpu[0]).Median),
		fmt.Sprintf("%.2f µs", stats.Sum(cpu[1]).Median),
		stats.Sum(stats.Ratios(cpu[1], cpu[0])).Spread(),
		stats.Sum(stats.Ratios(wall[1], wall[0])).Spread(),
	}, nil
}

// perPair is how many slices share their connections: the kernel sizes the buffers of each connection by what it sees
// at the beginning, and a pair would otherwise keep what it once got.
const perPair = 10

// block measures slices of one pair of connections.
func block(lib library, dir direction, size, rounds int, slice time.Duration, costs *[2][]cost) error {
	var both [2]*pair
	for i := range both {
		p, err := connect(lib, i == 1)
		if err != nil {
			return err
		}
		defer p.close()
		both[i] = p
	}
	n, err := messages(both[rand.IntN(2)], dir, size, slice)
	if err != nil {
		return err
	}
	for range rounds {
		first := rand.IntN(2)
		for _, i := range []int{first, 1 - first} {
			c, err := measure(both[i], dir, size, n)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], c)
		}
	}
	return nil
}

// messages finds out how many messages a slice has.
func messages(p *pair, dir direction, size int, slice time.Duration) (int, error) {
	for n := 4; ; n *= 2 {
		c, err := measure(p, dir, size, n)
		if err != nil {
			return 0, err
		}
		if took := time.Duration(c.wall * 1e3 * float64(n)); took > slice/2 {
			return n, nil
		}
	}
}

func measure(p *pair, dir direction, size, n int) (cost, error) {
	before, err := cpu.Time()
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	if err := dir.run(p, size, n); err != nil {
		return cost{}, err
	}
	wall := time.Since(start)
	after, err := cpu.Time()
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
	return cost{cpu: each(after - before), wall: each(wall)}, err
}
