package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// An attempt is a handshake and its expected outcome.
type attempt struct {
	name      string
	path      string // default: /ws
	query     string
	header    http.Header
	protocols []string
	first     string // the first message; empty: none is sent
	status    int
	answer    string // 101: the subject, or how the connection was closed; else WWW-Authenticate
}

// check is this server's own client: it connects in every possible way, and in ways that must fail. It prints what
// happens, and returns an error if anything does not go as it should.
func check(ctx context.Context, base string, idp *idp, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	attempts, err := attempts(ctx, base, idp)
	if err != nil {
		return fmt.Errorf("self-check: %w", err)
	}
	t := &table{out: out}
	t.line("", "TOKEN", "STATUS", "SUBJECT, WWW-AUTHENTICATE, OR CLOSE CODE")
	for _, a := range attempts {
		status, answer, err := a.make(ctx, base)
		if err != nil {
			return fmt.Errorf("self-check: %s: %w", a.name, err)
		}
		t.row(a.name, status, answer, a.status, a.answer)
	}
	end, err := logOutAndWatch(ctx, base)
	if err != nil {
		return fmt.Errorf("self-check: a connection that ends with a logout: %w", err)
	}
	t.row("revoked by a logout", 101, end, 101, `alice, then closed with 3000 "token revoked"`)
	end, err = watch(ctx, base, idp)
	if err != nil {
		return fmt.Errorf("self-check: a connection that ends with its token: %w", err)
	}
	t.row("of 2 seconds, renewed for 3", 101, end, 101, `alice, renewed, then closed with 3000 "token expired"`)
	if t.wrong > 0 {
		return fmt.Errorf("self-check: %d of %d went wrong", t.wrong, t.rows)
	}
	fmt.Fprintf(out, "\nAll %d went as they should.\n", t.rows)
	return nil
}

// A table prints each row as soon as it is known, so that people can watch.
type table struct {
	out         io.Writer
	rows, wrong int
}

func (t *table) line(mark, name, status, answer string) {
	fmt.Fprintf(t.out, "%-7s%-35s%-8s%s\n", mark, name, status, answer)
}

func (t *table) row(name string, status int, answer string, wantStatus int, wantAnswer string) {
	mark := "ok"
	if status != wantStatus || answer != wantAnswer {
		mark = "WRONG"
		t.wrong++
		answer += fmt.Sprintf(" (should be: %d %s)", wantStatus, wantAnswer)
	}
	t.rows++
	t.line(mark, name, strconv.Itoa(status), answer)
}

func attempts(ctx context.Context, base string, idp *idp) ([]attempt, error) {
	key, cookie, err := login(ctx, base, es256)
	if err != nil {
		return nil, err
	}
	secret, _, err := login(ctx, base, hs256)
	if err != nil {
		return nil, err
	}
	expired, err := idp.mint(es256, "alice", time.Now().Add(-time.Hour), time.Minute)
	if err != nil {
		return nil, err
	}
	forged, err := forge(key)
	if err != nil {
		return nil, err
	}
	ticket, err := buyTicket(ctx, base, key)
	if err != nil {
		return nil, err
	}
	const (
		readable  = "/ws/readable"
		challenge = `Bearer realm="wsauth"`
		tooOld    = challenge + `, error="invalid_token", error_description="token expired"`
		invalid   = challenge + `, error="invalid_token", error_description="token not valid"`
		usedUp    = challenge + `, error="invalid_token", error_description="ticket not valid"`
		malformed = challenge + `, error="invalid_request", ` +
			`error_description="more than one token, or one that is malformed or misplaced"`
	)
	query := func(token string) string { return "?access_token=" + url.QueryEscape(token) }
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	from := func(origin string) http.Header {
		return http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}, "Origin": {origin}}
	}
	return []attempt{
		{name: "in the header, ES256", header: bearer(key), status: 101, answer: "alice"},
		{name: "in the header, HS256", header: bearer(secret), status: 101, answer: "alice"},
		{name: "in the query", query: query(key), status: 101, answer: "alice"},
		{name: "in a cookie", header: from(base), status: 101, answer: "alice"},
		{name: "by a ticket", query: "?ticket=" + ticket, status: 101, answer: "alice"},
		{name: "by the same ticket", query: "?ticket=" + ticket, status: 401, answer: usedUp},
		// The server selects "wsauth"; it never selects the entry with the token.
		{name: "as a subprotocol", protocols: []string{"wsauth", "bearer." + key}, status: 101, answer: "alice"},
		{name: "none", status: 401, answer: challenge},
		{name: "expired", header: bearer(expired), status: 401, answer: tooOld},
		{name: "forged", header: bearer(forged), status: 401, answer: invalid},
		{name: "a foreign site's cookie", header: from("https://evil.example"), status: 403, answer: "no challenge"},
		{
			name: "without the scope", path: "/audit/ws", header: bearer(key), status: 101,
			answer: `closed with 3003 "insufficient_scope"`,
		},
		{name: "header and query at once", header: bearer(key), query: query(key), status: 400, answer: malformed},
		// With CloseOnRefusal, a page can read the answer, too, although the browser does not show it the status.
		{
			name: "in the first message", path: "/first", first: `{"access_token":"` + key + `"}`,
			status: 101, answer: "alice",
		},
		{name: "none, readably", path: readable, status: 101, answer: `closed with 3000 "token_required"`},
		{
			name: "forged, readably", path: readable, query: query(forged),
			status: 101, answer: `closed with 3000 "invalid_token"`,
		},
		{
			name: "a foreign site's cookie, readably", path: readable, header: from("https://evil.example"),
			status: 101, answer: `closed with 3003 "foreign_origin"`,
		},
	}, nil
}

