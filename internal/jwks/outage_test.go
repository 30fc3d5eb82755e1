package jwks

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// sources are the two ways to find a set.
func sources() map[string]Config {
	return map[string]Config{
		"at a URL":     {Issuer: "https://id.example", URL: keysURL},
		"by discovery": {Issuer: "https://id.example/"},
	}
}

// publish answers as an issuer does: with its metadata, and its keys.
func publish(keys answer) answer {
	return paths(map[string]answer{
		"https://id.example/.well-known/openid-configuration": text(200,
			mint.JSON(map[string]any{"issuer": "https://id.example/", "jwks_uri": keysURL})),
		keysURL: keys,
	})
}

func TestTenMinutesOfAnyFaultRefuseNoValidToken(t *testing.T) {
	for where, cfg := range sources() {
		for name, f := range faults() {
			t.Run(where+", "+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					k, next := newKey("a"), newKey("b")
					e := &endpoint{answer: publish(agedSetOf(60, k))}
					r := e.remote(cfg)
					wantAccepted(t, r, k)
					good := r.current.Load()
					e.serve(f.answer)
					before := e.fetches()

					var others sync.WaitGroup
					for i := range 10 * 60 * 10 {
						wantAtOnce(t, r, k)
						if i > 60*10 && i%100 == 0 { // the refresh at 54 s was the first to fail
							others.Go(func() { wantUnavailable(t, r, other) })
						}
						time.Sleep(100 * time.Millisecond)
					}
					others.Wait()
					if r.current.Load() != good {
						t.Error("the good set was replaced")
					}
					if e.fetches() < before+10 {
						t.Errorf("only %d fetches in 10 minutes", e.fetches()-before)
					}

					e.serve(publish(agedSetOf(60, k, next)))
					time.Sleep(missInterval)
					wantAccepted(t, r, next)
					wantAtOnce(t, r, k)
					wantUnknown(t, r, other)
				})
			})
		}
	}
}

func TestBeforeTheFirstGoodFetchTheAnswerIsAnErrorAndRecoveryTakes2Seconds(t *testing.T) {
	for where, cfg := range sources() {
		for name, f := range faults() {
			t.Run(where+", "+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					k := newKey("a")
					e := &endpoint{answer: f.answer}
					r := e.remote(cfg)
					lookUp := func(stop func(error) bool) {
						var wg sync.WaitGroup
						done := make(chan struct{})
						for leave := sync.OnceFunc(func() { close(done) }); ; {
							wg.Go(func() {
								if _, err := r.Keys(t.Context(), headerOf(k)); stop(err) {
									leave()
								}
							})
							select {
							case <-done:
								wg.Wait()
								return
							case <-time.After(100 * time.Millisecond):
							}
						}
					}
					end := time.Now().Add(time.Minute)
					lookUp(func(err error) bool {
						if err == nil || errors.Is(err, ErrUnknownKey) {
							t.Errorf("error %v, want one that is not ErrUnknownKey", err)
						}
						return time.Now().After(end)
					})

					e.serve(publish(setOf(k)))
					asks := e.asks()
					from := time.Now()
					if ends := asks[len(asks)-1].at.Add(fetchTimeout); f.hangs && ends.After(from) {
						from = ends // a fetch that hangs has to end first
					}
					lookUp(func(err error) bool { return err == nil })
					if d := time.Since(from); d > 2*time.Second {
						t.Errorf("recovery took %v, want at most 2s", d)
					}
					wantAtOnce(t, r, k)
				})
			})
		}
	}
}

func TestAfterMaxStaleTheSetIsNotServed(t *testing.T) {
	for name, row := range map[string]struct {
		cfg Config
		max time.Duration
	}{
		"by default, 24 hours": {Config{}, 24 * time.Hour},
		"one hour":             {Config{MaxStale: time.Hour}, time.Hour},
		"a week":               {Config{MaxStale: 7 * 24 * time.Hour}, 7 * 24 * time.Hour},
		"shorter than max-age": {Config{MaxStale: time.Minute}, time.Minute},
	} {
		for fault, a := range map[string]answer{"failing": text(500, ""), "hanging": hang} {
			t.Run(name+", "+fault, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					k := newKey("a")
					r, e := serving(row.cfg, k)
					wantAccepted(t, r, k)
					e.serve(a)
					start := time.Now()
					for time.Since(start) < row.max-patience {
						wantWithin(t, r, k, patience) // where lookups are far between, each may be the one that waits
						time.Sleep(row.max / 1000)
					}
					time.Sleep(time.Until(start.Add(row.max)))
					wantUnavailable(t, r, k)
					wantUnavailable(t, r, other)
					if err := r.Ready(t.Context()); err == nil {
						t.Error("ready without a set")
					}
				})
			})
		}
	}
}

