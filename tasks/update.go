package tasks

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Update changes the task by fn, which gets a copy of the present state and turns it
// into the next one. It returns the task as written.
//
// fn may set Status, StatusMessage, Progress, TTL, PollInterval, Result, Error, State,
// Trace and, to true, CancelRequested. It must leave the rest alone ([ErrInvalid]),
// take a step of the state machine ([ErrTransition]) and keep the limits ([ErrLimit]).
// A step to Working withdraws the questions; the task is then offered as ProvideInput
// says. For the effect of a terminal status on the other fields see [Task].
//
// If another writer was faster, fn is called again on the newer state, so it should
// only compute. An error of fn ends Update and is returned as it is. If fn leaves the
// state as it is, Update does not write. After too many attempts the error matches
// [ErrContention].
//
// Update does not need a lease: it is for external jobs and for changes beside the run.
// On a task that has ended fn is not called; the error matches [ErrTerminal] and comes
// with the task.
func (s *Store) Update(ctx context.Context, owner, id string, fn func(*Task) error) (Task, error) {
	return s.change(ctx, owner, id, change{step: byCaller(fn)})
}

// Complete ends the task with result, any JSON value. Conditions and errors are those
// of Update. If the result and the task's Request do not fit in one record of the
// backend, Request is dropped; if the result still does not fit, the error matches
// [taskstore.ErrCapacityExceeded] and the task goes on: end it with a smaller result,
// or with Fail.
func (s *Store) Complete(ctx context.Context, owner, id string, result json.RawMessage) (Task, error) {
	return s.change(ctx, owner, id, change{step: complete(result)})
}

// Fail ends the task with e. Conditions and errors are those of Complete; if space is
// short, a short message without data fits best.
func (s *Store) Fail(ctx context.Context, owner, id string, e Error) (Task, error) {
	return s.change(ctx, owner, id, change{step: fail(e)})
}

// Cancel asks for the task to end as cancelled. While a runner has the task, Cancel
// only sets CancelRequested: the runner sees that and ends the task, as cancelled or by
// the outcome that it has meanwhile. A task without a runner is cancelled at once. A
// task that has ended is returned as it is, without an error.
func (s *Store) Cancel(ctx context.Context, owner, id string) (Task, error) {
	return s.change(ctx, owner, id, change{cancel: true, tolerant: true})
}

func complete(result json.RawMessage) step {
	return func(_ time.Time, t *record) error {
		t.Status, t.Result = Completed, result
		return nil
	}
}

func fail(e Error) step {
	return func(_ time.Time, t *record) error {
		failed := e // a copy for each call, since checkContent changes it in place
		t.Status, t.Error = Failed, &failed
		return nil
	}
}

// byCaller returns fn as a step, and checks that fn left the other fields alone.
func byCaller(fn func(*Task) error) step {
	return func(_ time.Time, r *record) error {
		before := r.Task.clone()
		t := r.Task
		if err := fn(&t); err != nil {
			return err
		}
		for _, f := range []struct {
			name string
			same bool
		}{
			{"ID", t.ID == before.ID},
			{"Owner", t.Owner == before.Owner},
			{"CreatedAt", t.CreatedAt.Equal(before.CreatedAt)},
			{"UpdatedAt", t.UpdatedAt.Equal(before.UpdatedAt)},
			{"Request", sameRaw(t.Request, before.Request)},
			{"InputRequests", sameInputs(t.InputRequests, before.InputRequests)},
			{"InputResponses", sameInputs(t.InputResponses, before.InputResponses)},
			{"InputKeys", slices.Equal(t.InputKeys, before.InputKeys)},
			{"CancelRequested", t.CancelRequested || !before.CancelRequested},
			{"ExpiresAt", t.ExpiresAt.Equal(before.ExpiresAt)},
			{"Resumable", t.Resumable == before.Resumable},
			{"LostRuns", t.LostRuns == before.LostRuns},
			{"Service", t.Service == before.Service},
			{"Lease", sameLease(t.Lease, before.Lease)},
			{"Revision", t.Revision == before.Revision},
			{"Version", t.Version == before.Version},
		} {
			if !f.same {
				return &InvalidError{Argument: "fn", Reason: "it must not change " + f.name}
			}
		}
		r.Task = t.clone() // fn may keep references to its values
		r.key = before.key // fn cannot copy it into another Task
		return nil
	}
}
