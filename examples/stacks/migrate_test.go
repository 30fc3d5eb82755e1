package stacks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/wsauthtest"
)

// serving connects to serve, in a bubble of synctest, and returns a channel that is closed when serve returns.
func serving(t *testing.T, serve func(context.Context, *websocket.Conn)) (*websocket.Conn, <-chan struct{}) {
	t.Helper()
	i := newTrusted(t)
	returned := make(chan struct{})
	url := wsauthtest.ServeInMemory(t, i.auth.Upgrade(func(ctx context.Context, conn *websocket.Conn) {
		defer close(returned)
		serve(ctx, conn)
	}, nil))
	return wsauthtest.Dial(t, url, wsauthtest.Header(i.lives(time.Hour))), returned
}

func has(returned <-chan struct{}) bool {
	select {
	case <-returned:
		return true
	default:
		return false
	}
}

func TestAServeThatOnlyWritesNoticesThatItsPeerLeavesIfItCallsCloseRead(t *testing.T) {
	for _, row := range []struct {
		name  string
		serve func(context.Context, *websocket.Conn)
		want  bool
	}{
		{"with CloseRead", ticker, true},
		{"without", func(ctx context.Context, _ *websocket.Conn) { <-ctx.Done() }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, returned := serving(t, row.serve)
				conn.Close(websocket.StatusNormalClosure, "")
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := has(returned); got != row.want {
					t.Errorf("serve has returned: %v, want %v", got, row.want)
				}
				<-returned // at the latest when the token expires
			})
		})
	}
}

func TestAReadWithATimeoutOfItsOwnEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second error
		conn, returned := serving(t, func(ctx context.Context, conn *websocket.Conn) {
			limited, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, _, first = conn.Read(limited)
			_, _, second = conn.Read(ctx)
		})
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != -1 {
			t.Errorf("the peer gets %v, want no close frame", err)
		}
		<-returned
		if !errors.Is(first, context.DeadlineExceeded) || second == nil {
			t.Errorf("got %v, then %v, want the deadline, then an error", first, second)
		}
	})
}

func TestWsjsonClosesTheConnectionAtWhatIsNotJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := serving(t, echoJSON)
		var got message
		if err := wsjson.Write(t.Context(), conn, message{"hello"}); err != nil {
			t.Fatal(err)
		}
		if err := wsjson.Read(t.Context(), conn, &got); got.Text != "hello" {
			t.Errorf("got %q, %v, want hello", got.Text, err)
		}
		conn.Write(t.Context(), websocket.MessageText, []byte("hello"))
		_, _, err := conn.Read(t.Context())
		if got := websocket.CloseStatus(err); got != websocket.StatusInvalidFramePayloadData {
			t.Errorf("got %v, want 1007", err)
		}
	})
}

func TestOnlyAnEndThatNobodyExpectedIsLogged(t *testing.T) {
	for _, row := range []struct {
		name   string
		err    error
		logged bool
	}{
		{"a browser leaves", websocket.CloseError{Code: websocket.StatusGoingAway}, false},
		{"a client says goodbye", websocket.CloseError{Code: websocket.StatusNormalClosure}, false},
		{"the token has expired", wsauth.ErrExpired, false},
		{"a client gives up", websocket.CloseError{Code: websocket.StatusInternalError}, true},
		{"the connection breaks", errors.New("connection reset by peer"), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var log bytes.Buffer
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			defer slog.SetDefault(before)
			logEnd(row.err)
			if got := log.Len() > 0; got != row.logged {
				t.Errorf("logged: %v, want %v", got, row.logged)
			}
		})
	}
}

func TestJSONHasTheExpiryAsText(t *testing.T) {
	claims := wsauth.Claims{Expiry: time.Unix(1800000000, 0).UTC()}
	got, err := json.Marshal(map[string]any{"expiry": claims.Expiry, "unix": claims.Expiry.Unix()})
	if want := `{"expiry":"2027-01-15T08:00:00Z","unix":1800000000}`; string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
