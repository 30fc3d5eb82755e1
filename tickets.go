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

// A TicketStore keeps tickets ([FromTicket]) and records which proofs were used
// ([DPoP]). Several servers can share a store, and the same store can do both.
// NewTickets in the modules cluster/redis and cluster/nats returns a store.
// Implementations must be safe for concurrent use.
//
// Only the store makes sure that a ticket or a proof cannot be used twice. So it
// must never answer from a replica that may lag behind, and Put and Take must
// each be one atomic step on all servers: to read first and write later is not
// enough.
//
// A key has 43 characters of base64url, whose letter case matters. ttl is 30
// seconds for a ticket, and up to 21 minutes for a proof. A value has up to 100
// KB and is encrypted, so whoever reads the store learns no token. The
// request waits for Put and Take, which must return when ctx ends, after 5
// seconds at the latest. An error means that the store is unavailable; the
// request gets 503.
type TicketStore interface {
	// Put keeps value under key for ttl and returns true. If key is already
	// there, Put changes nothing and returns false. value may be empty. Once ttl
	// has passed, key is no longer there.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error)

	// Take removes key and returns its value; found is false if key is not
	// there. Of all calls for one key, on all servers, only one finds it.
	Take(ctx context.Context, key string) (value []byte, found bool, err error)
}

// Sizes in bytes of the stores in memory.
const (
	ticketMemory = 64 << 20 // about 60,000 tickets of 30 s each, with tokens of 700 bytes
	replayMemory = 64 << 20 // about 300,000 proofs
)

// Tickets returns a handler that answers a POST request with a ticket for the
// request's token. The client then puts the ticket into the URL of a WebSocket,
// in place of the token ([FromTicket]):
//
//	mux.Handle("POST /ticket", auth.Tickets())
//
//	const response = await fetch("/ticket", { method: "POST", headers: { Authorization: "Bearer " + token } });
//	const { ticket } = await response.json();
//	const socket = new WebSocket("wss://chat.example.com/ws?ticket=" + ticket);
//
// The response is JSON, {"ticket":"…","expires_in":30}. A ticket can be used
// once, within 30 seconds, on any route that accepts tickets. The request must
// pass the checks of [Authenticator.Middleware], including the rules for
// cookies, and is refused in the same way. Tickets does not answer CORS
// preflights: if the page has another origin, put a CORS middleware around it.
//
// FromTicket does not find the request's token: [Options.Extractors] must also
// have the place of the token, for example [FromHeader].
//
// Anyone with a valid token can fill the store, which keeps each ticket for 30
// seconds. If you limit the rate of logins, limit the rate of tickets, too.
//
// Tickets panics if [Options.Extractors] has no FromTicket.
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

// redeem puts the token that a ticket stands for into cred, in place of the
// ticket. key is the thumbprint of the DPoP key that the client has proven to
// have when it fetched the ticket; empty: none.
func (a *Authenticator) redeem(ctx context.Context, cred *credential.Credential) (key string, err error) {
	content, err := ticket.Redeem(ctx, a.policy.tickets, cred.Token)
	if err != nil {
		return "", err
	}
	cred.Token = content.Token
	return content.Key, nil
}
