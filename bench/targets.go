package main

import "fmt"

// A Target is a ratio that has been promised.
type Target struct {
	What     string
	Measured Stat
	AtMost   bool // otherwise at least
	Limit    float64
}

// The verdicts on a target.
const (
	pass   = "pass"
	spread = "within the spread" // missed, by no more than the measurement's spread
	miss   = "miss"
)

func (t Target) verdict() string {
	beyond := t.Limit - t.Measured.Median
	if t.AtMost {
		beyond = -beyond
	}
	switch {
	case beyond <= 0:
		return pass
	case beyond <= t.Measured.spread():
		return spread
	default: // also where nothing was measured
		return miss
	}
}

func (r *report) atMost(limit float64, measured Stat, format string, args ...any) {
	r.targets = append(r.targets, Target{fmt.Sprintf(format, args...), measured, true, limit})
}

func (r *report) atLeast(limit float64, measured Stat, format string, args ...any) {
	r.targets = append(r.targets, Target{fmt.Sprintf(format, args...), measured, false, limit})
}

func targetTable(targets []Target) table {
	t := table{header: []string{"ratio", "promised", "measured", "quartiles", "verdict"}}
	for _, g := range targets {
		word := "at least "
		if g.AtMost {
			word = "at most "
		}
		t.row(g.What, word+figure(g.Limit), figure(g.Measured.Median),
			figure(g.Measured.Q1)+" to "+figure(g.Measured.Q3), g.verdict())
	}
	return t
}

// missed returns those that are missed by more than the spread.
func missed(targets []Target) (all []Target) {
	for _, t := range targets {
		if t.verdict() == miss {
			all = append(all, t)
		}
	}
	return all
}
