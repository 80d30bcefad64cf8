package sqlitestore

import (
	"context"
	"fmt"
)

// Limits of the removal of expired records and of free pages. Readers do not depend on it:
// every statement compares the expiry with the clock.
const (
	reclaimPerWrite = 8    // more than a write adds, so that expired records do not pile up
	reclaimPerSweep = 1000 // records that CleanupExpired removes in a transaction
	vacuumPages     = 64   // pages given back in a transaction
	sparePages      = 256  // free pages kept for the next records
)

// CleanupExpired implements [taskstore.StorageBackend]. It also gives the file's free pages
// back to the file system.
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
			return removed, err // the writer may still be using swept
		}
		removed += swept
		if swept < reclaimPerSweep && free == 0 {
			return removed, nil
		}
	}
}

// tidy does a transaction's share of the cleanup, in proportion to its writes.
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

// vacuum gives some free pages back to the file system if there are more than spare. It
// returns the number of pages above spare that are left.
func (t *tx) vacuum(spare int) (left int) {
	free := 0
	t.row(freeSQL).scan(&free)
	if free > spare {
		t.plain(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", min(free-spare, vacuumPages)))
		free -= vacuumPages
	}
	return max(free-spare, 0)
}
