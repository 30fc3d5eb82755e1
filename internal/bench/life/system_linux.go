package main

import "syscall"

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT, which package syscall does not have.
const ipBindAddressNoPort = 24

// choosePortLate lets connect choose the port, when it knows the other end: bind would have to find one that is free
// beside all servers, and an address has too few of them for that.
func choosePortLate(_, _ string, c syscall.RawConn) error {
	var fault error
	err := c.Control(func(fd uintptr) {
		fault = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
	if err != nil {
		return err
	}
	return fault
}

// maxFiles is how many files a process may have open. The runtime has raised the limit as far as it may.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Max, 1<<20))
}
