package libraries_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

var errNoToken = errors.New("no token")

// at returns a FirstToken for messages of JSON: the text at the end of the path, without the word Bearer.
func at(path ...any) func([]byte) (string, error) {
	return func(message []byte) (string, error) {
		var v any
		if err := json.Unmarshal(message, &v); err != nil {
			return "", err
		}
		for _, step := range path {
			switch step := step.(type) {
			case string:
				object, _ := v.(map[string]any)
				v = object[step]
			case int:
				list, _ := v.([]any)
				if step >= len(list) {
					return "", errNoToken
				}
				v = list[step]
			}
		}
		token, _ := v.(string)
		return bearer(token)
	}
}

func bearer(s string) (string, error) {
	if scheme, token, ok := strings.Cut(s, " "); ok {
		if !strings.EqualFold(scheme, "Bearer") {
			return "", errNoToken
		}
		return token, nil
	}
	return s, nil
}

// either returns what the first of several finds.
func either(all ...func([]byte) (string, error)) func([]byte) (string, error) {
	return func(message []byte) (string, error) {
		for _, f := range all {
			if token, err := f(message); err == nil && token != "" {
				return token, nil
			}
		}
		return "", errNoToken
	}
}

// line returns the first header line with this name, of a frame of STOMP.
func line(command, name string) func([]byte) (string, error) {
	return func(message []byte) (string, error) {
		head, _, _ := strings.Cut(string(message), "\n\n")
		first, rest, _ := strings.Cut(strings.ReplaceAll(head, "\r\n", "\n"), "\n")
		if first != command {
			return "", errNoToken
		}
		for l := range strings.SplitSeq(rest, "\n") {
			if n, value, ok := strings.Cut(l, ":"); ok && n == name {
				return bearer(strings.TrimSpace(value))
			}
		}
		return "", errNoToken
	}
}

// behind returns a FirstToken for JSON behind a prefix, as Engine.IO has it, or before a suffix, as SignalR has it.
func behind(prefix, suffix string, f func([]byte) (string, error)) func([]byte) (string, error) {
	return func(message []byte) (string, error) {
		text, ok := strings.CutPrefix(string(message), prefix)
		if !ok {
			return "", errNoToken
		}
		return f([]byte(strings.TrimSuffix(text, suffix)))
	}
}

// mqttPassword returns the password of an MQTT 3.1.1 CONNECT (its section 3.1), whose fields follow each other, each
// behind its length.
func mqttPassword(message []byte) (string, error) {
	if len(message) < 2 || message[0] != 0x10 {
		return "", errNoToken
	}
	_, n := binary.Uvarint(message[1:]) // the remaining length has the form of a varint
	if n <= 0 {
		return "", errNoToken
	}
	rest := message[1+n:]
	next := func() (field []byte, ok bool) {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, false
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		field, rest = rest[2:end], rest[end:]
		return field, true
	}
	if name, ok := next(); !ok || string(name) != "MQTT" || len(rest) < 4 || rest[0] != 4 {
		return "", errNoToken
	}
	flags := rest[1]
	rest = rest[4:] // level, flags, keep-alive
	fields := 1     // the client's identifier
	if flags&0x04 != 0 {
		fields += 2 // a will
	}
	if flags&0xc0 != 0xc0 {
		return "", errNoToken // no user, or no password
	}
	for range fields + 1 {
		if _, ok := next(); !ok {
			return "", errNoToken
		}
	}
	password, _ := next()
	return string(password), nil
}

func mqttConnect(token string) string {
	field := func(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }
	body := field("MQTT") + "\x04\xc2\x00\x3c" + field("client-1") + field("alice") + field(token)
	return "\x10" + string(binary.AppendUvarint(nil, uint64(len(body)))) + body
}

// natsToken returns the token of the CONNECT of NATS, which sends a verb before its JSON.
var natsToken = either(behind("CONNECT ", "\r\n", at("auth_token")), behind("CONNECT ", "\r\n", at("jwt")))

