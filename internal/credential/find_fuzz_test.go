package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/internal/jose"
	"github.com/wsauth/wsauth/internal/refusal"
)

// seed calls add with each request of the table.
func seed(f *testing.F, add func(*http.Request)) {
	for _, name := range slices.Sorted(maps.Keys(findings)) {
		add(findings[name].read(f))
	}
}

func FuzzQueryToken(f *testing.F) {
	seed(f, func(r *http.Request) { f.Add(r.URL.RawQuery, "access_token") })
	for _, query := range []string{"%=x.y.z", "100%=x.y.z", "%%=x.y.z", "name0%=x.y.z", "name%zz=x.y.z", "%6=x.y.z"} {
		f.Add(query, "%") // an escape that is none does not stand for itself
		f.Add(query, "name")
	}
	f.Fuzz(func(t *testing.T, query, name string) {
		place := Place{Source: FromQuery, Name: name}
		if place.Fault() != "" {
			return
		}
		token, err := queryToken(query, name)
		values, parseErr := url.ParseQuery(query)
		if err != nil && token != "" {
			t.Errorf("a token %q beside the error %v", token, err)
		}
		if len(values[name]) > 1 && err == nil {
			t.Errorf("%q: the token %q of %q", query, token, values[name])
		}
		if token != "" && (len(values[name]) != 1 || values[name][0] != token) {
			t.Errorf("%q: the token %q, and url.ParseQuery has %q", query, token, values[name])
		}
		if parseErr == nil {
			has := len(values[name]) == 1 && values[name][0] != ""
			if has != (token != "") || !has && values.Has(name) && err == nil {
				t.Errorf("%q: the token %q, %v, and url.ParseQuery has %q", query, token, err, values[name])
			}
		}

		u := &url.URL{Path: "/", RawQuery: query}
		r := &http.Request{URL: u, RequestURI: "/?" + query, Form: maps.Clone(values)}
		Hide(r, []Place{place})
		values.Del(name)
		_, requestQuery, _ := strings.Cut(r.RequestURI, "?")
		inURI, _ := url.ParseQuery(requestQuery)
		for where, got := range map[string]url.Values{"URL": r.URL.Query(), "RequestURI": inURI, "Form": r.Form} {
			if got.Encode() != values.Encode() {
				t.Errorf("%q without %q: %s has %q, want %q", query, name, where, got, values)
			}
		}
		if token, err := queryToken(r.URL.RawQuery, name); token != "" || err != nil {
			t.Errorf("%q without %q: %q still has one: %q, %v", query, name, r.URL.RawQuery, token, err)
		}
	})
}

// Whatever is hidden from a request and shown again, the same token is found, or none for the same reason.
func FuzzWhatIsHiddenAndShownAgainIsFoundAsBefore(f *testing.F) {
	seed(f, func(r *http.Request) { f.Add(r.URL.RawQuery, strings.Join(r.Header[protocolHeader], "\n")) })
	f.Fuzz(func(t *testing.T, query, lines string) {
		r := finding{request: handshake}.read(t)
		r.URL.RawQuery, r.RequestURI = query, "/?"+query
		if lines != "" {
			r.Header[protocolHeader] = strings.Split(lines, "\n")
		}
		want, wantErr := Find(r, everywhere, Origins{}, false)
		hidden, ok := HiddenIn(r, everywhere)
		concealed := r.WithContext(t.Context())
		Hide(concealed, everywhere)
		if changed := concealed.URL.RawQuery != r.URL.RawQuery || !slices.Equal(concealed.Header[protocolHeader], r.Header[protocolHeader]); changed && !ok {
			t.Errorf("%q, %q: Hide changes the request, and HiddenIn finds nothing", query, lines)
		}
		shown := concealed.WithContext(t.Context())
		hidden.ShowIn(shown)
		got, err := Find(shown, everywhere, Origins{}, false)
		if got != want || kindOf(err) != kindOf(wantErr) {
			t.Errorf("%q, %q: got %v, %v, want %v, %v", query, lines, got, err, want, wantErr)
		}
	})
}

func FuzzCookie(f *testing.F) {
	seed(f, func(r *http.Request) {
		f.Add(strings.Join(r.Header["Cookie"], "\n"), "session") // a line for each header
	})
	f.Fuzz(func(t *testing.T, lines, name string) {
		if !isCookieHeader(lines) || (Place{Source: FromCookie, Name: name}).Fault() != "" {
			return
		}
		r := &http.Request{Header: http.Header{"Cookie": strings.Split(lines, "\n")}}
		token, err := cookie(r, name)
		known := r.CookiesNamed(name)
		if err != nil && token != "" {
			t.Errorf("a token %q beside the error %v", token, err)
		}
		if len(known) > 1 && err == nil {
			t.Errorf("%q: the token %q of %d cookies", lines, token, len(known))
		}
		if len(known) == 1 && err == nil && known[0].Value != token {
			t.Errorf("%q: the token %q, and net/http has %q", lines, token, known[0].Value)
		}
		// The cookies that net/http leaves out have a value that no token has.
		if len(known) == 0 && strings.IndexFunc(token, notInCookie) < 0 && token != "" {
			t.Errorf("%q: the token %q, and net/http has none", lines, token)
		}
	})
}

