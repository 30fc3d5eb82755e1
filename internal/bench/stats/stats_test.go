package stats

import (
	"slices"
	"testing"
)

func TestSum(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		want    Summary
	}{
		{[]float64{3}, Summary{3, 3, 3}},
		{[]float64{4, 2}, Summary{2.5, 3, 3.5}},
		{[]float64{5, 1, 4, 2, 3}, Summary{2, 3, 4}},
	} {
		if got := Sum(c.figures); got != c.want {
			t.Errorf("Sum(%v) is %v, want %v", c.figures, got, c.want)
		}
	}
}

func TestRatios(t *testing.T) {
	if got := Ratios([]float64{6, 1}, []float64{2, 4}); !slices.Equal(got, []float64{3, 0.25}) {
		t.Error(got)
	}
}

func TestSpread(t *testing.T) {
	for s, want := range map[Summary]string{
		{0.5, 1.256, 2}:        "1.26× (0.50–2.00)",
		{9.99, 10.26, 100}:     "10.3× (9.99–100)",
		{0.0044, 0.0052, 0.01}: "0.005× (0.004–0.01)",
	} {
		if got := s.Spread(); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}
