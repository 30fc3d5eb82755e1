package wsauth

import (
	"context"
	"iter"
	"log"
	"net/http"
	"runtime/debug"
)

// aside calls f on a stack of its own, which is gone when f returns. net/http
// has used 1.2 of the first 4 KB of its goroutine when a handler begins, and to
// verify a token takes more than the rest. A stack that has once grown to 8 KB
// keeps them while the connection is read on it.
//
// [iter.Pull] changes stacks without the scheduler: to start a goroutine and
// wait for it would wake another processor. A panic goes on in the caller, but
// from there nobody can see where it began, so that is logged here: whom is what
// f serves.
func aside(ctx context.Context, whom string, f func()) {
	next, _ := iter.Pull(func(func(struct{}) bool) {
		defer func() {
			if p := recover(); p != nil {
				logPanic(ctx, whom, p)
				panic(p)
			}
		}()
		f()
	})
	next()
}

// logPanic logs a panic as net/http does, to the log of the server that ctx
// belongs to.
func logPanic(ctx context.Context, whom string, p any) {
	if p == http.ErrAbortHandler {
		return
	}
	logf := log.Printf
	if srv, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && srv.ErrorLog != nil {
		logf = srv.ErrorLog.Printf
	}
	logf("http: panic serving %v: %v\n%s", whom, p, debug.Stack())
}
