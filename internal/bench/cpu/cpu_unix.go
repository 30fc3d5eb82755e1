//go:build unix

package cpu

import (
	"syscall"
	"time"
)

// Time is what the process has used so far, in user mode and in the kernel.
func Time() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
