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
		"a file":                {"file://", "file", "", ""},
		"a file, in capitals":   {"FILE://", "file", "", ""},
		"a file of a host":      {"file://localhost", "file", "localhost", ""},
		"an Electron app":       {"app://.", "app", ".", ""},
		"another Electron app":  {"app://-", "app", "-", ""},
		"an app with a name":    {"app://obsidian.md", "app", "obsidian.md", ""},
		"a Capacitor app":       {"capacitor://localhost", "capacitor", "localhost", ""},
		"an app with a port":    {"app://localhost:3000", "app", "localhost", "3000"},
		"a Tauri app":           {"tauri://localhost", "tauri", "localhost", ""},
		"an app's scheme":       {"com.example.app://", "com.example.app", "", ""},
		"a Windows app": {"ms-appx-web://E8B5A9E0-1D5A-4D3C-B1AC-0F29A0A1D1B7", "ms-appx-web",
			"e8b5a9e0-1d5a-4d3c-b1ac-0f29a0a1d1b7", ""},
		"Firefox's extension": {"moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc", "moz-extension",
			"2c127fa4-62c7-7e4f-90e5-472b45eecfdc", ""},
		"Safari's extension": {"safari-web-extension://2C127FA4-62C7-7E4F-90E5-472B45EECFDC", "safari-web-extension",
			"2c127fa4-62c7-7e4f-90e5-472b45eecfdc", ""},
		"an editor's page":  {"vscode-webview://0r1l5o3q", "vscode-webview", "0r1l5o3q", ""},
		"wss is https":      {"wss://example.com", "https", "example.com", "443"},
		"wss with its port": {"wss://example.com:443", "https", "example.com", "443"},
		"wss with a port":   {"WSS://example.com:8443", "https", "example.com", "8443"},
		"ws is http":        {"ws://localhost", "http", "localhost", "80"},
		"ws with a port":    {"ws://localhost:8080", "http", "localhost", "8080"},
		"punycode":          {"https://xn--bcher-kva.example", "https", "xn--bcher-kva.example", "443"},
	} {
		t.Run(name, func(t *testing.T) {
			client := strings.HasPrefix(lower(row.text), "ws")
			want := Origin{scheme: row.scheme, host: row.host, port: row.port, ofClient: client}
			if got, err := Parse(row.text); err != nil || got != want {
				t.Errorf("Parse(%q) = %+v, %v, want %+v", row.text, got, err, want)
			} else if got.IsPage() == client {
				t.Errorf("%q is the origin of a page: %t", row.text, got.IsPage())
			}
		})
	}
}

