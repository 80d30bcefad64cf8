package tasks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// settled returns r, or the state that it must take because it has no runner. If a
// suspicion cannot be written, the caller gets r all the same.
func (s *Store) settled(ctx context.Context, r *record) (Task, error) {
	if r.Status != Working {
		return r.Task, nil
	}
	now, err := s.now(ctx)
	if err != nil {
		return Task{}, err
	}
	probe := *r
	if !s.attend(&probe, now) {
		return r.Task, nil
	}
	t, err := s.change(ctx, r.Owner, r.ID, change{tolerant: true})
	if err != nil && !probe.settledNow && !errors.Is(err, ErrNotFound) && !cannotRead(err) {
		return r.Task, nil
	}
	return t, err
}

// A step turns a state into the next one.
type step func(now time.Time, t *record) error

// A change describes one call's change of a task.
type change struct {
	step     step // nil: attend only
	run      *Run // the Run whose lease it needs; nil: it needs no lease
	cancel   bool // request a cancel first
	tolerant bool // a task that has ended is returned as it is, without an error
}

const (
	guess       = -1 // the attempt before the first, for a state that is known without a read
	maxAttempts = 100
	maxBackoff  = 64 * time.Millisecond
)

// change applies c by compare-and-swap. Every change after Create takes this path. The
// attempt guess writes over the state that the Run knows. An error of the step, a change
// that leaves all as it is and a record that is too big count only on a state that was
// read.
//
// Every state carries a random name, that of the write that made it. So after a write
// whose answer got lost, a second read usually decides:
//
//	found by the read                     the write
//	a state of that name                  was applied
//	the version that it was to replace    was not, or not yet; it is repeated under
//	                                      the same name, and one of the two is applied
//	the next version, of another name     was not, and cannot be any more
//	a later version, or no record         cannot be told
//	a task of another CreatedAt           cannot be told: its versions began anew
func (s *Store) change(ctx context.Context, owner, id string, c change) (t Task, err error) {
	if o := s.opts.Observer; o != nil {
		defer func() { o.changeEnds(ctx, err) }()
	}
	key, err := taskKey(owner, id)
	if err != nil {
		return Task{}, err
	}
	var (
		name     = rand.Text()
		settling = rand.Text()     // the name of a write that settles instead
		unknown  error             // the lost answer, until it is decided
		replaced taskstore.Version // the version that the write was to replace
		created  time.Time         // tells the task from a later one, whose versions begin anew
		lost     int               // how many answers got lost
		bare     bool              // the record has no room for both the outcome and the request
		full     bool              // it has no room for a suspicion
		crammed  bool              // it has no room to count one more lost run
		conflict error
	)
	give := func(t Task, err error) (Task, error) {
		if unknown != nil && !undecided(err) {
			return Task{}, then(unknown, err)
		}
		return t, err
	}
	for attempt := guess; attempt < maxAttempts; attempt++ {
		if err := backoff(ctx, attempt); err != nil {
			return give(Task{}, err)
		}
		cur, now, err := s.current(ctx, key, c.run, attempt)
		if err != nil {
			return give(Task{}, c.gone(err))
		}
		if cur == nil {
			continue // the next attempt reads
		}
		if unknown != nil {
			switch {
			case cur.write == name || cur.write == settling:
				cur.settledNow = cur.write == settling
				s.leave(ctx, cur, cur.Request)
				return c.verdict(cur)
			case !cur.CreatedAt.Equal(created):
				return Task{}, unknown
			case cur.Version == replaced:
			case cur.Version == replaced+1:
				unknown = nil
			default:
				return Task{}, unknown
			}
		}
		if full && cur.Lease.over(now) && cur.Lease.IdleSince.IsZero() {
			cur.Lease.IdleSince = cur.Lease.ExpiresAt.Add(time.Millisecond) // all readers compute the same
		}
		next, err := s.apply(c, cur, now)
		if attempt == guess && (err != nil || same(&cur.Task, &next.Task)) {
			continue
		}
		if err != nil {
			return give(cur.Task.ended(), err)
		}
		if crammed {
			next.LostRuns = cur.LostRuns // an uncounted take-over is better than an orphan
		}
		if bare && next.Status.Terminal() {
			next.Request = nil // an ended task does not run again
		}
		if same(&cur.Task, &next.Task) {
			if unknown != nil {
				return Task{}, unknown // the state fits already, but the earlier write may still come
			}
			return c.verdict(cur)
		}
		if next.Resumable && !next.Status.Terminal() && next.outlives(&cur.Task) {
			if _, err := s.register(ctx, &next.Task); err != nil {
				return give(Task{}, err)
			}
		}
		next.sum = 0 // it is no first state
		if next.write = name; next.settledNow {
			next.write = settling
		}
		version, err := s.write(ctx, cur, next)
		switch {
		case err == nil:
			next.Version = version
			s.leave(ctx, next, cur.Request)
			return c.verdict(next)
		case undecided(err):
			if lost++; lost == maxUnknown {
				return Task{}, err
			}
			unknown, replaced, created = err, cur.Version, cur.CreatedAt
		case errors.Is(err, taskstore.ErrVersionConflict):
			conflict = err
		case attempt == guess && tooBig(err): // another caller may have made room
		case next.Status.Terminal() && next.Request != nil && tooBig(err):
			bare = true
		case cur.Lease.over(now) && cur.Lease.IdleSince.IsZero() && !next.Lease.IdleSince.IsZero() && tooBig(err):
			full = true
		case next.LostRuns > cur.LostRuns && tooBig(err):
			crammed = true
		default:
			return give(Task{}, err)
		}
	}
	return give(Task{}, &ContentionError{Attempts: maxAttempts, Err: conflict})
}

