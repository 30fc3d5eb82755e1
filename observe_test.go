package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

// A diary writes events down, each in a line.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) observe(ctx context.Context, e wsauth.Event) {
	line := []string{string(e.Kind)}
	for _, s := range []string{e.Issuer, e.Source, e.Reason} {
		if s != "" {
			line = append(line, s)
		}
	}
	if e.Code != 0 {
		line = append(line, fmt.Sprint(int(e.Code)))
	}
	if e.Duration != 0 {
		line = append(line, e.Duration.String())
	}
	if e.Keys != 0 {
		line = append(line, fmt.Sprint(e.Keys, " keys"))
	}
	if e.Err != nil {
		line = append(line, kindName(e.Err))
	}
	if ctx == nil {
		line = append(line, "no context")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, strings.Join(line, " "))
}

func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("got observed\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(lines, "\n"))
	}
}

func TestWhatHappensToRequestsIsObserved(t *testing.T) {
	const bearer, from = "GET /\nAuthorization: Bearer ", testIssuer + " header "
	for name, row := range map[string]struct {
		request string
		want    []string
	}{
		"a good token": {bearer + testToken(), []string{"authenticated " + testIssuer + " header"}},
		"a good one, in query": {
			"GET /?access_token=" + testToken() + "\nHANDSHAKE", []string{"authenticated " + testIssuer + " query"},
		},
		"none": {"GET /", []string{"refused token_required ErrNoToken"}},
		"a foreign token": {
			bearer + mint.New("HS256", "").Token(testClaims()), []string{"refused " + from + "invalid_token ErrInvalidToken"},
		},
		"an expired one": {
			bearer + testToken(map[string]any{"exp": 1}), []string{"refused " + from + "invalid_token ErrExpired"},
		},
		"rubbish": {bearer + "%", []string{"refused header invalid_request ErrMalformedRequest"}},
		"too little": {
			"GET /admin\nAuthorization: Bearer " + testToken(),
			[]string{"authenticated " + testIssuer + " header", "refused " + from + "insufficient_scope ErrForbidden"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var d diary
			auth := newAuth(t, func(o *wsauth.Options) { o.Observe = d.observe })
			mux := http.NewServeMux()
			mux.Handle("/", new(recorder))
			mux.Handle("/admin", wsauth.RequireScopes("admin")(new(recorder)))
			serve(auth.Middleware(mux), readRequest(t, row.request))
			d.want(t, row.want...)
		})
	}
}

