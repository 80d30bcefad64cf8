package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
)

// A Sample is one measurement. Metrics that were not measured are 0.
type Sample struct {
	Value    float64 // the contest's figure, in its unit
	P50, P99 float64 // of the time that a call took, µs
	Allocs   float64 // allocations of the process per operation
	Timed    int     // calls that the percentiles are of
	Extra    float64 // a second figure of some contests
}

// A Contestant does the work of a contest and measures it.
type Contestant struct {
	Name   string
	Sample func(ctx context.Context) (Sample, error)
	// Reset, if any, prepares each Sample and is not measured.
	Reset func(ctx context.Context) error
}

// A Contest has several contestants do the same work, in turns and several times.
type Contest struct {
	Keys        []string // the circumstances, in the columns of its sheet
	Contestants []Contestant
	Rounds      int
	NoWarmup    bool // the first turn counts; for work that takes seconds
	Pinned      bool // this process has one core, the servers another
}

// A Result has the samples of a contest: Samples[name][round].
type Result struct {
	Keys    []string
	Names   []string
	Samples map[string][]Sample
}

func newResult(keys ...string) Result { return Result{Keys: keys, Samples: make(map[string][]Sample)} }

func (r *Result) add(name string, s Sample) {
	if !slices.Contains(r.Names, name) {
		r.Names = append(r.Names, name)
	}
	r.Samples[name] = append(r.Samples[name], s)
}

// run holds the contest. Each round has a turn of every contestant, in an order that is drawn
// for it, because a turn leaves traces in caches and in the scheduler for the next one. A
// round before the first, which does not count, warms up pools and caches.
func (c Contest) run(ctx context.Context) (Result, error) {
	r := newResult(c.Keys...)
	for _, contestant := range c.Contestants {
		r.Names = append(r.Names, contestant.Name)
	}
	first := -1
	if c.NoWarmup {
		first = 0
	}
	for round := first; round < c.Rounds; round++ {
		for _, i := range rand.Perm(len(c.Contestants)) {
			contestant := c.Contestants[i]
			if contestant.Reset != nil {
				if err := contestant.Reset(ctx); err != nil {
					return r, fmt.Errorf("%s: %s: prepare: %w", r.name(), contestant.Name, err)
				}
			}
			runtime.GC() // each turn pays for its own garbage
			s, err := contestant.Sample(ctx)
			if err != nil {
				return r, fmt.Errorf("%s: %s: %w", r.name(), contestant.Name, err)
			}
			if round >= 0 {
				r.add(contestant.Name, s)
			}
		}
	}
	return r, nil
}

func (r Result) name() string { return strings.Join(r.Keys, ", ") }

// A metric picks a number of a sample.
type metric func(Sample) float64

func value(s Sample) float64  { return s.Value }
func p50(s Sample) float64    { return s.P50 }
func allocs(s Sample) float64 { return s.Allocs }
func extra(s Sample) float64  { return s.Extra }

// p99 is that of turns with enough calls to speak of the hundredth part, otherwise 0.
func p99(s Sample) float64 {
	if s.Timed < 200 {
		return 0
	}
	return s.P99
}

func (r Result) values(name string, m metric) []float64 {
	values := make([]float64, 0, len(r.Samples[name]))
	for _, s := range r.Samples[name] {
		values = append(values, m(s))
	}
	return values
}

// has reports whether name took part.
func (r Result) has(name string) bool { return len(r.Samples[name]) > 0 }

func (r Result) stat(name string, m metric) Stat { return statOf(r.values(name, m)) }

// ratio returns a metric of one contestant divided by that of another.
func (r Result) ratio(a, b string, m metric) Stat { return ratios(r.values(a, m), r.values(b, m)) }
