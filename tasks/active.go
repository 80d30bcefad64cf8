package tasks

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

// The active tasks of an owner, those that have not ended, have their entries in a
// backend owner of their own. So the backend counts them, inside the write, and
// what has ended and is retained does not count.
//
//	a create that dies between      leaves                   until
//	its two writes                  an entry, no task        a sweep after entryGrace
//	  where they are side by side   a task, no entry: it     it ends; its entry is
//	                                is not counted           written if its TTL grows
//	the end and the entry's         an entry, an ended task  the next sweep

const (
	activePrefix = "a:"
	sweepPrefix  = "s:"
	// maxSweepPause is the longest time for which an owner is not swept again.
	maxSweepPause = 10 * time.Second
	// maxSweepTime is for how long, counted from the Create that waits for it, a sweep
	// goes on to the next task.
	maxSweepTime = time.Second
)

// activeKey names the entry of a task among the active ones of its owner.
func activeKey(owner, id string) taskstore.Key {
	return taskstore.Key{Owner: activePrefix + owner, Task: id}
}

// admit writes the entry of t, a new task, if its owner may have one more.
func (s *Store) admit(ctx context.Context, key taskstore.Key, t *Task, now time.Time) (taskstore.Record, error) {
	ctx = taskstore.WithRecordLimit(ctx, s.opts.MaxActive)
	written, err := s.writeEntry(ctx, key, t, now)
	if errors.Is(err, ErrLimit) && s.sweep(ctx, t.Owner, now) {
		written, err = s.writeEntry(ctx, key, t, now)
	}
	return written, err
}

// sweep looks at the owner's active tasks, which settles the orphans among them,
// and removes the entries that are not needed any more. It reports whether it was
// its turn: of all replicas one looks, and then nobody for a while, so that a
// flood of creates that are refused reads the tasks no more often.
func (s *Store) sweep(ctx context.Context, owner string, now time.Time) bool {
	turn := taskstore.Key{Owner: sweepPrefix + owner, Task: "turn"}
	pause := taskstore.Value{ExpiresAt: now.Add(min(s.opts.Lease, maxSweepPause))}
	if _, err := s.backend.PutIfVersion(taskstore.WithRecordLimit(ctx, 0), turn, pause, 0); err != nil {
		return false
	}
	entries, err := s.backend.ListByPrefix(ctx, taskstore.Key{Owner: activePrefix + owner})
	if err != nil && !errors.Is(err, taskstore.ErrCorrupt) {
		return false
	}
	// At random, so that sweeps which are cut short come to all of them.
	mathrand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	for _, e := range entries {
		decoded, err := decodeEntry(e.Data)
		if err != nil {
			continue // not for this version
		}
		if _, _, err := s.taskOf(ctx, e, decoded); err != nil {
			break
		}
		if t, err := s.now(ctx); err != nil || t.Sub(now) >= maxSweepTime {
			break
		}
	}
	return true
}

// limited returns err, and where the backend has refused one record more, that as
// the limit it is.
func limited(limit Limit, err error) error {
	var full *taskstore.CapacityError
	if !errors.As(err, &full) || full.Limit != taskstore.LimitRecords {
		return err
	}
	return &LimitError{Limit: limit, Max: int(full.Max), Asked: int(full.Asked)}
}
