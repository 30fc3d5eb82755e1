package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/bench/cpu"
	"github.com/wsauth/wsauth/internal/mint"
)

// serverArg, as the only argument, makes the program the server. It ends when its standard input does.
const serverArg = "be-the-server"

func isServer() bool { return len(os.Args) == 2 && os.Args[1] == serverArg }

// greeting is what the server says on its standard output: where it is, and which tokens its handlers accept.
type greeting struct {
	WebSocket, Control string
	Tokens             map[string]string // by paths
}

// serve is the main function of the server.
func serve() int {
	if err := listenAndServe(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	return 0
}

func listenAndServe(stdin io.Reader, stdout io.Writer) error {
	tokens, once := map[string]string{}, map[string]func(url string) credential{}
	mux, err := newMux(tokens, once)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	open := new(atomic.Int64)
	failed := make(chan error, 3)
	go func() { failed <- http.Serve(ln, counted(mux, open)) }()
	go func() { failed <- http.Serve(control, newControl(open, once, ln.Addr().String())) }()
	err = json.NewEncoder(stdout).Encode(greeting{ln.Addr().String(), control.Addr().String(), tokens})
	if err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		failed <- err
	}()
	return <-failed
}

// A credential is what a client sends in one handshake.
type credential struct {
	Query  string
	Header http.Header
}

// newMux has a handler for each kind. It puts a token for each into tokens, or a function into once if each handshake needs
// a credential of its own.
func newMux(tokens map[string]string, once map[string]func(url string) credential) (*http.ServeMux, error) {
	const issuer, audience = "https://id.example.com/", "bench"
	claims := map[string]any{
		"iss": issuer, "aud": audience, "sub": "5f7c8ec7c33c6c004bbafe82", "scope": "chat:read chat:write",
	}
	shared, pair, other := mint.New("HS256", "1"), mint.New("ES256", "1"), mint.New("ES256", "1")
	mux := http.NewServeMux()
	for path, k := range map[string]struct {
		*mint.Key
		keys      wsauth.Keys
		cacheSize int
	}{
		"/HS256":            {shared, wsauth.HMAC(shared.Private.([]byte)), 0},
		"/ES256":            {pair, wsauth.KeySet(mint.SetOf(pair)), 0},
		"/ES256-remembered": {other, wsauth.KeySet(mint.SetOf(other)), 1024},
	} {
		auth, err := wsauth.New(wsauth.Options{CacheSize: k.cacheSize, Issuers: []wsauth.Issuer{{
			Name: issuer, Audience: []string{audience}, Keys: k.keys,
		}}})
		if err != nil {
			return nil, err
		}
		mux.Handle(path, auth.Upgrade(untilGone, nil))
		tokens[path] = k.Token(claims)
	}
	auth, err := wsauth.New(wsauth.Options{
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromTicket("ticket", nil)},
		DPoP:       &wsauth.DPoP{},
		Issuers: []wsauth.Issuer{{Name: issuer, Audience: []string{audience},
			Keys: wsauth.AnyOf(wsauth.HMAC(shared.Private.([]byte)), wsauth.KeySet(mint.SetOf(pair)))}},
	})
	if err != nil {
		return nil, err
	}
	for _, path := range []string{"/query", "/ticket", "/dpop"} {
		mux.Handle(path, auth.Upgrade(untilGone, nil))
	}
	once["/query"] = func(string) credential { return credential{Query: "?access_token=" + tokens["/HS256"]} }
	once["/ticket"] = func(string) credential { return credential{Query: "?ticket=" + newTicket(auth, tokens["/HS256"])} }
	client := mint.New("ES256", "")
	claims["cnf"] = map[string]any{"jkt": client.Thumbprint()}
	bound := pair.Token(claims)
	once["/dpop"] = func(url string) credential {
		proof := client.Proof(map[string]any{
			"jti": rand.Text(), "htm": "GET", "htu": url, "iat": time.Now().Unix(), "ath": mint.Hash(bound),
		})
		return credential{Header: http.Header{"Authorization": {"DPoP " + bound}, "Dpop": {proof}}}
	}
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		untilGone(r.Context(), conn)
	})
	tokens["/plain"] = tokens["/HS256"]
	return mux, nil
}

// newTicket returns a ticket for a token; empty: it is refused.
func newTicket(auth *wsauth.Authenticator, token string) string {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	auth.Tickets().ServeHTTP(w, r)
	var answer struct{ Ticket string }
	json.Unmarshal(w.Body.Bytes(), &answer)
	return answer.Ticket
}

// untilGone waits for the client, which sends nothing, to go away.
func untilGone(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }

// counted knows how many requests h has at the moment.
func counted(h http.Handler, open *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		h.ServeHTTP(w, r)
	})
}

// newControl makes credentials, and tells the CPU time of the process.
func newControl(open *atomic.Int64, once map[string]func(url string) credential, addr string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/cpu", func(w http.ResponseWriter, r *http.Request) { tellCPU(w, open) })
	mux.HandleFunc("/credentials", func(w http.ResponseWriter, r *http.Request) {
		path := r.FormValue("path")
		n, _ := strconv.Atoi(r.FormValue("n"))
		var all []credential
		if one := once[path]; one != nil {
			for range n {
				all = append(all, one("http://"+addr+path))
			}
		}
		json.NewEncoder(w).Encode(all)
	})
	return mux
}

// tellCPU waits until all connections have gone and their garbage is collected: each kind pays for its own.
func tellCPU(w http.ResponseWriter, open *atomic.Int64) {
	for limit := time.Now().Add(time.Minute); open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			http.Error(w, "connections that do not end", http.StatusInternalServerError)
			return
		}
	}
	runtime.GC()
	used, err := cpu.Time()
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotImplemented)
		return
	}
	json.NewEncoder(w).Encode(used)
}
