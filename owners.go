package taskstore

import (
	"context"
	"iter"
)

// An OwnerLister lists the owners of a store, for operators' tools. It is separate from
// [StorageBackend] because serving requests must not need it: its cost grows with the
// data of all tenants, and the store's user may lack the right to it. Keep it off the
// request path.
type OwnerLister interface {
	// Owners yields the owners that have records, in any collection, in no order. An
	// owner that has a record through the whole walk is yielded exactly once; an owner
	// whose records come or go meanwhile at most once. The walk holds no lock while it
	// yields and keeps in memory the names of the owners that it has met, but no records.
	//
	// It yields (owner, nil), or ("", err) and then stops.
	Owners(ctx context.Context) iter.Seq2[string, error]
}
