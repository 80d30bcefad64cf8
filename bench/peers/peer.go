// Package peers puts stores of tasks, each behind its own API, side by side: what
// is compared does the same work on the same data.
package peers

import (
	"context"
	"errors"
	"time"
)

// A Peer is a store of tasks. A nil function is something that its API cannot do.
type Peer struct {
	Name string

	// Create adds a task. Task names are not used twice.
	Create func(ctx context.Context, owner, task string, data []byte) (Record, error)
	// Get returns a task.
	Get func(ctx context.Context, owner, task string) (Record, error)
	// Update replaces the data of the task that prev is, and fails with ErrConflict
	// where that is not the latest. Peers without Swaps replace it anyway.
	Update func(ctx context.Context, owner, task string, data []byte, prev Record) (Record, error)
	// Delete removes a task.
	Delete func(ctx context.Context, owner, task string) error
	// List reads all tasks of an owner, data included, and counts them.
	List func(ctx context.Context, owner string) (int, error)
	// Page reads the first tasks of an owner, data included, and counts them.
	Page func(ctx context.Context, owner string, limit int) (int, error)

	// Swaps says that Update compares.
	Swaps bool
	// Clear forgets all tasks, where there is no Delete.
	Clear func()
	// Close ends what the peer holds; it may be nil.
	Close func() error
}

// A Record is a task as its store returned it.
type Record struct {
	Revision uint64
	Data     []byte
}

// ErrConflict says that somebody else was faster.
var ErrConflict = errors.New("peers: the task has changed")

// life is how long tasks live, in stores that let them expire.
const life = 24 * time.Hour
