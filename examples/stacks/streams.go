package stacks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wsauth/wsauth"
)

// events are server-sent events.
func events(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	w.Header().Set("Content-Type", "text/event-stream")
	for tick := time.Tick(time.Second); ; {
		fmt.Fprintf(w, "data: hello %s\n\n", claims.Subject)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done(): // the token has expired, or the client has gone
			return
		case <-tick:
		}
	}
}

func withEventSource(issuers []wsauth.Issuer) (http.Handler, error) {
	auth, err := wsauth.New(wsauth.Options{
		Issuers:    issuers,
		Extractors: []wsauth.Extractor{wsauth.FromHeader(), wsauth.FromTicket("ticket", nil)}, // nil: for one process
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /ticket", auth.Tickets())
	mux.Handle("GET /events", auth.Guard(http.HandlerFunc(events), nil))
	return mux, nil
}

// greetings is what connect generates a path and a handler for.
const greetings = "/greet.v1.Greeter/Greetings"

func greet(
	ctx context.Context, _ *connect.Request[emptypb.Empty], s *connect.ServerStream[wrapperspb.StringValue],
) error {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	if err := s.Send(wrapperspb.String("hello " + claims.Subject)); err != nil {
		return err
	}
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), wsauth.ErrExpired) {
		return connect.NewError(connect.CodeUnauthenticated, context.Cause(ctx))
	}
	return ctx.Err()
}

func withConnect(auth *wsauth.Authenticator, mux *http.ServeMux) {
	mux.Handle(greetings, auth.Guard(connect.NewServerStreamHandler(greetings, greet), nil))
}
