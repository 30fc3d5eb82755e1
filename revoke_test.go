package wsauth_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// keeping remembers revocations for an hour.
func keeping(o *wsauth.Options) { o.Revocations.Keep = time.Hour }

// revocable are claims of a token that can be revoked by each of its names.
func revocable(changes ...map[string]any) map[string]any {
	claims := map[string]any{"sub": "alice", "sid": "session", "jti": "token", "iat": time.Now().Unix()}
	for _, c := range append([]map[string]any{lasting(30 * time.Minute)}, changes...) {
		for name, v := range c {
			claims[name] = v
		}
	}
	return claims
}

func revoke(t testing.TB, auth *wsauth.Authenticator, what ...wsauth.Revocation) {
	t.Helper()
	if err := auth.Revoke(t.Context(), what...); err != nil {
		t.Fatal(err)
	}
}

func TestARevokedTokenIsRefusedWhereverItIsShown(t *testing.T) {
	remembering := func(o *wsauth.Options) { o.CacheSize = 10 }
	for name, row := range map[string]struct {
		change func(*wsauth.Options)
		show   func(t *testing.T, auth *wsauth.Authenticator, token string) error
	}{
		"Verify": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			_, err := auth.Verify(t.Context(), token)
			return err
		}},
		"a remembered token": {remembering, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			_, err := auth.Verify(t.Context(), token)
			return err
		}},
		"Authenticate": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			_, err := auth.Authenticate(readRequest(t, "GET /\nAuthorization: Bearer "+token))
			return err
		}},
		"Middleware": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			return showTo(t, auth.Middleware, token, "")
		}},
		"Optional": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			return showTo(t, auth.Optional, token, "")
		}},
		"Guard": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			return showTo(t, func(h http.Handler) http.Handler { return auth.Guard(h, nil) }, token, "")
		}},
		"Guard's handshake": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			return showTo(t, func(h http.Handler) http.Handler { return auth.Guard(h, nil) }, token, "\nHANDSHAKE")
		}},
		"Upgrade": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			return showTo(t, func(h http.Handler) http.Handler {
				return auth.Upgrade(func(context.Context, *websocket.Conn) { h.ServeHTTP(nil, nil) }, nil)
			}, token, "\nHANDSHAKE")
		}},
		"a first message": {nil, func(t *testing.T, auth *wsauth.Authenticator, token string) error {
			var served atomic.Bool
			srv := newMemoryServer(t, auth.Upgrade(func(context.Context, *websocket.Conn) { served.Store(true) },
				&wsauth.UpgradeOptions{FirstMessage: time.Second}))
			conn := srv.dial(t, new(websocket.DialOptions))
			conn.Write(t.Context(), websocket.MessageText, []byte(token))
			_, _, err := conn.Read(t.Context())
			if websocket.CloseStatus(err) != wsauth.StatusUnauthorized || served.Load() {
				return fmt.Errorf("served %v, %w", served.Load(), err)
			}
			return wsauth.ErrRevoked
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				change := row.change
				if change == nil {
					change = func(*wsauth.Options) {}
				}
				auth := newAuth(t, keeping, change)
				token := testToken(revocable())
				if _, err := auth.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
				revoke(t, auth, wsauth.Revocation{Subject: "alice"})
				if err := row.show(t, auth, token); !errors.Is(err, wsauth.ErrRevoked) {
					t.Errorf("got %v, want ErrRevoked", err)
				}
			})
		})
	}
}

// showTo shows a token to a handler, and returns ErrRevoked if it was refused for that reason.
func showTo(t *testing.T, wrap func(http.Handler) http.Handler, token, more string) error {
	t.Helper()
	var next recorder
	w := serve(wrap(&next), readRequest(t, "GET /\nAuthorization: Bearer "+token+more))
	if len(next.requests) > 0 || w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "token revoked") {
		return fmt.Errorf("%d %s, with %d calls", w.Code, w.Body, len(next.requests))
	}
	return wsauth.ErrRevoked
}

