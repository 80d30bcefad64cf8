package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// A Stat is the median and the quartiles of repeated measurements.
type Stat struct{ Median, Q1, Q3 float64 }

func statOf(values []float64) Stat {
	sorted := slices.Sorted(slices.Values(values))
	return Stat{quantile(sorted, 0.5), quantile(sorted, 0.25), quantile(sorted, 0.75)}
}

// quantile interpolates between the neighbours of the place q in sorted values.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// ratios divides the rounds of a by those of b, each by its neighbour in time: disturbances of
// the machine that last for a while are in both.
func ratios(a, b []float64) Stat {
	n := min(len(a), len(b))
	quotients := make([]float64, n)
	for i := range n {
		quotients[i] = a[i] / b[i]
	}
	return statOf(quotients)
}

// figure writes a number with three digits that matter, and thousands apart.
func figure(v float64) string {
	switch magnitude := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case magnitude >= 1000:
		whole := fmt.Sprintf("%.0f", v)
		for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
			whole = whole[:i] + "," + whole[i:]
		}
		return whole
	case magnitude >= 100:
		return fmt.Sprintf("%.0f", v)
	case magnitude >= 10:
		return fmt.Sprintf("%.1f", v)
	case magnitude >= 0.1 || magnitude == 0:
		return fmt.Sprintf("%.2f", v)
	default: // two
		return strconv.FormatFloat(v, 'f', 1-int(math.Floor(math.Log10(magnitude))), 64)
	}
}
