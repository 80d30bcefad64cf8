package taskstore

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskstore/taskstore/internal/hub"
)

// MemoryOptions adjusts a MemoryBackend. The zero value means no limits.
type MemoryOptions struct {
	// MaxRecordsPerOwner is how many records a collection of an owner may have. A create
	// beyond it gives an error that matches [ErrCapacityExceeded]; updates go on. 0 or
	// less: no limit. The limit of a ctx from [WithRecordLimit] overrides it.
	MaxRecordsPerOwner int
	// MaxDataBytes is the greatest length of a record's Data. A longer one gives an
	// error that matches [ErrCapacityExceeded]. 0 or less: no limit.
	MaxDataBytes int
}

// A MemoryBackend keeps records in the process: they end with it and are private to
// it. It is the default to embed, the backend for tests, and the reference for the
// meaning of the contract. It implements [StorageBackend], [Pager], [Batcher],
// [Watcher] and [Clock].
//
// It starts no goroutine and needs no Close. Writes reclaim expired records a few at a
// time, and so does a timer that is set while there are expiring records.
type MemoryBackend struct {
	opts MemoryOptions
	hub  hub.Hub

	mu       sync.RWMutex
	owners   map[string]*memoryCollection    // the default collections; apart, as a lookup by one string is faster
	named    map[hub.Scope]*memoryCollection // all others
	sequence uint64                          // the last record's
	expiring expiryHeap[*memoryCollection]   // the collections with expiring records
	sweeper  *time.Timer                     // nil while no record expires
	sweepAt  int64                           // when sweeper fires, Unix ms
}

var (
	_ StorageBackend = (*MemoryBackend)(nil)
	_ Pager          = (*MemoryBackend)(nil)
	_ Batcher        = (*MemoryBackend)(nil)
	_ Watcher        = (*MemoryBackend)(nil)
	_ Clock          = (*MemoryBackend)(nil)
)

// NewMemoryBackend returns an empty backend. Nil opts mean the defaults.
func NewMemoryBackend(opts *MemoryOptions) *MemoryBackend {
	m := &MemoryBackend{owners: make(map[string]*memoryCollection), named: make(map[hub.Scope]*memoryCollection)}
	if opts != nil {
		m.opts = *opts
	}
	return m
}

// String returns the type's name only: the content of the backend may be personal data.
func (m *MemoryBackend) String() string { return "MemoryBackend" }

// GoString is String, so that %#v prints no owner either.
func (m *MemoryBackend) GoString() string { return m.String() }

// Get implements [StorageBackend].
func (m *MemoryBackend) Get(ctx context.Context, key Key) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	if err := key.Validate(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	r := m.find(key)
	if r == nil || r.expired(time.Now().UnixMilli()) {
		m.mu.RUnlock()
		return Record{}, ErrNotFound
	}
	rec := r.record()
	m.mu.RUnlock()
	rec.Data = bytes.Clone(rec.Data)
	return rec, nil
}

// Delete implements [StorageBackend].
func (m *MemoryBackend) Delete(ctx context.Context, key Key) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := key.Validate(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(key)
	if r == nil {
		return false, nil
	}
	m.remove(r)
	if r.expired(time.Now().UnixMilli()) {
		return false, nil
	}
	m.hint(key, 0)
	return true, nil
}

// ListByPrefix implements [StorageBackend]. It looks at all records of the
// collection and only at them.
func (m *MemoryBackend) ListByPrefix(ctx context.Context, prefix Key) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, err
	}
	records, _ := m.scan(prefix, 0, -1)
	return records, nil
}

// ListPage implements [Pager]. It looks at as many records as it needs to fill the
// page.
func (m *MemoryBackend) ListPage(ctx context.Context, prefix Key, from string, limit int) ([]Record, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if err := prefix.ValidatePrefix(); err != nil {
		return nil, "", err
	}
	if err := ValidatePage(limit); err != nil {
		return nil, "", err
	}
	after, err := DecodeCursor(memoryCursor, prefix, from)
	if err != nil {
		return nil, "", err
	}
	records, last := m.scan(prefix, after, limit)
	if last == 0 {
		return records, "", nil
	}
	return records, EncodeCursor(memoryCursor, prefix, last), nil
}

// scan returns the records of prefix created after the sequence number after, at
// most limit if that is not negative, and the sequence number of the last one it
// returns if there is more to look at.
func (m *MemoryBackend) scan(prefix Key, after uint64, limit int) (records []Record, last uint64) {
	m.mu.RLock()
	c := m.collection(prefix)
	if c == nil {
		m.mu.RUnlock()
		return nil, 0
	}
	now := time.Now().UnixMilli()
	start, _ := slices.BinarySearchFunc(c.order, after+1, func(r *memoryRecord, sequence uint64) int {
		return int(int64(r.sequence) - int64(sequence))
	})
	for _, r := range c.order[start:] {
		if r.removed || r.expired(now) || !strings.HasPrefix(r.task, prefix.Task) {
			continue
		}
		if len(records) == limit {
			break
		}
		records = append(records, r.record())
		last = r.sequence
	}
	more := len(c.order) > 0 && len(records) == limit && c.order[len(c.order)-1].sequence > last
	m.mu.RUnlock()

	for i := range records {
		records[i].Data = bytes.Clone(records[i].Data)
	}
	if !more {
		last = 0
	}
	return records, last
}

// CleanupExpired implements [StorageBackend].
func (m *MemoryBackend) CleanupExpired(ctx context.Context) (int, error) {
	removed := 0
	for {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		n := m.sweepSome()
		removed += n
		if n < reclaimPerSweep {
			return removed, nil
		}
	}
}

// Watch implements [Watcher].
func (m *MemoryBackend) Watch(ctx context.Context, prefix Key) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if err := prefix.ValidatePrefix(); err != nil {
			yield(Change{}, err)
			return
		}
		w := m.hub.Join(scopeOf(prefix), prefix.Task)
		defer m.hub.Leave(w)
		w.Lost()
		w.Run(ctx, changes(prefix, yield))
	}
}

// Now implements [Clock]. It returns the process's time.
func (m *MemoryBackend) Now(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}
