package jwks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

func TestAWithdrawnKeyIsRefusedAfterAnIdleTime(t *testing.T) {
	for _, idle := range []time.Duration{defaultAge + overdueMargin, time.Hour, 19 * time.Hour, 23 * time.Hour} {
		for _, latency := range []time.Duration{0, patience - time.Millisecond} {
			t.Run(fmt.Sprintf("of %v, and an answer after %v", idle, latency), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					k, withdrawn := newKey("a"), newKey("b")
					r, e := serving(Config{}, k, withdrawn)
					wantAccepted(t, r, withdrawn)
					e.serve(late(latency, setOf(k)))
					time.Sleep(idle)
					var wg sync.WaitGroup
					for range 1000 {
						wg.Go(func() { wantUnknown(t, r, withdrawn) })
						wg.Go(func() { wantAccepted(t, r, k) })
					}
					wg.Wait()
					wantAtOnce(t, r, k)
					wantUnknown(t, r, withdrawn)
				})
			})
		}
	}
}

func TestAfterAnIdleTimeOneMomentIsWaitedForAnEndpointThatFails(t *testing.T) {
	for name, row := range map[string]struct {
		answer answer
		waits  time.Duration
	}{
		"hanging":          {hang, patience},
		"slow":             {late(3*time.Second, agedSetOf(60, newKey("a"))), patience},
		"failing":          {text(503, ""), 0},
		"failing, slowly":  {late(500*time.Millisecond, text(503, "")), 500 * time.Millisecond},
		"failing, at last": {late(4*time.Second, text(503, "")), patience},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				k := newKey("a")
				e := &endpoint{answer: agedSetOf(60, k)}
				r := e.remote(Config{})
				wantAccepted(t, r, k)
				e.serve(row.answer)
				for range 3 { // each time nobody has asked for hours
					time.Sleep(3 * time.Hour)
					start := time.Now()
					var wg sync.WaitGroup
					for range 100 {
						wg.Go(func() { wantWithin(t, r, k, row.waits) })
					}
					wg.Wait()
					if d := time.Since(start); d != row.waits {
						t.Errorf("got %v, want %v", d, row.waits)
					}
					for range 10 * 60 * 10 {
						wantAtOnce(t, r, k)
						time.Sleep(100 * time.Millisecond)
					}
				}
			})
		})
	}
}

func TestASetThatIsNotOverdueIsServedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{}, k)
		wantAccepted(t, r, k)
		e.serve(hang)
		time.Sleep(defaultAge + overdueMargin - 1)
		wantAtOnce(t, r, k)
		time.Sleep(2 * time.Second)
		wantAtOnce(t, r, k) // by now it is, but that is not the first lookup
	})
}

func TestWhoWaitsForAnOverdueSetLeavesWithItsCause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k, gone := newKey("a"), errors.New("gone")
		r, e := serving(Config{}, k)
		wantAccepted(t, r, k)
		e.serve(hang)
		time.Sleep(time.Hour)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(patience/2, func() { cancel(gone) })
		start := time.Now()
		if _, err := r.Keys(ctx, headerOf(k)); !errors.Is(err, gone) || time.Since(start) != patience/2 {
			t.Errorf("got %v after %v, want the cause after %v", err, time.Since(start), patience/2)
		}
	})
}

func TestAKeyIsKnownThatNeedsNoFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, e := serving(Config{MaxStale: time.Hour}, k)
		want := func(key *mint.Key, known bool) {
			t.Helper()
			if got := len(r.Known(headerOf(key))) > 0; got != known {
				t.Errorf("got %v for %s, want %v", got, key.ID, known)
			}
		}
		want(k, false)
		e.wantFetches(t, 0)
		wantAccepted(t, r, k)
		want(k, true)
		want(other, false)
		time.Sleep(time.Hour - 1)
		want(k, true)
		time.Sleep(time.Nanosecond)
		want(k, false)
		synctest.Wait()
		e.wantFetches(t, 1)
	})
}

func TestASetIsCurrentUntilItsRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		r, _ := serving(Config{Refresh: time.Hour}, k)
		if got := r.Current(time.Now()); got != nil {
			t.Errorf("before a fetch: got %v, want none", got)
		}
		wantAccepted(t, r, k)
		first := r.Current(time.Now())
		if keys, err := first.Find(headerOf(k)); err != nil || len(keys) != 1 {
			t.Errorf("after a fetch: got %v, %v, want the key", keys, err)
		}
		time.Sleep(45 * time.Minute)
		if got := r.Current(time.Now()); got != first {
			t.Errorf("before the refresh: got %p, want %p", got, first)
		}
		time.Sleep(15 * time.Minute)
		if got := r.Current(time.Now()); got != nil {
			t.Errorf("when it is time for a refresh: got %p, want none", got)
		}
		wantAccepted(t, r, k)
		synctest.Wait()
		if got := r.Current(time.Now()); got == nil || got == first {
			t.Errorf("after the refresh: got %p, want another than %p", got, first)
		}
	})
}