// isCookieHeader reports whether net/http would read the lines, and take them for headers.
func isCookieHeader(lines string) bool {
	return len(lines) <= 4096 && !strings.ContainsAny(lines, "\r\x00")
}

func notInCookie(c rune) bool { return c < ' ' || c >= 0x7f || strings.ContainsRune(`";\`, c) }

func FuzzCookiePieces(f *testing.F) {
	seed(f, func(r *http.Request) { f.Add(strings.Join(r.Header["Cookie"], "\n"), "auth") })
	f.Fuzz(func(t *testing.T, lines, name string) {
		if !isCookieHeader(lines) || (Place{Source: FromCookie, Name: name}).Fault() != "" {
			return
		}
		r := &http.Request{Header: http.Header{"Cookie": strings.Split(lines, "\n")}}
		got, err := joinedCookie(r, name)
		want, wantErr := naivelyJoined(lines, name)
		if got != want || (err != nil) != wantErr {
			t.Errorf("%q: got %q, %v, want %q, an error: %t", lines, got, err, want, wantErr)
		}
		if whole, wholeErr := cookie(r, name); err == nil && wholeErr == nil && whole != "" && whole != got {
			t.Errorf("%q: got %q, and the cookie is %q", lines, got, whole)
		}
	})
}

// naivelyJoined puts a cookie together from a map of all cookies.
func naivelyJoined(lines, name string) (value string, refused bool) {
	values := map[string][]string{}
	for part := range strings.SplitSeq(strings.ReplaceAll(lines, "\n", ";"), ";") {
		key, v, _ := strings.Cut(strings.Trim(part, " \t\n\r"), "=")
		if len(v) > 1 && strings.HasPrefix(v, `"`) && strings.HasSuffix(v, `"`) {
			v = v[1 : len(v)-1]
		}
		key = strings.Trim(key, " \t\n\r")
		values[key] = append(values[key], v)
	}
	number := regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `\.(0|[1-9][0-9]*)$`)
	pieces := 0
	for key := range values {
		if number.MatchString(key) {
			pieces += len(values[key])
		}
	}
	if pieces == 0 {
		if len(values[name]) != 1 {
			return "", len(values[name]) > 1
		}
		return values[name][0], false
	}
	if pieces > maxPieces || len(values[name]) > 0 {
		return "", true
	}
	for i := range pieces {
		piece := values[fmt.Sprintf("%s.%d", name, i)]
		if len(piece) != 1 {
			return "", true
		}
		value += piece[0]
	}
	return value, false
}

var (
	goodBearer = regexp.MustCompile(`^[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/=-]+)$`)
	anyBearer  = regexp.MustCompile(`^[Bb][Ee][Aa][Rr][Ee][Rr]([^A-Za-z0-9!#$%&'*+.^_|~` + "`" + `-]|$)`)
)

func FuzzBearer(f *testing.F) {
	seed(f, func(r *http.Request) {
		v := append(slices.Clone(r.Header["Authorization"]), "", "")
		f.Add(v[0], v[1], len(r.Header["Authorization"]) > 1)
	})
	f.Fuzz(func(t *testing.T, value, second string, repeated bool) {
		values := []string{value}
		if repeated {
			values = append(values, second)
		}
		token, err := ofScheme("Bearer", values)
		if err == nil && token != "" { // whether it is a b64token is found out of a token that is refused
			err = Credential{token, FromHeader}.Judge(refusal.New(refusal.ErrInvalidToken, jose.ErrForm))
			if errors.Is(err, refusal.ErrInvalidToken) {
				err = nil
			} else {
				token = ""
			}
		}
		match := goodBearer.FindStringSubmatch(value)
		switch {
		case repeated:
			if token != "" || err == nil {
				t.Errorf("two headers, and the token %q, %v", token, err)
			}
		case match != nil:
			if token != match[1] || err != nil {
				t.Errorf("%q: the token %q, %v", value, token, err)
			}
		case anyBearer.MatchString(value):
			if token != "" || err == nil {
				t.Errorf("%q is malformed: the token %q, %v", value, token, err)
			}
		default:
			if token != "" || err != nil {
				t.Errorf("%q is of another scheme: the token %q, %v", value, token, err)
			}
		}
	})
}

func FuzzProxied(f *testing.F) {
	seed(f, func(r *http.Request) {
		for _, name := range []string{authorization, "Cf-Access-Jwt-Assertion"} {
			v := append(slices.Clone(r.Header[name]), "", "")
			f.Add(v[0], v[1], len(r.Header[name]) > 1, name == authorization)
		}
	})
	f.Fuzz(func(t *testing.T, value, second string, repeated, isAuthorization bool) {
		values, name := []string{value}, "X-Token"
		if repeated {
			values = append(values, second)
		}
		if isAuthorization {
			name = authorization
		}
		token, err := proxied(values, name)
		inBearer, bearerErr := ofScheme("Bearer", values)
		switch {
		case repeated:
			if token != "" || err == nil {
				t.Errorf("got %q, %v of two headers, want an error", token, err)
			}
		case isAuthorization || anyBearer.MatchString(value):
			if token != inBearer || (err == nil) != (bearerErr == nil) {
				t.Errorf("%q: got %q, %v, want %q, %v as from the client", value, token, err, inBearer, bearerErr)
			}
		default:
			if token != value || err != nil {
				t.Errorf("%q: got %q, %v, want all of it", value, token, err)
			}
		}
	})
}

// entriesOf are the entries of a list header, one line for each.
func entriesOf(values []string) []string {
	var entries []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" {
				entries = append(entries, e)
			}
		}
	}
	return entries
}

