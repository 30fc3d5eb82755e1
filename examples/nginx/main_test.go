package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// A proxy is an nginx with nginx.conf.
type proxy struct {
	host string // and port
	dir  string // with its logs
}

// An edit replaces what nginx.conf has exactly once.
type edit struct{ old, new string }

// start runs nginx in front of the server. It ends with the test.
func start(t *testing.T, server string, edits ...edit) proxy {
	t.Helper()
	binary := find(t)
	conf, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	// nginx takes sockets over that are there already, as it does when it replaces itself. So nobody else can get the port
	// in between, and who connects before nginx is up waits for it.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p := proxy{host: listener.Addr().String(), dir: t.TempDir()}
	edits = append(edits,
		edit{"server 127.0.0.1:8080;", "server " + strings.TrimPrefix(server, "http://") + ";"},
		edit{"listen 127.0.0.1:8081", "listen " + p.host},
	)
	for _, e := range edits {
		if n := bytes.Count(conf, []byte(e.old)); n != 1 {
			t.Fatalf("nginx.conf has %d times %q", n, e.old)
		}
		conf = bytes.Replace(conf, []byte(e.old), []byte(e.new), 1)
	}
	file := filepath.Join(p.dir, "nginx.conf")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	nginx := exec.CommandContext(ctx, binary, "-p", p.dir, "-c", file, "-g", "daemon off;")
	nginx.Cancel = func() error { return nginx.Process.Signal(syscall.SIGTERM) } // it ends its workers first
	nginx.WaitDelay = 10 * time.Second
	nginx.ExtraFiles = []*os.File{socket}
	nginx.Env = append(os.Environ(), "NGINX=3;")
	var said bytes.Buffer
	nginx.Stderr = &said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if nginx.Wait(); t.Failed() {
			t.Logf("nginx said:\n%s\nerror.log:\n%s", &said, p.log(t, "error.log"))
		}
	})
	return p
}

func find(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} { // Debian's, which not every PATH has
		if binary, err := exec.LookPath(name); err == nil {
			return binary
		}
	}
	if os.Getenv("WSAUTH_NGINX") == "required" {
		t.Fatal("there is no nginx, and WSAUTH_NGINX says that it is required")
	}
	t.Skip("there is no nginx to test with: install one, e.g. by apt-get install nginx-light")
	return ""
}

func (p proxy) url() string { return "http://" + p.host }

