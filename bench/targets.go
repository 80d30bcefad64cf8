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
	spread = "within the spread" // missed, but the promise is between the quartiles
	miss   = "miss"
)

func (t Target) verdict() string {
	kept := func(v float64) bool { return v >= t.Limit }
	nearest := t.Measured.Q3
	if t.AtMost {
		kept = func(v float64) bool { return v <= t.Limit }
		nearest = t.Measured.Q1
	}
	switch {
	case kept(t.Measured.Median):
		return pass
	case kept(nearest):
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
		verdict := g.verdict()
		if verdict == miss {
			verdict = "**miss**"
		}
		t.row(g.What, word+figure(g.Limit), figure(g.Measured.Median),
			figure(g.Measured.Q1)+" to "+figure(g.Measured.Q3), verdict)
	}
	return t
}

// tally says how many promises are kept.
func tally(targets []Target) string {
	count := make(map[string]int)
	for _, t := range targets {
		count[t.verdict()]++
	}
	return fmt.Sprintf("Of %d promised ratios %d are kept, %d are missed with the promise between the quartiles, and %d are missed.",
		len(targets), count[pass], count[spread], count[miss])
}

// missed returns those that are missed outright.
func missed(targets []Target) (all []Target) {
	for _, t := range targets {
		if t.verdict() == miss {
			all = append(all, t)
		}
	}
	return all
}
