package wsauth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/wsauth/wsauth/internal/credential"
	"github.com/wsauth/wsauth/internal/ticket"
	"github.com/wsauth/wsauth/internal/verify"
)

// A TicketStore keeps what [Authenticator.Tickets] and [DPoP] must remember for
// a short time, for one server or for several that share it. The modules
// cluster/redis and cluster/nats have one. Implementations must be safe for
// concurrent use.
//
// Keys are 43 characters of base64url. Values have up to 100 KB, and are
// encrypted: whoever reads the store learns no token. An error means that the
// store is unavailable; the request gets 503. An implementation must never
// answer from a replica that may lag behind: a ticket could be used twice.
type TicketStore interface {
	// Put keeps value under key for ttl and returns true. If key is there
	// already, Put changes nothing and returns false. value may be empty.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error)

	// Take removes key and returns its value; found is false if there is no
	// such key. If several calls take the same key, on whatever servers, only
	// one finds it.
	Take(ctx context.Context, key string) (value []byte, found bool, err error)
}

// Sizes in bytes of the stores in memory.
const (
	ticketMemory = 64 << 20 // about 60,000 tickets of 30 s each, with tokens of 700 bytes
	replayMemory = 64 << 20 // about 300,000 proofs
)

// Tickets returns a handler that exchanges the token of a POST request for a
// ticket. The client then puts the ticket into the URL of a WebSocket, in place
// of the token ([FromTicket]):
//
//	mux.Handle("POST /ticket", auth.Tickets())
//
//	const { ticket } = await (await fetch("/ticket", { method: "POST", headers: { Authorization: "Bearer " + token } })).json();
//	new WebSocket("wss://chat.example.com/ws?ticket=" + ticket);
//
// The response is JSON, {"ticket":"…","expires_in":30}. A ticket is good once,
// within 30 seconds. The request is verified and refused as by
// [Authenticator.Middleware], including the rules for cookies. Tickets does not
// answer CORS preflights: if the page has another origin, put a CORS middleware
// around it.
//
// Whoever may call Tickets can fill the store, which holds each token for 30
// seconds. If there is a rate limit on logins, put one on tickets, too.
//
// Tickets panics if there is no FromTicket among [Options.Extractors].
func (a *Authenticator) Tickets() http.Handler {
	if !a.isZero() && a.policy.tickets == nil {
		panic("wsauth: Tickets without FromTicket among Options.Extractors")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		issued, err := a.issueTicket(r)
		if err != nil {
			a.refuse(w, r, err, nil)
			return
		}
		body, _ := json.Marshal(struct { // no error: a string and a number
			Ticket    string `json:"ticket"`
			ExpiresIn int    `json:"expires_in"`
		}{issued, int(ticket.Lifetime / time.Second)})
		a.giveNonce(w, r)
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "application/json")
		w.Write(append(body, '\n'))
	})
}

// issueTicket authenticates r and returns a ticket for its token.
func (a *Authenticator) issueTicket(r *http.Request) (string, error) {
	if a.isZero() {
		return "", refusalOfZero()
	}
	cred, err := a.find(r, false)
	if err != nil {
		return "", err
	}
	var verified verify.Verified
	if err := a.verifyRequest(r, cred, &verified); err != nil {
		return "", err
	}
	issued, err := ticket.Issue(r.Context(), a.policy.tickets, ticket.Content{Token: cred.Token, Key: verified.Claims.Binding.Key})
	if err != nil {
		return "", verified.On(err)
	}
	a.reportVerified(r.Context(), EventAuthenticated, verified.Trail)
	return issued, nil
}

// redeem returns the token that a ticket stands for, and what whoever fetched
// the ticket has proven to have.
func (a *Authenticator) redeem(ctx context.Context, cred *credential.Credential) (key string, err error) {
	content, err := ticket.Redeem(ctx, a.policy.tickets, cred.Token)
	if err != nil {
		return "", err
	}
	cred.Token = content.Token
	return content.Key, nil
}
