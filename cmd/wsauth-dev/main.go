// Command wsauth-dev is an issuer of tokens for development. It gives anybody who asks a token for any user, so it
// listens on loopback only. Never trust it in production.
//
// Start it, and leave it running:
//
//	go run github.com/wsauth/wsauth/cmd/wsauth-dev
//
// It prints the options for a server that trusts it:
//
//	wsauth.Options{
//		Issuers: []wsauth.Issuer{{
//			Name:     "http://127.0.0.1:9080",
//			Audience: []string{"dev"},
//			Keys:     wsauth.JWKS{}, // found by OpenID discovery
//		}},
//		Logger: slog.Default(), // says why a token is refused
//	}
//
// # Getting a token
//
// In a script, the subcommand token prints a token of the issuer that is running:
//
//	TOKEN=$(go run github.com/wsauth/wsauth/cmd/wsauth-dev token -sub alice -scope chat -ttl 5m -claim 'roles=["admin"]')
//	curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/me
//
// With curl, send a form or a JSON object; the answer is JSON, and the token is its access_token:
//
//	curl -d sub=alice -d scope=chat -d ttl=5m -d 'claim=roles=["admin"]' http://127.0.0.1:9080/token
//	curl --json '{"sub":"alice","scope":"chat","ttl":"5m","roles":["admin"]}' http://127.0.0.1:9080/token
//
// With a browser, open http://127.0.0.1:9080 and fill in the form.
//
// Flags and form fields have the same names:
//
//	sub     the subject
//	scope   the scopes, separated by spaces
//	aud     the audience; several are separated by spaces
//	ttl     how long the token lives, in whole seconds; -1m makes a token that has expired
//	claim   any other claim, as name=JSON; a string needs quotes, and null removes the claim
//
// A field that is missing or empty has the issuer's default. The same flags, given to the issuer when it starts, set the
// defaults. In a JSON object every member except ttl is a claim.
//
// # Rotating the key
//
// Press Enter, or send a POST:
//
//	curl -X POST http://127.0.0.1:9080/rotate
//
// New tokens are signed with a new key. Tokens of the previous key stay valid; tokens of older keys are refused as soon
// as your server has fetched the key set again. A restart makes new keys, too: they are never on disk.
//
// # In the background
//
// A shell stops a background job that reads from the terminal, so give it another input:
//
//	go run github.com/wsauth/wsauth/cmd/wsauth-dev < /dev/null &
//
// # What it refuses
//
// It refuses to listen beyond loopback. It refuses requests with a Host that is not loopback, since a site can give its
// own name the address 127.0.0.1 (DNS rebinding), and POST requests that a browser sends for a page of another origin.
// So a page of yours cannot fetch a token from it: paste one.
//
// In a test, use package wsauthtest instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "wsauth-dev:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, or prints a token of an issuer that runs.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "token" {
		return printToken(ctx, args[1:], stdout, stderr)
	}
	return serve(ctx, args, stdin, stdout, stderr)
}

const usualAddr = "127.0.0.1:9080"

// serve runs an issuer until ctx ends.
func serve(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	usual := usualSpec()
	flags := flag.NewFlagSet("wsauth-dev", flag.ContinueOnError)
	addr := flags.String("addr", usualAddr, "`address` to listen on, on loopback")
	alg := flags.String("alg", "ES256", "`algorithm` to sign with: "+strings.Join(algorithms(), ", "))
	usual.addFlags(flags)
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if !slices.Contains(algorithms(), *alg) {
		return fmt.Errorf("-alg %s: want one of %s", *alg, strings.Join(algorithms(), ", "))
	}
	listener, err := listen(*addr)
	if err != nil {
		return err
	}
	iss := newIssuer(urlOf(*addr, listener.Addr()), *alg, usual, log.New(stdout, "", 0))
	iss.welcome()
	go rotateOnEnter(stdin, iss) // never waited for: nothing ends a Read from a terminal
	return serveUntil(ctx, listener, iss.handler())
}

// parse reads flags without printing a mistake twice.
func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		flags.Usage()
		return err
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q; the only subcommand is token, and it comes first", flags.Arg(0))
	}
	if err != nil {
		return fmt.Errorf("%w (-h lists the flags)", err)
	}
	return nil
}

// listen refuses every address that other machines can reach: whoever reaches the issuer gets tokens.
func listen(addr string) (net.Listener, error) {
	if err := checkAddr(addr); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w\nIf another program has the port, choose one: -addr 127.0.0.1:9081", err)
	}
	// localhost is a name, and whoever writes /etc/hosts says what it means.
	if bound, ok := listener.Addr().(*net.TCPAddr); !ok || !bound.IP.IsLoopback() {
		listener.Close()
		return nil, fmt.Errorf("-addr %s: it means %v, which is not loopback", addr, listener.Addr())
	}
	return listener, nil
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return fmt.Errorf("-addr %s: want a host and a port, such as %s", addr, usualAddr)
	}
	if !isLoopback(host) {
		return fmt.Errorf("-addr %s: not loopback, and whoever reaches the issuer gets a token for any user; "+
			"use 127.0.0.1, [::1] or localhost", addr)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() && ip.Zone() == ""
}

// urlOf returns the URL of a listener, which is the iss of its tokens: the host as it was asked for, and the port that
// was bound.
func urlOf(asked string, bound net.Addr) string {
	host, _, _ := net.SplitHostPort(asked)
	_, port, _ := net.SplitHostPort(bound.String())
	return "http://" + net.JoinHostPort(host, port)
}

func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) error {
	srv := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return srv.Close() // each response takes no time, so there is nothing to wait for
	}
}
