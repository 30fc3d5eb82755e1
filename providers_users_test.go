package wsauth_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

func moderators(_ context.Context, c *wsauth.Claims) error {
	var own struct {
		RealmAccess struct{ Roles []string } `json:"realm_access"`
	}
	if err := c.Decode(&own); err != nil {
		return err
	}
	if !slices.Contains(own.RealmAccess.Roles, "moderator") {
		return errors.New("not a moderator")
	}
	return nil
}

func fromOurPages(_ context.Context, c *wsauth.Claims) error {
	var own struct {
		AuthorizedParty string `json:"azp"`
		Status          string `json:"sts"`
	}
	if err := c.Decode(&own); err != nil {
		return err
	}
	if len(c.Audience) > 0 || own.AuthorizedParty != "https://app.example.com" || own.Status == "pending" {
		return errors.New("not a session of this application")
	}
	return nil
}

// withID tells Zitadel's access tokens from its ID tokens.
func withID(_ context.Context, c *wsauth.Claims) error {
	if c.ID == "" {
		return errors.New("no jti")
	}
	return nil
}

// The providers of most users, which come first in docs/providers.md.
var mostUsed = map[string]identityProvider{
	"Auth0": {
		issuer: wsauth.Issuer{ // the audience is the identifier of the API
			Name: "https://TENANT.eu.auth0.com/", Audience: []string{"https://chat.example.com"}, Keys: wsauth.JWKS{},
		},
		set: "https://TENANT.eu.auth0.com/.well-known/jwks.json",
		jwk: object{"x5t": "k1", "x5c": certificate},
		alg: "RS256",
		claims: object{
			"iss": "https://TENANT.eu.auth0.com/", "sub": "auth0|6553da60a54af58e29493993",
			"aud": []string{"https://chat.example.com", "https://TENANT.eu.auth0.com/userinfo"},
			"azp": "CLIENT_ID", "scope": "openid profile", "permissions": []string{"chat:moderate"},
			"https://chat.example.com/roles": []string{"moderator"},
		},
		own: &struct {
			Permissions []string `json:"permissions"`
		}{},
		roles: "{[chat:moderate]}",
		tokens: map[string]variant{
			"of the RFC 9068 profile": {
				header: object{"typ": "at+jwt"}, claims: object{"azp": nil, "client_id": "CLIENT_ID", "jti": "73WakrfVbNJB"},
			},
			"of a machine": {claims: object{
				"sub": "CLIENT_ID@clients", "aud": "https://chat.example.com", "gty": "client-credentials",
			}},
			"for the Management API": {claims: object{"aud": "https://TENANT.eu.auth0.com/api/v2/"}, want: invalid},
			"an ID token":            {claims: object{"aud": "CLIENT_ID", "azp": nil, "scope": nil}, want: invalid},
			"opaque":                 {raw: "V1hZ6jUyqJ7ZkO0mR2cT9fLxPq3sNbWd", want: invalid},
			"encrypted":              {raw: jweToken, want: invalid},
			"bound to a certificate": {claims: object{"cnf": object{"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64"}}, want: invalid},
			"of a custom domain":     {claims: object{"iss": "https://login.example.com/"}, want: invalid},
			"without a final slash":  {claims: object{"iss": "https://TENANT.eu.auth0.com"}, want: invalid},
		},
	},
	"Keycloak": {
		issuer: wsauth.Issuer{ // the audience is a client of the realm, put into aud by a mapper
			Name: "https://keycloak.example.com/realms/REALM", Audience: []string{"chat"}, Keys: wsauth.JWKS{},
		},
		require: moderators,
		set:     "https://keycloak.example.com/realms/REALM/protocol/openid-connect/certs",
		jwk:     object{"x5t": "hW2aW5s", "x5t#S256": "T4fM", "x5c": certificate},
		alg:     "RS256",
		claims: object{
			"iss": "https://keycloak.example.com/realms/REALM", "sub": uuid, "jti": "onrtac:" + otherUUID,
			"aud": []string{"chat", "account"}, "typ": "Bearer", "azp": "frontend", "sid": otherUUID, "acr": "1",
			"allowed-origins": []string{"https://app.example.com"},
			"realm_access":    object{"roles": []string{"offline_access", "moderator"}},
			"resource_access": object{"chat": object{"roles": []string{"writer"}}},
			"scope":           "openid profile", "preferred_username": "alice",
		},
		own: &struct {
			RealmAccess struct{ Roles []string } `json:"realm_access"`
		}{},
		roles: "{{[offline_access moderator]}}",
		tokens: map[string]variant{
			"with the other header type": {header: object{"typ": "at+jwt"}},
			"of a service account": {claims: object{
				"client_id": "bot", "clientHost": "192.0.2.1", "clientAddress": "192.0.2.1", "sid": nil,
			}},
			"without the mapper":  {claims: object{"aud": "account"}, want: invalid},
			"without roles":       {claims: object{"aud": nil, "realm_access": nil, "resource_access": nil}, want: invalid},
			"without this role":   {claims: object{"realm_access": nil}, want: wsauth.ErrForbidden},
			"an ID token":         {claims: object{"aud": "frontend", "typ": "ID"}, want: invalid},
			"a logout token":      {header: object{"typ": "logout+jwt"}, want: invalid},
			"bound by DPoP":       {claims: object{"cnf": object{"jkt": "0ZcOCORZNYy-DWpqq30jZy"}}, want: invalid},
			"of another realm":    {claims: object{"iss": "https://keycloak.example.com/realms/master"}, want: invalid},
			"of an internal name": {claims: object{"iss": "http://keycloak:8080/realms/REALM"}, want: invalid},
		},
	},
	"Okta": {
		issuer: wsauth.Issuer{
			Name: "https://ORG.okta.com/oauth2/default", Audience: []string{"api://default"}, Keys: wsauth.JWKS{},
		},
		set:    "https://ORG.okta.com/oauth2/default/v1/keys",
		jwk:    object{"status": "ACTIVE"},
		alg:    "RS256",
		header: object{"typ": nil},
		claims: object{
			"ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": "https://ORG.okta.com/oauth2/default",
			"aud": "api://default", "sub": "alice@example.com", "cid": "CLIENT_ID", "uid": "00ujmkLgagxeRrAg20g3",
			"scp": []string{"openid", "chat"}, "groups": []string{"Everyone", "Moderators"},
		},
		own: &struct {
			Groups []string `json:"groups"`
		}{},
		roles: "{[Everyone Moderators]}",
		tokens: map[string]variant{
			"of the org authorization server": {
				header: object{"typ": "application/okta-internal-at+jwt"},
				claims: object{"iss": "https://ORG.okta.com", "aud": "https://ORG.okta.com"}, want: invalid,
			},
			"of its type alone":             {header: object{"typ": "application/okta-internal-at+jwt"}, want: invalid},
			"of another custom server":      {claims: object{"iss": "https://ORG.okta.com/oauth2/aus1"}, want: invalid},
			"an ID token":                   {claims: object{"aud": "CLIENT_ID", "scp": nil, "cid": nil}, want: invalid},
			"for another API of the server": {claims: object{"aud": "https://mail.example.com"}, want: invalid},
		},
	},
	"Entra ID": {
		issuer: wsauth.Issuer{
			Name: "https://login.microsoftonline.com/TENANT_ID/v2.0", Audience: []string{"API_CLIENT_ID"}, Keys: wsauth.JWKS{},
		},
		set: "https://login.microsoftonline.com/TENANT_ID/discovery/v2.0/keys",
		jwk: object{"alg": nil, "x5t": "k1", "x5c": certificate, "cloud_instance_name": "microsoftonline.com"},
		alg: "RS256",
		claims: object{
			"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0", "aud": "API_CLIENT_ID", "sub": "HKZpfaHyWadeOouYlit",
			"aio": "AXQAi/8IAAAAtAaZLo3ChMif6KOnttRB7eBq4", "azp": uuid, "azpacr": "0", "name": "Abe Lincoln", "oid": otherUUID,
			"preferred_username": "abeli@example.com", "rh": "I", "roles": []string{"Moderator"}, "scp": "access_as_user chat",
			"tid": tenant, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
		},
		own: &struct {
			Roles []string `json:"roles"`
		}{},
		roles: "{[Moderator]}",
		tokens: map[string]variant{
			"of an application": {claims: object{"scp": nil, "idtyp": "app", "azpacr": "1"}},
			"with a hundred groups": {claims: object{
				"groups": slices.Repeat([]string{otherUUID}, 100),
			}},
			"with as many groups as fit Entra": {claims: object{
				"groups": slices.Repeat([]string{otherUUID}, 200),
			}, want: invalid},
			"with a reference to the groups": {claims: object{
				"_claim_names":   object{"groups": "src1"},
				"_claim_sources": object{"src1": object{"endpoint": "https://graph.windows.net/" + tenant + "/users/1"}},
			}},
			"v1.0": {
				header: object{"x5t": "iBjL1Rcqzhiy4fpxIxdZqohM2Yk"},
				claims: object{"iss": "https://sts.windows.net/" + tenant + "/", "aud": "api://API_CLIENT_ID", "ver": "1.0"},
				want:   invalid,
			},
			"for Graph": {
				header: object{"nonce": "AQABAAAAAACJJBoKBHg2R5Vc"},
				claims: object{"aud": "00000003-0000-0000-c000-000000000000", "ver": "1.0"}, want: invalid,
			},
			"of another tenant": {claims: object{"iss": "https://login.microsoftonline.com/" + uuid + "/v2.0"}, want: invalid},
			"of the template":   {claims: object{"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}, want: invalid},
		},
	},
	"Entra ID v1.0": {
		issuer: wsauth.Issuer{
			Name: "https://sts.windows.net/TENANT_ID/", Audience: []string{"api://API_CLIENT_ID", "API_CLIENT_ID"},
			Keys: wsauth.JWKS{URL: "https://login.microsoftonline.com/TENANT_ID/discovery/keys"},
		},
		jwk:    object{"alg": nil, "x5t": "k1", "x5c": certificate},
		alg:    "RS256",
		header: object{"x5t": "iBjL1Rcqzhiy4fpxIxdZqohM2Yk"},
		claims: object{
			"aud": "api://API_CLIENT_ID", "iss": "https://sts.windows.net/" + tenant + "/", "acr": "1", "amr": []string{"pwd"},
			"appid": uuid, "appidacr": "0", "oid": otherUUID, "roles": []string{"Moderator"}, "scp": "user_impersonation",
			"sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA", "tid": tenant, "unique_name": "abeli@example.com", "ver": "1.0",
		},
		own: &struct {
			Roles []string `json:"roles"`
		}{},
		roles: "{[Moderator]}",
		tokens: map[string]variant{
			"v2.0": {claims: object{
				"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0", "aud": "API_CLIENT_ID", "ver": "2.0",
			}, want: invalid},
			"without a final slash": {claims: object{"iss": "https://sts.windows.net/" + tenant}, want: invalid},
		},
	},
	"Cognito": {
		issuer: wsauth.Issuer{ // the app clients; access tokens have no aud
			Name:      "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE",
			ClientIDs: []string{"CLIENT_ID"}, Keys: wsauth.JWKS{},
		},
		set:    "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE/.well-known/jwks.json",
		alg:    "RS256",
		header: object{"typ": nil},
		claims: object{
			"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE", "sub": uuid, "client_id": "CLIENT_ID",
			"cognito:groups": []string{"moderators"}, "token_use": "access", "scope": "openid chat/write", "username": "alice",
			"origin_jti": otherUUID, "event_id": uuid, "jti": uuid, "auth_time": 1562190524, "version": 2,
		},
		own: &struct {
			Groups []string `json:"cognito:groups"`
		}{},
		roles: "{[moderators]}",
		tokens: map[string]variant{
			"of a machine": {claims: object{"sub": "CLIENT_ID", "username": nil, "cognito:groups": nil, "scope": "chat/write"}},
			"an ID token": {claims: object{
				"aud": "CLIENT_ID", "client_id": nil, "token_use": "id", "scope": nil, "cognito:username": "alice",
			}, want: invalid},
			"of another app client": {claims: object{"client_id": "OTHER"}, want: invalid},
			"of another pool": {claims: object{
				"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_OTHER",
			}, want: invalid},
			"bound to a resource": {claims: object{"aud": "https://chat.example.com"}, want: invalid},
		},
	},
	"Cognito with resource binding": {
		issuer: wsauth.Issuer{
			Name:     "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE",
			Audience: []string{"https://chat.example.com"},
			Keys:     wsauth.JWKS{},
		},
		set:    "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE/.well-known/jwks.json",
		alg:    "RS256",
		header: object{"typ": nil},
		claims: object{
			"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE", "sub": uuid, "client_id": "CLIENT_ID",
			"aud": "https://chat.example.com", "token_use": "access", "scope": "openid", "username": "alice", "jti": uuid,
		},
		tokens: map[string]variant{
			"without":     {claims: object{"aud": nil}, want: invalid},
			"an ID token": {claims: object{"aud": "CLIENT_ID", "client_id": nil, "token_use": "id"}, want: invalid},
		},
	},
	"Google": {
		issuer: wsauth.Issuer{
			Name: "https://accounts.google.com", Audience: []string{"CLIENT_ID.apps.googleusercontent.com"}, Keys: wsauth.JWKS{},
		},
		set: "https://www.googleapis.com/oauth2/v3/certs",
		alg: "RS256",
		claims: object{
			"iss": "https://accounts.google.com", "azp": "CLIENT_ID.apps.googleusercontent.com",
			"aud": "CLIENT_ID.apps.googleusercontent.com", "sub": "110169484474386276334", "hd": "example.com",
			"email": "alice@example.com", "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "name": "Alice",
		},
		own: &struct {
			Domain string `json:"hd"`
		}{},
		roles: "{example.com}",
		tokens: map[string]variant{
			"of a service account": {claims: object{
				"azp": "107517467455664443765", "sub": "107517467455664443765", "hd": nil, "email": "x@p.iam.gserviceaccount.com",
			}},
			"of another client":            {claims: object{"aud": "OTHER.apps.googleusercontent.com"}, want: invalid},
			"by the name without a scheme": {claims: object{"iss": "accounts.google.com"}, want: invalid},
			"an access token":              {raw: "ya29.a0AfH6SMBx-Jm0tq3", want: invalid},
		},
	},
	"Firebase": {
		issuer: wsauth.Issuer{
			Name: "https://securetoken.google.com/PROJECT_ID", Audience: []string{"PROJECT_ID"}, Keys: wsauth.JWKS{},
		},
		set: "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
		alg: "RS256",
		claims: object{
			"iss": "https://securetoken.google.com/PROJECT_ID", "aud": "PROJECT_ID", "auth_time": 1700000000,
			"user_id": "Z1aBcDeF", "sub": "Z1aBcDeF", "email": "alice@example.com", "email_verified": true, "moderator": true,
			"firebase": object{
				"identities": object{"email": []string{"alice@example.com"}}, "sign_in_provider": "password",
			},
		},
		own: &struct {
			Moderator bool `json:"moderator"`
		}{},
		roles: "{true}",
		tokens: map[string]variant{
			"of another project": {
				claims: object{"iss": "https://securetoken.google.com/OTHER", "aud": "OTHER"}, want: invalid,
			},
			"a session cookie": {claims: object{"iss": "https://session.firebase.google.com/PROJECT_ID"}, want: invalid},
			"a custom token": {claims: object{
				"iss": "x@PROJECT_ID.iam.gserviceaccount.com", "sub": "x@PROJECT_ID.iam.gserviceaccount.com",
				"aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
			}, want: invalid},
			"of the emulator": {raw: mint.Base64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + mint.Base64([]byte(
				`{"iss":"https://securetoken.google.com/PROJECT_ID","aud":"PROJECT_ID","exp":4102444800}`)) + ".", want: invalid},
		},
	},
	"Supabase": {
		issuer: wsauth.Issuer{
			Name: "https://PROJECT.supabase.co/auth/v1", Audience: []string{"authenticated"}, Keys: wsauth.JWKS{},
		},
		set:    "https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json",
		jwk:    object{"key_ops": []string{"verify"}, "ext": true},
		alg:    "ES256",
		claims: supabaseClaims,
		own: &struct {
			AppMetadata struct{ Roles []string } `json:"app_metadata"`
		}{},
		roles: "{{[moderator]}}",
		tokens: map[string]variant{
			"of another project": {claims: object{"iss": "https://OTHER.supabase.co/auth/v1"}, want: invalid},
			"for nobody":         {claims: object{"aud": nil}, want: invalid},
		},
	},
	"Supabase with a shared secret": {
		key: supabaseKey,
		issuer: wsauth.Issuer{ // the bytes of the JWT secret as it is shown, not decoded
			Name: "https://PROJECT.supabase.co/auth/v1", Audience: []string{"authenticated"}, Keys: wsauth.HMAC(jwtSecret),
		},
		alg:    "HS256",
		claims: supabaseClaims,
		own: &struct {
			AppMetadata struct{ Roles []string } `json:"app_metadata"`
		}{},
		roles: "{{[moderator]}}",
		tokens: map[string]variant{
			"with a kid": {header: object{"kid": "dG9rZW4"}},
			"the anon key": {claims: object{
				"iss": "supabase", "ref": "PROJECT", "role": "anon", "aud": nil, "sub": nil,
			}, want: invalid},
			"the service_role key": {claims: object{
				"iss": "supabase", "ref": "PROJECT", "role": "service_role", "aud": nil, "sub": nil,
			}, want: invalid},
		},
	},
	"Clerk": {
		issuer: wsauth.Issuer{ // session tokens have no aud: fromOurPages looks at azp
			Name: "https://clerk.example.com", AnyAudience: true, Type: "JWT", Keys: wsauth.JWKS{},
		},
		require: fromOurPages,
		set:     "https://clerk.example.com/.well-known/jwks.json",
		alg:     "RS256",
		header:  object{"cat": "cl_B7d4PD111AAA"},
		claims: object{
			"azp": "https://app.example.com", "fva": []int{7, -1}, "iss": "https://clerk.example.com", "jti": "10db7f531a90",
			"o":   object{"id": "org_123", "slg": "acme", "rol": "admin", "per": "read,manage", "fpm": "3,2"},
			"pla": "u:free,o:pro", "fea": "o:dashboard", "sid": "sess_123", "sub": "user_123", "v": 2, "sts": "active",
		},
		own: &struct {
			Org struct {
				Role string `json:"rol"`
			} `json:"o"`
		}{},
		roles: "{{admin}}",
		tokens: map[string]variant{
			"without azp":               {claims: object{"azp": nil}, want: wsauth.ErrForbidden},
			"from another page":         {claims: object{"azp": "https://evil.example.com"}, want: wsauth.ErrForbidden},
			"of a pending session":      {claims: object{"sts": "pending"}, want: wsauth.ErrForbidden},
			"of a template, for others": {claims: object{"aud": "convex", "sid": nil}, want: wsauth.ErrForbidden},
			"of the OAuth server":       {header: object{"typ": "at+jwt"}, want: invalid},
			"of another instance":       {claims: object{"iss": "https://other.clerk.accounts.dev"}, want: invalid},
		},
	},
	"Clerk with a template": {
		issuer: wsauth.Issuer{
			Name: "https://clerk.example.com", Audience: []string{"chat"}, Keys: wsauth.JWKS{},
		},
		set: "https://clerk.example.com/.well-known/jwks.json",
		alg: "RS256",
		claims: object{
			"aud": "chat", "azp": "https://app.example.com", "iss": "https://clerk.example.com", "jti": "10db7f531a90cb2faea4",
			"sub": "user_123",
		},
		tokens: map[string]variant{
			"of another template": {claims: object{"aud": "convex"}, want: invalid},
			"of a session":        {claims: object{"aud": nil, "sid": "sess_123", "v": 2}, want: invalid},
		},
	},
	"Zitadel": {
		issuer: wsauth.Issuer{
			Name: "https://INSTANCE.zitadel.cloud", Audience: []string{"PROJECT_ID"}, Keys: wsauth.JWKS{},
		},
		require: withID,
		set:     "https://INSTANCE.zitadel.cloud/oauth/v2/keys",
		alg:     "RS256",
		claims: object{
			"iss": "https://INSTANCE.zitadel.cloud", "sub": "77776025198584418", "jti": "V2_69234237813329048",
			"aud": []string{"69234237810729234", "PROJECT_ID"}, "nbf": time.Now().Unix(),
			"urn:zitadel:iam:org:project:roles":            object{"moderator": object{"69234237810729019": "acme.example.com"}},
			"urn:zitadel:iam:org:project:PROJECT_ID:roles": object{"moderator": object{"69234237810729019": "acme.example.com"}},
		},
		own: &struct {
			Roles map[string]map[string]string `json:"urn:zitadel:iam:org:project:roles"`
		}{},
		roles: "{map[moderator:map[69234237810729019:acme.example.com]]}",
		tokens: map[string]variant{
			"an ID token": {claims: object{
				"jti": nil, "azp": "69234237810729234", "at_hash": "x", "amr": []string{"pwd"},
			}, want: wsauth.ErrForbidden},
			"of another project": {claims: object{"aud": []string{"69234237810729234", "OTHER"}}, want: invalid},
			"opaque":             {raw: "dEnGhIFs3VnqcQU5D2zRSeiarB1nwH6goIKY0J8MWZbsnWcT", want: invalid},
		},
	},
	"authentik": {
		issuer: wsauth.Issuer{
			Name: "https://authentik.example.com/application/o/chat/", Audience: []string{"CLIENT_ID"}, Keys: wsauth.JWKS{},
		},
		set: "https://authentik.example.com/application/o/chat/jwks/",
		jwk: object{"x5c": certificate, "x5t": "k1", "x5t#S256": "k1"},
		alg: "RS256",
		claims: object{
			"iss": "https://authentik.example.com/application/o/chat/", "aud": "CLIENT_ID", "azp": "CLIENT_ID",
			"sub": strings.Repeat("5f", 32), "sid": strings.Repeat("a1", 32), "acr": "goauthentik.io/providers/oauth2/default",
			"amr": []string{"pwd", "mfa"}, "auth_time": 1700000000, "uid": "m2nqWwzJ0K", "scope": "openid profile",
			"preferred_username": "alice", "groups": []string{"moderators"},
		},
		own: &struct {
			Groups []string `json:"groups"`
		}{},
		roles: "{[moderators]}",
		tokens: map[string]variant{
			"of another application": {claims: object{
				"iss": "https://authentik.example.com/application/o/mail/", "aud": "OTHER", "azp": "OTHER",
			}, want: invalid},
			"of the global issuer": {claims: object{"iss": "https://authentik.example.com/"}, want: invalid},
			"for another client":   {claims: object{"aud": "OTHER", "azp": "OTHER"}, want: invalid},
			"a logout token":       {header: object{"typ": "logout+jwt"}, want: invalid},
			"encrypted":            {raw: jweToken, want: invalid},
		},
	},
}

var supabaseClaims = object{
	"aal": "aal1", "amr": []object{{"method": "password", "timestamp": 1640991600}}, "aud": "authenticated",
	"app_metadata": object{"provider": "email", "providers": []string{"email"}, "roles": []string{"moderator"}},
	"email":        "alice@example.com", "iss": "https://PROJECT.supabase.co/auth/v1", "role": "authenticated",
	"session_id": uuid, "sub": otherUUID, "user_metadata": object{"name": "Alice"}, "is_anonymous": false,
}
