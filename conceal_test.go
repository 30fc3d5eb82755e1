package wsauth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// Whatever Conceal hides, the same token counts, or the request is refused for the same reason.
func TestConcealHidesEveryTokenAndChangesNoVerdict(t *testing.T) {
	tok := newTokens()
	var refused error
	auth := extractAuth(t, func(o *wsauth.Options) {
		o.OnRefuse = func(w http.ResponseWriter, _ *http.Request, err error) {
			refused = err
			w.WriteHeader(statusOf(errorOf(kindName(err))))
		}
	})
	verdict := func(h http.Handler, rec *recorder, r *http.Request) string {
		refused, rec.requests = nil, nil
		w := serve(h, r)
		who := "nobody"
		if handed := rec.only(t); handed != nil {
			if claims, ok := wsauth.ClaimsFromContext(handed.Context()); ok {
				who = claims.Subject
			}
			if seen := visible(handed); tok.in(seen) {
				t.Errorf("the handler sees the token in %s", seen)
			}
		}
		return fmt.Sprintf("%d, %s, %v", w.Code, who, refused)
	}
	for name, row := range extractions {
		t.Run(name, func(t *testing.T) {
			for how, wrap := range map[string]func(http.Handler) http.Handler{
				"Middleware": auth.Middleware, "Optional": auth.Optional,
				"Guard": func(h http.Handler) http.Handler { return auth.Guard(h, nil) },
				"Middleware twice": func(h http.Handler) http.Handler {
					return auth.Middleware(auth.Middleware(h))
				},
			} {
				rec := new(recorder)
				inner := wrap(rec)
				between := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if seen := visible(r); tok.in(seen) {
						t.Errorf("%s: what is in between sees the token in %s", how, seen)
					}
					for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
						bare := new(http.Request).WithContext(r.Context())
						if printed := fmt.Sprintf(verb, r.Context()) + fmt.Sprintf(verb, bare); tok.in(printed) {
							t.Errorf("%s: %s of the context shows the token: %s", how, verb, printed)
						}
					}
					inner.ServeHTTP(w, r)
				})
				want := verdict(inner, rec, row.read(t, tok))
				r := row.read(t, tok)
				before := snapshot(r)
				if got := verdict(auth.Conceal(between), rec, r); got != want {
					t.Errorf("%s: got %s, want %s as without Conceal", how, got, want)
				}
				if got := verdict(auth.Conceal(auth.Conceal(between)), rec, row.read(t, tok)); got != want {
					t.Errorf("%s: concealed twice, got %s, want %s", how, got, want)
				}
				if after := snapshot(r); after != before {
					t.Errorf("%s: the outer request was\n%s\nand is\n%s", how, before, after)
				}
			}
		})
	}
}

func TestWhatConcealHasHiddenIsForItsAuthenticatorOnly(t *testing.T) {
	auth, other := newAuth(t), newAuth(t)
	r := readRequest(t, "GET /ws?access_token="+testToken()+"\nHANDSHAKE")
	rec := new(recorder)
	if w := serve(auth.Conceal(other.Middleware(rec)), r); w.Code != http.StatusUnauthorized || rec.only(t) != nil {
		t.Errorf("got %d, want 401: another Authenticator takes a token that was hidden from it", w.Code)
	}
	if w := serve(auth.Conceal(other.Conceal(auth.Middleware(rec))), r); w.Code != http.StatusNoContent {
		t.Errorf("got %d, want the request to pass", w.Code)
	}
}

func TestATokenThatIsAddedBehindConcealIsASecondOne(t *testing.T) {
	auth := newAuth(t)
	rec := new(recorder)
	add := func(change func(*http.Request)) http.Handler {
		return auth.Conceal(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			change(r)
			auth.Middleware(rec).ServeHTTP(w, r)
		}))
	}
	for name, change := range map[string]func(*http.Request){
		"in the header": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testToken()) },
		"in the query":  func(r *http.Request) { r.URL.RawQuery = "access_token=" + testToken() },
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(add(change), readRequest(t, "GET /ws?access_token="+testToken()+"\nHANDSHAKE"))
			if w.Code != http.StatusBadRequest || rec.only(t) != nil {
				t.Errorf("got %d, want 400", w.Code)
			}
		})
	}
}

