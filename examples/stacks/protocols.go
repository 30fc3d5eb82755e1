package stacks

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/wsauth/wsauth"
)

var errNoToken = errors.New("not a CONNECT with a token")

// stompToken takes the token from the Authorization header of STOMP's first frame.
func stompToken(frame []byte) (string, error) {
	head, _, _ := bytes.Cut(frame, []byte("\n\n"))
	command, headers, _ := strings.Cut(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n")
	if command != "CONNECT" && command != "STOMP" {
		return "", errNoToken
	}
	for line := range strings.SplitSeq(headers, "\n") {
		if token, ok := strings.CutPrefix(line, "Authorization:Bearer "); ok {
			return token, nil
		}
	}
	return "", errNoToken
}

func withSTOMP(auth *wsauth.Authenticator, mux *http.ServeMux) {
	serve := func(ctx context.Context, conn *websocket.Conn) { // Upgrade has read the CONNECT
		claims, _ := wsauth.ClaimsFromContext(ctx)
		conn.Write(ctx, websocket.MessageText, []byte("CONNECTED\nversion:1.2\nuser-name:"+claims.Subject+"\n\n\x00"))
		conn.Read(ctx)
	}
	mux.Handle("GET /ws", auth.Upgrade(serve, &wsauth.UpgradeOptions{
		FirstMessage: 5 * time.Second,
		FirstToken:   stompToken,
		Accept:       &websocket.AcceptOptions{Subprotocols: []string{"v12.stomp"}},
	}))
}

// inFrontOf guards a server in another language, such as one of Phoenix or Socket.IO, or a broker that speaks STOMP.
func inFrontOf(server *url.URL, issuers []wsauth.Issuer) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers: issuers,
		Extractors: []wsauth.Extractor{
			wsauth.FromHeader(),
			wsauth.FromQuery("access_token"),                // Socket.IO
			wsauth.FromSubprotocol("base64url.bearer.phx."), // Phoenix
		},
	})
	if err != nil {
		return nil, err
	}
	return auth.Guard(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		claims, _ := wsauth.ClaimsFromContext(r.In.Context())
		r.SetURL(server)
		r.Out.Header.Del("Authorization")                          // a query or a subprotocol has no token any more
		r.Out.Header.Set("X-User", url.PathEscape(claims.Subject)) // in place of what the client says
	}}, nil), nil
}
