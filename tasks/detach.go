package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Detach has the work go on elsewhere: in whatever process opens the reference that it
// returns, see [Store.Open]. No runner has to live meanwhile and none renews anything. The
// lease is the deadline: a task on which nobody has ended the work, nor extended the lease
// by [Run.Extend], at that time from now fails with [MessageDeadline], or is cancelled if
// that was requested, when it is next read, and after the grace that every lease has. 0 is
// for the task's TTL, or where it is without end for what is left of [Options.MaxTTL];
// where that is without end too, and for what is not a millisecond or more, up to 100
// years, the error matches [ErrInvalid]. Whatever the deadline, MaxTTL ends the task too.
//
// state takes the place of the checkpoint, for whoever goes on: [Run.Task] of what Open
// returns has it.
//
// The fencing token is a new one, so this Run is over, and so is any reference of an
// earlier Detach: work that was handed on is no more the former worker's. A detached task
// is not Resumable any more, and nobody can acquire it. One that waits for answers cannot be
// detached: the error matches [ErrTransition].
//
// An error that matches [taskstore.ErrOutcomeUnknown] leaves open whether the task is
// detached; then nobody has its reference, and it fails at its deadline. With any other
// error it is not.
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

// deadline returns the instant of a deadline that is asked for at now; 0: the default.
func (s *Store) deadline(t *Task, asked time.Duration, now time.Time) (time.Time, error) {
	if asked == 0 {
		asked = t.TTL
	}
	end := s.mustEnd(t)
	switch {
	case asked == 0 && end.IsZero():
		return time.Time{}, &InvalidError{Argument: "deadline", Reason: "the task is without end, so it must be given"}
	case asked == 0:
		return end, nil
	}
	return now.Add(wholeMillis(asked)), nil
}

// goesOn returns the lease of a detached task after its last answer. The time for which it
// waited is not the worker's, who gets a lease at least to hear of the answers.
func (s *Store) goesOn(l Lease, now time.Time) Lease {
	l.ExpiresAt = l.ExpiresAt.Add(max(now.Sub(l.IdleSince), 0))
	if least := now.Add(s.opts.Lease); l.ExpiresAt.Before(least) {
		l.ExpiresAt = least
	}
	l.IdleSince = time.Time{}
	return l
}

// Open returns the work on the task that ref names, in any process that has the store.
// Whoever has the reference is the runner: opened twice, as a queue that delivers twice
// does, the two count as one, and the first to end the task wins. To shut an earlier worker
// out, detach again.
//
// A reference of a task that has ended, was removed, has expired or was detached again
// gives an error that matches [ErrLeaseLost], with [ErrTerminal] or [ErrNotFound] where
// that is why: there is nothing to do any more. A task whose deadline is over it settles
// like any reader. What is no reference of this store gives an error that matches
// [ErrInvalid]. It is two reads of the backend.
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
	run := &Run{store: s, id: named.id, owner: named.owner, token: named.token, createdAt: named.createdAt, last: t.clone()}
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

// lost says why t, the task of r, is not r's any more. Nil: it is.
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