func TestARevocationCoversWhatItNamesAndNothingElse(t *testing.T) {
	const other = "https://other.example.com/"
	now := time.Now()
	claims := func(changes map[string]any) map[string]any { return testClaims(revocable(changes)) }
	auth := func(t *testing.T) *wsauth.Authenticator {
		return newAuth(t, keeping, func(o *wsauth.Options) {
			second := o.Issuers[0]
			second.Name, second.Session = other, "session_id"
			o.Issuers = append(o.Issuers, second)
		})
	}
	second := func(s int64) int64 { return now.Unix() + s }
	alice := wsauth.Revocation{Issuer: testIssuer, Subject: "alice"}
	before := alice
	before.Before = now.Add(-10 * time.Second)
	for name, row := range map[string]struct {
		what   wsauth.Revocation
		claims map[string]any
		want   error
	}{
		"a user's token":                   {alice, nil, wsauth.ErrRevoked},
		"another user's":                   {alice, map[string]any{"sub": "bob"}, nil},
		"a user's in other letters":        {alice, map[string]any{"sub": "Alice"}, nil},
		"a user whose name begins so":      {alice, map[string]any{"sub": "alice2"}, nil},
		"a token of nobody":                {alice, map[string]any{"sub": nil}, nil},
		"a session of the user's name":     {alice, map[string]any{"sub": "bob", "sid": "alice", "jti": "alice"}, nil},
		"the same user elsewhere":          {alice, map[string]any{"iss": other}, nil},
		"a user with a number":             {wsauth.Revocation{Issuer: testIssuer, Subject: "4711"}, map[string]any{"sub": 4711}, wsauth.ErrRevoked},
		"a session":                        {wsauth.Revocation{Issuer: testIssuer, Session: "session"}, nil, wsauth.ErrRevoked},
		"another session":                  {wsauth.Revocation{Issuer: testIssuer, Session: "another"}, nil, nil},
		"a session with a number":          {wsauth.Revocation{Issuer: testIssuer, Session: "17"}, map[string]any{"sid": 17}, wsauth.ErrRevoked},
		"a session in a claim of its name": {wsauth.Revocation{Issuer: other, Session: "s"}, map[string]any{"iss": other, "session_id": "s"}, wsauth.ErrRevoked},
		"a session in another claim":       {wsauth.Revocation{Issuer: other, Session: "s"}, map[string]any{"iss": other, "sid": "s"}, nil},
		"a token":                          {wsauth.Revocation{Issuer: testIssuer, ID: "token"}, nil, wsauth.ErrRevoked},
		"another token":                    {wsauth.Revocation{Issuer: testIssuer, ID: "another"}, nil, nil},
		"a whole issuer": {
			wsauth.Revocation{Issuer: testIssuer, Before: now}, map[string]any{"iat": second(-1)}, wsauth.ErrRevoked,
		},
		"a whole issuer, a later token": {
			wsauth.Revocation{Issuer: testIssuer, Before: now.Add(-time.Minute)}, map[string]any{"iat": second(-1)}, nil,
		},
		"another whole issuer":                     {wsauth.Revocation{Issuer: other, Before: now}, nil, nil},
		"issued before":                            {before, map[string]any{"iat": second(-11)}, wsauth.ErrRevoked},
		"issued in the same second":                {before, map[string]any{"iat": second(-10)}, wsauth.ErrRevoked},
		"issued in the same second, to a fraction": {before, map[string]any{"iat": float64(second(-10)) + 0.999}, wsauth.ErrRevoked},
		"issued a second later":                    {before, map[string]any{"iat": second(-9)}, nil},
		"a name with spaces and signs": {
			wsauth.Revocation{Issuer: testIssuer, Subject: "al ice%20\n"}, map[string]any{"sub": "al ice%20\n"}, wsauth.ErrRevoked,
		},
	} {
		t.Run(name, func(t *testing.T) {
			auth, token := auth(t), testKey.Token(claims(row.claims))
			if _, err := auth.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			revoke(t, auth, row.what)
			if _, err := auth.Verify(t.Context(), token); !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestRevokeEndsTheConnectionsOfTheToken(t *testing.T) {
	for name, what := range map[string]wsauth.Revocation{
		"by subject": {Subject: "alice"}, "by session": {Session: "session"}, "by ID": {ID: "token"},
		"by issuer": {Before: time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC)}, // where a bubble's clock begins
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				causes, ended := make(chan error, 1), 0
				auth := newAuth(t, keeping, func(o *wsauth.Options) {
					o.Observe = func(_ context.Context, e wsauth.Event) {
						if e.Kind == wsauth.EventRevoked {
							ended += e.Connections
						}
					}
				})
				srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					conn.Read(ctx)
					<-ctx.Done()
					causes <- context.Cause(ctx)
				}, nil))
				time.Sleep(time.Second)
				conn := srv.dial(t, withToken(testToken(revocable())))
				time.Sleep(time.Second)
				later := srv.dial(t, withToken(testToken(revocable(map[string]any{"sub": "bob", "sid": "b", "jti": "b"}))))
				synctest.Wait()
				revoke(t, auth, what)
				_, _, err := conn.Read(t.Context())
				var closed websocket.CloseError
				if errors.As(err, &closed); closed.Code != wsauth.StatusUnauthorized || closed.Reason != "token revoked" {
					t.Errorf("got %v, want 3000 and token revoked", err)
				}
				if cause := <-causes; !errors.Is(cause, wsauth.ErrRevoked) {
					t.Errorf("got the cause %v, want ErrRevoked", cause)
				}
				if ended != 1 {
					t.Errorf("got an event with %d connections, want 1", ended)
				}
				later.Close(websocket.StatusNormalClosure, "")
				<-causes
			})
		})
	}
}

