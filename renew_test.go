package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

type heldKey struct{}

func TestARenewedConnectionLivesToTheEndOfItsNewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after *wsauth.Claims
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			held := context.WithValue(ctx, heldKey{}, "of the application")
			before, _ = wsauth.ClaimsFromContext(held)
			renewing(ctx, conn)
			after, _ = wsauth.ClaimsFromContext(held)
		}, nil))
		start := time.Now()
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		for n := range 3 {
			time.Sleep(30 * time.Minute)
			if got := exchange(t, conn, testToken(lasting(time.Hour), map[string]any{"jti": fmt.Sprint(n)})); got != "renewed" {
				t.Fatal(got)
			}
		}
		_, _, err := conn.Read(t.Context())
		if lived := time.Since(start); lived != 150*time.Minute || websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
			t.Errorf("got a life of %v, ended with %v, want 2h30m0s and 3000", lived, err)
		}
		synctest.Wait()
		if before.ID != "" || after.ID != "2" {
			t.Errorf("got the ID %q before and %q after, want none and 2", before.ID, after.ID)
		}
	})
}

func TestRenewRefuses(t *testing.T) {
	type claims = map[string]any
	first := claims{"sid": "s1", "client_id": "app", "azp": "party", "scope": "chat"}
	next := func(ttl time.Duration, change claims) func() string {
		return func() string { return testToken(lasting(ttl), first, change) }
	}
	forged := func() string { return mint.New("HS256", "").Token(testClaims(first, lasting(2*time.Hour))) }
	const later = 2 * time.Hour
	for name, row := range map[string]struct {
		token func() string
		want  string
	}{
		"nothing that is wrong":     {next(later, nil), "renewed"},
		"another subject":           {next(later, claims{"sub": "mallory"}), "sub:"},
		"another issuer":            {next(later, claims{"iss": "elsewhere"}), "iss:"},
		"another session":           {next(later, claims{"sid": "s2"}), "sid:"},
		"no session":                {next(later, claims{"sid": nil}), "sid:"},
		"another client":            {next(later, claims{"client_id": "other"}), "client_id"},
		"another authorized party":  {next(later, claims{"azp": "other"}), "azp"},
		"a client of another type":  {next(later, claims{"client_id": 1}), "client_id"},
		"the same expiry":           {next(time.Hour, nil), "exp: not later"},
		"an earlier expiry":         {next(time.Minute, nil), "exp: not later"},
		"an expired token":          {next(-time.Minute, nil), "token expired"},
		"a forged token":            {forged, "invalid token"},
		"no token":                  {func() string { return "" }, "invalid token"},
		"what Require does not let": {next(later, claims{"scope": "other"}), "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, untilExp, anyIssuer)
				srv := newMemoryServer(t, auth.Middleware(wsauth.RequireScopes("chat")(auth.Upgrade(renewing, nil))))
				start := time.Now()
				conn := srv.dial(t, withToken(testToken(lasting(time.Hour), first)))
				if got := exchange(t, conn, row.token()); !strings.Contains(got, row.want) {
					t.Errorf("got %q from Renew, want %s", got, row.want)
				}
				conn.Read(t.Context())
				want := time.Hour
				if row.want == "renewed" {
					want = 2 * time.Hour
				}
				if lived := time.Since(start); lived != want {
					t.Errorf("got a life of %v, want %v", lived, want)
				}
			})
		})
	}
}

// A check may look at its context, as handlers do.
func TestARequireThatRenewAsksFindsTheNewClaimsInItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		admin := wsauth.Require(func(ctx context.Context, _ *wsauth.Claims) error {
			if c, ok := wsauth.ClaimsFromContext(ctx); !ok || !c.HasScope("admin") {
				return errors.New("no admin")
			}
			return nil
		})
		done := make(chan struct{})
		srv := newMemoryServer(t, auth.Middleware(admin(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			defer close(done)
			_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour), map[string]any{"scope": "guest"}))
			wantKind(t, err, wsauth.ErrForbidden)
			if c, _ := wsauth.ClaimsFromContext(ctx); !c.HasScope("admin") {
				t.Errorf("got the scope %q, want the claims from before", c.Scope)
			}
			_, err = wsauth.Renew(ctx, testToken(lasting(2*time.Hour), map[string]any{"scope": "admin guest"}))
			wantKind(t, err, nil)
		}, nil))))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour), map[string]any{"scope": "admin"})))
		conn.Read(t.Context())
		<-done
	})
}

