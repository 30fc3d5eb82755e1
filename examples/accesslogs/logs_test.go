package accesslogs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httplog/v3"
	"github.com/gorilla/handlers"
	gorilla "github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wsauth/wsauth"
)

// An accessLog is a log of a framework, as it comes or as it is often set up.
type accessLog struct {
	name   string
	wrap   func(out io.Writer, next http.Handler) http.Handler
	writes place // what it writes of a request
}

const protocolHeader = "Sec-WebSocket-Protocol"

var accessLogs = []accessLog{
	{"chi Logger", chiLogger, inQuery},
	{"chi httplog, with a header", chiHTTPLog, inQuery | inProtocol},
	{"gin Logger", ginLogger, inQuery},
	{"echo Logger", echoLogger, inQuery},
	{"echo RequestLogger", echoRequestLogger, inQuery},
	{"echo RequestLogger, with a header", echoRequestLoggerOfHeaders, inQuery | inProtocol},
	{"gorilla LoggingHandler", handlers.LoggingHandler, inQuery},
	{"gorilla CombinedLoggingHandler", handlers.CombinedLoggingHandler, inQuery},
	{"otelhttp", traced(), 0},
	{"otelhttp, its spans named after the URL", traced(otelhttp.WithSpanNameFormatter(
		func(_ string, r *http.Request) string { return r.Method + " " + r.RequestURI },
	)), inQuery},
	{"slog, the whole request", slogRequest, inQuery | inProtocol},
}

// routes has a WebSocket of each kind, whose handlers return when the peer has gone.
func routes(auth *wsauth.Authenticator) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /ticket", auth.Tickets())
	mux.Handle("GET /coder", auth.Upgrade(echoCoder, &wsauth.UpgradeOptions{
		Accept: &websocket.AcceptOptions{Subprotocols: []string{"chat.v1", "access_token"}},
	}))
	mux.Handle("GET /gorilla", auth.Guard(http.HandlerFunc(echoGorilla), nil))
	mux.Handle("GET /me", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})))
	mux.Handle("GET /panic", auth.Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("a fault of the application")
	}), nil))
	return mux
}

func echoCoder(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil || conn.Write(ctx, kind, message) != nil {
			return
		}
	}
}

func echoGorilla(w http.ResponseWriter, r *http.Request) {
	upgrader := gorilla.Upgrader{Subprotocols: []string{"chat.v1", "access_token"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func chiLogger(out io.Writer, next http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: log.New(out, "", log.LstdFlags)}))
	r.Handle("/*", next)
	return r
}

func chiHTTPLog(out io.Writer, next http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(httplog.RequestLogger(slog.New(slog.NewJSONHandler(out, nil)), &httplog.Options{
		LogRequestHeaders: []string{"Origin", protocolHeader},
	}))
	r.Handle("/*", next)
	return r
}

func ginLogger(out io.Writer, next http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.LoggerWithWriter(out))
	r.Any("/*path", gin.WrapH(next))
	return r
}

// ginRecovery writes requests in debug mode only, which is gin's default.
func ginRecovery(out io.Writer, next http.Handler) http.Handler {
	gin.DefaultWriter = io.Discard // the routes
	gin.SetMode(gin.DebugMode)
	r := gin.New()
	r.Use(gin.RecoveryWithWriter(out))
	r.Any("/*path", gin.WrapH(next))
	return r
}

func echoLogger(out io.Writer, next http.Handler) http.Handler {
	//lint:ignore SA1019 this is what servers of some years have
	return onEcho(next, echomiddleware.LoggerWithConfig(echomiddleware.LoggerConfig{Output: out}))
}

// echoRequestLogger writes to the default logger of slog.
func echoRequestLogger(out io.Writer, next http.Handler) http.Handler {
	logs := onEcho(next, echomiddleware.RequestLogger())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := slog.Default()
		defer slog.SetDefault(before)
		slog.SetDefault(slog.New(slog.NewTextHandler(out, nil)))
		logs.ServeHTTP(w, r)
	})
}

func echoRequestLoggerOfHeaders(out io.Writer, next http.Handler) http.Handler {
	return onEcho(next, echomiddleware.RequestLoggerWithConfig(echomiddleware.RequestLoggerConfig{
		LogStatus: true, LogURI: true,
		LogHeaders: []string{protocolHeader}, LogQueryParams: []string{"access_token", "ticket"},
		LogValuesFunc: func(_ echo.Context, v echomiddleware.RequestLoggerValues) error {
			_, err := fmt.Fprintln(out, v.Status, v.URI, v.Headers, v.QueryParams)
			return err
		},
	}))
}

func onEcho(next http.Handler, log echo.MiddlewareFunc) http.Handler {
	e := echo.New()
	e.Use(log)
	e.Any("/*", echo.WrapHandler(next))
	return e
}

func traced(opts ...otelhttp.Option) func(io.Writer, http.Handler) http.Handler {
	return func(out io.Writer, next http.Handler) http.Handler {
		provider := trace.NewTracerProvider(trace.WithSyncer(spanWriter{out}))
		return otelhttp.NewHandler(next, "server", append(opts, otelhttp.WithTracerProvider(provider))...)
	}
}

// A spanWriter writes all that a span says.
type spanWriter struct{ out io.Writer }

func (w spanWriter) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	return json.NewEncoder(w.out).Encode(tracetest.SpanStubsFromReadOnlySpans(spans))
}

func (spanWriter) Shutdown(context.Context) error { return nil }

// slogRequest writes what a careless access log does.
func slogRequest(out io.Writer, next http.Handler) http.Handler {
	logger := slog.New(slog.NewJSONHandler(out, nil))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		logger.InfoContext(r.Context(), "request", "method", r.Method, "uri", r.RequestURI, "url", r.URL.String(),
			"query", r.URL.Query(), "protocols", r.Header.Values(protocolHeader), "request", fmt.Sprintf("%+v", r))
	})
}
