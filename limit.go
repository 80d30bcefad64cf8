package taskstore

import "context"

// recordLimitKey is the key of the limit in a ctx.
type recordLimitKey struct{}

// WithRecordLimit returns a ctx under which a create is refused that would give
// its owner more than most records, whatever limit the backend has of its own. 0
// or less: no limit. It is for who knows better than the set-up of the backend how
// many records the owner of a call may have, by the owner's plan, say.
func WithRecordLimit(ctx context.Context, most int) context.Context {
	return context.WithValue(ctx, recordLimitKey{}, max(most, 0))
}

// RecordLimit returns the limit that [WithRecordLimit] put into ctx, or otherwise
// that of the backend. 0: no limit. It is for implementations of
// [StorageBackend].
func RecordLimit(ctx context.Context, otherwise int) int {
	if most, ok := ctx.Value(recordLimitKey{}).(int); ok {
		return most
	}
	return max(otherwise, 0)
}
