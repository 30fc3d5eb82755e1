package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"
)

// This file stands in for an identity provider. It is NOT the part to copy: its login believes any name.

const (
	issuer   = "https://id.example.com/"
	audience = "cluster"
	cookie   = "access_token"
)

func newSecret() []byte {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return secret
}

// mint makes a token that lives for lifetime.
func (c *cluster) mint(subject string, lifetime time.Duration) string {
	now := time.Now()
	claims, _ := json.Marshal(map[string]any{ // strings and numbers always have a JSON form
		"iss": issuer, "aud": audience, "sub": subject, "sid": rand.Text(), "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Unix() + int64(lifetime/time.Second),
	})
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// logIn puts a token into a cookie. Browsers send it to the other servers, too: cookies are not bound to a port.
func (c *cluster) logIn(w http.ResponseWriter, r *http.Request) {
	subject := r.FormValue("user")
	if subject == "" || len(subject) > 100 {
		http.Error(w, "who are you?", http.StatusBadRequest)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: c.mint(subject, keep), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.WriteHeader(http.StatusNoContent)
}

// list returns the origins of all servers.
func (c *cluster) list(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(c.origins)
}
