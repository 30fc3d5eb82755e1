package origin

import (
	"strings"
	"testing"
)

func TestParseReadsSchemeHostAndPort(t *testing.T) {
	for name, row := range map[string]struct{ text, scheme, host, port string }{
		"https":                 {"https://app.example.com", "https", "app.example.com", "443"},
		"http":                  {"http://app.example.com", "http", "app.example.com", "80"},
		"the default port":      {"https://app.example.com:443", "https", "app.example.com", "443"},
		"another port":          {"http://app.example.com:8080", "http", "app.example.com", "8080"},
		"http on 443":           {"http://app.example.com:443", "http", "app.example.com", "443"},
		"the last port":         {"https://app.example.com:65535", "https", "app.example.com", "65535"},
		"capital letters":       {"HTTPS://App.Example.COM", "https", "app.example.com", "443"},
		"one label":             {"http://localhost:3000", "http", "localhost", "3000"},
		"an underscore":         {"https://my_app.example.com", "https", "my_app.example.com", "443"},
		"an IPv4 address":       {"http://127.0.0.1:8080", "http", "127.0.0.1", "8080"},
		"an IPv6 address":       {"https://[2001:db8::1]", "https", "[2001:db8::1]", "443"},
		"IPv6 with a port":      {"http://[::1]:8080", "http", "[::1]", "8080"},
		"a browser's extension": {"chrome-extension://abcdefgh", "chrome-extension", "abcdefgh", ""},
		"punycode":              {"https://xn--bcher-kva.example", "https", "xn--bcher-kva.example", "443"},
	} {
		t.Run(name, func(t *testing.T) {
			want := Origin{scheme: row.scheme, host: row.host, port: row.port}
			if got, err := Parse(row.text); err != nil || got != want {
				t.Errorf("Parse(%q) = %+v, %v, want %+v", row.text, got, err, want)
			}
		})
	}
}

// notOrigins are neither origins nor patterns.
var notOrigins = map[string]string{
	"empty":                     "",
	"null":                      "null",
	"no scheme":                 "app.example.com",
	"an empty scheme":           "://app.example.com",
	"no host":                   "https://",
	"a port and no host":        "https://:443",
	"one slash":                 "https:/app.example.com",
	"a final slash":             "https://app.example.com/",
	"a path":                    "https://app.example.com/path",
	"a query":                   "https://app.example.com?q",
	"a fragment":                "https://app.example.com#f",
	"user information":          "https://user@app.example.com",
	"user and password":         "https://user:secret@app.example.com",
	"two origins":               "https://app.example.com https://other.example.com",
	"two with a comma":          "https://app.example.com,https://other.example.com",
	"space before":              " https://app.example.com",
	"space behind":              "https://app.example.com ",
	"a line break":              "https://app.example.com\n",
	"a NUL":                     "https://app.example.com\x00",
	"a backslash":               `https://app.example.com\.evil.com`,
	"an escape":                 "https://app%2eexample.com",
	"letters beyond ASCII":      "https://bücher.example",
	"a letter that folds to k":  "https://\u212aiosk.example",
	"a letter that folds to ks": "HTTP\u017f://app.example.com",
	"an empty port":             "https://app.example.com:",
	"a port over 65535":         "https://app.example.com:65536",
	"a negative port":           "https://app.example.com:-1",
	"a port with a sign":        "https://app.example.com:+443",
	"a port with a zero before": "https://app.example.com:0443",
	"a port of letters":         "https://app.example.com:https",
	"two ports":                 "https://app.example.com:443:443",
	"IPv6 without brackets":     "https://2001:db8::1",
	"brackets around a name":    "https://[app.example.com]",
	"brackets around IPv4":      "https://[127.0.0.1]",
	"an open bracket":           "https://[::1",
	"a closed bracket":          "https://::1]",
	"text behind brackets":      "https://[::1]evil.com",
	"an IPv6 zone":              "https://[fe80::1%25eth0]",
}

func TestParseRefusesWhatIsNoOrigin(t *testing.T) {
	for name, text := range notOrigins {
		t.Run(name, func(t *testing.T) {
			if o, err := Parse(text); err == nil {
				t.Errorf("Parse(%q) = %+v", text, o)
			}
			if o, err := ParsePattern(text); err == nil {
				t.Errorf("ParsePattern(%q) = %+v", text, o)
			}
		})
	}
}

