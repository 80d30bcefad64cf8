package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// errTakenBack says that a task was made and removed again, since its key had
// gone to another.
var errTakenBack = errors.New("tasks: the idempotency key went to another task")

// maxBeside is how many bytes of a task are written beside its entry, before it is
// known whether the owner may have one more. A flood of creates that are refused
// costs that much each.
const maxBeside = 4 << 10

// place stores r, a new task, and what is kept beside it. Where its key has a
// task already, that is returned.
func (s *Store) place(ctx context.Context, r *record, now time.Time) (existing *record, err error) {
	if r.key == "" && !r.Resumable && len(r.Request)+len(r.StatusMessage) <= maxBeside {
		return nil, s.placeAlone(ctx, r, now)
	}
	var key taskstore.Record // as this call wrote it
	if r.key != "" {
		existing, key, err = s.claimKey(ctx, r)
		if err != nil || existing != nil {
			return existing, err
		}
	}
	// Before the task, so that there is none that nobody would find, nor one that
	// a caller with the same key is told of and that is then refused, nor a big one
	// that is written to be taken back.
	entries, err := s.enter(ctx, &r.Task, now)
	if err != nil {
		if r.key != "" {
			if other, readErr := s.read(ctx, storedKey(r)); readErr == nil {
				return s.giveWay(ctx, other, now, key, entries), nil
			}
		}
		s.withdraw(ctx, now, key, entries)
		return nil, err
	}
	other, err := s.insert(ctx, r)
	switch {
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		return nil, err
	case err != nil:
		s.withdraw(ctx, now, key, entries)
		return nil, err
	case other != nil && r.key == "": // two equal random ids
		return nil, &taskstore.VersionConflictError{Actual: other.Version}
	case other != nil:
		return s.giveWay(ctx, other, now, key, entries), nil
	case r.key == "":
		return nil, nil
	}
	held, err := s.holdKey(ctx, r, key, s.keyExpiry(r))
	if err != nil || held.Version != 0 {
		return nil, nil // the task is made; a mark that is missing the next change of its expiry makes up for
	}
	// The key is gone or another task's. Nobody was told of this one yet; one that
	// somebody has found and changed all the same stays.
	if s.drop(ctx, taskstore.Record{Key: storedKey(r), Version: r.Version}, now) != nil {
		return nil, nil
	}
	s.leave(ctx, &r.Task)
	return nil, errTakenBack
}

// giveWay returns other, which somebody who had claimed the key as well has made
// meanwhile, and leaves beside it what it needs.
func (s *Store) giveWay(ctx context.Context, other *record, now time.Time, key taskstore.Record, entries []taskstore.Record) *record {
	_, _ = s.holdKey(ctx, other, key, s.keyExpiry(other))
	if other.Status.Terminal() {
		s.withdraw(ctx, now, taskstore.Record{}, entries)
	}
	return other
}

// placeAlone stores r, a small new task that nothing leads to but its id, and side by
// side with it the entry that counts it, so that it takes no longer than one of
// the two. Where one is refused, the other is taken back: nobody was told the id.
func (s *Store) placeAlone(ctx context.Context, r *record, now time.Time) error {
	var refused error
	var beside sync.WaitGroup
	if t := r.Task; s.opts.MaxActive >= 0 {
		beside.Go(func() { _, refused = s.enter(ctx, &t, now) })
	}
	other, err := s.insert(ctx, r)
	beside.Wait()
	switch {
	case other != nil: // two equal random ids
		return &taskstore.VersionConflictError{Actual: other.Version}
	case refused == nil && (err == nil || undecided(err)):
		return err // a task that comes late is counted
	}
	ctx, cancel := undoing(ctx)
	defer cancel()
	if err == nil || undecided(err) {
		if removeErr := s.remove(ctx, r); removeErr != nil && err == nil {
			err = fmt.Errorf("%w: %w", taskstore.ErrOutcomeUnknown, removeErr) // it is there
		}
	}
	if refused == nil || undecided(refused) {
		s.leave(ctx, &r.Task)
	}
	switch {
	case err == nil:
		return refused
	case refused != nil && undecided(err):
		return then(err, refused)
	}
	return err
}

// undecided reports whether err leaves open whether a write was applied.
func undecided(err error) bool { return errors.Is(err, taskstore.ErrOutcomeUnknown) }

// undoTime is how long a Create that fails may outlast its ctx.
const undoTime = time.Second

// undoing returns the ctx for what a Create that fails takes back.
func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoTime)
}

// remove takes back a task that nobody was told of, whatever its owner did to it.
func (s *Store) remove(ctx context.Context, r *record) (err error) {
	for range maxUnknown {
		if _, err = s.backend.Delete(ctx, storedKey(r)); !undecided(err) {
			break
		}
	}
	return err
}

// withdraw removes what a Create wrote beside a task that it did not make, as far
// as nobody else has written it since: who did counts on it.
func (s *Store) withdraw(ctx context.Context, now time.Time, key taskstore.Record, entries []taskstore.Record) {
	ctx, cancel := undoing(ctx)
	defer cancel()
	if key.Version != 0 && s.drop(ctx, key, now) != nil {
		return // whoever has the key now may have the entries too
	}
	for _, e := range entries {
		_ = s.drop(ctx, e, now)
	}
}

// drop removes a record as it was read or written, not one that was written
// since: a write that is already past removes, and with a version only that one.
func (s *Store) drop(ctx context.Context, raw taskstore.Record, now time.Time) error {
	past := taskstore.Value{ExpiresAt: now.Add(-time.Hour)}
	_, err := s.backend.PutIfVersion(ctx, raw.Key, past, raw.Version)
	return err
}

// storedKey returns where r is stored.
func storedKey(r *record) taskstore.Key {
	return taskstore.Key{Owner: userPrefix + r.Owner, Task: taskPrefix + r.ID}
}

// maxUnknown is how many times in a row a write is tried whose answers get lost.
const maxUnknown = 4

// insert stores r, a new task. Where there is another one under its id, that is
// returned and nothing stored.
func (s *Store) insert(ctx context.Context, r *record) (other *record, err error) {
	key := storedKey(r)
	value := taskstore.Value{Data: r.encode(), ExpiresAt: r.ExpiresAt}
	var unknown error // a lost answer: that write may be applied yet
	for attempt := 0; ; attempt++ {
		version, err := s.backend.PutIfVersion(ctx, key, value, 0)
		if err == nil {
			r.Version = version
			return nil, nil
		}
		if errors.Is(err, taskstore.ErrOutcomeUnknown) {
			unknown = err
		} else if !errors.Is(err, taskstore.ErrVersionConflict) {
			return nil, then(unknown, limited(LimitTasks, err))
		}
		there, readErr := s.read(ctx, key)
		switch {
		case readErr == nil && there.write == r.write: // the one whose answer got lost
			r.Version = there.Version
			r.Task = there.Task
			return nil, nil
		case readErr == nil:
			return there, nil
		case !errors.Is(readErr, ErrNotFound):
			return nil, then(unknown, readErr)
		case attempt+1 == maxUnknown:
			return nil, then(unknown, err)
		}
	}
}

// then returns err; where the outcome of an earlier write is unknown, with that.
func then(unknown, err error) error {
	if unknown == nil || errors.Is(err, taskstore.ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w; then: %w", unknown, err)
}
