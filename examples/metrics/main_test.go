package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/examples/internal/testclient"
	"github.com/wsauth/wsauth/wsauthtest"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// setUp returns the server, an issuer whose tokens it accepts, and where its spans go when they end.
func setUp(t *testing.T) (http.Handler, *wsauthtest.Issuer, *tracetest.InMemoryExporter) {
	t.Helper()
	id := wsauthtest.NewHMACIssuer(t)
	id.Name, id.Audience = issuer, "chat"
	spans := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	handler, err := newServer(id.Secret, traces, noop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	return handler, id, spans
}

// connect opens a connection, and waits until the server's end of it runs.
func connect(t *testing.T, url string, opts ...wsauthtest.DialOption) *websocket.Conn {
	t.Helper()
	conn := wsauthtest.Dial(t, url, opts...)
	if err := conn.Write(testclient.Context(t), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(testclient.Context(t)); err != nil || string(got) != "hello" {
		t.Fatalf("the echo: %q, %v", got, err)
	}
	return conn
}

func scrape(t *testing.T, base string) string {
	t.Helper()
	resp, err := http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: %s, %v", resp.Status, err)
	}
	return string(text)
}

// scrapeHandler is scrape without a network, for handlers that have no other path.
func scrapeHandler(handler http.Handler) string {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// values are the lines of text that are neither comments nor buckets.
func values(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// eventually waits for what the server does after the client has its answer.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("not within 10 seconds")
			return
		}
	}
}

// wantLines waits for the lines.
func wantLines(t *testing.T, scrape func() string, lines ...string) {
	t.Helper()
	var text, line string
	eventually(t, func() bool {
		text = scrape()
		for _, line = range lines {
			if !strings.Contains("\n"+text, "\n"+line+"\n") {
				return false
			}
		}
		return true
	})
	if t.Failed() {
		t.Errorf("the last line looked for is %q, in\n%s", line, text)
	}
}

// wantNoSecret looks for the subject, and for any part of a token but the header, which all have in common.
func wantNoSecret(t *testing.T, text string, tokens ...string) {
	t.Helper()
	secrets := []string{"alice"}
	for _, token := range tokens {
		secrets = append(secrets, strings.Split(token, ".")[1:]...)
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in\n%s", secret, text)
		}
	}
}

func TestMetricsSayWhatHappened(t *testing.T) {
	handler, issuer, _ := setUp(t)
	base := wsauthtest.Serve(t, handler)
	good, expired, forged := issuer.Token(), issuer.Expired(), issuer.Forged()
	connect(t, base+"/ws", wsauthtest.Header(good))
	leaves := connect(t, base+"/ws", wsauthtest.Query(good))
	wsauthtest.ExpectRefused(t, base+"/ws", 401)
	wsauthtest.ExpectRefused(t, base+"/ws", 401, wsauthtest.Header(expired))
	wsauthtest.ExpectRefused(t, base+"/ws", 401, wsauthtest.Query(expired))
	wsauthtest.ExpectRefused(t, base+"/ws", 401, wsauthtest.Query(forged))
	metrics := func() string { return scrape(t, base) }
	wantLines(t, metrics, "wsauth_active_connections 2")

	leaves.Close(websocket.StatusNormalClosure, "")
	const of = `wsauth_issuer="https://id.example.com/",wsauth_token_source=`
	wantLines(t, metrics,
		"wsauth_active_connections 1",
		`wsauth_connection_duration_seconds_count{error_type="",wsauth_close_code="1000"} 1`,
		`wsauth_refusals_total{error_type="expired",`+of+`"header"} 1`,
		`wsauth_refusals_total{error_type="expired",`+of+`"query"} 1`,
		`wsauth_refusals_total{error_type="invalid_token",`+of+`"query"} 1`,
		`wsauth_refusals_total{error_type="token_required",wsauth_issuer="",wsauth_token_source=""} 1`,
		`wsauth_token_verifications_total{`+of+`"header"} 1`,
		`wsauth_token_verifications_total{`+of+`"query"} 1`)
	text := metrics()
	if got, want := len(values(text)), 9; got != want { // the sum of durations is one
		t.Errorf("got %d values, want %d, in\n%s", got, want, text)
	}
	wantNoSecret(t, text, good, expired, forged)
}

func TestAConnectionIsMeasuredToTheEndOfItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, issuer, _ := setUp(t)
		conn := connect(t, wsauthtest.ServeInMemory(t, handler)+"/ws", wsauthtest.Header(issuer.Token()))
		wsauthtest.ExpectClose(t, conn, wsauth.StatusUnauthorized, "token expired")
		synctest.Wait()
		metrics := func() string { return scrapeHandler(handler) }
		const ended = `{error_type="expired",wsauth_close_code="3000"`
		wantLines(t, metrics,
			"wsauth_active_connections 0",
			"wsauth_connection_duration_seconds_bucket"+ended+`,le="3600"} 0`,
			"wsauth_connection_duration_seconds_bucket"+ended+`,le="21600"} 1`,
			"wsauth_connection_duration_seconds_sum"+ended+"} 3630") // an hour and the leeway
	})
}

