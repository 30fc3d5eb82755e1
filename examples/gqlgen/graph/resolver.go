// Package graph has the schema, what gqlgen generates from it, and its resolvers.
package graph

import (
	"context"
	"errors"
	"time"

	"github.com/wsauth/wsauth"
)

//go:generate go run github.com/99designs/gqlgen@v0.17.94 generate

// A Resolver resolves everything in the schema. Its contexts are made from the context of the connection or of the
// request.
type Resolver struct {
	TickEvery time.Duration
}

// Query is for gqlgen.
func (r *Resolver) Query() QueryResolver { return r }

// Mutation is for gqlgen.
func (r *Resolver) Mutation() MutationResolver { return r }

// Subscription is for gqlgen.
func (r *Resolver) Subscription() SubscriptionResolver { return r }

// Me is the subject of the token.
func (r *Resolver) Me(ctx context.Context) (string, error) {
	claims, _ := wsauth.ClaimsFromContext(ctx)
	return claims.Subject, nil
}

// Renew gives a new token to the connection on which the mutation came.
func (r *Resolver) Renew(ctx context.Context, token string) (*time.Time, error) {
	claims, err := wsauth.Renew(ctx, token)
	if err != nil {
		return nil, errors.New("the token is refused") // Options.Logger has the reason
	}
	return &claims.Expiry, nil
}

// Ticks ends with its context, and so with the token.
func (r *Resolver) Ticks(ctx context.Context) (<-chan int, error) {
	ticks := make(chan int)
	go func() {
		defer close(ticks)
		ticker := time.NewTicker(r.TickEvery)
		defer ticker.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			select {
			case <-ctx.Done():
				return
			case ticks <- n:
			}
		}
	}()
	return ticks, nil
}
