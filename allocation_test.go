package wsauth_test

import (
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/wsauth/wsauth"
)

func TestTheWayOfARequestAllocatesLittle(t *testing.T) {
	token := testToken(nil)
	header := readRequest(t, "GET /\nAuthorization: Bearer "+token)
	cookie := readRequest(t, "POST /\nOrigin: http://server.example.com\nSec-Fetch-Site: same-origin\n"+
		"Cookie: access_token="+token)
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
				t.Errorf("got %v allocations, want at most %v", got, row.most)
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
			t.Errorf("got %v allocations, want none", got)
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
			const times = 5 // what others allocate meanwhile is counted, too, but not each time
			least := uint64(math.MaxUint64)
			for range times {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				h.ServeHTTP(nil, r)
				runtime.ReadMemStats(&after)
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			if refused != times || least > most {
				t.Errorf("got %d refusals and %d bytes, want %d, and at most %d", refused, least, times, most)
			}
		})
	}
}