func TestARenewalWithARevokedTokenFailsAndTheConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, keeping)
		srv := newMemoryServer(t, auth.Upgrade(renewing, nil))
		conn := srv.dial(t, withToken(testToken(revocable(map[string]any{"jti": "first"}))))
		synctest.Wait()
		revoke(t, auth, wsauth.Revocation{ID: "second"})
		second := testToken(revocable(lasting(40*time.Minute), map[string]any{"jti": "second"}))
		if got := exchange(t, conn, second); !strings.Contains(got, "revoked") {
			t.Errorf("got %q, want the token refused as revoked", got)
		}
		third := testToken(revocable(lasting(45*time.Minute), map[string]any{"jti": "third"}))
		if got := exchange(t, conn, third); got != "renewed" {
			t.Errorf("got %q for a good token, want it renewed", got)
		}
		revoke(t, auth, wsauth.Revocation{ID: "first"}) // no longer the connection's
		if got := exchange(t, conn, "still here"); got == "" {
			t.Error("got the connection closed for the token before, want it open")
		}
		revoke(t, auth, wsauth.Revocation{ID: "third"})
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("got %v, want 3000", err)
		}
	})
}

func TestRevokeSaysWhatIsWrongAndRevokesNothing(t *testing.T) {
	two := func(o *wsauth.Options) {
		second := o.Issuers[0]
		second.Name = "https://other.example.com/"
		o.Issuers = append(o.Issuers, second)
	}
	for name, row := range map[string]struct {
		change func(*wsauth.Options)
		what   wsauth.Revocation
		want   string // of the error; empty: none
	}{
		"a user":            {keeping, wsauth.Revocation{Subject: "bob"}, ""},
		"the issuer named":  {keeping, wsauth.Revocation{Issuer: testIssuer, Subject: "bob"}, ""},
		"nothing":           {keeping, wsauth.Revocation{}, "a whole issuer needs Before"},
		"two names":         {keeping, wsauth.Revocation{Subject: "bob", ID: "1"}, "more than one of Subject, Session and ID"},
		"an unknown issuer": {keeping, wsauth.Revocation{Issuer: "https://id.example.com", Subject: "bob"}, "Issuer: not one of"},
		"no issuer, and there are two": {
			func(o *wsauth.Options) { keeping(o); two(o) }, wsauth.Revocation{Subject: "bob"}, "Issuer: missing",
		},
		"no Keep":               {func(*wsauth.Options) {}, wsauth.Revocation{Subject: "bob"}, "Revocations.Keep: missing"},
		"no Keep, and a MaxTTL": {func(o *wsauth.Options) { o.Issuers[0].MaxTTL = time.Hour }, wsauth.Revocation{Subject: "bob"}, ""},
		"another issuer has MaxTTL": {
			func(o *wsauth.Options) { two(o); o.Issuers[1].MaxTTL = time.Hour },
			wsauth.Revocation{Issuer: testIssuer, Subject: "bob"}, "Revocations.Keep: missing",
		},
		"milliseconds":   {keeping, wsauth.Revocation{Subject: "bob", Before: time.Unix(time.Now().UnixMilli(), 0)}, "a Before that is not"},
		"before 1970":    {keeping, wsauth.Revocation{Subject: "bob", Before: time.Unix(-1, 0)}, "a Before that is not"},
		"a little ahead": {keeping, wsauth.Revocation{Subject: "bob", Before: time.Now().Add(time.Minute)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, row.change)
			alice := wsauth.Revocation{Issuer: testIssuer, Subject: "alice"}
			err := auth.Revoke(t.Context(), alice, row.what)
			if row.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "bob") {
				t.Errorf("got %v, want an error with %q and no name", err, row.want)
			}
			if _, err := auth.Verify(t.Context(), testToken(revocable())); errors.Is(err, wsauth.ErrRevoked) {
				t.Errorf("got %v for the token of the good one beside it, want nothing revoked", err)
			}
		})
	}
}

