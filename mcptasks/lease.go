package mcptasks

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// keep renews the lease of run at a third of its length, and ends the handler's ctx when
// a cancel is requested or the task is lost. run.Changes brings a cancel from another
// replica at once, and the suspicion of a replica that found the lease expired, which a
// renewal answers. A renewal sees a cancel too, so lost hints only delay it. The caller
// holds mu. stop ends the renewals and waits until they have ended.
func (e *execution) keep(run *tasks.Run) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.ctx))
	suspected := make(chan struct{}, 1)
	var both sync.WaitGroup
	both.Go(func() { e.renew(ctx, run, suspected) })
	both.Go(func() { e.watch(ctx, run, suspected) })
	if o := e.observed; o != nil && o.Trace.Run != run.Task().Trace.Run {
		both.Go(func() { e.saveTrace(ctx, run, o.Trace.Run) })
	}
	return func() { cancel(); both.Wait() }
}

const (
	// A renewal that failed is tried again after a pause between these two.
	minRenewPause = 50 * time.Millisecond
	maxRenewPause = time.Second
)

func (e *execution) renew(ctx context.Context, run *tasks.Run, suspected <-chan struct{}) {
	third := max(e.in.store.Options().Lease/3, time.Millisecond)
	pause, failed, kept := third, false, false
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-suspected:
			timer.Stop()
		}
		t, err := run.Renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, tasks.ErrLeaseLost):
			if t.Status.Terminal() {
				e.see(&t)
			}
			e.cancel(ErrLost)
			return
		case err != nil && failed:
			pause = min(2*pause, maxRenewPause, third)
		case err != nil:
			// Until another replica has taken the task it is still ours.
			e.in.log.renewalFailed(e.call.Params.Name, err)
			pause, failed = min(minRenewPause, third), true
		default:
			pause, failed = third, false
			e.see(&t)
			now := t.Lease.ExpiresAt.Add(-e.in.store.Options().Lease) // a renewal is for a lease
			if !kept && t.TTL > 0 && now.Sub(t.CreatedAt) > t.TTL {
				kept = true
				e.in.log.overstays(e.call.Params.Name)
			}
		}
	}
}

// see ends the handler's ctx if the state of its task says so.
func (e *execution) see(t *tasks.Task) {
	switch {
	case t.Error != nil && t.Error.Message == tasks.MessageOvertime:
		// Renewals and hints see it both.
		e.expired.Do(func() { e.in.log.givenUp(e.call.Params.Name, tasks.MessageOvertime) })
		e.cancel(ErrExpired)
	case t.Status == tasks.Cancelled || t.CancelRequested:
		e.cancel(ErrCancelled)
	case t.Status.Terminal():
		e.cancel(ErrLost)
	}
}

// watchDelay is the age of a run at which its watch begins. Shorter runs, which are most,
// spare the store a subscription and the reads. The first read of the watch sees a cancel
// that came before it.
const watchDelay = 20 * time.Millisecond

func (e *execution) watch(ctx context.Context, run *tasks.Run, suspected chan<- struct{}) {
	select {
	case <-ctx.Done():
	case <-time.After(watchDelay):
	}
	mine := run.Task()
	for ctx.Err() == nil {
		for t, err := range run.Changes(ctx) {
			switch {
			case errors.Is(err, tasks.ErrNotFound):
				e.cancel(ErrLost)
				return
			case err != nil: // the loop is over
			case t.Lease.Token != mine.Lease.Token:
				e.cancel(ErrLost)
				return
			default:
				if !t.Lease.IdleSince.IsZero() {
					select {
					case suspected <- struct{}{}:
					default: // one renewal answers all
					}
				}
				e.see(&t)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(e.in.store.Options().PollInterval):
		}
	}
}
