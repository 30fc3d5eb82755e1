package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// setUp returns the server, and an issuer whose tokens it accepts.
func setUp(t *testing.T) (http.Handler, *wsauthtest.Issuer) {
	t.Helper()
	issuer := wsauthtest.NewHMACIssuer(t)
	issuer.Name, issuer.Audience = "https://id.example.com/", "chat"
	handler, err := newServer(issuer.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return handler, issuer
}

func say(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := wsjson.Write(t.Context(), conn, message{From: "somebody else", Text: text}); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn *websocket.Conn, want message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got message
	if err := wsjson.Read(ctx, conn, &got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEverybodyHearsWhoSaidWhat(t *testing.T) {
	handler, issuer := setUp(t)
	url := wsauthtest.Serve(t, handler) + "/ws"
	alice := wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token()))
	say(t, alice, "anybody here?")
	hear(t, alice, message{From: "alice", Text: "anybody here?"})
	bob := wsauthtest.Dial(t, url, wsauthtest.Cookie(issuer.Token(wsauthtest.Claims{"sub": "bob"})))
	say(t, bob, "hello")
	hear(t, bob, message{From: "bob", Text: "hello"})
	hear(t, alice, message{From: "bob", Text: "hello"})
}

func TestAConnectionNeedsAToken(t *testing.T) {
	handler, issuer := setUp(t)
	url := wsauthtest.Serve(t, handler) + "/ws"
	header, cookie := wsauthtest.Header(issuer.Token()), wsauthtest.Cookie(issuer.Token())
	foreign, none := wsauthtest.SetHeader("Origin", "https://evil.example"), wsauthtest.SetHeader("Origin", "")
	for _, row := range []struct {
		name   string
		opts   []wsauthtest.DialOption
		status int
	}{
		{"none", nil, 401},
		{"expired", []wsauthtest.DialOption{wsauthtest.Header(issuer.Expired())}, 401},
		{"forged", []wsauthtest.DialOption{wsauthtest.Header(issuer.Forged())}, 401},
		{"header, foreign origin", []wsauthtest.DialOption{header, foreign}, 403},
		{"cookie, foreign origin", []wsauthtest.DialOption{cookie, foreign}, 403},
		{"cookie, no origin", []wsauthtest.DialOption{cookie, none}, 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp := wsauthtest.ExpectRefused(t, url, row.status, row.opts...)
			if resp.Header.Get("Sec-WebSocket-Version") != "" { // gorilla sends it with every refusal
				t.Error("got as far as gorilla, want it refused by Guard")
			}
		})
	}
}

// An hour takes no time in a bubble of testing/synctest.
func TestAConnectionEndsWithItsTokenAndTheChatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, issuer := setUp(t)
		url := wsauthtest.ServeInMemory(t, handler) + "/ws"
		begun := time.Now()
		alice := wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token()))
		bob := wsauthtest.Dial(t, url, wsauthtest.Header(issuer.Token(wsauthtest.Claims{
			"sub": "bob", "exp": begun.Add(2 * time.Hour),
		})))
		say(t, bob, "hello") // who has been heard is in the room
		hear(t, bob, message{From: "bob", Text: "hello"})
		say(t, alice, "hello")
		hear(t, bob, message{From: "alice", Text: "hello"})
		reads := bob.CloseRead(t.Context()) // so that it answers pings
		wsauthtest.ExpectClose(t, alice, wsauth.StatusUnauthorized, "token expired")
		const leeway = 30 * time.Second
		if got := time.Since(begun); got != time.Hour+leeway {
			t.Errorf("got the end after %v, want it after %v", got, time.Hour+leeway)
		}
		if reads.Err() != nil {
			t.Error("the other connection has ended, too")
		}
	})
}

func TestAShortSecretIsAnError(t *testing.T) {
	if _, err := newServer(nil); err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") {
		t.Errorf("got error %v, want one that says what to do", err)
	}
}
