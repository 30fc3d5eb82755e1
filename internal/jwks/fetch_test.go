package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

func TestFreshFor(t *testing.T) {
	for name, row := range map[string]struct {
		cacheControl []string
		want         time.Duration
	}{
		"absent":                        {nil, 15 * time.Minute},
		"empty":                         {[]string{""}, 15 * time.Minute},
		"no directive about it":         {[]string{"public, must-revalidate, no-transform"}, 15 * time.Minute},
		"for shared caches only":        {[]string{"s-maxage=600"}, 15 * time.Minute},
		"within the bounds":             {[]string{"max-age=600"}, 10 * time.Minute},
		"a minute":                      {[]string{"max-age=60"}, time.Minute},
		"below a minute":                {[]string{"max-age=59"}, time.Minute},
		"zero":                          {[]string{"max-age=0"}, time.Minute},
		"an hour":                       {[]string{"max-age=3600"}, time.Hour},
		"above an hour":                 {[]string{"max-age=3601"}, time.Hour},
		"a year":                        {[]string{"max-age=31536000"}, time.Hour},
		"more than a Duration":          {[]string{"max-age=9223372036854775807"}, time.Hour},
		"more than 64 bits":             {[]string{"max-age=99999999999999999999999"}, time.Hour}, // RFC 9111 1.2.2
		"negative":                      {[]string{"max-age=-600"}, time.Minute},
		"negative, over 64 bits":        {[]string{"max-age=-99999999999999999999999"}, time.Minute},
		"negative, and positive in ns":  {[]string{"max-age=-10000000000"}, time.Minute},
		"a fraction":                    {[]string{"max-age=600.5"}, time.Minute},
		"words":                         {[]string{"max-age=soon"}, time.Minute},
		"no value":                      {[]string{"max-age"}, time.Minute},
		"an empty value":                {[]string{"max-age="}, time.Minute},
		"quoted":                        {[]string{`max-age="600"`}, 10 * time.Minute},
		"capitals":                      {[]string{"Max-Age=600"}, 10 * time.Minute},
		"among others":                  {[]string{"public,max-age=600 , must-revalidate"}, 10 * time.Minute},
		"in the second header":          {[]string{"public", "max-age=600"}, 10 * time.Minute},
		"twice":                         {[]string{"max-age=600, max-age=60"}, 10 * time.Minute},
		"no-store":                      {[]string{"no-store"}, time.Minute},
		"no-cache":                      {[]string{"No-Cache"}, time.Minute},
		"no-store before max-age":       {[]string{"no-store, max-age=3600"}, time.Minute},
		"no-store after max-age":        {[]string{"max-age=3600, no-store"}, time.Minute},
		"no-cache in the second header": {[]string{"max-age=3600", "no-cache"}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := freshFor(http.Header{"Cache-Control": row.cacheControl}); got != row.want {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

func TestCheckURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://id.example":                   true,
		"https://id.example/":                  true,
		"https://id.example:8443/keys":         true,
		"https://id.example/keys?tenant=a":     true,
		"HTTPS://ID.EXAMPLE/keys":              true,
		"https://192.0.2.1/keys":               true,
		"https://[2001:db8::1]:443/keys":       true,
		"http://localhost/keys":                true,
		"http://LOCALHOST:8080/keys":           true,
		"http://127.0.0.1:8080/keys":           true,
		"http://127.8.9.10/keys":               true,
		"http://[::1]:8080/keys":               true,
		"http://[::ffff:127.0.0.1]/keys":       true,
		"":                                     false,
		"/keys":                                false,
		"//id.example/keys":                    false,
		"id.example/keys":                      false,
		"id.example:443":                       false,
		"https:id.example":                     false,
		"https:///keys":                        false,
		"https://:443/keys":                    false,
		"https://id.example:port/keys":         false,
		"https://user@id.example/keys":         false,
		"https://user:password@id.example/":    false,
		"https://@id.example/":                 false,
		"http://127.0.0.1@id.example/":         false,
		"https://id.example/keys#first":        false,
		"https://id.example/%zz":               false,
		"https://id.example/\n":                false,
		"http://id.example/keys":               false,
		"http://192.0.2.1/keys":                false,
		"http://10.0.0.1/keys":                 false,
		"http://0.0.0.0/keys":                  false,
		"http://[::]/keys":                     false,
		"http://127.1/keys":                    false,
		"http://2130706433/keys":               false,
		"http://0x7f000001/keys":               false,
		"http://localhost.evil.example/keys":   false,
		"http://evil.localhost/keys":           false,
		"http://127.0.0.1.evil.example/keys":   false,
		"http://localhost%2eevil.example/keys": false,
		"ftp://localhost/keys":                 false,
		"file:///etc/keys":                     false,
		"file://localhost/etc/keys":            false,
		"ws://localhost/keys":                  false,
		"data:application/json,{}":             false,
		"javascript:alert(1)":                  false,
	} {
		t.Run(url, func(t *testing.T) {
			err := CheckURL(url, false)
			if (err == nil) != ok {
				t.Errorf("error %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "password") {
				t.Error("the error has the password")
			}
		})
	}
}

func TestPlainHTTPAllowsHTTPAndNothingElse(t *testing.T) {
	for url, ok := range map[string]bool{
		"http://keycloak:8080/realms/r":       true,
		"http://10.0.0.1/keys":                true,
		"http://[2001:db8::1]:8080/keys":      true,
		"HTTP://id.example/keys":              true,
		"https://id.example/keys":             true,
		"http://user:password@keycloak:8080/": false,
		"http://keycloak:8080/keys#first":     false,
		"http:///keys":                        false,
		"keycloak:8080/keys":                  false,
		"ftp://keycloak/keys":                 false,
		"file:///etc/keys":                    false,
		"ws://keycloak/keys":                  false,
		"":                                    false,
	} {
		t.Run(url, func(t *testing.T) {
			if err := CheckURL(url, true); (err == nil) != ok {
				t.Errorf("got %v, want it to be accepted: %v", err, ok)
			}
		})
	}
	if err := CheckURL("http://keycloak:8080/", false); err == nil || !strings.Contains(err.Error(), "PlainHTTP") {
		t.Errorf("got %v, want the name of what allows it", err)
	}
}

func TestEachFaultOfAConfigIsSaid(t *testing.T) {
	for name, row := range map[string]struct {
		cfg  Config
		want []string
	}{
		"a URL":                    {Config{URL: keysURL}, nil},
		"discovery":                {Config{Issuer: "https://id.example/"}, nil},
		"a URL and any name":       {Config{Issuer: "my issuer", URL: keysURL}, nil},
		"discovery from elsewhere": {Config{Issuer: "my issuer", DiscoveryURL: openidURL}, nil},
		"of another issuer":        {Config{Issuer: "i", DiscoveryURL: openidURL, AnyDocumentIssuer: true}, nil},
		"plain http":               {Config{URL: "http://keycloak:8080/keys", PlainHTTP: true}, nil},
		"discovery by plain http":  {Config{Issuer: "http://keycloak:8080/realms/r", PlainHTTP: true}, nil},
		"the same with a URL":      {Config{DiscoveryURL: "http://keycloak:8080/realms/r", PlainHTTP: true}, nil},
		"http": {Config{URL: "http://keycloak:8080/keys"},
			[]string{"URL: neither https nor on loopback"}},
		"discovery by http": {Config{Issuer: "http://keycloak:8080"},
			[]string{"no URL, and no discovery from Name: neither https"}},
		"the same by http": {Config{DiscoveryURL: "http://keycloak:8080"},
			[]string{"DiscoveryURL: neither https"}},
		"a name that is none": {Config{Issuer: "my issuer"},
			[]string{"no URL, and no discovery from Name: not an absolute URL"}},
		"nothing": {Config{}, []string{"no discovery from Name"}},
		"two URLs": {Config{URL: keysURL, DiscoveryURL: openidURL},
			[]string{"both URL and DiscoveryURL"}},
		"another issuer without a URL": {Config{Issuer: "https://id.example/", AnyDocumentIssuer: true},
			[]string{"AnyDocumentIssuer without DiscoveryURL"}},
		"another issuer with a set's URL": {Config{URL: keysURL, AnyDocumentIssuer: true},
			[]string{"AnyDocumentIssuer without DiscoveryURL"}},
		"durations": {Config{URL: "ftp://id.example", Refresh: -1, MaxStale: -1},
			[]string{"URL: neither https nor on loopback", "a negative Refresh", "a negative MaxStale"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.cfg.Check()
			if (err == nil) != (row.want == nil) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

const (
	internalURL  = "http://keycloak:8080/realms/r/.well-known/openid-configuration"
	internalKeys = "http://keycloak:8080/realms/r/certs"
)

func TestDiscoveryFromElsewhere(t *testing.T) {
	k := newKey("a")
	public := "https://id.example/realms/r"
	for name, row := range map[string]struct {
		cfg      Config
		document string
		want     string // the fault; empty: none
	}{
		"its issuer is ours": {Config{DiscoveryURL: internalURL, PlainHTTP: true},
			mint.JSON(map[string]any{"issuer": public, "jwks_uri": internalKeys}), ""},
		"its issuer is another": {Config{DiscoveryURL: internalURL, PlainHTTP: true},
			mint.JSON(map[string]any{"issuer": "http://keycloak:8080/realms/r", "jwks_uri": internalKeys}),
			`is "http://keycloak:8080/realms/r", and not the one configured, "https://id.example/realms/r"`},
		"its issuer is another, and may be": {Config{DiscoveryURL: internalURL, PlainHTTP: true, AnyDocumentIssuer: true},
			mint.JSON(map[string]any{"issuer": "http://keycloak:8080/realms/r", "jwks_uri": internalKeys}), ""},
		"it has no issuer": {Config{DiscoveryURL: internalURL, PlainHTTP: true},
			mint.JSON(map[string]any{"jwks_uri": internalKeys}), `the document's issuer is ""`},
		"its issuer is empty": {Config{DiscoveryURL: internalURL, PlainHTTP: true},
			mint.JSON(map[string]any{"issuer": "", "jwks_uri": internalKeys}), `the document's issuer is ""`},
		"it has no issuer, and need not": {Config{DiscoveryURL: internalURL, PlainHTTP: true, AnyDocumentIssuer: true},
			mint.JSON(map[string]any{"jwks_uri": internalKeys}), ""},
		"its issuer is null, and may be": {Config{DiscoveryURL: internalURL, PlainHTTP: true, AnyDocumentIssuer: true},
			`{"issuer":null,"jwks_uri":"` + internalKeys + `"}`, ""},
		"its issuer is no string": {Config{DiscoveryURL: internalURL, PlainHTTP: true, AnyDocumentIssuer: true},
			`{"issuer":1,"jwks_uri":"` + internalKeys + `"}`, "not a JSON object of the expected form"},
		"its issuer is long and has control characters": {Config{DiscoveryURL: internalURL, PlainHTTP: true},
			`{"issuer":"\n` + strings.Repeat("a", 10000) + `"}`, `is "\n` + strings.Repeat("a", 255) + `", and`},
		"keys over https": {Config{DiscoveryURL: internalURL, PlainHTTP: true},
			mint.JSON(map[string]any{"issuer": public, "jwks_uri": keysURL}), ""},
		"keys over http, and the document over https": {Config{DiscoveryURL: openidURL},
			mint.JSON(map[string]any{"issuer": public, "jwks_uri": internalKeys}), "jwks_uri: neither https nor on loopback"},
		"keys on loopback, and the document over https": {Config{DiscoveryURL: openidURL},
			mint.JSON(map[string]any{"issuer": public, "jwks_uri": "http://localhost/keys"}),
			"jwks_uri is not https, and the document's URL is"},
		"keys over http, and the document over https, as allowed": {Config{DiscoveryURL: openidURL, PlainHTTP: true},
			mint.JSON(map[string]any{"issuer": public, "jwks_uri": internalKeys}), ""},
		"keys of a file": {Config{DiscoveryURL: internalURL, PlainHTTP: true, AnyDocumentIssuer: true},
			mint.JSON(map[string]any{"jwks_uri": "file:///keys"}), "jwks_uri: "},
		"on loopback": {Config{DiscoveryURL: "http://localhost:8080/doc?policy=p"},
			mint.JSON(map[string]any{"issuer": public, "jwks_uri": "http://localhost:8080/keys"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{answer: func(req *http.Request) (*http.Response, error) {
				if req.URL.String() == row.cfg.DiscoveryURL {
					return text(200, row.document)(req)
				}
				return setOf(k)(req)
			}}
			row.cfg.Issuer = public
			r := e.remote(row.cfg)
			if row.want == "" {
				wantAccepted(t, r, k)
				e.wantFetches(t, 2)
				return
			}
			_, err := r.Keys(t.Context(), headerOf(k))
			if err == nil || errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			e.wantFetches(t, 1)
		})
	}
	t.Run("a document that is not there is looked for nowhere else", func(t *testing.T) {
		e := &endpoint{answer: text(404, "")}
		r := e.remote(Config{Issuer: public, DiscoveryURL: internalURL, PlainHTTP: true})
		if err := r.Ready(t.Context()); err == nil || err.Error() != "discovery: status 404" {
			t.Errorf("got %v, want discovery: status 404", err)
		}
		e.wantFetches(t, 1)
	})
}

func TestPlainHTTPIsAWarningOnce(t *testing.T) {
	for name, row := range map[string]struct {
		cfg  Config
		want int
	}{
		"keys":               {Config{Issuer: "i", URL: internalKeys, PlainHTTP: true}, 1},
		"discovery":          {Config{Issuer: "http://keycloak:8080", PlainHTTP: true}, 1},
		"keys alone":         {Config{Issuer: "i", DiscoveryURL: openidURL, PlainHTTP: true}, 1},
		"https":              {Config{Issuer: "i", URL: keysURL, PlainHTTP: true}, 0},
		"loopback":           {Config{Issuer: "i", URL: "http://localhost:8080/keys", PlainHTTP: true}, 0},
		"loopback, by right": {Config{Issuer: "i", URL: "http://127.0.0.1:8080/keys"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				k := newKey("a")
				log := &logbook{}
				e := &endpoint{answer: func(req *http.Request) (*http.Response, error) {
					if strings.Contains(req.URL.Path, ".well-known") {
						return metadata(row.cfg.Issuer, internalKeys)(req)
					}
					return setOf(k)(req)
				}}
				row.cfg.Logger, row.cfg.Refresh = log.logger(), time.Minute
				r := e.remote(row.cfg)
				for range 600 {
					r.Keys(t.Context(), headerOf(k))
					time.Sleep(time.Second)
				}
				synctest.Wait()
				got := log.at(slog.LevelWarn)
				if len(got) != row.want || row.want > 0 && !strings.Contains(got[0], "plain http") {
					t.Errorf("got the warnings %q, want %d", got, row.want)
				}
			})
		})
	}
}

func TestRedirectsStayWithinTheOrigin(t *testing.T) {
	k := newKey("a")
	to := func(location string) answer { return text(302, "", "Location", location) }
	for name, row := range map[string]struct {
		first string // the configured URL, if it is not keysURL
		to    string
		ok    bool
	}{
		"another path":          {to: "/v2/keys", ok: true},
		"its full URL":          {to: "https://id.example/v2/keys", ok: true},
		"with a query":          {to: "/v2/keys?a=b", ok: true},
		"another host":          {to: "https://evil.example/v2/keys"},
		"a host below it":       {to: "https://keys.id.example/v2/keys"},
		"another host, no name": {to: "//evil.example/v2/keys"},
		"another port":          {to: "https://id.example:8443/v2/keys"},
		"http":                  {to: "http://id.example/v2/keys"},
		"user information":      {to: "https://user@id.example@evil.example/v2/keys"},
		"nowhere":               {to: ""},
		"a file":                {to: "file:///etc/keys"},
		"http on loopback":      {to: "http://localhost/v2/keys"},
		"of loopback, to https": {first: "http://localhost/keys", to: "https://localhost/v2/keys"},
		"of loopback, another":  {first: "http://localhost:1/keys", to: "http://localhost:2/v2/keys"},
		"of loopback, the same": {first: "http://localhost:1/keys", to: "http://localhost:1/v2/keys", ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			url := row.first
			if url == "" {
				url = keysURL
			}
			e := &endpoint{answer: func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == "/keys" {
					return to(row.to)(req)
				}
				return setOf(k)(req)
			}}
			r := e.remote(Config{Issuer: "https://id.example", URL: url})
			if !row.ok {
				wantUnavailable(t, r, k)
				e.wantFetches(t, 1)
				return
			}
			wantAccepted(t, r, k)
			e.wantFetches(t, 2)
		})
	}
}

func TestThreeRedirectsAreFollowedAndNotAFourth(t *testing.T) {
	k := newKey("a")
	for redirects := range 6 {
		e := &endpoint{}
		e.serve(func(req *http.Request) (*http.Response, error) {
			if e.fetches() <= redirects {
				return text(302, "", "Location", keysURL)(req)
			}
			return setOf(k)(req)
		})
		r := e.remote(Config{})
		if got, want := accepted(t, r, k), redirects <= 3; got != want {
			t.Errorf("%d redirects: accepted %v, want %v", redirects, got, want)
		}
		e.wantFetches(t, min(redirects, 3)+1)
	}
}

func TestTheClientsOwnCheckRedirectRunsToo(t *testing.T) {
	k := newKey("a")
	for name, row := range map[string]struct {
		check error
		ok    bool
	}{
		"and allows":          {nil, true},
		"and refuses":         {errors.New("not here"), false},
		"and takes it as end": {http.ErrUseLastResponse, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{answer: paths(map[string]answer{
				keysURL:                   text(307, "", "Location", "/a"),
				"https://id.example/a":    text(308, "", "Location", "https://id.example/b"),
				"https://id.example/b":    setOf(k),
				"https://evil.example/":   setOf(k),
				"https://id.example/evil": text(302, "", "Location", "https://evil.example/"),
			})}
			var seen []string
			client := &http.Client{Transport: e, CheckRedirect: func(req *http.Request, via []*http.Request) error {
				seen = append(seen, req.URL.Path)
				return row.check
			}}
			_, err := New(Config{URL: keysURL, Client: client}).Keys(t.Context(), headerOf(k))
			if (err == nil) != row.ok {
				t.Errorf("error %v", err)
			}
			if want := []string{"/a", "/b"}[:len(seen)]; !slices.Equal(seen, want) || len(seen) == 0 {
				t.Errorf("asked about %q", seen)
			}
			_, err = New(Config{URL: "https://id.example/evil", Client: client}).Keys(t.Context(), headerOf(k))
			if err == nil {
				t.Error("the client's own check took the place of the one for the origin")
			}
		})
	}
}

func TestTheClientThatIsGivenIsNotChanged(t *testing.T) {
	k := newKey("a")
	e := &endpoint{answer: setOf(k)}
	client := &http.Client{Transport: e}
	wantAccepted(t, New(Config{URL: keysURL, Client: client}), k)
	if client.CheckRedirect != nil || client.Timeout != 0 || client.Transport != e {
		t.Errorf("the client is now %+v", client)
	}
}

func metadata(issuer, jwksURI string) answer {
	return text(200, mint.JSON(map[string]any{"issuer": issuer, "jwks_uri": jwksURI}))
}

func TestWhereDiscoveryLooks(t *testing.T) {
	const openid, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	const id, local = "https://id.example", "http://localhost:8080"
	for issuer, want := range map[string][2]string{
		id:                      {id + openid, id + oauth},
		id + "/":                {id + openid, id + oauth},
		id + ":8443":            {id + ":8443" + openid, id + ":8443" + oauth},
		id + "/a":               {id + "/a" + openid, id + oauth + "/a"},
		id + "/a/":              {id + "/a" + openid, id + oauth + "/a"},
		id + "/a/b":             {id + "/a/b" + openid, id + oauth + "/a/b"},
		id + "/a%2Fb/%C3/c":     {id + "/a%2Fb/%C3/c" + openid, id + oauth + "/a%2Fb/%C3/c"},
		local + "/realm/alpha/": {local + "/realm/alpha" + openid, local + oauth + "/realm/alpha"},
	} {
		t.Run(issuer, func(t *testing.T) {
			k := newKey("a")
			for i, at := range want {
				e := &endpoint{answer: paths(map[string]answer{at: metadata(issuer, keysURL), keysURL: setOf(k)})}
				wantAccepted(t, e.remote(Config{Issuer: issuer}), k)
				var urls []string
				for _, ask := range e.asks() {
					urls = append(urls, ask.url)
				}
				if want := append(slices.Clone(want[:i+1]), keysURL); !slices.Equal(urls, want) {
					t.Errorf("asked %q, want %q", urls, want)
				}
			}
		})
	}
}

func TestOnly404SendsDiscoveryToTheOtherPlace(t *testing.T) {
	k := newKey("a")
	for name, a := range map[string]answer{
		"status 500": text(500, ""), "status 403": text(403, ""), "status 410": text(410, ""),
		"HTML":                 text(200, "<p>Sign in"),
		"another issuer":       metadata("https://other.example", keysURL),
		"no jwks_uri":          text(200, `{"issuer":"https://id.example"}`),
		"a redirect elsewhere": text(301, "", "Location", "https://evil.example/"),
		"a network fault": func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no route to host")
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{answer: paths(map[string]answer{
				"https://id.example/.well-known/openid-configuration":       a,
				"https://id.example/.well-known/oauth-authorization-server": metadata("https://id.example", keysURL),
				keysURL: setOf(k),
			})}
			r := New(Config{Issuer: "https://id.example", Client: &http.Client{Transport: e}})
			wantUnavailable(t, r, k)
			e.wantFetches(t, 1)
		})
	}
}

func TestWhatDiscoveryRefuses(t *testing.T) {
	const issuer = "https://id.example/"
	k := newKey("a")
	good := mint.JSON(map[string]any{"issuer": issuer, "jwks_uri": keysURL})
	for name, row := range map[string]struct {
		issuer, document string
		ok               bool
	}{
		"nothing":                     {issuer, good, true},
		"nothing, with other members": {issuer, `{"scopes_supported":["a"],"x":{"y":null},` + good[1:], true},
		"keys on another host": {issuer, mint.JSON(map[string]any{"issuer": issuer,
			"jwks_uri": "https://keys.example/"}), true},
		"http where the issuer is on loopback": {"http://localhost:80", mint.JSON(map[string]any{
			"issuer": "http://localhost:80", "jwks_uri": "http://127.0.0.1:81/keys"}), true},
		"another issuer":             {issuer, strings.Replace(good, issuer, "https://evil.example/", 1), false},
		"an issuer without slash":    {issuer, strings.Replace(good, issuer, "https://id.example", 1), false},
		"an issuer with slash":       {"https://id.example", good, false},
		"an issuer in another case":  {issuer, strings.Replace(good, issuer, "https://ID.example/", 1), false},
		"no issuer":                  {issuer, `{"jwks_uri":"` + keysURL + `"}`, false},
		"an issuer that is a number": {issuer, `{"issuer":1,"jwks_uri":"` + keysURL + `"}`, false},
		"no jwks_uri":                {issuer, `{"issuer":"` + issuer + `"}`, false},
		"an empty jwks_uri":          {issuer, strings.Replace(good, keysURL, "", 1), false},
		"a relative jwks_uri":        {issuer, strings.Replace(good, keysURL, "/keys", 1), false},
		"a jwks_uri of http":         {issuer, strings.Replace(good, keysURL, "http://id.example/keys", 1), false},
		"a jwks_uri of http on loopback, from afar": {issuer,
			strings.Replace(good, keysURL, "http://localhost/keys", 1), false},
		"a jwks_uri of a file": {issuer, strings.Replace(good, keysURL, "file:///keys", 1), false},
		"user information":     {issuer, strings.Replace(good, keysURL, "https://u:p@id.example/keys", 1), false},
		"duplicate members":    {issuer, `{"issuer":"https://evil.example",` + good[1:], false},
		"duplicate members, spelled differently": {issuer,
			`{"\u006awks_uri":"https://evil.example/keys",` + good[1:], false},
		"duplicates further down": {issuer, `{"x":{"a":1,"a":2},` + good[1:], false},
		"trailing data":           {issuer, good + "{}", false},
		"an array":                {issuer, "[" + good + "]", false},
		"HTML":                    {issuer, "<p>Sign in", false},
		"an empty body":           {issuer, "", false},
		"512 KiB":                 {issuer, strings.Repeat(" ", 512<<10-len(good)) + good, true},
		"more than 512 KiB":       {issuer, strings.Repeat(" ", 512<<10-len(good)+1) + good, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{answer: func(req *http.Request) (*http.Response, error) {
				if strings.HasSuffix(req.URL.Path, "/openid-configuration") {
					return text(200, row.document)(req)
				}
				return setOf(k)(req)
			}}
			r := e.remote(Config{Issuer: row.issuer})
			if !row.ok {
				wantUnavailable(t, r, k)
				e.wantFetches(t, 1)
				return
			}
			wantAccepted(t, r, k)
			e.wantFetches(t, 2)
		})
	}
}

