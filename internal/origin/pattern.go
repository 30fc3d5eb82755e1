package origin

import (
	"errors"
	"net/netip"
	"strings"
)

// A Pattern is an origin, or stands for many origins.
type Pattern struct {
	scheme, host, port string // host and port as in Origin, unless anyHost or anyPort is set
	subdomains         bool   // host is ".example.com" and stands for everything below it
	anyHost, anyPort   bool
	open               bool
}

// ParsePattern reads an origin that may have "*." before its host, which stands for one or more whole labels, or "*" as
// its host or port, which stands for any.
func ParsePattern(text string) (Pattern, error) {
	o, err := parse(text)
	if err != nil {
		return Pattern{}, err
	}
	// The origin of a page is https://, even when it opens a WebSocket: a pattern that no page can match is a mistake.
	if o.scheme == "ws" || o.scheme == "wss" {
		return Pattern{}, errors.New("the origin of a page is https:// or http://, also where it opens a WebSocket")
	}
	p := Pattern{scheme: o.scheme, host: o.host, port: o.port, anyHost: o.host == "*", anyPort: o.port == "*"}
	if p.anyHost {
		p.open = true
		return p, nil
	}
	if below, ok := strings.CutPrefix(o.host, "*."); ok {
		if _, err := netip.ParseAddr(below); err == nil {
			return Pattern{}, errors.New("an IP address has no subdomains")
		}
		p.host, p.subdomains = "."+below, true
	}
	if strings.Contains(p.host, "*") || strings.Contains(p.host, "..") ||
		strings.HasSuffix(p.host, ".") && (isWeb(p.scheme) || p.host != ".") {
		return Pattern{}, errors.New(`"*" may only stand for a whole host or port, or for whole labels before the rest ` +
			"of a host name, as in https://*.example.com")
	}
	p.open = p.isOpen()
	return p, nil
}

// Matches reports whether o is the origin p, or one of those that p stands for.
func (p Pattern) Matches(o Origin) bool {
	if p.scheme != o.scheme || !p.anyPort && p.port != o.port {
		return false
	}
	switch {
	case p.anyHost:
		return true
	case p.subdomains:
		label, ok := strings.CutSuffix(o.host, p.host)
		return ok && label != "" && !strings.HasPrefix(label, ".") && !strings.HasSuffix(label, ".")
	}
	return p.host == o.host
}

// IsOpen reports whether anybody can have an origin that p matches: any site, any program that opens a port, any app or
// file, anybody who hosts a site below a name that many share. Such a pattern is for clients that bring a token on
// purpose; what a browser adds unasked, a cookie, must not profit from it.
func (p Pattern) IsOpen() bool { return p.open }

func (p Pattern) isOpen() bool {
	switch {
	case p.anyPort:
		return true
	case p.scheme != "http" && p.scheme != "https":
		// An extension has an identifier that no other extension has. An app chooses its scheme and host (file://,
		// app://., capacitor://localhost), and another app may choose the same.
		return !strings.HasSuffix(p.scheme, "-extension")
	}
	return p.subdomains && isShared(p.host[1:])
}

// isShared reports whether strangers have names below this one. The Public Suffix List has thousands of such names and
// changes each week. This function knows only the names that people are likely to write without thinking of it, and the
// usual forms of the others.
func isShared(name string) bool {
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case len(labels) == 1: // a top-level domain
		return true
	case len(labels) == 2 && len(last) == 2 && secondLevel[labels[0]]: // co.uk, com.au
		return true
	}
	for i := range labels {
		if anywhere, ok := hosters[strings.Join(labels[i:], ".")]; ok {
			return i == 0 || anywhere
		}
	}
	return false
}

// secondLevel are the labels below which the registries of countries sell names.
var secondLevel = map[string]bool{
	"ac": true, "co": true, "com": true, "edu": true, "gov": true, "me": true, "ne": true, "net": true, "or": true,
	"org": true,
}

// hosters are domains below which each customer gets a name; true: also below names with more labels, for example for a
// region or a kind of service.
var hosters = map[string]bool{
	"amazonaws.com": true, "amplifyapp.com": false, "appspot.com": true, "awsapprunner.com": true,
	"azurecontainerapps.io": true, "azurestaticapps.net": true, "azurewebsites.net": true, "b-cdn.net": false,
	"blogspot.com": false, "cloudapp.azure.com": true, "cloudapp.net": false, "cloudfront.net": false,
	"codesandbox.io": false, "csb.app": false, "deno.dev": false, "elasticbeanstalk.com": true, "firebaseapp.com": false,
	"fly.dev": false, "github.dev": true, "github.io": false, "gitlab.io": false, "gitpod.io": true, "glitch.me": false,
	"herokuapp.com": false, "loca.lt": false, "lovable.app": false, "myshopify.com": false, "netlify.app": false,
	"ngrok-free.app": false, "ngrok-free.dev": false, "ngrok.app": true, "ngrok.dev": true, "ngrok.io": true,
	"now.sh": false, "ondigitalocean.app": false, "onrender.com": false, "pages.dev": false, "railway.app": true,
	"repl.co": true, "replit.app": false, "replit.dev": true, "run.app": true, "stackblitz.io": false, "surge.sh": false,
	"trycloudflare.com": false, "vercel.app": false, "web.app": false, "webcontainer.io": true, "windows.net": true,
	"workers.dev": false,
}