// notOrigins are neither origins nor patterns.
var notOrigins = map[string]string{
	"empty":                       "",
	"null":                        "null",
	"no scheme":                   "app.example.com",
	"an empty scheme":             "://app.example.com",
	"no host":                     "https://",
	"a port and no host":          "https://:443",
	"no host for wss":             "wss://",
	"a scheme and a colon":        "app:",
	"a port of an app alone":      "app://:8080",
	"a path of a file":            "file:///",
	"a path of an app":            "app://./index.html",
	"a path of wss":               "wss://app.example.com/ws",
	"null with a scheme":          "https:null",
	"null in capitals":            "NULL",
	"null and an origin":          "null https://app.example.com",
	"a scheme with a digit first": "1app://localhost",
	"a scheme with a star":        "*://app.example.com",
	"a scheme with a colon":       "a:b://app.example.com",
	"a scheme with brackets":      "[a]://app.example.com",
	"a scheme with an underscore": "my_app://localhost",
	"a scheme with a space":       "ht tp://app.example.com",
	"one slash":                   "https:/app.example.com",
	"a final slash":               "https://app.example.com/",
	"a path":                      "https://app.example.com/path",
	"a query":                     "https://app.example.com?q",
	"a fragment":                  "https://app.example.com#f",
	"user information":            "https://user@app.example.com",
	"user and password":           "https://user:secret@app.example.com",
	"two origins":                 "https://app.example.com https://other.example.com",
	"two with a comma":            "https://app.example.com,https://other.example.com",
	"space before":                " https://app.example.com",
	"space behind":                "https://app.example.com ",
	"a line break":                "https://app.example.com\n",
	"a NUL":                       "https://app.example.com\x00",
	"a backslash":                 `https://app.example.com\.evil.com`,
	"an escape":                   "https://app%2eexample.com",
	"letters beyond ASCII":        "https://bücher.example",
	"a letter that folds to k":    "https://\u212aiosk.example",
	"a letter that folds to ks":   "HTTP\u017f://app.example.com",
	"an empty port":               "https://app.example.com:",
	"a port over 65535":           "https://app.example.com:65536",
	"a negative port":             "https://app.example.com:-1",
	"a port with a sign":          "https://app.example.com:+443",
	"a port with a zero before":   "https://app.example.com:0443",
	"a port of letters":           "https://app.example.com:https",
	"two ports":                   "https://app.example.com:443:443",
	"IPv6 without brackets":       "https://2001:db8::1",
	"brackets around a name":      "https://[app.example.com]",
	"brackets around IPv4":        "https://[127.0.0.1]",
	"an open bracket":             "https://[::1",
	"a closed bracket":            "https://::1]",
	"text behind brackets":        "https://[::1]evil.com",
	"an IPv6 zone":                "https://[fe80::1%25eth0]",
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
		"a star for every host":     {"https://*", true},
		"a star and a port alone":   {"https://*:8443", true},
		"a star for host and port":  {"http://*:*", true},
		"a star for each extension": {"moz-extension://*", true},
		"a star for an app's host":  {"app://*", true},
		"any port of a host":        {"http://localhost:*", true},
		"any port of subdomains":    {"https://*.example.com:*", true},
		"any port of an address":    {"http://[::1]:*", true},
		"a file":                    {"file://", true},
		"an Electron app":           {"app://.", true},
		"an app's dot and more":     {"app://a.", false},
		"two dots of an app":        {"app://..", false},
		"WebSockets of any host":    {"wss://*", false},
		"a port with a star in it":  {"http://localhost:80*", false},
		"two stars for a port":      {"http://localhost:**", false},
		"null":                      {"null", false},
		"a star and a dot":          {"https://*.", false},
		"two stars":                 {"https://*.*.example.com", false},
		"two stars side by side":    {"https://**.example.com", false},
		"a star inside":             {"https://app.*.example.com", false},
		"a star at the end":         {"https://app.example.*", false},
		"a star for part of one":    {"https://app*.example.com", false},
		"a star without a dot":      {"https://*example.com", false},
		"a star for a scheme":       {"*://app.example.com", false},
		"a star for a port":         {"https://app.example.com:*", true},
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
		"any extension":                 {"moz-extension://*", "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc", true},
		"any extension, another kind":   {"moz-extension://*", "chrome-extension://abcdefgh", false},
		"any extension, a page":         {"moz-extension://*", "https://evil.com", false},
		"any page":                      {"https://*", "https://anything.example", true},
		"any page, an address":          {"https://*", "https://[2001:db8::1]", true},
		"any page, another scheme":      {"https://*", "http://anything.example", false},
		"any page, another port":        {"https://*", "https://anything.example:8443", false},
		"any page with its port":        {"https://*:8443", "https://anything.example:8443", true},
		"any page and port":             {"https://*:*", "https://anything.example:8443", true},
		"any port":                      {"http://localhost:*", "http://localhost:51234", true},
		"any port, the default":         {"http://localhost:*", "http://localhost", true},
		"any port, another host":        {"http://localhost:*", "http://127.0.0.1:51234", false},
		"any port, a longer host":       {"http://localhost:*", "http://localhost.evil.com:51234", false},
		"any port, another scheme":      {"http://localhost:*", "https://localhost:51234", false},
		"any port of subdomains":        {"https://*.example.com:*", "https://a.example.com:8443", true},
		"any port, the domain itself":   {"https://*.example.com:*", "https://example.com:8443", false},
		"a file":                        {"file://", "file://", true},
		"a file, an app":                {"file://", "app://.", false},
		"a file, a host":                {"file://", "file://localhost", false},
		"an Electron app":               {"app://.", "app://.", true},
		"an Electron app, another":      {"app://.", "app://-", false},
		"any app":                       {"app://*", "app://.", true},
		"a page, by wss":                {"https://app.example.com", "wss://app.example.com", true},
		"a page, by ws":                 {"https://app.example.com", "ws://app.example.com", false},
		"a page of http, by ws":         {"http://app.example.com", "ws://app.example.com", true},
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
				t.Errorf("%q matches %q: got %t, want %t", row.pattern, row.origin, got, row.want)
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
		"another scheme":                    {"ftp://example.com", "example.com", true, false},
		"wss over TLS":                      {"wss://example.com", "example.com", true, true},
		"wss behind a proxy":                {"wss://example.com", "example.com", false, true},
		"wss with the default port":         {"wss://example.com:443", "example.com", true, true},
		"wss with another port":             {"wss://example.com:8443", "example.com", true, false},
		"wss of another host":               {"wss://evil.com", "example.com", true, false},
		"wss of a longer host":              {"wss://example.com.evil.com", "example.com", true, false},
		"ws without TLS":                    {"ws://localhost:8080", "localhost:8080", false, true},
		"ws over TLS":                       {"ws://example.com", "example.com", true, false},
		"ws over TLS, its port":             {"ws://example.com:443", "example.com:443", true, false},
		"a file":                            {"file://", "", false, false},
		"an app":                            {"app://example.com", "example.com", false, false},
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

// A header that is a pattern is not an origin: a star in it would stand only for itself, and must not match more.
func TestAnOriginHasNoStar(t *testing.T) {
	for _, text := range []string{"https://*", "https://*.example.com", "http://localhost:*", "moz-extension://*",
		"app://*",
		"https://a*.example.com"} {
		if o, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %+v", text, o)
		}
	}
}

