package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestContestantsTakeTurns(t *testing.T) {
	var order []string
	contestant := func(name string) Contestant {
		n := 0.0
		return Contestant{Name: name, Sample: func(context.Context) (Sample, error) {
			order = append(order, name)
			n++
			return Sample{Value: n}, nil
		}}
	}
	r, err := Contest{Contestants: []Contestant{contestant("a"), contestant("b"), contestant("c")}, Rounds: 2}.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for round := range slices.Chunk(order, 3) {
		if slices.Sort(round); strings.Join(round, "") != "abc" {
			t.Errorf("a round had %v", round)
		}
	}
	if got := r.values("a", value); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("the warm-up counts: %v", got)
	}
	if !r.has("a") || r.has("d") {
		t.Error("the result has other participants")
	}
	order = nil
	if _, err := (Contest{Contestants: []Contestant{contestant("a")}, Rounds: 1, NoWarmup: true}).run(t.Context()); err != nil || len(order) != 1 {
		t.Errorf("without warm-up: %v, %v", order, err)
	}
}

func TestContestNamesTheFailedParticipant(t *testing.T) {
	broken := errors.New("broken")
	fails := func(context.Context) (Sample, error) { return Sample{}, broken }
	resets := func(context.Context) error { return broken }
	for _, c := range []Contestant{{Name: "it", Sample: fails}, {Name: "it", Sample: fails, Reset: resets}} {
		_, err := Contest{Keys: []string{"work"}, Contestants: []Contestant{c}, Rounds: 1}.run(t.Context())
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "work: it") {
			t.Error(err)
		}
	}
}