func TestRenewAsksARequireThatIsOutsideOfAnotherAuthenticator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := newAuth(t, untilExp)
		partners := newAuth(t, untilExp, func(o *wsauth.Options) {
			o.Extractors = []wsauth.Extractor{wsauth.FromCookie("partner")}
		})
		done := make(chan struct{})
		h := users.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			defer close(done)
			_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour), map[string]any{"scope": "guest"}))
			wantKind(t, err, wsauth.ErrForbidden)
		}, nil)
		srv := newMemoryServer(t, users.Middleware(wsauth.RequireScopes("admin")(partners.Optional(h))))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour), map[string]any{"scope": "admin"})))
		conn.Read(t.Context())
		<-done
	})
}

func TestRenewNeedsAConnection(t *testing.T) {
	auth := newAuth(t, untilExp)
	for name, ctx := range map[string]context.Context{
		"a bare context":          t.Context(),
		"claims nobody verified":  wsauth.ContextWithClaims(t.Context(), &wsauth.Claims{Subject: "alice"}),
		"a request's own context": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if ctx == nil {
				r, _ := http.NewRequest(http.MethodGet, "/", nil)
				r.Header = bearerHeader(testToken(lasting(time.Hour)))
				authenticated, err := auth.Authenticate(r)
				if err != nil {
					t.Fatal(err)
				}
				ctx = authenticated.Context()
			}
			if _, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour))); !errors.Is(err, wsauth.ErrForbidden) {
				t.Errorf("got %v, want ErrForbidden", err)
			}
		})
	}
}

func TestRenewalsAreNotBeyondMaxLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(renewing,
			&wsauth.UpgradeOptions{MaxLifetime: 90 * time.Minute}))
		start := time.Now()
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		if got := exchange(t, conn, testToken(lasting(5*time.Hour))); got != "renewed" {
			t.Fatal(got)
		}
		conn.Read(t.Context())
		if lived := time.Since(start); lived != 90*time.Minute {
			t.Errorf("got a life of %v, want 1h30m0s", lived)
		}
	})
}

func TestAFloodOfRenewalsIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		auth := newAuth(t, askedBy(func() error { asked++; return nil }))
		srv := newMemoryServer(t, auth.Upgrade(renewing, nil))
		token := testToken(lasting(time.Hour))
		conn := srv.dial(t, withToken(token))
		defer conn.Close(websocket.StatusNormalClosure, "")
		for range 1000 { // in ten seconds
			exchange(t, conn, token)
			time.Sleep(10 * time.Millisecond)
		}
		if asked > 1+5+10 {
			t.Errorf("got %d tokens verified, want at most 16", asked)
		}
		exchange(t, conn, token)
		if got := exchange(t, conn, token); !strings.Contains(got, wsauth.ErrTooMany.Error()) {
			t.Errorf("got %q from Renew, want %v", got, wsauth.ErrTooMany)
		}
		time.Sleep(10 * time.Second)
		renewed := testToken(lasting(2 * time.Hour))
		if got := exchange(t, conn, renewed); got != "renewed" {
			t.Errorf("got %q from Renew after the flood, want renewed", got)
		}
	})
}

// Whoever has renewed a connection lives on, and whoever is closed has not renewed.
func TestOfARenewalAndTheEndExactlyOneHappens(t *testing.T) {
	renewAt := func(t *testing.T, ctx context.Context, offset time.Duration) bool {
		claims, _ := wsauth.ClaimsFromContext(ctx)
		token := testToken(lasting(time.Hour))
		time.Sleep(time.Until(claims.Expiry) + offset)
		_, err := wsauth.Renew(ctx, token)
		if err != nil && !errors.Is(err, wsauth.ErrExpired) {
			t.Error(err)
		}
		return err == nil
	}
	for name, serve := range map[string]func(*testing.T, context.Context, *websocket.Conn, time.Duration) bool{
		"while serve reads": func(
			t *testing.T, ctx context.Context, conn *websocket.Conn, offset time.Duration,
		) (renewed bool) {
			var renewal sync.WaitGroup
			renewal.Go(func() { renewed = renewAt(t, ctx, offset) })
			conn.Read(ctx)
			renewal.Wait()
			return renewed
		},
		"and serve returns when it fails": func(
			t *testing.T, ctx context.Context, conn *websocket.Conn, offset time.Duration,
		) bool {
			renewed := renewAt(t, ctx, offset)
			if renewed {
				conn.Read(ctx)
			}
			return renewed
		},
	} {
		for offset := -50 * time.Microsecond; offset <= 50*time.Microsecond; offset += 10 * time.Microsecond {
			t.Run(name+"/"+offset.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var renewed atomic.Bool
					srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
						renewed.Store(serve(t, ctx, conn, offset))
					}, nil))
					start := time.Now()
					conn := srv.dial(t, withToken(testToken(lasting(time.Minute))))
					_, _, err := conn.Read(t.Context())
					lived := time.Since(start)
					synctest.Wait()
					if want := map[bool]time.Duration{true: time.Hour, false: time.Minute}[renewed.Load()]; lived != want {
						t.Errorf("got renewed: %v, and a life of %v, want %v", renewed.Load(), lived, want)
					}
					if websocket.CloseStatus(err) != wsauth.StatusUnauthorized {
						t.Errorf("got %v at the client, want 3000", err)
					}
					time.Sleep(time.Second)
				})
			})
		}
	}
}

