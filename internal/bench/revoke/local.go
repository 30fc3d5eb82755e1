package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/bench/stats"
	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/life"
	"github.com/wsauth/wsauth/internal/mint"
	"github.com/wsauth/wsauth/internal/revocation"
)

const (
	issuer = "https://id.example.com/"
	keep   = time.Hour
	rounds = 15

	lookups = 100_000
)

func name(kind string, i int) string { return fmt.Sprintf("%s-7e2f-7abc-8def-%012d", kind, i) }

// lookup asks for tokens that are not revoked, as nearly all are.
func lookup(t *table, n int) error {
	now := time.Now()
	set := revocation.New(revocation.Config{Keep: keep, Strict: true})
	maps := [3]map[string]int64{{}, {}, {}}
	for i := range n {
		kind := revocation.Kind(1 + i%3)
		set.Add(revocation.Revocation{Kind: kind, Issuer: issuer, Name: name("revoked", i), All: true, At: now.Unix()})
		maps[i%3][name("revoked", i)] = now.Unix()
	}
	tokens := make([]revocation.Token, 1000) // few: the token of a request was read just now
	for i := range tokens {
		tokens[i] = revocation.Token{
			Issuer: issuer, Subject: name("subject", i), Session: name("session", i), ID: name("token", i), IssuedAt: now,
		}
	}
	rand.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	var ours, plain []float64
	found := 0
	for range rounds {
		ours = append(ours, each(lookups, func(i int) {
			if set.IsRevoked(&tokens[i%len(tokens)], now) {
				found++
			}
		}))
		plain = append(plain, each(lookups, func(i int) {
			token := &tokens[i%len(tokens)]
			_, subject := maps[0][token.Subject]
			_, session := maps[1][token.Session]
			_, id := maps[2][token.ID]
			if subject || session || id {
				found++
			}
		}))
	}
	if found > 0 {
		return fmt.Errorf("%d tokens are revoked that are not", found)
	}
	t.add(fmt.Sprintf("lookup, %d entries", n), fmt.Sprintf("%.0f ns, %s of three maps", stats.Sum(ours).Median,
		stats.Sum(stats.Ratios(ours, plain)).Spread()), "100 ns, or 0.5×")
	return nil
}

// each returns how many nanoseconds a call takes.
func each(n int, f func(int)) float64 {
	begun := time.Now()
	for i := range n {
		f(i)
	}
	return float64(time.Since(begun).Nanoseconds()) / float64(n)
}

// request compares a server that can revoke with one that cannot.
func request(ctx context.Context, t *table) error {
	key := mint.New("HS256", "")
	var times [3][]float64
	now := time.Now().Unix()
	token := key.Token(map[string]any{"iss": issuer, "aud": "chat", "sub": "alice", "sid": "s", "jti": "t", "iat": now, "exp": now + 600})
	var auths [3]*wsauth.Authenticator
	for i, r := range []wsauth.Revocations{{}, {Keep: keep}, {Keep: keep}} {
		auth, err := newAuth(key, r)
		if err != nil {
			return err
		}
		auths[i] = auth
	}
	if err := auths[2].Revoke(ctx, wsauth.Revocation{Subject: "bob"}, wsauth.Revocation{Session: "b"}, wsauth.Revocation{ID: "b"}); err != nil {
		return err
	}
	for range 3 * rounds {
		for i, auth := range auths {
			times[i] = append(times[i], each(2000, func(int) { auth.Verify(ctx, token) }))
		}
	}
	none, empty, some := stats.Sum(times[0]).Low, stats.Sum(times[1]).Low, stats.Sum(times[2]).Low
	t.add("a token, nothing revoked", fmt.Sprintf("%+.0f ns of %.0f", empty-none, none), "30 ns")
	t.add("a token, others revoked", fmt.Sprintf("%+.0f ns", some-none), "")
	return nil
}

func newAuth(key *mint.Key, r wsauth.Revocations) (*wsauth.Authenticator, error) {
	return wsauth.New(wsauth.Options{
		Issuers:     []wsauth.Issuer{{Name: issuer, Audience: []string{"chat"}, Keys: wsauth.HMAC(key.Private.([]byte))}},
		Revocations: r,
	})
}

// heap is what is in use after a collection, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// memory measures what a revocation takes here and in Redis, and what the index of live connections takes for each.
func memory(ctx context.Context, t *table, n int) error {
	before := heap()
	set := revocation.New(revocation.Config{Keep: keep, Strict: true})
	for i := range n {
		set.Add(revocation.Revocation{Kind: revocation.Subject, Issuer: issuer, Name: name("revoked", i), All: true, At: time.Now().Unix()})
	}
	t.add("memory of an entry, here", fmt.Sprintf("%.0f B", (heap()-before)/float64(n)), "200 B")
	runtime.KeepAlive(set)

	l, err := startRedis()
	if err != nil {
		return err
	}
	defer l.stop()
	used, err := l.fill(ctx, n)
	if err != nil {
		return err
	}
	t.add("memory of an entry, Redis", fmt.Sprintf("%.0f B", used/float64(n)), "110 B")

	const connections = 100_000
	with, without := perConnection(connections, set), perConnection(connections, nil)
	t.add("memory of a live connection's index", fmt.Sprintf("%.0f B", with-without), "200 B")
	return nil
}

func newRule(set *revocation.Set) *life.Rule[revocation.Token] {
	return &life.Rule[revocation.Token]{
		Registry: life.NewRegistry(set, func(c *revocation.Token) (revocation.Token, bool) { return *c, true }),
		Seats:    &life.Seats[revocation.Token]{},
		Expiry:   func(*revocation.Token) time.Time { return time.Now().Add(keep) },
	}
}

func tokenOf(i int) *revocation.Token {
	return &revocation.Token{
		Issuer: issuer, Subject: name("subject", i), Session: name("session", i), ID: name("token", i), IssuedAt: time.Now(),
	}
}

func perConnection(n int, set *revocation.Set) float64 {
	before := heap()
	rule := newRule(set)
	for i := range n {
		if c, err := rule.Enter(tokenOf(i), true); err == nil {
			c.Admit()
		}
	}
	used := (heap() - before) / float64(n)
	runtime.KeepAlive(rule)
	return used
}

// one logs out users among few and many connections.
func one(t *table) error {
	for _, n := range []int{1000, 100_000} {
		set := revocation.New(revocation.Config{Keep: keep, Strict: true})
		rule := newRule(set)
		for i := range n {
			c, err := rule.Enter(tokenOf(i), true)
			if err != nil {
				return err
			}
			c.Admit()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		longest, ended := time.Duration(0), 0
		for i := range 500 {
			r := revocation.Revocation{Kind: revocation.Subject, Issuer: issuer, Name: name("subject", i), All: true, At: time.Now().Unix()}
			begun := time.Now()
			set.Add(r)
			ended += rule.Registry.Revoke(r, gate.Ending{})
			longest = max(longest, time.Since(begun))
		}
		runtime.ReadMemStats(&after)
		if ended != 500 {
			return fmt.Errorf("%d of 500 users were logged out", ended)
		}
		t.add(fmt.Sprintf("one user among %d connections", n), fmt.Sprintf("%s at most, %d B of garbage", milliseconds(longest),
			(after.TotalAlloc-before.TotalAlloc)/500), "1 ms")
	}
	return nil
}