func TestTheLifeOfAConnectionIsObserved(t *testing.T) {
	leave := func(ctx context.Context, conn *websocket.Conn) { time.Sleep(time.Minute) }
	for name, row := range map[string]struct {
		opts  wsauth.UpgradeOptions
		token string
		serve func(context.Context, *websocket.Conn)
		want  []string
		leave func(*websocket.Conn) // default: reads
	}{
		"serve returns": {want: []string{"authenticated header", "opened", "closed 1000 1m0s"}, serve: leave},
		"serve returns, detached": {opts: wsauth.UpgradeOptions{Detach: true}, serve: leave,
			want: []string{"authenticated header", "opened", "closed 1000 1m0s"}},
		"serve closes": {want: []string{"authenticated header", "opened", "closed 4001"},
			serve: func(_ context.Context, conn *websocket.Conn) { conn.Close(4001, "enough") }},
		"serve drops it": {want: []string{"authenticated header", "opened", "closed 1006"},
			serve: func(_ context.Context, conn *websocket.Conn) { conn.CloseNow() }},
		"the client closes": {want: []string{"authenticated header", "opened", "closed 1001"}, serve: echo,
			leave: func(conn *websocket.Conn) { conn.Close(websocket.StatusGoingAway, "") }},
		"the client is gone": {want: []string{"authenticated header", "opened", "closed 1006"}, serve: echo,
			leave: func(conn *websocket.Conn) { conn.CloseNow() }},
		"the token ends once the client is gone": {want: []string{"authenticated header", "opened", "closed 1006 2h0m0s"},
			serve: func(ctx context.Context, conn *websocket.Conn) {
				until := time.Now().Add(2 * time.Hour)
				conn.Read(ctx)
				<-ctx.Done()
				time.Sleep(time.Until(until))
			},
			leave: func(conn *websocket.Conn) { conn.CloseNow(); time.Sleep(2 * time.Hour) }},
		"the token ends": {want: []string{"authenticated header", "opened", "closed 3000 1h0m0s ErrExpired"}, serve: echo},
		"a renewal, and one that fails": {
			want: []string{"authenticated header", "opened", "renewed", "refused invalid_token ErrInvalidToken",
				"closed 3000 2h0m0s ErrExpired"},
			serve: func(ctx context.Context, conn *websocket.Conn) {
				later := testToken(lasting(2*time.Hour), map[string]any{"iss": "https://anyone.example.com/"})
				wsauth.Renew(ctx, later)
				wsauth.Renew(ctx, later)
				conn.Read(ctx)
			},
		},
		"serve panics": {want: []string{"authenticated header", "opened", "closed 1011 1m0s"},
			serve: func(context.Context, *websocket.Conn) { time.Sleep(time.Minute); panic(http.ErrAbortHandler) }},
		"a refused handshake": {opts: wsauth.UpgradeOptions{CloseOnRefusal: true}, token: "x", serve: echo,
			want: []string{"refused header invalid_token ErrInvalidToken"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				auth := newAuth(t, untilExp, anyIssuer, func(o *wsauth.Options) { o.Observe = d.observe })
				srv := newMemoryServer(t, auth.Upgrade(row.serve, &row.opts))
				if row.token == "" { // the issuer has no name, so that what a token calls it is nobody's business
					row.token = testToken(lasting(time.Hour), map[string]any{"iss": "https://anyone.example.com/"})
				}
				conn := srv.dial(t, withToken(row.token))
				if row.leave != nil {
					row.leave(conn)
				} else {
					conn.Read(t.Context())
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				d.want(t, row.want...)
			})
		})
	}
}

func TestFetchesOfKeysAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		fail := true
		auth := newAuth(t, func(o *wsauth.Options) {
			o.Observe = d.observe
			o.Issuers[0].Keys = wsauth.JWKS{URL: "https://id.example.com/jwks", Client: &http.Client{
				Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					time.Sleep(time.Second)
					if fail {
						return nil, errors.New("no network")
					}
					return answerOf(mint.SetOf(es256)), nil
				}),
			}}
		})
		auth.Ready(t.Context())
		fail = false
		time.Sleep(2 * time.Second)
		wantKind(t, auth.Ready(t.Context()), nil)
		synctest.Wait() // a fetch is reported after those who waited for it have it
		d.want(t, "keys_failed https://id.example.com/ 1s an error of no kind",
			"keys_fetched https://id.example.com/ 1s 1 keys")
	})
}

// What an observer does must not end the process, nor wait for itself.
func TestAnObserverMayRenewAndShutDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var auth *wsauth.Authenticator
		down := make(chan error, 1)
		auth = newAuth(t, untilExp, func(o *wsauth.Options) {
			o.Observe = func(ctx context.Context, e wsauth.Event) {
				if e.Kind != wsauth.EventRefused { // which this would be again
					wsauth.Renew(ctx, "no token")
				}
				if e.Kind == wsauth.EventClosed {
					down <- auth.Shutdown(context.Background())
				}
			}
		})
		srv := newMemoryServer(t, auth.Upgrade(echo, &wsauth.UpgradeOptions{FirstMessage: time.Minute}))
		conn := srv.dial(t, &websocket.DialOptions{})
		conn.Write(t.Context(), websocket.MessageText, []byte(testToken(lasting(time.Hour))))
		if got := exchange(t, conn, "hello"); got != "hello" {
			t.Errorf("got %q, want the echo", got)
		}
		conn.Close(websocket.StatusNormalClosure, "")
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}
