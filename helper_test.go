package wsauth_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/mint"
)

const testIssuer = "https://id.example.com/"

var testKey = mint.New("HS256", "")

func secretOf(k *mint.Key) []byte { return k.Private.([]byte) }

// newAuth has one issuer, testIssuer with testKey and the audience "chat", and what change makes of that.
func newAuth(t testing.TB, change ...func(*wsauth.Options)) *wsauth.Authenticator {
	t.Helper()
	opts := wsauth.Options{Issuers: []wsauth.Issuer{{
		Name: testIssuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(secretOf(testKey)),
	}}}
	for _, c := range change {
		c(&opts)
	}
	auth, err := wsauth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// newAuthOf is newAuth that trusts one other issuer.
func newAuthOf(t testing.TB, issuer wsauth.Issuer) *wsauth.Authenticator {
	t.Helper()
	return newAuth(t, func(o *wsauth.Options) { o.Issuers = []wsauth.Issuer{issuer} })
}

// untilExp leaves no leeway, so that a token's end is its exp.
func untilExp(o *wsauth.Options) { o.Leeway = -1 }

// anyIssuer takes the issuer's name away, so that it accepts any iss, and none.
func anyIssuer(o *wsauth.Options) { o.Issuers[0].Name = "" }

// bySubprotocol finds tokens among the subprotocols as well as in the default places.
func bySubprotocol(o *wsauth.Options) {
	o.Extractors = []wsauth.Extractor{
		wsauth.FromHeader(), wsauth.FromQuery("access_token"), wsauth.FromCookie("access_token"),
		wsauth.FromSubprotocol("bearer."),
	}
}

// askedBy asks ask for the key of each token, and refuses it for ask's reason; nil: it gets testKey.
func askedBy(ask func() error) func(*wsauth.Options) {
	return func(o *wsauth.Options) {
		o.Issuers[0].Keys = wsauth.KeyFunc(func(context.Context, string, string) (any, error) {
			if err := ask(); err != nil {
				return nil, err
			}
			return secretOf(testKey), nil
		})
	}
}

// testClaims are what newAuth accepts, overlaid with what changes; nil leaves a claim out.
func testClaims(changes ...map[string]any) map[string]any {
	claims := map[string]any{"iss": testIssuer, "aud": "chat", "sub": "alice"}
	for _, c := range changes {
		maps.Copy(claims, c)
	}
	return claims
}

func testToken(changes ...map[string]any) string { return testKey.Token(testClaims(changes...)) }

// lasting is a change to a token: its end is in d.
func lasting(d time.Duration) map[string]any { return map[string]any{"exp": time.Now().Add(d).Unix()} }

// readRequest reads a request as a server does, from a request line and header lines. HANDSHAKE stands for the lines
// that open a WebSocket.
func readRequest(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(requestText(text))))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r.WithContext(t.Context())
}

const handshakeLines = "Connection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="

func requestText(text string) string {
	line, header, _ := strings.Cut(strings.ReplaceAll(text, "HANDSHAKE", handshakeLines), "\n")
	if !strings.HasPrefix(header, "Host:") && !strings.Contains(header, "\nHost:") {
		header = "Host: server.example.com\n" + header
	}
	return strings.ReplaceAll(line+" HTTP/1.1\n"+strings.TrimSpace(header)+"\n\n", "\n", "\r\n")
}

// A recorder is a handler that remembers what it was handed.
type recorder struct{ requests []*http.Request }

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec.requests = append(rec.requests, r)
	w.WriteHeader(http.StatusNoContent)
}

// only returns the one request that the recorder was handed; nil: none.
func (rec *recorder) only(t testing.TB) *http.Request {
	t.Helper()
	switch len(rec.requests) {
	case 0:
		return nil
	case 1:
		return rec.requests[0]
	}
	t.Fatalf("got %d calls of the handler, want 1 at most", len(rec.requests))
	return nil
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// kinds are the errors of the package, the more special ones first.
var kinds = []struct {
	name   string
	err    error
	status int
}{
	{"ErrExpired", wsauth.ErrExpired, 401},
	{"ErrRevoked", wsauth.ErrRevoked, 401},
	{"ErrInvalidTicket", wsauth.ErrInvalidTicket, 401},
	{"ErrInvalidProof", wsauth.ErrInvalidProof, 401},
	{"ErrInvalidToken", wsauth.ErrInvalidToken, 401},
	{"ErrNoToken", wsauth.ErrNoToken, 401},
	{"ErrMalformedRequest", wsauth.ErrMalformedRequest, 400},
	{"ErrForbidden", wsauth.ErrForbidden, 403},
	{"ErrOrigin", wsauth.ErrOrigin, 403},
	{"ErrTooMany", wsauth.ErrTooMany, 429},
	{"ErrUnavailable", wsauth.ErrUnavailable, 503},
}

// kindName names the kind of an error, the most special one.
func kindName(err error) string {
	if err == nil {
		return "no error"
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "an error of no kind"
}

// wantKind checks that err is of a kind; nil: that there is none.
func wantKind(t testing.TB, err, want error) {
	t.Helper()
	if kindName(err) != kindName(want) {
		t.Errorf("got %s (%v), want %s", kindName(err), err, kindName(want))
	}
}

// statusOf returns the status of a refusal of this kind, or the status of a recorder if there is no refusal.
func statusOf(kind error) int {
	for _, k := range kinds {
		if kind == k.err {
			return k.status
		}
	}
	return http.StatusNoContent
}

// verify checks what becomes of a token.
func verify(t testing.TB, auth *wsauth.Authenticator, token string, want error) *wsauth.Claims {
	t.Helper()
	claims, err := auth.Verify(t.Context(), token)
	wantKind(t, err, want)
	if (claims != nil) != (err == nil) {
		t.Errorf("got the claims %v beside the error %v, want one of them", claims, err)
	}
	return claims
}

// at is an instant, in seconds from now, as a NumericDate.
func at(seconds float64) json.Number {
	now := time.Now()
	return json.Number(fmt.Sprintf("%d.%09d", now.Add(time.Duration(seconds*1e9)).Unix(),
		now.Add(time.Duration(seconds*1e9)).Nanosecond()))
}

// A memoryServer serves a handler over net.Pipe, so that its connections live in the time of a synctest bubble. A pipe
// has no buffer: a peer that does not read is stuck at once.
type memoryServer struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	log    *lockedBuffer

	closesIn time.Duration // that each of its connections takes to close
}

func (s *memoryServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}
func (s *memoryServer) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *memoryServer) Addr() net.Addr { return &net.TCPAddr{} }

