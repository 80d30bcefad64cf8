package pgstore

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	sweepInterval = 10 * time.Second // the maximum; the minimum is half of it
	sweepSize     = 1000             // records removed at a time
	sweepTimeout  = 5 * time.Second
	// changesKept is the minimum age of changes that a sweep removes.
	changesKept = 2 * changesLast
	// lockedPause is how long CleanupExpired waits before it retries scopes that other
	// transactions have locked.
	lockedPause = 20 * time.Millisecond
)

// A sweeper removes expired records and old changes now and then, while its backend writes.
// Sweeps run in the background.
type sweeper struct {
	mu      sync.Mutex
	due     time.Time // of the next sweep
	running sync.WaitGroup
	over    bool // the backend closes
	// Two readings of the horizon. Changes before the older one may be removed.
	older, newer horizon
}

// A horizon is a transaction before which all transactions had ended at the instant at.
type horizon struct {
	tx []byte // null: no reading
	at time.Time
}

// wrote starts a sweep if one is due.
func (s *sweeper) wrote(b *Backend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.due) || s.over {
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
		_, _, _ = s.sweep(ctx, b) // the next sweep does the rest
	})
}

// wait keeps new sweeps from beginning, and waits for the one in progress.
func (s *sweeper) wait() {
	s.mu.Lock()
	s.over = true // no sweep begins
	s.mu.Unlock()
	s.running.Wait() // without mu, which the sweep needs
}

// sweep removes some expired records and old changes. It returns the number of records
// removed and the number of scopes skipped because they were locked.
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

// horizon returns the transaction before which changes may be removed.
func (s *sweeper) horizon(now time.Time) []byte {
	if s.newer.tx != nil && now.Sub(s.newer.at) > changesKept {
		s.older, s.newer = s.newer, horizon{}
	}
	return s.older.tx
}

// CleanupExpired implements [taskstore.StorageBackend]. Programs need not call it: processes
// that write clean up.
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
