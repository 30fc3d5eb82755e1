package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// A process is an issuer that runs as main runs it.
type process struct {
	url   string
	addr  string
	stdin io.Writer
	lines <-chan string // of stdout, beyond the welcome
	hello string        // the welcome
}

// start runs an issuer on a free port until the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	keys, stdin := io.Pipe()
	read, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), keys, stdout, io.Discard)
		stdout.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		stdin.Close()
		if err := <-ended; err != nil {
			t.Errorf("run: got %v, want nil", err)
		}
	})
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for out := bufio.NewScanner(read); out.Scan(); {
			lines <- out.Text()
		}
	}()
	p := &process{stdin: stdin, lines: lines}
	for line := range lines {
		p.hello += line + "\n"
		if strings.HasPrefix(line, "curl -X POST ") { // the last one
			break
		}
	}
	p.url = after(t, p.hello, "Issuer and page: ")
	p.addr = strings.TrimPrefix(p.url, "http://")
	return p
}

// after is the rest of the line that begins with a text.
func after(t *testing.T, text, begins string) string {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, begins); ok {
			return rest
		}
	}
	t.Fatalf("no line begins with %q in\n%s", begins, text)
	return ""
}

// printed returns an Authenticator with the options that the issuer has printed, read as Go.
func (p *process) printed(t *testing.T) *wsauth.Authenticator {
	t.Helper()
	_, text, _ := strings.Cut(p.hello, "\n\nwsauth.Options{")
	text, _, _ = strings.Cut(text, "\n}\n")
	expr, err := parser.ParseExpr("wsauth.Options{" + text + "\n}")
	if err != nil {
		t.Fatalf("%v in\n%s", err, p.hello)
	}
	issuer := wsauth.Issuer{Keys: wsauth.JWKS{}}
	ast.Inspect(expr, func(n ast.Node) bool {
		field, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		switch field.Key.(*ast.Ident).Name {
		case "Name":
			issuer.Name = literals(t, field.Value)[0]
		case "Audience":
			issuer.Audience = literals(t, field.Value)
		case "AnyAudience":
			issuer.AnyAudience = true
		}
		return true
	})
	auth, err := wsauth.New(wsauth.Options{Issuers: []wsauth.Issuer{issuer}})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

func literals(t *testing.T, in ast.Expr) (values []string) {
	t.Helper()
	ast.Inspect(in, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}

// post sends a body to the issuer, and returns the status and what comes back.
func post(t *testing.T, url, contentType, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const form = "application/x-www-form-urlencoded"

// tokenOf posts a body, and returns the token in the response.
func tokenOf(t *testing.T, url, contentType, body string) string {
	t.Helper()
	status, text := post(t, url, contentType, body)
	var answer tokenResponse
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v, body %s", status, err, text)
	}
	return answer.Token
}

// subcommand returns what "wsauth-dev token" prints.
func (p *process) subcommand(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	args = append([]string{"token", "-addr", p.addr}, args...)
	if err := run(t.Context(), args, nil, &out, &errs); err != nil || errs.Len() > 0 {
		t.Fatalf("%v, %s", err, errs.String())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func TestAServerWithThePrintedOptionsAcceptsItsTokens(t *testing.T) {
	p := start(t, "-aud", "chat mail", "-scope", "read", "-claim", `team="blue"`)
	auth := p.printed(t)
	_, hello, _ := strings.Cut(p.hello, "A token:\n\n")
	hello, _, _ = strings.Cut(hello, "\n")
	fields := url.Values{
		"sub": {"bob"}, "scope": {"chat write"}, "aud": {"mail"}, "ttl": {"5m"}, "claim": {`roles=["admin"]`, "team=null"},
	}
	onPage := maps.Clone(fields)
	onPage["claim"] = []string{"roles=[\"admin\"]\r\n\r\nteam=null\r\n"}
	const object = `{"sub":"bob","scope":"chat write","aud":"mail","ttl":"5m","roles":["admin"],"team":null}`
	usual := "alice read chat,mail 1h0m0s [] blue"
	asked := "bob chat write mail 5m0s [admin] "
	for _, row := range []struct {
		name, want string
		token      func() string
	}{
		{"the printed one", usual, func() string { return hello }},
		{"an empty POST", usual, func() string { return tokenOf(t, p.url+"/token", "", "") }},
		{"a form", asked, func() string { return tokenOf(t, p.url+"/token", form, fields.Encode()) }},
		{"JSON", asked, func() string { return tokenOf(t, p.url+"/token", "application/json", object) }},
		{"the subcommand without flags", usual, func() string { return p.subcommand(t) }},
		{"the subcommand", asked, func() string {
			return p.subcommand(t, "-sub", "bob", "-scope", "chat write", "-aud", "mail", "-ttl", "5m",
				"-claim", `roles=["admin"]`, "-claim", "team=null")
		}},
		{"the page", asked, func() string {
			_, body := post(t, p.url, form, onPage.Encode())
			_, token, _ := strings.Cut(body, `readonly>`)
			token, _, _ = strings.Cut(token, "<")
			return token
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			claims, err := auth.Verify(t.Context(), row.token())
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(t, claims); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// summary is what a token says, without what differs from one to the next.
func summary(t *testing.T, c *wsauth.Claims) string {
	t.Helper()
	var own struct {
		Roles []string `json:"roles"`
		Team  string   `json:"team"`
	}
	if err := c.Decode(&own); err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{
		c.Subject, c.Scope, strings.Join(c.Audience, ","), c.Expiry.Sub(c.IssuedAt).String(),
		"[" + strings.Join(own.Roles, " ") + "]", own.Team,
	}, " ")
}

func TestAWebSocketOpensWithItsToken(t *testing.T) {
	p := start(t)
	hello := func(ctx context.Context, conn *websocket.Conn) {
		claims, _ := wsauth.ClaimsFromContext(ctx)
		conn.Write(ctx, websocket.MessageText, []byte("hello "+claims.Subject))
	}
	server := wsauthtest.Serve(t, p.printed(t).Upgrade(hello, nil))
	conn := wsauthtest.Dial(t, server, wsauthtest.Header(p.subcommand(t, "-sub", "bob")))
	if _, got, err := conn.Read(t.Context()); string(got) != "hello bob" {
		t.Errorf("got %q, %v, want hello bob", got, err)
	}
	expired := wsauthtest.Header(p.subcommand(t, "-ttl", "-1m"))
	refused := wsauthtest.ExpectRefused(t, server, 401, expired)
	if got := refused.Header.Get("WWW-Authenticate"); !strings.Contains(got, "expired") {
		t.Errorf("got the challenge %q, want one that says expired", got)
	}
}

func TestEveryAlgorithmIsAccepted(t *testing.T) {
	for _, alg := range []string{"RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			p := start(t, "-alg", alg, "-claim", "aud=null")
			if _, err := p.printed(t).Verify(t.Context(), p.subcommand(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARotationIsSeenByARunningServer(t *testing.T) {
	for name, rotate := range map[string]func(*testing.T, *process){
		"Enter": func(_ *testing.T, p *process) { io.WriteString(p.stdin, "\n") },
		"POST":  func(t *testing.T, p *process) { post(t, p.url+"/rotate", "", "") },
		"page":  func(t *testing.T, p *process) { post(t, p.url, form, "rotate=1") },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			auth, before := p.printed(t), p.subcommand(t)
			verify(t, auth, before)
			rotate(t, p)
			kid, _, ok := strings.Cut(strings.TrimPrefix(<-p.lines, "Key "), " ")
			after := p.subcommand(t)
			if got := keyID(t, after); got != kid || !ok || got == keyID(t, before) {
				t.Errorf("got a token of the key %q, want the new key %q", got, kid)
			}
			verify(t, auth, after)
			verify(t, auth, before)
		})
	}
}

func TestThePackageCommentShowsThePrintedOptions(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	want := "//\t" + strings.ReplaceAll(quiet("http://"+usualAddr).options(), "\n", "\n//\t") + "\n"
	if !strings.Contains(string(source), want) {
		t.Errorf("the package comment does not have\n%s", want)
	}
}

func TestARestartIsSeenByARunningServer(t *testing.T) {
	var now http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.ServeHTTP(w, r) }))
	defer srv.Close()
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{Name: srv.URL, AnyAudience: true, Keys: wsauth.JWKS{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		i := quiet(srv.URL)
		now = i.handler()
		verify(t, auth, i.mint(tokenSpec{}).Token)
	}
}

func verify(t *testing.T, auth *wsauth.Authenticator, token string) {
	t.Helper()
	if _, err := auth.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func keyID(t *testing.T, token string) string {
	t.Helper()
	var header struct {
		KeyID string `json:"kid"`
	}
	segment, _, _ := strings.Cut(token, ".")
	decode(t, segment, &header)
	return header.KeyID
}

func TestTwoKeysArePublishedAfterManyRotations(t *testing.T) {
	i := quiet("http://127.0.0.1:9080")
	var want []string
	for range 5 {
		want = append([]string{i.rotate()}, want...)
	}
	w := httptest.NewRecorder()
	i.handler().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:9080/jwks.json", nil))
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, key := range set.Keys {
		got = append(got, key["kid"])
		if key["d"] != "" {
			t.Error("the private key is published")
		}
	}
	if !slices.Equal(got, want[:2]) {
		t.Errorf("got the keys %q, want %q", got, want[:2])
	}
}

func TestListeningBeyondLoopbackIsRefused(t *testing.T) {
	for _, addr := range []string{
		"", ":9080", "9080", "127.0.0.1", "127.0.0.1:", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0",
		"example.com:0", "localhost.example.com:0", "127.0.0.1.example.com:0", "[::1%lo]:0", "0x7f000001:0", "2130706433:0",
	} {
		t.Run(addr, func(t *testing.T) {
			for _, args := range [][]string{{"-addr", addr}, {"token", "-addr", addr}} {
				err := run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard)
				if err == nil || !strings.HasPrefix(err.Error(), "-addr ") {
					t.Errorf("%q: got %v, want an error that begins with -addr", args, err)
				}
			}
		})
	}
}

func TestListeningOnLoopbackIsAccepted(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "localhost:0", "LocalHost:0"} {
		listener, err := listen(addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		listener.Close()
		if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
			t.Errorf("%s: got %v, want loopback", addr, ip)
		}
	}
}

func TestWrongFlagsAreClearErrors(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"an unknown flag", []string{"-subject", "bob"}, "-subject"},
		{"a subcommand that does not exist", []string{"tokens"}, `"tokens"`},
		{"a subcommand in the wrong place", []string{"-aud", "chat", "token"}, "comes first"},
		{"an algorithm with a secret", []string{"-alg", "HS256"}, "ES256"},
		{"a lifetime without a unit", []string{"-ttl", "300"}, "5m"},
		{"a lifetime of nothing", []string{"token", "-ttl", "0s"}, "whole seconds"},
		{"a lifetime in milliseconds", []string{"token", "-ttl", "1500ms"}, "whole seconds"},
		{"a claim without a value", []string{"token", "-claim", "roles"}, "name=JSON"},
		{"a claim without a name", []string{"token", "-claim", "=1"}, "name=JSON"},
		{"a claim that is no JSON", []string{"token", "-claim", "role=admin"}, `role="…"`},
		{"a claim that is named ttl", []string{"token", "-claim", "ttl=1"}, "a field of its own"},
		{"an audience of spaces", []string{"token", "-aud", " "}, "want an audience"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), row.args, strings.NewReader(""), &out, &out)
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, row.want)
			}
			if out.Len() > 0 {
				t.Errorf("got the output %q, want none beside the error", out.String())
			}
		})
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"token", "-h"}} {
		var out, errs strings.Builder
		if err := run(t.Context(), args, strings.NewReader(""), &out, &errs); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want %v", args, err, flag.ErrHelp)
		}
		for _, name := range []string{"-addr", "-sub", "-scope", "-aud", "-ttl", "-claim"} {
			if !strings.Contains(errs.String(), "  "+name+" ") {
				t.Errorf("%q: got no %s in\n%s", args, name, errs.String())
			}
		}
	}
}