func TestAPatternIsOpenWhereAnybodyCanHaveWhatItMatches(t *testing.T) {
	for pattern, open := range map[string]bool{
		"https://*":               true,
		"http://*:3000":           true,
		"moz-extension://*":       true,
		"chrome-extension://*":    true,
		"app://*":                 true,
		"http://localhost:*":      true,
		"https://example.com:*":   true,
		"https://*.example.com:*": true,
		"file://":                 true,
		"file://localhost":        true,
		"app://.":                 true,
		"capacitor://localhost":   true,
		"vscode-webview://0r1l5o": true,
		"content://":              true,

		"https://*.com":                         true,
		"https://*.dev":                         true,
		"http://*.localhost":                    true,
		"https://*.co.uk":                       true,
		"https://*.com.au":                      true,
		"https://*.ne.jp":                       true,
		"https://*.CO.UK:8443":                  true,
		"https://*.github.io":                   true,
		"https://*.gitlab.io":                   true,
		"https://*.herokuapp.com":               true,
		"https://*.vercel.app":                  true,
		"https://*.Netlify.app":                 true,
		"https://*.pages.dev":                   true,
		"https://*.workers.dev":                 true,
		"https://*.web.app":                     true,
		"https://*.firebaseapp.com":             true,
		"https://*.azurewebsites.net":           true,
		"https://*.eastus-01.azurewebsites.net": true,
		"https://*.cloudfront.net":              true,
		"https://*.amazonaws.com":               true,
		"https://*.s3.amazonaws.com":            true,
		"https://*.s3.eu-west-1.amazonaws.com":  true,
		"https://*.elb.us-east-1.amazonaws.com": true,
		"https://*.ngrok.io":                    true,
		"https://*.eu.ngrok.io":                 true,
		"https://*.ngrok-free.app":              true,
		"https://*.a.run.app":                   true,
		"https://*.blob.core.windows.net":       true,
		"https://*.app.github.dev":              true,
		"https://*.up.railway.app":              true,
		"http://*.herokuapp.com":                true,
		"https://*.herokuapp.com:8443":          true,

		"https://app.example.com":                              false,
		"http://localhost:3000":                                false,
		"https://localhost":                                    false,
		"https://me.github.io":                                 false,
		"https://app.herokuapp.com":                            false,
		"https://bucket.s3.amazonaws.com":                      false,
		"https://*.example.com":                                false,
		"https://*.example.com:8443":                           false,
		"https://*.app.example.com":                            false,
		"https://*.example.co.uk":                              false,
		"https://*.me.github.io":                               false,
		"https://*.project.pages.dev":                          false,
		"https://*.mygithub.io":                                false,
		"https://*.vercel.app.example":                         false,
		"https://*.co.example":                                 false,
		"https://*.example.de":                                 false,
		"chrome-extension://abcdefgh":                          false,
		"moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc": false,
	} {
		t.Run(pattern, func(t *testing.T) {
			p, err := ParsePattern(pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.IsOpen(); got != open {
				t.Errorf("got %t, want %t", got, open)
			}
		})
	}
}

// A pattern that is not open matches itself, or what is below a name of somebody.
func FuzzMatches(f *testing.F) {
	for _, pattern := range []string{"https://app.example.com", "https://*.example.com:8443", "https://*.github.io",
		"http://*",
		"http://localhost:*", "file://", "app://.", "moz-extension://*", "chrome-extension://abc", "null", "*"} {
		for _, text := range []string{"https://app.example.com", "https://a.example.com:8443", "https://evil.com", "file://",
			"http://localhost:51234", "app://.", "moz-extension://abc", "chrome-extension://abc", "wss://app.example.com",
			"null"} {
			f.Add(pattern, text)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		o, err := Parse(text)
		if err != nil || !p.Matches(o) {
			return
		}
		scheme, rest, _ := strings.Cut(lower(pattern), "://")
		if scheme != o.scheme || lower(text) == "null" {
			t.Fatalf("%q matches %q", pattern, text)
		}
		if p.IsOpen() {
			return
		}
		exact, err := Parse(pattern)
		exact.ofClient = o.ofClient // wss is https
		if below, ok := strings.CutPrefix(rest, "*."); ok {
			host, _, _ := splitPort(below)
			if !strings.HasSuffix(o.host, "."+host) || !strings.Contains(host, ".") {
				t.Fatalf("%q matches %q, and is not open", pattern, text)
			}
		} else if err != nil || exact != o {
			t.Fatalf("%q matches %q, and is neither open nor the same", pattern, text)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range notOrigins {
		f.Add(text)
	}
	f.Add("https://app.example.com")
	f.Add("https://*.example.com:8443")
	f.Add("http://[::1]:80")
	for _, text := range []string{"file://", "app://.", "wss://example.com", "moz-extension://*", "http://localhost:*"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := Parse(text)
		if err != nil {
			return
		}
		if strings.Contains(o.scheme+o.host+o.port, "*") || isWeb(o.scheme) && o.host == "" {
			t.Errorf("%q is read as %+v", text, o)
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
