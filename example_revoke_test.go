package wsauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// What an OpenID provider sends when a user logs out there. Its access tokens have the sid of the session.
func ExampleAuthenticator_BackChannelLogout() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.HMAC(exampleSecret),
		}},
		Revocations: wsauth.Revocations{Keep: time.Hour},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/backchannel_logout", auth.BackChannelLogout("my-client"))

	ctx, now := context.Background(), time.Now().Unix()
	token := exampleToken(fmt.Sprintf(
		`{"iss":"https://id.example.com/","aud":"chat","sub":"alice","sid":"4711","iat":%d,"exp":%d}`, now, now+600))
	_, err = auth.Verify(ctx, token)
	fmt.Println(err)

	logout := exampleToken(fmt.Sprintf(`{"iss":"https://id.example.com/","aud":"my-client","sid":"4711","jti":"1",
		"iat":%d,"exp":%d,"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`, now, now+120))
	r := httptest.NewRequest("POST", "/backchannel_logout", strings.NewReader("logout_token="+logout))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code)

	_, err = auth.Verify(ctx, token)
	fmt.Println(err)
	// Output:
	// <nil>
	// 200
	// wsauth: token revoked
}

// Events of a transmitter that names users by their email addresses.
func ExampleAuthenticator_SecurityEvents() {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name: "https://id.example.com/", Audience: []string{"chat"}, Keys: wsauth.HMAC(exampleSecret),
		}},
		Revocations: wsauth.Revocations{Keep: time.Hour},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	userOf := map[string]string{"alice@example.com": "alice"} // in place of a database
	events := auth.SecurityEvents(wsauth.Transmitter{
		Name:          "https://events.example.com/",
		Audience:      []string{"https://chat.example.com/"},
		Keys:          wsauth.JWKS{DiscoveryURL: "https://events.example.com/.well-known/ssf-configuration"},
		Authorization: "Bearer what-was-agreed",
		Map: func(_ context.Context, _ string, subject json.RawMessage) ([]wsauth.Revocation, error) {
			var s struct{ Email string }
			if err := json.Unmarshal(subject, &s); err != nil || userOf[s.Email] == "" {
				return nil, nil // nobody here
			}
			return []wsauth.Revocation{{Subject: userOf[s.Email]}}, nil
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/events", events)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", "/events", strings.NewReader("not an event")))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 400 {"err":"authentication_failed","description":"the security event token was refused"}
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
