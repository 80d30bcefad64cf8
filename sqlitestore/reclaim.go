package sqlitestore

import (
	"context"
	"fmt"
)

// How expired records and free pages go. That expired records are invisible does not
// depend on any of this: every statement judges by the clock.
const (
	reclaimPerWrite = 8    // more than a write can add, so the dead do not pile up
	reclaimPerSweep = 1000 // what CleanupExpired does in a transaction
	vacuumPages     = 64   // given back in a transaction
	sparePages      = 256  // free pages that are kept, for the next records
)

// CleanupExpired implements [taskstore.StorageBackend]. It gives the file's free pages back
// to the file system too.
func (b *Backend) CleanupExpired(ctx context.Context) (removed int, err error) {
	for {
		if err := b.usable(ctx); err != nil {
			return removed, err
		}
		var swept, free int
		err := b.w.submit(ctx, 0, func(t *tx) error {
			swept = t.reclaim(reclaimPerSweep)
			t.swept = true
			free = t.vacuum(0)
			return nil
		})
		if err != nil {
			return removed, err // and swept is the writer's, who may be at it
		}
		removed += swept
		if swept < reclaimPerSweep && free == 0 {
			return removed, nil
		}
	}
}

// tidy is what every transaction does for the file after so many writes.
func (t *tx) tidy(writes int) {
	if !t.swept {
		t.reclaim(reclaimPerWrite * writes)
	}
	if t.removed > 0 {
		t.vacuum(sparePages)
	}
}

// reclaim removes up to limit expired records and returns how many it removed.
func (t *tx) reclaim(limit int) int {
	if t.broken != nil {
		return 0
	}
	rows, err := t.statements[expiredSQL].QueryContext(background, t.now, limit)
	if err != nil {
		t.broken = err
		return 0
	}
	type expired struct{ seq, scope int64 }
	var all []expired
	for rows.Next() {
		var e expired
		if t.broken = rows.Scan(&e.seq, &e.scope); t.broken != nil {
			break
		}
		all = append(all, e)
	}
	if err := rows.Close(); t.broken == nil {
		t.broken = err
	}
	if err := rows.Err(); t.broken == nil {
		t.broken = err
	}
	for _, e := range all {
		t.remove(e.seq, e.scope)
	}
	return len(all)
}

// vacuum gives some free pages back to the file system, if there are more than spare, and
// returns how many more there are after that.
func (t *tx) vacuum(spare int) (left int) {
	free := 0
	t.row(freeSQL).scan(&free)
	if free > spare {
		t.plain(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", min(free-spare, vacuumPages)))
		free -= vacuumPages
	}
	return max(free-spare, 0)
}
