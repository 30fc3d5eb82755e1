package libraries_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wsauth/wsauth"
)

// A ReverseProxy gives up both of its connections as soon as one Read fails: it does not finish what it has begun to
// write.
func TestAProxyBringsItsFrameToAnEndBeforeTheCloseFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend, done := &world{bubble: true}, make(chan struct{})
		defer func() { <-done }()
		backend.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(done)
			conn, _, _, err := ws.UpgradeHTTP(r, w)
			if err != nil {
				return
			}
			defer conn.Close()
			payload := make([]byte, 10000) // the gate would hold a short one until it is whole
			ws.WriteHeader(conn, ws.Header{Fin: true, OpCode: ws.OpBinary, Length: int64(len(payload))})
			conn.Write(payload[:5000])
			time.Sleep(5*time.Second + grace/5) // until after the end
			conn.Write(payload[5000:])
		}))
		w := &world{bubble: true}
		w.prepare(t)
		proxy := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", backend.host },
			Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return backend.connect()
			}},
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		}
		w.serve(t, w.auth.Guard(proxy, &wsauth.UpgradeOptions{Grace: grace}))
		p := w.mustDial(t, library{}, w.token(5*time.Second))
		p.wantEnd(t, 3000, "token expired")
		w.wantClosed(t, 3000, wsauth.ErrExpired)
	})
}
