package tasks

import (
	"context"
	"errors"

	"github.com/taskstore/taskstore"
)

// Delete removes the task in any status, and all that the store keeps with it. A Run of
// it is over. A damaged record, or one of a newer format, is removed too, in more than
// one step.
//
// An error other than [ErrNotFound] says that the task still exists or, if it matches
// [taskstore.ErrOutcomeUnknown], may still exist. If the process dies right after the
// removal, the registry keeps the entry of a Resumable task until Orphans meets it.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	key, err := taskKey(owner, id)
	if err != nil {
		return err
	}
	var unknown, conflict error
	lost := 0
	for attempt := range maxAttempts {
		if err := backoff(ctx, attempt); err != nil {
			return then(unknown, err)
		}
		r, err := s.read(ctx, key)
		switch {
		case unknown != nil && errors.Is(err, ErrNotFound):
			s.unregister(ctx, &Task{Owner: owner, ID: id, Resumable: true})
			return nil
		case cannotRead(err):
			return then(unknown, s.deleteUnread(ctx, owner, id))
		case err != nil:
			return then(unknown, err)
		}
		err = s.remove(ctx, r)
		switch {
		case err == nil:
			s.unregister(ctx, &r.Task)
			return nil
		case undecided(err):
			if unknown, lost = err, lost+1; lost == maxUnknown {
				return err
			}
		case errors.Is(err, taskstore.ErrVersionConflict):
			conflict = err
		default:
			return then(unknown, err)
		}
	}
	return then(unknown, &ContentionError{Attempts: maxAttempts, Err: conflict})
}

// deleteUnread removes a task that cannot be read and therefore does not tell its key.
// The task goes last: while it exists, it can be deleted again.
func (s *Store) deleteUnread(ctx context.Context, owner, id string) error {
	for raw, err := range taskstore.All(ctx, s.backend, idempotencyKey(owner, "")) {
		if errors.Is(err, taskstore.ErrCorrupt) {
			continue
		}
		if err != nil {
			return err
		}
		if k, err := decodeKey(raw.Data); err != nil || k.id != id {
			continue
		}
		if _, err := s.backend.Delete(ctx, raw.Key); err != nil {
			return err
		}
	}
	if _, err := s.backend.Delete(ctx, activeKey(owner, id)); err != nil {
		return err
	}
	existed, err := s.backend.Delete(ctx, storedKey(owner, id))
	switch {
	case undecided(err):
		if _, getErr := s.backend.Get(ctx, storedKey(owner, id)); !errors.Is(getErr, taskstore.ErrNotFound) {
			return err
		}
	case err != nil:
		return err
	case !existed:
		return ErrNotFound
	}
	s.unregister(ctx, &Task{Owner: owner, ID: id, Resumable: true})
	return nil
}
