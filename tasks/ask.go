package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Ask has a detached task ask questions, as RequireInput does, and waits for the last
// answer. It returns the answers by key; they are kept until the next questions, or the
// end.
//
// Asked again with the same keys it asks nothing twice: it waits for what is missing, or
// returns what was answered. So a worker that starts again after a crash calls it as the
// first one did. Before it asks something else it keeps the answers by SaveState.
//
// The error matches [ErrLeaseLost] when the task ends meanwhile, with [ErrTerminal], as
// when the client cancels; or it is that of ctx. A task that is not detached gives one that
// matches [ErrInvalid]: its runner gives up the lease, see RequireInput.
func (r *Run) Ask(ctx context.Context, requests map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	ask := r.store.requireInput(requests)
	t, err := r.change(ctx, func(now time.Time, t *record) error {
		switch {
		case !t.Lease.Detached:
			return &InvalidError{Argument: "Run", Reason: "its task is not detached, so nobody would wait for the answers"}
		case len(requests) > 0 && t.asked(slices.Sorted(maps.Keys(requests))):
			return nil
		}
		return ask(now, t)
	})
	if err != nil {
		return nil, err
	}
	if t.Status.Terminal() { // a cancel was faster
		return nil, r.lost(&t)
	}
	for t, err := range r.Changes(ctx) {
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
		}
		if err == nil {
			err = r.lost(&t)
		}
		switch {
		case err != nil:
			return nil, err
		case t.Status != InputRequired:
			return t.InputResponses, nil
		}
	}
	return nil, ErrLeaseLost // Changes ends with an error, or after a state that is lost
}

// asked reports whether keys are those of the last round of questions.
func (t *Task) asked(keys []string) bool {
	round := slices.Collect(maps.Keys(t.InputRequests))
	for key := range t.InputResponses {
		round = append(round, key)
	}
	slices.Sort(round)
	return slices.Equal(round, keys)
}
