package taskstore

import (
	"context"
	"fmt"
)

// MaxBatch is the greatest number of writes in a batch.
const MaxBatch = 16

// AnyVersion as a [Write]'s Expected makes the write at any version of the record, or
// without one, as Put does.
const AnyVersion = ^Version(0)

// A Batcher writes several records of one owner in one step. [PutBatch] uses it if the
// backend has one.
type Batcher interface {
	// PutBatch makes each of writes as PutIfVersion would, either all of them or not one.
	//
	// The batch happens at one instant, and every operation on one of its keys is
	// linearizable with it: a call that begins after some call has seen one of the writes
	// sees all of them, or later states. So a reader that reads two records one after the
	// other can see the first as before the batch and the second as after it, but not the
	// other way round.
	//
	// Writes count in their order, for all rules of StorageBackend: one that removes a
	// record makes room for a later create. If a write is refused, the whole batch is, and
	// the error is a [*BatchError] for the first such write: the first that is invalid by
	// itself, if there is one, otherwise the first that the records refuse. Each write is
	// hinted as a single one would be.
	//
	// An error that matches [ErrInvalidArgument] refuses a batch of no writes, of more
	// than [MaxBatch], of more than one owner, with a record twice, or whose first write
	// has AnyVersion. After a lost answer a backend recognises the batch by the record of
	// the first write. If that write removes its record, or the record may have gone
	// since, the backend may have to answer [ErrOutcomeUnknown].
	PutBatch(ctx context.Context, writes []Write) error
}

// A Write is one of a batch.
type Write struct {
	Key   Key // of the owner that all writes of the batch have
	Value     // an ExpiresAt that is past removes the record, as everywhere

	// Expected is the version that the record must have, 0 to create it, or AnyVersion.
	Expected Version
	// MaxRecords is how many records the Key's collection may have, if this write
	// creates one. 0 means [RecordLimit] of ctx and the backend's own limit; less than
	// 0 means any number.
	MaxRecords int
}

// RecordLimit returns the limit of a create by w, 0 for no limit: the write's own, that
// of ctx, or otherwise, which is the backend's. It is for implementations of [Batcher].
func (w Write) RecordLimit(ctx context.Context, otherwise int) int {
	if w.MaxRecords != 0 {
		return max(w.MaxRecords, 0)
	}
	return RecordLimit(ctx, otherwise)
}

// ValidateBatch returns the error of a batch that every backend refuses: that of the
// batch as a whole, or of its first write with an invalid key or a value beyond
// maxDataBytes. It is for implementations of [Batcher].
func ValidateBatch(writes []Write, maxDataBytes int) error {
	refuse := func(format string, a ...any) error {
		return &ArgumentError{Argument: "batch", Reason: fmt.Sprintf(format, a...)}
	}
	switch {
	case len(writes) == 0:
		return refuse("it has no writes")
	case len(writes) > MaxBatch:
		return refuse("it has %d writes, at most %d are allowed", len(writes), MaxBatch)
	case writes[0].Expected == AnyVersion:
		return refuse("its first write needs a version, 0 or more: a retry recognises its own batch by it")
	}
	for i, w := range writes {
		if err := w.Key.Validate(); err != nil {
			return &BatchError{Index: i, Err: err}
		}
		if err := w.Value.Validate(maxDataBytes); err != nil {
			return &BatchError{Index: i, Err: err}
		}
		if w.Key.Owner != writes[0].Key.Owner {
			return refuse("writes 0 and %d are of two owners", i)
		}
		for j := range i {
			if writes[j].Key == w.Key {
				return refuse("writes %d and %d are of one record", j, i)
			}
		}
	}
	return nil
}

// A BatchError reports the write for which a batch was refused. It matches and unwraps
// to the error that this write would have got by itself.
type BatchError struct {
	Index int // of the write in the batch
	Err   error
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("taskstore: write %d of the batch: %s", e.Index, e.Err)
}

// Unwrap returns the write's error.
func (e *BatchError) Unwrap() error { return e.Err }

// MarshalJSON prints the text: most errors have no JSON of their own.
func (e *BatchError) MarshalJSON() ([]byte, error) { return marshalText(e) }
