package taskstore

import (
	"container/heap"
	"time"
	"weak"
)

// How a MemoryBackend reclaims expired records. They are invisible before that: every
// method checks the clock itself.
const (
	reclaimPerWrite = 8    // more than a write can add, so expired records do not pile up
	reclaimPerSweep = 1000 // records, then a sweep lets others have the lock
	sweepInterval   = 100 * time.Millisecond
	sweepLookahead  = 24 * time.Hour // a Duration does not reach the year 9999
)

// An expiring element of an expiryHeap knows when it is due and its place in the heap.
type expiring interface {
	due() int64 // Unix ms
	place() *int
}

// An expiryHeap has the element that is due soonest first. A backend has a heap of its
// collections, and each collection one of its records: the cost of one collection does
// not depend on the number of others.
type expiryHeap[T expiring] []T

func (r *memoryRecord) due() int64      { return r.expiresAt }
func (r *memoryRecord) place() *int     { return &r.heapIndex }
func (c *memoryCollection) due() int64  { return c.expiring[0].expiresAt }
func (c *memoryCollection) place() *int { return &c.heapIndex }

func (h expiryHeap[T]) Len() int           { return len(h) }
func (h expiryHeap[T]) Less(i, j int) bool { return h[i].due() < h[j].due() }
func (h expiryHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].place(), *h[j].place() = i, j
}

func (h *expiryHeap[T]) Push(x any) {
	e := x.(T)
	*e.place() = len(*h)
	*h = append(*h, e)
}

func (h *expiryHeap[T]) Pop() any {
	var none T
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = none
	*h = (*h)[:last]
	return e
}

// setExpiry gives r an expiry, 0 for no expiry. m.mu is held.
func (m *MemoryBackend) setExpiry(r *memoryRecord, expiresAt, now int64) {
	c := r.in
	switch {
	case r.expiresAt == expiresAt:
		return
	case expiresAt == 0:
		m.dropExpiry(r)
		r.expiresAt = 0
	case r.expiresAt == 0:
		r.expiresAt = expiresAt
		heap.Push(&c.expiring, r)
		if len(c.expiring) == 1 {
			heap.Push(&m.expiring, c)
		} else {
			heap.Fix(&m.expiring, c.heapIndex)
		}
	default:
		r.expiresAt = expiresAt
		heap.Fix(&c.expiring, r.heapIndex)
		heap.Fix(&m.expiring, c.heapIndex)
	}
	m.schedule(now)
}

// dropExpiry removes r from the heaps, if it is in them. m.mu is held.
func (m *MemoryBackend) dropExpiry(r *memoryRecord) {
	if r.expiresAt == 0 {
		return
	}
	c := r.in
	if len(c.expiring) == 1 {
		heap.Remove(&m.expiring, c.heapIndex) // first, as the heap compares c by its first record
	}
	heap.Remove(&c.expiring, r.heapIndex)
	if len(c.expiring) > 0 {
		heap.Fix(&m.expiring, c.heapIndex)
	}
}

// reclaim removes up to limit expired records. m.mu is held.
func (m *MemoryBackend) reclaim(now int64, limit int) (removed int) {
	for len(m.expiring) > 0 && removed < limit {
		soonest := m.expiring[0].expiring[0]
		if !soonest.expired(now) {
			break
		}
		m.remove(soonest)
		removed++
	}
	return removed
}

// schedule sets the timer of the sweeper for soon after the next expiry. m.mu is held.
func (m *MemoryBackend) schedule(now int64) {
	if len(m.expiring) == 0 {
		if m.sweeper != nil {
			m.sweeper.Stop()
			m.sweeper = nil
		}
		return
	}
	// At least an interval from now, however dense the expiries: a sweep should remove more
	// than one record.
	at := max(m.expiring[0].due()+1, now+sweepInterval.Milliseconds())
	at = min(at, now+sweepLookahead.Milliseconds())
	if m.sweeper != nil && m.sweepAt <= at {
		return
	}
	if m.sweeper != nil {
		m.sweeper.Stop()
	}
	m.sweepAt = at
	// The timer holds the backend weakly, so that it does not keep an unused one alive.
	self := weak.Make(m)
	m.sweeper = time.AfterFunc(time.Duration(at-now)*time.Millisecond, func() {
		if m := self.Value(); m != nil {
			m.sweep(at)
		}
	})
}

// sweep runs when the timer that was set for at fires.
func (m *MemoryBackend) sweep(at int64) {
	for m.sweepSome() == reclaimPerSweep {
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sweepAt == at { // no later timer has replaced it
		m.sweeper = nil
	}
	m.schedule(time.Now().UnixMilli())
}

func (m *MemoryBackend) sweepSome() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reclaim(time.Now().UnixMilli(), reclaimPerSweep)
}
