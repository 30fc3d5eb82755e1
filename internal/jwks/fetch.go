package jwks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wsauth/wsauth/internal/jose"
)

const (
	maxBody      = 512 << 10
	maxRedirects = 3
	// After this many failures in a row, the set may have moved, so discovery is read again; and again after as many
	// more.
	rediscoverAfter = 3
	// The old URL of a set that has moved may still work. So discovery is also read again after this interval, and for
	// a kid that the set does not have.
	rediscoverInterval = time.Hour
	// rediscoverTimeout leaves time to fetch the set from its known URL if discovery hangs.
	rediscoverTimeout = 2 * time.Second
)

// A fetcher talks to one issuer. Only one fetch runs at a time, so it needs no lock.
type fetcher struct {
	cfg          Config
	client       http.Client
	url          string // of the key set; empty: not known yet. It stays if discovery fails later
	discoverAt   time.Time
	failures     int
	status       int   // of the last response, for the log; 0: there was none
	undiscovered error // why the last discovery failed
	plainHTTP    bool  // something was fetched over plain http, and not from this machine
}

func newFetcher(cfg Config) *fetcher {
	f := &fetcher{cfg: cfg, url: cfg.URL}
	if cfg.Client != nil {
		f.client = *cfg.Client
	}
	f.client.CheckRedirect = sameOrigin(f.client.CheckRedirect)
	f.client.Transport = forgetful(f.client.Transport)
	return f
}

// forgetful returns rt so that nothing outlives a fetch, if rt is an http.Transport. net/http goes on connecting after
// a request has ended, so that the next request can use the connection, and a TLS handshake may then hang forever.
func forgetful(rt http.RoundTripper) http.RoundTripper {
	if rt == nil {
		rt = http.DefaultTransport
	}
	t, ok := rt.(*http.Transport)
	if !ok {
		return rt
	}
	t = t.Clone()
	t.IdleConnTimeout = time.Second // DisableKeepAlives would leave such a connection open with HTTP/2
	if t.TLSHandshakeTimeout <= 0 || t.TLSHandshakeTimeout > fetchTimeout {
		t.TLSHandshakeTimeout = fetchTimeout
	}
	return t
}

// sameOrigin allows redirects within one origin only: another origin is not the server that was configured.
func sameOrigin(also func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		if req.URL.Scheme != via[0].URL.Scheme || req.URL.Host != via[0].URL.Host {
			return errors.New("a redirect to another origin")
		}
		req.Close = true // net/http does not copy it from the first request
		if also != nil {
			return also(req, via)
		}
		return nil
	}
}

// keys fetches the set, and returns how long it is fresh. forMiss means that somebody needs a key that the current set
// does not have.
func (f *fetcher) keys(ctx context.Context, forMiss bool) (*jose.Set, time.Duration, error) {
	if f.mustDiscover(forMiss) {
		if err := f.rediscover(ctx); err != nil && f.url == "" {
			return nil, 0, err
		}
	}
	body, header, err := f.get(ctx, f.url, "application/jwk-set+json, application/json")
	var set *jose.Set
	if err == nil {
		set, err = jose.ParseRemote(body)
	}
	if err != nil {
		f.failures++
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	f.failures = 0
	return set, freshFor(header), nil
}

func (f *fetcher) mustDiscover(forMiss bool) bool {
	switch {
	case f.cfg.URL != "":
		return false
	case f.url == "" || forMiss:
		return true
	}
	return f.failures > 0 && f.failures%rediscoverAfter == 0 || !time.Now().Before(f.discoverAt)
}

// rediscover finds out where the set is. If that fails, the last known URL is better than nothing.
func (f *fetcher) rediscover(ctx context.Context) error {
	if f.url != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rediscoverTimeout)
		defer cancel()
	}
	f.discoverAt = time.Now().Add(rediscoverInterval)
	found, err := f.discover(ctx)
	if err == nil {
		f.url = found
	}
	f.undiscovered = err
	return err
}

