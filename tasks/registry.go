package tasks

import (
	"context"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// The registry has an entry for every resumable task that has not ended, so that any
// replica finds the tasks whose runner is gone; a backend does not list all owners. An
// entry lies under a backend owner of the registry, so it cannot be written in one
// batch with the task: it is written before the task, and removed after the task's end.
// A stale entry may be left; a caller that meets it removes it.

// entryGrace is how long an entry may exist before its task.
const entryGrace = 5 * time.Minute

// register writes the entry of t, which is new or is going to live longer, and returns
// it. The entry lives for as long as the task may, so every writer writes the same.
func (s *Store) register(ctx context.Context, t *Task) (taskstore.Record, error) {
	r := taskstore.Record{Key: registryKey(t.Owner, t.ID), Value: taskstore.Value{
		Data:      entry{owner: t.Owner, id: t.ID, service: t.Service, createdAt: t.CreatedAt}.encode(),
		ExpiresAt: s.latest(t),
	}}
	var err error
	for range maxUnknown {
		// The limit of an owner does not apply to the registry.
		r.Version, err = s.backend.Put(taskstore.WithRecordLimit(ctx, 0), r.Key, r.Value)
		if !undecided(err) {
			break
		}
	}
	return r, err
}

// unregister removes the entry of t, which has ended or was removed. It is best effort.
func (s *Store) unregister(ctx context.Context, t *Task) {
	if t.Resumable {
		_, _ = s.backend.Delete(ctx, registryKey(t.Owner, t.ID))
	}
}

// drop removes an entry in the version that was read or written, but not a later one: a
// write that has expired removes, and with a version only that one.
func (s *Store) drop(ctx context.Context, entry taskstore.Record) error {
	_, err := s.backend.PutIfVersion(ctx, entry.Key, gone(), entry.Version)
	return err
}

// taskOf returns the task of e, the entry in raw, and whether it waits for a runner. It
// removes a stale entry, and skips a task that it cannot read.
func (s *Store) taskOf(ctx context.Context, raw taskstore.Record, e entry) (t Task, waits bool, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return Task{}, false, err
	}
	t, err = s.Get(ctx, e.owner, e.id)
	switch {
	case cannotRead(err):
		return Task{}, false, nil
	case errors.Is(err, ErrNotFound):
		if now.Sub(e.createdAt) > entryGrace { // otherwise it may be about to be created
			_ = s.drop(ctx, raw)
		}
		return Task{}, false, nil
	case err != nil:
		return Task{}, false, err
	case t.Status.Terminal():
		_ = s.drop(ctx, raw)
	}
	return t, s.waits(&t, now), nil
}
