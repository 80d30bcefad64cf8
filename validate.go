package taskstore

import (
	"context"
	"fmt"
	"time"
)

// What every backend refuses before it does anything: one place, so that they
// refuse the same.

func checkKey(k Key) error {
	if k.Task == "" {
		return &KeyError{Key: k, Reason: "the task is empty"}
	}
	return checkPrefix(k)
}

// checkPrefix is checkKey for a prefix, whose task may be empty.
func checkPrefix(k Key) error {
	switch {
	case k.Owner == "":
		return &KeyError{Key: k, Reason: "the owner is empty"}
	case len(k.Owner) > MaxKeyLength:
		return &KeyError{Key: k, Reason: fmt.Sprintf("the owner has %d bytes, at most %d are allowed", len(k.Owner), MaxKeyLength)}
	case len(k.Task) > MaxKeyLength:
		return &KeyError{Key: k, Reason: fmt.Sprintf("the task has %d bytes, at most %d are allowed", len(k.Task), MaxKeyLength)}
	}
	return nil
}

// maxExpiry is the last millisecond of the year 9999: far below 2^53, so that
// Lua and sorted sets hold it exactly, and the last that time.Time marshals.
var maxExpiry = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)

// checkValue returns the value's expiry in Unix milliseconds, 0 for none.
func checkValue(v Value, maxData int) (expiresAt int64, err error) {
	if maxData > 0 && len(v.Data) > maxData {
		return 0, &CapacityError{Limit: LimitData, Max: uint64(maxData), Asked: uint64(len(v.Data))}
	}
	if v.ExpiresAt.IsZero() {
		return 0, nil
	}
	// In seconds first: UnixMilli overflows for years that a Time can hold.
	if s := v.ExpiresAt.Unix(); s < 0 || s > maxExpiry.Unix() || v.ExpiresAt.UnixMilli() < 1 {
		return 0, &ArgumentError{Argument: "ExpiresAt", Reason: "it must lie after the start of 1970 and before the year 10000, or be the zero Time for a record that never expires"}
	}
	return v.ExpiresAt.UnixMilli(), nil
}

// expiryTime is checkValue's way back.
func expiryTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func checkLimit(limit int) error {
	if limit < 1 {
		return &ArgumentError{Argument: "limit", Reason: fmt.Sprintf("a page holds at least 1 record, %d were asked for", limit)}
	}
	return nil
}

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
