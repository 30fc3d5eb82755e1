package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
)

// quiet returns an issuer whose log nobody reads.
func quiet(url string) *issuer {
	return newIssuer(url, "ES256", usualSpec(), log.New(io.Discard, "", 0))
}

func decode(t *testing.T, segment string, v any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// routes are all that the issuer serves.
var routes = []struct{ method, path string }{
	{"GET", "/"}, {"POST", "/"}, {"POST", "/token"}, {"POST", "/rotate"}, {"GET", "/jwks.json"},
	{"GET", "/.well-known/openid-configuration"},
}

func TestAForeignHostIsRefused(t *testing.T) {
	handler := quiet("http://127.0.0.1:9080").handler()
	for host, want := range map[string]int{
		"127.0.0.1:9080": 200, "localhost:9080": 200, "LOCALHOST:9080": 200, "[::1]:9080": 200, "127.0.0.2:9080": 200,
		"": 403, "evil.example": 403, "evil.example:9080": 403, "localhost.evil.example:9080": 403,
		"127.0.0.1.nip.io:9080": 403, "127.0.0.1": 403, "127.0.0.1:9081": 403, "127.0.0.1:": 403, "0.0.0.0:9080": 403,
		"192.0.2.1:9080": 403, "host.docker.internal:9080": 403, "localhost.:9080": 403, "[::1%25lo]:9080": 403,
	} {
		for _, route := range routes {
			r := httptest.NewRequest(route.method, route.path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s %s with Host %q: got %d, want %d", route.method, route.path, host, w.Code, want)
			}
			if want == 403 && strings.Contains(w.Body.String(), "eyJ") {
				t.Errorf("%s %s with Host %q: got a token", route.method, route.path, host)
			}
		}
	}
}

func TestThePortOfHTTPNeedsNoPortInHost(t *testing.T) {
	for url, want := range map[string]int{"http://127.0.0.1:80": 200, "http://127.0.0.1:9080": 403} {
		r := httptest.NewRequest("GET", "http://127.0.0.1/jwks.json", nil)
		w := httptest.NewRecorder()
		quiet(url).handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", url, w.Code, want)
		}
	}
}

func TestAPageOfAnotherOriginCannotPost(t *testing.T) {
	i := quiet("http://127.0.0.1:9080")
	for _, row := range []struct {
		name, header, value string
		want                int
	}{
		{"a program", "", "", 200},
		{"its own page", "Sec-Fetch-Site", "same-origin", 200},
		{"its own page, in an old browser", "Origin", "http://127.0.0.1:9080", 200},
		{"a site", "Sec-Fetch-Site", "cross-site", 403},
		{"another port", "Sec-Fetch-Site", "same-site", 403},
		{"a site, in an old browser", "Origin", "https://evil.example", 403},
		{"another port, in an old browser", "Origin", "http://127.0.0.1:5173", 403},
		{"a sandbox", "Origin", "null", 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, route := range routes {
				if route.method != "POST" {
					continue
				}
				before := i.published()[0].ID
				r := httptest.NewRequest("POST", "http://127.0.0.1:9080"+route.path, nil)
				if row.header != "" {
					r.Header.Set(row.header, row.value)
				}
				w := httptest.NewRecorder()
				i.handler().ServeHTTP(w, r)
				if w.Code != row.want {
					t.Errorf("POST %s: got %d, want %d", route.path, w.Code, row.want)
				}
				if w.Code == 403 && i.published()[0].ID != before {
					t.Errorf("POST %s: the key was rotated", route.path)
				}
			}
		})
	}
}

func TestNoResponseMayBeReadByAPageOfAnotherOrigin(t *testing.T) {
	for _, route := range routes {
		r := httptest.NewRequest(route.method, "http://127.0.0.1:9080"+route.path, nil)
		w := httptest.NewRecorder()
		quiet("http://127.0.0.1:9080").handler().ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s %s: got Access-Control-Allow-Origin %q, want none", route.method, route.path, got)
		}
	}
}

func TestWrongRequestsAreClearErrors(t *testing.T) {
	for _, row := range []struct {
		name, path, contentType, body string
		want                          string
	}{
		{"an unknown field", "/token", form, "subject=bob", `no field is named "subject"`},
		{"a lifetime without a unit", "/token", form, "ttl=300", "5m"},
		{"a claim that is no JSON", "/token", form, "claim=role%3dadmin", "admin is not JSON"},
		{"two faults", "/token", form, "ttl=300&claim=x", "name=JSON"},
		{"a broken form", "/token", form, "sub=%zz", "invalid URL escape"},
		{"fields in the URL", "/token?sub=bob", form, "", "not in the URL"},
		{"broken JSON", "/token", "application/json", `{"sub":`, "not a JSON object"},
		{"an array", "/token", "application/json", `[]`, "not a JSON object"},
		{"null", "/token", "application/json", `null`, "not a JSON object"},
		{"two objects", "/token", "application/json", `{}{}`, "not a JSON object"},
		{"a lifetime that is a number", "/token", "application/json", `{"ttl":300}`, `such as "5m"`},
		{"a form of several parts", "/token", "multipart/form-data; boundary=x", "--x--", "want Content-Type"},
		{"text", "/token", "text/plain", "sub=bob", "want Content-Type"},
		{"too long", "/token", "application/json", strings.Repeat(" ", maxBody+1), "too large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "http://127.0.0.1:9080"+row.path, strings.NewReader(row.body))
			r.Header.Set("Content-Type", row.contentType)
			if row.body == "" {
				r.ContentLength = 0
			}
			w := httptest.NewRecorder()
			quiet("http://127.0.0.1:9080").handler().ServeHTTP(w, r)
			var got tokenResponse
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != 400 || got.Error != "invalid_request" || !strings.Contains(got.Description, row.want) {
				t.Errorf("got %d, %+v, want 400 and %q", w.Code, got, row.want)
			}
		})
	}
}

func TestThePageShowsAFaultAndKeepsWhatWasFilledIn(t *testing.T) {
	body := "sub=%3Cscript%3E&claim=role%3D%3Cb%3E"
	r := httptest.NewRequest("POST", "http://127.0.0.1:9080/", strings.NewReader(body))
	r.Header.Set("Content-Type", form)
	w := httptest.NewRecorder()
	quiet("http://127.0.0.1:9080").handler().ServeHTTP(w, r)
	got := w.Body.String()
	if w.Code != 400 {
		t.Errorf("got %d, want 400", w.Code)
	}
	for _, want := range []string{
		"&lt;b&gt; is not JSON", `name="sub" value="&lt;script&gt;"`, ">role=&lt;b&gt;</textarea>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "<script") || strings.Contains(got, "eyJ") {
		t.Errorf("got a script or a token in\n%s", got)
	}
}

func TestTheLogHasNoTokenThatWasAskedFor(t *testing.T) {
	var out strings.Builder
	i := newIssuer("http://127.0.0.1:9080", "ES256", usualSpec(), log.New(&out, "", 0))
	for _, route := range routes {
		r := httptest.NewRequest(route.method, "http://127.0.0.1:9080"+route.path, strings.NewReader("sub=mallory"))
		r.Header.Set("Content-Type", form)
		i.handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	if got := out.String(); strings.Contains(got, "eyJ") || strings.Contains(got, "mallory") {
		t.Errorf("got a token or its subject in the log\n%s", got)
	}
}
