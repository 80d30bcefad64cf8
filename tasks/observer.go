package tasks

import (
	"context"
	"errors"
	"time"
)

// An Observer is told what the stores of this process do, for metrics. Any of its funcs
// may be nil.
//
// These rules hold for each of them:
//
//   - It is called on the goroutine of the Store's or Run's method, after the backend has
//     answered and before the method returns, so the caller waits for it: it must not
//     block. No lock is held. Calls of several goroutines overlap.
//   - ctx is the method's, and may be done.
//   - The task is lent: it must be neither changed nor kept. It has owner, id and payloads,
//     which are not for metrics.
//   - A panic reaches the caller of the method. What was written stays written.
//   - What happens is told once, by the process that wrote it, however many replicas there
//     are. A write whose outcome stays unknown, and an expiry, are left out.
type Observer struct {
	// Created is called when Create has made t. One that returned the task of an earlier
	// call with its idempotency key does not call it.
	Created func(ctx context.Context, t *Task)
	// Acquired is called when Acquire has taken t over. It waited for a runner for wait:
	// since it was created, answered or released, or, if lost, since the lease of a runner
	// that was lost was found over.
	Acquired func(ctx context.Context, t *Task, wait time.Duration, lost bool)
	// Ended is called when t has ended; settled says that the store has ended it by
	// itself, since nobody works on it or for too long: then t.Error, if any, has one of the
	// Messages of this package. t.Request is what it was before the end.
	Ended func(ctx context.Context, t *Task, settled bool)
	// Refused is called when a method fails because of a limit of Options.
	Refused func(ctx context.Context, limit *LimitError)
}

// createEnds is called with the results of Create.
func (o *Observer) createEnds(ctx context.Context, t Task, created bool, err error) {
	if created && o.Created != nil {
		o.Created(ctx, &t)
	}
	o.changeEnds(ctx, err)
}

// changeEnds is called with the error of what may have met a limit.
func (o *Observer) changeEnds(ctx context.Context, err error) {
	var limit *LimitError
	if err != nil && o.Refused != nil && errors.As(err, &limit) {
		o.Refused(ctx, limit)
	}
}
