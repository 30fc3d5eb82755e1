package stacks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/wsauth/wsauth"
)

// These are what docs/migrating.md shows for coder's connection in place of gorilla's.

type message struct {
	Text string `json:"text"`
}

func echoJSON(ctx context.Context, conn *websocket.Conn) {
	for {
		var in message
		if err := wsjson.Read(ctx, conn, &in); err != nil {
			logEnd(err)
			return
		}
		if err := wsjson.Write(ctx, conn, in); err != nil {
			return
		}
	}
}

func logEnd(err error) {
	switch websocket.CloseStatus(err) { // -1: no close frame has come
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return
	}
	if errors.Is(err, wsauth.ErrExpired) { // or ErrRevoked; Options.Logger has said so
		return
	}
	slog.Info("read", "err", err)
}

func ticker(ctx context.Context, conn *websocket.Conn) {
	ctx = conn.CloseRead(ctx) // reads, and ends ctx when the peer leaves
	for tick := time.Tick(time.Minute); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick:
			if err := wsjson.Write(ctx, conn, message{now.Format(time.Kitchen)}); err != nil {
				return
			}
		}
	}
}