func TestDiscoveryIsReadOnceWhileTheKeysCanBeFetched(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: publish(setOf(k))}
		r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
		for range 20 {
			wantAccepted(t, r, k)
			time.Sleep(time.Minute)
		}
		e.wantFetches(t, 1+20)
	})
}

const movedURL = "https://keys.example/moved"

func TestDiscoveryIsReadAgainAfterThreeFailuresInARow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k, next := newKey("a"), newKey("b")
		e := &endpoint{answer: publish(setOf(k))}
		r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
		wantAccepted(t, r, k)
		e.serve(paths(map[string]answer{
			"https://id.example/.well-known/openid-configuration": metadata("https://id.example/", movedURL),
			keysURL:  text(410, ""),
			movedURL: setOf(k, next),
		}))
		d := until(t, func() bool {
			wantAtOnce(t, r, k)
			return r.current.Load().set.Len() == 2
		})
		e.wantFetches(t, 2+3+2)
		// A minute until the refresh, three failures, and the gaps between them of up to 1.5, 3 and 6 seconds.
		if d > 67*time.Second {
			t.Errorf("took %v", d)
		}
		wantAtOnce(t, r, next)
	})
}

func TestSingleFailuresDoNotSendDiscoveryOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: publish(setOf(k))}
		r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
		wantAccepted(t, r, k)
		for range 20 {
			e.serve(publish(text(500, "")))
			until(t, func() bool { wantAtOnce(t, r, k); return r.failing() })
			e.serve(publish(setOf(k)))
			until(t, func() bool { wantAtOnce(t, r, k); return !r.failing() })
		}
		if n := e.asksFor(openidURL); n != 1 {
			t.Errorf("got %d discoveries, want one", n)
		}
	})
}

