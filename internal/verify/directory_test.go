package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/refusal"
)

// tenants finds the issuers whose names begin with "tenant", unless it is down, and counts how often it is asked.
type tenants struct {
	asked atomic.Int32
	down  atomic.Bool
	gone  atomic.Bool
	takes time.Duration
}

func (l *tenants) find(ctx context.Context, iss string, _ *Issuer) (*Issuer, error) {
	l.asked.Add(1)
	time.Sleep(l.takes)
	switch {
	case l.down.Load():
		return nil, errors.New("the database is down")
	case l.gone.Load() || len(iss) < 6 || iss[:6] != "tenant":
		return nil, refusal.ErrInvalidToken
	}
	return &Issuer{Name: iss}, ctx.Err()
}

func wantKind(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestAnIssuerIsLookedUpOnceAndAgainAfterATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := new(tenants)
		d := newDirectory(list.find)
		ask := func(want int32) {
			t.Helper()
			if iss, err := d.issuer(t.Context(), "tenant 1"); err != nil || iss.Name != "tenant 1" {
				t.Errorf("got %v, %v, want tenant 1", iss, err)
			}
			synctest.Wait()
			if got := list.asked.Load(); got != want {
				t.Errorf("got asked %d times, want %d", got, want)
			}
		}
		for range 10 {
			ask(1)
		}
		time.Sleep(askAgain)
		ask(2)
		ask(2)
	})
}

func TestAnIssuerThatIsWithdrawnIsNotTrustedOnceItWasAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := new(tenants)
		d := newDirectory(list.find)
		d.issuer(t.Context(), "tenant 1")
		list.gone.Store(true)
		time.Sleep(askAgain)
		d.issuer(t.Context(), "tenant 1") // asks in the background
		synctest.Wait()
		_, err := d.issuer(t.Context(), "tenant 1")
		wantKind(t, err, refusal.ErrInvalidToken)
	})
}

func TestAnOutageOfTheLookupIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := new(tenants)
		d := newDirectory(list.find)
		d.issuer(t.Context(), "tenant 1")
		list.down.Store(true)
		_, err := d.issuer(t.Context(), "tenant 2")
		wantKind(t, err, refusal.ErrUnavailable)
		for range 11 {
			time.Sleep(askAgain)
			if _, err := d.issuer(t.Context(), "tenant 1"); err != nil {
				t.Errorf("got %v for one who was found, want no error", err)
			}
			synctest.Wait()
		}
		time.Sleep(askAgain)
		_, err = d.issuer(t.Context(), "tenant 1")
		wantKind(t, err, refusal.ErrUnavailable)
		list.down.Store(false)
		time.Sleep(keepFailed)
		for _, iss := range []string{"tenant 1", "tenant 2"} {
			if _, err := d.issuer(t.Context(), iss); err != nil {
				t.Errorf("%s: got %v, want no error", iss, err)
			}
		}
	})
}

func TestNoRequestWaitsForTheLookupOfAnotherIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &tenants{takes: 3 * time.Second}
		d := newDirectory(list.find)
		d.issuer(t.Context(), "tenant 1")
		start := time.Now()
		for i := range maxLookups {
			go d.issuer(t.Context(), fmt.Sprint("nobody ", i))
		}
		synctest.Wait()
		if _, err := d.issuer(t.Context(), "tenant 1"); err != nil {
			t.Error(err)
		}
		_, err := d.issuer(t.Context(), "tenant 2") // there is no room for one more
		wantKind(t, err, refusal.ErrUnavailable)
		if took := time.Since(start); took != 0 {
			t.Errorf("got to wait %v, want not at all", took)
		}
		time.Sleep(time.Minute)
	})
}

func TestAFloodOfForeignIssuersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := new(tenants)
		d := newDirectory(list.find)
		d.issuer(t.Context(), "tenant 1")
		const seconds = 60
		for i := range seconds * 1000 {
			d.issuer(t.Context(), fmt.Sprint("nobody ", i))
			time.Sleep(time.Millisecond)
		}
		if got, most := list.asked.Load(), int32(lookupBurst+seconds*20+2); got > most {
			t.Errorf("got asked %d times, want at most %d", got, most)
		}
		if got := len(d.unknown) + len(d.lookups); got > maxUnknown {
			t.Errorf("got %d kept, want at most %d", got, maxUnknown)
		}
		if _, err := d.issuer(t.Context(), "tenant 1"); err != nil {
			t.Errorf("got %v for one who was found, want no error", err)
		}
		asked := list.asked.Load()
		d.issuer(t.Context(), string(make([]byte, maxName+1)))
		d.issuer(t.Context(), "")
		if got := list.asked.Load(); got != asked {
			t.Error("got asked for what is no name, want a refusal without it")
		}
	})
}

func TestTheTableOfThoseFoundIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := new(tenants)
		d := newDirectory(list.find)
		for i := range 3 * maxFound {
			if _, err := d.issuer(t.Context(), fmt.Sprint("tenant ", i)); err != nil {
				t.Fatal(err)
			}
			d.issuer(t.Context(), "tenant 0")
			time.Sleep(lookupInterval)
		}
		if got := len(d.found); got > maxFound {
			t.Errorf("got %d kept, want at most %d", got, maxFound)
		}
		if d.found["tenant 0"] == nil {
			t.Error("got the one dropped that is used all the time, want it kept")
		}
	})
}

func TestALookupThatPanicsIsAnOutage(t *testing.T) {
	d := newDirectory(func(context.Context, string, *Issuer) (*Issuer, error) { panic("secret") })
	_, err := d.issuer(t.Context(), "tenant 1")
	wantKind(t, err, refusal.ErrUnavailable)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want no text of the panic", err)
	}
}

func TestAWaiterLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory((&tenants{takes: time.Second}).find)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := d.issuer(ctx, "tenant 1")
		wantKind(t, err, refusal.ErrUnavailable)
		if iss, err := d.issuer(t.Context(), "tenant 1"); err != nil || iss == nil {
			t.Errorf("got %v for whoever waits on, want no error", err)
		}
	})
}
