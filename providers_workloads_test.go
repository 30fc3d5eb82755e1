package wsauth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

var clusterClient *http.Client

func ofOurRepositories(_ context.Context, c *wsauth.Claims) error {
	var own struct {
		Owner string `json:"repository_owner_id"`
	}
	if err := c.Decode(&own); err != nil {
		return err
	}
	if own.Owner != "OWNER_ID" {
		return errors.New("not a repository of ours")
	}
	return nil
}

func ofOurProjects(_ context.Context, c *wsauth.Claims) error {
	var own struct {
		Namespace string `json:"namespace_id"`
	}
	if err := c.Decode(&own); err != nil {
		return err
	}
	if own.Namespace != "NAMESPACE_ID" {
		return errors.New("not a project of ours")
	}
	return nil
}

func inTrustDomain(_ context.Context, c *wsauth.Claims) error {
	if !strings.HasPrefix(c.Subject, "spiffe://example.org/") {
		return errors.New("not of our trust domain")
	}
	return nil
}

// newKeyClient fetches keys through a proxy from a server with a certificate of its own CA, and shows it a token.
func newKeyClient(caFile, tokenFile string, proxy *url.URL) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + caFile)
	}
	return &http.Client{Transport: authorized{tokenFile, &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Proxy:           http.ProxyURL(proxy), // http.ProxyFromEnvironment: as the environment says
	}}}, nil
}

type authorized struct {
	file string // is read each time: Kubernetes renews it
	next http.RoundTripper
}

func (t authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(t.file)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return t.next.RoundTrip(r)
}

func inHeader(name string) func(token string) string {
	return func(token string) string { return name + ": " + token }
}

