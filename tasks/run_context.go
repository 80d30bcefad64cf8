package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Context returns a copy of ctx that ends when a cancel is requested, with
// [ErrCancelled] as its cause, or when the Run is over, with one that matches
// [ErrLeaseLost]: the task has ended, has another runner, or does not exist any more.
// It learns of that as Changes does: at once if the backend is a [taskstore.Watcher],
// otherwise within a poll interval. An outage does not end it.
//
// The caller must call cancel, which ends the goroutine of Context before it returns. A
// Run that asks questions goes on while it waits if its task is detached, and is over
// otherwise.
func (r *Run) Context(ctx context.Context) (working context.Context, cancel context.CancelFunc) {
	working, end := context.WithCancelCause(ctx)
	var follower sync.WaitGroup
	follower.Go(func() {
		for working.Err() == nil {
			if cause := r.over(working); cause != nil {
				end(cause)
				return
			}
			select { // an error that may heal
			case <-working.Done():
			case <-time.After(r.store.opts.PollInterval):
			}
		}
	})
	return working, func() { end(nil); follower.Wait() }
}

// over follows the task and returns the reason why the work on it is over; nil:
// unknown.
func (r *Run) over(ctx context.Context) error {
	for t, err := range r.Changes(ctx) {
		switch {
		case errors.Is(err, ErrNotFound):
			return fmt.Errorf("%w: %w", ErrLeaseLost, err)
		case err != nil:
			return nil
		case t.CreatedAt.Equal(r.createdAt) && t.Lease.Token == r.token && (t.CancelRequested || t.Status == Cancelled):
			return ErrCancelled
		}
		if err := r.lost(&t); err != nil {
			return err
		}
	}
	return nil
}
