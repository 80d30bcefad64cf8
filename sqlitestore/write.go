package sqlitestore

import (
	"context"

	"github.com/taskstore/taskstore"
)

// A write is one write that passed all checks that do not need the file.
type write struct {
	key      taskstore.Key
	data     []byte
	expires  int64 // Unix ms, 0: no expiry
	expected taskstore.Version
	any      bool // the write applies to any version; expected is ignored
	limit    int  // of records in the collection, 0: no limit
}

// maxDataBytes returns the limit of the options, or SQLite's.
func (b *Backend) maxDataBytes() int {
	if n := b.opts.MaxDataBytes; n > 0 && n < maxData {
		return n
	}
	return maxData
}

// Put implements [taskstore.StorageBackend].
func (b *Backend) Put(ctx context.Context, key taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	return b.write(ctx, key, v, write{any: true})
}

// PutIfVersion implements [taskstore.StorageBackend].
func (b *Backend) PutIfVersion(ctx context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	return b.write(ctx, key, v, write{expected: expected})
}

func (b *Backend) write(ctx context.Context, key taskstore.Key, v taskstore.Value, w write) (taskstore.Version, error) {
	if err := b.usable(ctx); err != nil {
		return 0, err
	}
	if err := key.Validate(); err != nil {
		return 0, err
	}
	if err := v.Validate(b.maxDataBytes()); err != nil {
		return 0, err
	}
	w.key, w.data, w.expires = key, copied(v.Data), expiryMillis(v)
	w.limit = taskstore.RecordLimit(ctx, b.opts.MaxRecordsPerOwner)
	var version taskstore.Version
	err := b.w.submit(ctx, len(w.data), func(t *tx) (err error) {
		version, err = t.put(w)
		return err
	})
	if err != nil {
		return 0, err // the writer may still be using version
	}
	return version, nil
}

// PutBatch implements [taskstore.Batcher].
func (b *Backend) PutBatch(ctx context.Context, writes []taskstore.Write) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if err := taskstore.ValidateBatch(writes, b.maxDataBytes()); err != nil {
		return err
	}
	batch, bytes := make([]write, len(writes)), 0
	for i, w := range writes {
		batch[i] = write{
			key: w.Key, data: copied(w.Data), expires: expiryMillis(w.Value),
			expected: w.Expected, any: w.Expected == taskstore.AnyVersion,
			limit: w.RecordLimit(ctx, b.opts.MaxRecordsPerOwner),
		}
		bytes += len(w.Data)
	}
	return b.w.submit(ctx, bytes, func(t *tx) error {
		return t.atomically(func() error {
			for i, w := range batch {
				if _, err := t.put(w); err != nil {
					return &taskstore.BatchError{Index: i, Err: err}
				}
			}
			return nil
		})
	})
}

// Delete implements [taskstore.StorageBackend].
func (b *Backend) Delete(ctx context.Context, key taskstore.Key) (bool, error) {
	if err := b.usable(ctx); err != nil {
		return false, err
	}
	if err := key.Validate(); err != nil {
		return false, err
	}
	existed := false
	err := b.w.submit(ctx, 0, func(t *tx) error {
		f := t.find(key)
		existed = f.seq != 0
		if existed {
			t.remove(f.seq, f.scope)
			t.note(key, 0)
		}
		return nil
	})
	if err != nil {
		return false, err // the writer may still be using existed
	}
	return existed, nil
}

// copied returns a copy that the caller cannot change. The copy is not nil, because SQLite
// stores nil as NULL.
func copied(data []byte) []byte { return append([]byte{}, data...) }

// put makes a write and returns the record's new version.
func (t *tx) put(w write) (taskstore.Version, error) {
	f := t.find(w.key)
	switch {
	case t.broken != nil:
		return 0, nil
	case !w.any && f.version != w.expected:
		return 0, &taskstore.VersionConflictError{Key: w.key, Expected: w.expected, Actual: f.version}
	case f.version == taskstore.MaxVersion:
		return 0, &taskstore.CapacityError{Limit: taskstore.LimitVersions, Max: uint64(taskstore.MaxVersion), Asked: uint64(taskstore.MaxVersion) + 1}
	}
	version := f.version + 1
	switch {
	case w.expires != 0 && w.expires <= t.now: // a write that has expired leaves no record
		if f.seq != 0 {
			t.remove(f.seq, f.scope)
		}
		t.note(w.key, 0)
		return version, nil
	case f.seq == 0:
		f, err := t.admit(w, f)
		if err != nil {
			return 0, err
		}
		t.insert(w.key, f, w.expires, w.data)
	case f.expires == w.expires:
		t.exec(renewSQL, int64(version), w.data, f.seq)
	default:
		t.exec(updateSQL, int64(version), w.expires, w.data, f.seq)
	}
	t.note(w.key, version)
	return version, nil
}

// admit makes room for one more record of a collection by removing expired ones. It returns
// an error if the collection is still at its limit, and the state of the key otherwise.
func (t *tx) admit(w write, f found) (found, error) {
	for w.limit != 0 && f.n >= int64(w.limit) && t.broken == nil {
		var seq, scope int64
		if !t.row(roomSQL, f.scope, t.now).scan(&seq, &scope) {
			return f, &taskstore.CapacityError{Limit: taskstore.LimitRecords, Max: uint64(w.limit), Asked: uint64(f.n) + 1}
		}
		t.remove(seq, scope)
		f = t.find(w.key)
	}
	return f, nil
}
