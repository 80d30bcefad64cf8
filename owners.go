package taskstore

import (
	"context"
	"iter"
)

// An OwnerLister lists the owners of a store, for tools of operators. It is apart from
// [StorageBackend] because a server must not need it: its cost grows with all that all
// tenants have, and a store's user may well lack the right to it. Keep it off the path
// of requests.
type OwnerLister interface {
	// Owners yields owners that have records, in whatever collection, in no order. An
	// owner that has one through the whole walk is yielded exactly once; an owner whose
	// records come or go meanwhile once or not at all. The walk holds no lock while it
	// yields and keeps the names that it has met, and no records, in memory.
	//
	// It yields (owner, nil), or ("", err) and then stops.
	Owners(ctx context.Context) iter.Seq2[string, error]
}
