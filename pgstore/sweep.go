package pgstore

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	sweepInterval = 10 * time.Second // at most; and half of it at least
	sweepSize     = 1000             // records removed at a time
	sweepTimeout  = 5 * time.Second
	// changesKept is how long changes are kept, at least.
	changesKept = 2 * changesLast
	// lockedPause is how long CleanupExpired waits for scopes that others have locked.
	lockedPause = 20 * time.Millisecond
)

// A sweeper removes expired records and old changes now and then, while its backend writes.
// It runs apart from the writes.
type sweeper struct {
	mu      sync.Mutex
	due     time.Time // of the next sweep
	running sync.WaitGroup
	// Two readings of the horizon behind which all transactions had ended. What lies before
	// the older one is old enough to go.
	older, newer horizon
}

// A horizon is a transaction before which all had ended at an instant.
type horizon struct {
	tx []byte // null: none
	at time.Time
}

// wrote has a sweep begin where one is due.
func (s *sweeper) wrote(b *Backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.due) || b.closed() {
		return
	}
	first := s.due.IsZero()
	s.due = now.Add(sweepInterval/2 + rand.N(sweepInterval/2))
	if first {
		return
	}
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
		defer cancel()
		_, _, _ = s.sweep(ctx, b) // what it misses is for the next one
	})
}

// wait returns when no sweep is under way. The backend is closed.
func (s *sweeper) wait() {
	s.mu.Lock() // so that none begins
	defer s.mu.Unlock()
	s.running.Wait()
}

// sweep removes some of what is past, and reports how many records, and how many scopes it
// passed by.
func (s *sweeper) sweep(ctx context.Context, b *Backend) (removed, locked int, err error) {
	s.mu.Lock()
	before := s.horizon(time.Now())
	s.mu.Unlock()
	at := time.Now()
	r, err := b.ask(ctx, b.functions.sweep, arguments{binary.BigEndian.AppendUint32(nil, sweepSize), before})
	if err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newer.tx == nil {
		s.newer = horizon{r[0][2], at}
	}
	return int(decodeInt(r[0][0])), int(decodeInt(r[0][1])), nil
}

// horizon returns the transaction before which changes may go.
func (s *sweeper) horizon(now time.Time) []byte {
	if s.newer.tx != nil && now.Sub(s.newer.at) > changesKept {
		s.older, s.newer = s.newer, horizon{}
	}
	return s.older.tx
}

// CleanupExpired implements [taskstore.StorageBackend]. Nobody has to call it: processes that
// write clean up.
func (b *Backend) CleanupExpired(ctx context.Context) (removed int, err error) {
	for {
		if err := b.usable(ctx); err != nil {
			return removed, err
		}
		n, locked, err := b.sweeper.sweep(ctx, b)
		removed += n
		switch {
		case err != nil:
			return removed, b.failure("clean up", err)
		case n > 0:
		case locked == 0:
			return removed, nil
		default:
			select {
			case <-time.After(lockedPause):
			case <-ctx.Done():
			case <-b.ctx.Done():
			}
		}
	}
}
