package taskstore

import (
	"bytes"
	"context"
	"time"
)

// A memoryWrite is one write; all checks that need no lock have been made.
type memoryWrite struct {
	key       Key
	data      []byte
	expiresAt int64 // Unix ms, 0: no expiry
	expected  Version
	any       bool // instead of expected: any version, or no record
	limit     int  // of records in the collection, 0: no limit
	actual    Version
	adds      int // the change in the collection's number of records: -1, 0 or 1
}

// Put implements [StorageBackend].
func (m *MemoryBackend) Put(ctx context.Context, key Key, v Value) (Version, error) {
	return m.write(ctx, key, v, memoryWrite{any: true})
}

// PutIfVersion implements [StorageBackend].
func (m *MemoryBackend) PutIfVersion(ctx context.Context, key Key, v Value, expected Version) (Version, error) {
	return m.write(ctx, key, v, memoryWrite{expected: expected})
}

func (m *MemoryBackend) write(ctx context.Context, key Key, v Value, w memoryWrite) (Version, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := key.Validate(); err != nil {
		return 0, err
	}
	if err := v.Validate(m.opts.MaxDataBytes); err != nil {
		return 0, err
	}
	w.key, w.data, w.expiresAt = key, bytes.Clone(v.Data), v.expiryMillis()
	w.limit = RecordLimit(ctx, m.opts.MaxRecordsPerOwner)

	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().UnixMilli()
	if err := m.check(&w, 0, now); err != nil {
		return 0, err
	}
	m.apply(&w, now)
	m.reclaim(now, reclaimPerWrite)
	return w.actual + 1, nil
}

// PutBatch implements [Batcher].
func (m *MemoryBackend) PutBatch(ctx context.Context, writes []Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ValidateBatch(writes, m.opts.MaxDataBytes); err != nil {
		return err
	}
	batch := make([]memoryWrite, len(writes))
	for i, w := range writes {
		batch[i] = memoryWrite{
			key: w.Key, data: bytes.Clone(w.Data), expiresAt: w.expiryMillis(),
			expected: w.Expected, any: w.Expected == AnyVersion,
			limit: w.RecordLimit(ctx, m.opts.MaxRecordsPerOwner),
		}
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().UnixMilli()
	for i := range batch {
		added := 0
		for _, earlier := range batch[:i] {
			if earlier.key.Collection == batch[i].key.Collection {
				added += earlier.adds
			}
		}
		if err := m.check(&batch[i], added, now); err != nil {
			return &BatchError{Index: i, Err: err}
		}
	}
	for i := range batch {
		m.apply(&batch[i], now)
	}
	m.reclaim(now, reclaimPerWrite*len(batch))
	return nil
}

// The caller of the rest holds m.mu.

// check refuses w, or completes it. Earlier writes of its batch change the collection by
// added records. It removes only past records.
func (m *MemoryBackend) check(w *memoryWrite, added int, now int64) error {
	r := m.find(w.key)
	if r != nil && r.expired(now) {
		m.remove(r)
		r = nil
	}
	w.actual = 0
	if r != nil {
		w.actual = r.version
	}
	switch {
	case !w.any && w.actual != w.expected:
		return &VersionConflictError{Key: w.key, Expected: w.expected, Actual: w.actual}
	case w.actual == MaxVersion:
		return &CapacityError{Limit: LimitVersions, Max: uint64(MaxVersion), Asked: uint64(MaxVersion) + 1}
	case w.past(now):
		if r != nil {
			w.adds = -1
		}
	case r == nil:
		w.adds = 1
		return m.admit(w, added, now)
	}
	return nil
}

// past reports that w leaves no record.
func (w *memoryWrite) past(now int64) bool { return w.expiresAt != 0 && w.expiresAt <= now }

// admit refuses one more record of a collection if that is beyond the limit. It first
// removes expired records, as many of the collection's own as necessary, so that no owner
// waits for the cleanup of other owners' records.
func (m *MemoryBackend) admit(w *memoryWrite, added int, now int64) error {
	c := m.collection(w.key)
	for w.limit != 0 {
		live := added
		if c != nil {
			live += len(c.tasks)
		}
		if live < w.limit {
			break
		}
		if c == nil || len(c.expiring) == 0 || !c.expiring[0].expired(now) {
			return &CapacityError{Limit: LimitRecords, Max: uint64(w.limit), Asked: uint64(live) + 1}
		}
		m.remove(c.expiring[0])
	}
	return nil
}

// apply makes a write that check has completed.
func (m *MemoryBackend) apply(w *memoryWrite, now int64) {
	r := m.find(w.key)
	if w.past(now) {
		if r != nil {
			m.remove(r)
		}
		m.hint(w.key, 0)
		return
	}
	if r == nil {
		r = m.insert(w.key)
	}
	r.data, r.version = w.data, w.actual+1
	m.setExpiry(r, w.expiresAt, now)
	m.hint(w.key, r.version)
}
