package tasks

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Update changes the task by fn, which is called with a copy of the present state
// and makes it the next one. It returns the task as written.
//
// fn may set Status, StatusMessage, Progress, TTL, PollInterval, Result, Error, State, Trace
// and, to true, CancelRequested. It must leave the rest alone ([ErrInvalid]), take a
// step that the state machine has ([ErrTransition]) and keep the limits
// ([ErrLimit]). A step to Working takes the questions back; the task is
// then offered as ProvideInput says. What a step to a terminal status does to the
// other fields, see [Task].
//
// fn may be called again, on a newer state, when somebody else was faster; so it
// should do nothing but compute. Its error ends Update and is returned as it is.
// Where fn changes nothing, nothing is written. After too many attempts the error
// matches [ErrContention].
//
// Update asks for no lease: it is for external jobs and for what belongs to
// nobody's run. On a task that has ended fn is not called; the error matches
// [ErrTerminal] and comes with the task.
func (s *Store) Update(ctx context.Context, owner, id string, fn func(*Task) error) (Task, error) {
	return s.change(ctx, owner, id, change{step: byCaller(fn)})
}

// Complete ends the task with result, any JSON value. Conditions and errors are
// those of Update. Where the result and the task's Request do not fit in one record
// of the backend, Request is dropped; where that is not enough, the error matches
// [taskstore.ErrCapacityExceeded] and the task goes on: end it with a smaller result,
// or with Fail.
func (s *Store) Complete(ctx context.Context, owner, id string, result json.RawMessage) (Task, error) {
	return s.change(ctx, owner, id, change{step: complete(result)})
}

// Fail ends the task with e. Conditions and errors are those of Complete, so a short
// message and no data are what fits where little else does.
func (s *Store) Fail(ctx context.Context, owner, id string, e Error) (Task, error) {
	return s.change(ctx, owner, id, change{step: fail(e)})
}

// Cancel asks for the task to end as cancelled. While somebody runs it, it only
// sets CancelRequested: the runner sees that and ends the task, as cancelled or
// as what it has become meanwhile. Where nobody runs it, it is cancelled at once.
// A task that has ended is returned as it is, which is no error.
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
		failed := e // a copy for each call: it is brought in order in place
		t.Status, t.Error = Failed, &failed
		return nil
	}
}

// byCaller is a step that a caller wrote.
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
		r.Task = t.clone() // fn may keep what it put in
		return nil
	}
}