// While a set is there, a fetch is tried once a minute or so. When the set has expired, users are waiting.
func TestRecoveryAfterMaxStaleTakes2Seconds(t *testing.T) {
	for range 20 { // of the jitter
		inBubble(t, func(t *testing.T) {
			k := newKey("a")
			r, e := serving(Config{MaxStale: time.Hour}, k)
			wantAccepted(t, r, k)
			start := time.Now()
			e.serve(text(500, ""))
			for time.Since(start) < time.Hour {
				wantAtOnce(t, r, k)
				time.Sleep(100 * time.Millisecond)
			}
			wantUnavailable(t, r, k)
			e.serve(setOf(k))
			if d := until(t, func() bool { return accepted(t, r, k) }); d > 2*time.Second {
				t.Errorf("recovery took %v, want at most 2s", d)
			}
		})
	}
}

func TestMaxStaleCountsFromTheLastGoodFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{MaxStale: time.Hour, Refresh: 10 * time.Minute}, k)
		for range 3 * 60 {
			if r.current.Load() == nil {
				wantAccepted(t, r, k)
			}
			wantAtOnce(t, r, k)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		asks := e.asks()
		last := asks[len(asks)-1].at
		e.serve(text(500, ""))
		time.Sleep(time.Until(last.Add(time.Hour - 1)))
		wantAtOnce(t, r, k)
		time.Sleep(time.Nanosecond)
		wantUnavailable(t, r, k)
	})
}

// An outage of the whole network must not be made worse: the gaps double up to a minute, each give or take a half.
func TestFailedFetchesBackOffWhileThereIsAGoodSet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const step = 50 * time.Millisecond
		k := newKey("a")
		r, e := serving(Config{Refresh: time.Minute}, k)
		wantAccepted(t, r, k)
		time.Sleep(time.Minute)
		e.serve(text(500, ""))
		before := e.fetches()
		for range int(time.Hour / step) {
			wantAtOnce(t, r, k)
			time.Sleep(step)
		}
		asks := e.asks()[before:]
		// No gap is shorter than 30 s once they have grown: 120 of them, and the 6 on the way there.
		if n := len(asks); n < 40 || n > 126 {
			t.Errorf("%d fetches in an hour, want 40 to 126", n)
		}
		var longest, shortest time.Duration = 0, time.Hour
		for i := range asks[1:] {
			mean := min(time.Second<<min(i, 10), time.Minute)
			gap := asks[i+1].at.Sub(asks[i].at)
			if gap < mean/2 || gap >= mean*3/2+step {
				t.Errorf("fetch %d after %v, want %v give or take a half", i+2, gap, mean)
			}
			if mean == time.Minute {
				longest, shortest = max(longest, gap), min(shortest, gap)
			}
		}
		if longest-shortest < 10*time.Second {
			t.Errorf("gaps of %v to %v: no jitter", shortest, longest)
		}
		t.Logf("%d fetches in an hour", len(asks))
	})
}

func TestAnOutageThatIsOverDoesNotCountForTheNextOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{Refresh: 10 * time.Second}, k)
		wantAccepted(t, r, k)
		run := func(d time.Duration) []ask {
			before := e.fetches()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				wantAtOnce(t, r, k)
			}
			return e.asks()[before:]
		}
		for range 5 {
			e.serve(text(500, ""))
			asks := run(30 * time.Minute)
			if gap := asks[1].at.Sub(asks[0].at); gap > 1600*time.Millisecond {
				t.Errorf("the second fetch after %v, want a second give or take a half", gap)
			}
			e.serve(setOf(k))
			wantUnknown(t, r, other) // does not wait until it is time
			if n := len(run(time.Minute)); n < 6 || n > 8 {
				t.Errorf("%d fetches in a minute after the outage, want one each 8 to 9 seconds", n)
			}
		}
	})
}

