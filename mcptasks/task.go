package mcptasks

import (
	"context"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// A Task is the handler's view of the task it runs as. All methods may be called on nil,
// which [FromContext] returns in a synchronous call: they have no effect then and return
// zero, but for Detach. They may be called by any number of goroutines.
type Task struct{ e *execution }

type taskKey struct{}

// FromContext returns the task that the handler with this ctx runs as, or may
// become by [Task.Promote] or after its Grace. It is nil in a call that can only
// be answered synchronously.
func FromContext(ctx context.Context) *Task {
	t, _ := ctx.Value(taskKey{}).(*Task)
	return t
}

// ID returns the task's id, as clients know it. It is empty as long as the call is not a
// task. Do not log the id of an anonymous task: it is all that guards the task.
func (t *Task) ID() string {
	if t == nil {
		return ""
	}
	run := t.e.task()
	if run == nil {
		return ""
	}
	task := run.Task()
	return wireID(task.Owner, task.ID)
}

// SetStatusMessage tells people how far the work is. In a call that is not a task
// yet, the message is kept for when it becomes one.
func (t *Task) SetStatusMessage(ctx context.Context, message string) error {
	if t == nil {
		return nil
	}
	return t.e.report(ctx, report{message: message})
}

// SetProgress is SetStatusMessage with the progress in numbers, in the handler's own
// unit: current of total, which is 0 if it is not known. The store keeps them beside the
// message, for [Tasks.Account] and [Tasks.Store]; the extension has no place for them on
// the wire. The next message takes their place. Negative ones give an error that matches
// [tasks.ErrInvalid].
func (t *Task) SetProgress(ctx context.Context, current, total int64, message string) error {
	if t == nil {
		return nil
	}
	return t.e.report(ctx, report{message, tasks.Progress{Current: current, Total: total}})
}

// SetPollInterval has the client ask for the task this often from now on, a positive
// duration; anything else gives an error that matches [tasks.ErrInvalid]. In a call that
// is not a task yet, it is kept for when it becomes one.
func (t *Task) SetPollInterval(ctx context.Context, interval time.Duration) error {
	if t == nil {
		return nil
	}
	if interval <= 0 {
		return &tasks.InvalidError{Argument: "PollInterval", Reason: "it must be positive"}
	}
	t.e.mu.Lock()
	run := t.e.run
	if run == nil {
		t.e.interval = interval
	}
	t.e.mu.Unlock()
	if run == nil {
		return nil
	}
	_, err := run.Update(ctx, func(t *tasks.Task) error { t.PollInterval = interval; return nil })
	return err
}

// A report is a handler's account of its work.
type report struct {
	message  string
	progress tasks.Progress
}

// report stores r, or keeps it for when there is a task.
func (e *execution) report(ctx context.Context, r report) error {
	if r.progress.Current < 0 || r.progress.Total < 0 {
		return &tasks.InvalidError{Argument: "Progress", Reason: "it is negative"}
	}
	e.mu.Lock()
	run := e.run
	if run == nil {
		e.reported = r
	}
	e.mu.Unlock()
	if run == nil {
		if e.plain != nil {
			e.plain.progress.say(r.message)
		}
		return nil
	}
	_, err := run.SetProgress(ctx, r.progress, r.message)
	return err
}

// Promote makes a task of a call that is not one yet; when it returns nil the
// task is stored and the client gets, or has, its id. [ErrAnswered] says that the
// client has gone or has its answer. Any other error comes from the store: the
// call is still synchronous.
func (t *Task) Promote(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.e.promote(ctx)
}

// SaveState keeps a checkpoint, which State returns when the handler is called again,
// after input or, with [ToolOptions].Retry, after its replica was lost. Clients do not
// see it. It is dropped when the task ends.
//
// It is stored as text: of the MaxStateBytes of [Options].Tasks it takes 4/3 of its size,
// beside the request state and the keys of the last questions. A larger one gives an
// error that matches [tasks.ErrLimit], also before there is a task.
func (t *Task) SaveState(ctx context.Context, state []byte) error {
	if t == nil {
		return nil
	}
	user := append([]byte{}, state...)
	return t.e.saveState(ctx, func(c *checkpoint) { c.User = user })
}

// State returns the last saved state, or nil.
func (t *Task) State() []byte {
	if t == nil {
		return nil
	}
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	return append([]byte(nil), t.e.state.User...)
}

// saveState stores the checkpoint as change makes it, or keeps it for when there is
// a task, which then has room for it.
func (e *execution) saveState(ctx context.Context, change func(*checkpoint)) error {
	e.saves.Lock()
	defer e.saves.Unlock()
	e.mu.Lock()
	next, run := e.state, e.run
	e.mu.Unlock()
	change(&next)
	state, err := next.encode()
	if e.isDetached() {
		state = next.User // as the runner of the task reads it
	}
	if err != nil {
		return err
	}
	if most := e.in.store.Options().MaxStateBytes; run == nil && most >= 0 && len(state) > most {
		return &tasks.LimitError{Limit: tasks.LimitState, Max: most, Asked: len(state)}
	}
	if run == nil {
		e.mu.Lock()
		if run = e.run; run == nil {
			e.state = next
		}
		e.mu.Unlock()
		if run == nil {
			return nil
		}
		// It has become a task meanwhile, which did not see this checkpoint.
	}
	if _, err := run.SaveState(ctx, state); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state = next
	return nil
}
