package taskstore

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryOptions adjusts a MemoryBackend. The zero value means no limits.
type MemoryOptions struct {
	// MaxRecordsPerOwner is how many records an owner may have. A create beyond it
	// gives an error that matches [ErrCapacityExceeded]; updates go on. 0 or less:
	// no limit. A ctx from [WithRecordLimit] takes its place.
	MaxRecordsPerOwner int
	// MaxDataBytes is how long a record's Data may be. A longer one gives an error
	// that matches [ErrCapacityExceeded]. 0 or less: no limit.
	MaxDataBytes int
}

// A MemoryBackend keeps records in the process: they end with it, and no other
// process sees them. It is the default to embed, the backend for tests, and the
// reference for what the contract means. It implements [StorageBackend],
// [Pager], [Watcher] and [Clock].
//
// It starts no goroutine and needs no Close. Expired records are reclaimed a few
// at a time by writes, and by a timer that is set while there are any.
type MemoryBackend struct {
	opts MemoryOptions
	hub  hub

	mu       sync.RWMutex
	owners   map[string]*memoryOwner
	sequence uint64                   // the last record's
	expiring expiryHeap[*memoryOwner] // the owners that have records that expire
	sweeper  *time.Timer              // nil while nothing expires
	sweepAt  int64                    // when sweeper fires, Unix ms
}

var (
	_ StorageBackend = (*MemoryBackend)(nil)
	_ Pager          = (*MemoryBackend)(nil)
	_ Watcher        = (*MemoryBackend)(nil)
	_ Clock          = (*MemoryBackend)(nil)
)

// NewMemoryBackend returns an empty backend. Nil opts mean the defaults.
func NewMemoryBackend(opts *MemoryOptions) *MemoryBackend {
	m := &MemoryBackend{owners: make(map[string]*memoryOwner)}
	if opts != nil {
		m.opts = *opts
	}
	return m
}

// String says what it is, and no more: what it keeps may be personal.
func (m *MemoryBackend) String() string { return "MemoryBackend" }

// GoString is String; it keeps owners out of %#v too.
func (m *MemoryBackend) GoString() string { return m.String() }

// Get implements [StorageBackend].
func (m *MemoryBackend) Get(ctx context.Context, key Key) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	if err := checkKey(key); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	r := m.find(key)
	if r == nil || r.expired(time.Now().UnixMilli()) {
		m.mu.RUnlock()
		return Record{}, ErrNotFound
	}
	rec := r.record(key.Owner)
	m.mu.RUnlock()
	rec.Data = bytes.Clone(rec.Data)
	return rec, nil
}

// Put implements [StorageBackend].
func (m *MemoryBackend) Put(ctx context.Context, key Key, v Value) (Version, error) {
	return m.write(ctx, key, v, func(Version) error { return nil })
}

// PutIfVersion implements [StorageBackend].
func (m *MemoryBackend) PutIfVersion(ctx context.Context, key Key, v Value, expected Version) (Version, error) {
	return m.write(ctx, key, v, func(actual Version) error {
		if actual != expected {
			return &VersionConflictError{Key: key, Expected: expected, Actual: actual}
		}
		return nil
	})
}

// write stores v under key if check, told the present version, agrees.
func (m *MemoryBackend) write(ctx context.Context, key Key, v Value, check func(Version) error) (Version, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := checkKey(key); err != nil {
		return 0, err
	}
	expiresAt, err := checkValue(v, m.opts.MaxDataBytes)
	if err != nil {
		return 0, err
	}
	data := bytes.Clone(v.Data)

	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().UnixMilli()
	r := m.find(key)
	if r != nil && r.expired(now) {
		m.remove(r)
		r = nil
	}
	var actual Version
	if r != nil {
		actual = r.version
	}
	if err := check(actual); err != nil {
		return 0, err
	}
	if actual == MaxVersion {
		return 0, &CapacityError{Limit: LimitVersions, Max: uint64(MaxVersion), Asked: uint64(MaxVersion) + 1}
	}
	version := actual + 1
	switch {
	case expiresAt != 0 && expiresAt <= now: // past: nothing may stay
		if r != nil {
			m.remove(r)
		}
		m.hub.hint(key, 0)
		return version, nil
	case r == nil:
		if err := m.admit(ctx, key.Owner, now); err != nil {
			return 0, err
		}
		r = m.insert(key)
	}
	r.data, r.version = data, version
	m.setExpiry(r, expiresAt, now)
	m.reclaim(now, reclaimPerWrite)
	m.hub.hint(key, version)
	return version, nil
}

// Delete implements [StorageBackend].
func (m *MemoryBackend) Delete(ctx context.Context, key Key) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := checkKey(key); err != nil {
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
	m.hub.hint(key, 0)
	return true, nil
}

// ListByPrefix implements [StorageBackend]. It looks at all of the owner's
// records and at nobody else's.
func (m *MemoryBackend) ListByPrefix(ctx context.Context, prefix Key) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	records, _ := m.scan(prefix, 0, -1)
	return records, nil
}

