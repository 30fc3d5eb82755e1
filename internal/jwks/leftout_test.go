package jwks

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/mint"
)

// sealing is a key that a set may have, and no token.
func sealing(kid string) map[string]any {
	jwk := newKey(kid).JWK()
	jwk["use"] = "enc"
	return jwk
}

func TestAKeyThatCannotBeUsedIsAWarningOnceForEachState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		log := &logbook{}
		r, e := serving(Config{Refresh: time.Minute, Logger: log.logger()}, k)
		private := newKey("d").JWK()
		private["d"] = "c2VjcmV0LW9mLXRoZS1rZXk"
		want := func(kids string) {
			t.Helper()
			for range 300 {
				time.Sleep(time.Second)
				wantAtOnce(t, r, k)
			}
			synctest.Wait()
			if got := strings.Join(log.kids(), " "); got != kids {
				t.Errorf("got warnings for %q, want %q", got, kids)
			}
		}
		wantAccepted(t, r, k)
		want("")
		e.serve(text(200, string(mint.Set(k.JWK(), sealing("b")))))
		want("b")
		e.serve(text(200, string(mint.Set(sealing("b"), k.JWK(), sealing("c"), sealing("c"), private))))
		want("b c d")
		e.serve(text(500, ""))
		want("b c d")
		e.serve(text(200, string(mint.Set(k.JWK(), sealing("c"), sealing("b")))))
		want("b c d")
		e.serve(setOf(k))
		want("b c d")
		e.serve(text(200, string(mint.Set(k.JWK(), sealing("b")))))
		want("b c d b")
		for _, rec := range log.records(leftOutMessage) {
			rec.Attrs(func(a slog.Attr) bool {
				if strings.Contains(a.Value.String(), "c2VjcmV0") {
					t.Errorf("%s has key material", a.Key)
				}
				if a.Key == "reason" && a.Value.String() == "" {
					t.Error("got no reason")
				}
				return true
			})
		}
	})
}

const leftOutMessage = "wsauth: a key of the issuer cannot be used"

func (l *logbook) records(message string) (found []slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.entries {
		if rec.Message == message && rec.Level == slog.LevelWarn {
			found = append(found, rec)
		}
	}
	return found
}

func (l *logbook) kids() (kids []string) {
	for _, rec := range l.records(leftOutMessage) {
		rec.Attrs(func(a slog.Attr) bool {
			if a.Key == "kid" {
				kids = append(kids, a.Value.String())
			}
			return true
		})
	}
	return kids
}

func TestATokenOfAKeyThatCannotBeUsedIsToldSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: text(200, string(mint.Set(k.JWK(), sealing("b"))))}
		r := e.remote(Config{})
		const want = "the issuer's key with this kid cannot be used: use: not for signatures"
		for range 3 { // before the first fetch, after it, and while there may be no other
			_, err := r.Keys(t.Context(), jose.Header{Alg: jose.EdDSA, KeyID: "b"})
			if !errors.Is(err, ErrUnknownKey) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		e.wantFetches(t, 2)
		time.Sleep(missInterval)
		repaired := newKey("b")
		e.serve(setOf(k, repaired))
		wantAccepted(t, r, repaired)
	})
}

func TestASetWithoutAUsableKeySaysWhy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := &endpoint{answer: text(200, string(mint.Set(sealing("b"))))}
		r := e.remote(Config{})
		const want = `key set: a key set without a usable key: kid "b": use: not for signatures`
		if err := r.Ready(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}