func TestATokenThatIsRevokedBetweenTwoMiddlewaresIsRefused(t *testing.T) {
	for name, again := range map[string]func(*wsauth.Authenticator, http.Handler) http.Handler{
		"Middleware": func(a *wsauth.Authenticator, h http.Handler) http.Handler { return a.Middleware(h) },
		"Optional":   func(a *wsauth.Authenticator, h http.Handler) http.Handler { return a.Optional(h) },
		"Guard":      func(a *wsauth.Authenticator, h http.Handler) http.Handler { return a.Guard(h, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, keeping)
			err := showTo(t, func(h http.Handler) http.Handler {
				inner := again(auth, h)
				return auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					revoke(t, auth, wsauth.Revocation{Subject: "alice"})
					inner.ServeHTTP(w, r)
				}))
			}, testToken(revocable()), "")
			if !errors.Is(err, wsauth.ErrRevoked) {
				t.Errorf("got %v, want ErrRevoked", err)
			}
		})
	}
}

// A check must not modify the claims. One that does must not make a connection that cannot be revoked.
func TestClaimsThatACheckHasModifiedCanBeRevokedOrAreRefused(t *testing.T) {
	for name, modify := range map[string]func(*wsauth.Claims){
		"a field":     func(c *wsauth.Claims) { c.Subject, c.ID = "bob", "" },
		"all of them": func(c *wsauth.Claims) { *c = wsauth.Claims{Subject: "bob", Expiry: c.Expiry} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, keeping)
				srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{
					Require: []func(context.Context, *wsauth.Claims) error{func(_ context.Context, c *wsauth.Claims) error { modify(c); return nil }},
				}))
				conn, _, err := srv.tryDial(t, bearerHeader(testToken(revocable())))
				if err != nil {
					return // refused
				}
				synctest.Wait()
				revoke(t, auth, wsauth.Revocation{Subject: "alice"})
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
					t.Errorf("got %v, want 3000", err)
				}
			})
		})
	}
}

func TestTheLongestTimesDoNotOverflow(t *testing.T) {
	for name, change := range map[string]func(*wsauth.Options){
		"Keep":   func(o *wsauth.Options) { o.Revocations.Keep = math.MaxInt64 },
		"MaxTTL": func(o *wsauth.Options) { o.Issuers[0].MaxTTL = math.MaxInt64 },
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, change)
			revoke(t, auth, wsauth.Revocation{Subject: "alice"}, wsauth.Revocation{Session: "s", Before: time.Now()})
			if _, err := auth.Verify(t.Context(), testToken(revocable())); !errors.Is(err, wsauth.ErrRevoked) {
				t.Errorf("got %v, want ErrRevoked", err)
			}
		})
	}
}

