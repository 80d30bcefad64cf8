package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Detach hands the work to another process: the one that opens the reference that
// Detach returns, see [Store.Open]. Meanwhile this process may end, and the lease is
// not renewed: it is the deadline, counted from now. If the work has not ended the task
// by then, or moved the deadline by [Run.Extend], the task fails with
// [MessageDeadline], or is cancelled if that was requested, when it is next read after
// the grace that every lease has.
//
// A deadline of 0 means the task's TTL or, if the TTL is without end, the rest of
// [Options.MaxTTL]; if that is without end too, the error matches [ErrInvalid]. So does
// the error for any other deadline below a millisecond or above 100 years. MaxTTL ends
// the task before any later deadline.
//
// state replaces the checkpoint: [Run.Task] of the opened Run has it.
//
// Detach issues a new fencing token, so this Run is over, and so is any reference of an
// earlier Detach. A detached task is no longer Resumable and cannot be acquired. A task
// that waits for answers cannot be detached: the error matches [ErrTransition].
//
// An error that matches [taskstore.ErrOutcomeUnknown] leaves open whether the task is
// detached; if it is, its reference is lost and it fails at its deadline. After any
// other error the task is not detached.
func (r *Run) Detach(ctx context.Context, deadline time.Duration, state []byte) (Ref, error) {
	if deadline != 0 {
		if err := checkLease("deadline", deadline); err != nil {
			return "", err
		}
	}
	seal, err := r.store.secret(ctx)
	if err != nil {
		return "", err
	}
	resumable := false
	t, err := r.change(ctx, func(now time.Time, t *record) error {
		if t.Status != Working {
			return &TransitionError{From: t.Status, To: Working}
		}
		until, err := r.store.deadline(&t.Task, deadline, now)
		if err != nil {
			return err
		}
		resumable = t.Resumable
		t.Lease = Lease{Holder: t.Lease.Holder, Token: t.Lease.Token + 1, ExpiresAt: until, Detached: true}
		t.Resumable, t.State = false, state
		return nil
	})
	if err != nil {
		return "", err
	}
	if resumable {
		r.store.unregister(ctx, &Task{Owner: t.Owner, ID: t.ID, Resumable: true})
	}
	return seal.ref(refOf(&t))
}

// deadline returns the instant of a deadline requested at now; 0: the default.
func (s *Store) deadline(t *Task, asked time.Duration, now time.Time) (time.Time, error) {
	if asked == 0 {
		asked = t.TTL
	}
	end := s.mustEnd(t)
	switch {
	case asked == 0 && end.IsZero():
		return time.Time{}, &InvalidError{Argument: "deadline", Reason: "the task has neither TTL nor MaxTTL, so the caller must give one"}
	case asked == 0:
		return end, nil
	}
	return now.Add(wholeMillis(asked)), nil
}

// goesOn returns the lease of a detached task after its last answer. It adds the time
// of the wait, and leaves the worker at least one lease to learn of the answers.
func (s *Store) goesOn(l Lease, now time.Time) Lease {
	l.ExpiresAt = l.ExpiresAt.Add(max(now.Sub(l.IdleSince), 0))
	if least := now.Add(s.opts.Lease); l.ExpiresAt.Before(least) {
		l.ExpiresAt = least
	}
	l.IdleSince = time.Time{}
	return l
}

// Open returns the work on the task that ref names, in any process that has the store.
// The reference alone makes its user the runner: if it is opened twice, as when a queue
// delivers twice, the two count as one runner, and the first to end the task wins. To
// shut an earlier worker out, detach again.
//
// For a task that has ended, was removed, has expired or was detached again the error
// matches [ErrLeaseLost], and [ErrTerminal] or [ErrNotFound] if that is the reason:
// stop working on it. If the deadline has passed, Open settles the task as any reader
// does. If ref is not a reference of this store, the error matches [ErrInvalid]. Open
// is two reads of the backend.
func (s *Store) Open(ctx context.Context, ref Ref) (*Run, error) {
	seal, err := s.storedSecret(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, errNoRef
	}
	if err != nil {
		return nil, err
	}
	named, err := seal.open(ref)
	if err != nil {
		return nil, err
	}
	t, err := s.Get(ctx, named.owner, named.id)
	run := &Run{store: s, id: named.id, owner: named.owner, token: named.token, createdAt: named.createdAt, last: t.clone(), known: true}
	if err == nil {
		err = run.lost(&t)
	} else if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	if err != nil {
		return nil, err
	}
	return run, nil
}

// lost returns the reason why t, the task of r, is no longer r's. Nil: it still is.
func (r *Run) lost(t *Task) error {
	switch {
	case !t.CreatedAt.Equal(r.createdAt) || t.Lease.Token != r.token:
		return ErrLeaseLost
	case t.Status.Terminal():
		return fmt.Errorf("%w: %w", ErrLeaseLost, &TerminalError{Status: t.Status})
	case !r.holds(t):
		return ErrLeaseLost
	}
	return nil
}