func TestAPatternHasItsStarBeforeWholeLabels(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		good bool
	}{
		"no star":                   {"https://app.example.com", true},
		"a star":                    {"https://*.example.com", true},
		"a star and a port":         {"https://*.example.com:8443", true},
		"a star and capitals":       {"HTTPS://*.EXAMPLE.com", true},
		"an IPv4 address":           {"https://1.2.3.4", true},
		"an IPv6 address":           {"https://[::1]:8443", true},
		"a star before one label":   {"http://*.localhost", true},
		"the scheme of WebSockets":  {"wss://app.example.com", false},
		"the same without TLS":      {"WS://*.example.com:8080", false},
		"a scheme of an app":        {"capacitor://localhost", true},
		"a star alone":              {"*", false},
		"a star for every host":     {"https://*", false},
		"a star and a port alone":   {"https://*:8443", false},
		"a star and a dot":          {"https://*.", false},
		"two stars":                 {"https://*.*.example.com", false},
		"two stars side by side":    {"https://**.example.com", false},
		"a star inside":             {"https://app.*.example.com", false},
		"a star at the end":         {"https://app.example.*", false},
		"a star for part of one":    {"https://app*.example.com", false},
		"a star without a dot":      {"https://*example.com", false},
		"a star for a scheme":       {"*://app.example.com", false},
		"a star for a port":         {"https://app.example.com:*", false},
		"a star and two dots":       {"https://*..example.com", false},
		"a star before IPv4":        {"https://*.1.2.3.4", false},
		"a star before IPv6":        {"https://*.[::1]", false},
		"an empty label":            {"https://app..example.com", false},
		"a dot at the end":          {"https://app.example.com.", false},
		"a star, a dot at the end":  {"https://*.example.com.", false},
		"a star, a path":            {"https://*.example.com/", false},
		"a star, brackets, a colon": {"https://*.[::1]:443", false},
	} {
		t.Run(name, func(t *testing.T) {
			if o, err := ParsePattern(row.text); (err == nil) != row.good {
				t.Errorf("ParsePattern(%q) = %+v, %v", row.text, o, err)
			}
		})
	}
}

func TestAPatternMatchesWhatItStandsForAndNothingElse(t *testing.T) {
	for name, row := range map[string]struct {
		pattern, origin string
		want            bool
	}{
		"itself":                        {"https://app.example.com", "https://app.example.com", true},
		"in other letters":              {"https://APP.example.com", "HTTPS://app.EXAMPLE.com", true},
		"with the default port":         {"https://app.example.com", "https://app.example.com:443", true},
		"without the default port":      {"http://app.example.com:80", "http://app.example.com", true},
		"another port":                  {"https://app.example.com", "https://app.example.com:8443", false},
		"another scheme":                {"https://app.example.com", "http://app.example.com", false},
		"another scheme, the same port": {"https://app.example.com", "http://app.example.com:443", false},
		"a subdomain":                   {"https://example.com", "https://app.example.com", false},
		"a parent":                      {"https://app.example.com", "https://example.com", false},
		"a sibling":                     {"https://app.example.com", "https://www.example.com", false},
		"a suffix":                      {"https://example.com", "https://evilexample.com", false},
		"a longer domain":               {"https://example.com", "https://example.com.evil.com", false},
		"a dot at the end":              {"https://example.com", "https://example.com.", false},
		"star: one label":               {"https://*.example.com", "https://app.example.com", true},
		"star: two labels":              {"https://*.example.com", "https://a.b.example.com", true},
		"star: other letters":           {"https://*.Example.com", "https://App.example.COM", true},
		"star: no label":                {"https://*.example.com", "https://example.com", false},
		"star: an empty label":          {"https://*.example.com", "https://.example.com", false},
		"star: an empty label inside":   {"https://*.example.com", "https://a..example.com", false},
		"star: a suffix":                {"https://*.example.com", "https://evilexample.com", false},
		"star: a longer domain":         {"https://*.example.com", "https://app.example.com.evil.com", false},
		"star: another scheme":          {"https://*.example.com", "http://app.example.com", false},
		"star: another port":            {"https://*.example.com", "https://app.example.com:8443", false},
		"star: its port":                {"https://*.example.com:8443", "https://app.example.com:8443", true},
		"star: not its port":            {"https://*.example.com:8443", "https://app.example.com", false},
		"an IPv6 address":               {"https://[2001:db8::1]", "https://[2001:DB8::1]:443", true},
		"an extension":                  {"chrome-extension://abc", "chrome-extension://abc", true},
		"another extension":             {"chrome-extension://abc", "chrome-extension://abd", false},
	} {
		t.Run(name, func(t *testing.T) {
			pattern, err := ParsePattern(row.pattern)
			if err != nil {
				t.Fatal(err)
			}
			o, err := Parse(row.origin)
			if err != nil {
				t.Fatal(err)
			}
			if got := pattern.Matches(o); got != row.want {
				t.Errorf("%q matches %q: %t", row.pattern, row.origin, got)
			}
		})
	}
}

