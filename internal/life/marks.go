package life

import (
	"errors"
	"slices"
	"time"

	"github.com/wsauth/wsauth/internal/gate"
	"github.com/wsauth/wsauth/internal/refusal"
	"github.com/wsauth/wsauth/internal/revocation"
)

// An index finds connections by the names in their tokens: the connections that have a name in common are a list whose
// links are in the connections themselves. Registry.mu guards it.
type index[C any] map[uint64]*Conn[C]

// named are the kinds of names in the index. A revocation of a whole issuer looks at all connections.
var named = [...]revocation.Kind{revocation.Subject, revocation.Session, revocation.ID}

type link[C any] struct{ previous, next *Conn[C] }

func (x index[C]) add(c *Conn[C]) {
	for i, kind := range named {
		mark := c.marks.Names[kind]
		if mark == 0 {
			continue
		}
		first := x[mark]
		c.links[i] = link[C]{next: first}
		if first != nil {
			first.links[i].previous = c
		}
		x[mark] = c
	}
}

func (x index[C]) remove(c *Conn[C]) {
	for i, kind := range named {
		mark, l := c.marks.Names[kind], c.links[i]
		if mark == 0 {
			continue
		}
		if l.next != nil {
			l.next.links[i].previous = l.previous
		}
		switch {
		case l.previous != nil:
			l.previous.links[i].next = l.next
		case l.next != nil:
			x[mark] = l.next
		default:
			delete(x, mark)
		}
		c.links[i] = link[C]{}
	}
}

// find returns the connections whose tokens have the name.
func (x index[C]) find(kind revocation.Kind, mark uint64) (all []*Conn[C]) {
	for i, k := range named {
		if k != kind {
			continue
		}
		for c := x[mark]; c != nil; c = c.links[i].next {
			all = append(all, c)
		}
	}
	return all
}

// mark puts a connection into the index under these names, and no longer under others. It is called with c.mu held.
func (g *Registry[C]) mark(c *Conn[C], marks revocation.Marks) {
	if g.revoked == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.index.remove(c)
	c.marks = marks
	g.index.add(c)
}

var errNoNames = errors.New("the claims are no longer those of the token")

// marksOf returns the names in claims. An error is a refusal: somebody has put other claims in their place.
func (g *Registry[C]) marksOf(claims *C) (revocation.Marks, error) {
	if g.revoked == nil || claims == nil {
		return revocation.Marks{}, nil
	}
	t, ok := g.tokenOf(claims)
	if !ok {
		return revocation.Marks{}, refusal.New(refusal.ErrInvalidToken, errNoNames)
	}
	return g.revoked.Marks(&t), nil
}

// CheckRevoked refuses claims that are revoked. Enter and Renew call it when whoever revokes them from now on finds them
// in the index.
func (g *Registry[C]) CheckRevoked(claims *C) error {
	if g.revoked.IsEmpty() || claims == nil {
		return nil
	}
	t, ok := g.tokenOf(claims)
	switch {
	case !ok:
		return refusal.New(refusal.ErrInvalidToken, errNoNames)
	case g.revoked.IsRevoked(&t, time.Now()):
		return refusal.New(refusal.ErrRevoked, nil)
	}
	return nil
}

// Revoke ends the live connections whose tokens the revocation covers, and returns how many. The revocation must
// already count: then a connection that is being opened, or renewed, meets one of the two.
func (g *Registry[C]) Revoke(r revocation.Revocation, e gate.Ending) (n int) {
	mark := g.revoked.MarkOf(&r)
	connections, renewals := g.marked(&r, mark)
	var wires finisher
	defer wires.finishRest()
	for _, c := range connections {
		if c.revoke(&r, mark, e, &wires) {
			n++
		}
	}
	for pending, c := range renewals {
		if !c.refuse(pending) && c.revoke(&r, mark, e, &wires) {
			n++
		}
	}
	return n
}

func (g *Registry[C]) marked(r *revocation.Revocation, mark uint64) ([]*Conn[C], map[*renewal[C]]*Conn[C]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	renewals := map[*renewal[C]]*Conn[C]{}
	for pending, c := range g.renewing {
		if r.Covers(&pending.marks, mark) {
			renewals[pending] = c
		}
	}
	if r.Kind == revocation.Issuer {
		return slices.Clone(g.live), renewals
	}
	return g.index.find(r.Kind, mark), renewals
}

// revoke ends the connection if its token is covered. It reports whether the connection was open until now.
func (c *Conn[C]) revoke(r *revocation.Revocation, mark uint64, e gate.Ending, wires *finisher) bool {
	open := false
	_, first := c.endIf(e, wires, func() bool {
		open = c.admitted
		return r.Covers(&c.marks, mark)
	})
	return first && open
}
