package tasks

import (
	"context"
	"errors"
	"time"
)

// An Observer is told of the operations of the stores in this process, for metrics. Any
// of its funcs may be nil.
//
// These rules hold for each of them:
//
//   - It is called on the goroutine of the Store's or Run's method, after the backend has
//     answered and before the method returns, so the caller waits for it: it must not
//     block. No lock is held. Calls of several goroutines overlap.
//   - ctx is the method's, and may be done.
//   - The task is lent: it must be neither changed nor kept. It has owner, id and payloads,
//     which are not for metrics.
//   - A panic reaches the caller of the method. The write stays in place.
//   - Each event is reported once, by the process that wrote it, however many replicas
//     there are. A write whose outcome stays unknown, and an expiry, are left out.
type Observer struct {
	// Created is called when Create has created t, but not when Create returns the task
	// of an earlier call with the same idempotency key.
	Created func(ctx context.Context, t *Task)
	// Acquired is called when Acquire has taken t over. t waited for a runner for wait:
	// since it was created, answered or released. lost says that it was taken from a
	// lost runner; wait then counts from the time at which that runner's lease was
	// found expired.
	Acquired func(ctx context.Context, t *Task, wait time.Duration, lost bool)
	// Ended is called when t has ended; settled says that the store ended it by itself,
	// since it had no runner or ran for too long: t.Error, if any, then has one of the
	// Messages of this package. t.Request is the request from before the end.
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

// changeEnds is called with the error of a method that may meet a limit.
func (o *Observer) changeEnds(ctx context.Context, err error) {
	var limit *LimitError
	if err != nil && o.Refused != nil && errors.As(err, &limit) {
		o.Refused(ctx, limit)
	}
}