// Providers of tokens for machines, and proxies that log visitors in.
var workloads = map[string]identityProvider{
	"Kubernetes": {
		issuer: wsauth.Issuer{ // the audience is that of the projected volume
			Name: "https://kubernetes.default.svc.cluster.local", Audience: []string{"chat"},
			Keys: wsauth.JWKS{Client: clusterClient},
		},
		set:    "https://10.0.0.1:6443/openid/v1/jwks",
		alg:    "RS256",
		header: object{"typ": nil},
		claims: object{
			"iss": "https://kubernetes.default.svc.cluster.local", "aud": []string{"chat"}, "jti": uuid,
			"sub": "system:serviceaccount:shop:worker", "nbf": 1700000000, "kubernetes.io": object{
				"namespace": "shop", "node": object{"name": "n1", "uid": uuid}, "pod": object{"name": "worker-1", "uid": uuid},
				"serviceaccount": object{"name": "worker", "uid": otherUUID}, "warnafter": 1700003607,
			},
		},
		own: &struct {
			Kubernetes struct{ Namespace string } `json:"kubernetes.io"`
		}{},
		roles: "{{shop}}",
		tokens: map[string]variant{
			"for the API server": {claims: object{
				"aud": []string{"https://kubernetes.default.svc.cluster.local"},
			}, want: invalid},
			"of a Secret": {claims: object{"iss": "kubernetes/serviceaccount", "aud": nil, "exp": nil}, want: invalid},
		},
	},
	"GitHub Actions": {
		issuer: wsauth.Issuer{ // with ofOurRepositories: every repository can ask for every audience
			Name: "https://token.actions.githubusercontent.com", Audience: []string{"https://chat.example.com"},
			Keys: wsauth.JWKS{},
		},
		require: ofOurRepositories,
		set:     "https://token.actions.githubusercontent.com/.well-known/jwks",
		jwk:     object{"x5t": "k1", "x5c": certificate},
		alg:     "RS256",
		header:  object{"x5t": "k1"},
		claims: object{
			"iss": "https://token.actions.githubusercontent.com", "aud": "https://chat.example.com", "jti": uuid,
			"sub": "repo:OWNER/REPOSITORY:ref:refs/heads/main", "repository": "OWNER/REPOSITORY", "repository_id": "74",
			"repository_owner": "OWNER", "repository_owner_id": "OWNER_ID", "ref": "refs/heads/main", "event_name": "push",
			"workflow": "deploy", "run_id": "30433642", "runner_environment": "github-hosted", "nbf": 1700000000,
		},
		tokens: map[string]variant{
			"of somebody else's repository": {claims: object{
				"sub": "repo:EVIL/REPOSITORY:ref:refs/heads/main", "repository_owner_id": "66",
			}, want: wsauth.ErrForbidden},
			"without an owner":           {claims: object{"repository_owner_id": nil}, want: wsauth.ErrForbidden},
			"of the audience by default": {claims: object{"aud": "https://github.com/OWNER"}, want: invalid},
			"of an enterprise's server":  {claims: object{"iss": "https://github.example.com/_services/token"}, want: invalid},
		},
	},
	"GitLab": {
		issuer: wsauth.Issuer{ // with ofOurProjects: every project can ask for every audience
			Name: "https://gitlab.com", Audience: []string{"https://chat.example.com"}, Keys: wsauth.JWKS{},
		},
		require: ofOurProjects,
		set:     "https://gitlab.com/oauth/discovery/keys",
		alg:     "RS256",
		claims: object{
			"iss": "https://gitlab.com", "aud": "https://chat.example.com", "jti": uuid, "nbf": 1700000000,
			"sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "namespace_id": "NAMESPACE_ID",
			"namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project", "user_id": "1",
			"user_login": "alice", "pipeline_id": "574", "job_id": "302", "ref": "main", "ref_type": "branch",
			"ref_protected": "true", "runner_environment": "gitlab-hosted", "user_access_level": "developer",
		},
		tokens: map[string]variant{
			"of somebody else's project": {claims: object{
				"sub": "project_path:evil/x:ref_type:branch:ref:main", "namespace_id": "73",
			}, want: wsauth.ErrForbidden},
			"for two audiences":         {claims: object{"aud": []string{"https://vault", "https://chat.example.com"}}},
			"for Vault":                 {claims: object{"aud": "https://vault.example.com"}, want: invalid},
			"of another instance":       {claims: object{"iss": "https://gitlab.example.com"}, want: invalid},
			"of a job before ID tokens": {claims: object{"aud": nil, "iss": "gitlab.com"}, want: invalid},
		},
	},
	"SPIFFE": {
		issuer: wsauth.Issuer{ // with inTrustDomain; the URL is that of the trust domain's bundle
			AnyIssuer: true, Audience: []string{"spiffe://example.org/chat"},
			Keys: wsauth.JWKS{URL: "https://spire.example.org/bundle"},
		},
		require: inTrustDomain,
		alg:     "ES256",
		jwk:     object{"use": "jwt-svid", "alg": nil},
		beside:  []object{jwkOf(strangers["RS256"], object{"use": "x509-svid", "alg": "", "kid": "", "x5c": certificate})},
		about:   object{"spiffe_sequence": 12, "spiffe_refresh_hint": 300},
		claims:  object{"sub": "spiffe://example.org/shop/worker", "aud": []string{"spiffe://example.org/chat"}},
		tokens: map[string]variant{
			"without typ": {header: object{"typ": nil}},
			"with an iss": {claims: object{"iss": "https://spire.example.org"}},
			"of another trust domain": {
				claims: object{"sub": "spiffe://example.com/shop/worker"}, want: wsauth.ErrForbidden,
			},
			"for another workload":            {claims: object{"aud": []string{"spiffe://example.org/mail"}}, want: invalid},
			"of the type that is called JOSE": {header: object{"typ": "JOSE"}, want: invalid},
		},
	},
	"Cloudflare Access": {
		issuer: wsauth.Issuer{ // the audience is the AUD tag of the application
			Name: "https://TEAM.cloudflareaccess.com", Audience: []string{"AUD_TAG"},
			Keys: wsauth.JWKS{URL: "https://TEAM.cloudflareaccess.com/cdn-cgi/access/certs"},
		},
		from:  wsauth.FromProxy("Cf-Access-Jwt-Assertion"),
		carry: inHeader("Cf-Access-Jwt-Assertion"),
		alg:   "RS256",
		about: object{
			"public_cert": object{"kid": "k1", "cert": "-----BEGIN CERTIFICATE-----\n"}, "public_certs": []object{{"kid": "k1"}},
		},
		claims: object{
			"aud": []string{"AUD_TAG"}, "email": "alice@example.com", "iss": "https://TEAM.cloudflareaccess.com", "type": "app",
			"identity_nonce": "6ei69kawdKzMIAPF", "sub": uuid, "country": "US", "nbf": 1700000000,
		},
		tokens: map[string]variant{
			"of a service": {claims: object{
				"sub": "", "common_name": "e367826f93b8d71185e03fe518aff3b4.access", "email": nil, "identity_nonce": nil,
			}},
			"for another application": {claims: object{"aud": []string{"OTHER_TAG"}}, want: invalid},
			"of another team":         {claims: object{"iss": "https://EVIL.cloudflareaccess.com"}, want: invalid},
		},
	},
	"Google IAP": {
		issuer: wsauth.Issuer{
			Name:     "https://cloud.google.com/iap",
			Audience: []string{"/projects/PROJECT_NUMBER/global/backendServices/SERVICE_ID"},
			Keys:     wsauth.JWKS{URL: "https://www.gstatic.com/iap/verify/public_key-jwk"},
		},
		from:  wsauth.FromProxy("X-Goog-Iap-Jwt-Assertion"),
		carry: inHeader("X-Goog-Iap-Jwt-Assertion"),
		alg:   "ES256",
		claims: object{
			"iss": "https://cloud.google.com/iap", "aud": "/projects/PROJECT_NUMBER/global/backendServices/SERVICE_ID",
			"sub": "accounts.google.com:110169484474386276334", "email": "alice@example.com", "hd": "example.com",
			"google": object{"access_levels": []string{"accessPolicies/1/accessLevels/fully_trusted"}},
		},
		own: &struct {
			Domain string `json:"hd"`
		}{},
		roles: "{example.com}",
		tokens: map[string]variant{
			"for another backend service": {
				claims: object{"aud": "/projects/PROJECT_NUMBER/global/backendServices/2"}, want: invalid,
			},
			"an ID token of Google": {claims: object{
				"iss": "https://accounts.google.com", "aud": "CLIENT_ID.apps.googleusercontent.com",
			}, want: invalid},
		},
	},
	"AWS ALB": {
		issuer: wsauth.Issuer{ // of the user pool behind the load balancer
			Name:      "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE",
			ClientIDs: []string{"ALB_CLIENT_ID"}, Keys: wsauth.JWKS{},
		},
		from:   wsauth.FromProxy("X-Amzn-Oidc-Accesstoken"),
		carry:  inHeader("X-Amzn-Oidc-Accesstoken"),
		set:    "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE/.well-known/jwks.json",
		alg:    "RS256",
		header: object{"typ": nil},
		claims: object{
			"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE", "sub": uuid, "client_id": "ALB_CLIENT_ID",
			"token_use": "access", "scope": "openid", "username": "alice", "jti": uuid, "version": 2,
		},
		tokens: map[string]variant{
			"x-amzn-oidc-data":  {raw: paddedToken(), want: invalid},
			"of another client": {claims: object{"client_id": "OTHER"}, want: invalid},
			"without a client":  {claims: object{"client_id": nil}, want: invalid},
			"of another pool":   {claims: object{"iss": "https://cognito-idp.eu-west-1.amazonaws.com/x"}, want: invalid},
		},
	},
	"oauth2-proxy": {
		issuer: wsauth.Issuer{ // of the provider behind the proxy; the audience is the proxy's client ID
			Name: "https://keycloak.example.com/realms/REALM", Audience: []string{"oauth2-proxy"}, Keys: wsauth.JWKS{},
		},
		from: wsauth.FromProxy("Authorization"),
		set:  "https://keycloak.example.com/realms/REALM/protocol/openid-connect/certs",
		alg:  "RS256",
		claims: object{
			"iss": "https://keycloak.example.com/realms/REALM", "aud": "oauth2-proxy", "azp": "oauth2-proxy", "sub": uuid,
			"typ": "ID", "sid": otherUUID, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "email": "alice@example.com",
		},
		tokens: map[string]variant{
			"an access token":   {claims: object{"aud": "account", "typ": "Bearer"}, want: invalid},
			"of another client": {claims: object{"aud": "frontend", "azp": "frontend"}, want: invalid},
		},
	},
}

