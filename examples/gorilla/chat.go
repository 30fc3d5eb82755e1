package main

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/wsauth/wsauth"
)

const (
	writeTimeout = 10 * time.Second
	pongTimeout  = time.Minute          // how long a client may be silent
	pingEvery    = pongTimeout * 9 / 10 // early enough for the pong
	maxMessage   = 4 << 10              // bytes
	maxBehind    = 256                  // messages that a client may be behind
)

// upgrader has gorilla's own rule about origins: the server's own only. Guard has already checked the origin, including
// Options.Origins. If those are set, CheckOrigin must be a function that returns true, or gorilla refuses the listed
// pages.
var upgrader websocket.Upgrader

type message struct {
	From string `json:"from,omitempty"`
	Text string `json:"text"`
}

// A hub passes what a client says on to all clients.
type hub struct {
	mu      sync.Mutex
	clients map[*client]bool
}

// A client has two goroutines, since gorilla allows one reader and one writer at a time.
type client struct {
	name string
	conn *websocket.Conn
	send chan message // closed: the client has left the hub
}

// ServeHTTP returns at once: the two goroutines serve the connection.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	claims, _ := wsauth.ClaimsFromContext(r.Context())
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		slog.Info("upgrade", "err", err) // Upgrade has answered
		return
	}
	c := &client{name: claims.Subject, conn: conn, send: make(chan message, maxBehind)}
	h.join(c)
	go h.read(c)
	go c.write()
}

func (h *hub) join(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[c] = true
}

func (h *hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(c)
}

// drop needs the lock.
func (h *hub) drop(c *client) {
	if !h.clients[c] {
		return
	}
	delete(h.clients, c)
	close(c.send)
}

func (h *hub) broadcast(m message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		select {
		case c.send <- m:
		default: // the client is too far behind
			h.drop(c)
		}
	}
}

// read ends with the connection, and so with the token.
func (h *hub) read(c *client) {
	defer c.conn.Close()
	defer h.leave(c)
	c.conn.SetReadLimit(maxMessage)
	c.conn.SetReadDeadline(time.Now().Add(pongTimeout))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pongTimeout)) })
	for {
		var m message
		if err := c.conn.ReadJSON(&m); err != nil {
			return
		}
		m.From = c.name
		h.broadcast(m)
	}
}

func (c *client) write() {
	defer c.conn.Close()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case m, ok := <-c.send:
			if !ok {
				return
			}
			c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			err = c.conn.WriteJSON(m)
		case <-ping.C:
			err = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
		}
		if err != nil {
			return
		}
	}
}
