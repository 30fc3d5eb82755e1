package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wsauth/wsauth/internal/mint"
)

// swarmArg, with a net of 256 addresses behind it, makes the program a process of clients with these addresses. It takes
// orders on its standard input, one after the other, and ends when that does.
const swarmArg = "be-the-clients"

func isSwarm() bool { return len(os.Args) == 3 && os.Args[1] == swarmArg }

// An order is one of these.
type order struct {
	Open  *opening
	Echo  bool      // each connection sends a message and waits for it to come back
	Watch time.Time // wait until all connections are closed, at most until then
	Drop  bool      // reset all connections
}

// An opening is how connections are opened. The i-th of a fleet has the subject "user-i" and a token that ends at
// End + i × Step.
type opening struct {
	To            string
	Secret        []byte // of HS256
	First, Stride int    // this swarm opens First, First + Stride and so on
	N             int    // so many of them
	End           time.Time
	Step          time.Duration
	Tell          bool          // the server in the query when the token ends: a plain one does not look into it
	Renew         time.Duration // every other connection renews its token this long before it ends; 0: none does
}

// An answer says what became of an order.
type answer struct {
	Fault   string
	Renewed int
	Codes   map[string]int // of the connections that are closed: "3000 token expired"
	At      []int64        // when each was, in Unix nanoseconds
}

func (a *answer) add(b answer) {
	a.Renewed += b.Renewed
	a.At = append(a.At, b.At...)
	if a.Codes == nil {
		a.Codes = map[string]int{}
	}
	for code, n := range b.Codes {
		a.Codes[code] += n
	}
}

// A crowd is all clients of this process.
type crowd struct {
	net   net.IP
	peers []*client
}

// swarmMain is the main function of the clients.
func swarmMain() int {
	c := &crowd{net: net.ParseIP(os.Args[2]).To4()}
	orders := make(chan order)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for {
			var o order
			if err := in.Decode(&o); err != nil {
				os.Exit(0) // whoever gives orders is gone, maybe in the middle of one
			}
			orders <- o
		}
	}()
	out := json.NewEncoder(os.Stdout)
	for o := range orders {
		var a answer
		if err := c.obey(o, &a); err != nil {
			a.Fault = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return 1
		}
	}
	return 0
}

func (c *crowd) obey(o order, a *answer) error {
	switch {
	case o.Open != nil:
		return c.open(*o.Open)
	case o.Echo:
		return c.echo()
	case o.Drop:
		for _, p := range c.peers {
			p.SetLinger(0)
			p.Close()
		}
		c.peers = nil
		return nil
	}
	c.watch(o.Watch, a)
	return nil
}

// dialling are how many handshakes of a process go on at once.
const dialling = 32

func (c *crowd) open(o opening) error {
	to, err := url.Parse(o.To)
	if err != nil {
		return err
	}
	key := &mint.Key{Alg: "HS256", Private: o.Secret}
	opened := make([]*client, o.N)
	var fault atomic.Pointer[error]
	each(o.N, dialling, func(i int) {
		if fault.Load() != nil {
			return
		}
		var err error
		if opened[i], err = c.dial(to, key, o, o.First+i*o.Stride); err != nil {
			fault.CompareAndSwap(nil, &err)
		}
	})
	for _, p := range opened {
		if p != nil {
			c.peers = append(c.peers, p)
		}
	}
	if err := fault.Load(); err != nil {
		return fmt.Errorf("not all of %d connections were opened: %w", o.N, *err)
	}
	if o.Renew > 0 {
		go renewAll(opened, key, o)
	}
	return nil
}

// tokenOf is the same token each time.
func tokenOf(key *mint.Key, i int, end time.Time) string {
	return key.Token(map[string]any{"iss": issuer, "aud": audience, "sub": userName(i), "sid": "s-" + strconv.Itoa(i),
		"jti": "t-" + strconv.Itoa(i), "iat": end.Add(-keep / 2).Unix(), "exp": float64(end.UnixMilli()) / 1e3})
}

// expired is how a connection ends with its token.
const expired = "3000 token expired"

func userName(i int) string { return "user-" + strconv.Itoa(i) }

func (o opening) end(i int) time.Time { return o.End.Add(time.Duration(i) * o.Step) }

// renewAll renews the tokens of every other connection, each some time before it ends.
func renewAll(peers []*client, key *mint.Key, o opening) {
	for i, p := range peers {
		if i%2 == 1 {
			continue
		}
		user := o.First + i*o.Stride
		end := o.end(user)
		time.Sleep(time.Until(end.Add(-o.Renew)))
		p.send(renewPrefix + tokenOf(key, user, end.Add(time.Hour)))
	}
}

// A client is one end of a connection, which costs as little as possible.
type client struct {
	*net.TCPConn
	messages, renewed atomic.Int32
	closed            atomic.Int64 // when, in Unix nanoseconds; 0: it is open
	how               string       // before closed
}

