package main

// Copy this file. It turns what wsauth.Options.Observe is called with into metrics: openTelemetry is for OpenTelemetry,
// and also writes into the spans of traces; prometheusMetrics is for the Prometheus client. Delete the one that you do
// not need. Both use the same names, as the exporters of OpenTelemetry spell them for Prometheus:
//
//	wsauth.token.verifications     wsauth_token_verifications_total      tokens that were accepted
//	wsauth.refusals                wsauth_refusals_total                 requests, tokens and renewals that were refused
//	wsauth.active_connections      wsauth_active_connections             connections that are open now
//	wsauth.connection.duration     wsauth_connection_duration_seconds    how long those were open that have ended
//	wsauth.connection.renewals     wsauth_connection_renewals_total      tokens that were replaced by Renew
//	wsauth.key.fetch.duration      wsauth_key_fetch_duration_seconds     how long fetches of key sets took
//	wsauth.key.count               wsauth_key_count                      usable keys of the last fetch that succeeded
//	wsauth.revocations             wsauth_revocations_total              revocations that this server knows of
//	wsauth.revocation_log.failures wsauth_revocation_log_failures_total  times that the log became unreachable
//
// Names, units and error.type follow the semantic conventions of OpenTelemetry
// (https://opentelemetry.io/docs/specs/semconv/general/naming/ and …/registry/attributes/error/).
//
// No attribute has values that a client chooses, or as many values as there are users or tenants: a client could make as
// many series as it likes. So no subject and no kid is among them, nor the text of Event.Err, which a check of your own
// may have written.

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/wsauth/wsauth"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// The attributes. In Prometheus a label has underscores in place of the dots, and is empty if the attribute is missing.
const (
	attrIssuer = "wsauth.issuer"       // one of the issuers that openTelemetry or prometheusMetrics is given, or _OTHER
	attrSource = "wsauth.token.source" // header, query, cookie, …
	attrCode   = "wsauth.close.code"   // of the close frame that was sent; 1006: none was
	attrError  = "error.type"          // see errorType
)

// other is the value for whatever is not in a list. The conventions define it for error.type.
const other = "_OTHER"

// In seconds, as the conventions ask for.
var (
	connectionBuckets = []float64{1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600}
	fetchBuckets      = []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}
)

// openTelemetry returns a function for wsauth.Options.Observe. issuers are the values that wsauth.issuer may have: the
// names in Options.Issuers. With FindIssuer there may be any number of others.
func openTelemetry(meter metric.Meter, issuers ...string) (func(context.Context, wsauth.Event), error) {
	m, err := newInstruments(meter)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e wsauth.Event) {
		m.record(ctx, e, issuerOf(e, issuers))
		addToSpan(ctx, e)
	}, nil
}

type instruments struct {
	verified, refused, renewed, revoked, logFailed metric.Int64Counter
	durations, fetches                             metric.Float64Histogram
	open                                           metric.Int64UpDownCounter
	keys                                           metric.Int64Gauge
}

func newInstruments(meter metric.Meter) (m instruments, err error) {
	var faults []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		faults = append(faults, err)
		return c
	}
	histogram := func(name, description string, buckets []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(buckets...))
		faults = append(faults, err)
		return h
	}
	m.verified = counter("wsauth.token.verifications", "{token}", "Tokens that were accepted.")
	m.refused = counter("wsauth.refusals", "{refusal}", "Requests, tokens and renewals that were refused.")
	m.renewed = counter("wsauth.connection.renewals", "{renewal}", "Tokens that were replaced by Renew.")
	m.revoked = counter("wsauth.revocations", "{revocation}", "Revocations that this server knows of.")
	m.logFailed = counter("wsauth.revocation_log.failures", "{failure}", "Times that the log became unreachable.")
	m.durations = histogram("wsauth.connection.duration", "How long connections were open.", connectionBuckets)
	m.fetches = histogram("wsauth.key.fetch.duration", "How long fetches of key sets took.", fetchBuckets)
	m.open, err = meter.Int64UpDownCounter("wsauth.active_connections", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections that are open now."))
	faults = append(faults, err)
	m.keys, err = meter.Int64Gauge("wsauth.key.count", metric.WithUnit("{key}"),
		metric.WithDescription("Usable keys of the last fetch that succeeded."))
	return m, errors.Join(append(faults, err)...)
}

func (m *instruments) record(ctx context.Context, e wsauth.Event, issuer string) {
	with := func(pairs ...string) metric.MeasurementOption {
		return metric.WithAttributes(attributes(append(pairs, attrError, errorType(e))...)...)
	}
	switch e.Kind {
	case wsauth.EventAuthenticated:
		m.verified.Add(ctx, 1, with(attrIssuer, issuer, attrSource, e.Source))
	case wsauth.EventRefused:
		m.refused.Add(ctx, 1, with(attrIssuer, issuer, attrSource, e.Source))
	case wsauth.EventOpened:
		m.open.Add(ctx, 1)
	case wsauth.EventClosed:
		m.open.Add(ctx, -1)
		m.durations.Record(ctx, e.Duration.Seconds(), with(attrCode, closeCode(e.Code)))
	case wsauth.EventRenewed:
		m.renewed.Add(ctx, 1, with(attrIssuer, issuer))
	case wsauth.EventKeysFetched:
		m.keys.Record(ctx, int64(e.Keys), with(attrIssuer, issuer))
		m.fetches.Record(ctx, e.Duration.Seconds(), with(attrIssuer, issuer))
	case wsauth.EventKeysFailed:
		m.fetches.Record(ctx, e.Duration.Seconds(), with(attrIssuer, issuer))
	case wsauth.EventRevoked:
		m.revoked.Add(ctx, 1, with(attrIssuer, issuer))
	case wsauth.EventLogFailed:
		m.logFailed.Add(ctx, 1, with())
	}
}

