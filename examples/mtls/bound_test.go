package mtls

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
	"github.com/wsauth/wsauth/wsauthtest"
)

func TestABoundTokenIsGoodWithItsCertificateOnly(t *testing.T) {
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			w := start(t)
			spoof := func(value string) map[string]string { return map[string]string{"Client-Cert-Pem": value} }
			alice := w.dir.escaped(t, "alice")
			for _, row := range []struct {
				name        string
				bound       string // the certificate that the token is bound to
				certificate string // the client's
				spoofed     map[string]string
				status      int
			}{
				{"its certificate", "alice", "alice", nil, 101},
				{"its certificate, which no CA has signed", "stranger", "stranger", nil, 101},
				{"its certificate, with an RSA key", "mallory", "mallory", nil, 101},
				{"no certificate", "alice", "", nil, 401},
				{"another certificate of the CA", "alice", "mallory", nil, 401},
				{"another certificate", "alice", "stranger", nil, 401},
				{"the certificate of the CA", "alice", "ca", nil, 401},
				{"not bound, no certificate", "", "", nil, 101},
				{"not bound, a certificate", "", "alice", nil, 101},
				{"a spoofed header, no certificate", "alice", "", spoof(alice), 401},
				{"a spoofed header, another certificate", "alice", "mallory", spoof(alice), 401},
				{"a spoofed header in lower case", "alice", "", map[string]string{"client-cert-pem": alice}, 401},
				{"a spoofed header with underscores", "alice", "", map[string]string{"Client_Cert_Pem": alice}, 401},
				{"a spoofed header that is named in Connection", "alice", "mallory",
					map[string]string{"Client-Cert-Pem": alice, "Connection": "Upgrade, Client-Cert-Pem"}, 401},
				{"a spoofed header, its certificate", "alice", "alice", spoof(w.dir.escaped(t, "mallory")), 101},
				{"a spoofed header that is not PEM", "alice", "alice", spoof("x"), 101},
			} {
				t.Run(row.name, func(t *testing.T) {
					header := testclient.Bearer(w.bound(row.bound))
					for name, value := range row.spoofed {
						header[name] = []string{value} // as it is spelled
					}
					if _, status := w.dial(t, w.client(row.certificate), "/ws", header); status != row.status {
						t.Errorf("got %d, want %d", status, row.status)
					}
				})
			}
		})
	}
}

// A client resumes a TLS session without its certificate: the server remembers who it was.
func TestABoundTokenIsGoodInAResumedSession(t *testing.T) {
	for server, start := range servers {
		for version, number := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
			t.Run(server+"/"+version, func(t *testing.T) {
				w := start(t)
				cache := tls.NewLRUClientSessionCache(1)
				get := func(certificate, token string) *http.Response {
					client := w.client(certificate)
					transport := client.Transport.(*http.Transport)
					transport.DisableKeepAlives = true // a new connection for each request
					transport.TLSClientConfig.MaxVersion = number
					transport.TLSClientConfig.ClientSessionCache = cache
					resp, _ := w.request(t, client, http.MethodGet, "/me", token)
					return resp
				}
				for i, row := range []struct {
					bound   string
					resumed bool
					status  int
				}{{"alice", false, 200}, {"alice", true, 200}, {"mallory", true, 401}} {
					resp := get("alice", w.bound(row.bound))
					if resp.StatusCode != row.status || resp.TLS.DidResume != row.resumed {
						t.Errorf("request %d, for a token of %s: got %d, resumed %t, want %d, %t",
							i+1, row.bound, resp.StatusCode, resp.TLS.DidResume, row.status, row.resumed)
					}
				}
			})
		}
	}
}

func TestAConnectionIsRenewedWithATokenOfTheSameCertificateOnly(t *testing.T) {
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			w := start(t)
			conn, status := w.dial(t, w.client("alice"), "/ws", testclient.Bearer(w.bound("alice")))
			if status != http.StatusSwitchingProtocols {
				t.Fatalf("got %d, want a connection", status)
			}
			expect(t, conn, "hello")
			for _, row := range []struct {
				bound string
				hours int
				want  string
			}{
				{"mallory", 2, "invalid_token"},
				{"", 2, "invalid_token"},
				{"alice", 2, "renewed"},
				{"alice", 3, "renewed"},
			} {
				send(t, conn, w.bound(row.bound, lasting(row.hours)))
				expect(t, conn, row.want)
			}
		})
	}
}

func TestATokenOfAFirstMessageIsBoundToTheCertificateOfTheHandshake(t *testing.T) {
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			w := start(t)
			for certificate, want := range map[string]websocket.StatusCode{
				"alice": 0, "mallory": wsauth.StatusUnauthorized, "": wsauth.StatusUnauthorized,
			} {
				conn, status := w.dial(t, w.client(certificate), "/later", nil)
				if status != http.StatusSwitchingProtocols {
					t.Fatalf("%q: got %d, want a connection", certificate, status)
				}
				send(t, conn, w.bound("alice"))
				if want == 0 {
					expect(t, conn, "hello")
				} else if _, _, err := conn.Read(testclient.Context(t)); websocket.CloseStatus(err) != want {
					t.Errorf("%q: got %v, want close code %d", certificate, err, want)
				}
			}
		})
	}
}

func TestATicketForABoundTokenIsGoodWithTheCertificateOnly(t *testing.T) {
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			w := start(t)
			for certificate, want := range map[string]int{"alice": 101, "mallory": 401, "": 401} {
				_, body := w.request(t, w.client("alice"), http.MethodPost, "/ticket", w.bound("alice"))
				var issued struct{ Ticket string }
				if err := json.Unmarshal([]byte(body), &issued); err != nil {
					t.Fatalf("got %q, %v, want a ticket", body, err)
				}
				if _, status := w.dial(t, w.client(certificate), "/ws?ticket="+issued.Ticket, nil); status != want {
					t.Errorf("a ticket of alice with the certificate of %q: got %d, want %d", certificate, status, want)
				}
			}
		})
	}
}

func TestNodesClientsConnectWithTheirCertificate(t *testing.T) {
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			w := start(t)
			names := []string{"alice", "mallory", "stranger", "none"}
			args := append([]string{w.url, string(w.dir), w.bound("alice")}, names...)
			client := nodetest.Start(t, "client.mjs", args...)
			client.Expect("alice: 200, hello")
			client.Expect("mallory: 401, 401")
			client.Expect("stranger: 401, 401")
			client.Expect("none: 401, 401")
		})
	}
}

func lasting(hours int) wsauthtest.Claims {
	return wsauthtest.Claims{"exp": time.Now().Add(time.Duration(hours) * time.Hour)}
}

func send(t *testing.T, conn *websocket.Conn, message string) {
	t.Helper()
	if err := conn.Write(testclient.Context(t), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	if _, got, err := conn.Read(testclient.Context(t)); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
