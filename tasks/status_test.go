package tasks

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var statuses = []Status{Working, InputRequired, Completed, Failed, Cancelled}

// The table of the extension's specification, written down a second time.
func TestTransitionsAreTheSpecification(t *testing.T) {
	assert.Len(t, transitions, len(statuses))
	for _, from := range statuses {
		for _, to := range append(statuses, "", "paused") {
			open := from == Working || from == InputRequired
			known := to != "" && to != "paused"
			assert.Equal(t, open && known && from != to, from.leadsTo(to), "%s to %s", from, to)
		}
	}
	for s, terminal := range map[Status]bool{Working: false, InputRequired: false, Completed: true, Failed: true, Cancelled: true, "": false, "paused": false} {
		assert.Equal(t, terminal, s.Terminal(), "%q", s)
	}
}

// reach returns a new task in the given status.
func reach(t *testing.T, s *Store, status Status) Task {
	t.Helper()
	task := create(t, s, CreateParams{})
	var err error
	switch status {
	case InputRequired:
		task, err = s.RequireInput(ctx, owner, task.ID, inputs("q"))
	case Completed:
		task, err = s.Complete(ctx, owner, task.ID, raw(`{}`))
	case Failed:
		task, err = s.Fail(ctx, owner, task.ID, Error{Code: 1, Message: "m"})
	case Cancelled:
		task, err = s.Cancel(ctx, owner, task.ID)
	}
	require.NoError(t, err)
	require.Equal(t, status, task.Status)
	return task
}

// The table decides about every step by Update, and a refusal leaves the task as it was.
func TestUpdateKeepsToTheTable(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for _, from := range statuses {
			for _, to := range append(statuses, "", "paused") {
				task := reach(t, s, from)
				calls := 0
				got, err := s.Update(ctx, owner, task.ID, func(t *Task) error {
					calls++
					t.Status = to
					switch to {
					case Completed:
						t.Result = raw(`1`)
					case Failed:
						t.Error = &Error{Message: "m"}
					}
					return nil
				})
				switch {
				case from.Terminal():
					var terminal *TerminalError
					require.ErrorAs(t, err, &terminal)
					assert.ErrorIs(t, err, ErrTerminal)
					assert.Equal(t, from, terminal.Status)
					assert.Equal(t, task, got)
					assert.Zero(t, calls, "fn ran on a task that has ended")
				case from == to: // no change, no write
					require.NoError(t, err)
					assert.Equal(t, task, got)
				case from == Working && to == InputRequired: // takes RequireInput
					assert.ErrorIs(t, err, ErrInvalid)
				case from.leadsTo(to):
					require.NoError(t, err)
					assert.Equal(t, to, got.Status)
					assert.Equal(t, task.Revision+1, got.Revision)
					assert.Empty(t, got.InputRequests)
					continue
				default:
					var transition *TransitionError
					require.ErrorAs(t, err, &transition)
					assert.ErrorIs(t, err, ErrTransition)
					assert.Equal(t, TransitionError{From: from, To: to}, *transition)
				}
				assert.Equal(t, task, get(t, s, task.ID))
			}
		}
	})
}

// No method of Store moves a task that has ended.
func TestTerminalStatesAreFinal(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for _, status := range []Status{Completed, Failed, Cancelled} {
			task, run := running(t, s)
			var err error
			switch status {
			case Completed:
				task, err = run.Complete(ctx, raw(`{}`))
			case Failed:
				task, err = run.Fail(ctx, Error{Code: 1, Message: "m"})
			case Cancelled:
				task, err = run.Cancelled(ctx)
			}
			require.NoError(t, err)
			for name, try := range map[string]func() (Task, error){
				"Complete":     func() (Task, error) { return s.Complete(ctx, owner, task.ID, raw(`2`)) },
				"Fail":         func() (Task, error) { return s.Fail(ctx, owner, task.ID, Error{Message: "x"}) },
				"RequireInput": func() (Task, error) { return s.RequireInput(ctx, owner, task.ID, inputs("k")) },
				"Update": func() (Task, error) {
					return s.Update(ctx, owner, task.ID, func(t *Task) error { t.StatusMessage = "x"; return nil })
				},
				"Acquire": func() (Task, error) {
					_, err := s.Acquire(ctx, owner, task.ID, "other")
					return task, err
				},
			} {
				got, err := try()
				assert.ErrorIs(t, err, ErrTerminal, name)
				assert.Equal(t, task, got, name)
			}
			for name, try := range runWrites(run) {
				_, err := try()
				assert.ErrorIs(t, err, ErrTerminal, name)
				assert.ErrorIs(t, err, ErrLeaseLost, name)
			}
			got, err := s.Cancel(ctx, owner, task.ID)
			require.NoError(t, err)
			assert.Equal(t, task, got)
			got, err = s.ProvideInput(ctx, owner, task.ID, inputs("k"), nil)
			require.NoError(t, err)
			assert.Equal(t, task, got)
			assert.Equal(t, task, get(t, s, task.ID))
		}
	})
}