func TestThePortOfAnotherProgramIsAClearError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(t.Context(), []string{"-addr", taken.Addr().String()}, strings.NewReader(""), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "choose one: -addr") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

func TestTheSubcommandSaysWhatIsWrongWithTheIssuer(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	answering := func(status int, body string) string {
		return strings.TrimPrefix(wsauthtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		})), "http://")
	}
	for name, row := range map[string]struct{ addr, want string }{
		"none runs":               {free.Addr().String(), "no issuer runs at"},
		"a server without /token": {answering(404, "404 page not found"), "not a wsauth-dev: it answers 404"},
		"a server with pages":     {answering(200, "<html>"), "not a wsauth-dev"},
		"a server with JSON":      {answering(200, "{}"), "not a wsauth-dev"},
		"an issuer that refuses":  {answering(400, `{"error":"x","error_description":"the reason"}`), "refuses: the reason"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), []string{"token", "-addr", row.addr}, nil, &out, &out)
			if err == nil || !strings.Contains(err.Error(), row.want) || out.Len() > 0 {
				t.Errorf("got %v and %q, want an error with %q and no output", err, out.String(), row.want)
			}
		})
	}
}

func TestATokenLivesAsLongAsItWasAskedTo(t *testing.T) {
	i := quiet("http://127.0.0.1:9080")
	for ttl, want := range map[time.Duration]int64{time.Second: 1, 5 * time.Minute: 300, -time.Minute: 0} {
		var claims struct{ Iat, Exp int64 }
		if err := json.Unmarshal([]byte(i.mint(tokenSpec{ttl: ttl}).Claims), &claims); err != nil {
			t.Fatal(err)
		}
		if got := claims.Exp - claims.Iat; got != want {
			t.Errorf("%v: got %d s between iat and exp, want %d", ttl, got, want)
		}
	}
}
