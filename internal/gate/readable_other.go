//go:build !unix

package gate

import "net"

// readable exists only where a socket can be read without waiting.
type readable struct{}

func readableOver(net.Conn, *buffer) *readable { return nil }

func (*readable) fill() (int, error)      { panic("never") }
func (*readable) now([]byte) (int, error) { panic("never") }
