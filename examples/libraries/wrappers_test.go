package libraries_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/CAFxX/httpcompression"
	"github.com/NYTimes/gziphandler"
	gingzip "github.com/gin-contrib/gzip"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gorilla/handlers"
	gorilla "github.com/gorilla/websocket"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/wsauth/wsauth"
)

// What people put in front of a WebSocket. Each middleware has set a cookie before it calls the next handler.
var wrappers = []struct {
	name string
	wrap func(*testing.T, http.Handler) http.Handler

	// The status of the answer; 0: 101. Some ResponseWriters cannot give their connection away.
	upgrade, guard int
}{
	{"nothing", func(_ *testing.T, h http.Handler) http.Handler { return h }, 0, 0},
	{"echo Gzip", inEcho(echomiddleware.Gzip()), 0, 0},
	{"echo Decompress", inEcho(echomiddleware.Decompress()), 0, 0},
	{"echo Logger and Recover", inEcho(echomiddleware.Recover()), 0, 0},
	{"echo BodyDump", inEcho(echomiddleware.BodyDump(func(echo.Context, []byte, []byte) {})), 0, 0},
	{"echo Timeout", inEcho(echoTimeout), 500, 500},
	{"echo ContextTimeout", inEcho(echomiddleware.ContextTimeout(time.Minute)), 0, 0},
	{"NYTimes gziphandler", plain(gziphandler.GzipHandler), 0, 0},
	{"CAFxX httpcompression", func(t *testing.T, h http.Handler) http.Handler {
		adapter, err := httpcompression.DefaultAdapter()
		if err != nil {
			t.Fatal(err)
		}
		return adapter(h)
	}, 0, 0},
	{"klauspost gzhttp", plain(func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }), 0, 0},
	{"gorilla CompressHandler", plain(handlers.CompressHandler), 0, 0},
	{"gorilla CombinedLoggingHandler", plain(func(h http.Handler) http.Handler {
		return handlers.CombinedLoggingHandler(io.Discard, h)
	}), 0, 0},
	{"gorilla ProxyHeaders, CORS and RecoveryHandler", plain(func(h http.Handler) http.Handler {
		return handlers.ProxyHeaders(handlers.CORS()(handlers.RecoveryHandler()(h)))
	}), 0, 0},
	{"chi Compress", inChi(chimiddleware.Compress(5, "text/plain")), 0, 0},
	{"chi Logger", inChi(chimiddleware.RequestLogger(quietFormatter{})), 0, 0},
	{"chi Timeout", inChi(chimiddleware.Timeout(time.Minute)), 0, 0},
	{"chi Throttle and Recoverer", inChi(chimiddleware.Throttle(5), chimiddleware.Recoverer), 0, 0},
	{"chi WrapResponseWriter", inChi(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wrapped := chimiddleware.NewWrapResponseWriter(w, r.ProtoMajor)
			wrapped.Tee(io.Discard)
			h.ServeHTTP(wrapped, r)
		})
	}), 0, 0},
	{"gin WrapH", inGin(), 0, 0},
	{"gin-contrib gzip", inGin(gingzip.Gzip(gingzip.DefaultCompression)), 0, 0},
	{"otelhttp", plain(func(h http.Handler) http.Handler { return otelhttp.NewHandler(h, "ws") }), 0, 0},
	{"promhttp InstrumentHandler", plain(instrumented), 0, 0},
	{"rs/cors", plain(cors.Default().Handler), 0, 0},
	{"http.TimeoutHandler", plain(func(h http.Handler) http.Handler {
		return http.TimeoutHandler(h, time.Minute, "late")
	}), 501, 500},
	{"http.MaxBytesHandler and StripPrefix", plain(func(h http.Handler) http.Handler {
		return http.MaxBytesHandler(http.StripPrefix("/", h), 1<<20)
	}), 0, 0},
	{"Gzip within Compress", plain(func(h http.Handler) http.Handler {
		return handlers.CompressHandler(gziphandler.GzipHandler(h))
	}), 0, 0},
	{"a ResponseWriter that only unwraps", plain(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(unwrapper{w}, r) })
	}), 0, 0},
	{"a ResponseWriter that hides", plain(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hider{w}, r) })
	}), 501, 500},
}

//lint:ignore SA1019 It is deprecated, and in use.
var echoTimeout = echomiddleware.TimeoutWithConfig(echomiddleware.TimeoutConfig{Timeout: time.Minute})

type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

type hider struct{ http.ResponseWriter }

type quietFormatter struct{}

func (quietFormatter) NewLogEntry(*http.Request) chimiddleware.LogEntry { return quietEntry{} }

type quietEntry struct{}

func (quietEntry) Write(int, int, http.Header, time.Duration, any) {}
func (quietEntry) Panic(any, []byte)                               {}

