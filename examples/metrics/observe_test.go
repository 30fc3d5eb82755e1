package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/wsauth/wsauth"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// What each event adds, in the words of Prometheus. Several labels are in the order of their names.
func TestEachEventIsMeasuredInTheSameWayByBoth(t *testing.T) {
	const id = `wsauth_issuer="https://id.example.com/"`
	foreign := errors.New("series-1")
	for _, row := range []struct {
		name  string
		event wsauth.Event
		want  string
	}{
		{"authenticated", wsauth.Event{Kind: wsauth.EventAuthenticated, Issuer: issuer, Source: "cookie"},
			`wsauth_token_verifications_total{` + id + `,wsauth_token_source="cookie"} 1`},
		{"of an issuer that FindIssuer found",
			wsauth.Event{Kind: wsauth.EventAuthenticated, Issuer: "https://series-1.example/", Source: "header"},
			`wsauth_token_verifications_total{wsauth_issuer="_OTHER",wsauth_token_source="header"} 1`},
		{"refused", wsauth.Event{Kind: wsauth.EventRefused, Err: wsauth.ErrNoToken, Reason: "token_required"},
			`wsauth_refusals_total{error_type="token_required"} 1`},
		{"refused by a check with an error of its own",
			wsauth.Event{Kind: wsauth.EventRefused, Issuer: issuer, Source: "query", Err: foreign, Reason: "insufficient_scope"},
			`wsauth_refusals_total{error_type="insufficient_scope",` + id + `,wsauth_token_source="query"} 1`},
		{"expired", wsauth.Event{Kind: wsauth.EventRefused, Err: wsauth.ErrExpired, Reason: "invalid_token"},
			`wsauth_refusals_total{error_type="expired"} 1`},
		{"revoked token", wsauth.Event{Kind: wsauth.EventRefused, Err: wsauth.ErrRevoked, Reason: "invalid_token"},
			`wsauth_refusals_total{error_type="revoked"} 1`},
		{"opened", wsauth.Event{Kind: wsauth.EventOpened, Issuer: issuer}, `wsauth_active_connections 1`},
		{"closed by the peer", wsauth.Event{Kind: wsauth.EventClosed, Code: 1006, Duration: 90 * time.Second},
			"wsauth_active_connections -1\n" + `wsauth_connection_duration_seconds{wsauth_close_code="1006"} 1 of 90`},
		{"closed when the token ended",
			wsauth.Event{Kind: wsauth.EventClosed, Code: 3000, Err: wsauth.ErrExpired, Duration: time.Hour},
			"wsauth_active_connections -1\n" +
				`wsauth_connection_duration_seconds{error_type="expired",wsauth_close_code="3000"} 1 of 3600`},
		{"closed when the server was shut down",
			wsauth.Event{Kind: wsauth.EventClosed, Code: 1001, Err: http.ErrServerClosed},
			"wsauth_active_connections -1\n" +
				`wsauth_connection_duration_seconds{error_type="shutdown",wsauth_close_code="1001"} 1 of 0`},
		{"closed when another one took its place",
			wsauth.Event{Kind: wsauth.EventClosed, Code: 4001, Err: websocket.CloseError{Code: 4001}},
			"wsauth_active_connections -1\n" +
				`wsauth_connection_duration_seconds{error_type="_OTHER",wsauth_close_code="4001"} 1 of 0`},
		{"closed with a code of the application", wsauth.Event{Kind: wsauth.EventClosed, Code: 4999},
			"wsauth_active_connections -1\n" + `wsauth_connection_duration_seconds{wsauth_close_code="_OTHER"} 1 of 0`},
		{"closed with a code of nobody", wsauth.Event{Kind: wsauth.EventClosed, Code: 2345},
			"wsauth_active_connections -1\n" + `wsauth_connection_duration_seconds{wsauth_close_code="_OTHER"} 1 of 0`},
		{"renewed", wsauth.Event{Kind: wsauth.EventRenewed, Issuer: issuer},
			`wsauth_connection_renewals_total{` + id + `} 1`},
		{"keys fetched", wsauth.Event{Kind: wsauth.EventKeysFetched, Issuer: issuer, Keys: 3, Duration: time.Second / 2},
			`wsauth_key_count{` + id + "} 3\n" + `wsauth_key_fetch_duration_seconds{` + id + `} 1 of 0.5`},
		{"keys failed", wsauth.Event{Kind: wsauth.EventKeysFailed, Issuer: issuer, Err: foreign, Duration: time.Second},
			`wsauth_key_fetch_duration_seconds{error_type="_OTHER",` + id + `} 1 of 1`},
		{"keys that did not come in time",
			wsauth.Event{Kind: wsauth.EventKeysFailed, Issuer: issuer, Duration: 5 * time.Second,
				Err: fmt.Errorf("discovery: %w", context.DeadlineExceeded)},
			`wsauth_key_fetch_duration_seconds{error_type="timeout",` + id + `} 1 of 5`},
		{"revoked", wsauth.Event{Kind: wsauth.EventRevoked, Issuer: issuer, Connections: 2},
			`wsauth_revocations_total{` + id + `} 1`},
		{"log failed", wsauth.Event{Kind: wsauth.EventLogFailed, Err: foreign},
			`wsauth_revocation_log_failures_total{error_type="_OTHER"} 1`},
		{"of a kind that is not known yet", wsauth.Event{Kind: "series-1"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for by, measured := range map[string]string{
				"OpenTelemetry": byOpenTelemetry(t, row.event), "Prometheus": byPrometheus(t, row.event),
			} {
				if measured != row.want {
					t.Errorf("%s:\ngot  %s\nwant %s", by, measured, row.want)
				}
			}
		})
	}
}

