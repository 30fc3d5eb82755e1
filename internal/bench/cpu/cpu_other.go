//go:build !unix

package cpu

import (
	"errors"
	"time"
)

// Time is not known here.
func Time() (time.Duration, error) { return 0, errors.ErrUnsupported }