// addToSpan writes an event into the span of the request or connection, if there is one that has not ended. A fetch of
// keys never has one.
func addToSpan(ctx context.Context, e wsauth.Event) {
	pairs := []string{attrIssuer, e.Issuer, attrSource, e.Source, attrError, errorType(e)}
	if e.Kind == wsauth.EventClosed {
		pairs = append(pairs, attrCode, closeCode(e.Code))
	}
	trace.SpanFromContext(ctx).AddEvent("wsauth."+string(e.Kind), trace.WithAttributes(attributes(pairs...)...))
}

// attributes makes attributes of names and values. An empty value is not known, and left out.
func attributes(pairs ...string) (all []attribute.KeyValue) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			all = append(all, attribute.String(pair[0], pair[1]))
		}
	}
	return all
}

// prometheusMetrics returns a function for wsauth.Options.Observe. Several Authenticators share one, since a Registerer
// takes each metric once. For issuers, see openTelemetry.
func prometheusMetrics(reg prometheus.Registerer, issuers ...string) func(context.Context, wsauth.Event) {
	const issuer, source, code, failure = "wsauth_issuer", "wsauth_token_source", "wsauth_close_code", "error_type"
	factory := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return factory.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	verified := counter("wsauth_token_verifications_total", "Tokens that were accepted.", issuer, source)
	refused := counter("wsauth_refusals_total", "Requests, tokens and renewals that were refused.",
		issuer, source, failure)
	renewed := counter("wsauth_connection_renewals_total", "Tokens that were replaced by Renew.", issuer)
	revoked := counter("wsauth_revocations_total", "Revocations that this server knows of.", issuer)
	logFailed := counter("wsauth_revocation_log_failures_total", "Times that the log became unreachable.", failure)
	durations := histogram("wsauth_connection_duration_seconds", "How long connections were open.",
		connectionBuckets, code, failure)
	fetches := histogram("wsauth_key_fetch_duration_seconds", "How long fetches of key sets took.",
		fetchBuckets, issuer, failure)
	open := factory.NewGauge(prometheus.GaugeOpts{
		Name: "wsauth_active_connections", Help: "Connections that are open now.",
	})
	keys := factory.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wsauth_key_count", Help: "Usable keys of the last fetch that succeeded.",
	}, []string{issuer})

	return func(_ context.Context, e wsauth.Event) {
		name, failed := issuerOf(e, issuers), errorType(e)
		switch e.Kind {
		case wsauth.EventAuthenticated:
			verified.WithLabelValues(name, e.Source).Inc()
		case wsauth.EventRefused:
			refused.WithLabelValues(name, e.Source, failed).Inc()
		case wsauth.EventOpened:
			open.Inc()
		case wsauth.EventClosed:
			open.Dec()
			durations.WithLabelValues(closeCode(e.Code), failed).Observe(e.Duration.Seconds())
		case wsauth.EventRenewed:
			renewed.WithLabelValues(name).Inc()
		case wsauth.EventKeysFetched:
			keys.WithLabelValues(name).Set(float64(e.Keys))
			fetches.WithLabelValues(name, failed).Observe(e.Duration.Seconds())
		case wsauth.EventKeysFailed:
			fetches.WithLabelValues(name, failed).Observe(e.Duration.Seconds())
		case wsauth.EventRevoked:
			revoked.WithLabelValues(name).Inc()
		case wsauth.EventLogFailed:
			logFailed.WithLabelValues(failed).Inc()
		}
	}
}

// issuerOf returns an issuer of the list, _OTHER for one that is not in the list, and nothing if the issuer is not
// known.
func issuerOf(e wsauth.Event, issuers []string) string {
	if e.Issuer == "" || slices.Contains(issuers, e.Issuer) {
		return e.Issuer
	}
	return other
}

// errorType returns a word for what went wrong, or why wsauth has ended a connection; nothing if all went well, or the
// connection was ended by its peer or by serve.
func errorType(e wsauth.Event) string {
	var timeout net.Error
	switch {
	case e.Err == nil:
		return ""
	case errors.Is(e.Err, wsauth.ErrRevoked):
		return "revoked"
	case errors.Is(e.Err, wsauth.ErrExpired):
		return "expired" // to a client it is invalid_token, too; but expired tokens are common, and forged ones are not
	case e.Kind == wsauth.EventRefused:
		return e.Reason
	case e.Kind == wsauth.EventClosed && errors.Is(e.Err, http.ErrServerClosed):
		return "shutdown"
	case errors.As(e.Err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return other
}

// closeCode returns a code of RFC 6455 or of wsauth. A client that closes first gets its own code back, so the many
// codes that applications may choose count as one here.
func closeCode(code websocket.StatusCode) string {
	switch code {
	case wsauth.StatusUnauthorized, wsauth.StatusReplaced, wsauth.StatusTimeout:
		return strconv.Itoa(int(code))
	}
	if code >= websocket.StatusNormalClosure && code <= websocket.StatusTLSHandshake { // 1000 to 1015
		return strconv.Itoa(int(code))
	}
	return other
}
