package taskstore

import (
	"context"
	"fmt"
)

// MaxBatch is the greatest number of writes in a batch.
const MaxBatch = 16

// AnyVersion is a [Write]'s Expected where the write is made whatever is there, as Put
// makes it.
const AnyVersion = ^Version(0)

// A Batcher writes several records of one owner in one step. [PutBatch] uses it where
// there is one.
type Batcher interface {
	// PutBatch makes each of writes as PutIfVersion would, all of them or none.
	//
	// The batch happens at one instant, and every operation on one of its keys is
	// linearizable with it: a call that begins after some call has seen one of the writes
	// sees all of them, or what came later. A reader that reads two records one after the
	// other can so see the first as it was before the batch and the second as it was after
	// it, and never the other way round.
	//
	// Writes count in their order, for all rules of StorageBackend: one that removes a
	// record makes room for a later create. If one is refused nothing is changed, and the
	// error is a [*BatchError] for the first in order that is: the first that is invalid
	// by itself, if there is one, otherwise the first that the records refuse. Each write
	// is hinted as one by itself.
	//
	// An error that matches [ErrInvalidArgument] refuses a batch of no writes, of more
	// than [MaxBatch], of more than one owner, with a record twice, or whose first write
	// has AnyVersion: by the record of the first write a backend recognises a batch whose
	// answer was lost. Where that write removes its record, or the record may have gone
	// since, it may have to say [ErrOutcomeUnknown].
	PutBatch(ctx context.Context, writes []Write) error
}

// A Write is one of a batch.
type Write struct {
	Key   Key // of the owner that all writes of the batch have
	Value     // an ExpiresAt that is past removes the record, as everywhere

	// Expected is the version that the record must have, 0 to create it, or AnyVersion.
	Expected Version
	// MaxRecords is how many records the Key's collection may have, if this write
	// creates one. 0: what [RecordLimit] says of ctx and the backend's own limit;
	// less than 0: any number.
	MaxRecords int
}

// RecordLimit returns the limit of a create by w, 0 for none: its own, that of ctx or
// otherwise that of the backend. It is for implementations of [Batcher].
func (w Write) RecordLimit(ctx context.Context, otherwise int) int {
	if w.MaxRecords != 0 {
		return max(w.MaxRecords, 0)
	}
	return RecordLimit(ctx, otherwise)
}

// ValidateBatch returns the error of a batch that no backend takes: that of the batch as
// a whole, or the first of its writes with an invalid key or a value beyond maxDataBytes.
// It is for implementations of [Batcher].
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
		return refuse("its first write needs a version, 0 or more, by which a batch whose answer was lost is recognised")
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
// to what that write would have got by itself.
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
