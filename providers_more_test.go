package wsauth_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

var (
	authSecretKey = mint.New("HS256", "")
	authSecret    = secretOf(authSecretKey)
	passportKey   = publicPEM(providerKeys["RS256"])
	lexikKey      = passportKey
	customers     = map[string]bool{"https://login.microsoftonline.com/CUSTOMERS_TENANT_ID/v2.0": true}
)

func publicPEM(key *mint.Key) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func findCustomer(_ context.Context, iss string) (wsauth.Issuer, error) {
	if !customers[iss] { // https://login.microsoftonline.com/CUSTOMERS_TENANT_ID/v2.0
		return wsauth.Issuer{}, wsauth.ErrInvalidToken
	}
	return wsauth.Issuer{Name: iss, Audience: []string{"API_CLIENT_ID"}, Keys: wsauth.JWKS{}}, nil
}

func fromSession(cookie string) (token string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(cookie, "base64-"))
	if err != nil {
		return "", err
	}
	var session struct {
		AccessToken string `json:"access_token"`
	}
	err = json.Unmarshal(text, &session)
	return session.AccessToken, err
}

func whole(cookie string) (token string, err error) { return cookie, nil }

func authKitSession(_ context.Context, c *wsauth.Claims) error {
	var own struct {
		Session string `json:"sid"`
	}
	if err := c.Decode(&own); err != nil {
		return err
	}
	if len(c.Audience) > 0 || own.Session == "" {
		return errors.New("not a session of AuthKit")
	}
	return nil
}

func symfonyUser(_ context.Context, c *wsauth.Claims) error {
	var own struct {
		Username string `json:"username"`
	}
	if err := c.Decode(&own); err != nil {
		return err
	}
	if c.Issuer != "" || len(c.Audience) > 0 || own.Username == "" {
		return errors.New("not a token of the login")
	}
	return nil
}

// inPieces is a cookie that is longer than browsers allow, as Supabase and Auth.js keep it.
func inPieces(name, value string) string {
	half := len(value) / 2
	return "Cookie: " + name + ".0=" + value[:half] + "; " + name + ".1=" + value[half:]
}