// make makes the attempt. An error means that the connection failed; a refusal is not an error.
func (a *attempt) make(ctx context.Context, base string) (status int, answer string, err error) {
	conn, resp, err := websocket.Dial(ctx, base+cmp.Or(a.path, "/ws")+a.query, &websocket.DialOptions{
		HTTPHeader: a.header, Subprotocols: a.protocols,
	})
	switch {
	case err != nil && resp == nil:
		return 0, "", withoutURL(err)
	case err != nil:
		return resp.StatusCode, cmp.Or(resp.Header.Get("WWW-Authenticate"), "no challenge"), nil
	}
	defer conn.CloseNow()
	if a.first != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(a.first)); err != nil {
			return 0, "", err
		}
	}
	subject, err := exchange(ctx, conn)
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return resp.StatusCode, closedWith(closed), nil
	}
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, subject, conn.Close(websocket.StatusNormalClosure, "")
}

func closedWith(e websocket.CloseError) string {
	return fmt.Sprintf("closed with %d %q", e.Code, e.Reason)
}

// exchange sends a message and returns the subject that the server sees.
func exchange(ctx context.Context, conn *websocket.Conn) (string, error) {
	if err := wsjson.Write(ctx, conn, message{Text: "hello"}); err != nil {
		return "", err
	}
	var first, echo message
	if err := wsjson.Read(ctx, conn, &first); err != nil {
		return "", err
	}
	if err := wsjson.Read(ctx, conn, &echo); err != nil {
		return "", err
	}
	if echo.Text != "hello" || echo.From != first.Claims["sub"] {
		return "", errors.New("the echo is not what was sent")
	}
	return echo.From, nil
}

// watch waits for the end of a connection whose token of 2 seconds was renewed by one of 3, and says what happened.
func watch(ctx context.Context, base string, idp *idp) (string, error) {
	start := time.Now()
	const session = "one login" // a token of another login would not renew the connection
	token, err := idp.mintFor(session, hs256, "alice", start, 2*time.Second)
	if err != nil {
		return "", err
	}
	longer, err := idp.mintFor(session, hs256, "alice", start, 3*time.Second)
	if err != nil {
		return "", err
	}
	conn, _, err := websocket.Dial(ctx, base+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	subject, err := exchange(ctx, conn)
	if err != nil {
		return "", err
	}
	if err := wsjson.Write(ctx, conn, message{Type: "token", Token: longer}); err != nil {
		return "", err
	}
	var answer message
	if err := wsjson.Read(ctx, conn, &answer); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	_, _, err = conn.Read(ctx)
	var end websocket.CloseError
	if !errors.As(err, &end) {
		return "", fmt.Errorf("no close frame, but %w", err)
	}
	if time.Since(start) < 3*time.Second {
		return "", errors.New("the renewed connection ended before its token")
	}
	return fmt.Sprintf("%s, %s, then %s", subject, answer.Type, closedWith(end)), nil
}

// logOutAndWatch logs in and out, and waits for the end of a connection that was open meanwhile.
func logOutAndWatch(ctx context.Context, base string) (string, error) {
	token, _, err := login(ctx, base, es256)
	if err != nil {
		return "", err
	}
	header := http.Header{"Authorization": {"Bearer " + token}}
	conn, _, err := websocket.Dial(ctx, base+"/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	subject, err := exchange(ctx, conn)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/ws/logout", nil)
	if err != nil {
		return "", err
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	_, _, err = conn.Read(ctx)
	var end websocket.CloseError
	if !errors.As(err, &end) {
		return "", fmt.Errorf("no close frame, but %w", err)
	}
	return subject + ", then " + closedWith(end), nil
}

// login is what the page does, too.
func login(ctx context.Context, base, alg string) (token string, cookie *http.Cookie, err error) {
	form := strings.NewReader(url.Values{"name": {"alice"}, "key": {alg}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/login", form)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return "", nil, fmt.Errorf("login: status %d: %w", resp.StatusCode, err)
	}
	cookies := resp.Cookies()
	if len(cookies) != 1 {
		return "", nil, errors.New("login: not one cookie")
	}
	return body.Token, cookies[0], nil
}

func buyTicket(ctx context.Context, base, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/ticket", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var body struct{ Ticket string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return "", fmt.Errorf("ticket: status %d: %w", resp.StatusCode, err)
	}
	return body.Ticket, nil
}

// forge puts another subject into a token and leaves the signature as it is.
func forge(token string) (string, error) {
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", err
	}
	forged := strings.Replace(string(text), `"sub":"alice"`, `"sub":"mallory"`, 1)
	return header + "." + base64URL([]byte(forged)) + "." + signature, nil
}

// withoutURL keeps the URL, and a token in its query, out of an error.
func withoutURL(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
