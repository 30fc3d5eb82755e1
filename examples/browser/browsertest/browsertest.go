// Package browsertest opens pages in a real Chromium, for tests.
package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Main is TestMain for packages that open pages: it ends the browser when the tests are over.
func Main(m *testing.M) {
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "browsertest: Chromium does not end:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// stop ends the browser that was started, if one was.
var stop = func() error { return nil }

var errNone = errors.New("no chromium, chromium-browser or google-chrome in PATH")

// start starts the browser of this process, with a temporary profile. All tests share the browser, but each has cookies
// and storage of its own.
var start = sync.OnceValues(func() (context.Context, error) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, errNone
	}
	// The default options are headless, and have no sandbox only for root, to whom Chromium gives none. They wait 20 s
	// for Chromium to start, and a busy machine may take longer. If it ends instead of starting, that is an error at
	// once.
	ctx, endProcess := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(time.Hour))...)
	ctx, cancel := chromedp.NewContext(ctx)
	stop = func() error {
		limited, release := context.WithTimeout(ctx, 10*time.Second)
		defer release()
		err := chromedp.Cancel(limited)
		cancel()
		endProcess()
		return err
	}
	return ctx, chromedp.Do(ctx)
})

// A Page is a page in a browser context of its own. Its methods end the test if what they wait for does not come.
type Page struct {
	t       *testing.T
	ctx     context.Context
	console func(context.Context) (string, error)
}

// Open opens a page. In the end, no token may be in its address or in the console, and no exception.
//
// With -short, and without a browser, the test is skipped; with the environment variable WSAUTH_BROWSER=required, it fails
// without one.
func Open(t *testing.T, url string) *Page {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no test drives a browser")
	}
	browser, err := start()
	switch {
	case errors.Is(err, errNone) && os.Getenv("WSAUTH_BROWSER") != "required":
		t.Skipf("%v; with WSAUTH_BROWSER=required this is a failure", err)
	case err != nil:
		t.Fatal(err)
	}
	tab, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(closeTab)
	if err := chromedp.Do(tab); err != nil { // a deadline on the context that opens a tab would end it
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tab, time.Minute) // on a busy machine a page takes its time
	t.Cleanup(cancel)
	p := &Page{t: t, ctx: ctx, console: listen(tab)}
	t.Cleanup(func() {
		p.ctx, cancel = context.WithTimeout(tab, 5*time.Second) // the other's time may be up
		defer cancel()
		p.check()
	})
	p.Do(chromedp.Navigate(url))
	return p
}

// listen collects what is written to the console by the page and by the browser. The function that it returns has the
// page write a last line, and returns what came before that.
func listen(tab context.Context) func(context.Context) (string, error) {
	messages := chromedp.Console(tab)
	return func(ctx context.Context) (string, error) {
		const last = "browsertest: the last line"
		if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("console.log(%q)", last))); err != nil {
			return "", err
		}
		var all strings.Builder
		for message, err := range messages {
			switch {
			case err != nil:
				return "", err
			case message.Text == last:
				return all.String(), nil
			}
			fmt.Fprintf(&all, "%s (%s)\n", message, message.URL)
		}
		return "", errors.New("the console has ended")
	}
}

func (p *Page) check() {
	p.t.Helper()
	if p.t.Failed() {
		var text string
		p.Eval("document.body.innerText", &text)
		p.t.Logf("the page:\n%s", text)
	}
	console, err := p.console(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	if strings.Contains(console, "eyJ") || strings.Contains(console, string(chromedp.ConsoleException)) {
		p.t.Errorf("in the console:\n%s", console)
	}
	var address string
	p.Eval("location.href", &address)
	if strings.Contains(address, "eyJ") {
		p.t.Errorf("the address is %s", address)
	}
}

// Do has the browser do something.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// Eval runs JavaScript, and decodes the result into v, unless that is nil. A promise is waited for.
func (p *Page) Eval(js string, v any) {
	p.t.Helper()
	result, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]byte](js, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(result, v); err != nil {
		p.t.Fatalf("%s: %s: %v", js, result, err)
	}
}

// WaitFor waits until a JavaScript expression is true.
func (p *Page) WaitFor(expression string) {
	p.t.Helper()
	p.Eval(fmt.Sprintf(`new Promise((resolve) => {
		const look = () => %s ? resolve(true) : setTimeout(look, 10);
		look();
	})`, expression), nil)
}
