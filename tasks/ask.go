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

// Ask asks questions for a detached task, as RequireInput does, and waits for the last
// answer. It returns the answers by key; the task keeps them until the next questions,
// or until its end.
//
// Called again with the keys of the last questions, Ask does not ask twice: it waits
// for the answers that are missing, or returns the answers. So a worker that restarts
// after a crash repeats the call of its predecessor. A worker that has another question
// keeps the answers by SaveState before it asks.
//
// If the task ends meanwhile, as when the client cancels, the error matches
// [ErrLeaseLost] and [ErrTerminal]. If ctx is done, it is that of ctx. If the task is
// not detached, it matches [ErrInvalid]: the runner of such a task gives up the lease,
// see RequireInput.
func (r *Run) Ask(ctx context.Context, requests map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	ask := r.store.requireInput(requests)
	t, err := r.change(ctx, func(now time.Time, t *record) error {
		switch {
		case !t.Lease.Detached:
			return &InvalidError{Argument: "Run", Reason: "its task is not detached; use RequireInput"}
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
