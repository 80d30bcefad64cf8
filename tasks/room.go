package tasks

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/taskstore/taskstore"
)

const (
	// maxTurn is the longest time for which an owner's active tasks are not looked at
	// again.
	maxTurn = 10 * time.Second
	// maxLook is for how long, counted from the Create that waits for it, a look goes on
	// to the next task.
	maxLook = time.Second
)

// makeRoom looks at the active tasks of an owner who may have no more, which settles the
// orphans among them: those whose clients do not ask. It reports whether it was its turn:
// of all replicas one looks, and then nobody for a while, so that a flood of creates
// that are refused reads the tasks no more often.
func (s *Store) makeRoom(ctx context.Context, owner string, now time.Time) bool {
	turn := taskstore.Value{ExpiresAt: now.Add(min(s.opts.Lease, maxTurn))}
	if _, err := s.backend.PutIfVersion(taskstore.WithRecordLimit(ctx, 0), turnKey(owner), turn, 0); err != nil {
		return false
	}
	entries, err := s.backend.ListByPrefix(ctx, activeKey(owner, ""))
	if err != nil && !errors.Is(err, taskstore.ErrCorrupt) {
		return false
	}
	// At random, so that looks which are cut short come to all of them.
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