func TestWithoutASetFetchesAreTriedEachSecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const step = 10 * time.Millisecond
		e := &endpoint{answer: text(500, "")}
		r := e.remote(Config{})
		for range int(10 * time.Minute / step) {
			wantUnavailable(t, r, other)
			time.Sleep(step)
		}
		asks := e.asks()
		for i := range asks[1:] {
			if gap := asks[i+1].at.Sub(asks[i].at); gap < time.Second/2 || gap >= time.Second*3/2+step {
				t.Errorf("fetch %d after %v, want a second give or take a half", i+2, gap)
			}
		}
	})
}

// A logbook is a slog.Handler that remembers.
type logbook struct {
	mu      sync.Mutex
	entries []slog.Record
	block   chan struct{}
}

func (l *logbook) logger() *slog.Logger { return slog.New(l) }

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }
func (l *logbook) Handle(_ context.Context, rec slog.Record) error {
	l.mu.Lock()
	l.entries = append(l.entries, rec.Clone())
	block := l.block
	l.mu.Unlock()
	if block != nil {
		<-block
	}
	return nil
}

func (l *logbook) blockOn(c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.block = c
}

// at returns the messages of one level.
func (l *logbook) at(level slog.Level) (messages []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.entries {
		if rec.Level == level {
			messages = append(messages, rec.Message)
		}
	}
	return messages
}

func TestEachFetchIsLoggedAndEachChangeOfStateIsAWarning(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		log := &logbook{}
		r, e := serving(Config{Refresh: time.Minute, Logger: log.logger()}, k)
		want := func(warnings ...string) {
			t.Helper()
			synctest.Wait()
			if got := log.at(slog.LevelWarn); !slices.EqualFunc(got, warnings, strings.Contains) {
				t.Errorf("warnings %q, want %q", got, warnings)
			}
			if n := len(log.at(slog.LevelDebug)) + len(log.at(slog.LevelWarn)); n != e.fetches() {
				t.Errorf("%d lines, want one for each of %d fetches", n, e.fetches())
			}
		}
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				r.Keys(t.Context(), headerOf(k))
				if time.Now().Second()%10 == 0 {
					r.Keys(t.Context(), headerOf(other))
				}
			}
		}
		run(10 * time.Minute)
		want()
		e.serve(text(500, ""))
		run(10 * time.Minute)
		want("cannot be fetched")
		e.serve(setOf(k))
		run(10 * time.Minute)
		want("cannot be fetched", "can be fetched again")
		e.serve(hang)
		run(10 * time.Minute)
		want("cannot be fetched", "can be fetched again", "cannot be fetched")
		if e.fetches() < 30 {
			t.Errorf("only %d fetches", e.fetches())
		}
	})
}

func TestASecretInTheQueryOfAKeySetsURLIsInNoLogAndNoError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, nil))
		for name, a := range map[string]answer{
			"a fault of the network": func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET },
			"a hang":                 hang,
			"a redirect":             text(302, "", "Location", "https://elsewhere.example/?key=secret"),
			"a status":               text(500, ""),
		} {
			e := &endpoint{answer: a}
			r := e.remote(Config{Issuer: "https://id.example", URL: keysURL + "?key=secret", Logger: log})
			if err := r.Ready(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
		}
		synctest.Wait() // a fetch is reported after those who waited for it have it
		if strings.Contains(out.String(), "secret") || !strings.Contains(out.String(), "cannot be fetched") {
			t.Errorf("the log: %s", out.String())
		}
	})
}

func TestTheLogNamesTheIssuerTheTimeAndTheFault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		k := newKey("a")
		e := &endpoint{answer: late(time.Second, text(500, "<secret>"))}
		r := e.remote(Config{Logger: log})
		wantUnavailable(t, r, k)
		time.Sleep(2 * time.Second)
		e.serve(setOf(k, other))
		wantAccepted(t, r, k)
		synctest.Wait() // a fetch is reported after those who waited for it have it
		for _, want := range []string{"issuer=https://id.example", "duration=1s", "status 500", "status=500", "status=200", "keys=2",
			"level=WARN"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), "secret") {
			t.Error("the log has the body of an answer")
		}
	})
}
