package life

import "time"

// A pinger is a Wire that can find out whether its peer is still there.
type pinger interface {
	Ping()
	Heard() time.Time // when something last came from the peer
	Poke() bool       // looks for what has come and nobody reads; false: it cannot tell
}

// ping pings a peer that has been silent for as long as the rule says. It returns when to look again, and whether the
// peer has then been silent for as long again.
func (c *Conn[C]) ping(now time.Time) (next time.Duration, silent bool) {
	every := c.rule.Ping
	peer, ok := c.currentWire().(pinger)
	if every <= 0 || !ok {
		return longestWait, false
	}
	sees, heard := peer.Poke(), peer.Heard()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !heard.Before(c.pinged) {
		c.pinged = time.Time{}
		if quiet := now.Sub(heard); quiet < every {
			return every - quiet, false
		}
	}
	if c.pinged.IsZero() {
		c.pinged = now
		peer.Ping()
		return every, false
	}
	switch waited := now.Sub(c.pinged); {
	case waited < every:
		return every - waited, false
	case sees:
		return every, true
	default: // the answer may be waiting behind what nobody reads
		return every, false
	}
}

func (c *Conn[C]) currentWire() Wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wire
}
