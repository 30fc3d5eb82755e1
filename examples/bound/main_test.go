package main

import (
	"net"
	"testing"

	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
	"github.com/wsauth/wsauth/wsauthtest"
)

// start runs the provider and the server, and returns their URLs.
func start(t *testing.T) (issuer, server string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	nodetest.Start(t, "provider.mjs", port).Expect("ready")
	issuer = "http://127.0.0.1:" + port
	return issuer, serve(t, issuer)
}

func serve(t *testing.T, issuer string) string {
	t.Helper()
	handler, err := newServer(issuer, "")
	if err != nil {
		t.Fatal(err)
	}
	return testclient.Serve(t, handler)
}

func TestAClientWithItsKeyConnectsAndRenews(t *testing.T) {
	issuer, server := start(t)
	client := nodetest.Start(t, "client.mjs", issuer, server)
	client.Expect("/me: chat-app")
	client.Expect("hello chat-app")
	client.Expect("renewed")
}

func TestWhatWasStolenIsWorthNothing(t *testing.T) {
	issuer, server := start(t)
	thief := nodetest.Start(t, "thief.mjs", issuer, server)
	for _, row := range []struct{ what, want string }{
		{"token and proof", "200"},
		{"the proof again", "401 invalid_dpop_proof"},
		{"no proof", "401 invalid_dpop_proof"},
		{"as a bearer token", "401 invalid_token"},
		{"as a bearer token, with a proof", "401 invalid_token"},
		{"a proof of another key", "401 invalid_token"},
		{"a proof for another method", "401 invalid_dpop_proof"},
		{"a proof for another path", "401 invalid_dpop_proof"},
		{"a proof for another server", "401 invalid_dpop_proof"},
		{"a proof for another token", "401 invalid_dpop_proof"},
		{"a proof for no token", "401 invalid_dpop_proof"},
		{"a proof without a nonce", "401 use_dpop_nonce"},
		{"a proof with a nonce of its own", "401 use_dpop_nonce"},
		{"a WebSocket with token and proof", "chat-app"},
		{"a WebSocket with the proof again", "401 invalid_dpop_proof"},
		{"a WebSocket with a ticket", "chat-app"},
		{"a WebSocket with the ticket again", "401 invalid_token"},
		{"a renewal without a proof", "invalid_dpop_proof"},
		{"a renewal with the proof of another key", "invalid_token"},
		{"a renewal with a proof for another token", "invalid_dpop_proof"},
		{"a renewal", "renewed"},
		{"a renewal with the proof again", "invalid_dpop_proof"},
	} {
		thief.Expect(row.what + ": " + row.want)
	}
	if line, more := thief.Line(); more {
		t.Errorf("got another line %q, want no more", line)
	}
}

func TestAProofOfEachAlgorithmOfTheClientIsAccepted(t *testing.T) {
	issuer := wsauthtest.NewIssuer(t)
	issuer.Audience = "urn:chat"
	client := nodetest.Start(t, "proofs.mjs", serve(t, issuer.URL))
	for _, algorithm := range []string{"ES256", "Ed25519", "RS256", "PS256"} {
		thumbprint, _ := client.Line()
		client.Write(issuer.Token(wsauthtest.Claims{"cnf": map[string]any{"jkt": thumbprint}}))
		client.Expect(algorithm + ": 401, and with the nonce 200")
	}
}
