package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
)

func TestNothingIsFetchedBeforeTheFirstLookup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{}, k)
		time.Sleep(48 * time.Hour)
		e.wantFetches(t, 0)
		wantAccepted(t, r, k)
		e.wantFetches(t, 1)
	})
}

func TestNothingIsFetchedWithoutLookups(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{Refresh: time.Minute}, k)
		wantAccepted(t, r, k)
		time.Sleep(12 * time.Hour)
		e.wantFetches(t, 1)
	})
}

func TestAThousandFirstLookupsShareOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: late(time.Second, setOf(k))}
		r := e.remote(Config{})
		start := time.Now()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if !accepted(t, r, k) {
					t.Error("refused")
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != time.Second {
			t.Errorf("took %v, want the second of the one fetch", d)
		}
		e.wantFetches(t, 1)
	})
}

func TestAThousandLookupsShareTheFailureOfOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &endpoint{answer: late(time.Second, text(500, ""))}
		r := e.remote(Config{})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { wantUnavailable(t, r, other) })
		}
		wg.Wait()
		e.wantFetches(t, 1)
	})
}

// Real goroutines and a fetch that takes no time: some lookups see no set, and ask for a fetch after one has ended.
func TestFirstLookupsThatComeTooLateToJoinAFetchStartNoSecondOne(t *testing.T) {
	k := newKey("a")
	for range 200 {
		r, e := serving(Config{}, k)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := r.Keys(t.Context(), headerOf(k)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		e.wantFetches(t, 1)
	}
}

func TestALookupThatSawTheSetBeforeItWasRefreshedStartsNoFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{Refresh: time.Minute}, k)
		for round := range 3 {
			seen := time.Now() // where a goroutine lost the processor
			wantAccepted(t, r, k)
			synctest.Wait()
			if f, err := r.start(seen, false); f != nil || err != nil {
				t.Errorf("flight %v, error %v, want neither", f, err)
			}
			synctest.Wait()
			e.wantFetches(t, round+1)
			time.Sleep(time.Minute)
		}
	})
}

func TestAWaiterLeavesWithItsCauseAndTheFetchGoesOnForTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		gone := errors.New("the client has gone")
		e := &endpoint{answer: late(2*time.Second, setOf(k))}
		r := e.remote(Config{})
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if i%2 == 0 {
					wantAccepted(t, r, k)
					return
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(gone) })
				keys, err := r.Keys(ctx, headerOf(k))
				if !errors.Is(err, gone) || errors.Is(err, ErrUnknownKey) || keys != nil {
					t.Errorf("keys %v, error %v, want the cause", keys, err)
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("left after %v, want 1s", d)
				}
			})
		}
		wg.Wait()
		e.wantFetches(t, 1)
	})
}

// The first request is the one that starts the fetch: it must not take it along.
func TestTheFetchOutlivesTheRequestThatStartedIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: late(2*time.Second, setOf(k))}
		r := e.remote(Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Keys(ctx, headerOf(k)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the deadline", err)
		}
		time.Sleep(1500 * time.Millisecond)
		wantAtOnce(t, r, k)
		e.wantFetches(t, 1)
	})
}

func TestAWaiterForANewerSetLeavesWithItsCause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k, gone := newKey("a"), errors.New("gone")
		r, e := serving(Config{}, k)
		wantAccepted(t, r, k)
		e.serve(hang)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := r.Keys(ctx, headerOf(other)); !errors.Is(err, gone) {
			t.Errorf("error %v, want the cause", err)
		}
	})
}

func TestAFetchLasts5SecondsAtMost(t *testing.T) {
	for name, f := range faults() {
		if !f.hangs {
			continue
		}
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				e := &endpoint{answer: f.answer}
				r := e.remote(Config{})
				start := time.Now()
				wantUnavailable(t, r, other)
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("took %v, want 5s", d)
				}
			})
		})
	}
}

func TestARefreshNeverBlocksALookupOfAKnownKey(t *testing.T) {
	for name, then := range map[string]answer{
		"while the endpoint hangs":   hang,
		"while the endpoint is slow": late(4*time.Second, agedSetOf(60, newKey("a"), newKey("b"))),
		"while the endpoint fails":   late(4*time.Second, text(503, "")),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a, b := newKey("a"), newKey("b")
				e := &endpoint{answer: agedSetOf(60, a, b)}
				r := e.remote(Config{})
				wantAccepted(t, r, a)
				e.serve(then)
				for range 10 * 60 * 10 {
					wantAtOnce(t, r, a)
					wantAtOnce(t, r, b)
					time.Sleep(100 * time.Millisecond)
				}
				if e.fetches() < 3 {
					t.Errorf("%d fetches: there was nothing to be blocked by", e.fetches())
				}
			})
		})
	}
}

