package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/nginxtest"
	"github.com/wsauth/wsauth/wsauthtest"
)

// A proxy is an nginx with nginx.conf.
type proxy struct {
	host string // and port
	dir  string // with its logs
}

// An edit replaces what nginx.conf has exactly once.
type edit struct{ old, new string }

// start runs nginx in front of the server, and returns when it is up. It ends with the test.
func start(t *testing.T, server string, edits ...edit) proxy {
	t.Helper()
	conf, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	listener := nginxtest.Listen(t)
	p := proxy{host: listener.Addr().String()}
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
	p.dir = nginxtest.Start(t, listener, conf)
	return p
}

func (p proxy) url() string { return "http://" + p.host }

func (p proxy) log(t *testing.T, name string) string {
	t.Helper()
	return nginxtest.Log(t, p.dir, name)
}

// logged waits until the access log has n lines: nginx writes one when a connection ends.
func (p proxy) logged(t *testing.T, n int) string {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		log := p.log(t, "access.log")
		if strings.Count(log, "\n") >= n {
			return log
		}
		select {
		case <-timeout:
			t.Fatalf("the access log has less than %d lines:\n%s", n, log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// setUp returns the URL of the server without nginx, and an issuer whose tokens it accepts.
func setUp(t *testing.T, pingEvery time.Duration) (string, *wsauthtest.Issuer) {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	handler, err := newServer(issuer.Secret, pingEvery)
	if err != nil {
		t.Fatal(err)
	}
	return wsauthtest.Serve(t, handler), issuer
}

func exchange(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	if err := wsjson.Write(t.Context(), conn, message{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	var got message
	if err := wsjson.Read(t.Context(), conn, &got); err != nil {
		t.Fatal(err)
	}
	if want := (message{From: "alice", Text: "hello"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func from(origin string) wsauthtest.DialOption { return wsauthtest.SetHeader("Origin", origin) }

// longest is a token of nearly 8 KiB, the most that wsauth takes.
func longest(issuer *wsauthtest.Issuer) string {
	token := ""
	for n := 5800; len(token) < 8180; n++ {
		token = issuer.Token(wsauthtest.Claims{"padding": strings.Repeat("x", n)})
	}
	return token
}

func TestWhoMayConnectThroughNginxAndWhatItLogs(t *testing.T) {
	server, issuer := setUp(t, pingInterval)
	p := start(t, server)
	token, long := issuer.Token(), longest(issuer)
	header, query, cookie := wsauthtest.Header(token), wsauthtest.Query(token), wsauthtest.Cookie(token)
	type options = []wsauthtest.DialOption
	rows := []struct {
		name      string
		client    options
		status    int
		challenge string
	}{
		{"header", options{header}, 101, ""},
		{"query", options{query}, 101, ""},
		{"query, own origin", options{query, from(p.url())}, 101, ""},
		{"subprotocol", options{wsauthtest.Subprotocol(token)}, 101, ""},
		{"cookie, own origin", options{cookie}, 101, ""},
		{"cookie, listed origin", options{cookie, from("https://chat.example.com")}, 101, ""},
		{"cookie, foreign origin", options{cookie, from("https://evil.example")}, 403, ""},
		{"cookie, another port", options{cookie, from("http://127.0.0.1:1")}, 403, ""},
		{"cookie, no origin", options{cookie, from("")}, 403, ""},
		{"cookie, foreign origin that is made to look own", options{
			cookie, from("https://evil.example"),
			wsauthtest.SetHeader("X-Forwarded-Host", "evil.example"),
			wsauthtest.SetHeader("X-Forwarded-Proto", "https"),
			wsauthtest.SetHeader("Forwarded", "host=evil.example;proto=https"),
		}, 403, ""},
		{"header, foreign origin", options{header, from("https://evil.example")}, 403, ""},
		{"the longest token in the header", options{wsauthtest.Header(long)}, 101, ""},
		{"the longest token in the query", options{wsauthtest.Query(long)}, 101, ""},
		{"none", nil, 401, `Bearer realm="wsauth"`},
		{"forged", options{wsauthtest.Query(issuer.Forged())}, 401, `error="invalid_token"`},
		{"two tokens", options{query, header}, 400, `error="invalid_request"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.status == 101 {
				exchange(t, wsauthtest.Dial(t, p.url()+"/ws", row.client...))
				return
			}
			resp := wsauthtest.ExpectRefused(t, p.url()+"/ws", row.status, row.client...)
			got := resp.Header.Get("WWW-Authenticate")
			if !strings.Contains(got, row.challenge) || row.challenge == "" && got != "" {
				t.Errorf("WWW-Authenticate = %q, want %q in it", got, row.challenge)
			}
		})
	}
	access := p.logged(t, len(rows))
	for line := range strings.Lines(access) {
		if !strings.Contains(line, `"GET /ws" `) {
			t.Errorf("access.log has %q", line)
		}
	}
	if log := access + p.log(t, "error.log"); strings.Contains(log, token[:10]) { // as all tokens here begin
		t.Errorf("a token is in the logs:\n%s", log)
	}
}

func TestTheEndOfATokenArrivesThroughNginx(t *testing.T) {
	server, issuer := setUp(t, pingInterval)
	p := start(t, server)
	end := time.Now().Add(3 * time.Second).Truncate(time.Millisecond)
	token := issuer.Token(wsauthtest.Claims{"iat": nil, "exp": end.Add(-30 * time.Second)}) // by the default leeway
	conn := wsauthtest.Dial(t, p.url()+"/ws", wsauthtest.Header(token))
	exchange(t, conn)
	wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
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
		{"more often than proxy_read_timeout", time.Second, true},
		{"less often", time.Minute, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // each takes seconds: a busy machine must not miss a ping for as long as the timeout
			server, issuer := setUp(t, row.pingEvery)
			p := start(t, server, edit{"proxy_read_timeout 75s;", "proxy_read_timeout 4s;"})
			conn := wsauthtest.Dial(t, p.url()+"/ws", wsauthtest.Header(issuer.Token()))
			idle, cancel := context.WithTimeout(t.Context(), 9*time.Second)
			defer cancel()
			_, _, err := conn.Read(idle) // the client answers pings while it reads
			if lives := idle.Err() != nil; lives != row.lives {
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
	server, issuer := setUp(t, pingInterval)
	p := start(t, server,
		edit{"\t\tlisten 127.0.0.1:8081;", ""},
		edit{"#listen              443 ssl;", "listen 127.0.0.1:8081 ssl;"},
		edit{"#server_name", "server_name"},
		edit{"#ssl_certificate     /etc/ssl/chat.example.com.pem",
			"ssl_certificate " + write("cert.pem", "CERTIFICATE", certificate.Certificate[0])},
		edit{"#ssl_certificate_key /etc/ssl/private/chat.example.com.key",
			"ssl_certificate_key " + write("key.pem", "PRIVATE KEY", key)},
		edit{"#add_header", "add_header"},
	)
	cookie := "access_token=" + issuer.Token()
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
			conn, resp, err := websocket.Dial(t.Context(), "wss://"+p.host+"/ws", &websocket.DialOptions{
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
	server, issuer := setUp(t, pingInterval)
	header, query, long := wsauthtest.Header(issuer.Token()), wsauthtest.Query(issuer.Token()), longest(issuer)
	const (
		version    = "proxy_http_version 1.1;"
		upgrade    = "proxy_set_header   Upgrade    $http_upgrade;"
		connection = "proxy_set_header   Connection $connection_upgrade;"
		host       = "proxy_set_header Host $http_host;"
		buffers    = "large_client_header_buffers 4 16k;"
		own        = "own" // to be replaced by what is known when nginx is there
	)
	for _, row := range []struct {
		name   string
		edits  []edit
		token  wsauthtest.DialOption
		origin string
		status int
	}{
		{"with all of them", nil, header, own, 101},
		{"no Upgrade", []edit{{upgrade, ""}}, header, own, 426},
		{"no Connection", []edit{{connection, ""}}, header, own, 426},
		{"neither", []edit{{upgrade, ""}, {connection, ""}}, header, own, 426},
		{"neither, and the token is in the query", []edit{{upgrade, ""}, {connection, ""}}, query, own, 400},
		{"HTTP/1.0, a default once", []edit{{version, "proxy_http_version 1.0;"}}, header, own, 426},
		{"Host without its port", []edit{{host, "proxy_set_header Host $host;"}}, header, own, 403},
		{"Host without its port, and no browser", []edit{{host, "proxy_set_header Host $host;"}}, header, "", 101},
		{"no Host", []edit{{host, ""}}, header, own, 403},
		{"no Host, and no browser", []edit{{host, ""}}, header, "", 101},
		{"no Host, and a listed origin", []edit{{host, ""}}, header, "https://chat.example.com", 101},
		{"small buffers, and a long token in the header", []edit{{buffers, ""}}, wsauthtest.Header(long), own, 400},
		{"small buffers, and a long token in the query", []edit{{buffers, ""}}, wsauthtest.Query(long), own, 414},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := start(t, server, row.edits...)
			origin := from(strings.Replace(row.origin, own, p.url(), 1))
			if row.status == 101 {
				exchange(t, wsauthtest.Dial(t, p.url()+"/ws", row.token, origin))
			} else {
				wsauthtest.ExpectRefused(t, p.url()+"/ws", row.status, row.token, origin)
			}
		})
	}
}

func TestWhichLogsShowQueryTokens(t *testing.T) {
	up, issuer := setUp(t, pingInterval)
	down := wsauthtest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	token := issuer.Token()
	for _, row := range []struct {
		name   string
		server string
		edits  []edit
		status int
		shown  string // in which log; empty: none
	}{
		{"none, as nginx.conf is", up, nil, 101, ""},
		{"none, where the server breaks off", down, nil, 502, ""},
		{"access.log, by the predefined format", up,
			[]edit{{"access_log access.log no_token;", "access_log access.log combined;"}}, 101, "access.log"},
		{"error.log, by its default level, where the server breaks off", down,
			[]edit{{"error_log error.log emerg;", ""}}, 502, "error.log"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := start(t, row.server, row.edits...)
			if row.status == 101 {
				wsauthtest.Dial(t, p.url()+"/ws", wsauthtest.Query(token)).Close(websocket.StatusNormalClosure, "")
			} else {
				wsauthtest.ExpectRefused(t, p.url()+"/ws", row.status, wsauthtest.Query(token))
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

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil, pingInterval); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("error %v, which does not say what to do", err)
	}
}
