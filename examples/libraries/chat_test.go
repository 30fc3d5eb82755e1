package libraries_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	xnet "golang.org/x/net/websocket"
)

var writers = &sync.Pool{}

// The figures of gorilla's chat example.
const (
	chatWriteWait  = 10 * time.Second
	chatPongWait   = 60 * time.Second
	chatPingPeriod = chatPongWait * 9 / 10
	chatLimit      = 512
)

// A hub sends each message of a client to all of them. It has the shape of gorilla's chat example: the handler returns,
// and two goroutines for each client go on.
type hub struct {
	app                  application
	broadcast            chan []byte
	register, unregister chan *chatter
	done                 chan struct{}
}

type chatter struct {
	hub  *hub
	ctx  context.Context
	conn *gorilla.Conn
	send chan []byte
}

func gorillaChat(t *testing.T, app application) http.Handler {
	h := &hub{
		app: app, broadcast: make(chan []byte), register: make(chan *chatter), unregister: make(chan *chatter),
		done: make(chan struct{}),
	}
	go h.run()
	t.Cleanup(func() { close(h.done) })
	upgrader := gorilla.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &chatter{hub: h, ctx: r.Context(), conn: conn, send: make(chan []byte, 256)}
		h.to(h.register, c)
		go c.writePump()
		go c.readPump()
	})
}

func (h *hub) to(ch chan *chatter, c *chatter) {
	select {
	case ch <- c:
	case <-h.done:
	}
}

func (h *hub) run() {
	clients := map[*chatter]bool{}
	leave := func(c *chatter) {
		if clients[c] {
			delete(clients, c)
			close(c.send)
		}
	}
	for {
		select {
		case c := <-h.register:
			clients[c] = true
		case c := <-h.unregister:
			leave(c)
		case message := <-h.broadcast:
			for c := range clients {
				select {
				case c.send <- message:
				default:
					leave(c)
				}
			}
		case <-h.done:
			return
		}
	}
}

func (c *chatter) readPump() {
	defer func() {
		c.hub.to(c.hub.unregister, c)
		c.conn.Close()
	}()
	c.conn.SetReadLimit(chatLimit)
	c.conn.SetReadDeadline(time.Now().Add(chatPongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(chatPongWait)) })
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			c.hub.app.over(c.ctx, err)
			return
		}
		answer, ok := c.hub.app.answer(c.ctx, message)
		if !ok {
			continue
		}
		select {
		case c.hub.broadcast <- answer:
		case <-c.hub.done:
			return
		}
	}
}

func (c *chatter) writePump() {
	ticker := time.NewTicker(chatPingPeriod)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()
	for {
		select {
		case message, ok := <-c.send:
			c.conn.SetWriteDeadline(time.Now().Add(chatWriteWait))
			if !ok {
				c.conn.WriteMessage(gorilla.CloseMessage, nil)
				return
			}
			w, err := c.conn.NextWriter(gorilla.TextMessage)
			if err != nil {
				return
			}
			w.Write(message)
			for range len(c.send) {
				w.Write([]byte{'\n'})
				w.Write(<-c.send)
			}
			if err := w.Close(); err != nil {
				return
			}
		case <-ticker.C:
			c.conn.SetWriteDeadline(time.Now().Add(chatWriteWait))
			if err := c.conn.WriteMessage(gorilla.PingMessage, nil); err != nil {
				return
			}
		case <-c.hub.done:
			return
		}
	}
}

// xnetCopy is the package's own example, an echo by io.Copy.
func xnetCopy(t *testing.T, app application) http.Handler {
	return xnet.Handler(func(conn *xnet.Conn) {
		_, err := io.Copy(conn, conn)
		if err == nil {
			err = errors.New("io.Copy found an orderly end")
		}
		app.over(conn.Request().Context(), err)
	})
}