// A handler of the log may block, on a pipe that nobody reads. Nobody must be refused because of that.
func TestALogThatBlocksDoesNotBlockALookupOfAKnownKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		log := &logbook{}
		r, e := serving(Config{Refresh: time.Minute, Logger: log.logger()}, k)
		wantAccepted(t, r, k)
		e.serve(text(500, ""))
		block := make(chan struct{})
		defer close(block)
		log.blockOn(block)
		for range 120 {
			time.Sleep(time.Second)
			wantAtOnce(t, r, k)
		}
	})
}

func TestTheP99OfALookupIsUnder5msWithTheEndpointHanging(t *testing.T) {
	k := newKey("a")
	var hanging atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hanging.Load() {
			<-r.Context().Done()
		}
		w.Write(mint.SetOf(k))
	}))
	defer srv.Close()
	r := New(Config{Issuer: srv.URL, URL: srv.URL, Refresh: 1}) // due at each lookup
	wantAccepted(t, r, k)
	hanging.Store(true)
	defer srv.CloseClientConnections()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			mine := make([]time.Duration, 5000)
			for i := range mine {
				start := time.Now()
				if _, err := r.Keys(t.Context(), headerOf(k)); err != nil {
					t.Error(err)
				}
				mine[i] = time.Since(start)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	if f, err := r.start(time.Now(), false); f == nil || err != nil {
		t.Error("no fetch is under way")
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("median %v, p99 %v, longest %v", took[len(took)/2], p99, took[len(took)-1])
	if p99 >= 5*time.Millisecond {
		t.Errorf("p99 %v, want under 5ms", p99)
	}
}

func TestASetIsRefreshedAheadOfItsEnd(t *testing.T) {
	for name, row := range map[string]struct {
		cacheControl []string
		cfg          Config
		age          time.Duration
	}{
		"no Cache-Control":        {nil, Config{}, 15 * time.Minute},
		"max-age":                 {[]string{"max-age=600"}, Config{}, 10 * time.Minute},
		"max-age 0":               {[]string{"max-age=0"}, Config{}, time.Minute},
		"max-age of a year":       {[]string{"max-age=31536000"}, Config{}, time.Hour},
		"no-store":                {[]string{"no-store"}, Config{}, time.Minute},
		"Refresh":                 {nil, Config{Refresh: 5 * time.Minute}, 5 * time.Minute},
		"Refresh and max-age":     {[]string{"max-age=60"}, Config{Refresh: 30 * time.Minute}, 30 * time.Minute},
		"Refresh and no-store":    {[]string{"no-store"}, Config{Refresh: 30 * time.Minute}, 30 * time.Minute},
		"Refresh below a minute":  {nil, Config{Refresh: 10 * time.Second}, 10 * time.Second},
		"Refresh above an hour":   {nil, Config{Refresh: 6 * time.Hour}, 6 * time.Hour},
		"Refresh beyond MaxStale": {nil, Config{Refresh: 6 * time.Hour, MaxStale: time.Hour}, time.Hour},
		"MaxStale below max-age":  {[]string{"max-age=600"}, Config{MaxStale: time.Minute}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				k := newKey("a")
				var headers []string
				for _, value := range row.cacheControl {
					headers = append(headers, "Cache-Control", value)
				}
				e := &endpoint{answer: text(200, string(mint.SetOf(k)), headers...)}
				r := e.remote(row.cfg)
				wantAccepted(t, r, k)
				for e.fetches() < 10 {
					time.Sleep(row.age / 1000)
					wantAtOnce(t, r, k)
					synctest.Wait()
				}
				asks := e.asks()
				for i := range asks[1:] {
					gap := asks[i+1].at.Sub(asks[i].at)
					if gap < row.age*3/4 || gap > row.age*9/10+row.age/1000 {
						t.Errorf("refreshed after %v of %v, want between 8/10 and 9/10 of it", gap, row.age)
					}
				}
			})
		})
	}
}

