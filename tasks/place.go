package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskstore/taskstore"
)

// place stores r, a new task, and all that belongs to it. Where its key has a task
// already, that is returned and r is not stored.
func (s *Store) place(ctx context.Context, r *record, now time.Time) (existing *record, err error) {
	if !r.Resumable {
		return s.insert(ctx, r, now)
	}
	entry, err := s.register(ctx, &r.Task) // before the task, so that there is none that nobody would find
	if err == nil {
		existing, err = s.insert(ctx, r, now)
	}
	unused := existing != nil || err != nil && !undecided(err) || entry.Key != registryKey(r.Owner, r.ID)
	if unused && entry.Version != 0 {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		_ = s.drop(undo, entry)
	}
	return existing, err
}

// undoTime is how long a Create that fails may outlast its ctx.
const undoTime = time.Second

// maxUnknown is how many times in a row a write is tried whose answers get lost.
const maxUnknown = 4

// insert stores r, a new task, with its entry and its key, in one write. Where its key
// has a task already, that is returned and nothing stored.
//
// A key without a task is of a task that went while both were looked at. Found again, it
// is what a process left that died between the writes of a backend that has to make them
// one by one, or is slow between them: then r takes over the key and the id, so that of
// the two only one can make the task.
func (s *Store) insert(ctx context.Context, r *record, now time.Time) (existing *record, err error) {
	var (
		id       = r.ID
		alone    string            // the id that the key has and that has no task
		version  taskstore.Version // the one that the key's record must have
		looked   bool              // for room
		unknown  error             // a lost answer: that write may be applied yet
		lost     int               // how many answers got lost
		conflict error
	)
	for attempt := range maxAttempts {
		if err := backoff(ctx, max(attempt-1, 0)); err != nil {
			return nil, then(unknown, err)
		}
		refused := limited(taskstore.PutBatch(ctx, s.backend, s.birth(ctx, r, version)))
		switch {
		case refused == nil:
			r.Version = 1
			return nil, nil
		case undecided(refused):
			if unknown, lost = refused, lost+1; lost == maxUnknown {
				return nil, refused
			}
		case errors.Is(refused, taskstore.ErrVersionConflict):
			conflict = refused
		case !errors.Is(refused, ErrLimit):
			return nil, then(unknown, refused)
		}
		var key keyRecord
		var there *record
		err := error(ErrNotFound)
		if r.key != "" || !errors.Is(refused, ErrLimit) {
			key, there, err = s.holder(ctx, r)
		}
		switch {
		case err == nil && there.write == r.write: // the one whose answer got lost
			r.Version, r.Task = there.Version, there.Task
			return nil, nil
		case err == nil && r.key == "": // two equal random ids
			return nil, &taskstore.VersionConflictError{Actual: there.Version}
		case err == nil && key.request != hash(r.Request):
			return nil, then(unknown, ErrIdempotencyMismatch)
		case err == nil:
			return there, nil
		case !errors.Is(err, ErrNotFound):
			return nil, then(unknown, err)
		case errors.Is(refused, ErrLimit):
			if looked || !isActiveLimit(refused) || !s.makeRoom(ctx, r.Owner, now) {
				return nil, then(unknown, refused)
			}
			looked = true
		case key.id == "" || key.id != alone:
			r.ID, alone, version = id, key.id, 0
		case key.request != hash(r.Request):
			return nil, then(unknown, ErrIdempotencyMismatch)
		default:
			r.ID, version = key.id, key.version
			if r.Resumable {
				if _, err := s.register(ctx, &r.Task); err != nil {
					return nil, then(unknown, err)
				}
			}
		}
	}
	return nil, then(unknown, &ContentionError{Attempts: maxAttempts, Err: conflict})
}

// holder returns the key's record, if r has a key and there is one, and the task that
// stands where r is to stand.
func (s *Store) holder(ctx context.Context, r *record) (key keyRecord, there *record, err error) {
	id := r.ID
	if r.key != "" {
		raw, err := s.backend.Get(ctx, idempotencyKey(r.Owner, r.key))
		if errors.Is(err, taskstore.ErrNotFound) {
			return keyRecord{}, nil, ErrNotFound
		}
		if err != nil {
			return keyRecord{}, nil, err
		}
		if key, err = decodeKey(raw.Data); err != nil {
			return keyRecord{}, nil, err
		}
		key.version, id = raw.Version, key.id
	}
	there, err = s.read(ctx, storedKey(r.Owner, id))
	return key, there, err
}

// undecided reports whether err leaves open whether a write was applied.
func undecided(err error) bool { return errors.Is(err, taskstore.ErrOutcomeUnknown) }

// then returns err; where the outcome of an earlier write is unknown, with that.
func then(unknown, err error) error {
	if unknown == nil || undecided(err) {
		return err
	}
	return fmt.Errorf("%w; then: %w", unknown, err)
}
