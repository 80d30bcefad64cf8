package main

import (
	"context"
	"errors"
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

func TestLoadEndsWhenItIsTold(t *testing.T) {
	until := make(chan struct{})
	var once sync.Once
	_, err := load{callers: 2, until: until, every: 1}.run(t.Context(), func(_ context.Context, _, i int) error {
		if i == 100 {
			once.Do(func() { close(until) })
		}
		return nil
	})
	if err != nil {
		t.Error(err)
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
	err = fill(t.Context(), 100_000, func(_ context.Context, i int) error {
		if i == 50 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Error(err)
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

func TestTimedMeasuresMilliseconds(t *testing.T) {
	s, err := timed(func() error { time.Sleep(20 * time.Millisecond); return nil })
	if err != nil || s.Value < 20 || s.Value > 20_000 {
		t.Errorf("%+v, %v", s, err)
	}
}
