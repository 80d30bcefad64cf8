package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Context returns a copy of ctx that ends when a cancel is requested, with [ErrCancelled]
// as its cause, or when the Run is over, with one that matches [ErrLeaseLost]: the task has
// ended, is another's, or is gone. It hears of that as Changes does: at once where the
// backend is a [taskstore.Watcher], within a poll interval elsewhere. No outage ends it.
//
// The caller must call cancel, after which nothing is left of it. A Run that asks
// questions goes on while it waits if its task is detached, and is over otherwise.
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

// over follows the task and returns why the work on it is over; nil: it cannot tell.
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
