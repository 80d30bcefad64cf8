package mcptasks

import (
	"context"
	"fmt"
	"time"
)

// handlerTimeout is how long a handler has to return after its ctx ended.
const handlerTimeout = 2 * time.Second

// Shutdown lets the running handlers of all servers finish. From its call on, the servers
// start no handler for a client of the extension, nor for a call with a [Fallback]: calls
// and answers get an error that says to ask another replica. Other calls it leaves to the
// server's own shutdown, as if this package were not there. Every subscriptions/listen
// ends with its result, by which clients know that they should listen to another replica,
// and calls that wait for a task are answered with the task as it is.
//
// The contexts of handlers of tools with [ToolOptions].Retry end at once, with
// [ErrShutdown], so that their tasks are handed to other replicas. The contexts of the
// others end when ctx ends, and their tasks fail.
//
// It returns nil if all handlers have returned and it did not have to end the ctx of any
// of those others, and otherwise an error that wraps ctx's and says how many did not
// return.
func (t *Tasks) Shutdown(ctx context.Context) error { return t.shutdown(ctx, nil) }

// shutdown is Shutdown for one server, with nil for all.
func (t *Tasks) shutdown(ctx context.Context, in *installation) error {
	t.runs.drain(in)
	t.subscriptions.endAll(in)
	t.waits.endAll(in)
	for _, e := range t.runs.of(in) {
		if e.opts.Retry && e.task() != nil && !e.isDetached() {
			e.cancel(ErrShutdown)
		}
	}
	if t.runs.wait(ctx, in) == nil {
		return nil
	}
	told := 0
	for _, e := range t.runs.of(in) {
		if e.ctx.Err() == nil {
			told++
		}
		e.cancel(ErrShutdown)
	}
	waitCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerTimeout)
	defer cancel()
	if t.runs.wait(waitCtx, in) == nil && told == 0 {
		return nil
	}
	left := t.runs.of(in)
	for _, e := range left {
		e.stopStoring()
	}
	return fmt.Errorf("mcptasks: %d handlers were told to end, and %d have not ended: %w", told, len(left), ctx.Err())
}
