package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/wsauth/wsauth/internal/mint"
)

const keysPath = "/jwks.json"

func (i *issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.serveDiscovery)
	mux.HandleFunc("GET "+keysPath, i.serveKeys)
	mux.HandleFunc("POST /token", i.serveToken)
	mux.HandleFunc("POST /rotate", i.serveRotation)
	mux.HandleFunc("GET /{$}", i.servePage)
	mux.HandleFunc("POST /{$}", i.servePage)
	return i.onlyLocal(http.NewCrossOriginProtection().Handler(mux))
}

// onlyLocal refuses requests whose Host is not this issuer on loopback. A site may give its own name the address
// 127.0.0.1 (DNS rebinding): to the browser, its page and this issuer are then of one origin, and only Host tells.
func (i *issuer) onlyLocal(next http.Handler) http.Handler {
	own, err := url.Parse(i.url)
	if err != nil {
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, err := net.SplitHostPort(r.Host)
		if err != nil { // without a port
			host, port = strings.Trim(r.Host, "[]"), "80"
		}
		if !isLoopback(host) || port != own.Port() {
			http.Error(w, "wsauth-dev answers on loopback only: ask "+i.url, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveDiscovery serves the metadata of OpenID Connect Discovery 1.0 section 3, as far as this issuer has them: there
// is no login.
func (i *issuer) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": i.url, "jwks_uri": i.url + keysPath, "token_endpoint": i.url + "/token",
		"id_token_signing_alg_values_supported": []string{i.alg},
	})
}

func (i *issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=60") // so that servers soon forget a key that was removed
	w.Write(mint.SetOf(i.published()...))
}

// serveToken answers as RFC 6749 section 5 says.
func (i *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	spec, err := readRequest(w, r)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, tokenResponse{Error: "invalid_request", Description: err.Error()})
		return
	}
	minted := i.mint(spec)
	writeJSON(w, http.StatusOK, tokenResponse{Token: minted.Token, Type: "Bearer", ExpiresIn: int(minted.TTL.Seconds())})
}

type tokenResponse struct {
	Token       string `json:"access_token,omitempty"`
	Type        string `json:"token_type,omitempty"`
	ExpiresIn   int    `json:"expires_in,omitempty"`
	Error       string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`
}

const maxBody = 64 << 10

// readRequest reads a form or a JSON object. A request without a body asks for a usual token.
func readRequest(w http.ResponseWriter, r *http.Request) (tokenSpec, error) {
	if r.URL.RawQuery != "" {
		return tokenSpec{}, errors.New("the fields belong in the body, not in the URL")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case contentType == "application/x-www-form-urlencoded" || r.ContentLength == 0:
		if err := r.ParseForm(); err != nil {
			return tokenSpec{}, err
		}
		return readForm(r.PostForm)
	case contentType == "application/json":
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return tokenSpec{}, err
		}
		return readJSON(text)
	}
	return tokenSpec{}, errors.New("want Content-Type application/x-www-form-urlencoded or application/json")
}

func (i *issuer) serveRotation(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"kid": i.rotate()})
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// A view is what the page shows.
type view struct {
	URL, Alg, KeyID, Options, Usual string
	Form                            url.Values // as it was sent
	Fault                           error
	Minted                          minted
}

// servePage serves the page, which has no script: its form comes back here.
func (i *issuer) servePage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v := view{URL: i.url, Alg: i.alg, Options: i.options(), Usual: string(i.usual.toJSON())}
	if r.Method == http.MethodPost {
		v.Form, v.Minted, v.Fault = i.fillForm(r)
	}
	v.KeyID = i.published()[0].ID
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "+
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	if v.Fault != nil {
		w.WriteHeader(http.StatusBadRequest)
	}
	page.Execute(w, v)
}

// fillForm does what the page's form asks for.
func (i *issuer) fillForm(r *http.Request) (url.Values, minted, error) {
	if err := r.ParseForm(); err != nil {
		return nil, minted{}, err
	}
	if r.PostForm.Has("rotate") {
		i.rotate()
		return r.PostForm, minted{}, nil
	}
	spec, err := readForm(r.PostForm)
	if err != nil {
		return r.PostForm, minted{}, err
	}
	return r.PostForm, i.mint(spec), nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