// byPrometheus returns what an event adds.
func byPrometheus(t *testing.T, e wsauth.Event) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	prometheusMetrics(reg, issuer)(t.Context(), e)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range m.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			value := fmt.Sprint(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			if h := m.GetHistogram(); h != nil {
				value = fmt.Sprintf("%d of %v", h.GetSampleCount(), h.GetSampleSum())
			}
			lines = append(lines, line(family.GetName(), labels, value))
		}
	}
	return inOrder(lines)
}

// byOpenTelemetry returns what an event adds, with the names that it has in Prometheus: underscores for dots, _seconds
// for the unit, _total for counters (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/).
func byOpenTelemetry(t *testing.T, e wsauth.Event) string {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	observe, err := openTelemetry(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter(scope), issuer)
	if err != nil {
		t.Fatal(err)
	}
	observe(t.Context(), e)
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, in := range all.ScopeMetrics {
		for _, m := range in.Metrics {
			name := strings.ReplaceAll(m.Name, ".", "_")
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				if data.IsMonotonic {
					name += "_total"
				}
				lines = append(lines, points(name, data.DataPoints)...)
			case metricdata.Gauge[int64]:
				lines = append(lines, points(name, data.DataPoints)...)
			case metricdata.Histogram[float64]:
				if m.Unit != "s" {
					t.Errorf("%s: got the unit %q, want s", m.Name, m.Unit)
				}
				for _, p := range data.DataPoints {
					lines = append(lines, line(name+"_seconds", labels(p.Attributes), fmt.Sprintf("%d of %v", p.Count, p.Sum)))
				}
			default:
				t.Errorf("%s: a %T", m.Name, data)
			}
		}
	}
	return inOrder(lines)
}

func points(name string, points []metricdata.DataPoint[int64]) (lines []string) {
	for _, p := range points {
		lines = append(lines, line(name, labels(p.Attributes), fmt.Sprint(p.Value)))
	}
	return lines
}

func labels(set attribute.Set) map[string]string {
	all := map[string]string{}
	for _, a := range set.ToSlice() {
		all[strings.ReplaceAll(string(a.Key), ".", "_")] = a.Value.AsString()
	}
	return all
}

// line is a value as Prometheus writes it, without labels that are empty.
func line(name string, labels map[string]string, value string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if labels[key] != "" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", key, labels[key]))
		}
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	return name + " " + value
}

// inOrder joins lines without those that say nothing.
func inOrder(lines []string) string {
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "wsauth_active_connections 0" })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
