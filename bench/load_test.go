package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLoadMakesTheCallsThatItCounts(t *testing.T) {
	var calls atomic.Int64
	var callers sync.Map
	s, err := load{callers: 7, calls: 1000, every: 3}.run(t.Context(), func(ctx context.Context, caller, _ int) error {
		if ctx.Done() == nil {
			return errors.New("this ctx cannot end")
		}
		calls.Add(1)
		callers.Store(caller, true)
		return nil
	})
	if err != nil || calls.Load() != 1000 {
		t.Fatalf("%d calls, %v", calls.Load(), err)
	}
	if s.Value <= 0 || s.P99 < s.P50 {
		t.Errorf("%+v", s)
	}
	start := time.Now()
	calls.Store(0)
	s, err = load{callers: 2, last: 50 * time.Millisecond, every: 1}.run(t.Context(), func(context.Context, int, int) error {
		calls.Add(1)
		time.Sleep(time.Millisecond)
		return nil
	})
	if err != nil || time.Since(start) < 50*time.Millisecond {
		t.Fatalf("ended after %v: %v", time.Since(start), err)
	}
	if s.P50 < 1000 {
		t.Errorf("calls of a millisecond take %v µs", s.P50)
	}
	if rate := float64(calls.Load()) / time.Since(start).Seconds(); s.Value < rate {
		t.Errorf("%v calls per second, made were %v", s.Value, rate)
	}
}

func TestLoadEndsWithTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	_, err := load{callers: 3, last: time.Minute, every: 1}.run(t.Context(), func(_ context.Context, caller, i int) error {
		if caller == 1 && i == 10 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = fill(ctx, math.MaxInt32, func(_ context.Context, i int) error {
		if i == 50 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("the others go on after a failure")
	}
}

func TestFillMakesEachCallOnce(t *testing.T) {
	var seen [1000]atomic.Int32
	if err := fill(t.Context(), len(seen), func(_ context.Context, i int) error { seen[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Fatalf("call %d was made %d times", i, n)
		}
	}
}

func TestAveragedMeasuresOneCall(t *testing.T) {
	calls := 0
	s, err := averaged(4, 1e3, func(context.Context, int) error { calls++; time.Sleep(10 * time.Millisecond); return nil })(t.Context())
	if err != nil || calls != 4 || s.Value < 10 || s.Value > 10_000 {
		t.Errorf("%d calls, %+v, %v", calls, s, err)
	}
}
