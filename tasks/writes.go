package tasks

import (
	"context"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// Two records belong to a task of an owner: an entry that counts it until its end, and
// the record of its idempotency key. They live and die with the task, since each write
// that creates them, ends them or changes their expiry is one batch with the task. The
// task comes first: its name tells whether a batch whose answer was lost was applied.

// The positions of the writes in a batch.
const (
	taskWrite = iota
	activeWrite
	keyWrite
)

// anyNumber is the limit of an unlimited create.
const anyNumber = -1

// gone returns a value that removes the record.
func gone() taskstore.Value { return taskstore.Value{ExpiresAt: time.UnixMilli(1)} }

// birth returns the writes that create r. version is the one that the record of its key
// must have.
func (s *Store) birth(ctx context.Context, r *record, version taskstore.Version) []taskstore.Write {
	limit := func(most int) int {
		if most <= 0 {
			return anyNumber
		}
		return most
	}
	writes := together(r, r.value(), taskstore.Value{ExpiresAt: r.ExpiresAt}, keyValue(r, r.ExpiresAt))
	// The ctx may carry a limit of the caller's for this owner.
	writes[taskWrite].MaxRecords = limit(taskstore.RecordLimit(ctx, s.opts.MaxTasks))
	writes[activeWrite].MaxRecords = limit(s.opts.MaxActive)
	if r.key != "" {
		writes[keyWrite].Expected = version
	}
	return writes
}

// write replaces cur by next, and makes the records that belong to it end or expire
// with it.
func (s *Store) write(ctx context.Context, cur, next *record) (taskstore.Version, error) {
	ends := next.Status.Terminal()
	if !ends && next.ExpiresAt.Equal(cur.ExpiresAt) {
		return s.backend.PutIfVersion(ctx, storedKey(cur.Owner, cur.ID), next.value(), cur.Version)
	}
	entry := taskstore.Value{ExpiresAt: next.ExpiresAt}
	if ends {
		entry = gone()
	}
	// From cur, since an end may drop the request.
	return cur.Version + 1, s.replace(ctx, together(cur, next.value(), entry, keyValue(cur, next.ExpiresAt)))
}

// remove removes r and the records that belong to it, except the registry entry.
func (s *Store) remove(ctx context.Context, r *record) error {
	return s.replace(ctx, together(r, gone(), gone(), gone()))
}

// replace makes writes, those of an existing task. A damaged entry or key would keep
// the task from ending for ever: replace deletes it first, and the writes create it
// anew. If an index is damaged, the record stays.
func (s *Store) replace(ctx context.Context, writes []taskstore.Write) error {
	err := taskstore.PutBatch(ctx, s.backend, writes)
	for range writes[activeWrite:] {
		var refused *taskstore.BatchError
		if undecided(err) || !errors.Is(err, taskstore.ErrCorrupt) || !errors.As(err, &refused) || refused.Index == taskWrite {
			break
		}
		key := writes[refused.Index].Key
		if _, got := s.backend.Get(ctx, key); !errors.Is(got, taskstore.ErrCorrupt) && !errors.Is(got, taskstore.ErrNotFound) {
			break
		}
		if _, deleted := s.backend.Delete(ctx, key); deleted != nil {
			break
		}
		err = taskstore.PutBatch(ctx, s.backend, writes)
	}
	return err
}

// together returns the writes that put task in the place of r, with entry and key.
func together(r *record, task, entry, key taskstore.Value) []taskstore.Write {
	writes := []taskstore.Write{
		{Key: storedKey(r.Owner, r.ID), Value: task, Expected: r.Version},
		{Key: activeKey(r.Owner, r.ID), Value: entry, Expected: taskstore.AnyVersion, MaxRecords: anyNumber},
	}
	if r.key != "" {
		writes = append(writes, taskstore.Write{
			Key: idempotencyKey(r.Owner, r.key), Value: key, Expected: taskstore.AnyVersion, MaxRecords: anyNumber,
		})
	}
	return writes
}

// value returns r as it is stored.
func (r *record) value() taskstore.Value {
	return taskstore.Value{Data: r.encode(), ExpiresAt: r.ExpiresAt}
}

// limited returns err, or a LimitError if the backend has refused one more task.
func limited(err error) error {
	var full *taskstore.CapacityError
	if !errors.As(err, &full) || full.Limit != taskstore.LimitRecords {
		return err
	}
	limit := LimitTasks
	var refused *taskstore.BatchError
	if errors.As(err, &refused) && refused.Index == activeWrite {
		limit = LimitActive
	}
	return &LimitError{Limit: limit, Max: int(full.Max), Asked: int(full.Asked)}
}

// isActiveLimit reports whether err says that the owner has reached MaxActive.
func isActiveLimit(err error) bool {
	var limit *LimitError
	return errors.As(err, &limit) && limit.Limit == LimitActive
}
