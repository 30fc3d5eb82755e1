// Package accesslogs proves that access logs and traces of other projects show no token behind Conceal, and that they
// show tokens without it.
package accesslogs

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// A lockedBuffer is what a log writes to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was written since the last call.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

// shows reports whether a text has any 12 characters in a row of a token or ticket.
func shows(text, secret string) bool {
	const length = 12
	for i := 0; i+length <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+length]) {
			return true
		}
	}
	return false
}

// A server has all handlers of wsauth behind one access log.
type server struct {
	host   string // and port
	issuer *wsauthtest.Issuer
	access lockedBuffer // of the framework
	own    lockedBuffer // of wsauth
	active sync.WaitGroup
}

func newServer(t *testing.T, log accessLog, conceal bool) *server {
	t.Helper()
	s := &server{issuer: wsauthtest.NewHMACIssuer(t)}
	opts := s.issuer.Options()
	opts.Extractors = []wsauth.Extractor{
		wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromSubprotocol("bearer."),
		wsauth.FromSubprotocol("access_token"), wsauth.FromTicket("ticket", nil),
	}
	opts.Logger = slog.New(slog.NewTextHandler(&s.own, &slog.HandlerOptions{Level: slog.LevelDebug}))
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	handler := log.wrap(&s.access, routes(auth))
	if conceal {
		handler = auth.Conceal(handler)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.active.Add(1)
		defer s.active.Done()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.host = srv.Listener.Addr().String()
	return s
}

// ticket fetches a ticket.
func (s *server) ticket(t *testing.T) string {
	t.Helper()
	body := s.send(t, "POST /ticket HTTP/1.1\nAuthorization: Bearer "+s.issuer.Token()+"\nContent-Length: 0").body
	_, rest, _ := strings.Cut(body, `"ticket":"`)
	ticket, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("got %q, want a ticket", body)
	}
	return ticket
}

type response struct {
	status int
	body   string
}

