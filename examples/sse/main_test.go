package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
	"github.com/wsauth/wsauth/wsauthtest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

const leeway = 30 * time.Second // wsauth's default

func newIssuer(t *testing.T) *wsauthtest.Issuer {
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	return issuer
}

// An hour takes no time in a bubble of testing/synctest.
func TestTheContextOfAStreamEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		auth, err := newAuth(issuer.Secret)
		if err != nil {
			t.Fatal(err)
		}
		var cause error
		handler := auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stream(w, r)
			cause = context.Cause(r.Context())
		}), nil)
		r := httptest.NewRequest("GET", "/events", nil)
		r.Header.Set("Authorization", "Bearer "+issuer.Token())
		w := httptest.NewRecorder()
		begun := time.Now()
		handler.ServeHTTP(w, r)
		if got := time.Since(begun); got != time.Hour+leeway {
			t.Errorf("got the end after %v, want it after %v", got, time.Hour+leeway)
		}
		if !errors.Is(cause, wsauth.ErrExpired) {
			t.Errorf("got cause %v, want %v", cause, wsauth.ErrExpired)
		}
		if got := strings.Count(w.Body.String(), `data: "alice"`); got < 3600 {
			t.Errorf("got %d events, want one a second", got)
		}
	})
}

func TestAStreamNeedsAToken(t *testing.T) {
	issuer := newIssuer(t)
	handler, err := newServer(issuer.Secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, cookie string }{
		{"none", ""},
		{"expired", issuer.Expired()},
		{"forged", issuer.Forged()},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/events", nil)
			r.AddCookie(&http.Cookie{Name: "access_token", Value: row.cookie})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("got %d, want 401", w.Code)
			}
		})
	}
}

// EventSource comes back after the end of its token, once: with the old token it stops, with a new one it goes on.
func TestEventSourceComesBackOnceAfterTheEndOfItsToken(t *testing.T) {
	for _, row := range []struct {
		name   string
		hasNew bool
		ends   string
	}{
		{"with the old one it stops", false, "refused: log in again"},
		{"with a new one it goes on", true, "open"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			issuer := newIssuer(t)
			app, err := newServer(issuer.Secret)
			if err != nil {
				t.Fatal(err)
			}
			var requests atomic.Int32
			page := browsertest.Open(t, wsauthtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/events" {
					requests.Add(1)
				}
				app.ServeHTTP(w, r)
			})))
			logIn := func(end time.Time) {
				token := issuer.Token(wsauthtest.Claims{"iat": nil, "exp": end.Add(-leeway)})
				page.Eval(fmt.Sprintf(`document.cookie = "access_token=%s; SameSite=Strict"; 0`, token), nil)
			}
			page.Eval(`window.states = []; new MutationObserver(() => states.push(state.textContent))
				.observe(state, { childList: true }); 0`, nil)
			logIn(time.Now().Add(6 * time.Second))
			page.Do(chromedp.Click(chromedp.CSS("button")))
			page.WaitFor(`last.textContent.startsWith('"alice", it is ')`)
			if row.hasNew {
				logIn(time.Now().Add(time.Minute))
			}
			page.WaitFor(`states.length >= 3`)
			var got string
			page.Eval(`states.join(", ")`, &got)
			if want := "open, waiting to connect again, " + row.ends; got != want {
				t.Errorf("got states %q, want %q", got, want)
			}
			if got := requests.Load(); got != 2 {
				t.Errorf("got %d requests, want 2", got)
			}
		})
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("got error %v, want one that says what to do", err)
	}
}
