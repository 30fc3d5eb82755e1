package wsauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
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
