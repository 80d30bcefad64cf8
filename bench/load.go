package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A call is one operation: the i-th of that caller.
type call func(ctx context.Context, caller, i int) error

// A load has many callers make calls at once, each its next one after the answer to the
// last, and one at least. It ends after a time or a number of calls.
type load struct {
	callers int
	last    time.Duration // 0: calls end it
	calls   int           // in all; 0: time ends it
	every   int           // one of so many is timed, because timing takes longer than a call in memory
}

// run returns operations per second, times and allocations. The ctx of calls can end, as that
// of a server's requests.
func (l load) run(ctx context.Context, do call) (Sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		stop  atomic.Bool
		taken atomic.Int64 // of l.calls
		total atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
		times []float64
		first error
	)
	if l.last > 0 {
		timer := time.AfterFunc(l.last, func() { stop.Store(true) })
		defer timer.Stop()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for caller := range l.callers {
		group.Go(func() {
			var own []float64
			var err error
			done := 0
			for i := 0; err == nil && (i == 0 || !stop.Load()); i++ {
				if l.calls > 0 && int(taken.Add(1)) > l.calls {
					break
				}
				if i%l.every != 0 {
					err = do(ctx, caller, i)
				} else {
					begin := time.Now()
					err = do(ctx, caller, i)
					own = append(own, micros(time.Since(begin)))
				}
				done++
			}
			total.Add(int64(done))
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			if err != nil && first == nil {
				first = err
				stop.Store(true)
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	if first != nil {
		return Sample{}, first
	}
	slices.Sort(times)
	n := float64(total.Load())
	return Sample{
		Value:  n / elapsed.Seconds(),
		P50:    quantile(times, 0.5),
		P99:    quantile(times, 0.99),
		Timed:  len(times),
		Allocs: float64(after.Mallocs-before.Mallocs) / n,
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// averaged measures the mean of n calls in a row, in parts of a second: 1e3 for milliseconds.
func averaged(n int, parts float64, do func(ctx context.Context, i int) error) func(context.Context) (Sample, error) {
	return func(ctx context.Context) (Sample, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		start := time.Now()
		for i := range n {
			if err := do(ctx, i); err != nil {
				return Sample{}, err
			}
		}
		return Sample{Value: time.Since(start).Seconds() * parts / float64(n)}, nil
	}
}

// fill makes n calls by many callers at once, as fast as it goes.
func fill(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	own := context.WithoutCancel(ctx) // it costs less
	var next atomic.Int64
	var once sync.Once
	var failed error
	var group sync.WaitGroup
	for range min(64, n) {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := errors.Join(ctx.Err(), do(own, i)); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	group.Wait()
	return failed
}
