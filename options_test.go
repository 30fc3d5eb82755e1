package wsauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

var (
	es256 = mint.New("ES256", "es")
	rs256 = mint.New("RS256", "rs")
	ed    = mint.New("EdDSA", "ed")
)

// oneIssuer returns Options with one issuer, which is good except for what change does to it.
func oneIssuer(change func(*wsauth.Issuer)) wsauth.Options {
	issuer := wsauth.Issuer{Name: testIssuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey))}
	change(&issuer)
	return wsauth.Options{Issuers: []wsauth.Issuer{issuer}}
}

// withKeys are Options with one issuer that has these keys and algorithms.
func withKeys(keys wsauth.Keys, algorithms ...string) wsauth.Options {
	return oneIssuer(func(i *wsauth.Issuer) { i.Keys, i.Algorithms = keys, algorithms })
}

// secrets are different ones.
func secrets(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte(i)}, 64)
	}
	return all
}

func withExtractors(x ...wsauth.Extractor) wsauth.Options {
	o := oneIssuer(func(*wsauth.Issuer) {})
	o.Extractors = x
	return o
}

func withOrigins(origins ...string) wsauth.Options {
	o := oneIssuer(func(*wsauth.Issuer) {})
	o.Origins = origins
	return o
}

func withRealm(realm string) wsauth.Options {
	o := oneIssuer(func(*wsauth.Issuer) {})
	o.Realm = realm
	return o
}

func noKey(context.Context, string, string) (any, error) { return nil, nil }

func noToken(*http.Request) (string, error) { return "", nil }

// changedJWK returns the JWK of a key with one member changed; nil: left out.
func changedJWK(k *mint.Key, name string, value any) map[string]any {
	jwk := maps.Clone(k.JWK())
	jwk[name] = value
	if value == nil {
		delete(jwk, name)
	}
	return jwk
}

// privateJWK has the private half in it.
func privateJWK() map[string]any {
	d, err := es256.Private.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		panic(err)
	}
	return changedJWK(es256, "d", mint.Base64(d))
}

// smallRSA is an RSA public key of 1024 bits. Making one is refused by crypto/rsa, and the modulus need not have
// factors that anybody knows.
func smallRSA() *rsa.PublicKey {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 1022))
	if err != nil {
		panic(err)
	}
	return &rsa.PublicKey{N: n.SetBit(n.SetBit(n, 1023, 1), 0, 1), E: 65537}
}

const (
	shortSecret = "31 bytes are shorter than 32 ok"
	urlPassword = "hunter2-in-a-url"
)

var keysFault = []string{"Issuers[0].Keys"}

