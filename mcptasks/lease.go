package mcptasks

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// keep renews the lease of run at a third of its length, and ends the handler's
// ctx when a cancel is requested or the task is lost. Changes brings a cancel
// from another replica at once; a renewal sees it too, so that lost hints only
// make it later. stop ends it and waits until nothing is left.
func (e *execution) keep(run *tasks.Run) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.ctx))
	var both sync.WaitGroup
	both.Go(func() { e.renew(ctx, run) })
	both.Go(func() { e.follow(ctx, run) })
	return func() { cancel(); both.Wait() }
}

func (e *execution) renew(ctx context.Context, run *tasks.Run) {
	every := time.NewTicker(max(e.in.store.Options().Lease/3, time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		t, err := run.Renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, tasks.ErrLeaseLost):
			e.cancel(ErrLost)
			return
		case err != nil:
			// While nobody has taken the task it is still ours.
			e.in.log.Warn("mcptasks: a lease could not be renewed", "error", err)
		case t.CancelRequested:
			e.cancel(ErrCancelled)
		}
	}
}

func (e *execution) follow(ctx context.Context, run *tasks.Run) {
	mine := run.Task()
	for ctx.Err() == nil {
		for t, err := range e.in.store.Changes(ctx, mine.Owner, mine.ID) {
			switch {
			case errors.Is(err, tasks.ErrNotFound):
				e.cancel(ErrLost)
				return
			case err != nil: // the loop is over
			case t.Status == tasks.Cancelled:
				e.cancel(ErrCancelled) // by a reader, after a late renewal
				return
			case t.Status.Terminal() || t.Lease.Token != mine.Lease.Token:
				e.cancel(ErrLost)
				return
			case t.CancelRequested:
				e.cancel(ErrCancelled)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(e.in.store.Options().PollInterval):
		}
	}
}
