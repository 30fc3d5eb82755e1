package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	raceJitter = 2 * time.Millisecond // before or after the end
	raceStep   = time.Millisecond     // from the end of one token to that of the next
	raceLimit  = 30 * time.Second     // for an answer

	stillHere = "still here"
)

// races sends renewals as the tokens end. The ends are spread, or nearly all renewals of a round would come too late.
func (b *bench) races(ctx context.Context) error {
	b.table(fmt.Sprintf("Each of %d clients sends a renewal within %v of its token's end.", b.few(), raceJitter),
		"round", "races", "renewed", "closed", "of them told first", "doubtful")
	var sum tally
	for round := range b.rounds {
		t, err := b.race(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.row(round+1, b.few(), t.renewed, t.closed, t.refused, t.doubtful)
		sum.add(t)
	}
	b.row("all", b.few()*b.rounds, sum.renewed, sum.closed, sum.refused, sum.doubtful)
	if sum.doubtful > 0 {
		b.breaks("races: %d are doubtful", sum.doubtful)
	}
	if sum.renewed+sum.closed+sum.doubtful != b.few()*b.rounds {
		b.breaks("races: some had no end")
	}
	return nil
}

// A tally counts how races ended.
type tally struct {
	renewed  int // and alive a second later
	closed   int // with 3000
	refused  int // closed after the renewal was refused in a message
	doubtful int
}

func (t *tally) add(u tally) {
	t.renewed += u.renewed
	t.closed += u.closed
	t.refused += u.refused
	t.doubtful += u.doubtful
}

func (b *bench) race(ctx context.Context) (sum tally, err error) {
	s, err := b.startServer(ctx, settings{})
	if err != nil {
		return sum, err
	}
	defer s.stop()
	racers, _, err := connect(ctx, b.few(), func(i int, first time.Time) (*racer, error) {
		end := first.Add(time.Duration(i) * raceStep)
		conn, err := s.dial(ctx, s.url("wsauth", "echo", time.Time{}), s.token(end))
		return &racer{Conn: conn, end: end, renewal: s.token(end.Add(10 * time.Minute))}, err
	})
	if err != nil {
		return sum, err
	}
	var mu sync.Mutex
	told := 0
	each(b.few(), b.few(), func(i int) {
		t, err := racers[i].race(ctx)
		mu.Lock()
		defer mu.Unlock()
		sum.add(t)
		told += racers[i].told
		if t.doubtful > 0 {
			b.note("doubtful: %v", err)
		}
	})
	now, err := s.stats(ctx, false)
	if err != nil {
		return sum, err
	}
	if d := int(now.Renewed) - told; d != 0 {
		b.note("doubtful: the server renewed %d tokens, %d clients know", now.Renewed, told)
		sum.doubtful += max(d, -d)
	}
	return sum, nil
}

// A racer renews its token as it ends.
type racer struct {
	*websocket.Conn
	end     time.Time
	renewal string
	told    int // 1: that it was renewed
}

// race returns a tally of one; the error explains a doubtful one.
func (r *racer) race(ctx context.Context) (tally, error) {
	defer r.CloseNow()
	jitter := time.Duration(rand.Int64N(int64(2*raceJitter))) - raceJitter
	sleepUntil(ctx, r.end.Add(jitter))
	ctx, cancel := context.WithTimeout(ctx, raceLimit)
	defer cancel()
	answer, err := r.ask(ctx, renewPrefix+r.renewal)
	switch {
	case isExpired(err):
		return tally{closed: 1}, nil
	case err != nil:
		return tally{doubtful: 1}, err
	case answer == renewedAnswer:
		r.told = 1
		sleepUntil(ctx, time.Now().Add(time.Second))
		if echo, err := r.ask(ctx, stillHere); err != nil || echo != stillHere {
			return tally{doubtful: 1}, fmt.Errorf("renewed, and then: %q, %w", echo, err)
		}
		r.Close(websocket.StatusNormalClosure, "")
		return tally{renewed: 1}, nil
	}
	// Refused: then it has ended, even if the close frame is still to come.
	echo, err := r.ask(ctx, stillHere)
	if err == nil {
		return tally{doubtful: 1}, fmt.Errorf("%s, and then, %v after the end: %q", answer, time.Since(r.end), echo)
	}
	if !isExpired(err) {
		return tally{doubtful: 1}, fmt.Errorf("%s, and then: %w", answer, err)
	}
	return tally{closed: 1, refused: 1}, nil
}

// ask sends a message and returns the answer. Where the server has closed, only the answer knows it.
func (r *racer) ask(ctx context.Context, message string) (string, error) {
	sent := r.Write(ctx, websocket.MessageText, []byte(message))
	_, answer, err := r.Read(ctx)
	if sent != nil && err == nil {
		err = sent
	}
	return string(answer), err
}