var faultyOptions = map[string]struct {
	opts wsauth.Options
	want []string // the fields
}{
	"no issuers":    {wsauth.Options{}, []string{"Issuers"}},
	"empty issuers": {wsauth.Options{Issuers: []wsauth.Issuer{}}, []string{"Issuers"}},
	"an empty issuer": {
		wsauth.Options{Issuers: []wsauth.Issuer{{}}},
		keysFault,
	},
	"client IDs and any audience": {
		oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.ClientIDs, i.AnyAudience = nil, []string{"app"}, true }),
		[]string{"Issuers[0].AnyAudience"},
	},
	"two faults of one key source": {
		withKeys(wsauth.JWKS{URL: "https://id.example.com/keys", Refresh: -1, MaxStale: -1}),
		[]string{"Issuers[0].Keys", "Issuers[0].Keys"},
	},
	"an origin with the scheme of a WebSocket": {
		wsauth.Options{Issuers: oneIssuer(func(*wsauth.Issuer) {}).Issuers, Origins: []string{"wss://*.example.com"}},
		[]string{"Origins[0]"},
	},
	"no PEM":                {withKeys(wsauth.PublicKeysPEM(nil)), keysFault},
	"a file that is no PEM": {withKeys(wsauth.PublicKeysPEM(secretOf(testKey))), keysFault},
	"half a PEM":            {withKeys(pemOf(es256)[:100]), keysFault},
	"HS256 beside PEM":      {withKeys(pemOf(rs256), "HS256", "RS256"), []string{"Issuers[0].Algorithms"}},
	"every part at once": {
		wsauth.Options{
			Issuers: []wsauth.Issuer{
				{Name: "a", Keys: wsauth.HMAC(), Audience: []string{"chat", ""}, AnyAudience: true, MaxTTL: -1,
					ClientIDs: []string{""}},
				{Name: "a", Keys: wsauth.PublicKeys{es256.Public()}, Algorithms: []string{"ES256", "none"}},
				{Keys: wsauth.HMAC(secretOf(testKey))},
			},
			Extractors: []wsauth.Extractor{{}, wsauth.FromHeader(), wsauth.FromHeader(), wsauth.FromQuery("")},
			Origins:    []string{"https://good.example.com", "*", "null"},
			CacheSize:  -1,
			Realm:      "a\nb",
		},
		[]string{
			"Issuers[0].Keys", "Issuers[0].Audience[1]", "Issuers[0].AnyAudience", "Issuers[0].ClientIDs[0]", "Issuers[0].MaxTTL",
			"Issuers[1].Name", "Issuers[1].Audience", "Issuers[1].Algorithms[1]", "Issuers[2].Name",
			"Extractors[0]", "Extractors[2]", "Extractors[3]", "Origins[1]", "Origins[2]", "Realm", "CacheSize",
		},
	},

	"audience: an empty string": {
		oneIssuer(func(i *wsauth.Issuer) { i.Audience = []string{"chat", ""} }),
		[]string{"Issuers[0].Audience[1]"},
	},
	"audience: none beside public keys": {
		oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.Keys = nil, wsauth.PublicKeys{es256.Public()} }),
		[]string{"Issuers[0].Audience"},
	},
	"audience: none beside a key set": {
		oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.Keys = nil, wsauth.KeySet(mint.SetOf(es256)) }),
		[]string{"Issuers[0].Audience"},
	},
	"audience: none beside a remote set": {
		oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.Keys = nil, wsauth.JWKS{} }),
		[]string{"Issuers[0].Audience"},
	},
	"audience: none beside a KeyFunc": {
		oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.Keys = nil, wsauth.KeyFunc(noKey) }),
		[]string{"Issuers[0].Audience"},
	},
	"audience: any, and one": {
		oneIssuer(func(i *wsauth.Issuer) { i.AnyAudience = true }),
		[]string{"Issuers[0].AnyAudience"},
	},

	"name: twice the same": {
		wsauth.Options{Issuers: []wsauth.Issuer{
			{Name: "a", Keys: wsauth.HMAC(secretOf(testKey))},
			{Name: "b", Keys: wsauth.HMAC(secretOf(testKey))},
			{Name: "a", Keys: wsauth.HMAC(secretOf(testKey))},
		}},
		[]string{"Issuers[2].Name"},
	},
	"name: none beside another issuer": {
		wsauth.Options{Issuers: []wsauth.Issuer{
			{Keys: wsauth.HMAC(secretOf(testKey))},
			{Name: "b", Keys: wsauth.HMAC(secretOf(testKey))},
		}},
		[]string{"Issuers[0].Name"},
	},
	"name: none twice": {
		wsauth.Options{Issuers: []wsauth.Issuer{
			{Keys: wsauth.HMAC(secretOf(testKey))}, {Keys: wsauth.HMAC(secretOf(testKey))},
		}},
		[]string{"Issuers[0].Name", "Issuers[1].Name"},
	},
	"name: none with public keys": {
		oneIssuer(func(i *wsauth.Issuer) { i.Name, i.Keys = "", wsauth.PublicKeys{es256.Public()} }),
		[]string{"Issuers[0].Name"},
	},
	"name: none with a key set": {
		oneIssuer(func(i *wsauth.Issuer) { i.Name, i.Keys = "", wsauth.KeySet(mint.SetOf(testKey)) }),
		[]string{"Issuers[0].Name"},
	},
	"name: none with a KeyFunc": {
		oneIssuer(func(i *wsauth.Issuer) { i.Name, i.Keys = "", wsauth.KeyFunc(noKey) }),
		[]string{"Issuers[0].Name"},
	},
	"name: none with a remote set": {
		oneIssuer(func(i *wsauth.Issuer) { i.Name, i.Keys = "", wsauth.JWKS{URL: "https://id.example.com/jwks"} }),
		[]string{"Issuers[0].Name"},
	},

	"HMAC: no secret":           {withKeys(wsauth.HMAC()), keysFault},
	"HMAC: a nil secret":        {withKeys(wsauth.HMAC(nil)), keysFault},
	"HMAC: empty":               {withKeys(wsauth.HMAC([]byte{})), keysFault},
	"HMAC: 31 bytes":            {withKeys(wsauth.HMAC([]byte(shortSecret))), keysFault},
	"HMAC: a second short":      {withKeys(wsauth.HMAC(secretOf(testKey), []byte("short"))), keysFault},
	"HMAC: five secrets":        {withKeys(wsauth.HMAC(secrets(5)...)), keysFault},
	"HMAC: a hundred secrets":   {withKeys(wsauth.HMAC(secrets(100)...)), keysFault},
	"HMAC: HS512 with 32 bytes": {withKeys(wsauth.HMAC(make([]byte, 32)), "HS512"), keysFault},
	"HMAC: HS384 with 47 bytes": {withKeys(wsauth.HMAC(make([]byte, 47)), "HS384", "HS512"), keysFault},

	"keys: a nil KeyFunc":           {withKeys(wsauth.KeyFunc(nil)), keysFault},
	"keys: no public key":           {withKeys(wsauth.PublicKeys{}), keysFault},
	"keys: a nil key":               {withKeys(wsauth.PublicKeys{nil}), keysFault},
	"keys: a nil *JWKS":             {withKeys((*wsauth.JWKS)(nil)), keysFault},
	"keys: a private RSA":           {withKeys(wsauth.PublicKeys{rs256.Private}), keysFault},
	"keys: a private ECDSA":         {withKeys(wsauth.PublicKeys{es256.Private}), keysFault},
	"keys: a private Ed25519":       {withKeys(wsauth.PublicKeys{ed.Private}), keysFault},
	"keys: a secret":                {withKeys(wsauth.PublicKeys{secretOf(testKey)}), keysFault},
	"keys: a string":                {withKeys(wsauth.PublicKeys{shortSecret}), keysFault},
	"keys: a typed nil":             {withKeys(wsauth.PublicKeys{(*rsa.PublicKey)(nil)}), keysFault},
	"keys: a nil ECDSA":             {withKeys(wsauth.PublicKeys{(*ecdsa.PublicKey)(nil)}), keysFault},
	"keys: an empty RSA":            {withKeys(wsauth.PublicKeys{&rsa.PublicKey{}}), keysFault},
	"keys: a nil Ed25519":           {withKeys(wsauth.PublicKeys{ed25519.PublicKey(nil)}), keysFault},
	"keys: an Ed25519 of low order": {withKeys(wsauth.PublicKeys{make(ed25519.PublicKey, 32)}), keysFault},
	"keys: RSA with 1024 bits":      {withKeys(wsauth.PublicKeys{smallRSA()}), keysFault},
	"keys: RSA with an even exponent": {
		withKeys(wsauth.PublicKeys{&rsa.PublicKey{N: rs256.Public().(*rsa.PublicKey).N, E: 65536}}),
		keysFault,
	},
	"keys: P-224": {
		withKeys(wsauth.PublicKeys{&ecdsa.PublicKey{Curve: elliptic.P224()}}), keysFault,
	},
	"keys: five of one algorithm": {
		withKeys(wsauth.PublicKeys{es256.Public(), es256.Public(), es256.Public(), es256.Public(), es256.Public()}), keysFault,
	},
	"keys: five blocks of PEM": {withKeys(wsauth.PublicKeysPEM(bytes.Repeat(pemOf(es256), 5))), keysFault},
	"keys: HMAC and HMAC have five secrets": {
		withKeys(wsauth.AnyOf(wsauth.HMAC(secrets(2)...), wsauth.HMAC(secrets(3)...))), keysFault,
	},
	"keys: four secrets and a KeyFunc": {
		withKeys(wsauth.AnyOf(wsauth.HMAC(secrets(4)...), wsauth.KeyFunc(noKey))), keysFault,
	},
	"keys: four public keys and a set": {
		withKeys(wsauth.AnyOf(wsauth.PublicKeysPEM(bytes.Repeat(pemOf(es256), 4)), wsauth.JWKS{URL: "https://id.example.com/jwks"})),
		keysFault,
	},
	"keys: a good one and a bad one": {withKeys(wsauth.PublicKeys{es256.Public(), rs256.Private}), keysFault},

	"set: nothing":          {withKeys(wsauth.KeySet(nil)), keysFault},
	"set: no JSON":          {withKeys(wsauth.KeySet("<html>")), keysFault},
	"set: no keys member":   {withKeys(wsauth.KeySet("{}")), keysFault},
	"set: empty":            {withKeys(wsauth.KeySet(mint.Set())), keysFault},
	"set: one key, bare":    {withKeys(wsauth.KeySet(mint.JSON(es256.JWK()))), keysFault},
	"set: a private key":    {withKeys(wsauth.KeySet(mint.Set(privateJWK()))), keysFault},
	"set: trailing data":    {withKeys(wsauth.KeySet(append(mint.SetOf(es256), '1'))), keysFault},
	"set: a bad coordinate": {withKeys(wsauth.KeySet(mint.Set(changedJWK(es256, "x", "AA")))), keysFault},
	"set: one bad key of two": {
		withKeys(wsauth.KeySet(mint.Set(rs256.JWK(), changedJWK(es256, "kty", "XX")))), keysFault,
	},
	"set: a short secret": {
		withKeys(wsauth.KeySet(mint.Set(map[string]any{"kty": "oct", "k": mint.Base64([]byte(shortSecret))}))),
		keysFault,
	},
	"set: two keys of one kid": {
		withKeys(wsauth.KeySet(mint.SetOf(mint.New("ES256", "k"), mint.New("ES256", "k")))), keysFault,
	},
	"set: an encryption key": {withKeys(wsauth.KeySet(mint.Set(changedJWK(es256, "use", "enc")))), keysFault},

	"algorithms: unknown": {
		withKeys(wsauth.HMAC(secretOf(testKey)), "HS256", "HS255"), []string{"Issuers[0].Algorithms[1]"},
	},
	"algorithms: none": {
		withKeys(wsauth.HMAC(secretOf(testKey)), "none"), []string{"Issuers[0].Algorithms[0]"},
	},
	"algorithms: empty": {
		withKeys(wsauth.HMAC(secretOf(testKey)), ""), []string{"Issuers[0].Algorithms[0]"},
	},
	"algorithms: lower case": {
		withKeys(wsauth.HMAC(secretOf(testKey)), "hs256"), []string{"Issuers[0].Algorithms[0]"},
	},
	"algorithms: two unknown": {
		withKeys(wsauth.HMAC(secretOf(testKey)), "none", "HS256", "XX"),
		[]string{"Issuers[0].Algorithms[0]", "Issuers[0].Algorithms[2]"},
	},
	"algorithms: HS256 beside public keys": {
		withKeys(wsauth.PublicKeys{rs256.Public()}, "RS256", "HS256"), []string{"Issuers[0].Algorithms"},
	},
	"algorithms: HS256 beside a remote set": {
		withKeys(wsauth.JWKS{}, "RS256", "HS256"), []string{"Issuers[0].Algorithms"},
	},
	"algorithms: RS256 beside HMAC": {
		withKeys(wsauth.HMAC(secretOf(testKey)), "HS256", "RS256"), []string{"Issuers[0].Algorithms"},
	},
	"algorithms: none fits HMAC": {
		withKeys(wsauth.HMAC(secretOf(testKey)), "RS256"), []string{"Issuers[0].Algorithms"},
	},
	"algorithms: none fits public keys": {
		withKeys(wsauth.PublicKeys{es256.Public()}, "ES384", "RS256"), []string{"Issuers[0].Algorithms"},
	},
	"algorithms: none fits the set": {
		withKeys(wsauth.KeySet(mint.SetOf(rs256)), "PS256"), []string{"Issuers[0].Algorithms"},
	},
	"algorithms: none fits a remote set": {
		withKeys(wsauth.JWKS{}, "HS256"), []string{"Issuers[0].Algorithms"},
	},

	"JWKS: http":               {withKeys(wsauth.JWKS{URL: "http://id.example.com/jwks"}), keysFault},
	"JWKS: http to an address": {withKeys(wsauth.JWKS{URL: "http://192.0.2.1/jwks"}), keysFault},
	"JWKS: http to a name that begins like loopback": {
		withKeys(wsauth.JWKS{URL: "http://127.0.0.1.evil.com/jwks"}), keysFault,
	},
	"JWKS: http to localhost's subdomain": {
		withKeys(wsauth.JWKS{URL: "http://localhost.evil.com/jwks"}), keysFault,
	},
	"JWKS: a file":      {withKeys(wsauth.JWKS{URL: "file:///etc/jwks"}), keysFault},
	"JWKS: relative":    {withKeys(wsauth.JWKS{URL: "/jwks"}), keysFault},
	"JWKS: no host":     {withKeys(wsauth.JWKS{URL: "https:///jwks"}), keysFault},
	"JWKS: only a port": {withKeys(wsauth.JWKS{URL: "https://:443/jwks"}), keysFault},
	"JWKS: user information": {
		withKeys(wsauth.JWKS{URL: "https://user:" + urlPassword + "@id.example.com/jwks"}), keysFault,
	},
	"JWKS: user information in what is no URL": {
		withKeys(wsauth.JWKS{URL: "https://user:" + urlPassword + "@id.example.com:port/\x00"}),
		keysFault,
	},
	"JWKS: a fragment":          {withKeys(wsauth.JWKS{URL: "https://id.example.com/#k"}), keysFault},
	"JWKS: a negative Refresh":  {withKeys(wsauth.JWKS{Refresh: -time.Second}), keysFault},
	"JWKS: a negative MaxStale": {withKeys(wsauth.JWKS{MaxStale: -time.Second}), keysFault},
	"discovery: a name that is no URL": {
		oneIssuer(func(i *wsauth.Issuer) { i.Name, i.Keys = "accounts", wsauth.JWKS{} }), keysFault,
	},
	"discovery: a name that is an http URL": {
		oneIssuer(func(i *wsauth.Issuer) { i.Name, i.Keys = "http://id.example.com/", wsauth.JWKS{} }),
		keysFault,
	},
	"discovery: user information in the name": {
		oneIssuer(func(i *wsauth.Issuer) {
			i.Name, i.Keys = "https://user:"+urlPassword+"@id.example.com/", wsauth.JWKS{}
		}),
		keysFault,
	},
	"a negative MaxTTL": {
		oneIssuer(func(i *wsauth.Issuer) { i.MaxTTL = -time.Second }), []string{"Issuers[0].MaxTTL"},
	},

	"revocations: a negative Keep": {
		revoking(wsauth.Revocations{Keep: -time.Second}), []string{"Revocations.Keep"},
	},
	"revocations: a MaxStale without a log": {
		revoking(wsauth.Revocations{Keep: time.Hour, MaxStale: time.Minute}), []string{"Revocations.MaxStale"},
	},
	"revocations: a log and nothing else": {
		revoking(wsauth.Revocations{Log: new(sharedLog)}), []string{"Revocations.Keep", "Revocations.MaxStale"},
	},
	"revocations: a log without Keep": {
		revoking(wsauth.Revocations{Log: new(sharedLog), MaxStale: -1}), []string{"Revocations.Keep"},
	},
	"revocations: a log without MaxStale": {
		revoking(wsauth.Revocations{Log: new(sharedLog), Keep: time.Hour}), []string{"Revocations.MaxStale"},
	},
	"revocations: a log, and a leeway that is longer than it has room for": {
		func() wsauth.Options {
			opts := revoking(wsauth.Revocations{Log: new(sharedLog), Keep: time.Hour, MaxStale: -1})
			opts.Leeway = 3*time.Minute + 1
			return opts
		}(), []string{"Leeway"},
	},
	"revocations: a nil pointer for a log": {
		revoking(wsauth.Revocations{Log: (*sharedLog)(nil), Keep: time.Hour, MaxStale: -1}), []string{"Revocations.Log"},
	},

	"extractors: the zero value": {withExtractors(wsauth.Extractor{}), []string{"Extractors[0]"}},
	"extractors: two headers": {
		withExtractors(wsauth.FromHeader(), wsauth.FromHeader()), []string{"Extractors[1]"},
	},
	"extractors: a query unnamed": {withExtractors(wsauth.FromQuery("")), []string{"Extractors[0]"}},
	"extractors: one query twice": {
		withExtractors(wsauth.FromQuery("t"), wsauth.FromHeader(), wsauth.FromQuery("t")), []string{"Extractors[2]"},
	},
	"extractors: one cookie twice": {
		withExtractors(wsauth.FromCookie("t"), wsauth.FromCookie("t")), []string{"Extractors[1]"},
	},
	"extractors: a cookie unnamed":      {withExtractors(wsauth.FromCookie("")), []string{"Extractors[0]"}},
	"extractors: a cookie with a space": {withExtractors(wsauth.FromCookie("a b")), []string{"Extractors[0]"}},
	"extractors: a cookie with an equals sign": {
		withExtractors(wsauth.FromCookie("a=b")), []string{"Extractors[0]"},
	},
	"extractors: a cookie with a semicolon": {withExtractors(wsauth.FromCookie("a;b")), []string{"Extractors[0]"}},
	"extractors: a cookie beyond ASCII":     {withExtractors(wsauth.FromCookie("ü")), []string{"Extractors[0]"}},
	"extractors: a prefix that is empty":    {withExtractors(wsauth.FromSubprotocol("")), []string{"Extractors[0]"}},
	"extractors: a prefix with a comma": {
		withExtractors(wsauth.FromSubprotocol("a,b.")), []string{"Extractors[0]"},
	},
	"extractors: a prefix with a space": {
		withExtractors(wsauth.FromSubprotocol("bearer ")), []string{"Extractors[0]"},
	},
	"extractors: a prefix with another end": {withExtractors(wsauth.FromSubprotocol("bearer-")), []string{"Extractors[0]"}},
	"extractors: a prefix of a prefix": {
		withExtractors(wsauth.FromSubprotocol("a.b."), wsauth.FromSubprotocol("a.")), []string{"Extractors[1]"},
	},
	"extractors: a prefix and a longer one": {
		withExtractors(wsauth.FromSubprotocol("a."), wsauth.FromHeader(), wsauth.FromSubprotocol("a.b.")),
		[]string{"Extractors[2]"},
	},
	"extractors: a prefix of a pair": {
		withExtractors(wsauth.FromSubprotocol("bearer."), wsauth.FromSubprotocol("bearer.token")), []string{"Extractors[1]"},
	},
	"extractors: a pair and its prefix": {
		withExtractors(wsauth.FromSubprotocol("bearer.token"), wsauth.FromSubprotocol("bearer.")), []string{"Extractors[1]"},
	},
	"extractors: a pair twice": {
		withExtractors(wsauth.FromSubprotocol("t"), wsauth.FromSubprotocol("t")), []string{"Extractors[1]"},
	},
	"extractors: one prefix twice": {
		withExtractors(wsauth.FromSubprotocol("b."), wsauth.FromSubprotocol("b.")), []string{"Extractors[1]"},
	},
	"extractors: a header of a proxy unnamed":    {withExtractors(wsauth.FromProxy("")), []string{"Extractors[0]"}},
	"extractors: a header with a space":          {withExtractors(wsauth.FromProxy("X Token")), []string{"Extractors[0]"}},
	"extractors: a header with a colon":          {withExtractors(wsauth.FromProxy("X-Token:")), []string{"Extractors[0]"}},
	"extractors: the header Cookie":              {withExtractors(wsauth.FromProxy("cookie")), []string{"Extractors[0]"}},
	"extractors: the header Host":                {withExtractors(wsauth.FromProxy("Host")), []string{"Extractors[0]"}},
	"extractors: the header of the subprotocols": {withExtractors(wsauth.FromProxy("Sec-WebSocket-Protocol")), []string{"Extractors[0]"}},
	"extractors: a header of a proxy twice": {
		withExtractors(wsauth.FromProxy("X-Token"), wsauth.FromProxy("x-token")), []string{"Extractors[1]"},
	},
	"extractors: Authorization twice": {
		withExtractors(wsauth.FromHeader(), wsauth.FromProxy("authorization")), []string{"Extractors[1]"},
	},
	"extractors: Authorization twice, the other way round": {
		withExtractors(wsauth.FromProxy("AUTHORIZATION"), wsauth.FromHeader()), []string{"Extractors[1]"},
	},
	"extractors: a cookie and its function": {
		withExtractors(wsauth.FromCookie("t"), wsauth.FromCookieFunc("t", tokenInSession)), []string{"Extractors[1]"},
	},
	"extractors: a nil function of a cookie": {withExtractors(wsauth.FromCookieFunc("t", nil)), []string{"Extractors[0]"}},
	"extractors: a function of a cookie unnamed": {
		withExtractors(wsauth.FromCookieFunc("", tokenInSession)), []string{"Extractors[0]"},
	},
	"extractors: a nil func": {withExtractors(wsauth.FromFunc(nil)), []string{"Extractors[0]"}},

	"origins: a star":        {withOrigins("*"), []string{"Origins[0]"}},
	"origins: empty":         {withOrigins(""), []string{"Origins[0]"}},
	"origins: every host":    {withOrigins("*"), []string{"Origins[0]"}},
	"origins: no scheme":     {withOrigins("app.example.com"), []string{"Origins[0]"}},
	"origins: a path":        {withOrigins("https://a.example.com/path"), []string{"Origins[0]"}},
	"origins: a final slash": {withOrigins("https://a.example.com/"), []string{"Origins[0]"}},
	"origins: null":          {withOrigins("null"), []string{"Origins[0]"}},
	"origins: an IP address has no subdomains": {
		withOrigins("https://*.1.2.3.4"), []string{"Origins[0]"},
	},
	"origins: a star inside":  {withOrigins("https://a.*.example.com"), []string{"Origins[0]"}},
	"origins: a regexp":       {withOrigins(`https://.*\.example\.com`), []string{"Origins[0]"}},
	"origins: the bad of two": {withOrigins("https://a.example.com", "https://a*"), []string{"Origins[1]"}},

	"realm: a line break":         {withRealm("a\r\nSet-Cookie: a=b"), []string{"Realm"}},
	"realm: a NUL":                {withRealm("a\x00b"), []string{"Realm"}},
	"realm: a DEL":                {withRealm("a\x7fb"), []string{"Realm"}},
	"realm: a tab":                {withRealm("a\tb"), []string{"Realm"}},
	"realm: two of them, a fault": {withRealm("a\nb\nc"), []string{"Realm"}},
}