func TestClientsCannotAddSeries(t *testing.T) {
	handler, issuer, _ := setUp(t)
	base := wsauthtest.Serve(t, handler)
	for i := range 5 {
		mine := fmt.Sprintf("series-%d", i)
		claims := wsauthtest.Claims{"iss": mine, "sub": mine, "aud": mine, "scope": mine}
		wsauthtest.ExpectRefused(t, base+"/ws", 401,
			wsauthtest.Header(issuer.TokenWith(wsauthtest.TokenOptions{Claims: claims, Header: map[string]any{"kid": mine}})))
	}
	for i := range 5 {
		connect(t, base+"/ws", wsauthtest.Header(issuer.Token())).Close(websocket.StatusCode(4100+i), "series-")
	}
	wantLines(t, func() string { return scrape(t, base) },
		"wsauth_active_connections 0",
		`wsauth_connection_duration_seconds_count{error_type="",wsauth_close_code="_OTHER"} 5`,
		`wsauth_refusals_total{error_type="invalid_token",wsauth_issuer="",wsauth_token_source="header"} 5`,
		`wsauth_token_verifications_total{wsauth_issuer="https://id.example.com/",wsauth_token_source="header"} 5`)
	text := scrape(t, base)
	if got, want := len(values(text)), 5; got != want { // the sum of durations is one
		t.Errorf("got %d values, want %d, in\n%s", got, want, text)
	}
	if strings.Contains(text, "series-") {
		t.Error(text)
	}
}

func TestFetchesOfKeysAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	issuer := wsauthtest.NewIssuer(t, "ES256", "EdDSA")
	options := issuer.Options()
	options.Observe = prometheusMetrics(reg, issuer.Name) // one for two Authenticators
	for _, down := range []bool{false, true} {
		if down {
			issuer.Down()
		}
		auth, err := wsauth.New(options)
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.Ready(testclient.Context(t)); (err != nil) != down {
			t.Fatal(err)
		}
	}
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	// A fetch is reported after those who waited for it have it.
	wantLines(t, func() string { return scrapeHandler(metrics) },
		fmt.Sprintf(`wsauth_key_fetch_duration_seconds_count{error_type="",wsauth_issuer=%q} 1`, issuer.Name),
		fmt.Sprintf(`wsauth_key_fetch_duration_seconds_count{error_type="_OTHER",wsauth_issuer=%q} 1`, issuer.Name),
		fmt.Sprintf(`wsauth_key_count{wsauth_issuer=%q} 2`, issuer.Name))
}

func TestTracesSayWhatHappened(t *testing.T) {
	for _, row := range []struct {
		name   string
		token  func(*wsauthtest.Issuer) string
		status int
		want   []string // the events of the span, with source, error.type and close code
	}{
		{"good", func(i *wsauthtest.Issuer) string { return i.Token() }, 101,
			[]string{"wsauth.authenticated query  ", "wsauth.opened   ", "wsauth.closed   1000"}},
		{"expired", func(i *wsauthtest.Issuer) string { return i.Expired() }, 401, []string{"wsauth.refused query expired "}},
		{
			"forged", func(i *wsauthtest.Issuer) string { return i.Forged() },
			401, []string{"wsauth.refused query invalid_token "},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			handler, issuer, spans := setUp(t)
			url, token := wsauthtest.Serve(t, handler)+"/ws", row.token(issuer)
			if row.status == 101 {
				connect(t, url, wsauthtest.Query(token)).Close(websocket.StatusNormalClosure, "")
			} else {
				wsauthtest.ExpectRefused(t, url, row.status, wsauthtest.Query(token))
			}
			eventually(t, func() bool { return len(spans.GetSpans()) == 1 })
			for _, span := range spans.GetSpans() {
				var got []string
				for _, event := range span.Events {
					about := map[string]string{}
					for _, attr := range event.Attributes {
						about[string(attr.Key)] = attr.Value.AsString()
					}
					got = append(got, fmt.Sprintf("%s %s %s %s", event.Name, about[attrSource], about[attrError], about[attrCode]))
					if issuer := about["wsauth.issuer"]; issuer != "https://id.example.com/" {
						t.Errorf("%s: issuer %q", event.Name, issuer)
					}
				}
				if span.Name != "GET /ws" || !slices.Equal(got, row.want) {
					t.Errorf("span %q has the events %q, want %q", span.Name, got, row.want)
				}
			}
			wantNoSecret(t, fmt.Sprintf("%+v", spans.GetSpans()), token)
		})
	}
}

func TestAShortSecretIsAnError(t *testing.T) {
	for secret, says := range map[string]string{"": "empty", "31 bytes are too short for HS256"[:31]: "32 bytes"} {
		_, err := newServer([]byte(secret), sdktrace.NewTracerProvider(), noop.NewMeterProvider())
		if err == nil || !strings.Contains(err.Error(), "CHAT_SECRET") || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bytes: error %v, which does not say what to do", len(secret), err)
		}
	}
}
