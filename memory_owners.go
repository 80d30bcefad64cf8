package taskstore

import (
	"context"
	"iter"
	"time"
)

var _ OwnerLister = (*MemoryBackend)(nil)

// Owners implements [OwnerLister].
func (m *MemoryBackend) Owners(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		owners := m.liveOwners()
		for owner := range owners {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(owner, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield("", err)
		}
	}
}

// liveOwners returns the owners that have records now.
func (m *MemoryBackend) liveOwners() map[string]bool {
	now := time.Now().UnixMilli()
	m.mu.RLock()
	defer m.mu.RUnlock()
	live := make(map[string]bool, len(m.owners))
	for owner, c := range m.owners {
		if c.hasLive(now) {
			live[owner] = true
		}
	}
	for scope, c := range m.named {
		if !live[scope.Owner] && c.hasLive(now) {
			live[scope.Owner] = true
		}
	}
	return live
}

// hasLive reports whether a record of c is not expired.
func (c *memoryCollection) hasLive(now int64) bool {
	for _, r := range c.tasks {
		if !r.expired(now) {
			return true
		}
	}
	return false
}
