package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/examples/internal/nodetest"
	"github.com/wsauth/wsauth/wsauthtest"
)

// Proofs that wsauth and oauth4webapi do not judge alike, with the reason. wsauth is stricter, except about one.
var judgedDifferently = map[string]string{
	"htu with an escape":        "accepted: an escape that is not needed makes no other URL (RFC 3986 section 6.2.2.2)",
	"htu with a dot segment":    "refused: no client writes one, and what it means is for the server to say",
	"htu with a space in front": "refused: not a URI; a browser's parser removes the space",
	"htu with a newline":        "refused: not a URI; a browser's parser removes the newline",
	"jti: empty":                "refused: it identifies nothing",
	"HTM":                       "refused: a parser that ignores case would let it replace htm",
	"b64":                       "refused: RFC 7797 section 6 wants it in crit, and it has no place in a JWT",
	"jwk with use enc":          "refused: not a key for signatures (RFC 7517 section 4.2)",
	"jwk with key_ops sign":     "refused: not a key to verify with (RFC 7517 section 4.3)",
	"a signature with padding":  "refused: not base64url as RFC 7515 section 2 has it",
}

func TestAProofIsJudgedAsByOAuth4WebAPI(t *testing.T) {
	issuer := wsauthtest.NewIssuer(t)
	issuer.Audience = "urn:chat"
	client := nodetest.Start(t, "differential.mjs", issuer.URL, serve(t, issuer.URL))
	thumbprint, _ := client.Line()
	for _, jkt := range []string{thumbprint, strings.Repeat("A", 43)} {
		client.Write(issuer.TokenWith(wsauthtest.TokenOptions{
			Claims: wsauthtest.Claims{"client_id": "chat-app", "cnf": map[string]any{"jkt": jkt}},
			Header: map[string]any{"typ": "at+jwt"}, // oauth4webapi asks for it
		}))
	}
	verdicts := map[string]int{}
	var different []string
	for line, more := client.Line(); more; line, more = client.Line() {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			t.Fatalf("got line %q, want a name and two verdicts", line)
		}
		name, ours, theirs := fields[0], fields[1], fields[2]
		verdicts[ours]++
		reason, known := judgedDifferently[name]
		if ours != theirs {
			different = append(different, name)
		}
		if ours != theirs && !(known && strings.HasPrefix(reason, ours)) {
			t.Errorf("%s: got %s, want %s as by oauth4webapi", name, ours, theirs)
		}
	}
	slices.Sort(different)
	if want := slices.Sorted(maps.Keys(judgedDifferently)); !slices.Equal(different, want) {
		t.Errorf("got different verdicts about %q, want %q", different, want)
	}
	if verdicts["accepted"] < 15 || verdicts["refused"] < 60 {
		t.Errorf("got %v, want at least 15 accepted and 60 refused", verdicts)
	}
}