// discover reads jwks_uri from the issuer's metadata.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	body, from, err := f.metadata(ctx)
	if err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := errors.Join(jose.CheckObject(body), json.Unmarshal(body, &meta)); err != nil {
		return "", errors.New("discovery: the answer is not a JSON object of the expected form")
	}
	if meta.Issuer != f.cfg.Issuer && !f.cfg.AnyDocumentIssuer {
		return "", fmt.Errorf("discovery: the document's issuer is %q, and not the one configured, %q",
			meta.Issuer[:min(len(meta.Issuer), maxName)], f.cfg.Issuer)
	}
	if err := CheckURL(meta.JWKSURI, f.cfg.PlainHTTP); err != nil {
		return "", fmt.Errorf("discovery: jwks_uri: %w", err)
	}
	if !f.cfg.PlainHTTP && isHTTPS(from) && !isHTTPS(meta.JWKSURI) {
		return "", errors.New("discovery: jwks_uri is not https, and the document's URL is")
	}
	return meta.JWKSURI, nil
}

// maxName bounds what an error quotes of a document.
const maxName = 256

// metadata fetches the document that says where the set is, and returns the URL of the document: the configured one, or
// the one of OpenID Connect Discovery 1.0 section 4, or else the one of RFC 8414 section 3, which puts the well-known
// part between host and path.
func (f *fetcher) metadata(ctx context.Context) (body []byte, from string, err error) {
	if from = f.cfg.DiscoveryURL; from != "" {
		body, _, err = f.get(ctx, from, "application/json")
		return body, from, err
	}
	base := strings.TrimSuffix(f.cfg.Issuer, "/")
	u, err := url.Parse(base)
	if err != nil {
		return nil, "", errors.New("the issuer's name is not a URL")
	}
	from = base + "/.well-known/openid-configuration"
	body, _, err = f.get(ctx, from, "application/json")
	if errors.Is(err, errNotFound) {
		from = u.Scheme + "://" + u.Host + "/.well-known/oauth-authorization-server" + u.EscapedPath()
		body, _, err = f.get(ctx, from, "application/json")
	}
	return body, from, err
}

func isHTTPS(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https"
}

// errNotFound is a 404: the document may be in another place.
var errNotFound = errors.New("status 404")

func (f *fetcher) get(ctx context.Context, address, accept string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", accept)
	req.Close = true // a connection kept for the next fetch, minutes later, would keep two goroutines
	f.status = 0
	f.plainHTTP = f.plainHTTP || req.URL.Scheme == "http" && !loopback(req.URL.Hostname())
	resp, err := f.client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		return nil, nil, failed.Err // without the URL, whose query may have a secret in it
	}
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	f.status = resp.StatusCode
	if resp.StatusCode == http.StatusNotFound {
		return nil, nil, errNotFound
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxBody {
		return nil, nil, errors.New("an answer longer than 512 KiB")
	}
	return body, resp.Header, nil
}

// freshFor reads max-age (RFC 9111 section 5.2.2.1), limited to between a minute and an hour: an issuer that says 0
// must not make us fetch for each token, and one that says a year must not keep a withdrawn key alive.
func freshFor(h http.Header) time.Duration {
	var age time.Duration // zero: not given
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache": // whatever else the header says
			return minAge
		case "max-age":
			seconds, err := strconv.Atoi(strings.Trim(value, `"`))
			if err != nil && !errors.Is(err, strconv.ErrRange) { // after ErrRange, seconds is the largest int
				seconds = 0
			}
			seconds = min(max(seconds, int(minAge/time.Second)), int(maxAge/time.Second))
			age = cmp.Or(age, time.Duration(seconds)*time.Second) // the first of several counts
		}
	}
	return cmp.Or(age, defaultAge)
}

// CheckURL refuses a URL that keys must not come from: keys can be trusted only as far as the channel. Plain http is
// for this machine only, unless the operator says that the network can be trusted.
func CheckURL(raw string, plainHTTP bool) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("not a URL")
	}
	switch {
	case u.Host == "" || u.Hostname() == "":
		return errors.New("not an absolute URL with a host, as https://id.example.com/")
	case u.User != nil:
		return errors.New("has user information in it")
	case u.Fragment != "":
		return errors.New("has a fragment")
	case u.Scheme == "https", u.Scheme == "http" && (plainHTTP || loopback(u.Hostname())):
		return nil
	case u.Scheme == "http":
		return errors.New("neither https nor on loopback: inside a network that you trust, set PlainHTTP")
	}
	return errors.New("neither https nor on loopback")
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