// paddedToken is x-amzn-oidc-data, whose segments have padding.
func paddedToken() string {
	encode := base64.URLEncoding.EncodeToString
	signed := encode([]byte(`{"typ":"JWT","kid":"k1","alg":"ES256","iss":"x","exp":4102444800}`)) + "." +
		encode([]byte(`{"sub":"1234567890","iss":"x","exp":4102444800}`))
	signature := strings.TrimRight(mint.Base64(providerKeys["ES256"].Signature(signed)), "=")
	return signed + "." + signature + "=="
}

func TestAKeySetBehindAProxyAPrivateCAAndALoginIsFetched(t *testing.T) {
	p := workloads["Kubernetes"]
	keys := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the server's own token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write(mint.SetOf(p.signer()))
	}))
	keys.Config.ErrorLog = log.New(io.Discard, "", 0) // of whoever does not trust its certificate
	keys.StartTLS()
	defer keys.Close()
	tunnels := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels <- r.Method + " " + r.Host
		tunnel(t, w, r)
	}))
	defer proxy.Close()
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys.Certificate().Raw})
	caFile, tokenFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	for file, text := range map[string][]byte{caFile: ca, tokenFile: []byte("the server's own token\n")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	client, err := newKeyClient(caFile, tokenFile, proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	issuer := p.issuer
	issuer.Keys = wsauth.JWKS{URL: keys.URL, Client: client}
	verify(t, newAuthOf(t, issuer), p.token(variant{}), nil)
	if got, want := <-tunnels, "CONNECT "+keys.Listener.Addr().String(); got != want {
		t.Errorf("the proxy got %q, want %q", got, want)
	}

	issuer.Keys = wsauth.JWKS{URL: keys.URL}
	verify(t, newAuthOf(t, issuer), p.token(variant{}), wsauth.ErrUnavailable) // not without the client
}

// tunnel is what a proxy does with CONNECT.
func tunnel(t *testing.T, w http.ResponseWriter, r *http.Request) {
	server, err := net.Dial("tcp", r.Host)
	if err != nil {
		t.Error(err)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(server, conn)
		server.Close()
	}()
	io.Copy(conn, server)
	conn.Close()
}