// ofAddress are the connections of one address. It has 28,232 ephemeral ports on Linux, which looks for a free one for so
// long, if most are taken, that it uses more CPU time than all the rest.
const ofAddress = 4000

func (c *crowd) address(i int) net.IP {
	return net.IPv4(c.net[0], c.net[1], c.net[2], byte(1+i/ofAddress%250))
}

func (c *crowd) dial(to *url.URL, key *mint.Key, o opening, i int) (*client, error) {
	end := o.end(i)
	dialer := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: c.address(i)}, Control: choosePortLate}
	conn, err := dialer.Dial("tcp", to.Host)
	if err != nil {
		return nil, err
	}
	p := &client{TCPConn: conn.(*net.TCPConn)}
	p.SetDeadline(time.Now().Add(time.Minute))
	path := to.Path
	if o.Tell {
		path += "?exp=" + strconv.FormatInt(end.UnixMilli(), 10)
	}
	_, err = fmt.Fprintf(p, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		path, to.Host, tokenOf(key, i, end))
	if err == nil {
		err = p.readHead()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	p.SetDeadline(time.Time{})
	go p.read()
	return p, nil
}

// readHead reads the response. After a 101 nothing follows it before this client has said something.
func (p *client) readHead() error {
	var head [1024]byte
	n := 0
	for !bytes.Contains(head[:n], []byte("\r\n\r\n")) {
		if n == len(head) {
			return errors.New("a response with a long head")
		}
		more, err := p.TCPConn.Read(head[n:])
		if n += more; err != nil {
			return err
		}
	}
	if line, _, _ := bytes.Cut(head[:n], []byte("\r\n")); !bytes.HasPrefix(line, []byte("HTTP/1.1 101 ")) {
		return errors.New(string(line))
	}
	return nil
}

// read reads frames until one of them closes the connection, and answers that one. Servers send none that is long.
func (p *client) read() {
	var frame [128]byte
	for {
		payload, err := p.readFrame(frame[:])
		switch {
		case err != nil:
			p.ends("no close frame")
			return
		case frame[0] == 0x88 && len(payload) >= 2:
			p.ends(fmt.Sprintf("%d %s", binary.BigEndian.Uint16(payload), payload[2:]))
			p.Write([]byte{0x88, 0x80 | 2, 0, 0, 0, 0, payload[0], payload[1]})
			p.Close()
			return
		case string(payload) == renewedAnswer:
			p.renewed.Add(1)
		}
		p.messages.Add(1)
	}
}

func (p *client) readFrame(into []byte) (payload []byte, err error) {
	if _, err := io.ReadFull(p, into[:2]); err != nil {
		return nil, err
	}
	if into[1] > 125 {
		return nil, errors.New("a long frame")
	}
	payload = into[2:][:into[1]]
	_, err = io.ReadFull(p, payload)
	return payload, err
}

func (p *client) ends(how string) {
	p.how = how
	p.closed.Store(time.Now().UnixNano())
}

// send sends a text message of less than 64 KB.
func (p *client) send(message string) error {
	frame := []byte{0x81, 0x80 | 126, byte(len(message) >> 8), byte(len(message)), 0, 0, 0, 0}
	if len(message) <= 125 {
		frame = []byte{0x81, 0x80 | byte(len(message)), 0, 0, 0, 0}
	}
	_, err := p.Write(append(frame, message...))
	return err
}

func (c *crowd) echo() error {
	var failed atomic.Int64
	each(len(c.peers), dialling, func(i int) {
		p := c.peers[i]
		before := p.messages.Load()
		err := p.send("x")
		limit := time.Now().Add(time.Minute)
		for err == nil && p.messages.Load() == before {
			if time.Now().After(limit) {
				err = os.ErrDeadlineExceeded
			}
			time.Sleep(100 * time.Microsecond)
		}
		if err != nil {
			failed.Add(1)
		}
	})
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d got no echo", n, len(c.peers))
	}
	return nil
}

// watch waits for the ends of all connections, and forgets those that have ended.
func (c *crowd) watch(limit time.Time, a *answer) {
	a.Codes = map[string]int{}
	for {
		open := c.peers[:0]
		for _, p := range c.peers {
			at := p.closed.Load()
			if at == 0 {
				open = append(open, p)
				continue
			}
			a.At = append(a.At, at)
			a.Codes[p.how]++
			a.Renewed += int(p.renewed.Load())
		}
		c.peers = open
		if len(open) == 0 || !time.Now().Before(limit) {
			break
		}
		time.Sleep(min(50*time.Millisecond, time.Until(limit)))
	}
	for _, p := range c.peers {
		a.Renewed += int(p.renewed.Load())
	}
}
