// Command metrics is a small server that counts for Prometheus what wsauth does, and writes it into the traces of
// OpenTelemetry. GET /metrics has the counts. CHAT_SECRET holds the secret that tokens are signed with, 32 bytes or
// more.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/wsauth/wsauth"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	// Until otel.SetTracerProvider is given one of an SDK, with an exporter, spans go nowhere.
	handler, err := newServer([]byte(os.Getenv("CHAT_SECRET")), otel.GetTracerProvider())
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

func newServer(secret []byte, traces trace.TracerProvider) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	auth, err := wsauth.New(wsauth.Options{
		Issuers: []wsauth.Issuer{{
			Name:     "https://id.example.com/",
			Audience: []string{"chat"},
			Keys:     wsauth.HMAC(secret),
		}},
		Logger:  slog.Default(),
		Observe: observer(reg),
	})
	if err != nil {
		return nil, fmt.Errorf("with CHAT_SECRET as the secret: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", traced(traces, auth.Upgrade(echo, nil)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{})) // not for the Internet
	return mux, nil
}

// observer returns a function for wsauth.Options.Observe. Several Authenticators share one: a Registerer takes it once.
//
// Nothing here is of a client's choice, or it could have Prometheus keep as many series as it likes: kinds and reasons
// are words of wsauth, issuers are those of Options, and codes are those of closeCode. Nor is there the text of Err,
// which may be the application's own (of a check for wsauth.Require) and have a subject in it.
func observer(reg prometheus.Registerer) func(context.Context, wsauth.Event) {
	factory := promauto.With(reg)
	events := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "wsauth_events_total",
		Help: "What happened: kind is a wsauth.EventKind, reason why it was refused, or the close code sent to the peer.",
	}, []string{"kind", "issuer", "reason"})
	open := factory.NewGauge(prometheus.GaugeOpts{
		Name: "wsauth_connections_open",
		Help: "Connections that are open now.",
	})
	durations := factory.NewHistogram(prometheus.HistogramOpts{
		Name:    "wsauth_connection_duration_seconds",
		Help:    "How long connections were open that are closed now.",
		Buckets: []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600},
	})
	keys := factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wsauth_keys",
		Help: "Usable keys that the last fetch brought that did not fail.",
	}, []string{"issuer"})

	return func(ctx context.Context, e wsauth.Event) {
		reason := reasonOf(e)
		events.WithLabelValues(string(e.Kind), e.Issuer, reason).Inc()
		switch e.Kind {
		case wsauth.EventOpened:
			open.Inc()
		case wsauth.EventClosed:
			open.Dec()
			durations.Observe(e.Duration.Seconds())
		case wsauth.EventKeysFetched:
			keys.WithLabelValues(e.Issuer).Set(float64(e.Keys))
		}
		// Where there is no span, or it has ended, this does nothing. A fetch of keys never has one.
		trace.SpanFromContext(ctx).AddEvent("wsauth."+string(e.Kind), trace.WithAttributes(
			attribute.String("wsauth.issuer", e.Issuer),
			attribute.String("wsauth.source", e.Source),
			attribute.String("wsauth.reason", reason),
		))
	}
}

func reasonOf(e wsauth.Event) string {
	switch {
	case e.Kind == wsauth.EventClosed:
		return closeCode(e.Code)
	case e.Kind == wsauth.EventRefused && errors.Is(e.Err, wsauth.ErrExpired):
		return "expired" // a client learns no more than invalid_token, but old tokens are everyday, and forged ones are not
	}
	return e.Reason
}

// closeCode is the code of the close frame that was sent to the peer, or 1006 where none was. A client that closes is
// sent its own code back, so the many that are free for applications are one here.
func closeCode(code websocket.StatusCode) string {
	if code >= 3000 && code != wsauth.StatusUnauthorized {
		return "other"
	}
	return strconv.Itoa(int(code))
}

// traced gives each request a span, as otelhttp does; that of a WebSocket lasts as long as the connection. Its name is
// the route. The URL is not in it: the query may have a token.
func traced(traces trace.TracerProvider, next http.Handler) http.Handler {
	tracer := traces.Tracer("github.com/wsauth/wsauth/examples/metrics")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), r.Pattern, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// echo runs once for each connection. When the token ends, the connection does, and with it the loop.
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
