package wsauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func remembering(o *wsauth.Options) { o.CacheSize = 100 }

func TestARememberedTokenIsJudgedLikeANewOne(t *testing.T) {
	for name, row := range map[string]struct {
		claims map[string]any
		change func(*wsauth.Issuer)
		after  time.Duration
		want   error
	}{
		"good":                            {nil, nil, time.Minute, nil},
		"about to end":                    {nil, nil, time.Hour + 29*time.Second, nil},
		"ended":                           {nil, nil, time.Hour + 30*time.Second, wsauth.ErrExpired},
		"of an audience in a longer list": {map[string]any{"aud": []string{"mail", "chat"}}, nil, time.Minute, nil},
		"within MaxTTL":                   {nil, func(i *wsauth.Issuer) { i.MaxTTL = time.Hour }, time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				auth := newAuth(t, remembering, func(o *wsauth.Options) {
					if row.change != nil {
						row.change(&o.Issuers[0])
					}
				})
				claims := testClaims(row.claims)
				claims["exp"] = time.Now().Add(time.Hour).Unix()
				token := testKey.Token(claims)
				verify(t, auth, token, nil)
				time.Sleep(row.after)
				for range 2 {
					verify(t, auth, token, row.want)
				}
				if wsauth.Remembers(auth, token) != (row.want == nil) {
					t.Errorf("remembered: %v", row.want != nil)
				}
			})
		})
	}
}

func TestOnlyTheWholeTokenIsRemembered(t *testing.T) {
	for _, k := range []*mint.Key{testKey, es256, rs256, ed} {
		auth := newAuth(t, remembering, func(o *wsauth.Options) { o.Issuers[0].Keys = wsauth.KeySet(mint.SetOf(k)) })
		token := k.Token(testClaims(nil))
		verify(t, auth, token, nil)
		for i := range len(token) { // each other character in its place
			for _, c := range []byte{'A', 'b', '7', '-', '.'} {
				if token[i] != c {
					if _, err := auth.Verify(t.Context(), token[:i]+string(c)+token[i+1:]); err == nil {
						t.Fatalf("%s: accepted with %q at %d", k.Alg, c, i)
					}
				}
			}
		}
		verify(t, auth, token, nil)
	}
}

func TestWhatOneCallerDoesToItsClaimsNoOtherSees(t *testing.T) {
	auth := newAuth(t, remembering)
	token := testToken(map[string]any{"aud": []string{"chat", "mail"}})
	for range 3 {
		claims, err := auth.Verify(t.Context(), token)
		if err != nil || claims.Subject != "alice" || strings.Join(claims.Audience, " ") != "chat mail" {
			t.Fatalf("%+v, %v", claims, err)
		}
		claims.Subject, claims.Audience[0], claims.Audience = "mallory", "bank", append(claims.Audience, "bank")
	}
}

func TestATokenIsForgottenWithItsKey(t *testing.T) {
	for name, kid := range map[string]string{"for one with another kid": "next", "for one with its kid": "old"} {
		t.Run(name, func(t *testing.T) { testForgottenWithItsKey(t, mint.New("ES256", "old"), mint.New("ES256", kid)) })
	}
}

func testForgottenWithItsKey(t *testing.T, old, next *mint.Key) {
	synctest.Test(t, func(t *testing.T) {
		var published atomic.Pointer[mint.Key]
		published.Store(old)
		auth := newAuth(t, remembering, func(o *wsauth.Options) {
			o.Issuers = []wsauth.Issuer{{
				Name: testIssuer, Audience: []string{"chat"},
				Keys: wsauth.JWKS{URL: "https://id.example.com/jwks", Refresh: time.Minute, Client: &http.Client{
					Transport: roundTripper(func(*http.Request) (*http.Response, error) {
						return answerOf(mint.SetOf(published.Load())), nil
					}),
				}},
			}}
		})
		token := old.Token(testClaims(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}))
		verify(t, auth, token, nil)
		verify(t, auth, token, nil)
		published.Store(next)
		time.Sleep(time.Minute)
		verify(t, auth, token, nil) // the last one that the old set serves, and the one that starts a fetch
		synctest.Wait()
		time.Sleep(5 * time.Second) // a miss may fetch again
		verify(t, auth, token, wsauth.ErrInvalidToken)
		if wsauth.Remembers(auth, token) {
			t.Error("a token is remembered whose key was withdrawn")
		}
		synctest.Wait()
	})
}

