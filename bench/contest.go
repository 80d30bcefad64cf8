package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
)

// A Sample is one measurement. Metrics that were not measured are 0.
type Sample struct {
	Value    float64 // what the contest is about, in its unit
	P50, P99 float64 // of the time that a call took, µs
	Allocs   float64 // allocations of the process per operation
	Timed    int     // calls that the percentiles are of
	Extra    float64 // what else a contest counts
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
	Name        string
	Contestants []Contestant
	Rounds      int
	NoWarmup    bool // for work that takes long: the first turn counts
}

// A Result has the samples of a contest: Samples[name][round].
type Result struct {
	Name    string
	Names   []string
	Samples map[string][]Sample
}

// run holds the contest. Each round has a turn of everybody, in an order that is
// drawn for it: nobody always comes after the same other, whose traces in caches
// and in the scheduler would be taken for its own. A round before the first, which
// is not counted, warms up pools and caches.
func (c Contest) run(ctx context.Context) (Result, error) {
	r := Result{Name: c.Name, Samples: make(map[string][]Sample)}
	for _, who := range c.Contestants {
		r.Names = append(r.Names, who.Name)
	}
	first := -1
	if c.NoWarmup {
		first = 0
	}
	for round := first; round < c.Rounds; round++ {
		for _, i := range rand.Perm(len(c.Contestants)) {
			who := c.Contestants[i]
			if who.Reset != nil {
				if err := who.Reset(ctx); err != nil {
					return r, fmt.Errorf("%s: %s: prepare: %w", c.Name, who.Name, err)
				}
			}
			runtime.GC() // nobody pays for what another left behind
			s, err := who.Sample(ctx)
			if err != nil {
				return r, fmt.Errorf("%s: %s: %w", c.Name, who.Name, err)
			}
			if round >= 0 {
				r.Samples[who.Name] = append(r.Samples[who.Name], s)
			}
		}
	}
	return r, nil
}

// A metric picks a number of a sample.
type metric func(Sample) float64

func value(s Sample) float64  { return s.Value }
func p50(s Sample) float64    { return s.P50 }
func p99(s Sample) float64    { return s.P99 }
func allocs(s Sample) float64 { return s.Allocs }
func extra(s Sample) float64  { return s.Extra }

func timedCalls(s Sample) float64 { return float64(s.Timed) }

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