func TestTheServersOfAFleetDoNotRefreshAtTheSameTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: agedSetOf(3600, k)}
		var fleet []*Remote
		for range 100 {
			r := e.remote(Config{})
			wantAccepted(t, r, k)
			fleet = append(fleet, r)
		}
		perSecond := map[time.Duration]int{}
		for range 3600 {
			before := e.fetches()
			time.Sleep(time.Second)
			for _, r := range fleet {
				wantAtOnce(t, r, k)
			}
			synctest.Wait()
			perSecond[time.Duration(e.fetches()-before)]++
		}
		e.wantFetches(t, 200)
		for n := range perSecond {
			if n > 20 {
				t.Errorf("%d of 100 refreshed in one second", n)
			}
		}
	})
}

func TestAWithdrawnKeyStopsVerifyingWithTheNextRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newKey("a"), newKey("b")
		e := &endpoint{answer: agedSetOf(60, a, b)}
		r := e.remote(Config{})
		start := time.Now()
		wantAccepted(t, r, b)
		e.serve(agedSetOf(60, a))
		var last time.Duration
		for range 120 {
			time.Sleep(500 * time.Millisecond)
			if _, err := r.current.Load().set.Find(headerOf(b)); err == nil {
				wantAtOnce(t, r, b)
				last = time.Since(start)
			} else {
				wantUnknown(t, r, b)
			}
			wantAtOnce(t, r, a)
			synctest.Wait()
		}
		if last < 48*time.Second || last > 55*time.Second {
			t.Errorf("the withdrawn key was last accepted after %v, want 48s to 54s", last)
		}
		wantUnknown(t, r, b)
	})
}

func TestARotationIsPickedUpByTheFirstTokenOfTheNewKey(t *testing.T) {
	for name, latency := range map[string]time.Duration{
		"at once": 0, "when a slow endpoint has answered": 2 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				keys := []*mint.Key{newKey("0")}
				r, e := serving(Config{}, keys...)
				wantAccepted(t, r, keys[0])
				for i := range 20 {
					time.Sleep(10 * time.Second)
					keys = append(keys, newKey(fmt.Sprint(i+1)))
					e.serve(late(latency, setOf(keys...)))
					rotated := time.Now()
					wantAccepted(t, r, keys[len(keys)-1])
					if d := time.Since(rotated); d != latency {
						t.Errorf("took %v, want %v", d, latency)
					}
					wantAtOnce(t, r, keys[0])
				}
				e.wantFetches(t, 21)
			})
		})
	}
}

// The issuer has answered, its keys rotate, and the answer is still on its way.
func TestARotationDuringARefreshIsPickedUpAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newKey("a"), newKey("b")
		r, e := serving(Config{Refresh: time.Minute}, a)
		wantAccepted(t, r, a)
		time.Sleep(time.Minute)
		e.serve(func(req *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return setOf(a)(req)
		})
		wantAtOnce(t, r, a)
		time.Sleep(time.Second)
		e.serve(setOf(a, b))
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { wantAccepted(t, r, b) })
			wg.Go(func() { wantUnknown(t, r, other) })
		}
		wg.Wait()
		wantAtOnce(t, r, b)
		e.wantFetches(t, 3)
	})
}

func TestAThousandTokensOfANewKeyShareOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newKey("a"), newKey("b")
		r, e := serving(Config{}, a)
		wantAccepted(t, r, a)
		e.serve(late(time.Second, setOf(a, b)))
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if !accepted(t, r, b) {
					t.Error("refused")
				}
			})
		}
		wg.Wait()
		e.wantFetches(t, 2)
	})
}

func TestAnUnknownKeyIsTheTokensFaultOnlyWhereTheNewestFetchSucceeded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{}, k)
		wantUnknown(t, r, other) // the first fetch of all
		wantUnknown(t, r, other) // a fetch of its own
		wantUnknown(t, r, other) // none: too soon
		e.wantFetches(t, 2)

		e.serve(text(500, ""))
		time.Sleep(missInterval)
		wantUnavailable(t, r, other)
		wantUnavailable(t, r, other) // no fetch, but the last one failed
		wantAtOnce(t, r, k)
		e.wantFetches(t, 3)

		e.serve(setOf(k))
		time.Sleep(missInterval)
		wantUnknown(t, r, other)
		wantUnknown(t, r, other)
		e.wantFetches(t, 4)
	})
}

