package main

import (
	"context"
	"testing"
	"time"
)

func TestTripTimesEveryChange(t *testing.T) {
	b := &bench{Config: Config{WatchFor: 20 * time.Millisecond}}
	trip := b.trip()
	s, err := trip.measure(t.Context(), func(_ context.Context, n int) error {
		time.Sleep(time.Millisecond) // on the way
		if n%2 == 1 {
			trip.arrived(n) // merged with the one before it
		}
		trip.arrived(0) // again, much too late
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.P50 < 1000 || s.P99 < s.P50 {
		t.Errorf("on the way for a millisecond: %+v", s)
	}
	if s.Extra < 0.5 || s.Extra > 0.6 {
		t.Errorf("half of the hints came: %v", s.Extra)
	}
	lost := b.trip()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lost.measure(ctx, func(context.Context, int) error { return nil }); err == nil {
		t.Error("an empty result passed")
	}
}