func (r *Remote) failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failingBy != nil
}

const openidURL = "https://id.example/.well-known/openid-configuration"

func (e *endpoint) asksFor(url string) (n int) {
	for _, ask := range e.asks() {
		if ask.url == url {
			n++
		}
	}
	return n
}

// moved publishes metadata that names a new URL for the keys, while the old one still answers as it did.
func moved(old, now answer) answer {
	return paths(map[string]answer{
		openidURL: metadata("https://id.example/", movedURL), keysURL: old, movedURL: now,
	})
}

func TestASetThatMovesIsFoundThoughItsOldURLStillAnswers(t *testing.T) {
	t.Run("by the first token of a new key", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k, next := newKey("a"), newKey("b")
			e := &endpoint{answer: publish(setOf(k))}
			r := e.remote(Config{Issuer: "https://id.example/"})
			wantAccepted(t, r, k)
			time.Sleep(10 * time.Second)
			e.serve(moved(setOf(k), setOf(next)))
			wantAccepted(t, r, next)
			wantUnknown(t, r, k) // which the issuer has withdrawn
		})
	})
	t.Run("by the first token of a new key, while a refresh is under way", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k, next := newKey("a"), newKey("b")
			e := &endpoint{answer: publish(setOf(k))}
			r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
			wantAccepted(t, r, k)
			time.Sleep(time.Minute)
			e.serve(moved(late(time.Second, setOf(k)), setOf(next)))
			wantAtOnce(t, r, k) // starts the refresh
			wantAccepted(t, r, next)
		})
	})
	t.Run("by the first token of a new key, that starts the refresh itself", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k, next := newKey("a"), newKey("b")
			e := &endpoint{answer: publish(setOf(k))}
			r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
			wantAccepted(t, r, k)
			time.Sleep(time.Minute)
			e.serve(moved(setOf(k), setOf(next)))
			wantAccepted(t, r, next)
		})
	})
	t.Run("without one, by the first refresh after an hour", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			k := newKey("a")
			e := &endpoint{answer: publish(setOf(k))}
			r := e.remote(Config{Issuer: "https://id.example/"})
			wantAccepted(t, r, k)
			e.serve(moved(setOf(k), setOf(k)))
			start := time.Now()
			for e.asksFor(movedURL) == 0 && time.Since(start) < 2*time.Hour {
				wantAtOnce(t, r, k)
				time.Sleep(time.Second)
			}
			if d := time.Since(start); d < time.Hour || d > time.Hour+defaultAge {
				t.Errorf("got %v, want an hour and a refresh at most", d)
			}
		})
	})
}

func TestDiscoveryIsReadOnceInAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: publish(setOf(k))}
		r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
		wantAccepted(t, r, k)
		for range 10 * 60 * 6 {
			time.Sleep(10 * time.Second)
			wantAtOnce(t, r, k)
		}
		synctest.Wait()
		if n := e.asksFor(openidURL); n < 9 || n > 11 {
			t.Errorf("got %d discoveries in 10 hours, want one in each", n)
		}
	})
}

func TestAFloodOfUnknownKidsReadsDiscoveryOnceIn5SecondsAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: publish(setOf(k))}
		r := e.remote(Config{Issuer: "https://id.example/"})
		wantAccepted(t, r, k)
		flood(t, r, time.Now().Add(time.Minute), func() { wantAtOnce(t, r, k) }, func(err error) {
			if !errors.Is(err, ErrUnknownKey) {
				t.Errorf("got %v, want ErrUnknownKey", err)
			}
		})
		if discoveries, fetches := e.asksFor(openidURL), e.asksFor(keysURL); discoveries > 13 || fetches > 13 {
			t.Errorf("got %d discoveries and %d fetches, want 13 at most", discoveries, fetches)
		}
	})
}

// Discovery that hangs leaves the keys the time that they need, and one that names something else moves nothing.
func TestDiscoveryThatFailsKeepsNoNewKeyOut(t *testing.T) {
	for name, row := range map[string]struct {
		answer answer
		took   time.Duration
	}{
		"hanging":            {hang, rediscoverTimeout},
		"failing":            {text(500, ""), 0},
		"of another issuer":  {metadata("https://other.example/", movedURL), 0},
		"with http for keys": {metadata("https://id.example/", "http://id.example/keys"), 0},
		"HTML":               {text(200, "<p>Sign in"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				k, next := newKey("a"), newKey("b")
				log := &logbook{}
				e := &endpoint{answer: publish(setOf(k))}
				r := e.remote(Config{Issuer: "https://id.example/", Logger: log.logger()})
				wantAccepted(t, r, k)
				for i := range 3 {
					time.Sleep(missInterval + time.Second)
					next.ID = fmt.Sprint(i)
					e.serve(paths(map[string]answer{openidURL: row.answer, keysURL: setOf(k, next), movedURL: setOf(other)}))
					start := time.Now()
					wantAccepted(t, r, next)
					if took := time.Since(start); took != row.took {
						t.Errorf("got %v, want %v", took, row.took)
					}
				}
				synctest.Wait()
				if got := log.at(slog.LevelWarn); len(got) != 1 || !strings.Contains(got[0], "discovery fails") {
					t.Errorf("got the warnings %q, want one", got)
				}
			})
		})
	}
}

