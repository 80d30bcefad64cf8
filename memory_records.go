package taskstore

import (
	"slices"

	"github.com/taskstore/taskstore/internal/hub"
)

// The caller of all of this holds m.mu, for writing unless a comment says otherwise.

// A memoryCollection holds the records of one collection of an owner, by task, by age
// and by expiry.
type memoryCollection struct {
	hub.Scope
	tasks     map[string]*memoryRecord
	order     []*memoryRecord           // by sequence; removed ones stay until they are many
	removed   int                       // how many of order are removed
	expiring  expiryHeap[*memoryRecord] // the records that expire
	heapIndex int                       // in MemoryBackend.expiring, while expiring is not empty
}

type memoryRecord struct {
	in        *memoryCollection
	task      string
	sequence  uint64 // order of creation
	version   Version
	data      []byte // not changed in place, so that readers may copy it later
	expiresAt int64  // Unix ms, 0: no expiry
	heapIndex int    // in memoryCollection.expiring, while expiresAt is not 0
	removed   bool
}

func (r *memoryRecord) expired(now int64) bool { return r.expiresAt != 0 && r.expiresAt < now }

// record returns r with its own data; the caller copies the data before returning it.
func (r *memoryRecord) record() Record {
	return Record{
		Key:     Key{Owner: r.in.Owner, Collection: r.in.Collection, Task: r.task},
		Version: r.version,
		Value:   Value{Data: r.data, ExpiresAt: expiryTime(r.expiresAt)},
	}
}

// collection returns the collection of key, nil if it has no records. A read lock is enough.
func (m *MemoryBackend) collection(key Key) *memoryCollection {
	if key.Collection == "" {
		return m.owners[key.Owner]
	}
	return m.named[scopeOf(key)]
}

// find returns the record of key, expired or not. A read lock is enough.
func (m *MemoryBackend) find(key Key) *memoryRecord {
	if c := m.collection(key); c != nil {
		return c.tasks[key.Task]
	}
	return nil
}

func (m *MemoryBackend) insert(key Key) *memoryRecord {
	c := m.collection(key)
	if c == nil {
		c = &memoryCollection{Scope: scopeOf(key), tasks: make(map[string]*memoryRecord)}
		if key.Collection == "" {
			m.owners[key.Owner] = c
		} else {
			m.named[c.Scope] = c
		}
	}
	m.sequence++
	r := &memoryRecord{in: c, task: key.Task, sequence: m.sequence}
	c.tasks[key.Task] = r
	c.order = append(c.order, r)
	return r
}

func (m *MemoryBackend) remove(r *memoryRecord) {
	m.dropExpiry(r)
	c := r.in
	delete(c.tasks, r.task)
	r.removed, r.data = true, nil
	c.removed++
	switch {
	case len(c.tasks) == 0 && c.Collection == "":
		delete(m.owners, c.Owner)
	case len(c.tasks) == 0:
		delete(m.named, c.Scope)
	case c.removed > 32 && c.removed > len(c.order)/2:
		c.order = slices.DeleteFunc(c.order, func(r *memoryRecord) bool { return r.removed })
		c.removed = 0
	}
}

func (m *MemoryBackend) hint(key Key, version Version) {
	m.hub.Hint(scopeOf(key), key.Task, uint64(version))
}
