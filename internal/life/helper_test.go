package life

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
)

// claims are what these tests know of a token.
type claims struct {
	subject string
	expiry  time.Time
}

// of has claims of a token that ends in d.
func of(subject string, d time.Duration) *claims { return &claims{subject, time.Now().Add(d)} }

var (
	errExpired  = errors.New("expired")
	errNoToken  = errors.New("no token")
	errSilent   = errors.New("silent")
	errReplaced = errors.New("replaced")
	errOther    = errors.New("another reason")
)

// newRule has no bounds, and what change makes of that.
func newRule(change ...func(*Rule[claims])) *Rule[claims] {
	r := &Rule[claims]{
		Registry: NewRegistry[claims](nil, nil),
		Seats: &Seats[claims]{
			Replaced:  gate.Ending{Err: errReplaced},
			SubjectOf: func(c *claims) Subject { return Subject{Name: c.subject} },
		},
		Grace:   time.Second,
		Expiry:  func(c *claims) time.Time { return c.expiry },
		Expired: gate.Ending{Err: errExpired},
		NoToken: gate.Ending{Err: errNoToken},
		Silent:  gate.Ending{Err: errSilent},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

// A wire remembers how it was ended. Its Finish takes some time, and counts the connection out as an application does.
type wire struct {
	conn *Conn[claims]

	mu     sync.Mutex
	shut   []gate.Ending
	shutAt time.Time
	takes  time.Duration
}

func (w *wire) Shut(e gate.Ending) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut, w.shutAt = append(w.shut, e), time.Now()
	return len(w.shut) == 1
}

func (w *wire) Finish() {
	w.mu.Lock()
	takes := w.takes
	w.mu.Unlock()
	time.Sleep(takes)
	w.conn.Forget()
}

func (w *wire) finishIn(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes = d
}

// reason is why it was shut; nil: it was not.
func (w *wire) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.shut) == 0 {
		return nil
	}
	return w.shut[0].Err
}

// times is how often it was shut.
func (w *wire) times() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.shut)
}

// shutAfter is how long after start it was shut.
func (w *wire) shutAfter(start time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shutAt.Sub(start)
}

// open opens a connection. The claims are nil if they are to come with a first message.
func open(t testing.TB, r *Rule[claims], c *claims) (*Conn[claims], *wire) {
	t.Helper()
	conn, err := r.Enter(c, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Forget)
	w := &wire{conn: conn}
	conn.Open(w)
	conn.Admit()
	return conn, w
}

// renew renews at once, and asks nobody.
func renew(c *Conn[claims], next *claims) error {
	_, err := c.Renew(func() (*claims, error) { return next, nil }, func(_, _ *claims) error { return nil })
	return err
}

// wantKind checks that err is a refusal of this kind; nil: that there is none.
func wantKind(t testing.TB, err, want error) {
	t.Helper()
	var got error
	if r := (*refusal.Error)(nil); errors.As(err, &r) {
		got = r.Kind
	}
	if got != want || (err == nil) != (want == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
}