func TestOfTwoRenewalsTheLaterTokenStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		slow := wsauth.Require(func(_ context.Context, c *wsauth.Claims) error {
			if c.ID == "slow" {
				time.Sleep(time.Second)
			}
			return nil
		})
		srv := newMemoryServer(t, auth.Middleware(slow(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			first := testToken(lasting(2*time.Hour), map[string]any{"jti": "slow"})
			later := testToken(lasting(3 * time.Hour))
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := wsauth.Renew(ctx, first); !errors.Is(err, wsauth.ErrInvalidToken) {
					t.Errorf("got %v for the first, which was overtaken, want ErrInvalidToken", err)
				}
			})
			time.Sleep(time.Millisecond)
			if _, err := wsauth.Renew(ctx, later); err != nil {
				t.Errorf("got %v for the later, want no error", err)
			}
			all.Wait()
			if _, err := wsauth.Renew(ctx, first); !errors.Is(err, wsauth.ErrInvalidToken) {
				t.Errorf("got %v for the first again, want ErrInvalidToken", err)
			}
			if claims, _ := wsauth.ClaimsFromContext(ctx); time.Until(claims.Expiry) < 2*time.Hour+time.Minute {
				t.Errorf("got an end in %v, want that of the later token", time.Until(claims.Expiry))
			}
		}, nil))))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		conn.Read(t.Context())
	})
}

func TestAConnectionThatItsPeerOrServeHasClosedIsNotRenewed(t *testing.T) {
	for name, row := range map[string]struct {
		serve func(ctx context.Context, conn *websocket.Conn)
		peer  func(conn *websocket.Conn)
	}{
		"by the peer's close frame": {
			func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) },
			func(conn *websocket.Conn) { conn.Close(websocket.StatusNormalClosure, "") },
		},
		"by serve's Close": {
			func(_ context.Context, conn *websocket.Conn) { conn.Close(websocket.StatusNormalClosure, "") },
			func(conn *websocket.Conn) { conn.Read(context.Background()) },
		},
		"by serve's CloseNow": {
			func(_ context.Context, conn *websocket.Conn) { conn.CloseNow() },
			func(conn *websocket.Conn) { conn.Read(context.Background()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				renewed := make(chan error, 1)
				srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
					before, _ := wsauth.ClaimsFromContext(ctx)
					row.serve(ctx, conn)
					_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour)))
					if after, _ := wsauth.ClaimsFromContext(ctx); after != before {
						t.Error("got other claims, want those from before")
					}
					renewed <- err
				}, nil))
				row.peer(srv.dial(t, withToken(testToken(lasting(time.Hour)))))
				wantKind(t, <-renewed, wsauth.ErrExpired)
			})
		})
	}
}

func TestAConnectionThatHasBrokenIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := make(chan error, 1)
		srv := newMemoryServer(t, newAuth(t, untilExp).Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			go conn.Read(ctx)
			<-ctx.Done()
			_, err := wsauth.Renew(ctx, testToken(lasting(2*time.Hour)))
			renewed <- err
		}, nil))
		conn, _ := srv.handshake(t, testToken(lasting(time.Hour)))
		conn.Close()
		wantKind(t, <-renewed, wsauth.ErrExpired)
	})
}

func TestAConnectionThatIsShutDownIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, untilExp)
		srv := newMemoryServer(t, auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
			<-ctx.Done()
			for _, lives := range []time.Duration{2 * time.Hour, time.Minute} { // the second is not after the first token
				if _, err := wsauth.Renew(ctx, testToken(lasting(lives))); !errors.Is(err, wsauth.ErrExpired) {
					t.Errorf("got %v from Renew, want ErrExpired", err)
				}
			}
		}, nil))
		conn := srv.dial(t, withToken(testToken(lasting(time.Hour))))
		var reading sync.WaitGroup
		reading.Go(func() { conn.Read(t.Context()) })
		synctest.Wait() // serve runs
		if err := auth.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		reading.Wait()
		synctest.Wait()
	})
}
