package mcptasks

import (
	"context"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// Detach has the task go on in another process, which opens the returned reference by
// [tasks.Store.Open] on the same store. Send it there, and return. This process keeps no
// goroutine and no lease: the task outlives it, and no replica runs it again, also if its
// tool has Retry. A call that is not a task yet becomes one. The deadline is that of
// [tasks.Run.Detach]: the task fails unless its work has been ended or extended by then.
// 0: the task's TTL.
//
// Until the handler returns, its ctx lives, and SetStatusMessage and the like go on. Its
// result is ignored, but one with IsError, an error, a panic or questions end the task as
// without Detach, and questions end it as failed: the other process may not have got the
// work. So return an error only if the reference was not sent, and mind that the SDK
// checks the result of a tool with an output schema, also here. If this process dies
// before it has sent the reference, the task fails at the deadline: give a short one, and
// have the other process call [tasks.Run.Extend] when it takes up the work.
//
// The other process sees the last SaveState as the State of the task, byte for byte.
// Detach again for a new reference; the former is then refused.
//
// In a call that can only be answered synchronously, for which [FromContext] returns nil,
// the error is [ErrSynchronous]; others are those of Promote and of tasks.Run.Detach.
// With an error the task, if there is one, is the handler's as before, unless the error
// matches [github.com/taskstore/taskstore.ErrOutcomeUnknown].
func (t *Task) Detach(ctx context.Context, deadline time.Duration) (tasks.Ref, error) {
	if t == nil {
		return "", ErrSynchronous
	}
	if err := t.e.promote(ctx); err != nil {
		return "", err
	}
	return t.e.detach(ctx, deadline)
}

func (e *execution) detach(ctx context.Context, deadline time.Duration) (tasks.Ref, error) {
	e.saves.Lock()
	defer e.saves.Unlock()
	e.mu.Lock()
	run, state, stop := e.run, e.state.User, e.stop
	e.mu.Unlock()
	stop() // which would take the new token for a loss
	ref, err := run.Detach(ctx, deadline, state)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.detached, e.run = true, e.in.store.RunOf(run.Task())
	case !e.detached && !e.over:
		e.stop = e.keep(run)
	}
	return ref, err
}

func (e *execution) isDetached() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.detached
}

// rest stops renewing the lease.
func (e *execution) rest() {
	e.mu.Lock()
	stop := e.stop
	e.over = true
	e.mu.Unlock()
	stop()
}