func TestWhatIsAnUnknownKey(t *testing.T) {
	a, b := newKey("a"), newKey("b")
	rsa := mint.New("RS256", "a")
	five := []*mint.Key{a, b, newKey("c"), newKey("d"), newKey("e")}
	for name, row := range map[string]struct {
		set    []*mint.Key
		header jose.Header
		known  bool
	}{
		"the kid":                      {[]*mint.Key{a, b}, jose.Header{Alg: jose.EdDSA, KeyID: "a"}, true},
		"another kid":                  {[]*mint.Key{a, b}, jose.Header{Alg: jose.EdDSA, KeyID: "c"}, false},
		"another kid, one key":         {[]*mint.Key{a}, jose.Header{Alg: jose.EdDSA, KeyID: "c"}, false},
		"no kid, one key":              {[]*mint.Key{a}, jose.Header{Alg: jose.EdDSA}, true},
		"no kid, five keys":            {five, jose.Header{Alg: jose.EdDSA}, false},
		"no kid, one key that fits":    {[]*mint.Key{a, rsa}, jose.Header{Alg: jose.RS256}, true},
		"the kid of a key that cannot": {[]*mint.Key{a, b}, jose.Header{Alg: jose.RS256, KeyID: "a"}, false},
		"a secret's algorithm":         {[]*mint.Key{a, b, rsa}, jose.Header{Alg: jose.HS256, KeyID: "a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := serving(Config{}, row.set...)
			for range 2 { // before the first fetch, and after it
				keys, err := r.Keys(t.Context(), row.header)
				if row.known && (err != nil || len(keys) != 1) {
					t.Errorf("keys %v, error %v", keys, err)
				}
				if !row.known && (!errors.Is(err, ErrUnknownKey) || keys != nil) {
					t.Errorf("keys %v, error %v, want ErrUnknownKey", keys, err)
				}
			}
		})
	}
}

// flood looks up unknown kids, a thousand each second, as long as the test's clock stands before end.
// The errors go to check, and each is called each time.
func flood(t *testing.T, r *Remote, end time.Time, each func(), check func(error)) {
	var wg sync.WaitGroup
	for i := 0; time.Now().Before(end); i++ {
		wg.Go(func() {
			_, err := r.Keys(t.Context(), jose.Header{Alg: jose.EdDSA, KeyID: fmt.Sprint("unknown", i)})
			check(err)
		})
		each()
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
}

func TestAFloodOfUnknownKidsStartsAtMostOneFetchIn5Seconds(t *testing.T) {
	k := newKey("a")
	for name, row := range map[string]struct {
		then    answer
		outage  bool
		unheard bool // the flood is the first that the Remote sees
	}{
		"with a quick endpoint":            {then: setOf(k)},
		"with a slow endpoint":             {then: late(800*time.Millisecond, setOf(k))},
		"with a very slow endpoint":        {then: late(4*time.Second, setOf(k))},
		"with a set that ends in a minute": {then: agedSetOf(60, k)},
		"before any other lookup":          {then: late(10*time.Millisecond, setOf(k)), unheard: true},
		"with a failing endpoint":          {then: text(500, ""), outage: true},
		"with a hanging endpoint":          {then: hang, outage: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, e := serving(Config{}, k)
				if !row.unheard {
					wantAccepted(t, r, k)
				}
				e.serve(row.then)
				known := func() {
					if r.current.Load() != nil {
						wantAtOnce(t, r, k)
					}
				}
				flood(t, r, time.Now().Add(time.Minute), known, func(err error) {
					if err == nil || errors.Is(err, ErrUnknownKey) == row.outage {
						t.Errorf("error %v", err)
					}
				})
				asks := e.asks()
				if len(asks) > 13 {
					t.Errorf("%d fetches, want at most 13", len(asks))
				}
				for i := 1; i+1 < len(asks); i++ {
					if gap := asks[i+1].at.Sub(asks[i].at); gap < missInterval {
						t.Errorf("fetches %d and %d are only %v apart", i, i+1, gap)
					}
				}
			})
		})
	}
}