// isEither reports whether a token is what an entry has, as it stands or in base64url.
func isEither(token, entry string) bool {
	return token == entry || base64.RawURLEncoding.EncodeToString([]byte(token)) == entry
}

func FuzzSubprotocol(f *testing.F) {
	seed(f, func(r *http.Request) {
		f.Add(strings.Join(r.Header[protocolHeader], "\n"), "bearer.") // a line for each header
	})
	f.Fuzz(func(t *testing.T, lines, prefix string) {
		place := Place{Source: FromSubprotocol, Name: prefix}
		if strings.Contains(lines, "\r") || place.Fault() != "" || place.isPair() {
			return // net/http refuses the CR in a header, and base64 skips it
		}
		values := strings.Split(lines, "\n")
		token, err := subprotocolToken(values, place)
		var tokens, others []string
		for _, e := range entriesOf(values) {
			if rest, ok := strings.CutPrefix(e, prefix); ok {
				tokens = append(tokens, rest)
			} else {
				others = append(others, e)
			}
		}
		if err != nil && token != "" {
			t.Errorf("a token %q beside the error %v", token, err)
		}
		if len(tokens) != 1 && token != "" {
			t.Errorf("%q: the token %q of %q", lines, token, tokens)
		}
		if len(tokens) > 1 != (err == errTwice) {
			t.Errorf("%q has %d tokens: %v", lines, len(tokens), err)
		}
		if token != "" && !isEither(token, tokens[0]) {
			t.Errorf("%q: the token %q of %q", lines, token, tokens[0])
		}
		if len(tokens) == 1 && token == "" && err == nil {
			t.Errorf("%q: no token, and no error", lines)
		}
		wantHidden(t, values, place, others, len(tokens) > 0)
	})
}

func FuzzPair(f *testing.F) {
	seed(f, func(r *http.Request) {
		f.Add(strings.Join(r.Header[protocolHeader], "\n"), "access_token")
	})
	f.Fuzz(func(t *testing.T, lines, first string) {
		place := Place{Source: FromSubprotocol, Name: first}
		if strings.Contains(lines, "\r") || place.Fault() != "" || !place.isPair() {
			return
		}
		values := strings.Split(lines, "\n")
		token, err := subprotocolToken(values, place)
		entries := entriesOf(values)
		var tokens, others []string
		firsts := 0
		for i, e := range entries {
			switch {
			case i > 0 && entries[i-1] == first:
				tokens = append(tokens, e)
			case e != first:
				others = append(others, e)
			}
			if e == first {
				firsts++
			}
		}
		if firsts > 0 {
			others = append(others, first)
		}
		switch {
		case err != nil && token != "":
			t.Errorf("got the token %q beside the error %v", token, err)
		case firsts == 0 && (token != "" || err != nil):
			t.Errorf("%q: got %q, %v, want nothing", lines, token, err)
		case firsts > 1 && err != errTwice:
			t.Errorf("%q: got %q, %v, want %v", lines, token, err, errTwice)
		case firsts == 1 && len(tokens) == 0 && err != errMalformed:
			t.Errorf("%q: got %q, %v, want %v", lines, token, err, errMalformed)
		case firsts == 1 && len(tokens) == 1 && err == nil && !isEither(token, tokens[0]):
			t.Errorf("%q: got %q, want what is in %q", lines, token, tokens[0])
		case firsts == 1 && len(tokens) == 1 && err != nil && strings.Contains(tokens[0], "."):
			t.Errorf("%q: got %v, want the token %q", lines, err, tokens[0])
		}
		if len(tokens) == 0 {
			others = entries // nothing is taken out, so nothing moves
		}
		wantHidden(t, values, place, others, len(tokens) > 0)
	})
}

// wantHidden hides the token of a place, and checks which entries are left.
func wantHidden(t *testing.T, values []string, place Place, want []string, hides bool) {
	t.Helper()
	before := slices.Clone(values)
	r := &http.Request{Header: http.Header{protocolHeader: values}, URL: new(url.URL)}
	for range 2 { // once more must find nothing
		Hide(r, []Place{place})
		left, there := r.Header[protocolHeader]
		if entries := entriesOf(left); !slices.Equal(entries, want) {
			t.Errorf("%q without %q: got %q, want %q", before, place.Name, entries, want)
		}
		if hides && there != (len(want) > 0) {
			t.Errorf("%q without %q: got a header: %t, with %d entries", before, place.Name, there, len(want))
		}
	}
	if !slices.Equal(values, before) {
		t.Errorf("got %q in the request outside, want %q", values, before)
	}
}