// The metadata may be gone for longer than the keys: what it said last is better than nothing.
func TestKeysThatCanBeFetchedAgainNeedNoDiscovery(t *testing.T) {
	for name, gone := range map[string]answer{"failing": text(500, ""), "hanging": hang, "gone": text(404, "")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				k, next := newKey("a"), newKey("b")
				e := &endpoint{answer: publish(setOf(k))}
				r := e.remote(Config{Issuer: "https://id.example/", Refresh: time.Minute})
				wantAccepted(t, r, k)
				e.serve(gone)
				for range 600 {
					time.Sleep(time.Second)
					wantAtOnce(t, r, k)
				}
				e.serve(func(req *http.Request) (*http.Response, error) {
					if req.URL.String() == keysURL {
						return setOf(k, next)(req)
					}
					return gone(req)
				})
				d := until(t, func() bool { return accepted(t, r, next) })
				if d > 2*(missInterval+fetchTimeout) {
					t.Errorf("took %v, want two fetches at most", d)
				}
			})
		})
	}
}

func TestDiscoveryAndKeysShareTheTimeOfOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := newKey("a")
		e := &endpoint{answer: late(3*time.Second, publish(setOf(k)))}
		r := e.remote(Config{Issuer: "https://id.example/"})
		start := time.Now()
		wantUnavailable(t, r, k)
		if d := time.Since(start); d != fetchTimeout {
			t.Errorf("took %v, want 5s", d)
		}
		time.Sleep(2 * time.Second)
		wantAccepted(t, r, k) // its metadata is not read twice
	})
}

func TestARequestSaysWhatItWantsAndNothingElse(t *testing.T) {
	k := newKey("a")
	e := &endpoint{}
	e.serve(func(req *http.Request) (*http.Response, error) {
		if req.Method != "GET" || req.Body != nil || !strings.Contains(req.Header.Get("Accept"), "application/json") {
			t.Errorf("%s, header %v", req.Method, req.Header)
		}
		for _, name := range []string{"Authorization", "Cookie", "Referer"} {
			if req.Header.Get(name) != "" {
				t.Errorf("%s is sent", name)
			}
		}
		return publish(setOf(k))(req)
	})
	ctx := context.WithValue(t.Context(), http.ServerContextKey, "of the request")
	if _, err := e.remote(Config{Issuer: "https://id.example/"}).Keys(ctx, headerOf(k)); err != nil {
		t.Error(err)
	}
}
