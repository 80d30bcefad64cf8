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

// settled returns r, or what it has to become because nobody works on it. A suspicion
// that cannot be written is no reason to keep r from the caller.
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

// A step makes a state the next one.
type step func(now time.Time, t *record) error

// A change is what one call does to a task.
type change struct {
	step     step // nil: nothing but what attend does
	run      *Run // whose lease it needs; nil: none
	cancel   bool // request a cancel first
	tolerant bool // a task that has ended is returned as it is, without an error
}

const (
	maxAttempts = 100
	maxBackoff  = 64 * time.Millisecond
)

// change applies c by compare-and-swap, which is the only way in which a task
// changes after Create.
//
// Every state carries a random name, that of the write that made it. So after a
// write whose answer got lost, reading again mostly decides:
//
//	what is there                         the write
//	a state of that name                  was applied
//	the version that it was to replace    was not, or not yet; it is repeated under
//	                                      the same name, and one of the two is applied
//	the next version, of another name     was not, and never will be
//	a later version, or nothing           cannot be told
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
		unknown  error             // the lost answer, while it is not decided
		replaced taskstore.Version // the version that that write was to replace
		created  time.Time         // tells that task from a later one, whose versions begin anew
		lost     int               // how many answers got lost
		bare     bool              // the record has no room for the task's end beside its request
		full     bool              // it has none for a suspicion
		crammed  bool              // it has none for one more lost run
		conflict error
	)
	give := func(t Task, err error) (Task, error) {
		if unknown != nil && !undecided(err) {
			return Task{}, then(unknown, err)
		}
		return t, err
	}
	for attempt := range maxAttempts {
		if err := backoff(ctx, attempt); err != nil {
			return give(Task{}, err)
		}
		cur, err := s.read(ctx, key)
		if err != nil {
			return give(Task{}, c.gone(err))
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
		now, err := s.now(ctx)
		if err != nil {
			return give(Task{}, err)
		}
		if full && cur.Lease.over(now) && cur.Lease.IdleSince.IsZero() {
			cur.Lease.IdleSince = cur.Lease.ExpiresAt.Add(time.Millisecond) // what all readers agree on
		}
		next, err := s.apply(c, cur, now)
		if err != nil {
			return give(cur.Task.ended(), err)
		}
		if crammed {
			next.LostRuns = cur.LostRuns // rather than that nobody takes it over
		}
		if bare && next.Status.Terminal() {
			next.Request = nil // nobody will run it again
		}
		if same(&cur.Task, &next.Task) {
			if unknown != nil {
				return Task{}, unknown // no need to write now, but that one may still come
			}
			return c.verdict(cur)
		}
		if next.Resumable && !next.Status.Terminal() && next.outlives(&cur.Task) {
			if _, err := s.register(ctx, &next.Task); err != nil {
				return give(Task{}, err)
			}
		}
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
		case next.Status.Terminal() && next.Request != nil && tooBig(err):
			bare = true
		case cur.Lease.IdleSince.IsZero() && !next.Lease.IdleSince.IsZero() && tooBig(err):
			full = true
		case next.LostRuns > cur.LostRuns && tooBig(err):
			crammed = true
		default:
			return give(Task{}, err)
		}
	}
	return give(Task{}, &ContentionError{Attempts: maxAttempts, Err: conflict})
}

// tooBig reports whether err says that the backend takes no record of that size.
func tooBig(err error) bool {
	var capacity *taskstore.CapacityError
	return errors.As(err, &capacity) && capacity.Limit == taskstore.LimitData
}

// backoff waits before an attempt, longer before later ones and never as long as
// others wait.
func backoff(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil // the read that follows looks at ctx
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

// ended returns t if it has ended, as company for an ErrTerminal.
func (t Task) ended() Task {
	if t.Status.Terminal() {
		return t
	}
	return Task{}
}

// gone makes a Run's loss of a missing task.
func (c *change) gone(err error) error {
	if c.run != nil && errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	return err
}

// verdict makes the results of a call that found or wrote r. One that settled the
// task, though it was to do something else, fails.
func (c *change) verdict(r *record) (Task, error) {
	if r.settledNow && !c.tolerant {
		return r.Task.clone(), c.terminal(r.Status)
	}
	return r.Task.clone(), nil
}

// terminal reports a task that has ended; with that, a Run has lost its lease.
func (c *change) terminal(s Status) error {
	err := error(&TerminalError{Status: s})
	if c.run != nil {
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	return err
}

// apply returns the state that c makes of cur at now.
func (s *Store) apply(c change, cur *record, now time.Time) (*record, error) {
	next := cur.clone()
	if cur.Status.Terminal() {
		if c.tolerant {
			return next, nil
		}
		return nil, c.terminal(cur.Status)
	}
	if c.run != nil {
		// The clock has no say here: until somebody else writes, the lease is the
		// runner's.
		if !c.run.holds(&cur.Task) {
			return nil, ErrLeaseLost
		}
		if next.Status == Working {
			next.Lease.IdleSince = time.Time{} // it lives
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

// leave has the registry forget r, which this call has written, if it has ended, and
// tells the observer, who gets the request that r had before.
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