// ListPage implements [Pager]. It looks at as many records as it takes to fill
// the page.
func (m *MemoryBackend) ListPage(ctx context.Context, prefix Key, cursor string, limit int) ([]Record, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, "", err
	}
	if err := checkLimit(limit); err != nil {
		return nil, "", err
	}
	after, err := decodeCursor(memoryCursor, prefix, cursor)
	if err != nil {
		return nil, "", err
	}
	records, last := m.scan(prefix, after, limit)
	if last == 0 {
		return records, "", nil
	}
	return records, encodeCursor(memoryCursor, prefix, last), nil
}

// scan returns the records of prefix created after the sequence number after, at
// most limit if that is not negative, and the sequence number of the last one it
// returns if there is more to look at.
func (m *MemoryBackend) scan(prefix Key, after uint64, limit int) (records []Record, last uint64) {
	m.mu.RLock()
	o := m.owners[prefix.Owner]
	if o == nil {
		m.mu.RUnlock()
		return nil, 0
	}
	now := time.Now().UnixMilli()
	start, _ := slices.BinarySearchFunc(o.order, after+1, func(r *memoryRecord, sequence uint64) int {
		return int(int64(r.sequence) - int64(sequence))
	})
	for _, r := range o.order[start:] {
		if r.removed || r.expired(now) || !strings.HasPrefix(r.task, prefix.Task) {
			continue
		}
		if len(records) == limit {
			break
		}
		records = append(records, r.record(prefix.Owner))
		last = r.sequence
	}
	more := len(o.order) > 0 && len(records) == limit && o.order[len(o.order)-1].sequence > last
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
		if err := checkPrefix(prefix); err != nil {
			yield(Change{}, err)
			return
		}
		w := m.hub.join(prefix)
		defer m.hub.leave(w)
		w.lost()
		w.run(ctx, yield)
	}
}

// Now implements [Clock]: it is the process's time.
func (m *MemoryBackend) Now(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

// What follows is called with m.mu held, for writing except where it says so.

// A memoryOwner holds the records of one owner, by task, by age and by expiry.
type memoryOwner struct {
	tasks     map[string]*memoryRecord
	order     []*memoryRecord           // by sequence; removed ones stay until they are many
	removed   int                       // how many of order are removed
	expiring  expiryHeap[*memoryRecord] // those that expire
	heapIndex int                       // in MemoryBackend.expiring, while expiring is not empty
}

type memoryRecord struct {
	owner     *memoryOwner
	ownerName string
	task      string
	sequence  uint64 // order of creation
	version   Version
	data      []byte // never changed in place, so that readers may copy it later
	expiresAt int64  // Unix ms, 0: never
	heapIndex int    // in memoryOwner.expiring, while expiresAt is not 0
	removed   bool
}

func (r *memoryRecord) expired(now int64) bool { return r.expiresAt != 0 && r.expiresAt < now }

// record returns r with its own data, to be copied before it is handed out.
func (r *memoryRecord) record(owner string) Record {
	return Record{
		Key:     Key{Owner: owner, Task: r.task},
		Version: r.version,
		Value:   Value{Data: r.data, ExpiresAt: expiryTime(r.expiresAt)},
	}
}

// find returns the record of key, expired or not. A read lock is enough.
func (m *MemoryBackend) find(key Key) *memoryRecord {
	if o := m.owners[key.Owner]; o != nil {
		return o.tasks[key.Task]
	}
	return nil
}

// admit refuses one more record of owner if that goes beyond the limit. Expired
// records make room: as many of the owner's own as it takes, so that no owner waits
// for what others have left behind.
func (m *MemoryBackend) admit(ctx context.Context, owner string, now int64) error {
	limit := RecordLimit(ctx, m.opts.MaxRecordsPerOwner)
	o := m.owners[owner]
	if limit == 0 || o == nil {
		return nil
	}
	for len(o.tasks) >= limit {
		if len(o.expiring) == 0 || !o.expiring[0].expired(now) {
			return &CapacityError{Limit: LimitRecords, Max: uint64(limit), Asked: uint64(len(o.tasks)) + 1}
		}
		m.remove(o.expiring[0])
	}
	return nil
}

func (m *MemoryBackend) insert(key Key) *memoryRecord {
	o := m.owners[key.Owner]
	if o == nil {
		o = &memoryOwner{tasks: make(map[string]*memoryRecord)}
		m.owners[key.Owner] = o
	}
	m.sequence++
	r := &memoryRecord{owner: o, ownerName: key.Owner, task: key.Task, sequence: m.sequence}
	o.tasks[key.Task] = r
	o.order = append(o.order, r)
	return r
}

func (m *MemoryBackend) remove(r *memoryRecord) {
	m.dropExpiry(r)
	o := r.owner
	delete(o.tasks, r.task)
	r.removed, r.data = true, nil
	o.removed++
	switch {
	case len(o.tasks) == 0:
		delete(m.owners, r.ownerName)
	case o.removed > 32 && o.removed > len(o.order)/2:
		o.order = slices.DeleteFunc(o.order, func(r *memoryRecord) bool { return r.removed })
		o.removed = 0
	}
}
