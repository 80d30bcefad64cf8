package tasks

import (
	"context"
	"errors"
	"time"

	"github.com/taskstore/taskstore"
)

// What belongs to a task of an owner, besides the task itself: an entry that counts it
// until its end, and the record of its idempotency key. They live and die with it, since
// each write that makes them, ends them or changes when they expire is one batch with the
// task. The task comes first: by it a batch whose answer was lost is recognised.

// The places of the writes in a batch.
const (
	taskWrite = iota
	activeWrite
	keyWrite
)

// anyNumber is the limit of a create that nothing limits.
const anyNumber = -1

// gone is a value that removes.
func gone() taskstore.Value { return taskstore.Value{ExpiresAt: time.UnixMilli(1)} }

// birth returns the writes that make r. version is the one that the record of its key
// must have.
func (s *Store) birth(ctx context.Context, r *record, version taskstore.Version) []taskstore.Write {
	limit := func(most int) int {
		if most <= 0 {
			return anyNumber
		}
		return most
	}
	writes := together(r, r.value(), taskstore.Value{ExpiresAt: r.ExpiresAt}, keyValue(r, r.ExpiresAt))
	// Who calls may know better how much this owner may have.
	writes[taskWrite].MaxRecords = limit(taskstore.RecordLimit(ctx, s.opts.MaxTasks))
	writes[activeWrite].MaxRecords = limit(s.opts.MaxActive)
	if r.key != "" {
		writes[keyWrite].Expected = version
	}
	return writes
}

// write stores next in the place of cur, and has what belongs to it end or expire with
// it.
func (s *Store) write(ctx context.Context, cur, next *record) (taskstore.Version, error) {
	ends := next.Status.Terminal()
	if !ends && next.ExpiresAt.Equal(cur.ExpiresAt) {
		return s.backend.PutIfVersion(ctx, storedKey(cur.Owner, cur.ID), next.value(), cur.Version)
	}
	entry := taskstore.Value{ExpiresAt: next.ExpiresAt}
	if ends {
		entry = gone()
	}
	// Of cur, since an end may drop the request.
	return cur.Version + 1, s.replace(ctx, together(cur, next.value(), entry, keyValue(cur, next.ExpiresAt)))
}

// remove removes r and all that belongs to it, but for what the registry has.
func (s *Store) remove(ctx context.Context, r *record) error {
	return s.replace(ctx, together(r, gone(), gone(), gone()))
}

// replace makes writes, those of a task that is there. An entry or a key that cannot be read
// would keep the task from its end for ever: it is deleted first, and the writes make it anew.
// Where the damage is that of an index, the record stays.
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

// together returns the writes that put task in the place of r, and entry and key with it.
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

// limited returns err, and where the backend has refused a task more, that as the limit
// it is.
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

// isActiveLimit reports whether err says that the owner may have no active task more.
func isActiveLimit(err error) bool {
	var limit *LimitError
	return errors.As(err, &limit) && limit.Limit == LimitActive
}