func TestAWebSocketOpensBehindConceal(t *testing.T) {
	for name, offered := range map[string][]string{
		"by the query":       nil,
		"by the subprotocol": {"chat.v1", "bearer." + testToken()},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, bySubprotocol)
			var log lockedBuffer
			mux := http.NewServeMux()
			mux.Handle("GET /ws", auth.Upgrade(echo, &wsauth.UpgradeOptions{
				Accept: &websocket.AcceptOptions{Subprotocols: []string{"chat.v1"}},
			}))
			accessLog := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintln(&log, r.RequestURI, r.URL, r.Header)
				mux.ServeHTTP(w, r)
			})
			server := newMemoryServer(t, auth.Conceal(accessLog))
			url := "ws://server.example.com/ws?room=1"
			if offered == nil {
				url += "&access_token=" + testToken()
			}
			conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: server.client(), Subprotocols: offered})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if got := exchange(t, conn, "hello"); !strings.Contains(got, "hello") {
				t.Errorf("got %q, want an echo", got)
			}
			if offered != nil && conn.Subprotocol() != "chat.v1" {
				t.Errorf("got the subprotocol %q, want chat.v1", conn.Subprotocol())
			}
			if got := log.String(); strings.Contains(got, "eyJ") || !strings.Contains(got, "/ws?room=1") {
				t.Errorf("the access log has %q, want the path without the token", got)
			}
		})
	}
}

func TestARefusalBehindConcealIsLoggedWithItsSource(t *testing.T) {
	var log bytes.Buffer
	auth := newAuth(t, loggedTo(&log, slog.LevelInfo))
	serve(auth.Conceal(auth.Middleware(new(recorder))), readRequest(t, "GET /ws?access_token=x.y.z\nHANDSHAKE"))
	lines := logLines(t, &log)
	if len(lines) != 1 || lines[0]["source"] != "query" {
		t.Errorf("got %v, want one record with source=query", lines)
	}
}

func TestConcealAllocatesNothingWhereThereIsNothingToHide(t *testing.T) {
	auth := extractAuth(t)
	var w http.ResponseWriter
	h := auth.Conceal(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, text := range map[string]string{
		"a handshake":     "GET /ws?room=1&user=2\nHANDSHAKE\nSec-WebSocket-Protocol: chat.v1, chat.v2",
		"a plain request": "GET /api?access=1\nAuthorization: Bearer x",
	} {
		t.Run(name, func(t *testing.T) {
			r := readRequest(t, text)
			if got := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); got != 0 {
				t.Errorf("got %v allocations, want 0", got)
			}
		})
	}
}

func TestConcealOfAZeroAuthenticatorPassesEverythingOn(t *testing.T) {
	rec := new(recorder)
	serve(new(wsauth.Authenticator).Conceal(rec), readRequest(t, "GET /ws?access_token=x\nHANDSHAKE"))
	if rec.only(t) == nil {
		t.Error("the request does not arrive")
	}
}

func BenchmarkConceal(b *testing.B) {
	auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{{
		Name: testIssuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey))}}})
	if err != nil {
		b.Fatal(err)
	}
	var w http.ResponseWriter
	h := auth.Conceal(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, text := range map[string]string{
		"nothing to hide": "GET /ws?room=1&user=2\nHANDSHAKE\nSec-WebSocket-Protocol: chat.v1, chat.v2",
		"a query token":   "GET /ws?room=1&access_token=" + testToken() + "\nHANDSHAKE",
	} {
		b.Run(name, func(b *testing.B) {
			r := readRequest(b, text).WithContext(context.Background())
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