func (s *memoryServer) dialRaw() net.Conn {
	client, server := net.Pipe()
	s.conns <- slowCloser{server, s.closesIn}
	return client
}

// dial connects as a real client does.
func (s *memoryServer) dial(t *testing.T, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	if opts.HTTPClient == nil {
		opts.HTTPClient = s.client()
	}
	conn, _, err := websocket.Dial(t.Context(), "ws://server/ws", opts)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// tryDial connects as a real client does, with this header, or is refused.
func (s *memoryServer) tryDial(t *testing.T, header http.Header) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(t.Context(), "ws://server/", &websocket.DialOptions{HTTPClient: s.client(), HTTPHeader: header})
}

func (s *memoryServer) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return s.dialRaw(), nil },
	}}
}

// handshake connects without a WebSocket implementation: a peer that does what it likes.
func (s *memoryServer) handshake(t *testing.T, token string) (net.Conn, *bufio.Reader) {
	t.Helper()
	return s.handshakeWith(t, "Authorization: Bearer "+token+"\r\n")
}

// handshakeWith makes one with these header lines.
func (s *memoryServer) handshakeWith(t *testing.T, header string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn := s.dialRaw()
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+header+"\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got status %d, want 101", resp.StatusCode)
	}
	return conn, r
}

func newMemoryServer(t *testing.T, h http.Handler) *memoryServer {
	s := &memoryServer{conns: make(chan net.Conn), closed: make(chan struct{}), log: new(lockedBuffer)}
	srv := &http.Server{Handler: h, ErrorLog: log.New(s.log, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(s) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return s
}

// A slowCloser takes its time to close, as a TLS connection does whose peer does not read.
type slowCloser struct {
	net.Conn
	takes time.Duration
}

func (c slowCloser) Close() error {
	time.Sleep(c.takes)
	return c.Conn.Close()
}

// clientFrame is a masked frame, the mask being zero.
func clientFrame(opcode byte, payload []byte) []byte {
	f := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	default:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func bearerHeader(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// neverServed is what no client gets to.
func neverServed(t testing.TB) func(context.Context, *websocket.Conn) {
	return func(context.Context, *websocket.Conn) { t.Error("got served, want a refusal") }
}

// echo sends every message back.
func echo(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return
		}
	}
}

// renewing takes every message for a new token and answers what Renew said.
func renewing(ctx context.Context, conn *websocket.Conn) {
	for {
		_, token, err := conn.Read(ctx)
		if err != nil {
			return
		}
		answer := "renewed"
		if _, err := wsauth.Renew(ctx, string(token)); err != nil {
			answer = err.Error()
		}
		conn.Write(ctx, websocket.MessageText, []byte(answer))
	}
}

func exchange(t *testing.T, conn *websocket.Conn, message string) string {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	_, answer, err := conn.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func isOf(subject string) func(*wsauth.Claims) bool {
	return func(c *wsauth.Claims) bool { return c.Subject == subject }
}

// disconnect says why in the words of a revocation.
func disconnect(auth *wsauth.Authenticator, match func(*wsauth.Claims) bool) int {
	return auth.Disconnect(match, wsauth.StatusUnauthorized, "token revoked")
}

func wantDisconnected(t *testing.T, err error) {
	t.Helper()
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != wsauth.StatusUnauthorized || closed.Reason != "token revoked" {
		t.Errorf("got %v at the client, want 3000 and token revoked", err)
	}
}

// A slowHijacker takes its time to hand the connection over.
type slowHijacker struct {
	http.ResponseWriter
	takes time.Duration
}

func (w slowHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	time.Sleep(w.takes)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func headerText(h http.Header) string {
	var b strings.Builder
	h.Write(&b)
	return b.String()
}

// logLines are the records of a JSON log.
func logLines(t testing.TB, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for d := json.NewDecoder(log); ; {
		var line map[string]any
		if err := d.Decode(&line); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

func answerOf(body []byte) *http.Response {
	w := httptest.NewRecorder()
	w.Write(body)
	return w.Result()
}

var errOwn = errors.New("an error of the application")

func pass(context.Context, *wsauth.Claims) error { return nil }

// recordsIn logs to a buffer, successes included.
func recordsIn(log io.Writer) func(*wsauth.Options) {
	return func(o *wsauth.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}