// newOrPanic is New, with a panic for an error of its own.
func newOrPanic(opts wsauth.Options) (auth *wsauth.Authenticator, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return wsauth.New(opts)
}

func TestNewReportsEveryFaultAtOnce(t *testing.T) {
	for name, row := range faultyOptions {
		t.Run(name, func(t *testing.T) {
			auth, err := newOrPanic(row.opts)
			if err == nil {
				t.Fatalf("no fault, want %q", row.want)
			}
			if auth != nil {
				t.Error("an Authenticator beside an error")
			}
			joined, ok := err.(interface{ Unwrap() []error })
			if !ok {
				t.Fatalf("%T (%v) is not joined", err, err)
			}
			var fields []string
			for _, e := range joined.Unwrap() {
				fault, ok := e.(*wsauth.OptionError)
				if !ok {
					t.Fatalf("%T (%v) is no *OptionError", e, e)
				}
				fields = append(fields, fault.Field)
				if want := "wsauth: " + fault.Field + ": " + fault.Reason; fault.Error() != want || fault.Reason == "" {
					t.Errorf("Error() = %q, want %q", fault.Error(), want)
				}
			}
			slices.Sort(fields)
			want := slices.Sorted(slices.Values(row.want))
			if !slices.Equal(fields, want) {
				t.Errorf("fields = %q, want %q\n%v", fields, want, err)
			}
			var first *wsauth.OptionError
			if !errors.As(err, &first) {
				t.Error("errors.As finds no *OptionError")
			}
		})
	}
}

