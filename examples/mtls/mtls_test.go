// Package mtls proves that a token that is bound to a client certificate is good with this certificate only. It uses
// certificates of openssl and the clients of Go and Node.js, with TLS ended by Go and by nginx.
package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/nginxtest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
	"github.com/wsauth/wsauth/wsauthtest"
)

// A world is a server with TLS, and what is needed to get in.
type world struct {
	t      *testing.T
	dir    directory
	issuer *wsauthtest.Issuer
	url    string
}

// servers are the two that end TLS.
var servers = map[string]func(*testing.T) *world{"Go": goServer, "nginx": nginxServer}

func goServer(t *testing.T) *world {
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(w.handler(nil))
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{w.dir.pair(t, "server")},
		ClientAuth:   tls.RequestClientCert,
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func nginxServer(t *testing.T) *world {
	w := newWorld(t)
	behind := testclient.Serve(t, w.handler(fromNginx))
	conf, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	listener := nginxtest.Listen(t)
	host := listener.Addr().String()
	replaced := strings.NewReplacer("SERVER", behind, "LISTEN", host, "DIRECTORY", string(w.dir)).Replace(string(conf))
	nginxtest.Start(t, listener, []byte(replaced))
	w.url = "https://" + host
	return w
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, dir: certificates(t), issuer: wsauthtest.NewHMACIssuer(t)}
}

func (w *world) handler(read func(*http.Request) (*x509.Certificate, error)) http.Handler {
	opts := w.issuer.Options()
	opts.ClientCertificate = read
	opts.Extractors = []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", nil)}
	auth, err := wsauth.New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	mux.Handle("POST /ticket", auth.Tickets())
	mux.Handle("GET /ws", auth.Upgrade(serve, nil))
	mux.Handle("GET /later", auth.Upgrade(serve, &wsauth.UpgradeOptions{FirstMessage: 20 * time.Second}))
	return mux
}

// serve greets the client, and then takes new tokens.
func serve(ctx context.Context, conn *websocket.Conn) {
	conn.Write(ctx, websocket.MessageText, []byte("hello"))
	for {
		_, token, err := conn.Read(ctx)
		if err != nil {
			return
		}
		answer := "renewed"
		if _, err := wsauth.Renew(ctx, string(token)); err != nil {
			answer = wsauth.Reason(err)
		}
		conn.Write(ctx, websocket.MessageText, []byte(answer))
	}
}

// fromNginx is the recipe of docs/secrets.md.
func fromNginx(r *http.Request) (*x509.Certificate, error) {
	escaped := r.Header["Client-Cert-Pem"]
	if len(escaped) == 0 || escaped[0] == "" {
		return nil, nil
	}
	if len(escaped) > 1 {
		return nil, errors.New("more than one certificate")
	}
	text, err := url.PathUnescape(escaped[0])
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func TestTheRecipeForNginxIsTheOneOfTheDocumentation(t *testing.T) {
	const first, last = "func fromNginx(", "\n}\n"
	cut := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, after, found := strings.Cut(string(text), "\n"+first)
		body, _, closed := strings.Cut(after, last)
		if !found || !closed {
			t.Fatalf("%s has no %s", file, first)
		}
		return body
	}
	if got, want := cut("mtls_test.go"), cut("../../docs/secrets.md"); got != want {
		t.Errorf("got the recipe\n%s\nwant\n%s", got, want)
	}
}

// client has the certificate of that name. Empty: none.
func (w *world) client(certificate string) *http.Client {
	config := &tls.Config{RootCAs: w.dir.authority(w.t)}
	if certificate != "" {
		config.Certificates = []tls.Certificate{w.dir.pair(w.t, certificate)}
	}
	transport := &http.Transport{TLSClientConfig: config}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// bound is a token that is bound to a certificate. Empty: to none.
func (w *world) bound(certificate string, claims ...wsauthtest.Claims) string {
	if certificate != "" {
		claims = append(claims, wsauthtest.Claims{"cnf": w.dir.thumbprint(w.t, certificate)})
	}
	return w.issuer.Token(claims...)
}

// request makes a request and returns the response and its body.
func (w *world) request(t *testing.T, client *http.Client, method, path, token string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(testclient.Context(t), method, w.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = testclient.Bearer(token)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (w *world) dial(t *testing.T, client *http.Client, path string, header http.Header) (*websocket.Conn, int) {
	t.Helper()
	opts := &websocket.DialOptions{HTTPClient: client, HTTPHeader: header}
	conn, resp, err := websocket.Dial(testclient.Context(t), w.url+path, opts)
	if resp == nil {
		t.Fatal(err)
	}
	if conn != nil {
		t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, resp.StatusCode
}
