// Command metrics is a small server that counts what wsauth does, for Prometheus and for OpenTelemetry, and writes it
// into traces. GET /metrics has the counts. The part to copy is in observe.go. CHAT_SECRET holds the secret that tokens
// are signed with, 32 bytes or more.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/wsauth/wsauth"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	// Spans and measurements go nowhere until otel.SetTracerProvider and otel.SetMeterProvider are given the providers
	// of an SDK with an exporter.
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")), otel.GetTracerProvider(), otel.GetMeterProvider())
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{
		Addr:              cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
	}
	slog.Info("metrics", "listens on", srv.Addr)
	log.Fatal(srv.ListenAndServe())
}

// scope names this program as the source of its spans and measurements.
const scope = "github.com/wsauth/wsauth/examples/metrics"

const issuer = "https://id.example.com/"

func newServer(secret []byte, traces trace.TracerProvider, meters metric.MeterProvider) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	count := prometheusMetrics(reg, issuer)
	measure, err := openTelemetry(meters.Meter(scope), issuer)
	if err != nil {
		return nil, err
	}
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     issuer,
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Logger: slog.Default(),
		Observe: func(ctx context.Context, e wsauth.Event) { // most servers need one of them
			count(ctx, e)
			measure(ctx, e)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", traced(traces, auth.Upgrade(echo, nil)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{})) // not for the Internet
	return mux, nil
}

// traced gives each request a span, as otelhttp does; the span of a WebSocket lasts as long as the connection. The
// span's name is the route. It does not contain the URL, whose query may have a token.
func traced(traces trace.TracerProvider, next http.Handler) http.Handler {
	tracer := traces.Tracer(scope)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), r.Pattern, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// echo runs once for each connection. When the token expires, the connection ends, and so does the loop.
func echo(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := conn.Write(ctx, kind, data); err != nil {
			return
		}
	}
}