func TestARotationUnderAFloodOfUnknownKidsIsPickedUpIn6Seconds(t *testing.T) {
	for name, latency := range map[string]time.Duration{
		"with a quick endpoint": 0, "with a slow endpoint": 900 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			for _, offset := range []time.Duration{0, 100, 1234, 2500, 4000, 4999} { // ms, against the 5 s
				inBubble(t, func(t *testing.T) {
					a, b := newKey("a"), newKey("b")
					r, e := serving(Config{}, a)
					wantAccepted(t, r, a)
					e.serve(late(latency, setOf(a)))
					var wg sync.WaitGroup
					wg.Go(func() { flood(t, r, time.Now().Add(20*time.Second), func() {}, func(error) {}) })
					time.Sleep(5*time.Second + offset*time.Millisecond)
					e.serve(late(latency, setOf(a, b)))
					if d := until(t, func() bool { return accepted(t, r, b) }); d > 6*time.Second {
						t.Errorf("rotation after %v more: took %v, want at most 6s", offset, d)
					}
					wg.Wait()
				})
			}
		})
	}
}

func TestReady(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: late(time.Second, text(503, ""))}
		r := e.remote(Config{Refresh: time.Minute, MaxStale: time.Hour})
		ready := func(want bool, fetches int) {
			t.Helper()
			if err := r.Ready(t.Context()); (err == nil) != want || errors.Is(err, ErrUnknownKey) {
				t.Errorf("Ready: %v", err)
			}
			synctest.Wait()
			e.wantFetches(t, fetches)
		}
		ready(false, 1)
		ready(false, 1) // too soon for another fetch
		time.Sleep(2 * time.Second)
		e.serve(late(time.Second, setOf(k)))
		ready(true, 2)
		ready(true, 2)
		wantAtOnce(t, r, k)
		e.serve(hang)
		time.Sleep(10 * time.Minute)
		ready(true, 2) // past its age, but good to serve
		time.Sleep(50 * time.Minute)
		ready(false, 3)
		e.serve(setOf(k))
		time.Sleep(2 * time.Second)
		ready(true, 4)
	})
}

func TestReadyLeavesWithTheCauseOfItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &endpoint{answer: hang}
		r := e.remote(Config{})
		gone := errors.New("start-up took too long")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
		defer cancel()
		if err := r.Ready(ctx); !errors.Is(err, gone) {
			t.Errorf("error %v, want the cause", err)
		}
	})
}

func TestLookupsWhileTheSetRotatesAllSucceed(t *testing.T) {
	keep := newKey("keep")
	var current atomic.Pointer[mint.Key]
	current.Store(newKey("0"))
	e := &endpoint{answer: func(req *http.Request) (*http.Response, error) {
		return setOf(keep, current.Load())(req)
	}}
	r := e.remote(Config{Refresh: 1}) // a refresh is always due
	var stop atomic.Bool
	var wg, rotating sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				if _, err := r.Keys(t.Context(), headerOf(keep)); err != nil {
					t.Error(err)
					return
				}
				if err := r.Ready(t.Context()); err != nil {
					t.Error(err)
					return
				}
				_, err := r.Keys(t.Context(), headerOf(current.Load())) // a moment too old, perhaps
				if err != nil && !errors.Is(err, ErrUnknownKey) {
					t.Error(err)
					return
				}
			}
		})
	}
	rotating.Go(func() {
		for i := range 200 {
			current.Store(newKey(fmt.Sprint(i)))
			for range 10 {
				if _, err := r.Keys(t.Context(), headerOf(keep)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	rotating.Wait()
	stop.Store(true)
	wg.Wait()
}

func knownKeys() map[string][]*mint.Key {
	k := newKey("a")
	return map[string][]*mint.Key{
		"of a set with one key":            {k},
		"of a set with keys of many kinds": {k, mint.New("ES256", "b"), mint.New("RS256", "c"), mint.New("PS256", "d")},
	}
}

func TestTheLookupOfAKnownKeyAllocatesNothing(t *testing.T) {
	for name, keys := range knownKeys() {
		t.Run(name, func(t *testing.T) {
			r, _ := serving(Config{}, keys...)
			ctx, h := t.Context(), headerOf(keys[0])
			wantAccepted(t, r, keys[0])
			if n := testing.AllocsPerRun(1000, func() { r.Keys(ctx, h) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkKnownKey(b *testing.B) {
	for name, keys := range knownKeys() {
		b.Run(name, func(b *testing.B) {
			r, _ := serving(Config{}, keys...)
			ctx, h := b.Context(), headerOf(keys[0])
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Keys(ctx, h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
