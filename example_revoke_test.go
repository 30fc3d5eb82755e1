package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

// A logout: the user's connections end, and none of the user's tokens is accepted any more. Tokens that are issued
// later are.
func ExampleAuthenticator_Revoke() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers:     []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
		Revocations: wsauth.Revocations{Keep: time.Hour}, // no token lives longer
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		conn.Write(ctx, websocket.MessageText, []byte("hello"))
		conn.Read(ctx)
	}, nil))
	defer srv.Close()

	ctx, now := context.Background(), time.Now().Unix()
	token := exampleToken(fmt.Sprintf(`{"sub":"alice","iat":%d,"exp":%d}`, now, now+600))
	conn, _, err := websocket.Dial(ctx, srv.URL+"?access_token="+token, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, message, err := conn.Read(ctx)
	fmt.Println(string(message), err)

	if err := auth.Revoke(ctx, wsauth.Revocation{Subject: "alice", Before: time.Now()}); err != nil {
		fmt.Println(err)
	}
	_, _, err = conn.Read(ctx)
	fmt.Println(codeAndReason(err))
	_, err = auth.Verify(ctx, token)
	fmt.Println(errors.Is(err, wsauth.ErrRevoked))
	// Output:
	// hello <nil>
	// 3000 token revoked
	// true
}

// exampleKeeping trusts an issuer, and knows how long its tokens live.
func exampleKeeping() *wsauth.Authenticator {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.HMAC(exampleSecret),
		}},
		Revocations: wsauth.Revocations{Keep: time.Hour},
	})
	if err != nil {
		panic(err)
	}
	return auth
}

// The provider tells its client that a user has logged out, and the user's WebSocket is closed.
func ExampleAuthenticator_BackChannelLogout() {
	auth := exampleKeeping()
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) { conn.Read(ctx) }, nil))
	mux.Handle("POST /logout", auth.BackChannelLogout("my-client")) // the client's backchannel_logout_uri
	srv := httptest.NewServer(mux)
	defer srv.Close()

	ctx, now := context.Background(), time.Now().Unix()
	token := exampleToken(fmt.Sprintf(
		`{"iss":"https://id.example.com/","aud":"chat","sub":"alice","sid":"s1","iat":%d,"exp":%d}`, now, now+600))
	conn, _, err := websocket.Dial(ctx, srv.URL+"/ws?access_token="+token, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.CloseNow()

	logout := exampleToken(fmt.Sprintf(`{"iss":"https://id.example.com/","aud":"my-client","sub":"alice","sid":"s1","jti":"1",
		"iat":%d,"exp":%d,"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`, now, now+120))
	resp, err := http.PostForm(srv.URL+"/logout", url.Values{"logout_token": {logout}}) // as the provider does
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println("the provider gets", resp.StatusCode)
	_, _, err = conn.Read(ctx)
	fmt.Println("alice gets", codeAndReason(err))
	_, err = auth.Verify(ctx, token)
	fmt.Println("her token:", err)
	// Output:
	// the provider gets 200
	// alice gets 3000 token revoked
	// her token: wsauth: token revoked
}

// An identity provider says that a user's sessions were revoked. It knows the user by an email address, and the tokens do
// not, so Map looks up the sub.
func ExampleAuthenticator_SecurityEvents() {
	auth := exampleKeeping()
	subjects := map[string]string{"alice@example.com": "alice"}
	events := auth.SecurityEvents(wsauth.Transmitter{
		Name:          "https://signals.example.com/",
		Audience:      []string{"https://chat.example.com/events"},
		Keys:          wsauth.HMAC(exampleSecret), // mostly JWKS{}
		Authorization: "Bearer a-random-token",
		Map: func(_ context.Context, who wsauth.EventSubject) ([]wsauth.Revocation, error) {
			return []wsauth.Revocation{{Subject: subjects[who.Email]}}, nil // without a Subject, nothing is revoked
		},
	})
	now := time.Now().Unix()
	send := func(email string) {
		event := exampleTyped("secevent+jwt", fmt.Sprintf(`{"iss":"https://signals.example.com/","aud":"https://chat.example.com/events",
			"iat":%d,"jti":"1","sub_id":{"format":"email","email":%q},
			"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{"event_timestamp":%d}}}`, now, email, now))
		r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(event)) // as the transmitter does
		r.Header.Set("Content-Type", "application/secevent+jwt")
		r.Header.Set("Authorization", "Bearer a-random-token")
		w := httptest.NewRecorder()
		events.ServeHTTP(w, r)
		fmt.Println("the transmitter gets", w.Code)
	}
	send("nobody@example.com")
	send("alice@example.com")
	for _, user := range []string{"alice", "bob"} {
		_, err := auth.Verify(context.Background(), exampleToken(fmt.Sprintf(
			`{"iss":"https://id.example.com/","aud":"chat","sub":%q,"iat":%d,"exp":%d}`, user, now, now+600)))
		fmt.Println(user, err)
	}
	// Output:
	// the transmitter gets 202
	// the transmitter gets 202
	// alice wsauth: token revoked
	// bob <nil>
}

// A sharedLog is a RevocationLog for servers in one process. It keeps everything, and so it cannot begin anew.
type sharedLog struct {
	mu      sync.Mutex
	entries []string
}

func (l *sharedLog) Append(_ context.Context, entries ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entries...)
	return nil
}

func (l *sharedLog) Read(_ context.Context, after string) ([]string, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	begin, _ := strconv.Atoi(after)
	end := min(begin+1000, len(l.entries))
	return l.entries[begin:end:end], strconv.Itoa(end), nil
}

// Two servers have a log in common. Each accepts tokens only once Follow has read it.
func ExampleRevocationLog() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := new(sharedLog)
	newServer := func() *wsauth.Authenticator {
		auth, err := wsauth.New(wsauth.Options{
			Issuers: []wsauth.Issuer{{Keys: wsauth.HMAC(exampleSecret)}},
			Revocations: wsauth.Revocations{
				Log:      log,
				Keep:     time.Hour,
				MaxStale: time.Minute, // then refuse everybody rather than accept somebody who was logged out elsewhere
			},
		})
		if err != nil {
			panic(err)
		}
		go auth.Follow(ctx)
		for auth.Ready(ctx) != nil {
			time.Sleep(time.Millisecond)
		}
		return auth
	}
	first, second := newServer(), newServer()

	fmt.Println(first.Revoke(ctx, wsauth.Revocation{ID: "4711"}))

	now := time.Now().Unix()
	token := exampleToken(fmt.Sprintf(`{"jti":"4711","iat":%d,"exp":%d}`, now, now+600))
	var err error
	for err == nil { // for some milliseconds
		_, err = second.Verify(ctx, token)
	}
	fmt.Println(err)
	// Output:
	// <nil>
	// wsauth: token revoked
}