func TestNoSecretIsInAFault(t *testing.T) {
	var secrets []string
	for _, s := range [][]byte{
		[]byte(shortSecret), []byte(urlPassword), secretOf(testKey), es256.Private.(*ecdsa.PrivateKey).D.Bytes(),
		rs256.Private.(*rsa.PrivateKey).D.Bytes(), ed.Private.(ed25519.PrivateKey).Seed(),
	} {
		secrets = append(secrets, string(s), mint.Base64(s), base64.StdEncoding.EncodeToString(s),
			hex.EncodeToString(s), fmt.Sprint(s), fmt.Sprintf("%q", s), new(big.Int).SetBytes(s).String())
	}
	for name, row := range faultyOptions {
		t.Run(name, func(t *testing.T) {
			_, err := newOrPanic(row.opts)
			for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
				for _, s := range secrets {
					if strings.Contains(text, s) {
						t.Errorf("%q contains the secret %q", text, s)
					}
				}
			}
		})
	}
}

// revoking has one issuer, and these revocations.
func revoking(r wsauth.Revocations) wsauth.Options {
	opts := oneIssuer(func(*wsauth.Issuer) {})
	opts.Revocations = r
	return opts
}

func TestNewAcceptsGoodOptions(t *testing.T) {
	for name, opts := range map[string]wsauth.Options{
		"revocations for a time":       revoking(wsauth.Revocations{Keep: time.Hour}),
		"revocations with a log":       revoking(wsauth.Revocations{Log: new(sharedLog), Keep: time.Hour, MaxStale: time.Minute}),
		"a log that may be away":       revoking(wsauth.Revocations{Log: new(sharedLog), Keep: time.Hour, MaxStale: -1}),
		"one issuer with a secret":     oneIssuer(func(*wsauth.Issuer) {}),
		"a secret and no audience":     oneIssuer(func(i *wsauth.Issuer) { i.Audience = nil }),
		"a secret and any audience":    oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.AnyAudience = nil, true }),
		"a secret and no name":         oneIssuer(func(i *wsauth.Issuer) { i.Name = "" }),
		"nothing but a secret":         {Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(make([]byte, 32))}}},
		"a name that is no URL":        oneIssuer(func(i *wsauth.Issuer) { i.Name = "accounts" }),
		"a type and a bound":           oneIssuer(func(i *wsauth.Issuer) { i.Type, i.MaxTTL = "JWT", time.Hour }),
		"two secrets":                  withKeys(wsauth.HMAC(make([]byte, 32), make([]byte, 64))),
		"four secrets":                 withKeys(wsauth.HMAC(secrets(4)...)),
		"four secrets in two parts":    withKeys(wsauth.AnyOf(wsauth.HMAC(secrets(2)...), wsauth.HMAC(secrets(2)...))),
		"four secrets beside a set":    withKeys(wsauth.AnyOf(wsauth.HMAC(secrets(4)...), wsauth.JWKS{URL: "https://id.example.com/jwks"})),
		"three secrets and a KeyFunc":  withKeys(wsauth.AnyOf(wsauth.HMAC(secrets(3)...), wsauth.KeyFunc(noKey))),
		"the same secret twice":        withKeys(wsauth.HMAC(secretOf(testKey), secretOf(testKey))),
		"HS256 with 32 bytes":          withKeys(wsauth.HMAC(make([]byte, 32)), "HS256"),
		"HS384 with 48 bytes":          withKeys(wsauth.HMAC(make([]byte, 48)), "HS384"),
		"HS512 with 64 bytes":          withKeys(wsauth.HMAC(make([]byte, 64)), "HS512"),
		"all of HS with 64 bytes":      withKeys(wsauth.HMAC(make([]byte, 64)), "HS256", "HS384", "HS512"),
		"an algorithm twice":           withKeys(wsauth.HMAC(make([]byte, 64)), "HS256", "HS256"),
		"public keys of each kind":     withKeys(wsauth.PublicKeys{es256.Public(), rs256.Public(), ed.Public()}),
		"public keys and any audience": anyAudience(wsauth.PublicKeys{es256.Public()}),
		"public keys as PEM":           withKeys(pemOf(rs256, ed)),
		"public keys and client IDs": oneIssuer(func(i *wsauth.Issuer) {
			i.Audience, i.ClientIDs, i.Keys = nil, []string{"app"}, wsauth.PublicKeys{es256.Public()}
		}),
		"an audience and client IDs":       oneIssuer(func(i *wsauth.Issuer) { i.ClientIDs = []string{"app", "cli"} }),
		"public keys narrowed":             withKeys(wsauth.PublicKeys{rs256.Public(), es256.Public()}, "PS512"),
		"Ed25519 under its two names":      withKeys(wsauth.PublicKeys{ed.Public()}, "EdDSA", "Ed25519"),
		"a key set":                        withKeys(wsauth.KeySet(mint.SetOf(es256, rs256, ed))),
		"a key set with a secret":          withKeys(wsauth.KeySet(mint.SetOf(es256, testKey))),
		"a key set of both, both narrowed": withKeys(wsauth.KeySet(mint.SetOf(es256, testKey)), "ES256", "HS256"),
		"a key set of secrets, no audience": oneIssuer(func(i *wsauth.Issuer) {
			i.Audience, i.Keys = nil, wsauth.KeySet(mint.SetOf(testKey))
		}),
		"a key set narrowed to its secret, no audience": oneIssuer(func(i *wsauth.Issuer) {
			i.Audience, i.Keys, i.Algorithms = nil, wsauth.KeySet(mint.SetOf(es256, testKey)), []string{"HS256"}
		}),
		"one kid for two algorithms": withKeys(
			wsauth.KeySet(mint.SetOf(mint.New("ES256", "k"), mint.New("EdDSA", "k")))),
		"a KeyFunc": withKeys(wsauth.KeyFunc(noKey)),
		"a KeyFunc of secrets, no audience": oneIssuer(func(i *wsauth.Issuer) {
			i.Audience, i.Keys, i.Algorithms = nil, wsauth.KeyFunc(noKey), []string{"HS256"}
		}),
		"discovery":               withKeys(wsauth.JWKS{}),
		"a remote set":            withKeys(wsauth.JWKS{URL: "https://id.example.com/jwks?a=b"}),
		"a remote set with times": withKeys(wsauth.JWKS{Refresh: time.Minute, MaxStale: time.Hour}, "RS256", "ES256"),
		"http on 127.0.0.1":       withKeys(wsauth.JWKS{URL: "http://127.0.0.1:8080/jwks"}),
		"http on ::1":             withKeys(wsauth.JWKS{URL: "http://[::1]:8080/jwks"}),
		"http on localhost":       withKeys(wsauth.JWKS{URL: "http://localhost:8080/jwks"}),
		"discovery on loopback": oneIssuer(func(i *wsauth.Issuer) {
			i.Name, i.Keys = "http://localhost:8080", wsauth.JWKS{}
		}),
		"a name that is no URL, and a remote set with one": oneIssuer(func(i *wsauth.Issuer) {
			i.Name, i.Keys = "accounts", wsauth.JWKS{URL: "https://id.example.com/jwks"}
		}),
		"two issuers with one key": {Issuers: []wsauth.Issuer{
			{Name: "a", Keys: wsauth.HMAC(secretOf(testKey))}, {Name: "b", Keys: wsauth.HMAC(secretOf(testKey))},
		}},
		"names that differ in a slash": {Issuers: []wsauth.Issuer{
			{Name: "https://a", Keys: wsauth.HMAC(secretOf(testKey))},
			{Name: "https://a/", Keys: wsauth.HMAC(secretOf(testKey))},
		}},
		"no leeway":     {Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(secretOf(testKey))}}, Leeway: -1},
		"no extractors": withExtractors(),
		"each extractor": withExtractors(wsauth.FromHeader(), wsauth.FromQuery("t"), wsauth.FromCookie("t"),
			wsauth.FromSubprotocol("bearer."), wsauth.FromFunc(noToken), wsauth.FromProxy("t"),
			wsauth.FromCookieFunc("u", tokenInSession)),
		"two of each that can be": withExtractors(wsauth.FromQuery("a"), wsauth.FromQuery("b"), wsauth.FromCookie("a"),
			wsauth.FromCookie("b"), wsauth.FromFunc(noToken), wsauth.FromFunc(noToken), wsauth.FromProxy("a"),
			wsauth.FromProxy("b"), wsauth.FromSubprotocol("a."), wsauth.FromSubprotocol("b."), wsauth.FromSubprotocol("a"),
			wsauth.FromSubprotocol("b")),
		"a cookie with a __Host- prefix": withExtractors(wsauth.FromCookie("__Host-access_token")),
		"a query with any name":          withExtractors(wsauth.FromQuery("access token[0]")),
		"origins": withOrigins("https://app.example.com", "https://*.example.com", "http://localhost:3000",
			"https://[2001:db8::1]:8443", "HTTPS://App.Example.COM:443", "chrome-extension://abcdefgh", "moz-extension://*",
			"http://localhost:*", "app://.", "file://", "https://*"),
		"a realm with quotes":     withRealm(`the "chat" \ realm`),
		"a realm of many letters": withRealm("Plaudern für alle"),
	} {
		t.Run(name, func(t *testing.T) {
			auth, err := wsauth.New(opts)
			if err != nil || auth == nil {
				t.Errorf("New: %v, %v", auth, err)
			}
		})
	}
}