// current returns the state to change, and the time. At the attempt guess it is the one
// that r knows, or nil.
func (s *Store) current(ctx context.Context, key taskstore.Key, r *Run, attempt int) (cur *record, now time.Time, err error) {
	if attempt > guess {
		if cur, err = s.read(ctx, key); err == nil {
			now, err = s.now(ctx)
		}
	} else if _, batches := taskstore.As[taskstore.Batcher](s.backend); r != nil && batches {
		// Without batches a crash can free the id of a task, and its versions begin anew.
		if now, err = s.now(ctx); err == nil {
			cur = r.guess(now)
		}
	}
	return cur, now, err
}

// tooBig reports whether err says that the record is too big for the backend.
func tooBig(err error) bool {
	var capacity *taskstore.CapacityError
	return errors.As(err, &capacity) && capacity.Limit == taskstore.LimitData
}

// backoff waits a random time before an attempt, longer before later ones, so that
// concurrent callers spread.
func backoff(ctx context.Context, attempt int) error {
	if attempt <= 0 {
		return nil // the next call of the backend checks ctx
	}
	limit := min(time.Millisecond<<min(attempt, 10), maxBackoff)
	timer := time.NewTimer(mathrand.N(limit))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ended returns t if it has ended, to accompany an ErrTerminal.
func (t Task) ended() Task {
	if t.Status.Terminal() {
		return t
	}
	return Task{}
}

// gone turns the absence of a Run's task into the loss of its lease.
func (c *change) gone(err error) error {
	if c.run != nil && errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	return err
}

// verdict returns the results of a call that found or wrote r. A call that settled the
// task in place of its own change fails.
func (c *change) verdict(r *record) (Task, error) {
	if r.settledNow && !c.tolerant {
		return r.Task.clone(), c.terminal(r.Status)
	}
	return r.Task.clone(), nil
}

// terminal returns the error for a task that has ended; a Run has then lost its lease
// too.
func (c *change) terminal(s Status) error {
	err := error(&TerminalError{Status: s})
	if c.run != nil {
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	return err
}

// apply returns the state into which c turns cur at now.
func (s *Store) apply(c change, cur *record, now time.Time) (*record, error) {
	next := cur.clone()
	if cur.Status.Terminal() {
		if c.tolerant {
			return next, nil
		}
		return nil, c.terminal(cur.Status)
	}
	if c.run != nil {
		// The clock does not matter here: until another caller writes, the lease is the
		// runner's.
		if !c.run.holds(&cur.Task) {
			return nil, ErrLeaseLost
		}
		if next.Status == Working {
			next.Lease.IdleSince = time.Time{} // the runner is alive
		}
	} else {
		next.CancelRequested = next.CancelRequested || c.cancel
		s.attend(next, now)
	}
	if c.step != nil && !next.settledNow {
		if err := c.step(now, next); err != nil {
			return nil, err
		}
	}
	if err := s.finish(cur, next, now); err != nil {
		return nil, err
	}
	return next, nil
}

// leave removes the registry entry of r, which this call has written, and tells the
// observer, which gets the request from before the end. If r has not ended, it returns.
func (s *Store) leave(ctx context.Context, r *record, request json.RawMessage) {
	if !r.Status.Terminal() {
		return
	}
	s.unregister(ctx, &r.Task)
	if o := s.opts.Observer; o != nil && o.Ended != nil {
		ended := r.Task
		ended.Request = request
		o.Ended(ctx, &ended, r.settledNow)
	}
}
