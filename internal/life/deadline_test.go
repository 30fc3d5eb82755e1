package life

import (
	"testing"
	"time"
)

func TestADeadlineIsTheEarlierOnEitherClock(t *testing.T) {
	now := time.Now()
	for name, row := range map[string]struct {
		monotonic, wall time.Duration // until the end
		want            time.Duration
	}{
		"both clocks went on":                            {time.Minute, time.Minute, time.Minute},
		"the machine slept, the monotonic clock did not": {time.Hour, -time.Minute, -time.Minute},
		"the wall clock was set back":                    {-time.Second, time.Hour, -time.Second},
		"the wall clock was set forward":                 {time.Hour, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			d := deadline{monotonic: now.Add(row.monotonic), wall: now.Round(0).Add(row.wall)}
			if got := d.left(now); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}
