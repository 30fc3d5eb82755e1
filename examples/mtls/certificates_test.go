package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A directory has certificates that openssl has made: those of a CA, of the server, alice and mallory, which the CA has
// signed, and of a stranger, who has signed his own.
type directory string

// All tests share one directory: it takes openssl a while to make the keys.
var (
	shared   directory
	makeOnce sync.Once
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mtls")
	if err != nil {
		panic(err)
	}
	shared = directory(dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func certificates(t *testing.T) directory {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("WSAUTH_OPENSSL") == "required" {
			t.Fatal("there is no openssl, and WSAUTH_OPENSSL says that it is required")
		}
		t.Skip("there is no openssl to make certificates with; with WSAUTH_OPENSSL=required this is a failure")
	}
	makeOnce.Do(func() { shared.fill(t) })
	return shared
}

func (d directory) fill(t *testing.T) {
	t.Helper()
	curve := func(name string) []string { return []string{"-pkeyopt", "ec_paramgen_curve:" + name} }
	byCA := []string{"-CA", d.file("ca.pem"), "-CAkey", d.file("ca.key")}
	d.create(t, "ca", "ec", curve("P-256")...)
	d.create(t, "server", "ec", slices.Concat(byCA, curve("P-256"), []string{"-addext", "subjectAltName=IP:127.0.0.1"})...)
	d.create(t, "alice", "ec", slices.Concat(byCA, curve("P-256"))...)
	d.create(t, "mallory", "rsa:2048", byCA...)
	d.create(t, "stranger", "ec", curve("P-384")...)
}

func (d directory) file(name string) string { return filepath.Join(string(d), name) }

func (d directory) create(t *testing.T, name, key string, args ...string) {
	t.Helper()
	openssl(t, append([]string{
		"req", "-x509", "-newkey", key, "-nodes", "-days", "1", "-subj", "/O=Müller & Söhne/CN=" + name, "-utf8",
		"-keyout", d.file(name + ".key"), "-out", d.file(name + ".pem"),
	}, args...)...)
	fingerprint := openssl(t, "x509", "-in", d.file(name+".pem"), "-noout", "-fingerprint", "-sha256")
	if err := os.WriteFile(d.file(name+".sha256"), []byte(fingerprint), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
	if err != nil {
		t.Fatalf("openssl %q: %v", args, err)
	}
	return string(out)
}

// thumbprint is what an issuer writes into a token that is bound to the certificate (RFC 8705 section 3.1).
func (d directory) thumbprint(t *testing.T, name string) map[string]any {
	t.Helper()
	out := string(d.read(t, name+".sha256"))
	_, digits, _ := strings.Cut(strings.TrimSpace(out), "=")
	sum, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil || len(sum) != 32 {
		t.Fatalf("got the fingerprint %q, want 32 bytes", out)
	}
	return map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum)}
}

func (d directory) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(d.file(name+".pem"), d.file(name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (d directory) authority(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(d.read(t, "ca.pem")) {
		t.Fatal("ca.pem has no certificate")
	}
	return pool
}

// escaped is the certificate as nginx writes it into a header.
func (d directory) escaped(t *testing.T, name string) string {
	t.Helper()
	return url.PathEscape(string(d.read(t, name+".pem")))
}

func (d directory) read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(d.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
