package mcptasks

import (
	"context"
	"strings"

	"github.com/taskstore/taskstore/tasks"
)

// A Task is what a handler has of the task it runs as. All methods may be called
// on nil, which is what [FromContext] returns in a synchronous call: they do
// nothing then and return zero. They may be called by any number of goroutines.
type Task struct{ e *execution }

type taskKey struct{}

// FromContext returns the task that the handler with this ctx runs as, or may
// become by [Task.Promote] or after its Grace. It is nil in a call that can only
// be answered synchronously.
func FromContext(ctx context.Context) *Task {
	t, _ := ctx.Value(taskKey{}).(*Task)
	return t
}

// ID returns the task's id, as clients know it. It is empty as long as the call
// is not a task. Where it is all that guards an anonymous task, do not log it.
func (t *Task) ID() string {
	if t == nil {
		return ""
	}
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.run == nil {
		return ""
	}
	task := t.e.run.Task()
	return wireID(task.Owner, task.ID)
}

// SetStatusMessage tells people how far the work is. In a call that is not a task
// yet, the message is kept for when it becomes one.
func (t *Task) SetStatusMessage(ctx context.Context, message string) error {
	if t == nil {
		return nil
	}
	run := t.running(func() { t.e.message = message })
	if run == nil {
		return nil
	}
	_, err := run.SetStatusMessage(ctx, message)
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

// Owner returns whose task it is, as [Options.Owner] named it; empty: nobody's in
// particular. It is what a handler has of its caller when it is called again and
// req.Extra is nil. A synchronous call has no Task and always has req.Extra.
func (t *Task) Owner() string {
	if t == nil {
		return ""
	}
	name, named := strings.CutPrefix(t.e.owner, namedPrefix)
	if !named {
		return ""
	}
	return name
}

// SaveState keeps a checkpoint: what State returns when the handler is called
// again, after input or, with [ToolOptions].Retry, after its replica was lost. No
// client sees it. It is dropped when the task ends.
//
// It is stored as text: of the MaxStateBytes of [Options].Tasks it takes 4/3 of its
// size, beside the request state and the keys of the last questions. What is
// beyond gives an error that matches [tasks.ErrLimit], also before there is a task.
func (t *Task) SaveState(ctx context.Context, state []byte) error {
	if t == nil {
		return nil
	}
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.run == nil {
		return t.e.keepState(state)
	}
	return t.e.saveState(ctx, state)
}

// State returns what SaveState saved last, nil if nothing.
func (t *Task) State() []byte {
	if t == nil {
		return nil
	}
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	return append([]byte(nil), t.e.state.User...)
}

// running returns the run, or calls early under the lock if there is none yet.
func (t *Task) running(early func()) *tasks.Run {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.run == nil {
		early()
	}
	return t.e.run
}

// keepState keeps the checkpoint for when there is a task, which then has room for
// it. It is called under mu.
func (e *execution) keepState(user []byte) error {
	next := e.state
	next.User = append([]byte{}, user...)
	state, err := next.encode()
	if err != nil {
		return err
	}
	if most := e.in.store.Options().MaxStateBytes; most >= 0 && len(state) > most {
		return &tasks.LimitError{Limit: tasks.LimitState, Max: most, Asked: len(state)}
	}
	e.state = next
	return nil
}

// saveState is called under mu, so that the last checkpoint is the one that stays.
func (e *execution) saveState(ctx context.Context, user []byte) error {
	next := e.state
	next.User = append([]byte{}, user...)
	state, err := next.encode()
	if err != nil {
		return err
	}
	if _, err := e.run.SaveState(ctx, state); err != nil {
		return err
	}
	e.state = next
	return nil
}
