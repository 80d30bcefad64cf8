package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskstore/taskstore"
)

// place stores r, a new task, and the records that belong to it. If its key has a task
// already, place returns that and does not store r.
func (s *Store) place(ctx context.Context, r *record, now time.Time) (existing *record, err error) {
	if !r.Resumable {
		return s.insert(ctx, r, now)
	}
	entry, err := s.register(ctx, &r.Task) // before the task, so that Orphans can find every such task
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

// undoTime is how long Create may take beyond its ctx to undo.
const undoTime = time.Second

// maxUnknown is how many times in a row a write is tried if its answers get lost.
const maxUnknown = 4

// insert stores r, a new task, with its entry and its key, in one write. If its key has
// a task already, insert returns that and does not store r.
//
// A key without a task belongs to a task that was removed while insert read both. If
// insert finds the key again, a process died between the writes of a backend that makes
// them one by one, or is slow between them. Then r takes over the key and the id, so
// that only one of the two processes can create the task.
func (s *Store) insert(ctx context.Context, r *record, now time.Time) (existing *record, err error) {
	var (
		id       = r.ID
		alone    string            // the id that the key names, without a task
		version  taskstore.Version // the version that the key's record must have
		looked   bool              // makeRoom was called
		unknown  error             // a lost answer: its write may still be applied
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
			r.sign()
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
		case err == nil && there.write == r.write: // the write whose answer got lost
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

// holder returns the record of r's key, if there is one, and the task in the place of
// r.
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

// then returns err, with the error of an earlier write if its outcome is unknown.
func then(unknown, err error) error {
	if unknown == nil || undecided(err) {
		return err
	}
	return fmt.Errorf("%w; then: %w", unknown, err)
}
