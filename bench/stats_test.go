package main

import (
	"math"
	"testing"
)

func TestStatIsMedianAndQuartiles(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Stat
	}{
		{[]float64{5}, Stat{5, 5, 5}},
		{[]float64{4, 1, 3, 2, 5}, Stat{3, 2, 4}},
		{[]float64{1, 2, 3, 4}, Stat{2.5, 1.75, 3.25}},
	} {
		if got := statOf(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
	if !math.IsNaN(statOf(nil).Median) {
		t.Error("a median of no figures")
	}
	values := []float64{3, 1, 2}
	statOf(values)
	if values[0] != 3 {
		t.Error("the caller's values are sorted")
	}
}

// Ratios stay the same on a machine that is twice as slow in one round.
func TestRatiosArePairedByRound(t *testing.T) {
	fast, slow := []float64{10, 5, 10}, []float64{5, 2.5, 5}
	if got := ratios(fast, slow); got != (Stat{2, 2, 2}) {
		t.Errorf("%v", got)
	}
	if got := ratios(fast, slow[:1]); got != (Stat{2, 2, 2}) {
		t.Errorf("rounds that have no partner count: %v", got)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		0.123: "0.12", 1: "1.00", 12.34: "12.3", 123.4: "123", 1234: "1,234", 1234567.8: "1,234,568",
		-1234: "-1,234", -123456: "-123,456", math.NaN(): "-",
	} {
		if got := figure(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
