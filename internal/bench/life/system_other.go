//go:build !linux

package main

import "syscall"

func choosePortLate(_, _ string, _ syscall.RawConn) error { return nil }

func maxFiles() int { return 1024 }
