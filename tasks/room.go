package tasks

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

const (
	// maxTurn is the longest time between two reads of an owner's active tasks.
	maxTurn = 10 * time.Second
	// maxLook is how long after the Create that waits for it makeRoom goes on to the
	// next task.
	maxLook = time.Second
)

// makeRoom reads the active tasks of an owner that has reached MaxActive, which settles
// the orphans among them: those whose clients do not poll. It reports whether it was
// its turn: one of all replicas reads, and then all of them pause, so that a flood of
// refused creates does not read the tasks more often.
func (s *Store) makeRoom(ctx context.Context, owner string, now time.Time) bool {
	turn := taskstore.Value{ExpiresAt: now.Add(min(s.opts.Lease, maxTurn))}
	if _, err := s.backend.PutIfVersion(taskstore.WithRecordLimit(ctx, 0), turnKey(owner), turn, 0); err != nil {
		return false
	}
	entries, err := s.backend.ListByPrefix(ctx, activeKey(owner, ""))
	if err != nil && !errors.Is(err, taskstore.ErrCorrupt) {
		return false
	}
	// At random, so that reads that are cut short still reach every task in time.
	mathrand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	for _, e := range entries {
		if _, err := s.Get(ctx, owner, e.Key.Task); err != nil && !errors.Is(err, ErrNotFound) && !cannotRead(err) {
			break
		}
		if t, err := s.now(ctx); err != nil || t.Sub(now) >= maxLook {
			break
		}
	}
	return true
}