// protocols are those whose clients bring the token in a message, each with one in that protocol's form. The clients
// of Home Assistant, Action Cable, Pusher, NATS and Socket.IO wait for a greeting, and those of SignalR for the answer
// to their handshake, before they send it: Upgrade runs nothing that could say so until the token is there. Servers of
// these protocols are behind Guard, and call Renew.
var protocols = []struct {
	name    string
	message string // %s is the token; empty: not a text
	find    func([]byte) (string, error)
}{
	{"wsauth", `{"access_token":"%s"}`, nil},
	{"the bare token", `%s`, nil},
	{"graphql-transport-ws", `{"type":"connection_init","payload":{"Authorization":"Bearer %s"}}`,
		at("payload", "Authorization")},
	{"graphql-transport-ws, headers", `{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer %s"}}}`,
		either(at("payload", "Authorization"), at("payload", "headers", "Authorization"))},
	{"graphql-ws, the older one", `{"type":"connection_init","payload":{"authToken":"%s"}}`, at("payload", "authToken")},
	{"Centrifuge", `{"id":1,"connect":{"token":"%s"}}`, at("connect", "token")},
	{"Phoenix", `["3","3","room:lobby","phx_join",{"token":"%s"}]`, at(4, "token")},
	{"Supabase Realtime", `{"topic":"realtime:public","event":"phx_join","payload":{"access_token":"%s"},"ref":"1"}`,
		at("payload", "access_token")},
	{"Socket.IO", `40{"token":"%s"}`, behind("40", "", at("token"))},
	{"Socket.IO, in a namespace", `40/admin,{"token":"%s"}`, behind("40/admin,", "", at("token"))},
	{"STOMP", "CONNECT\naccept-version:1.2\nhost:x\nAuthorization:Bearer %s\n\n\x00", line("CONNECT", "Authorization")},
	{"STOMP, passcode", "STOMP\r\nlogin:alice\r\npasscode:%s\r\n\r\n\x00", line("STOMP", "passcode")},
	{"Action Cable", `{"command":"subscribe","identifier":"{\"channel\":\"ChatChannel\",\"token\":\"%s\"}"}`,
		func(message []byte) (string, error) {
			identifier, err := at("identifier")(message)
			if err != nil {
				return "", err
			}
			return at("token")([]byte(identifier))
		}},
	{"SignalR", `{"type":1,"target":"Authenticate","arguments":["%s"]}` + "\x1e", behind("", "\x1e", at("arguments", 0))},
	{"MQTT", "", mqttPassword},
	{"Home Assistant", `{"type":"auth","access_token":"%s"}`, at("access_token")},
	{"an application's own", `{"type":"auth","token":"%s"}`, at("token")},
	{"a header in a message", `Bearer %s`, func(m []byte) (string, error) { return bearer(string(m)) }},
	{"Pusher", `{"event":"pusher:subscribe","data":{"channel":"private-chat","auth":"%s"}}`, at("data", "auth")},
	{"Ably", `{"action":17,"auth":{"accessToken":"%s"}}`, at("auth", "accessToken")},
	{"SurrealDB", `{"id":1,"method":"authenticate","params":["%s"]}`, at("params", 0)},
	{"NATS", `CONNECT {"verbose":false,"auth_token":"%s"}` + "\r\n", natsToken},
	{"WAMP", `[5,"%s",{}]`, at(1)},
	{"DDP", `{"msg":"method","method":"login","params":[{"resume":"%s"}],"id":"1"}`, at("params", 0, "resume")},
	{"Firebase Realtime Database", `{"t":"d","d":{"r":1,"a":"auth","b":{"cred":"%s"}}}`, at("d", "b", "cred")},
	{"AppSync", `{"id":"1","type":"start","payload":{"extensions":{"authorization":{"Authorization":"%s"}}}}`,
		at("payload", "extensions", "authorization", "Authorization")},
}

func TestTheFirstMessageOfEveryProtocolBringsItsToken(t *testing.T) {
	for _, row := range protocols {
		t.Run(row.name, func(t *testing.T) {
			w := new(world)
			w.prepare(t)
			opts := wsauth.UpgradeOptions{FirstMessage: patience, FirstToken: row.find}
			w.serve(t, w.auth.Upgrade(func(ctx context.Context, conn *coder.Conn) {
				claims, _ := wsauth.ClaimsFromContext(ctx)
				conn.Write(ctx, coder.MessageText, []byte(claims.Subject))
			}, &opts))
			opcode := byte(opText)
			if row.message == "" {
				opcode = opBinary
			}
			say := func(token string) *peer {
				message := fmt.Sprintf(row.message, token)
				if row.message == "" {
					message = mqttConnect(token)
				}
				p := w.mustDial(t, libraries[0], "")
				if err := p.send(opcode, []byte(message)); err != nil {
					t.Fatal(err)
				}
				return p
			}
			p := say(w.issuer.Token(wsauthtest.Claims{"exp": time.Now().Add(time.Hour)}))
			if got, err := p.message(); err != nil || string(got) != "alice" {
				t.Errorf("got %q, %v, want alice", got, err)
			}
			say(w.issuer.Forged()).wantEnd(t, 3000, "invalid_token")
			p = w.mustDial(t, libraries[0], "")
			p.send(opcode, []byte(`{"type":"hello"}`))
			if err := p.untilClosed(); err != (closed{3000, "invalid_request"}) && err != (closed{3000, "invalid_token"}) {
				t.Errorf("without a token the peer sees %v", err)
			}
		})
	}
}

// What FirstToken says of a message reaches nobody: it may have read the token already.
func TestTheErrorOfFirstTokenGoesNowhere(t *testing.T) {
	w := new(world)
	w.prepare(t)
	find := func(message []byte) (string, error) { return "", fmt.Errorf("cannot read %s", message) }
	opts := wsauth.UpgradeOptions{FirstMessage: patience, FirstToken: find}
	w.serve(t, w.auth.Upgrade(func(context.Context, *coder.Conn) { t.Error("serve runs without a token") }, &opts))
	secret := base64.RawURLEncoding.EncodeToString([]byte("a secret in a message"))
	p := w.mustDial(t, libraries[0], "")
	p.send(opText, []byte(secret))
	p.wantEnd(t, 3000, "invalid_request")
	record := w.record(t, `msg="wsauth: refused"`)
	if strings.Contains(record, secret) || strings.Contains(record, "cannot read") {
		t.Errorf("the record is %q, want nothing of the message in it", record)
	}
	if e := w.event(t, wsauth.EventRefused); strings.Contains(e.Err.Error(), secret) {
		t.Errorf("the event is %v, want nothing of the message in it", e.Err)
	}
}
