package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// This file stands in for a real identity provider: Keycloak, Auth0, Entra ID, or whatever knows your users. It is the
// part of the quickstart NOT to copy: its login believes any name, and its keys live as long as the process. None of it
// belongs to wsauth, which only verifies what an issuer has signed.

const (
	es256 = "ES256" // signed with a private key; the public one is in the JWKS
	hs256 = "HS256" // signed with a secret that the server knows, too
)

// An idp is two issuers in one, so that the page can show both: one signs with a key pair and publishes a JWKS, the
// other shares a secret.
type idp struct {
	keyName    string // the iss of tokens signed with the key
	secretName string // the iss of tokens signed with the secret
	audience   string
	ttl        time.Duration

	key    *ecdsa.PrivateKey
	secret []byte
}

const keyID = "demo-1"

func newIDP(keyName string, ttl time.Duration) (*idp, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return &idp{
		keyName: keyName, secretName: "quickstart-secret", audience: "quickstart", ttl: ttl, key: key, secret: secret,
	}, nil
}

// mint makes a token (RFC 7519) of a new login, in the compact form (RFC 7515 section 7.1).
func (p *idp) mint(alg, subject string, issued time.Time, ttl time.Duration) (string, error) {
	return p.mintFor(rand.Text(), alg, subject, issued, ttl)
}

// mintFor makes a token of a login, which its sid names.
func (p *idp) mintFor(session, alg, subject string, issued time.Time, ttl time.Duration) (string, error) {
	header := map[string]any{"alg": alg, "typ": "at+jwt"}
	expires := issued.Add(ttl + time.Second - 1) // rounded up: it must not end before the login said it would
	claims := map[string]any{
		"iss": p.secretName, "aud": p.audience, "sub": subject, "scope": "chat", "sid": session, "jti": rand.Text(),
		"iat": issued.Unix(), "exp": expires.Unix(),
	}
	if alg == es256 {
		header["kid"], claims["iss"] = keyID, p.keyName
	}
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64URL(h) + "." + base64URL(c)
	signature, err := p.sign(alg, signed)
	if err != nil {
		return "", err
	}
	return signed + "." + base64URL(signature), nil
}

func (p *idp) sign(alg, text string) ([]byte, error) {
	if alg == hs256 {
		mac := hmac.New(sha256.New, p.secret)
		mac.Write([]byte(text))
		return mac.Sum(nil), nil
	}
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64) // RFC 7518 section 3.4: r and s, 32 bytes each
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

// serveJWKS publishes the public key (RFC 7517).
func (p *idp) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	point, err := p.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]any{"keys": []map[string]any{{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": es256, "kid": keyID,
		"x": base64URL(point[1:33]), "y": base64URL(point[33:]),
	}}})
}

// maxTTL is the longest lifetime that a client can ask for.
const maxTTL = time.Hour

// login believes any name: this is a demo. It hands the token out in two ways, so that the page can show both: as JSON
// to the script, and as a cookie that no script can read. A page that needs the next token of a login says which login
// that is; a real provider has refresh tokens for that.
func (p *idp) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name := strings.TrimSpace(r.PostFormValue("name"))
	alg := cmp.Or(r.PostFormValue("key"), es256)
	if name == "" || len(name) > 100 || !utf8.ValidString(name) || alg != es256 && alg != hs256 {
		http.Error(w, "send name=…, at most 100 bytes, and key=ES256 or key=HS256", http.StatusBadRequest)
		return
	}
	ttl, err := parseTTL(r.PostFormValue("ttl"), p.ttl)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	session := r.PostFormValue("sid")
	if len(session) != len(rand.Text()) {
		session = rand.Text()
	}
	token, err := p.mintFor(session, alg, name, time.Now(), ttl)
	if err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	http.SetCookie(w, p.cookie(token, ttl))
	writeToken(w, token, ttl)
}

// parseTTL reads how many seconds a token should live.
func parseTTL(text string, usual time.Duration) (time.Duration, error) {
	if text == "" {
		return usual, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 1 || seconds > int(maxTTL/time.Second) {
		return 0, fmt.Errorf("send ttl=…, from 1 to %d seconds", int(maxTTL/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}

// sample hands out tokens for attempts that must fail, without a login and without a cookie: a token of guest, who is
// nobody, a token of somebody else, or an expired token.
func (p *idp) sample(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	subject, issued, ttl := "guest", time.Now(), time.Minute
	switch kind := r.PostFormValue("kind"); kind {
	case "good":
	case "other":
		subject, ttl = "mallory", 2*time.Minute // longer, so that it is not refused for that
	case "expired":
		issued = issued.Add(-time.Hour)
	default:
		http.Error(w, "send kind=good, kind=other or kind=expired", http.StatusBadRequest)
		return
	}
	token, err := p.mint(es256, subject, issued, ttl)
	if err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	writeToken(w, token, ttl)
}

func writeToken(w http.ResponseWriter, token string, ttl time.Duration) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(ttl.Seconds())})
}

// forget removes the cookie.
func (p *idp) forget(w http.ResponseWriter) { http.SetCookie(w, p.cookie("", -time.Second)) }

func (p *idp) cookie(token string, ttl time.Duration) *http.Cookie {
	return &http.Cookie{
		Name:     "access_token",
		Value:    token,
		Path:     "/ws", // sent where it is needed, and nowhere else
		MaxAge:   int(ttl.Seconds()),
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
		// With TLS, also set Secure: true. This server has no TLS.
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "%s\n", text)
}

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
