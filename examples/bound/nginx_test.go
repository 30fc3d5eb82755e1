package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/examples/internal/nginxtest"
	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// BaseURL says what the server cannot see: nginx ends TLS, and has a Host of its own.
func TestAClientConnectsAndRenewsThroughNginxThatEndsTLS(t *testing.T) {
	conf, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	issuer := provider(t)
	listener := nginxtest.Listen(t)
	host := listener.Addr().String()
	handler, err := newServer(issuer, "https://"+host)
	if err != nil {
		t.Fatal(err)
	}
	dir := certificate(t)
	t.Setenv("NODE_EXTRA_CA_CERTS", filepath.Join(dir, "server.pem"))
	replaced := strings.NewReplacer(
		"SERVER", testclient.Serve(t, handler), "LISTEN", host, "DIRECTORY", dir,
	).Replace(string(conf))
	nginxtest.Start(t, listener, []byte(replaced))

	client := nodetest.Start(t, "client.mjs", issuer, "https://"+host)
	client.Expect("/me: chat-app")
	client.Expect("hello chat-app")
	client.Expect("renewed")
}

// certificate writes the certificate of httptest for 127.0.0.1 into a directory, and its key.
func certificate(t *testing.T) string {
	t.Helper()
	known := httptest.NewTLSServer(nil)
	defer known.Close()
	pair := known.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"server.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		"server.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