// Without Keep, nothing of an issuer without MaxTTL can be revoked, so its tokens may live as long as they like.
func TestWithoutKeepARevocationRefusesNoTokenOfAnotherIssuerForItsLength(t *testing.T) {
	const other = "https://other.example.com/"
	auth := newAuth(t, func(o *wsauth.Options) {
		second := o.Issuers[0]
		second.Name = other
		o.Issuers[0].MaxTTL = time.Hour
		o.Issuers = append(o.Issuers, second)
	})
	revoke(t, auth, wsauth.Revocation{Issuer: testIssuer, Subject: "bob"})
	long := testToken(revocable(lasting(24*time.Hour), map[string]any{"iss": other, "iat": time.Now().Unix() - 60}))
	if _, err := auth.Verify(t.Context(), long); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestRevokingNothingDoesNothing(t *testing.T) {
	for name, change := range map[string]func(*wsauth.Options){"with Keep": keeping, "without": func(*wsauth.Options) {}} {
		if err := newAuth(t, change).Revoke(t.Context()); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
}

func TestATokenThatCouldOutliveItsRevocationIsRefused(t *testing.T) {
	now := time.Now()
	for name, row := range map[string]struct {
		claims map[string]any
		want   string // of the error; empty: none
	}{
		"as long as Keep": {map[string]any{"iat": now.Unix(), "exp": now.Unix() + 3600}, ""},
		"a second longer": {map[string]any{"iat": now.Unix(), "exp": now.Unix() + 3601}, "exp: later than iat and Revocations.Keep allow"},
		"no iat":          {map[string]any{"iat": nil}, "iat: missing"},
		"iat null":        {map[string]any{"iat": nil, "exp": now.Unix() + 60}, "iat: missing"},
		"long, but nearly over": {
			map[string]any{"iat": now.Unix() - 3600, "exp": now.Unix() + 1}, "exp: later than iat and Revocations.Keep allow",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newAuth(t, keeping).Verify(t.Context(), testToken(revocable(row.claims)))
			switch {
			case row.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case row.want != "" && (!errors.Is(err, wsauth.ErrInvalidToken) || !strings.Contains(err.Error(), row.want)):
				t.Errorf("got %v, want ErrInvalidToken with %q", err, row.want)
			}
		})
	}
}

// Where there is only a MaxTTL, nobody is refused for the length of a token, unless it could hide from a revocation.
func TestWithoutKeepOnlyATokenFromBeforeARevocationIsRefusedForItsLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp, func(o *wsauth.Options) { o.Issuers[0].MaxTTL = time.Hour })
		long := testToken(revocable(lasting(10*time.Hour), map[string]any{"sub": "mallory"}))
		time.Sleep(9*time.Hour + time.Minute) // it counts only now
		without := testToken(revocable(map[string]any{"iat": nil}))
		for _, token := range []string{long, without} {
			if _, err := auth.Verify(t.Context(), token); err != nil {
				t.Errorf("got %v before anything is revoked, want no error", err)
			}
		}
		revoke(t, auth, wsauth.Revocation{Subject: "bob"})
		if _, err := auth.Verify(t.Context(), long); !errors.Is(err, wsauth.ErrInvalidToken) {
			t.Errorf("got %v, want ErrInvalidToken", err)
		}
		if _, err := auth.Verify(t.Context(), without); err != nil {
			t.Errorf("got %v for a token without iat, want no error", err)
		}
		time.Sleep(time.Second)
		later := testToken(revocable(lasting(time.Hour)))
		if _, err := auth.Verify(t.Context(), later); err != nil {
			t.Errorf("got %v for a token that was issued later, want no error", err)
		}
	})
}