func plain(wrap func(http.Handler) http.Handler) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, h http.Handler) http.Handler { return wrap(h) }
}

func inEcho(middleware ...echo.MiddlewareFunc) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, h http.Handler) http.Handler {
		e := echo.New()
		e.Logger.SetOutput(io.Discard)
		e.Use(middleware...)
		e.GET("/ws", echo.WrapHandler(h))
		return e
	}
}

func inChi(middleware ...func(http.Handler) http.Handler) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, h http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware...)
		r.Handle("/ws", h)
		return r
	}
}

func inGin(middleware ...gin.HandlerFunc) func(*testing.T, http.Handler) http.Handler {
	return func(_ *testing.T, h http.Handler) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		e.Use(middleware...)
		e.GET("/ws", gin.WrapH(h))
		return e
	}
}

func instrumented(h http.Handler) http.Handler {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, []string{"code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds"}, []string{"code"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "in_flight"})
	return promhttp.InstrumentHandlerInFlight(inFlight,
		promhttp.InstrumentHandlerDuration(seconds, promhttp.InstrumentHandlerCounter(counter, h)))
}

// withCookie sets a cookie before it calls h, as a session middleware does.
func withCookie(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "4711"})
		h.ServeHTTP(w, r)
	})
}

func TestAWebSocketConnectsBehindEveryWrapper(t *testing.T) {
	for _, l := range libraries {
		if l.name != "Upgrade" && l.name != "gorilla" && l.name != "coder" && l.name != "gobwas" {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			for _, row := range wrappers {
				t.Run(row.name, func(t *testing.T) {
					t.Parallel()
					w := new(world)
					w.prepare(t)
					inner := withCookie(l.protect(t, w.auth, w.app, &wsauth.UpgradeOptions{Grace: grace}))
					w.serve(t, row.wrap(t, inner))
					bearer := http.Header{
						"Authorization": {"Bearer " + w.token(time.Hour)}, "Accept-Encoding": {"gzip, br"},
					}
					p, status := w.dial(t, false, bearer)
					want := row.guard
					if l.serve != nil {
						want = row.upgrade
					}
					if want != 0 {
						if status != want {
							t.Errorf("got %d, want %d", status, want)
						}
						if l.serve != nil {
							w.record(t, `msg="wsauth: refused"`)
						}
						return
					}
					if p == nil {
						t.Fatalf("got %d, want 101", status)
					}
					// Gorilla and gobwas write the response by themselves, without the header of the ResponseWriter.
					if got := p.header.Get("Set-Cookie"); l.cancels && !strings.HasPrefix(got, "session=4711") {
						t.Errorf("Set-Cookie: got %q, want that of the middleware", got)
					}
					if got := p.header.Get("Content-Encoding"); got != "" {
						t.Errorf("Content-Encoding: got %q, want none", got)
					}
					p.exchange(t, l, []byte("hello"))
					w.auth.Disconnect(func(*wsauth.Claims) bool { return true }, 4001, "replaced")
					p.wantEnd(t, 4001, "replaced")
					w.wantClosed(t, 4001, nil)
				})
			}
		})
	}
}

// Fiber is not net/http: its adaptor hands on a ResponseWriter of its own. That of fasthttp 1.68 can give its
// connection away; that of 1.51, which fiber 2.52 asks for, cannot, and a handshake gets 501 from Upgrade and 500 from
// gorilla.
func TestAWebSocketConnectsBehindTheAdaptorOfFiber(t *testing.T) {
	w := new(world)
	w.prepare(t)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	tried := map[string]library{"/upgrade": libraries[0], "/guard": {handler: gorillaEcho(gorilla.Upgrader{})}}
	for path, l := range tried {
		app.Get(path, adaptor.HTTPHandler(withCookie(l.protect(t, w.auth, w.app, &wsauth.UpgradeOptions{Grace: grace}))))
	}
	app.Get("/me", adaptor.HTTPHandler(w.auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := wsauth.ClaimsFromContext(r.Context())
		io.WriteString(w, claims.Subject)
	}))))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	t.Cleanup(func() {
		listener.Close() // Shutdown has a race with every context that was made from a request's
		<-served
	})
	w.host = listener.Addr().String()
	w.connect = func() (net.Conn, error) { return net.Dial("tcp", w.host) }
	for path, l := range tried {
		t.Run(path, func(t *testing.T) {
			w.path = path
			start := time.Now()
			p := w.mustDial(t, l, w.token(time.Second))
			p.exchange(t, l, []byte("hello"))
			p.wantEnd(t, 3000, "token expired")
			w.wantAt(t, start, time.Second)
			w.wantClosed(t, 3000, wsauth.ErrExpired)
		})
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+w.host+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token(time.Hour))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "alice" {
		t.Errorf("a request: got %d %q, want alice", resp.StatusCode, body)
	}
}