func pemOf(keys ...*mint.Key) (text wsauth.PublicKeysPEM) {
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			panic(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return text
}

func anyAudience(keys wsauth.Keys) wsauth.Options {
	return oneIssuer(func(i *wsauth.Issuer) { i.Audience, i.AnyAudience, i.Keys = nil, true, keys })
}

func TestOptionsMayChangeAfterNew(t *testing.T) {
	secret := slices.Clone(secretOf(testKey))
	keys := wsauth.PublicKeys{es256.Public()}
	opts := wsauth.Options{
		Issuers: []wsauth.Issuer{
			{Name: testIssuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(secret), Algorithms: []string{"HS256"}},
			{Name: "https://other.example.com/", Audience: []string{"chat"}, Keys: keys},
		},
		Extractors: []wsauth.Extractor{wsauth.FromHeader()},
		Origins:    []string{"https://app.example.com"},
	}
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	keys[0] = crypto.PublicKey(nil)
	opts.Issuers[0].Audience[0], opts.Issuers[0].Algorithms[0] = "other", "HS512"
	opts.Issuers[0].Name = "https://evil.example.com/"
	opts.Extractors[0] = wsauth.Extractor{}
	opts.Origins[0] = "https://evil.example.com"
	for name, token := range map[string]string{
		"HMAC":        testToken(nil),
		"public keys": es256.Token(testClaims(map[string]any{"iss": "https://other.example.com/"})),
	} {
		r := readRequest(t, "GET /\nAuthorization: Bearer "+token)
		if _, err := auth.Authenticate(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewMakesNoRequests(t *testing.T) {
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("a request for %s", r.URL)
		return nil, errors.New("no network")
	})}
	if _, err := wsauth.New(withKeys(wsauth.JWKS{Client: client})); err != nil {
		t.Fatal(err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