func TestAnOriginIsAtTheServerThatHasItsHostAndPort(t *testing.T) {
	for name, row := range map[string]struct {
		origin, host string
		overTLS      bool
		want         bool
	}{
		"https over TLS":                    {"https://example.com", "example.com", true, true},
		"http without TLS":                  {"http://example.com", "example.com", false, true},
		"https behind a proxy":              {"https://example.com", "example.com", false, true},
		"http over TLS":                     {"http://example.com", "example.com", true, false},
		"http over TLS, its port":           {"http://example.com:443", "example.com:443", true, false},
		"other letters":                     {"https://Example.com", "EXAMPLE.com", true, true},
		"the default port in Host":          {"https://example.com", "example.com:443", true, true},
		"the default port in Origin":        {"https://example.com:443", "example.com", true, true},
		"http's default port in Host":       {"http://example.com", "example.com:80", false, true},
		"a port":                            {"http://localhost:8080", "localhost:8080", false, true},
		"a port in Host only":               {"https://example.com", "example.com:8443", true, false},
		"a port in Origin only":             {"https://example.com:8443", "example.com", true, false},
		"another port":                      {"http://localhost:3000", "localhost:8080", false, false},
		"https, but http's port in Host":    {"https://example.com", "example.com:80", false, false},
		"a subdomain":                       {"https://app.example.com", "example.com", true, false},
		"a parent":                          {"https://example.com", "app.example.com", true, false},
		"a suffix":                          {"https://evilexample.com", "example.com", true, false},
		"a longer domain":                   {"https://example.com.evil.com", "example.com", true, false},
		"IPv6":                              {"http://[::1]", "[::1]", false, true},
		"IPv6 with a port":                  {"http://[::1]:8080", "[::1]:8080", false, true},
		"IPv6, the default port in Host":    {"https://[2001:db8::1]", "[2001:DB8::1]:443", true, true},
		"IPv6, another address":             {"https://[2001:db8::1]", "[2001:db8::2]", true, false},
		"an empty Host":                     {"https://example.com", "", true, false},
		"a Host that is only a port":        {"https://example.com", ":443", true, false},
		"a Host with an empty port":         {"https://example.com", "example.com:", true, false},
		"a Host with a port of letters":     {"https://example.com", "example.com:https", true, false},
		"a Host with a letter folding to k": {"https://kiosk.example", "\u212aiosk.example", true, false},
		"another scheme":                    {"wss://example.com", "example.com", true, false},
		"an extension":                      {"chrome-extension://example.com", "example.com", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Parse(row.origin)
			if err != nil {
				t.Fatal(err)
			}
			if got := o.IsAt(row.host, row.overTLS); got != row.want {
				t.Errorf("%q is at %q (TLS: %t): %t", row.origin, row.host, row.overTLS, got)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range notOrigins {
		f.Add(text)
	}
	f.Add("https://app.example.com")
	f.Add("https://*.example.com:8443")
	f.Add("http://[::1]:80")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(strings.ToUpper(text)); err != nil || again != o {
			t.Errorf("%q is %+v, and %+v (%v) in capitals", text, o, again, err)
		}
		if _, host, _ := strings.Cut(text, "://"); o.scheme == "https" && !o.IsAt(host, true) {
			t.Errorf("%q is not at its own host", text)
		}
		if p, err := ParsePattern(text); err == nil && !strings.Contains(text, "*") && !p.Matches(o) {
			t.Errorf("%q does not match itself", text)
		}
	})
}
