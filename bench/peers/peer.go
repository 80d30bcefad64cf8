// Package peers puts stores of tasks, each behind its own API, side by side. All do the same
// work on the same data.
package peers

import (
	"context"
	"errors"
	"time"
)

// A Peer is a store of tasks. Its API lacks the operations that are nil.
type Peer struct {
	Name string

	// Create adds a task under a new name.
	Create func(ctx context.Context, owner, task string, data []byte) (Record, error)
	// Get returns a task.
	Get func(ctx context.Context, owner, task string) (Record, error)
	// Update replaces the data of the task that prev is, and fails with ErrConflict if
	// prev is not the latest. Peers without Swaps replace it anyway.
	Update func(ctx context.Context, owner, task string, data []byte, prev Record) (Record, error)
	// Delete removes a task.
	Delete func(ctx context.Context, owner, task string) error
	// List reads all tasks of an owner, data included, and counts them.
	List func(ctx context.Context, owner string) (int, error)
	// Page reads the first tasks of an owner, data included, and counts them.
	Page func(ctx context.Context, owner string, limit int) (int, error)

	// Swaps says that Update compares.
	Swaps bool
	// Clear forgets all tasks of a peer without Delete.
	Clear func()
	// Close ends the peer's server and connections; it may be nil.
	Close func() error
}

// A Record is a task as its store returned it.
type Record struct {
	Revision uint64
	Data     []byte
}

// ErrConflict says that another writer was faster.
var ErrConflict = errors.New("peers: the task has changed")

// life is the life of tasks in stores that let them expire.
const life = 24 * time.Hour