// Providers that an organization runs itself, or that belong to a framework, and some with fewer users.
var moreProviders = map[string]identityProvider{
	"AD FS": {
		issuer: wsauth.Issuer{ // the audience is the identifier of the web API
			Name: "http://adfs.example.com/adfs/services/trust", Audience: []string{"https://chat.example.com"},
			Keys: wsauth.JWKS{URL: "https://adfs.example.com/adfs/discovery/keys"},
		},
		alg:    "RS256",
		header: object{"x5t": "thumbprint-one"},
		jwk:    object{"x5t": "thumbprint-one", "x5c": certificate},
		beside: []object{jwkOf(strangers["RS256"], object{"kid": "k2", "x5t": "thumbprint-two", "x5c": certificate})},
		claims: object{
			"aud": "https://chat.example.com", "iss": "http://adfs.example.com/adfs/services/trust", "apptype": "Public",
			"appid": "CLIENT_ID", "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
			"auth_time": "2023-02-15T11:21:06.873Z", "ver": "1.0", "scp": "openid chat", "sub": "j8Jm6GT",
		},
		tokens: map[string]variant{
			"of an older server, by thumbprint": {header: object{"kid": nil}},
			"while certificates roll over":      {header: object{"kid": nil, "x5t": nil}},
			"for no API":                        {claims: object{"aud": "urn:microsoft:userinfo"}, want: invalid},
			"an ID token": {claims: object{
				"iss": "https://adfs.example.com/adfs", "aud": "CLIENT_ID", "scp": nil,
			}, want: invalid},
			"by the other certificate": {header: object{"x5t": "thumbprint-two", "kid": nil}, want: invalid},
		},
	},
	"Azure AD B2C": {
		issuer: wsauth.Issuer{
			Name: "https://TENANT.b2clogin.com/TENANT_ID/v2.0/", Audience: []string{"API_CLIENT_ID"},
			Keys: wsauth.JWKS{
				DiscoveryURL: "https://TENANT.b2clogin.com/TENANT.onmicrosoft.com/POLICY/v2.0/.well-known/openid-configuration",
			},
		},
		set: "https://TENANT.b2clogin.com/TENANT.onmicrosoft.com/POLICY/discovery/v2.0/keys",
		alg: "RS256",
		jwk: object{"alg": nil, "nbf": 1493763266},
		claims: object{
			"iss": "https://TENANT.b2clogin.com/TENANT_ID/v2.0/", "aud": "API_CLIENT_ID", "sub": uuid, "tfp": "B2C_1_signin",
			"scp": "chat", "azp": "CLIENT_ID", "ver": "1.0", "nonce": "defaultNonce", "nbf": time.Now().Unix(),
		},
		tokens: map[string]variant{
			"an ID token":       {claims: object{"aud": "CLIENT_ID", "scp": nil, "azp": nil}, want: invalid},
			"of another tenant": {claims: object{"iss": "https://TENANT.b2clogin.com/" + uuid + "/v2.0/"}, want: invalid},
			"with the policy in iss": {claims: object{
				"iss": "https://TENANT.b2clogin.com/tfp/TENANT_ID/b2c_1_signin/v2.0/",
			}, want: invalid},
		},
	},
	"WorkOS": {
		issuer: wsauth.Issuer{ // sessions have no aud: authKitSession tells them from other tokens
			Name: "https://api.workos.com", AnyAudience: true,
			Keys: wsauth.JWKS{URL: "https://api.workos.com/sso/jwks/CLIENT_ID"},
		},
		require: authKitSession,
		alg:     "RS256",
		claims: object{
			"iss": "https://api.workos.com", "sub": "user_01HBEQKA6K4QJAS93VPE39W1JT", "sid": "session_01HQSXZGF8",
			"org_id": "org_01HRDMC6CM357W30QMHMQ96Q0S", "role": "member", "roles": []string{"member"},
			"permissions": []string{"chat:write"}, "entitlements": []string{"audit-logs"}, "jti": "01HQSXZXPPFPKMDD32RKTFY6PV",
		},
		own: &struct {
			Permissions []string `json:"permissions"`
		}{},
		roles: "{[chat:write]}",
		tokens: map[string]variant{
			"for an application of others": {claims: object{"aud": "https://mail.example.com"}, want: wsauth.ErrForbidden},
			"of no session":                {claims: object{"sid": nil}, want: wsauth.ErrForbidden},
			"of another environment":       {header: object{"kid": "k2"}, key: strangers["RS256"], want: invalid},
		},
	},
	"Ory Hydra": {
		issuer: wsauth.Issuer{
			Name: "https://hydra.example.com", Audience: []string{"chat"}, Keys: wsauth.JWKS{},
		},
		set:    "https://hydra.example.com/.well-known/jwks.json",
		alg:    "RS256",
		beside: []object{jwkOf(strangers["RS256"], object{"kid": "the key of ID tokens"})},
		claims: object{
			"aud": []string{"chat"}, "client_id": "CLIENT_ID", "ext": object{}, "iss": "https://hydra.example.com", "jti": uuid,
			"nbf": time.Now().Unix(), "scp": []string{"openid", "chat"}, "sub": "alice",
		},
		tokens: map[string]variant{
			"whose client asked for no audience": {claims: object{"aud": []string{}}, want: invalid},
			"an ID token":                        {claims: object{"aud": []string{"CLIENT_ID"}, "scp": nil}, want: invalid},
			"opaque":                             {raw: "ory_at_7mwq3dTDWSAcYyhkLZsZ1Fa5hqGq7BAN.8Tb0DXmAZ5", want: invalid},
		},
	},
	"Duende": {
		issuer: wsauth.Issuer{ // the audience is the name of an ApiResource
			Name: "https://identity.example.com", Audience: []string{"chat"}, Type: "at+jwt", Keys: wsauth.JWKS{},
		},
		set:    "https://identity.example.com/.well-known/openid-configuration/jwks",
		alg:    "RS256",
		header: object{"typ": "at+jwt"},
		claims: object{
			"iss": "https://identity.example.com", "aud": "chat", "scope": []string{"openid", "chat"}, "amr": []string{"pwd"},
			"client_id": "CLIENT_ID", "sub": "alice", "auth_time": 1700000000, "idp": "local", "sid": "7F3B", "jti": "B4A1",
			"nbf": time.Now().Unix(),
		},
		tokens: map[string]variant{
			"with one scope":              {claims: object{"scope": "chat"}},
			"with an audience for all":    {claims: object{"aud": []string{"chat", "https://identity.example.com/resources"}}},
			"of a scope without resource": {claims: object{"aud": nil}, want: invalid},
			"for every API": {claims: object{
				"aud": "https://identity.example.com/resources",
			}, want: invalid},
			"an ID token": {header: object{"typ": "JWT"}, claims: object{"aud": "CLIENT_ID", "scope": nil}, want: invalid},
		},
	},
	"Spring": {
		issuer: wsauth.Issuer{ // with RequireScopes: an ID token has the same aud
			Name: "https://auth.example.com", Audience: []string{"CLIENT_ID"}, Keys: wsauth.JWKS{},
		},
		scopes: []string{"chat"},
		set:    "https://auth.example.com/oauth2/jwks",
		alg:    "RS256",
		header: object{"typ": nil},
		jwk:    object{"alg": nil, "use": nil},
		claims: object{
			"iss": "https://auth.example.com", "sub": "alice", "aud": "CLIENT_ID", "nbf": time.Now().Unix(), "jti": uuid,
			"scope": []string{"openid", "chat"},
		},
		tokens: map[string]variant{
			"of a machine": {claims: object{"sub": "CLIENT_ID", "scope": []string{"chat"}}},
			"an ID token": {claims: object{
				"azp": "CLIENT_ID", "sid": "x", "auth_time": 1700000000, "nbf": nil, "scope": nil,
			}, want: wsauth.ErrForbidden},
			"of another client": {claims: object{"aud": []string{"OTHER"}}, want: invalid},
		},
	},
	"Laravel Passport": {
		issuer: wsauth.Issuer{ // the audience is the client ID; passportKey is storage/oauth-public.key
			AnyIssuer: true, Audience: []string{"CLIENT_ID"}, Keys: wsauth.PublicKeysPEM(passportKey),
		},
		key:    providerKeys["RS256"],
		alg:    "RS256",
		header: object{"kid": nil},
		claims: object{
			"aud": "CLIENT_ID", "jti": strings.Repeat("5f", 40), "iat": 1700000000.123456, "nbf": 1700000000.123456,
			"exp": float64(time.Now().AddDate(1, 0, 0).Unix()) + 0.5, "sub": "1", "scopes": []string{"chat"},
		},
		own: &struct {
			Scopes []string `json:"scopes"`
		}{},
		roles: "{[chat]}",
		tokens: map[string]variant{
			"with an integer for a subject": {claims: object{"sub": 1}},
			"of a machine":                  {claims: object{"sub": ""}},
			"of another client":             {claims: object{"aud": "OTHER"}, want: invalid},
			"for nobody":                    {claims: object{"aud": nil}, want: invalid},
		},
	},
	"Symfony Lexik": {
		issuer: wsauth.Issuer{ // lexikKey is config/jwt/public.pem; symfonyUser looks at the rest
			AnyIssuer: true, AnyAudience: true, Keys: wsauth.PublicKeysPEM(lexikKey),
		},
		require: symfonyUser,
		key:     providerKeys["RS256"],
		alg:     "RS256",
		header:  object{"kid": nil},
		claims:  object{"username": "alice", "roles": []string{"ROLE_USER"}},
		own: &struct {
			Roles []string `json:"roles"`
		}{},
		roles: "{[ROLE_USER]}",
		tokens: map[string]variant{
			"for another application": {claims: object{"aud": "mail"}, want: wsauth.ErrForbidden},
			"of another issuer":       {claims: object{"iss": "https://mail.example.com"}, want: wsauth.ErrForbidden},
			"of no user":              {claims: object{"username": nil}, want: wsauth.ErrForbidden},
		},
	},
	"Apple": {
		issuer: wsauth.Issuer{ // the audiences are the bundle ID of the app and the Services ID of the page
			Name: "https://appleid.apple.com", Audience: []string{"com.example.chat", "com.example.chat.web"},
			Keys: wsauth.JWKS{URL: "https://appleid.apple.com/auth/keys"},
		},
		alg:    "RS256",
		header: object{"typ": nil},
		claims: object{
			"iss": "https://appleid.apple.com", "aud": "com.example.chat", "sub": "001393.6d621dadasdd04956bds129fa982ba.1517",
			"c_hash": "dZusyqBNIzmfd8Uv_cVKSw", "email": "abcd@privaterelay.appleid.com", "email_verified": "true",
			"is_private_email": "true", "auth_time": 1700000000, "nonce_supported": true,
		},
		tokens: map[string]variant{
			"with booleans":     {claims: object{"email_verified": true, "is_private_email": true}},
			"of another app":    {claims: object{"aud": "com.example.mail"}, want: invalid},
			"a client's secret": {claims: object{"iss": "TEAM_ID", "aud": "https://appleid.apple.com"}, want: invalid},
		},
	},
	"Logto": {
		issuer: wsauth.Issuer{ // the audience is the identifier of an API resource
			Name: "https://TENANT.logto.app/oidc", Audience: []string{"https://chat.example.com"}, Keys: wsauth.JWKS{},
		},
		set:    "https://TENANT.logto.app/oidc/jwks",
		alg:    "ES384",
		header: object{"typ": "at+jwt"},
		claims: object{
			"jti": uuid, "sub": "foo123", "scope": "chat", "client_id": "CLIENT_ID", "iss": "https://TENANT.logto.app/oidc",
			"aud": "https://chat.example.com",
		},
		tokens: map[string]variant{
			"an ID token":              {header: object{"typ": "JWT"}, claims: object{"aud": "CLIENT_ID"}, want: invalid},
			"of an organization":       {claims: object{"aud": "urn:logto:organization:ORGANIZATION_ID"}, want: invalid},
			"opaque, without resource": {raw: "Zyb1hPxQdKnNSeTLlTsuMPBVbyGVsUlUBiZAZ6eCmbs", want: invalid},
		},
	},
	"Stytch": {
		issuer: wsauth.Issuer{ // session JWTs; in a test project the host of the URL is test.stytch.com
			Name: "stytch.com/PROJECT_ID", Audience: []string{"PROJECT_ID"},
			Keys: wsauth.JWKS{URL: "https://api.stytch.com/v1/sessions/jwks/PROJECT_ID"},
		},
		alg: "RS256",
		jwk: object{"key_ops": []string{"verify"}, "x5c": certificate, "x5tS256": "UhvUPS8FX9OUsPEK2NLxfC8pBUPvhJtbdR"},
		claims: object{
			"iss": "stytch.com/PROJECT_ID", "aud": []string{"PROJECT_ID"}, "sub": "user-live-16d9ba61",
			"nbf": time.Now().Unix(), "https://stytch.com/session": object{
				"id": "session-live-fe6c042b", "started_at": "2021-08-09T07:41:52Z", "expires_at": "2021-08-10T07:41:52Z",
				"authentication_factors": []object{{"type": "magic_link", "delivery_method": "email"}},
			},
		},
		tokens: map[string]variant{
			"of another project":       {claims: object{"iss": "stytch.com/OTHER", "aud": []string{"OTHER"}}, want: invalid},
			"a session token, not JWT": {raw: "WJtR5BCy38Szd5AfoDpf0iqFKEt4EE5JhjlWUY7l3FtY", want: invalid},
		},
	},
	"Supabase while it changes over": {
		issuer: wsauth.Issuer{
			Name: "https://PROJECT.supabase.co/auth/v1", Audience: []string{"authenticated"},
			Keys: wsauth.AnyOf(wsauth.HMAC(jwtSecret), wsauth.JWKS{}),
		},
		keys:   func(remote wsauth.JWKS) wsauth.Keys { return wsauth.AnyOf(wsauth.HMAC(jwtSecret), remote) },
		set:    "https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json",
		alg:    "ES256",
		claims: supabaseClaims,
		tokens: map[string]variant{
			"of the secret":         {header: object{"alg": "HS256", "kid": nil}, key: supabaseKey},
			"of the secret, by kid": {header: object{"alg": "HS256", "kid": "dG9rZW4"}, key: supabaseKey},
			"of another secret":     {header: object{"alg": "HS256", "kid": nil}, key: strangers["HS256"], want: invalid},
			"of a public key as a secret": {
				header: object{"alg": "HS256"}, want: invalid,
				key: &mint.Key{Alg: "HS256", Private: publicPEM(providerKeys["ES256"])},
			},
			"the anon key": {
				header: object{"alg": "HS256", "kid": nil}, key: supabaseKey,
				claims: object{"iss": "supabase", "role": "anon", "aud": nil, "sub": nil}, want: invalid,
			},
		},
	},
	"Keycloak in a compose file": {
		issuer: wsauth.Issuer{ // its public name, and the address inside
			Name: "https://keycloak.example.com/realms/REALM", Audience: []string{"chat"},
			Keys: wsauth.JWKS{URL: "http://keycloak:8080/realms/REALM/protocol/openid-connect/certs", PlainHTTP: true},
		},
		jwk:    mostUsed["Keycloak"].jwk,
		alg:    "RS256",
		claims: mostUsed["Keycloak"].claims,
		tokens: map[string]variant{
			"of the internal name": {claims: object{"iss": "http://keycloak:8080/realms/REALM"}, want: invalid},
			"without the mapper":   {claims: object{"aud": "account"}, want: invalid},
		},
	},
	"Supabase with its cookie": {
		issuer: wsauth.Issuer{
			Name: "https://PROJECT.supabase.co/auth/v1", Audience: []string{"authenticated"}, Keys: wsauth.JWKS{},
		},
		from: wsauth.FromCookieFunc("sb-PROJECT-auth-token", fromSession),
		carry: func(token string) string {
			session := mint.JSON(object{"access_token": token, "token_type": "bearer", "refresh_token": "v1.Mx"})
			return inPieces("sb-PROJECT-auth-token", "base64-"+mint.Base64([]byte(session)))
		},
		set:    "https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json",
		jwk:    object{"key_ops": []string{"verify"}, "ext": true},
		alg:    "ES256",
		claims: supabaseClaims,
		tokens: map[string]variant{
			"of another project": {claims: object{"iss": "https://OTHER.supabase.co/auth/v1"}, want: invalid},
			"for nobody":         {claims: object{"aud": nil}, want: invalid},
		},
	},
	"Auth.js": {
		issuer: wsauth.Issuer{ // authSecret is what your own jwt.encode signs with, HS256
			Keys: wsauth.HMAC(authSecret),
		},
		from:   wsauth.FromCookieFunc("__Secure-authjs.session-token", whole),
		carry:  func(token string) string { return inPieces("__Secure-authjs.session-token", token) },
		key:    authSecretKey,
		alg:    "HS256",
		claims: object{"name": "Alice", "email": "alice@example.com", "picture": nil, "sub": "1", "jti": uuid},
		tokens: map[string]variant{
			"encrypted, as by default": {raw: jweToken, want: invalid},
			"for somebody else":        {claims: object{"aud": "mail"}, want: invalid},
		},
	},
}

func TestTheTenantsOfCustomersAreFound(t *testing.T) {
	const customer = "https://login.microsoftonline.com/CUSTOMERS_TENANT_ID/v2.0"
	p := mostUsed["Entra ID"]
	found, err := findCustomer(t.Context(), customer)
	if err != nil {
		t.Fatal(err)
	}
	p.issuer = found
	for iss, want := range map[string]int{
		customer: http.StatusNoContent,
		"https://login.microsoftonline.com/TENANT_ID/v2.0": http.StatusUnauthorized,
	} {
		if status, _ := p.serve(t, "GET", p.token(variant{claims: object{"iss": iss}})); status != want {
			t.Errorf("%s: got status %d, want %d", iss, status, want)
		}
	}

	auth, err := wsauth.New(wsauth.Options{FindIssuer: findCustomer})
	if err != nil {
		t.Fatal(err)
	}
	stranger := variant{claims: object{"iss": "https://login.microsoftonline.com/" + otherUUID + "/v2.0"}}
	verify(t, auth, p.token(stranger), wsauth.ErrInvalidToken)
}