func TestARevocationIsRememberedAsLongAsTokensLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, keeping)
		last := testToken(revocable(lasting(time.Hour)))
		revoke(t, auth, wsauth.Revocation{Subject: "alice", Before: time.Now()}, wsauth.Revocation{Session: "session"})
		for range 60 {
			if _, err := auth.Verify(t.Context(), last); !errors.Is(err, wsauth.ErrRevoked) {
				t.Errorf("got %v, want ErrRevoked", err)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(29 * time.Second) // of 30 s of leeway
		if _, err := auth.Verify(t.Context(), last); !errors.Is(err, wsauth.ErrRevoked) {
			t.Errorf("got %v within the leeway, want ErrRevoked", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := auth.Verify(t.Context(), testToken(revocable())); err != nil {
			t.Errorf("got %v for a new token when all is over, want no error", err)
		}
	})
}

func TestANewTokenIsAcceptedAfterARevocationWithBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, keeping)
		revoke(t, auth, wsauth.Revocation{Subject: "alice", Before: time.Now()})
		time.Sleep(time.Second)
		if _, err := auth.Verify(t.Context(), testToken(revocable())); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		revoke(t, auth, wsauth.Revocation{Subject: "alice"})
		time.Sleep(time.Minute)
		if _, err := auth.Verify(t.Context(), testToken(revocable())); !errors.Is(err, wsauth.ErrRevoked) {
			t.Errorf("got %v after a revocation of all, want ErrRevoked", err)
		}
	})
}

func TestAnAuthenticatorThatNewDidNotMakeRevokesNothing(t *testing.T) {
	var auth wsauth.Authenticator
	for name, err := range map[string]error{
		"Revoke": auth.Revoke(t.Context(), wsauth.Revocation{Subject: "alice"}), "Follow": auth.Follow(t.Context()),
	} {
		if !errors.Is(err, wsauth.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
	}
}

var interleavings = flag.Int("interleavings", 300, "`rounds` of handshakes, renewals and first messages beside a revocation")

// Whatever comes first: a handshake, a first message, a renewal or a stream, when the token is revoked at the same time.
func TestNoOrderOfARevocationAndItsTokenLetsItLive(t *testing.T) {
	auth := newAuth(t, keeping)
	hold := func(ctx context.Context, conn *websocket.Conn) { renewing(ctx, conn) }
	mux := http.NewServeMux()
	mux.Handle("/ws", auth.Upgrade(hold, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
	mux.Handle("/stream", auth.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	dial := func(token string) *websocket.Conn {
		opts := &websocket.DialOptions{HTTPHeader: http.Header{}}
		if token != "" {
			opts.HTTPHeader = bearerHeader(token)
		}
		conn, _, err := websocket.Dial(t.Context(), srv.URL+"/ws", opts)
		if err != nil {
			return nil
		}
		return conn
	}
	by := []func(user string) wsauth.Revocation{
		func(user string) wsauth.Revocation { return wsauth.Revocation{Subject: user} },
		func(user string) wsauth.Revocation { return wsauth.Revocation{Session: "session of " + user} },
		func(user string) wsauth.Revocation { return wsauth.Revocation{ID: "token of " + user} },
	}
	for round := range *interleavings {
		user := fmt.Sprint("user ", round)
		tokenUntil := func(d time.Duration) string {
			return testToken(revocable(lasting(d), map[string]any{"sub": user, "sid": "session of " + user, "jti": "token of " + user}))
		}
		token, newer := tokenUntil(30*time.Minute), tokenUntil(40*time.Minute)
		open, waiting := dial(token), dial("")
		if open == nil || waiting == nil {
			t.Fatal("no connection before anything is revoked")
		}
		var late *websocket.Conn
		var all sync.WaitGroup
		start := make(chan struct{})
		run := func(f func()) { all.Go(func() { <-start; f() }) }
		run(func() { late = dial(token) })
		run(func() { open.Write(t.Context(), websocket.MessageText, []byte(newer)) })
		run(func() { waiting.Write(t.Context(), websocket.MessageText, []byte(token)) })
		run(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/stream", nil)
			r.Header = bearerHeader(token)
			if resp, err := http.DefaultClient.Do(r); err == nil { // when the context has ended, or it was refused
				resp.Body.Close()
			}
		})
		run(func() { revoke(t, auth, by[round%len(by)](user)) })
		close(start)
		all.Wait()
		for name, conn := range map[string]*websocket.Conn{"open": open, "waiting": waiting, "late": late} {
			if conn == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			var err error
			for err == nil {
				_, _, err = conn.Read(ctx)
			}
			cancel()
			if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
				t.Fatalf("round %d, %s: got %v, want 3000", round, name, err)
			}
		}
	}
	if n := disconnect(auth, func(*wsauth.Claims) bool { return true }); n != 0 {
		t.Errorf("got %d connections alive, want none", n)
	}
}