// send writes a request as it stands, and waits until the server has finished with it. A WebSocket that opens must
// answer a message with the same message.
func (s *server) send(t *testing.T, request string) response {
	t.Helper()
	defer s.active.Wait()
	conn, err := net.Dial("tcp", s.host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	lines := request + "\nHost: " + s.host + "\n\n"
	if _, err := io.WriteString(conn, strings.ReplaceAll(lines, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		echoes(t, conn, from)
		return response{status: resp.StatusCode}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, string(body)}
}

// echoes sends a masked frame with one character and reads it back.
func echoes(t *testing.T, conn net.Conn, from io.Reader) {
	t.Helper()
	if _, err := conn.Write([]byte{0x81, 0x81, 0, 0, 0, 0, '!'}); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 3)
	if _, err := io.ReadFull(from, frame); err != nil || !bytes.Equal(frame, []byte{0x81, 1, '!'}) {
		t.Fatalf("got the frame %x, %v, want an echo", frame, err)
	}
}

const handshake = "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13" +
	"\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

// A place is where a request has a secret. Logs write some of them.
type place int

const (
	inQuery place = 1 << iota
	inProtocol
)

// Requests with their secrets, as they are on the wire. PATH is the path of a WebSocket.
var requests = []struct {
	name    string
	request string // with HOST, TOKEN, BASE64 (the token, encoded), EXPIRED and TICKET
	place   place
	status  int
}{
	{"a query token", "GET PATH?room=1&access_token=TOKEN HTTP/1.1" + handshake, inQuery, 101},
	{"a query token, its name percent-encoded", "GET PATH?access%5Ftoken=TOKEN HTTP/1.1" + handshake, inQuery, 101},
	{"a query token in an absolute URL", "GET http://HOSTPATH?access_token=TOKEN HTTP/1.1" + handshake, inQuery, 101},
	{"a subprotocol with a prefix",
		"GET PATH HTTP/1.1\nSec-WebSocket-Protocol: chat.v1, bearer.TOKEN" + handshake, inProtocol, 101},
	{"a subprotocol in base64url",
		"GET PATH HTTP/1.1\nSec-WebSocket-Protocol: chat.v1, bearer.BASE64" + handshake, inProtocol, 101},
	{"a subprotocol after its name",
		"GET PATH HTTP/1.1\nSec-WebSocket-Protocol: access_token, TOKEN" + handshake, inProtocol, 101},
	{"a subprotocol in a line of its own",
		"GET PATH HTTP/1.1\nSec-WebSocket-Protocol: access_token\nSec-WebSocket-Protocol: TOKEN" + handshake,
		inProtocol, 101},
	{"a ticket", "GET PATH?ticket=TICKET HTTP/1.1" + handshake, inQuery, 101},

	{"401: an expired query token", "GET PATH?access_token=EXPIRED HTTP/1.1" + handshake, inQuery, 401},
	{"401: an expired subprotocol",
		"GET PATH HTTP/1.1\nSec-WebSocket-Protocol: bearer.EXPIRED" + handshake, inProtocol, 401},
	{"401: a used ticket", "GET PATH?ticket=TICKET HTTP/1.1" + handshake, inQuery, 401},
	{"400: a query token twice", "GET PATH?access_token=TOKEN&access_token=TOKEN HTTP/1.1" + handshake, inQuery, 400},
	{"400: a query token that is cut", "GET PATH?access_token=TOKEN%2 HTTP/1.1" + handshake, inQuery, 400},
	{"400: a ticket and a subprotocol",
		"GET PATH?ticket=TICKET HTTP/1.1\nSec-WebSocket-Protocol: bearer.TOKEN" + handshake, inQuery | inProtocol, 400},
	{"403: a foreign origin",
		"GET PATH?access_token=TOKEN HTTP/1.1\nOrigin: https://evil.example" + handshake, inQuery, 403},
	{"not a handshake, a query token", "GET /me?access_token=TOKEN HTTP/1.1", inQuery, 400},
	{"not a handshake, a ticket", "GET /me?ticket=TICKET HTTP/1.1", inQuery, 400},
	{"not a handshake, a subprotocol", "GET /me HTTP/1.1\nSec-WebSocket-Protocol: bearer.TOKEN", inProtocol, 400},
	{"a path that is not served", "GET /nothing?access_token=TOKEN HTTP/1.1" + handshake, inQuery, 404},
}

func TestAnAccessLogShowsTokensAndTicketsOnlyWithoutConceal(t *testing.T) {
	for _, log := range accessLogs {
		for name, conceal := range map[string]bool{"concealed": true, "not concealed": false} {
			t.Run(log.name+"/"+name, func(t *testing.T) {
				s := newServer(t, log, conceal)
				for _, row := range requests {
					for _, path := range []string{"/coder", "/gorilla"} {
						if !strings.Contains(row.request, "PATH") && path != "/coder" {
							continue
						}
						t.Run(row.name+" "+path, func(t *testing.T) {
							s.try(t, row.request, path, row.status, !conceal && row.place&log.writes != 0)
						})
					}
				}
			})
		}
	}
}

// try sends a request and looks for its secrets in the logs.
func (s *server) try(t *testing.T, request, path string, status int, shown bool) {
	t.Helper()
	token, expired, ticket := s.issuer.Token(), s.issuer.Expired(), s.ticket(t)
	encoded := base64.RawURLEncoding.EncodeToString([]byte(token))
	request = strings.NewReplacer(
		"HOST", s.host, "PATH", path, "TOKEN", token, "BASE64", encoded, "EXPIRED", expired, "TICKET", ticket,
	).Replace(request)
	if status == http.StatusUnauthorized {
		s.send(t, request) // a ticket is used by that
	}
	s.access.take()
	s.own.take()

	if resp := s.send(t, request); resp.status != status {
		t.Errorf("got %d, want %d", resp.status, status)
	}
	access, own := s.access.take(), s.own.take()
	if access == "" {
		t.Error("got no line in the access log, want one for the request")
	}
	found := false
	for _, secret := range []string{token, encoded, expired, ticket} {
		found = found || shows(access, secret)
		if shows(own, secret) {
			t.Errorf("the log of wsauth shows a part of a token or ticket: %s", own)
		}
	}
	if found != shown {
		t.Errorf("a part of a token or ticket in the access log: got %t, want %t: %s", found, shown, access)
	}
}

// Gin writes a request into its log when a handler panics, with all headers except Authorization.
func TestTheRequestInARecordOfAPanicShowsATokenOnlyWithoutConceal(t *testing.T) {
	for name, conceal := range map[string]bool{"concealed": true, "not concealed": false} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, accessLog{wrap: ginRecovery}, conceal)
			for name, request := range map[string]string{
				"query":       "GET /panic?access_token=TOKEN HTTP/1.1",
				"subprotocol": "GET /panic HTTP/1.1\nSec-WebSocket-Protocol: bearer.TOKEN",
			} {
				token := s.issuer.Token()
				resp := s.send(t, strings.Replace(request, "TOKEN", token, 1)+handshake)
				if resp.status != http.StatusInternalServerError {
					t.Errorf("%s: got %d, want 500", name, resp.status)
				}
				record := s.access.take()
				if !strings.Contains(record, "GET /panic") || shows(record, token) == conceal {
					t.Errorf("%s: a part of the token in the record: got %t, want %t: %s",
						name, conceal, !conceal, record)
				}
			}
		})
	}
}
