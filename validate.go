package taskstore

import (
	"context"
	"fmt"
	"time"
)

// Every backend checks these first. The checks are in one place so that all backends
// refuse the same.

// Validate returns the [KeyError] of a key that every backend refuses: a part is too
// long, or owner or task are empty. It is for implementations of [StorageBackend].
func (k Key) Validate() error {
	if k.Task == "" {
		return &KeyError{Key: k, Reason: "the task is empty"}
	}
	return k.ValidatePrefix()
}

// ValidatePrefix is Validate for a prefix, whose Task may be empty.
func (k Key) ValidatePrefix() error {
	switch {
	case k.Owner == "":
		return &KeyError{Key: k, Reason: "the owner is empty"}
	case len(k.Owner) > MaxKeyLength:
		return &KeyError{Key: k, Reason: fmt.Sprintf("the owner has %d bytes, at most %d are allowed", len(k.Owner), MaxKeyLength)}
	case len(k.Collection) > MaxKeyLength:
		return &KeyError{Key: k, Reason: fmt.Sprintf("the collection has %d bytes, at most %d are allowed", len(k.Collection), MaxKeyLength)}
	case len(k.Task) > MaxKeyLength:
		return &KeyError{Key: k, Reason: fmt.Sprintf("the task has %d bytes, at most %d are allowed", len(k.Task), MaxKeyLength)}
	}
	return nil
}

// maxExpiry is the last millisecond of the year 9999: far below 2^53, so that
// Lua and sorted sets hold it exactly, and the last that time.Time marshals.
var maxExpiry = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)

// Validate returns the error of a value that every backend refuses: an ExpiresAt out of
// range, or Data of more than maxDataBytes; 0 or less: any length. It is for
// implementations of [StorageBackend].
func (v Value) Validate(maxDataBytes int) error {
	if maxDataBytes > 0 && len(v.Data) > maxDataBytes {
		return &CapacityError{Limit: LimitData, Max: uint64(maxDataBytes), Asked: uint64(len(v.Data))}
	}
	if v.ExpiresAt.IsZero() {
		return nil
	}
	// In seconds first: UnixMilli overflows for years that a Time can hold.
	if s := v.ExpiresAt.Unix(); s < 0 || s > maxExpiry.Unix() || v.ExpiresAt.UnixMilli() < 1 {
		return &ArgumentError{Argument: "ExpiresAt", Reason: "it must be after the start of 1970 and before the year 10000, or the zero Time for a record without an expiry"}
	}
	return nil
}

// expiryMillis returns the expiry of a valid value in Unix milliseconds, 0 for no expiry.
func (v Value) expiryMillis() int64 {
	if v.ExpiresAt.IsZero() {
		return 0
	}
	return v.ExpiresAt.UnixMilli()
}

// expiryTime is the inverse of expiryMillis.
func expiryTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// ValidatePage returns the error of a ListPage with that limit. It is for implementations
// of [Pager].
func ValidatePage(limit int) error {
	if limit < 1 {
		return &ArgumentError{Argument: "limit", Reason: fmt.Sprintf("a page holds at least 1 record, %d were asked for", limit)}
	}
	return nil
}

// recordLimitKey is the key of the limit in a ctx.
type recordLimitKey struct{}

// WithRecordLimit returns a ctx under which a create is refused that would give
// its collection more than most records; it overrides the backend's own limit. 0 or
// less: no limit. It is for a caller that knows, by the owner's plan, say, how many
// records the owner of a call may have.
func WithRecordLimit(ctx context.Context, most int) context.Context {
	return context.WithValue(ctx, recordLimitKey{}, max(most, 0))
}

// RecordLimit returns the limit that [WithRecordLimit] put into ctx, or else
// otherwise, which is the backend's. 0: no limit. It is for implementations of
// [StorageBackend].
func RecordLimit(ctx context.Context, otherwise int) int {
	if most, ok := ctx.Value(recordLimitKey{}).(int); ok {
		return most
	}
	return max(otherwise, 0)
}
