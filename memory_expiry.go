package taskstore

import (
	"container/heap"
	"time"
	"weak"
)

// How a MemoryBackend gets rid of expired records. That they are invisible does
// not depend on any of this: every method judges by the clock.
const (
	reclaimPerWrite = 8    // more than a write can add, so the dead do not pile up
	reclaimPerSweep = 1000 // what a sweep does before it lets others have the lock
	sweepInterval   = 100 * time.Millisecond
	sweepLookahead  = 24 * time.Hour // a Duration does not reach the year 9999
)

// A memoryExpiry is a heap of the records that expire, soonest first.
type memoryExpiry []*memoryRecord

func (e memoryExpiry) Len() int           { return len(e) }
func (e memoryExpiry) Less(i, j int) bool { return e[i].expiresAt < e[j].expiresAt }
func (e memoryExpiry) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].heapIndex, e[j].heapIndex = i, j
}

func (e *memoryExpiry) Push(x any) {
	r := x.(*memoryRecord)
	r.heapIndex = len(*e)
	*e = append(*e, r)
}

func (e *memoryExpiry) Pop() any {
	last := len(*e) - 1
	r := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return r
}

// setExpiry gives r an expiry, 0 for none. m.mu is held.
func (m *MemoryBackend) setExpiry(r *memoryRecord, expiresAt, now int64) {
	had := r.expiresAt != 0
	if r.expiresAt == expiresAt {
		return
	}
	if expiresAt == 0 {
		heap.Remove(&m.expiring, r.heapIndex)
	}
	r.expiresAt = expiresAt
	switch {
	case expiresAt == 0:
	case had:
		heap.Fix(&m.expiring, r.heapIndex)
	default:
		heap.Push(&m.expiring, r)
	}
	m.schedule(now)
}

// reclaim removes up to limit expired records, all if limit is negative. m.mu is
// held.
func (m *MemoryBackend) reclaim(now int64, limit int) (removed int) {
	for len(m.expiring) > 0 && m.expiring[0].expired(now) && removed != limit {
		m.remove(m.expiring[0])
		removed++
	}
	return removed
}

// schedule sees to it that the sweeper comes soon after the next expiry. m.mu is
// held.
func (m *MemoryBackend) schedule(now int64) {
	if len(m.expiring) == 0 {
		if m.sweeper != nil {
			m.sweeper.Stop()
			m.sweeper = nil
		}
		return
	}
	// Not at once, however dense the expiries: a sweep that removes one record is
	// a waste.
	at := max(m.expiring[0].expiresAt+1, now+sweepInterval.Milliseconds())
	at = min(at, now+sweepLookahead.Milliseconds())
	if m.sweeper != nil && m.sweepAt <= at {
		return
	}
	if m.sweeper != nil {
		m.sweeper.Stop()
	}
	m.sweepAt = at
	// A backend that nobody holds any more must not live on in its own timer.
	self := weak.Make(m)
	m.sweeper = time.AfterFunc(time.Duration(at-now)*time.Millisecond, func() {
		if m := self.Value(); m != nil {
			m.sweep(at)
		}
	})
}

// sweep is what the timer that was set for at does.
func (m *MemoryBackend) sweep(at int64) {
	for m.sweepSome() == reclaimPerSweep {
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sweepAt == at { // no later one has taken its place
		m.sweeper = nil
	}
	m.schedule(time.Now().UnixMilli())
}

func (m *MemoryBackend) sweepSome() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reclaim(time.Now().UnixMilli(), reclaimPerSweep)
}
