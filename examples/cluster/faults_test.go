package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/wsauth/wsauth"
	wsauthnats "github.com/wsauth/wsauth/cluster/nats"
	wsauthredis "github.com/wsauth/wsauth/cluster/redis"
	"github.com/wsauth/wsauth/cluster/redis/redistest"
)

// away is how long a link is cut or swallows what is sent.
var away = flag.Duration("away", 2*time.Second, "how long faults last")

// A proxy is a link to a server that can be cut, or that swallows what is sent.
type proxy struct {
	listener net.Listener

	mu     sync.Mutex
	target string
	cut    bool
	silent bool
	conns  map[net.Conn]struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]struct{}{}}
	go p.accept()
	t.Cleanup(func() { listener.Close(); p.set(func() { p.cut = true }) })
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// set changes the link. Connections that exist are closed if it is cut.
func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	if p.cut {
		for c := range p.conns {
			c.Close()
		}
		clear(p.conns)
	}
}

func (p *proxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, cut := p.target, p.cut
		p.mu.Unlock()
		up, err := net.Dial("tcp", target)
		if err != nil || cut {
			down.Close()
			continue
		}
		p.mu.Lock()
		p.conns[down], p.conns[up] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go p.copy(up, down)
		go p.copy(down, up)
	}
}

// copy hands on what it reads, or nothing while the link swallows.
func (p *proxy) copy(to io.WriteCloser, from io.ReadCloser) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if silent {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A backend is a log's server behind a link.
type backend struct {
	link  *proxy
	open  func(t *testing.T) wsauth.RevocationLog // a client of its own
	empty func(t *testing.T)                      // the server is killed, and comes back without what it had
}

func redisBackend(t *testing.T) backend {
	srv := redistest.New(t)
	link := newProxy(t, srv.Addr)
	return backend{link, redisThrough(link), func(t *testing.T) {
		srv.Kill()
		if err := srv.Start(); err != nil {
			t.Error(err)
		}
	}}
}

func redisThrough(link *proxy) func(*testing.T) wsauth.RevocationLog {
	return func(t *testing.T) wsauth.RevocationLog {
		client := redis.NewClient(&redis.Options{Addr: link.addr(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		return wsauthredis.NewLog(client, "wsauth", keep)
	}
}

func natsBackend(t *testing.T) backend {
	start := func(port int) *server.Server {
		srv, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		if !srv.ReadyForConnections(time.Minute) {
			t.Fatal("NATS does not start")
		}
		return srv
	}
	srv := start(server.RANDOM_PORT)
	link := newProxy(t, srv.Addr().String())
	open := func(t *testing.T) wsauth.RevocationLog {
		conn, err := nats.Connect("nats://"+link.addr(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
			nats.RetryOnFailedConnect(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		return wsauthnats.NewLog(js, "wsauth", keep)
	}
	empty := func(t *testing.T) {
		port := srv.Addr().(*net.TCPAddr).Port
		srv.Shutdown()
		srv.WaitForShutdown()
		srv = start(port)
	}
	return backend{link, open, empty}
}

// Whatever becomes of the log and of the links to it: in the end, every server knows of every revocation, also of those
// for which Revoke returned an error, and so does a server that starts afterwards.
func TestNoFaultLosesARevocation(t *testing.T) {
	backends := map[string]func(*testing.T) backend{"Redis": redisBackend, "NATS": natsBackend}
	for name, fault := range map[string]func(t *testing.T, b backend){
		"the link is cut": func(t *testing.T, b backend) {
			b.link.set(func() { b.link.cut = true })
			time.Sleep(*away)
			b.link.set(func() { b.link.cut = false })
		},
		"the link swallows": func(t *testing.T, b backend) {
			b.link.set(func() { b.link.silent = true })
			time.Sleep(*away)
			b.link.set(func() { b.link.silent = false })
		},
		"the server is killed and comes back empty": func(t *testing.T, b backend) { b.empty(t) },
		"twice": func(t *testing.T, b backend) { b.empty(t); time.Sleep(100 * time.Millisecond); b.empty(t) },
		"the link is cut, and the server comes back empty": func(t *testing.T, b backend) {
			b.link.set(func() { b.link.cut = true })
			b.empty(t)
			time.Sleep(*away)
			b.link.set(func() { b.link.cut = false })
		},
	} {
		for of, newBackend := range backends {
			t.Run(of+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBackend(t)
				checkNothingIsLost(t, b.open, func() { fault(t, b) })
			})
		}
	}
}

// The replica has not had the newest entries when it takes over.
func TestAReplicaThatLaggedBehindLosesNoRevocation(t *testing.T) {
	t.Parallel()
	primary, replica := redistest.New(t), redistest.New(t)
	replication := newProxy(t, primary.Addr)
	host, port, _ := net.SplitHostPort(replication.addr())
	admin := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer admin.Close()
	if err := admin.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	link := newProxy(t, primary.Addr)
	checkNothingIsLost(t, redisThrough(link), func() {
		eventually(t, "the replica has the log", func() bool { return admin.XLen(t.Context(), "{wsauth}").Val() > 0 })
		replication.set(func() { replication.silent = true })
		there := redis.NewClient(&redis.Options{Addr: primary.Addr})
		defer there.Close()
		eventually(t, "the replica lags behind", func() bool {
			return there.XLen(t.Context(), "{wsauth}").Val() > admin.XLen(t.Context(), "{wsauth}").Val()+10
		})
		primary.Kill()
		if err := admin.ReplicaOf(t.Context(), "NO", "ONE").Err(); err != nil {
			t.Error(err)
		}
		link.set(func() { link.target = replica.Addr })
	})
}

// checkNothingIsLost has three servers revoke all the time, before, during and after a fault.
func checkNothingIsLost(t *testing.T, open func(*testing.T) wsauth.RevocationLog, fault func()) {
	t.Helper()
	c := newCluster(nil)
	nodes := []*wsauth.Authenticator{}
	for range 3 {
		nodes = append(nodes, c.newNode(t, open(t)))
	}
	done := make(chan struct{})
	var revoked [3][]string
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-time.After(10 * time.Millisecond):
				}
				user := fmt.Sprint("user ", i, " ", n)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				node.Revoke(ctx, wsauth.Revocation{Subject: user})
				cancel()
				revoked[i] = append(revoked[i], user)
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	fault()
	time.Sleep(300 * time.Millisecond)
	close(done)
	all.Wait()
	back := time.Now()
	nodes = append(nodes, c.newNode(t, open(t)))
	ready := time.Since(back)
	for i, node := range nodes {
		for _, users := range revoked {
			for _, user := range users {
				token := c.mint(user, keep)
				eventually(t, fmt.Sprintf("%s is revoked on server %d", user, i), func() bool {
					_, err := node.Verify(t.Context(), token)
					return errors.Is(err, wsauth.ErrRevoked)
				})
			}
		}
	}
	t.Logf("the new server was ready after %v", ready)
	t.Logf("%d revocations, known to all after %v", len(revoked[0])+len(revoked[1])+len(revoked[2]), time.Since(back))
}

// newNode follows a log, and accepts tokens when it is returned.
func (c *cluster) newNode(t *testing.T, log wsauth.RevocationLog) *wsauth.Authenticator {
	t.Helper()
	auth, err := c.newAuth(log)
	if err != nil {
		t.Fatal(err)
	}
	follow(t, auth)
	eventually(t, "the server is ready", func() bool { return auth.Ready(t.Context()) == nil })
	return auth
}

// While the log is away, tokens are accepted until MaxStale has passed, and then get 503.
func TestATokenIsNeverTakenForABadOneWhileTheLogIsAway(t *testing.T) {
	t.Parallel()
	b := redisBackend(t)
	c := newCluster(nil)
	node := c.newNode(t, b.open(t))
	token := c.mint("alice", keep)
	b.link.set(func() { b.link.cut = true })
	for range 100 {
		_, err := node.Verify(t.Context(), token)
		if err != nil && wsauth.Status(err) != http.StatusServiceUnavailable {
			t.Errorf("got %v, want it accepted or 503", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