func (p proxy) log(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// logged waits until the access log has n lines: nginx writes one when a connection ends.
func (p proxy) logged(t *testing.T, n int) string {
	t.Helper()
	ctx := testclient.Context(t)
	for {
		log := p.log(t, "access.log")
		if strings.Count(log, "\n") >= n {
			return log
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the access log has less than %d lines:\n%s", n, log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func serve(t *testing.T) string {
	t.Helper()
	handler, err := newServer(testclient.Secret, pingInterval)
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler)
}

func exchange(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx := testclient.Context(t)
	if err := wsjson.Write(ctx, conn, message{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	var got message
	if err := wsjson.Read(ctx, conn, &got); err != nil {
		t.Fatal(err)
	}
	if want := (message{From: "alice", Text: "hello"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// with adds to a header, by pairs of a name and a value.
func with(header http.Header, pairs ...string) http.Header {
	all := header.Clone()
	for i := 0; i < len(pairs); i += 2 {
		all.Add(pairs[i], pairs[i+1])
	}
	return all
}

// longest is a token of nearly 8 KiB, the most that wsauth takes.
func longest(t *testing.T) string {
	t.Helper()
	token := testclient.Token(testclient.Secret, map[string]any{"padding": strings.Repeat("x", 5990)})
	if n := len(token); n < 8170 || n > 8192 {
		t.Fatalf("it has %d bytes", n)
	}
	return token
}

func TestWhoMayConnectThroughNginxAndWhatItLogs(t *testing.T) {
	p := start(t, serve(t))
	token := testclient.Token(testclient.Secret, nil)
	forged := testclient.Token([]byte("another secret, also of 32 bytes"), nil)
	header, cookie := testclient.Bearer(token), http.Header{"Cookie": {"access_token=" + token}}
	rows := []struct {
		name      string
		query     string
		header    http.Header
		status    int
		challenge string
	}{
		{"header", "", header, 101, ""},
		{"query", "?access_token=" + token, nil, 101, ""},
		{"query, as a browser", "?access_token=" + token, http.Header{"Origin": {p.url()}}, 101, ""},
		{"subprotocol", "", http.Header{"Sec-Websocket-Protocol": {"bearer." + token}}, 101, ""},
		{"cookie, own origin", "", with(cookie, "Origin", p.url()), 101, ""},
		{"cookie, listed origin", "", with(cookie, "Origin", "https://chat.example.com"), 101, ""},
		{"cookie, foreign origin", "", with(cookie, "Origin", "https://evil.example"), 403, ""},
		{"cookie, another port", "", with(cookie, "Origin", "http://127.0.0.1:1"), 403, ""},
		{"cookie, no origin", "", cookie, 403, ""},
		{"cookie, foreign origin that is made to look own", "", with(cookie, "Origin", "https://evil.example",
			"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "Forwarded", "host=evil.example"), 403, ""},
		{"header, foreign origin", "", with(header, "Origin", "https://evil.example"), 403, ""},
		{"the longest token in the header", "", testclient.Bearer(longest(t)), 101, ""},
		{"the longest token in the query", "?access_token=" + longest(t), nil, 101, ""},
		{"none", "", nil, 401, `Bearer realm="wsauth"`},
		{"forged", "?access_token=" + forged, nil, 401, `error="invalid_token"`},
		{"two tokens", "?access_token=" + token, header, 400, `error="invalid_request"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			conn, resp := testclient.Dial(t, p.url()+"/ws"+row.query, row.header)
			if resp.StatusCode != row.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, row.status)
			}
			if got := resp.Header.Get("WWW-Authenticate"); !strings.Contains(got, row.challenge) || row.challenge == "" && got != "" {
				t.Errorf("WWW-Authenticate = %q, want %q in it", got, row.challenge)
			}
			if conn != nil {
				exchange(t, conn)
			}
		})
	}
	access := p.logged(t, len(rows))
	for _, line := range strings.Split(strings.TrimSpace(access), "\n") {
		if !strings.Contains(line, `"GET /ws" `) {
			t.Errorf("access.log has %q", line)
		}
	}
	if secret := token[:10]; strings.Contains(access+p.log(t, "error.log"), secret) {
		t.Errorf("a token is in the logs:\n%s", access+p.log(t, "error.log"))
	}
}

func TestTheEndOfATokenArrivesThroughNginx(t *testing.T) {
	p := start(t, serve(t))
	end := time.Now().Add(time.Second).Truncate(time.Millisecond)
	exp := end.Add(-30 * time.Second) // by the default leeway
	token := testclient.Token(testclient.Secret, map[string]any{"exp": float64(exp.UnixMilli()) / 1000})
	conn, resp := testclient.Dial(t, p.url()+"/ws", testclient.Bearer(token))
	if conn == nil {
		t.Fatalf("status %d", resp.StatusCode)
	}
	exchange(t, conn)
	_, _, err := conn.Read(testclient.Context(t))
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != wsauth.StatusUnauthorized || closed.Reason != "token expired" {
		t.Errorf("the connection ended with %v", err)
	}
	if early := time.Until(end); early > 0 {
		t.Errorf("%v before its token", early)
	}
}

func TestAnIdleConnectionLivesByPings(t *testing.T) {
	for _, row := range []struct {
		name      string
		pingEvery time.Duration
		lives     bool
	}{
		{"more often than proxy_read_timeout", 100 * time.Millisecond, true},
		{"less often", time.Minute, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // each takes seconds
			handler, err := newServer(testclient.Secret, row.pingEvery)
			if err != nil {
				t.Fatal(err)
			}
			p := start(t, testclient.Serve(t, handler), edit{"proxy_read_timeout 75s;", "proxy_read_timeout 1s;"})
			conn, resp := testclient.Dial(t, p.url()+"/ws", testclient.Bearer(testclient.Token(testclient.Secret, nil)))
			if conn == nil {
				t.Fatalf("status %d", resp.StatusCode)
			}
			idle, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, _, err = conn.Read(idle) // the client answers pings while it reads
			if lives := errors.Is(err, context.DeadlineExceeded); lives != row.lives {
				t.Errorf("the connection ended with %v", err)
			}
			if code := websocket.CloseStatus(err); code != -1 {
				t.Errorf("with a close frame, %d", code) // nginx does not know what goes through it
			}
		})
	}
}

func TestTheServersOriginWhereTLSEndsAtNginx(t *testing.T) {
	// Here only for its certificate, and a client that trusts it.
	known := httptest.NewTLSServer(nil)
	defer known.Close()
	dir := t.TempDir()
	certificate := known.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	p := start(t, serve(t),
		edit{"\t\tlisten 127.0.0.1:8081;", ""},
		edit{"#listen              443 ssl;", "listen 127.0.0.1:8081 ssl;"},
		edit{"#server_name", "server_name"},
		edit{"#ssl_certificate     /etc/ssl/chat.example.com.pem",
			"ssl_certificate " + write("cert.pem", "CERTIFICATE", certificate.Certificate[0])},
		edit{"#ssl_certificate_key /etc/ssl/private/chat.example.com.key",
			"ssl_certificate_key " + write("key.pem", "PRIVATE KEY", key)},
		edit{"#add_header", "add_header"},
	)
	cookie := "access_token=" + testclient.Token(testclient.Secret, nil)
	for _, row := range []struct {
		name   string
		origin string
		status int
	}{
		{"own", "https://" + p.host, 101},
		{"listed", "https://chat.example.com", 101},
		{"foreign", "https://evil.example", 403},
		{"own, by http: Strict-Transport-Security keeps browsers from there", "http://" + p.host, 101},
		{"listed, by http", "http://chat.example.com", 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, resp, err := websocket.Dial(testclient.Context(t), "wss://"+p.host+"/ws", &websocket.DialOptions{
				HTTPHeader: http.Header{"Cookie": {cookie}, "Origin": {row.origin}},
				HTTPClient: known.Client(),
			})
			if resp == nil {
				t.Fatal(err)
			}
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			}
			if resp.Header.Get("Strict-Transport-Security") == "" {
				t.Error("no Strict-Transport-Security")
			}
			if conn != nil {
				defer conn.CloseNow()
				exchange(t, conn)
			}
		})
	}
}

func TestWhatGoesWrongWithoutTheLinesOfNginxConf(t *testing.T) {
	token := testclient.Token(testclient.Secret, nil)
	const (
		version    = "proxy_http_version 1.1;"
		upgrade    = "proxy_set_header   Upgrade    $http_upgrade;"
		connection = "proxy_set_header   Connection $connection_upgrade;"
		host       = "proxy_set_header Host $http_host;"
		buffers    = "large_client_header_buffers 4 16k;"
	)
	browser := func(p proxy) http.Header { return with(testclient.Bearer(token), "Origin", p.url()) }
	noBrowser := func(proxy) http.Header { return testclient.Bearer(token) }
	elsewhere := func(proxy) http.Header { return with(testclient.Bearer(token), "Origin", "https://chat.example.com") }
	noHeader := func(proxy) http.Header { return nil }
	long := func(proxy) http.Header { return testclient.Bearer(longest(t)) }
	for _, row := range []struct {
		name   string
		edits  []edit
		query  string
		header func(proxy) http.Header
		status int
	}{
		{"with all of them", nil, "", browser, 101},
		{"no Upgrade", []edit{{upgrade, ""}}, "", browser, 426},
		{"no Connection", []edit{{connection, ""}}, "", browser, 426},
		{"neither", []edit{{upgrade, ""}, {connection, ""}}, "", browser, 426},
		{"neither, and the token is in the query", []edit{{upgrade, ""}, {connection, ""}},
			"?access_token=" + token, noHeader, 400},
		{"HTTP/1.0, a default once", []edit{{version, "proxy_http_version 1.0;"}}, "", browser, 426},
		{"Host without its port, from a browser", []edit{{host, "proxy_set_header Host $host;"}}, "", browser, 403},
		{"Host without its port, from elsewhere", []edit{{host, "proxy_set_header Host $host;"}}, "", noBrowser, 101},
		{"no Host, from a browser", []edit{{host, ""}}, "", browser, 403},
		{"no Host, from a page whose origin is listed", []edit{{host, ""}}, "", elsewhere, 101},
		{"small buffers, and a long token in the query", []edit{{buffers, ""}}, "?access_token=" + longest(t), noHeader, 414},
		{"small buffers, and a long token in the header", []edit{{buffers, ""}}, "", long, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := start(t, serve(t), row.edits...)
			_, resp := testclient.Dial(t, p.url()+"/ws"+row.query, row.header(p))
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d", resp.StatusCode, row.status)
			}
		})
	}
}

func TestWhichLogsShowQueryTokens(t *testing.T) {
	token := testclient.Token(testclient.Secret, nil)
	up, down := serve(t), closedPort(t)
	for _, row := range []struct {
		name   string
		server string
		edits  []edit
		status int
		shown  string // in which log; empty: none
	}{
		{"none, as nginx.conf is", up, nil, 101, ""},
		{"none, when the server is down", down, nil, 502, ""},
		{"access.log, by the predefined format", up,
			[]edit{{"access_log access.log no_token;", "access_log access.log combined;"}}, 101, "access.log"},
		{"error.log, by its default level, when the server is down", down,
			[]edit{{"error_log error.log emerg;", ""}}, 502, "error.log"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := start(t, row.server, row.edits...)
			conn, resp := testclient.Dial(t, p.url()+"/ws?access_token="+token, nil)
			if resp.StatusCode != row.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, row.status)
			}
			if conn != nil {
				conn.Close(websocket.StatusNormalClosure, "")
			}
			p.logged(t, 1)
			for _, name := range []string{"access.log", "error.log"} {
				if log := p.log(t, name); strings.Contains(log, token) != (name == row.shown) {
					t.Errorf("%s has\n%s", name, log)
				}
			}
		})
	}
}

// closedPort is the address of a server that is down.
func closedPort(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(nil)
	srv.Close()
	return srv.URL
}
