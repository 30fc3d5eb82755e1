// Command gorilla is the same small server around a handler of gorilla/websocket, for those who have such handlers.
// CHAT_SECRET holds the secret that tokens are signed with, 32 bytes or more.
//
// Behind auth.Middleware, a handler of any WebSocket library gets a request whose token is verified, the claims in its
// context, RequireScopes, the Origin rule for cookies, and no token in the URL any more. What only auth.Upgrade does it
// has to do itself, or to go without:
//
//   - the end of the connection with the token: see expireAt;
//   - the Origin rule for tokens that are in no cookie, and Options.Origins there: see checkOrigin;
//   - a subprotocol for clients that carry the token in one: see Upgrader.Subprotocols;
//   - wsauth.Renew, a token in the first message, refusals that a browser can read, bounds on connections, and
//     auth.Revoke and auth.Shutdown, which do not know this connection.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/wsauth/wsauth"
)

const (
	leeway = 30 * time.Second // for clocks that differ; wsauth's default, said here because expireAt needs it, too
	grace  = time.Second      // for a client to answer a close frame
)

// origins are the sites besides the server's own whose pages may connect.
var origins = []string{"https://app.example.com"}

func main() {
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")))
	if err == nil {
		srv := &http.Server{
			Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
			Handler:           handler,
			ReadHeaderTimeout: 5 * time.Second,
		}
		slog.Info("gorilla", "listens on", srv.Addr)
		err = srv.ListenAndServe()
	}
	slog.Error("gorilla", "err", err)
	os.Exit(1)
}

func newServer(secret []byte) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(), wsauth.FromCookie("access_token"), wsauth.FromSubprotocol("bearer."),
		},
		Origins: origins,
		Leeway:  leeway,
		Logger:  slog.Default(),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", auth.Middleware(http.HandlerFunc(chat)))
	moderators := wsauth.RequireScopes("chat:moderate")
	mux.Handle("GET /ws/moderators", auth.Middleware(moderators(http.HandlerFunc(chat))))
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(me)))
	return mux, nil
}

var upgrader = websocket.Upgrader{
	CheckOrigin: checkOrigin,
	// A browser that carries its token in a subprotocol closes the connection if none is selected. The entry with the
	// token is not there any more, so the client offers another one: ["chat.v1", "bearer." + token], or ["wsauth", …] if
	// the application has none of its own. The server's order counts.
	Subprotocols: []string{"chat.v1", "wsauth"},
}

// checkOrigin says which pages may connect with a token that they have themselves. With a cookie, which a browser adds
// for any page, Middleware has been stricter already: there must be an Origin, it must be the server's own or one of
// Options.Origins, and http is not https where the server does TLS.
//
// Without CheckOrigin, gorilla has this rule less the list, and refuses the pages of Options.Origins. With one that always
// returns true, a cookie is as safe as before, and any page may connect with a token that it has.
func checkOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(origins, origin) { // no Origin is no browser
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

type message struct {
	From string `json:"from,omitempty"`
	Text string `json:"text"`
}

// chat is a handler as gorilla's documentation has it, but for the claims and the end.
func chat(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer conn.Close()
	conn.SetReadLimit(32 << 10)
	end := claims.Expiry.Add(leeway)
	defer expireAt(end, conn).Stop()
	for {
		var m message
		if err := conn.ReadJSON(&m); err != nil {
			return // the client went, or the token ended
		}
		if !time.Now().Before(end) {
			continue // it counts for nothing any more, but the answer to the close frame is behind it
		}
		m.From = claims.Subject
		if err := conn.WriteJSON(m); err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			return
		}
	}
}

// expireAt ends the connection when its token ends, whatever the handler does meanwhile: WriteControl and Close are the
// two methods that gorilla allows beside its one reader and one writer.
//
// It comes near to what auth.Upgrade does. What is missing: a handler that does not look at the clock after each read
// still gets what the client sends until it is cut off; a timer stands still while the machine sleeps, and the token may
// be long over when it fires; and the end is that of the first token, for there is no wsauth.Renew.
func expireAt(end time.Time, conn *websocket.Conn) *time.Timer {
	return time.AfterFunc(time.Until(end), func() {
		cut := time.Now().Add(grace)
		reason := websocket.FormatCloseMessage(int(wsauth.StatusUnauthorized), "token expired")
		// It waits its turn behind a message that is being written, and gives up at cut: in the middle of a message there
		// can be no close frame. From then on gorilla writes nothing more. ReadJSON ends with the client's answer.
		conn.WriteControl(websocket.CloseMessage, reason, cut)
		// A client that does not answer, or does not read, is cut off. Deadlines would do so, too, but gorilla leaves them to
		// its reader and its writer, and a handler of pongs that sets one puts the end off again. Close cannot be undone.
		time.AfterFunc(time.Until(cut), func() { conn.Close() })
	})
}

// me answers with all that the token says.
func me(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	var all map[string]any
	if err := claims.Decode(&all); err != nil {
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(all); err != nil {
		slog.Warn("write a response", "err", err)
	}
}