func answerOf(body []byte) *http.Response {
	w := httptest.NewRecorder()
	w.Write(body)
	return w.Result()
}

func TestAKeyFuncIsAskedForEachTokenAgain(t *testing.T) {
	asked := 0
	var answer error
	auth := newAuth(t, remembering, func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
			asked++
			return secretOf(testKey), answer
		})
	})
	token := testToken(nil)
	for range 3 {
		verify(t, auth, token, nil)
	}
	answer = wsauth.ErrRevoked
	verify(t, auth, token, wsauth.ErrRevoked)
	if asked != 4 {
		t.Errorf("asked %d times", asked)
	}
}

func TestTheWayOfARequestAllocatesLittle(t *testing.T) {
	token := testToken(nil)
	header := readRequest(t, "GET /\nAuthorization: Bearer "+token)
	cookie := readRequest(t, "POST /\nOrigin: http://server.example.com\nSec-Fetch-Site: same-origin\nCookie: access_token="+token)
	query := readRequest(t, "GET /?access_token="+token+"\nHANDSHAKE")
	for name, row := range map[string]struct {
		change  func(*wsauth.Options)
		request *http.Request
		most    float64
	}{
		"header":             {func(*wsauth.Options) {}, header, 3},
		"header, remembered": {remembering, header, 2},
		"cookie, remembered": {remembering, cookie, 3},
		"query, remembered":  {remembering, query, 5}, // two more URLs without the token
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, row.change)
			got := testing.AllocsPerRun(100, func() {
				if _, err := auth.Authenticate(row.request); err != nil {
					t.Fatal(err)
				}
			})
			if got > row.most && !raceEnabled {
				t.Errorf("%v allocations, want at most %v", got, row.most)
			}
		})
	}
	t.Run("a remembered token alone", func(t *testing.T) {
		auth := newAuth(t, remembering)
		if got := testing.AllocsPerRun(100, func() {
			if err := wsauth.Check(auth, token); err != nil {
				t.Fatal(err)
			}
		}); got > 0 && !raceEnabled {
			t.Errorf("%v allocations", got)
		}
	})
}

// Nobody has to have a token to send a megabyte: what OnRefuse must not see is looked for before anything is copied.
func TestARefusalWithNothingToHideTakesNoMemoryForIt(t *testing.T) {
	const most = 4096 // bytes
	for name, request := range map[string]string{
		"ampersands": "GET /ws?" + strings.Repeat("&", 1<<20),
		"semicolons": "GET /ws?" + strings.Repeat(";", 1<<20),
		"parameters": "GET /ws?" + strings.Repeat("a=b&", 1<<18),
		"commas":     "GET /ws\nSec-WebSocket-Protocol: a" + strings.Repeat(",", 1<<20),
		"entries":    "GET /ws\nSec-WebSocket-Protocol: a" + strings.Repeat(", a", 1<<18),
		"cookies":    "GET /ws\nCookie: a=b" + strings.Repeat("; a=b", 1<<18),
	} {
		t.Run(name, func(t *testing.T) {
			refused := 0
			auth := extractAuth(t, func(o *wsauth.Options) {
				o.OnRefuse = func(http.ResponseWriter, *http.Request, error) { refused++ }
			})
			h, r := auth.Middleware(new(recorder)), readRequest(t, request)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			h.ServeHTTP(nil, r)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; refused != 1 || got > most {
				t.Errorf("%d refusals, %d bytes; want 1, at most %d", refused, got, most)
			}
		})
	}
}
